"""Verdicts as HTML: a box for one claim, and the table of all claims that a reader can filter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape

import pandas as pd

from mae_lib.ledger import paper
from mae_lib.ledger.claims import Claim, all_claims, claims
from mae_lib.ledger.tally import (
    FAILS,
    HOLDS,
    OPEN,
    WORDS,
    Ledger,
    one_for_all,
    sentences,
    themes,
)
from mae_lib.ledger.verdicts import Effect, Verdict

AUDITS = {"consistent": "bear it out", "partly": "bear it out in part",
          "inconsistent": "contradict it", "unresolved_by_noise": "differ within noise",
          "no_numbers": "none printed", "not_in_seed": "figure is missing"}
PLACES = {r"F(\d+)": r"Figure \1", r"T(\d+)": r"Table \1", r"Thm(\d+)": r"Theorem \1",
          r"s([\d.]+)": r"section \1", r"C\.(\d+)": r"appendix C.\1",
          r"(\d[a-f])": r"Table \1 of He et al.", r"Eq_(\d+)_(\d+)": r"equations \1 to \2",
          r"SimMIM_T2": "SimMIM, Table 2", r"VideoMAE": "VideoMAE", r"MAE_ST": "MAE-ST"}
FILTERS = {"verdict": "Verdict", "source": "Source", "family": "Place", "tier": "Importance"}


def verdict_box(claim_id: str, verdict: Verdict, scale: str) -> str:
    """A claim, the verdict on it at this scale, and the effects that it rests on, as HTML."""
    claim, = claims([claim_id])
    told = "".join(f"<p>{escape(text)}</p>" for text in remarks(verdict))
    return (f'<div class="verdict {_kind(verdict)}"><p class="verdict-title">{escape(claim_id)}: '
            f'{escape(word(verdict))}</p><p>{escape(claim.statement)}</p>'
            f"<p>{escape(scale)} Smallest effect of interest: {escape(claim.sesoi)}.</p>{told}"
            f"{_details('The effects behind it', verdict)}</div>")


def verdict_table(verdicts: Mapping[str, Verdict]) -> pd.DataFrame:
    """One row a named verdict: its word and its weakest effect."""
    return pd.DataFrame([{"case": name, "weakest effect": effect_text(v.effect),
                          "verdict": word(v)} for name, v in verdicts.items()])


def claims_table(verdicts: Mapping[str, Verdict]) -> pd.DataFrame:
    """One row a claim: what it says and the verdict."""
    return pd.DataFrame([{"claim": claim.id, "statement": claim.statement,
                          "verdict": word(verdicts[claim.id])} for claim in claims(verdicts)])


def ledger_table(ledger: Ledger, caption: str) -> str:
    """Every claim with place, importance, printed numbers, and the verdict on each data set.

    The form above it is hidden until ``ledger.js`` is there to make it work; without script the
    table is a plain one.

    Args:
        ledger: from :func:`mae_lib.ledger.tally.complete`.
        caption: what is in the table, with the scale of the experiments.
    """
    return f'<div class="ledger">{_form(ledger)}{_table(ledger, all_claims(), caption)}</div>'


def chapter_table(verdicts: Mapping[str, Mapping[str, Verdict]], ids: Iterable[str],
                  caption: str) -> str:
    """The claims of one chapter with their verdicts, as :func:`ledger_table` shows them.

    Args:
        verdicts: ``{data set: {claim id: verdict}}``.
    """
    shown = claims(ids)
    ledger = {claim.id: {name: found[claim.id] for name, found in verdicts.items()}
              for claim in shown}
    return f'<div class="ledger">{_table(ledger, shown, caption)}</div>'


def _table(ledger: Ledger, shown: Iterable[Claim], caption: str) -> str:
    names = list(next(iter(ledger.values())))
    heads = ["Claim", "What it says", "Printed numbers", *names]
    head = "".join(f'<th scope="col" role="columnheader">{escape(h)}</th>' for h in heads)
    rows = "".join(_row(claim, ledger[claim.id]) for claim in shown)
    return (f'<table class="ledger-claims" role="table"><caption>{escape(caption)}</caption>'
            f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>'
            f'<tbody role="rowgroup">{rows}</tbody></table>')


def summary_table(ledger: Ledger, caption: str) -> str:
    """Themes with how many of their claims hold, do not, and could not be told, by data set."""
    names, found = list(next(iter(ledger.values()))), themes(ledger)
    top = "".join(f'<th scope="colgroup" colspan="3">{escape(name)}</th>' for name in names)
    below = "".join(f'<th scope="col">{word}</th>' for word in (HOLDS, FAILS, OPEN)) * len(names)
    body = "".join(f'<tr><th scope="row">{escape(name)}</th>{_numbers(part, names)}</tr>'
                   for name, part in found.groupby("theme", sort=False))
    return (f'<table class="ledger-summary"><caption>{escape(caption)}</caption><thead><tr>'
            f'<th scope="col" rowspan="2">claims about</th>{top}</tr><tr>{below}</tr></thead>'
            f"<tbody>{body}</tbody></table>")


def summary(ledger: Ledger, caption: str) -> str:
    """The table of themes and the sentences below it, in the look of a cell's output wherever they
    are shown: the landing page glues them in."""
    shown = summary_table(ledger, caption) + paragraphs(sentences(ledger))
    return f'<div class="cell_output"><div class="output text_html">{shown}</div></div>'


def paragraphs(texts: Iterable[str]) -> str:
    """Sentences as an HTML list."""
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"


def word(verdict: Verdict) -> str:
    """The verdict as the page shows it."""
    return verdict.word + (", reversed" if verdict.reversed else "")


def effect_text(found: Effect | None) -> str:
    """An effect with its one-sided limits and number of runs."""
    if found is None:
        return "–"
    if not found.n:
        return f"{found.mean:.3g} (counted, no sampling)"
    return (f"{found.mean:+.3f}, 95 % one-sided limits {found.limit(-1):+.3f} and "
            f"{found.limit(+1):+.3f}, n = {found.n}")


def remarks(verdict: Verdict) -> list[str]:
    """Sentences that belong to a verdict: reason, caveat, correction, other readings."""
    found = [text[:1].upper() + text[1:] + "." for text in (verdict.reason, verdict.caveat) if text]
    if verdict.unadjusted:
        found.append(f"Before the correction for several claims: {verdict.unadjusted}.")
    return found + [f"{name[:1].upper()}{name[1:]}: {word(v)}." for name, v in
                    verdict.beside.items()]


def family_name(family: str) -> str:
    """A family's place for readers: ``"S000.F5"`` is ``"Kong et al. 2023: Figure 5"``."""
    source, _, place = family.partition(".")
    for pattern, text in PLACES.items():
        if re.fullmatch(pattern, place):
            place = re.sub(pattern, text, place)
            break
    else:
        place = re.sub(r"_?S00\d", "", place).replace("_", " ")
    return f"{paper.SOURCES[source]}: {place}"


def _row(claim: Claim, found: Mapping[str, Verdict]) -> str:
    words = "|".join(dict.fromkeys(v.word for v in found.values()))
    held = {"verdict": words, "source": claim.family[:4], "family": claim.family,
            "tier": claim.tier}
    data = " ".join(f'data-{name}="{escape(value)}"' for name, value in held.items())
    one = one_for_all(found)
    cells = (_cell("Any data set", one, len(found)) if one is not None else
             "".join(_cell(name, v) for name, v in found.items()))
    return (f'<tr role="row" id="claim-{claim.id}" {data}><th scope="row" role="rowheader">'
            f'{claim.id}<span class="tier">{claim.tier}</span></th>{_says(claim)}'
            f'{_printed(claim)}{cells}</tr>')


def _says(claim: Claim) -> str:
    least = "" if claim.sesoi == "-" else f" Smallest effect of interest: {escape(claim.sesoi)}."
    return (f'<td role="cell" data-label="What it says"><p>{escape(claim.statement)}</p>'
            f'<p class="quiet">{escape(claim.place)}. Expected: {escape(claim.expected)}.'
            f"{least}</p></td>")


def _printed(claim: Claim) -> str:
    numbers = escape(paper.spelled_out(claim.published)).replace(",", ",<wbr>")  # break here only
    shown = f'<p class="quiet">{numbers}</p>'
    return (f'<td role="cell" data-label="Printed numbers"><p>{AUDITS[claim.audit]}</p>'
            f"{shown if claim.published else ''}</td>")


def _cell(label: str, verdict: Verdict, span: int = 1) -> str:
    found = verdict.effect
    runs = f", {found.n} runs" if found is not None and found.n and not found.limits else ""
    numbers = "" if found is None else f"<p>{_brief(found)}{runs}</p>"
    told = "".join(f"<p>{escape(text)}</p>" for text in remarks(verdict))
    return (f'<td role="cell" colspan="{span}" data-label="{escape(label)}">'
            f'<p class="word {_kind(verdict)}">{escape(word(verdict))}</p>{numbers}'
            f'<div class="quiet">{told}{_details("Part by part", verdict)}</div></td>')


def _brief(found: Effect) -> str:
    if not found.n:
        return f"{found.mean:+.3g}"
    return f"{found.mean:+.3g} [{found.limit(-1):+.3g}, {found.limit(+1):+.3g}]"


def _details(title: str, verdict: Verdict) -> str:
    items = "".join(f"<li>{escape(name)}: {effect_text(e)}</li>"
                    for name, e in verdict.parts.items())
    return f"<details><summary>{title}</summary><ul>{items}</ul></details>" if items else ""


def _kind(verdict: Verdict) -> str:
    return verdict.word.partition(" (")[0].replace(" ", "-")


def _form(ledger: Ledger) -> str:
    sources = {f: paper.SOURCES[f] for f in dict.fromkeys(c.family[:4] for c in all_claims())}
    given = {v.word for found in ledger.values() for v in found.values()}
    options = {"verdict": {w: w for w in WORDS if w in given}, "source": sources,
               "family": {c.family: family_name(c.family) for c in all_claims()},
               "tier": {t: t for t in ("core", "secondary", "context")}}
    fields = "".join(_select(name, label, options[name]) for name, label in FILTERS.items())
    return (f'<form class="ledger-filter" hidden>{fields}<label>Text <input type="search" '
            'name="text" autocomplete="off"></label><button type="reset">Show all</button>'
            f'<p class="ledger-count" role="status">{len(ledger)} of {len(ledger)} claims</p>'
            "</form>")


def _select(name: str, label: str, options: Mapping[str, str]) -> str:
    shown = "".join(f'<option value="{escape(value)}">{escape(text)}</option>'
                    for value, text in options.items())
    return (f'<label>{label} <select name="{name}"><option value="">any</option>{shown}</select>'
            "</label>")


def _numbers(part: pd.DataFrame, names: list[str]) -> str:
    by_name = part.set_index("data set")
    if "any" in by_name.index:
        return _three(by_name.loc["any"], len(names))
    return "".join(_three(by_name.loc[name]) for name in names)


def _three(row: pd.Series, times: int = 1) -> str:
    """Three numbers; where they do not depend on the data set they stand under the first, and a
    cell over all the others says so."""
    cells = "".join(f"<td>{row[word]}</td>" for word in (HOLDS, FAILS, OPEN))
    return cells + (f'<td class="same" colspan="{3 * (times - 1)}">the same for all</td>'
                    if times > 1 else "")
