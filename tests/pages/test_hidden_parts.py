"""Counts and curves of raw pictures' hidden parts, and the sheet of nearest ones."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mae_lib import runs
from mae_lib.data.images import ImageSet
from mae_lib.data.menagerie import menagerie
from mae_lib.evaluation.records import EvalRecord, to_value
from mae_lib.evaluation.shared_targets import hidden_patches
from mae_lib.figures.masks import GREY
from mae_lib.pages import hidden_parts
from mae_lib.studies import Setting, Sweep, targets

RATIOS = (0.25, 0.75)
NEAR = {targets.NEAREST: 0.4, targets.OF_ITS_CLASS: 0.3}


def value(dataset: str, place: float, seed: int) -> float:
    return place + 0.01 * seed + 0.2 * (dataset == "fashion_mnist")


def records(dataset: str, shared=((0, 0), (0, 0))) -> list[EvalRecord]:
    def record(protocol, metric, value, ratio=None, seed=0):
        name = protocol if ratio is None else f"{protocol}, ratio {ratio:g}"
        about = {"preset": "laptop"} | ({} if ratio is None else {"ratio": ratio})
        return EvalRecord(about, seed, dataset, "train", name, metric, value, 40)

    found = [record(targets.SINGLE, name, 0.1 * i) for i, name in enumerate(hidden_parts.PLACES)]
    found += [record(targets.EVERYTHING, targets.CHANCE, 0.06)]
    for ratio, (own, another) in zip(RATIOS, shared, strict=True):
        kinds = {targets.OWN: own, targets.ANOTHER: another, targets.PAIRS: 123456}
        found += [record(targets.EVERYTHING, k, float(v), ratio) for k, v in kinds.items()]
    for seed in range(5):
        found += [record(targets.PIXELS, targets.DISTANCE, value(dataset, 0.9, seed), seed=seed)]
        for ratio in RATIOS:
            found += [record(p, m, value(dataset, v + ratio, seed), ratio, seed)
                      for p in hidden_parts.LINES for m, v in NEAR.items()]
            found += [record(p, m, value(dataset, 0.1 * i + ratio, seed), ratio, seed)
                      for p in hidden_parts.MASKS for i, m in enumerate(hidden_parts.FORMS)]
    return found


@pytest.fixture(scope="module")
def found() -> Sweep:
    shared = {"menagerie": ((0, 0), (0, 0)), "fashion_mnist": ((90, 1), (0, 0))}
    results = [runs.Result(to_value(records(name, held)), {}, "cache")
               for name, held in shared.items()]
    return Sweep([Setting(name) for name in shared], results)


def interval(values) -> tuple[float, float]:
    return stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))


def test_shared_targets_stand_by_set_and_ratio(found):
    table = hidden_parts.shared(found)
    assert table["data set"].tolist() == ["Menagerie"] * 2 + ["Fashion-MNIST"] * 2
    assert table["share hidden"].tolist() == ["0.25", "0.75"] * 2
    assert table["pairs compared"].tolist() == ["123,456"] * 4
    assert table["share it, of one class"].tolist() == [0, 0, 90, 0]
    assert table["of two classes"].tolist() == [0, 0, 1, 0]
    assert table["unexplained"].tolist() == ["all", "all", "at least half", "all"]


def test_single_patches_are_percentages(found):
    table = hidden_parts.single_patches(found).set_index("data set")
    assert table.loc["Menagerie"].tolist() == pytest.approx([0, 10, 20, 30])
    assert list(table.columns) == ["at the same place", "anywhere", "of one colour",
                                   "anywhere, not of one colour"]


def test_curves_of_nearest_parts_are_means_over_parts(found):
    table = hidden_parts.nearest_curves(found)
    assert list(table.panel.unique()) == [
        "Menagerie: nearest is of its class", "Fashion-MNIST: nearest is of its class",
        "Menagerie: distance of the nearest", "Fashion-MNIST: distance of the nearest"]
    assert set(table.line) == {"hidden part", "hidden part, levelled", "visible part"}
    row = table[(table.panel == "Fashion-MNIST: nearest is of its class")
                & (table.line == "visible part") & (table.ratio == 0.75)].iloc[0]
    values = [value("fashion_mnist", 0.3 + 0.75, seed) for seed in range(5)]
    assert row.value == pytest.approx(np.mean(values))
    assert (row.low, row.high) == pytest.approx(interval(values)) and row.seeds == 5
    assert hidden_parts.chances(found) == {
        f"{name}: nearest is of its class": {"chance": 0.06}
        for name in ("Menagerie", "Fashion-MNIST")}


def test_curves_of_pixels_are_measured_and_in_closed_form(found):
    table = hidden_parts.pixel_curves(found).set_index(["panel", "line", "ratio"]).value
    assert len(table) == 2 * 4 * 2
    assert table["Menagerie", "one mask", 0.25] == pytest.approx(0.27)
    assert table["Menagerie", "own masks, expected", 0.75] == pytest.approx(0.87)
    whole = hidden_parts.whole_pixels(found).set_index("data set")
    assert whole.loc["Fashion-MNIST", "R of pixels"] == pytest.approx(1.12)
    assert whole.loc["Menagerie", ["95 % from", "to"]].tolist() == pytest.approx(
        interval([value("menagerie", 0.9, seed) for seed in range(5)]))


@pytest.fixture(scope="module")
def pictures() -> ImageSet:
    return menagerie("train", 40, size=32)


@pytest.mark.parametrize("ratio", [0.25, 0.75])
def test_the_sheet_shows_the_nearest_hidden_part(pictures, ratio):
    rows, titles = hidden_parts.nearest_sheet(pictures, ratio, 4, 5, seed=3)
    hidden = np.isin(np.arange(64), hidden_patches((8, 8), ratio, 1, 3)[0]).reshape(8, 8)
    shown = np.kron(hidden, np.ones((4, 4))).astype(bool)
    pixels = pictures.images[:, :, shown].reshape(40, -1).astype(float)
    for i in range(5):
        apart = [np.inf if j == i else np.abs(pixels[i] - pixels[j]) @ np.abs(pixels[i] - pixels[j])
                 for j in range(40)]
        best = int(np.argmin(apart))
        assert np.allclose(rows["picture"][i] * 255, pictures.images[i])
        assert np.allclose(rows["its picture"][i] * 255, pictures.images[best])
        assert titles[i] == ("same" if pictures.labels[i] == pictures.labels[best]
                             else "other")
        for name, j in (("hidden part", i), ("nearest one", best)):
            expected = np.where(shown, pictures.images[j] / 255, GREY)
            assert np.allclose(rows[name][i], expected)


def test_a_copy_is_not_the_nearest(pictures):
    twice = pictures.subset(np.r_[0, 0, 1:40])
    rows, _ = hidden_parts.nearest_sheet(twice, 0.5, 4, 3)
    assert (rows["picture"] != rows["its picture"]).any((1, 2, 3)).all()
    once, _ = hidden_parts.nearest_sheet(pictures, 0.5, 4, 1)
    assert np.array_equal(rows["its picture"][1], once["its picture"][0])
    with pytest.raises(ValueError, match="images must hold two that differ, got 3 of the same"):
        hidden_parts.nearest_sheet(pictures.subset([0, 0, 0]), 0.5, 4, 1)


@pytest.mark.parametrize("count", [0, 41])
def test_more_pictures_than_there_are_cannot_be_shown(pictures, count):
    with pytest.raises(ValueError, match=rf"count must lie in 1\.\.40, got {count}"):
        hidden_parts.nearest_sheet(pictures, 0.5, 4, count)


def test_tables_are_frames_that_curves_can_draw(found):
    from mae_lib import figures

    for table in (hidden_parts.nearest_curves(found), hidden_parts.pixel_curves(found)):
        assert isinstance(table, pd.DataFrame)
        figure = figures.ratio_curves(table, "ratio", "value", "panel", by="line")
        assert len(figure.axes) == table.panel.nunique()
