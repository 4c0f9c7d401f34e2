"""What the chapter on detection shows is what was stored and what was printed."""

import matplotlib
import numpy as np
import pytest

matplotlib.use("agg")

from mae_lib import figures, runs, studies  # noqa: E402
from mae_lib.evaluation.records import EvalRecord, to_value  # noqa: E402
from mae_lib.figures import Thing  # noqa: E402
from mae_lib.pages import detections  # noqa: E402
from mae_lib.studies import detection  # noqa: E402

RATIOS, ITEMS = (0.1, 0.75), np.linspace(0, 0.4, 16)


def stored(things: list[dict], ap: float, setting) -> runs.Result:
    about = {"dataset": "menagerie scenes", "split": "test", "seed": setting.seed,
             "setting": studies.settings.without_seed(setting)}
    records = [EvalRecord(**about, protocol=kind, metric=metric, value=ap, n=16, items=ITEMS)
               for kind in ("box", "mask") for metric in ("ap", "ap50")]
    return runs.Result(to_value(records) | detection._shown(things), {}, "cache")


def perfect(count: int) -> list[dict]:
    objects = detection.scene_set("test", count)
    return [{"boxes": b.astype(float), "labels": k, "masks": m,
             "scores": np.linspace(0.9, 0.5, len(k))}
            for b, k, m in zip(objects.boxes, objects.labels, objects.masks, strict=True)]


@pytest.fixture
def sweeps():
    settings = [studies.Setting(ratio=r) for r in RATIOS]
    settings += [studies.Setting(ratio=0.75, unit=8, patch=8)]
    measured = studies.Sweep(settings, [stored(perfect(3), x, s) for x, s in
                                        zip((0.1, 0.2, 0.3), settings, strict=True)])
    control = studies.untrained(settings)
    return measured, studies.Sweep(control, [stored([], 0.05, control[0])])


def test_scenes_show_the_truth_what_was_found_and_nothing_where_nothing_was(sweeps):
    images, found = detections.scenes(*sweeps, RATIOS, count=3)
    assert np.array_equal((images * 255).round(), detection.scene_set("test", 3).images)
    assert list(found) == ["what is there", "untrained", "ratio 0.1", "ratio 0.75"]
    assert found["untrained"] == [[], [], []]
    for true, seen in zip(found["what is there"], found["ratio 0.1"], strict=True):
        assert {(t.name, *t.box) for t in true} == {(t.name, *t.box) for t in seen}
        for thing in true:
            other, = [t for t in seen if tuple(t.box) == tuple(thing.box)]
            assert np.array_equal(other.mask, thing.mask)


def test_one_place_gets_the_surest_of_its_names():
    one = {"boxes": np.array([[0, 0, 20, 20], [1, 0, 20, 20], [30, 30, 50, 50]], float),
           "labels": np.array([3, 5, 5]), "scores": np.array([0.9, 0.8, 0.3]),
           "masks": np.zeros((3, 64, 64), bool)}
    there = detection.scene_set("test", 1)
    things, = detections.found_things(detection._shown([one]), there)
    names = [there.categories[k - 1] for k in (3, 5)]
    assert [t.name for t in things] == names


def test_ours_stand_beside_the_printed_row_that_they_stand_for(sweeps):
    found, control = map(detections.precisions, sweeps)
    assert found.patch.tolist() == [4, 4, 4, 4, 8, 8]
    assert found.value.tolist() == pytest.approx([10, 10, 20, 20, 30, 30])
    half = 1.959964 * 100 * ITEMS.std(ddof=1) / 4
    assert found.low.tolist() == pytest.approx((found.value - half).tolist())
    by_ratio = detections.beside_printed(found[found.patch == 4], "S000.T3", "ratio",
                                         control=control)
    assert by_ratio.ratio.tolist() == [0.1, 0.75, "untrained"]
    assert by_ratio["box, paper"].tolist()[:2] == [30.47, 39.72]
    assert by_ratio["mask, paper"].tolist()[:2] == [28.24, 36.35]
    assert by_ratio["box, paper"].isna().tolist() == [False, False, True]
    assert by_ratio["box, ours"].str.split().str[0].tolist() == ["10.0", "20.0", "5.0"]
    by_patch = detections.beside_printed(found[found.ratio == 0.75], "S000.T5", "patch", scale=2)
    assert by_patch["box, paper"].tolist() == [34.21, 33.77]
    assert by_patch["mask, ours"].str.split().str[0].tolist() == ["20.0", "30.0"]


def test_curves_show_all_that_the_paper_prints(sweeps):
    panels = detections.panels(detections.precisions(sweeps[0]))
    theirs = panels[panels.panel == detections.THEIRS]
    assert theirs[theirs.protocol == "box"].value.tolist() == [30.47, 32.38, 34.87, 39.72, 37.17]
    assert len(panels) - len(theirs) == 6


def test_things_are_drawn_where_they_are_and_named_inside_the_picture():
    mask = np.zeros((32, 32), bool)
    mask[3:9, 24:32] = True
    things = [Thing("a long name", np.array([24, 3, 32, 9]), mask),
              Thing("b", np.array([0, 28, 5, 32]), np.zeros((32, 32), bool)),
              Thing("c", None, mask)]
    fig = figures.scene_grid(np.zeros((2, 3, 32, 32)), {"one": [things, []], "two": [[], []]})
    fig.draw_without_rendering()
    ax = fig.axes[0]
    assert [a.get_title() for a in fig.axes] == ["one", "two", "", ""]
    assert [len(a.patches) for a in fig.axes] == [2, 0, 0, 0] and len(ax.collections) == 2
    box = ax.patches[0]
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (23.5, 2.5, 8, 6)
    outline = np.concatenate([path.vertices for path in ax.collections[0].get_paths()])
    assert outline.min(0).tolist() == pytest.approx([23.5, 2.5], abs=0.01)
    assert outline.max(0).tolist() == pytest.approx([31.5, 8.5], abs=0.01)
    assert [text.get_text() for text in ax.texts] == ["a long name", "b"]
    frame = ax.get_window_extent()
    for text in ax.texts:
        place = text.get_window_extent()
        assert frame.x0 - 2 <= place.x0 and place.x1 <= frame.x1 + 2
        assert frame.y0 - 2 <= place.y0 and place.y1 <= frame.y1 + 2


@pytest.mark.parametrize(("images", "found", "message"), [
    ([], {"a": []}, "got 0 images and 1 columns"), (np.zeros((1, 3, 4, 4)), {}, "and 0 columns"),
    (np.zeros((1, 3, 4, 4)), {"a": []}, "each of 1 images, got 0 under 'a'")])
def test_scenes_that_do_not_fit_are_refused(images, found, message):
    with pytest.raises(ValueError, match=message):
        figures.scene_grid(images, found)
