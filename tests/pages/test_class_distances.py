"""Distances of classes under readers' names: each number in its own row, kind of images, token."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from scipy import stats

from mae_lib import runs, studies
from mae_lib.evaluation.records import EvalRecord, to_value
from mae_lib.pages import class_distances
from mae_lib.pages.class_distances import CLASS, MASKED, MEAN, TWICE, WHOLE
from mae_lib.studies import Setting
from mae_lib.studies.settings import without_seed

METRICS = ("relative distance", "effective rank", "cosine", "uniformity")
TRAINED = [Setting(preset="toy", views=64, seed=seed) for seed in (0, 1, 2)]
INITIAL = [replace(s, views=0) for s in TRAINED]


def number(setting, images, token, metric):
    """Another one for each record."""
    return (setting.seed**2 / 100 + 0.1 * (images == MASKED) + 0.2 * (token == MEAN)
            + 0.4 * (token == TWICE) + METRICS.index(metric) + 8 * (setting.ratio == 0.5)
            + 16 * (setting.dataset == "fashion_mnist"))


@pytest.fixture
def plan():
    def result(setting):
        about = {"setting": without_seed(setting), "seed": setting.seed, "split": "test",
                 "dataset": setting.dataset, "n": 9}
        return runs.Result(to_value(
            [EvalRecord(**about, protocol=f"{images}, {token}", metric=metric,
                        value=number(setting, images, token, metric))
             for images in (WHOLE, MASKED) for token in (CLASS, TWICE, MEAN)
             for metric in METRICS]), {"seconds": 1}, "cache")

    def sweep(study, chosen):
        assert study is studies.DISTANCES
        return studies.Sweep(list(chosen), [result(s) for s in chosen])
    return SimpleNamespace(sweep=sweep)


def test_means_and_intervals_are_over_runs(plan):
    found, sweeps = class_distances.measured(plan, {"MAE": TRAINED, "none": []})
    one, = found[(found.images == WHOLE) & (found.token == MEAN)
                 & (found.metric == "relative distance")].itertuples()
    values = [0.2, 0.21, 0.24]
    low, high = stats.t.interval(0.95, 2, sum(values) / 3, stats.sem(values))
    assert (one.value, one.low, one.high) == pytest.approx((sum(values) / 3, low, high))
    assert one.text == f"{one.value:.3f} [{low:.3f}, {high:.3f}]"
    rank = found[(found.metric == "effective rank") & (found.token == CLASS)]
    assert [text.partition(" ")[0] for text in rank.text] == ["1.0", "1.1"]
    assert len(found) == 2 * 3 * 4 and len(sweeps) == 1


def test_a_network_without_training_has_no_mask_of_its_own(plan):
    found, _ = class_distances.measured(plan, {"start": INITIAL, "MAE": TRAINED})
    assert set(found[found.row == "start"].images) == {WHOLE}
    assert set(found[found.row == "MAE"].images) == {WHOLE, MASKED}
    with pytest.raises(ValueError, match="rows must hold runs to compare, got none"):
        class_distances.measured(plan, {"MAE": []})


def test_curves_show_whole_images_first_a_line_a_token(plan):
    rows = {0.5: [replace(s, ratio=0.5) for s in TRAINED], 0.75: TRAINED}
    found = class_distances.curves(class_distances.measured(plan, rows)[0], "cosine")
    assert list(dict.fromkeys(found.panel)) == [f"cosine, {WHOLE}", f"cosine, {MASKED}"]
    held = found.set_index(["panel", "token", "row"]).value
    assert held[f"cosine, {MASKED}", MEAN, 0.5] == pytest.approx(10.3 + 0.05 / 3)
    assert held[f"cosine, {WHOLE}", CLASS, 0.75] == pytest.approx(2 + 0.05 / 3)
    assert len(held) == 8
    both = {0.75: [*TRAINED, *(replace(s, dataset="fashion_mnist") for s in TRAINED)]}
    panels = class_distances.curves(class_distances.measured(plan, both)[0], "cosine").panel
    assert set(panels) == {f"{name}: cosine, {images}" for name in ("Menagerie", "Fashion-MNIST")
                           for images in (WHOLE, MASKED)}


def test_tables_have_a_row_a_level_and_a_column_a_place(plan):
    rows = {0.5: [replace(TRAINED[0], ratio=0.5)], 0.75: [TRAINED[0]]}
    found, _ = class_distances.measured(plan, rows)
    table = class_distances.table(found, "relative distance", "hidden").set_index("hidden")
    assert table.loc["0.5"].to_dict() == {
        f"{WHOLE}, {CLASS}": "8.000", f"{WHOLE}, {MEAN}": "8.200", f"{MASKED}, {CLASS}": "8.100",
        f"{MASKED}, {MEAN}": "8.300"}
    assert list(table.index) == ["0.5", "0.75"]


def test_collapse_has_every_number_of_one_token(plan):
    found, _ = class_distances.measured(plan, {"start": INITIAL[:1], "MAE": TRAINED[:1]})
    table = class_distances.collapse(found, MASKED, TWICE)
    assert table.to_dict("records") == [{
        "pretraining": "MAE", "relative distance": "0.500", "effective rank": "1.5",
        "cosine": "2.500", "uniformity": "3.500"}]
    whole = class_distances.collapse(found, WHOLE, MEAN)
    assert whole.pretraining.tolist() == ["start", "MAE"]
    both = {"MAE": [TRAINED[0], replace(TRAINED[0], dataset="fashion_mnist")]}
    several = class_distances.collapse(class_distances.measured(plan, both)[0], WHOLE, CLASS)
    assert several[["data set", "cosine"]].values.tolist() == [
        ["Menagerie", "2.000"], ["Fashion-MNIST", "18.000"]]
