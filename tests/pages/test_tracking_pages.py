"""Pairs of frames and carried labels: what is seen is what was drawn, bounds stand at the ends."""

import matplotlib
import numpy as np
import pytest
import torch

matplotlib.use("agg")

from mae_lib import runs, studies  # noqa: E402
from mae_lib.book.parameters import read_flat  # noqa: E402
from mae_lib.data.clip_sets import drawn  # noqa: E402
from mae_lib.evaluation.propagation import propagation_records  # noqa: E402
from mae_lib.evaluation.records import EvalRecord, to_value  # noqa: E402
from mae_lib.evaluation.tracking import region_similarity  # noqa: E402
from mae_lib.ledger.video_rows import SCRATCH, SIAMESE, STILL, SYMMETRIC  # noqa: E402
from mae_lib.pages import methods, tracking  # noqa: E402
from mae_lib.studies import Plan, Setting, video  # noqa: E402
from mae_lib.studies.settings import without_seed  # noqa: E402

PLAN = Plan.of(read_flat(runs.ROOT / "params" / "smoke.yaml", runs.ROOT) | {"clip_seeds": [0, 1]})
PAIR = Setting(dataset="menagerie_clips", method="siam-mae", preset="toy", ratio=0.95, patch=2,
               views=0, train_images=8, target="normalised")
N = 5  # clips
PLACE = {SCRATCH: 0.5, SIAMESE: 0.8, STILL: 0.6, SYMMETRIC: 0.7}
METRICS = ("j", "f", "j&f", "pck@0.1", "pck@0.2")


def score(setting: Setting, metric: str) -> float:
    name = next(name for name, held in video.pairs(PLAN).items() if setting in held)
    return PLACE[name] + setting.seed / 100 + METRICS.index(metric) / 1000


def result(study, setting: Setting) -> runs.Result:
    if study is studies.TRACKING_BOUNDS:
        found = [EvalRecord({}, 0, "clips", "test", name, metric, value + i / 10, N,
                            np.linspace(-0.1, 0.1, N) + value + i / 10)
                 for name, value in (("floor: still", 0.1), ("ceiling: cells", 0.9))
                 for i, metric in enumerate(("j&f", "j"))]
    else:
        found = [EvalRecord(without_seed(setting), setting.seed, "clips", "test",
                            "label propagation", metric, score(setting, metric), N)
                 for metric in METRICS]
    return runs.Result(to_value(found), {"seconds": 1}, "cache")


@pytest.fixture
def plan(monkeypatch):
    """A plan whose sweeps find all their results, which no file holds."""
    monkeypatch.setattr(Plan, "sweep", lambda _, study, chosen: studies.Sweep(
        list(chosen), [result(study, s) for s in chosen]))
    return PLAN


def test_encoders_stand_between_the_bounds_on_one_set_of_clips(plan):
    found, _ = tracking.tracked(plan)
    assert found.row.tolist() == ["labels stay where they were", SCRATCH, SIAMESE, STILL, SYMMETRIC,
                                  "cells told the truth"]
    middle = [PLACE[name] + 0.005 + 0.002 for name in found.row[1:-1]]
    assert found.value.tolist() == pytest.approx([0.1, *middle, 0.9])
    assert set(found.panel) == {"J&F"} and set(found.dataset) == {"menagerie"}
    assert found.over.tolist() == ["images", *["runs"] * 4, "images"]
    assert found.low[0] == pytest.approx(0.1 - 1.959964 * np.std(np.linspace(-.1, .1, N), ddof=1)
                                         / N ** 0.5)


def test_encoders_of_clips_and_of_pictures_are_compared_run_by_run(plan):
    gaps = methods.gaps(plan, video.pairs(plan), "J&F", [(SIAMESE, STILL), (SIAMESE, SYMMETRIC)])
    assert gaps["mean"].tolist() == pytest.approx([0.2, 0.1])
    assert gaps["each run"].tolist() == ["+0.200, +0.200", "+0.100, +0.100"]


def test_every_score_stands_in_its_own_column(plan):
    table = tracking.scores(plan).set_index("encoder")
    assert list(table) == [metric.upper() for metric in METRICS]
    for name, place in PLACE.items():
        for i, metric in enumerate(METRICS):
            assert table[metric.upper()][name].startswith(f"{place + 0.005 + i / 1000:.3f} [")


@pytest.mark.parametrize(("method", "past"), [("siam-mae", 256), ("siam-mae symmetric", 12)])
def test_pairs_are_seen_as_their_masks_say(method, past):
    """Of 256 patches 12 stay of a frame that is masked by .95."""
    setting = Setting(**without_seed(PAIR) | {"method": method})
    rows, titles = tracking.pairs(setting, 4, seed=3)
    clips = drawn("test", 4, 32, "medium32").images / np.float32(255)
    network = studies.network(setting)
    chosen = network.sample_mask(4, torch.Generator().manual_seed(3))
    for i, (a, b) in enumerate(zip(chosen.first.tolist(), chosen.second.tolist(), strict=True)):
        assert np.allclose(rows["past"][i], clips[i, :, a])
        assert np.allclose(rows["future"][i], clips[i, :, b])
        assert titles[i] == ("1 frame later" if b - a == 1 else f"{b - a} frames later")
        places = {(n // 16, n % 16) for n in chosen.visible[i].tolist()}
        for y, x in np.ndindex(32, 32):
            same = rows["future"][i, :, y, x]
            expected = same if (y // 2, x // 2) in places else 0.55
            assert np.allclose(rows["future, as seen"][i, :, y, x], expected)
            if (y // 2, x // 2) in places:
                assert np.allclose(rows["future, drawn"][i, :, y, x], same)
    assert ("past, as seen" in rows) == (past < 256)
    if past < 256:
        grey = (rows["past, as seen"] == np.float32(0.55)).all(1)
        assert (~grey).sum((1, 2)).tolist() == [4 * past] * 4


def test_carried_labels_are_those_that_are_scored():
    """J of the film's labels, over things that show in the first frame, is the record's."""
    clips = drawn("test", 3, 32, "medium32")
    encoder = studies.network(PAIR).encoder
    marks, x = torch.from_numpy(clips.marks), torch.from_numpy(clips.images).float() / 255
    labels = tracking.carried(encoder, x, marks)
    assert labels.shape == marks.shape
    expected = {r.metric: r for r in propagation_records(encoder, clips, setting={}, seed=0,
                                                         split="test")}["j"].items
    things = torch.where(marks > 0, (marks.long() - 1) // 8 + 1, 0)
    for i in range(3):
        there = [k for k in (1, 2) if (things[i, 0] == k).any()]
        j = [region_similarity(labels[i, 1:] == k, things[i, 1:] == k).mean() for k in there]
        assert np.mean(j) == pytest.approx(expected[i], abs=1e-6)


def test_films_tint_things_alone():
    films = tracking.films({"A": PAIR, "B": Setting(**without_seed(PAIR) | {"seed": 1})}, 1)
    assert list(films) == ["true labels", "A", "B"]
    clip = drawn("test", 2, 32, "medium32")
    nothing = clip.marks[1] == 0
    assert np.array_equal(films["true labels"][:, nothing], clip.images[1][:, nothing])
    thing = (clip.marks[1] > 0) & (clip.marks[1] <= 8)
    tint = 255 * np.array(matplotlib.colors.to_rgb("#D55E00"))
    mixed = 0.4 * clip.images[1][:, thing] + 0.6 * tint[:, None]
    assert np.abs(films["true labels"][:, thing] - mixed).max() < 0.6
    labels = tracking.carried(studies.network(PAIR).encoder,
                              torch.from_numpy(clip.images[1:]).float() / 255,
                              torch.from_numpy(clip.marks[1:]))
    assert np.array_equal((films["A"] != clip.images[1]).any(0), labels[0].numpy() > 0)
