"""All claims with their verdicts, counted, and said in a few sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import pandas as pd

from mae_lib.ledger.claims import Claim, all_claims
from mae_lib.ledger.verdicts import (
    INCONCLUSIVE,
    NEGLIGIBLE,
    NOT_SUPPORTED,
    NOT_TESTED,
    SUPPORTED,
    VOID,
    Verdict,
)

WORDS = (SUPPORTED, NEGLIGIBLE, NOT_SUPPORTED, INCONCLUSIVE, VOID, NOT_TESTED)
HOLDS, FAILS, OPEN = "holds", "does not hold", "could not be told"
ANSWERS = {SUPPORTED: HOLDS, NEGLIGIBLE: HOLDS, NOT_SUPPORTED: FAILS}
LATER = Verdict(NOT_TESTED, reason="its chapter is still to come")
THEMES = {"K-T": "theory", "K-R": "reconstruction of whole images", "K-A": "attention",
          "K-S": "how far apart classes lie", "K-L": "linear probing",
          "K-V": "shifted test sets", "K-B": "shape bias", "K-D": "detection and segmentation",
          "K-P": "suggestions of section 3.6", "K-X": "the statements of the abstract",
          "K-C": "cost", "O-": "occlusion invariance (Kong and Zhang)",
          "S-": "other papers, by way of the slides (Kim)"}
Ledger = dict[str, dict[str, Verdict]]  # {claim id: {data set: verdict}}


def complete(measured: Mapping[str, Mapping[str, Verdict]],
             theory: Mapping[str, Verdict]) -> Ledger:
    """Every claim of the ledger with a verdict on each data set, in the ledger's order.

    Args:
        measured: ``{data set: {claim id: verdict}}``, from
            :func:`mae_lib.ledger.experiments.verdicts_of`; names are those that readers see.
        theory: verdicts on graphs, which are the same for every data set.

    Raises:
        ValueError: no data set, or a verdict on no claim of the ledger.
    """
    known = {claim.id for claim in all_claims()}
    given = set(theory).union(*measured.values())
    if not measured or given - known:
        raise ValueError(f"measured must have a data set and verdicts on claims of the ledger, "
                         f"got {', '.join(sorted(given - known)) or 'no data set'}")
    return {claim.id: {name: theory.get(claim.id, found.get(claim.id, LATER))
                       for name, found in measured.items()} for claim in all_claims()}


def one_for_all(verdicts: Mapping[str, Verdict]) -> Verdict | None:
    """The verdict that does not depend on the data set, if it does not: on graphs, from printed
    numbers, or the same reason why there is none."""
    first, *others = verdicts.values()
    sampled = first.effect is not None and first.effect.n
    same = all(v is first or not sampled and first.word != VOID and
               (v.word, v.reason, v.effect) == (first.word, first.reason, first.effect)
               for v in others)
    return first if same and (others or not sampled) else None


def theme(claim_id: str) -> str:
    """What a claim is about."""
    return next(name for start, name in THEMES.items() if claim_id.startswith(start))


def answer(verdict: Verdict) -> str:
    """``"holds"``, ``"does not hold"`` or ``"could not be told"``."""
    return ANSWERS.get(verdict.word, OPEN)


def counts(ledger: Ledger) -> pd.DataFrame:
    """How often each verdict was given, a column a data set."""
    names = list(next(iter(ledger.values())))
    return pd.DataFrame([{"verdict": word} | {
        name: sum(found[name].word == word for found in ledger.values()) for name in names}
        for word in WORDS])


def themes(ledger: Ledger) -> pd.DataFrame:
    """One row a theme and data set: how many claims hold, do not, and could not be told.

    What does not depend on the data set has ``data set`` ``"any"``.
    """
    rows = []
    for name in THEMES.values():
        part = [found for claim, found in ledger.items() if theme(claim) == name]
        fixed = [v for v in map(one_for_all, part) if v is not None]
        if len(fixed) == len(part):
            rows.append(_row(name, "any", fixed))
            continue
        rows += [_row(name, data, [found[data] for found in part]) for data in part[0]]
    return pd.DataFrame(rows)


def sentences(ledger: Ledger) -> list[str]:
    """Five sentences that say what came out, from the counts alone."""
    return [_coverage(ledger), _by_data_set(ledger), _agreement(ledger), _best_and_worst(ledger),
            _printed(all_claims())]


def _row(name: str, data: str, verdicts: Iterable[Verdict]) -> dict:
    found = Counter(map(answer, verdicts))
    return {"theme": name, "data set": data} | {word: found[word] for word in (HOLDS, FAILS, OPEN)}


def _coverage(ledger: Ledger) -> str:
    fixed = [v for found in ledger.values() if (v := one_for_all(found)) is not None]
    exact = sum(v.word != NOT_TESTED for v in fixed)
    missing = Counter(v.reason for v in fixed if v.word == NOT_TESTED)
    trained = sum(any(v.word != NOT_TESTED for v in found.values())
                  for found in ledger.values()) - exact
    later = missing.pop(LATER.reason, 0)
    return (f"Of the {len(ledger)} claims of the ledger {exact} were put to the test without "
            f"training on pictures (theory, and arithmetic on printed numbers) and {trained} by "
            f"training; {later} wait for their chapters, and {missing.total()} more could not be "
            "tested on any data set.")


def _by_data_set(ledger: Ledger) -> str:
    parts = []
    for name in next(iter(ledger.values())):
        found = Counter(answer(f[name]) for f in ledger.values() if one_for_all(f) is None)
        parts.append(f"on {name} {found[HOLDS]} hold, {found[FAILS]} do not and {found[OPEN]} "
                     "could not be told")
    return f"Of the claims about trained networks, {'; '.join(parts)}."


def _agreement(ledger: Ledger) -> str:
    clear = [[answer(v) for v in found.values()] for found in ledger.values()
             if one_for_all(found) is None]
    clear = [answers for answers in clear if OPEN not in answers]
    same = [answers[0] for answers in clear if len(set(answers)) == 1]
    return (f"All data sets gave a clear answer to {len(clear)} of them, and the same one to "
            f"{len(same)}: {same.count(HOLDS)} hold on all, {same.count(FAILS)} on none.")


def _best_and_worst(ledger: Ledger) -> str:
    table = themes(ledger).groupby("theme", sort=False)[[HOLDS, FAILS]].sum()
    table = table[table.sum(axis=1) > 0]
    share = table[HOLDS] / table.sum(axis=1)
    if len(share) < 2:
        return "Too few themes have clear answers to compare them."
    best, worst = share.idxmax(), share.idxmin()
    def told(name: str) -> str:
        return f"{name} ({table[HOLDS][name]} of {table.loc[name].sum()} clear answers)"
    return (f"Claims hold most often on {told(best)} and least often on {told(worst)}, each data "
            "set counted for itself.")


def _printed(known: Iterable[Claim]) -> str:
    found = Counter(claim.audit for claim in known)
    with_numbers = sum(found[word] for word in ("consistent", "partly", "inconsistent",
                                                "unresolved_by_noise"))
    return (f"Of the {with_numbers} claims for which the papers print numbers, these bear out "
            f"{found['consistent']}, {found['partly']} in part, contradict "
            f"{found['inconsistent']}, and leave {found['unresolved_by_noise']} within noise.")
