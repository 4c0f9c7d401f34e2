"""Boxes and tables of verdicts show what the verdicts are; no claim is lost, none made up."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from mae_lib.ledger import tally
from mae_lib.ledger.claims import all_claims
from mae_lib.ledger.verdicts import Effect, Verdict, all_of, difference, effect, exact
from mae_lib.pages import verdicts as pages

IDS = [claim.id for claim in all_claims()]
GOOD = difference(effect([0.3, 0.31, 0.29]), 0.1)
BAD = difference(effect([-0.3, -0.31, -0.29]), 0.1)
SMALL = difference(effect([0.03, 0.031, 0.029]), 0.1)
VOID = Verdict("void", reason="its <null> fails")
OPEN = difference(effect([2, -1.5, 3, 0.2, -0.8]), 1.0)


class Cells(HTMLParser):
    """Rows of the body of a table: their attributes, and the text and attributes of their cells."""

    def __init__(self, html: str):
        super().__init__()
        self.rows, self._inside = [], False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append((dict(attributes), []))
        elif tag in ("td", "th"):
            self.rows[-1][1].append([dict(attributes), ""])
            self._inside = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.rows[-1][1][-1][1] += data


@pytest.fixture(scope="module")
def ledger() -> tally.Ledger:
    first = {"K-R1": GOOD, "K-R2": BAD, "K-R3": OPEN, "K-L1": SMALL, "K-A1": VOID, "K-L2": GOOD}
    second = {"K-R1": GOOD, "K-R2": GOOD, "K-R3": BAD, "K-L1": BAD, "K-A1": OPEN, "K-L2": GOOD}
    second = {name: replace(verdict) for name, verdict in second.items()}  # measured by themselves
    nothing = Verdict("not tested", reason="no contrastive model is trained here")
    return tally.complete({"Menagerie": first | {"K-T9": nothing},
                           "Fashion": second | {"K-T9": nothing}},
                          {"K-T1": exact(0, 40), "K-T6": exact(1, 2)})


def test_a_box_shows_the_claim_the_verdict_and_its_effects():
    box = pages.verdict_box("K-T1", exact(0, 40), "Forty <graphs>.")
    assert 'class="verdict supported"' in box and "K-T1: supported" in box
    assert "Forty &lt;graphs&gt;." in box
    down = pages.verdict_box("K-T6", difference(Effect(-0.5), 0), "Here.")
    assert "verdict not-supported" in down and "not supported, reversed" in down
    spread = pages.verdict_box("K-T2", difference(effect([0.2, 0.3, 0.1]), 0.05), "There.")
    assert "n = 3" in spread and "one-sided limits" in spread


def test_a_box_says_what_stands_beside_a_verdict():
    verdict = Verdict("inconclusive", Effect(0.1), beside={"weak form, a trend": GOOD},
                      unadjusted="supported", caveat="without sketch: so")
    box = pages.verdict_box("K-R1", verdict, "Here.")
    assert "<p>Weak form, a trend: supported.</p>" in box
    assert "Before the correction for several claims: supported." in box
    assert "Without sketch: so." in box
    assert "Its &lt;null&gt; fails." in pages.verdict_box("K-R1", VOID, "Here.")


def test_tables_hold_every_verdict():
    verdicts = {"K-T1": exact(0, 9), "K-T6": all_of({"a": Effect(-1.0), "b": Effect(2.0)}, 0)}
    table = pages.claims_table(verdicts)
    assert table.verdict.tolist() == ["supported", "not supported"]
    assert pages.verdict_table(verdicts)["weakest effect"][1].startswith("-1 (counted")


def test_no_claim_disappears(ledger):
    assert len(IDS) == 129 and list(ledger) == IDS
    _, *rows = Cells(pages.ledger_table(ledger, "All.")).rows
    assert [row[0]["id"] for row in rows] == [f"claim-{name}" for name in IDS]
    assert [cells[0][1].removesuffix(row["data-tier"]) for row, cells in rows] == IDS


def test_every_cell_has_the_word_of_its_verdict(ledger):
    _, *rows = Cells(pages.ledger_table(ledger, "All.")).rows
    for (row, cells), (name, found) in zip(rows, ledger.items(), strict=True):
        assert set(row["data-verdict"].split("|")) == {v.word for v in found.values()}, name
        shown = {attributes["data-label"]: text for attributes, text in cells[3:]}
        if tally.one_for_all(found):
            assert list(shown) == ["Any data set"] and cells[3][0]["colspan"] == "2"
            assert shown["Any data set"].startswith(found["Menagerie"].word)
        else:
            for data, verdict in found.items():
                assert shown[data].startswith(verdict.word), name
                assert verdict.reason.replace("its", "Its") in shown[data]


def test_what_needs_no_data_set_has_one_cell():
    """Arithmetic gives equal verdicts on all; equal verdicts of training runs stay apart."""
    exactly, other = exact(3, 5), exact(3, 5)
    assert tally.one_for_all({"a": exactly, "b": other}) is exactly
    assert tally.one_for_all({"a": GOOD, "b": replace(GOOD)}) is None
    assert tally.one_for_all({"a": GOOD, "b": GOOD}) is GOOD  # theory, with sampling
    assert tally.one_for_all({"a": VOID, "b": replace(VOID)}) is None
    assert tally.one_for_all({"a": GOOD}) is None


def test_effects_come_with_interval_and_runs(ledger):
    table = pages.ledger_table(ledger, "All.")
    low, high = (GOOD.effect.limit(side) for side in (-1, 1))
    assert f"+0.3 [{low:+.3g}, {high:+.3g}], 3 runs" in table


def test_later_claims_say_so(ledger):
    later = [name for name, found in ledger.items() if name[0] in "OS"]
    assert len(later) == 54
    assert {ledger[name]["Fashion"].reason for name in later} == {"its chapter is still to come"}


def test_options_are_those_that_rows_have(ledger):
    """A filter can always be met, and every row by some choice of each filter."""
    html = pages.ledger_table(ledger, "All.")
    _, *rows = Cells(html).rows
    for name in ("verdict", "source", "family", "tier"):
        select = re.search(rf'<select name="{name}">(.*?)</select>', html)[1]
        options = set(re.findall(r'value="([^"]+)"', select))
        held = {value for row, _ in rows for value in row[f"data-{name}"].split("|")}
        assert options == held


@pytest.mark.parametrize(("family", "place"), [
    ("S000.F5", "Kong et al. 2023: Figure 5"), ("S000.s3.6", "Kong et al. 2023: section 3.6"),
    ("S000.abstract_contributions_S002", "Kong et al. 2023: abstract contributions"),
    ("S004.Eq_3_8", "Kong and Zhang 2023: equations 3 to 8"),
    ("S003.1f", "Kim 2023, slides: Table 1f of He et al."), ("S000.C.7", "Kong et al. 2023: "
                                                            "appendix C.7")])
def test_families_have_names_for_readers(family, place):
    assert pages.family_name(family) == place


def test_no_label_of_a_source_is_left_for_readers(ledger):
    texts = [text for _, cells in Cells(pages.ledger_table(ledger, "All.")).rows
             for _, text in cells]
    assert not [text for text in texts if re.search(r"\bS00\d", text)]
    assert len({pages.family_name(c.family) for c in all_claims()}) == len(
        {c.family for c in all_claims()})


def test_counts_add_up_to_all_claims(ledger):
    table = tally.counts(ledger).set_index("verdict")
    assert table.sum().tolist() == [129, 129]
    assert table.loc["supported"].tolist() == [3, 4]
    assert table.loc["supported (negligible)"].tolist() == [1, 0]


def test_themes_count_each_claim_once(ledger):
    table = tally.themes(ledger)
    answers = table[["holds", "does not hold", "could not be told"]].sum(axis=1)
    for name in ("Menagerie", "Fashion"):
        assert answers[table["data set"].isin([name, "any"])].sum() == 129
    row = table[(table.theme == "linear probing") & (table["data set"] == "Fashion")]
    assert row.iloc[0, 2:].tolist() == [1, 1, 5]
    assert table[table.theme == "theory"]["data set"].tolist() == ["any"]


def test_the_summary_shows_the_themes(ledger):
    _, _, *rows = Cells(pages.summary_table(ledger, "By theme.")).rows
    shown = {cells[0][1]: [text for _, text in cells[1:]] for _, cells in rows}
    assert shown["linear probing"] == ["2", "0", "5", "1", "1", "5"]
    assert shown["theory"] == ["1", "1", "8", "the same for all"]
    assert list(shown) == list(tally.THEMES.values())


def test_five_sentences_say_the_counts(ledger):
    coverage, by_set, agreement, best, printed = tally.sentences(ledger)
    assert coverage.startswith("Of the 129 claims of the ledger 2 were put to the test without")
    assert " and 6 by training; " in coverage and coverage.endswith(
        "118 wait for their chapters, and 1 more could not be tested on any data set."
        .replace("118", str(129 - 9)))
    assert "on Menagerie 3 hold, 1 do not and 2 could not be told; on Fashion 3 hold" in by_set
    assert "a clear answer to 4 of them, and the same one to 2: 2 hold on all, 0 on" in agreement
    assert "most often on linear probing (3 of 4 clear answers)" in best
    assert "least often on theory (1 of 2 clear answers)" in best
    consistent = sum(c.audit == "consistent" for c in all_claims())
    assert f"these bear out {consistent}," in printed


def test_sentences_without_any_answer_say_so():
    empty = tally.complete({"Menagerie": {}, "Fashion": {}}, {})
    coverage, by_set, agreement, best, _ = tally.sentences(empty)
    assert "129 wait for their chapters" in coverage
    assert best == "Too few themes have clear answers to compare them."


def test_one_data_set_is_enough():
    alone = tally.complete({"Menagerie": {"K-R1": GOOD}}, {})
    assert "claim-K-R1" in pages.ledger_table(alone, "All.")
    assert len(tally.sentences(alone)) == 5
    assert "<table" in pages.summary_table(alone, "By theme.")


@pytest.mark.parametrize(("measured", "named"), [
    ({}, "no data set"), ({"Menagerie": {"K-R99": GOOD}}, "K-R99")])
def test_verdicts_on_nothing_are_refused(measured, named):
    with pytest.raises(ValueError, match=f"measured must have a data set .* got {named}"):
        tally.complete(measured, {})


def test_sentences_become_a_list():
    assert pages.paragraphs(["a < b."]) == "<ul><li>a &lt; b.</li></ul>"


def test_the_summary_brings_its_look_along(ledger):
    html = pages.summary(ledger, "By theme.")
    assert html.startswith('<div class="cell_output"><div class="output text_html"><table')
    assert pages.summary_table(ledger, "By theme.") in html
    assert pages.paragraphs(tally.sentences(ledger)) in html
