"""Tables 1 and 4: every accuracy stands on its own test set, beside the number printed for it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from mae_lib import runs
from mae_lib.data.images import ImageSet
from mae_lib.data.shifts import SHIFTS
from mae_lib.evaluation.records import EvalRecord, not_tested, to_value
from mae_lib.ledger import paper
from mae_lib.pages import accuracies as pages
from mae_lib.studies import Plan, Setting, Sweep
from mae_lib.studies.settings import without_seed

RATIOS, N = (0.1, 0.5, 0.75), 100
PRINTED = paper.series("S000.T1", "ratio_series").set_index("mask ratio")
RIGHT = {name: 20 + 10 * i for i, name in enumerate(("test", *SHIFTS))}  # images, at ratio .1


def sweep(protocol: str, splits, dataset="menagerie") -> Sweep:
    """At ratio r ``RIGHT + 20 r`` of 100 images are right; one fewer for the mean token."""
    settings, results = [Setting(dataset, ratio=r) for r in RATIOS], []
    for s in settings:
        found = []
        for split in splits:
            for less, pool in enumerate(("cls", "mean")):
                items = np.arange(N) < RIGHT[split] + round(20 * s.ratio) - less
                found.append(EvalRecord(without_seed(s), s.seed, dataset, split,
                                        f"{protocol}, {pool}", "accuracy", items.mean(), N, items))
        found.append(not_tested("no pool", setting=without_seed(s), seed=0, dataset=dataset,
                                split="filtered", protocol=f"{protocol}, cls", metric="accuracy"))
        results.append(runs.Result(to_value(found), {}, "cache"))
    return Sweep(settings, results)


@pytest.fixture
def found():
    return pages.of(sweep("robustness", SHIFTS), sweep("linear probe", ["test"]))


def test_test_sets_are_kept_apart_and_come_in_the_papers_order(found):
    assert list(found["test set"].unique()) == ["plain", *SHIFTS]
    assert set(found.seeds) == {1} and set(found.n) == {N}  # not lumped together as if runs
    one, = found[(found["test set"] == "sketch") & (found.ratio == 0.5)
                 & (found.protocol == "class token")].itertuples()
    low, high = stats.binomtest(80, N).proportion_ci(method="wilson")
    assert (one.value, one.low, one.high) == pytest.approx((0.80, low, high))


def test_a_set_that_was_not_tested_is_not_there():
    assert "filtered" not in set(pages.of(sweep("robustness", ["sketch"]))["test set"])


def test_the_printed_number_stands_beside_the_analogue_of_its_set(found):
    table = pages.beside_paper(found, "ratio", PRINTED)
    assert list(table.columns) == ["probe on", "ratio", "Kong et al.", "Menagerie"]
    assert len(table) == 7 * len(RATIOS)
    row = table.set_index(["probe on", "ratio"]).loc[("odd pose (OJN)", 0.75)]
    assert row["Kong et al."] == 18.24 and row["Menagerie"].startswith("55.0 [")
    mean = table[table["probe on"] == "plain, mean token"]
    assert mean["Kong et al."].isna().all() and mean["Menagerie"].iloc[0].startswith("21.0 [")


def test_a_level_that_the_paper_has_not_is_a_dash(found):
    table = pages.beside_paper(found.assign(ratio=found.ratio + 1), "ratio", PRINTED)
    assert table["Kong et al."].isna().all()


def test_controls_are_named_by_what_they_read(found):
    table = pages.controls(found[found.ratio == 0.1])
    assert table[["probe on", "features"]].to_numpy().tolist()[:3] == [
        ["plain", "class token"], ["plain", "mean token"], ["fresh draw", "class token"]]
    assert [text.split(" [")[0] for text in table["Menagerie"][:3]] == ["22.0", "21.0", "32.0"]


def test_log_odds_beyond_accuracy_are_residuals_of_a_line(found):
    points = pages.curves(found, "ratio", PRINTED)
    assert list(points.panel.unique()) == ["Kong et al.", "Menagerie"]
    part = points[points.panel == "Kong et al."].set_index(["test set", "ratio"])
    plain, sketch = (np.log(PRINTED[c] / (100 - PRINTED[c])) for c in ("IN1K", "IN-S"))
    line = stats.linregress(plain, sketch)
    assert part["log odds"]["sketch"].to_numpy() == pytest.approx(sketch.to_numpy())
    assert part["beyond accuracy"]["sketch"].to_numpy() == pytest.approx(
        (sketch - line.intercept - line.slope * plain).to_numpy())
    assert part["beyond accuracy"]["plain"].isna().all()


def test_without_a_line_nothing_is_beyond_it(found):
    few = pages.curves(found[found.ratio < 0.7], "ratio", PRINTED)
    assert few[few.panel == "Menagerie"]["beyond accuracy"].isna().all()
    zero = found.assign(value=found.value.where(found.ratio > 0.2, 0.0))
    points = pages.curves(zero, "ratio", PRINTED)
    assert np.isfinite(points["log odds"]).all()


def test_a_column_of_the_contact_sheet_is_one_class(monkeypatch):
    def some(dataset, name, count, *_, **__):
        labels = np.random.default_rng(len(name)).permutation(np.repeat(np.arange(4), 3))
        labels = labels[labels != 2] if name == "filtered" else labels
        pixels = np.broadcast_to(labels[:, None, None, None], (len(labels), 3, 2, 2))
        return ImageSet(pixels.astype(np.uint8), labels, tuple("abcd"), "", "")

    monkeypatch.setattr(Plan, "test_set", lambda plan, dataset: some(dataset, "plain", 1))
    monkeypatch.setattr(pages, "shifted_images", some)
    plan = Plan(("menagerie",), (0,), "toy", 0, 1, 1.0, (0.5,), (4,), 0.5, 1)
    sheet = pages.contact_sheet(plan, "menagerie", 8)
    assert list(sheet) == ["plain", *SHIFTS]
    for shown in sheet.values():
        assert (shown[:, 0, 0, 0] * 255).round().tolist() == [0, 1, 3]  # class 2 is not in all


def test_intervals_run_over_training_runs_where_there_are_several():
    one = sweep("linear probe", ["test"])
    again = [EvalRecord(r.setting, 1, r.dataset, r.split, r.protocol, r.metric, r.value + 0.02, r.n)
             for r in one.records if r.status == "ok"]
    both = Sweep(one.settings, [*one.results, runs.Result(to_value(again), {}, "cache")])
    table = pages.of(both)
    assert set(table.seeds) == {2} and set(table.over) == {"runs"}
    assert table.value.iloc[0] == pytest.approx(0.23)


def test_both_forms_of_the_probe_stand_beside_each_other():
    usual = sweep("linear probe", ["test"])
    other = sweep("LARS probe", ["fresh draw"])  # ten more of the hundred are right there
    table = pages.two_forms(usual, Sweep(other.settings[1:], other.results[1:]))
    assert list(table.columns) == ["data set", "ratio", "class token", "class token, LARS",
                                   "mean token", "mean token, LARS"]
    assert table.ratio.tolist() == [0.5, 0.75]
    assert table.iloc[0].tolist()[2:] == ["30.0", "40.0 (+10.0)", "29.0", "39.0 (+10.0)"]


def test_each_way_of_training_is_a_row_with_its_own_numbers():
    """The second way was tried at one ratio only, on a set that counts ten images fewer right."""
    usual, other = sweep("linear probe", ["test"]), sweep("linear probe", ["test"])
    one = Sweep(other.settings[:1], [runs.Result(to_value(
        [replace(r, value=r.value - 0.1, items=np.arange(N) < 100 * r.value - 10)
         for r in other.records if r.status == "ok" and r.setting["ratio"] == 0.1]), {}, "cache")])
    table = pages.by_training({"as above": usual, "longer": one})
    table = table.set_index(["features", "training"])
    assert list(table.columns) == ["data set", *(f"ratio {r:g}" for r in RATIOS)]
    assert [text.split()[0] for text in table.loc[("class token", "as above")][1:]] == [
        "22.0", "30.0", "35.0"]
    assert table.loc[("mean token", "longer"), "ratio 0.1"].startswith("11.0 [")
    assert isinstance(table.loc[("mean token", "longer"), "ratio 0.5"], float)  # missing
