"""Clips, masks and series of the page on video: each number in its own row, each film as it was."""

from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch

matplotlib.use("agg")

from mae_lib import runs, studies  # noqa: E402
from mae_lib.book.parameters import read_flat  # noqa: E402
from mae_lib.data.clip_sets import drawn as drawn_clips  # noqa: E402
from mae_lib.evaluation.filled_clips import RATIOS  # noqa: E402
from mae_lib.evaluation.records import EvalRecord, to_value  # noqa: E402
from mae_lib.ledger import paper  # noqa: E402
from mae_lib.ledger.video_rows import AGNOSTIC, AGNOSTIC_TUBES, RANDOM, TUBES, before  # noqa: E402
from mae_lib.pages import methods, papers  # noqa: E402
from mae_lib.pages import video as page  # noqa: E402
from mae_lib.studies import Plan, Setting, video  # noqa: E402
from mae_lib.studies.settings import without_seed  # noqa: E402

N = 300
CLIPS = Setting(dataset="menagerie_clips", method="mae-st", preset="toy", ratio=0.9, views=0,
                train_images=8, target="normalised")
PARAMETERS = read_flat(runs.ROOT / "params" / "smoke.yaml", runs.ROOT)
PLAN = Plan.of(PARAMETERS | {
    "preset": "toy", "clip_seeds": [0, 1, 2], "clip_views": 48, "clip_images": 24,
    "clip_ratios": [0.5, 0.75, 0.9], "clip_counts": [8, 24], "design_seeds": [0, 1, 2],
    "ratios": [0.1, 0.75, 0.9], "datasets": ["menagerie", "fashion_mnist"],
    "method_datasets": ["menagerie", "fashion_mnist"], "method_views": 640, "world_frames": 40})
PROTOCOLS = {studies.LINEAR_PROBE: ("linear probe, cls", "linear probe, mean"),
             studies.MOTION: ("motion probe, cls", "motion probe, mean"),
             studies.CLIP_TUNING: ("clips fine-tuned",)}


def right(setting: Setting, protocol: str) -> int:
    """Test items that a run gets right: more where more is hidden, and for each protocol others."""
    return (round(100 * setting.ratio) + 3 * setting.seed + setting.train_images
            + 20 * bool(setting.views) + sum(map(ord, protocol)) % 50
            + 30 * (setting.dataset == "fashion_mnist"))


def result(study, setting: Setting) -> runs.Result:
    about = {"setting": without_seed(setting), "seed": setting.seed, "split": "test",
             "dataset": setting.dataset}
    if study is studies.FILLING:
        found = [EvalRecord(**about, protocol="own masks, hidden", metric=name + end, n=5,
                            value=filling(setting, i, bool(end)))
                 for i, name in enumerate(RATIOS) for end in ("", ", what moves")]
    else:
        found = [EvalRecord(**about, protocol=name, metric="accuracy", n=N,
                            value=right(setting, name) / N,
                            items=(np.arange(N) < right(setting, name)).astype(float))
                 for name in PROTOCOLS[study]]
    return runs.Result(to_value(found), {"seconds": 1}, "cache")


def filling(setting: Setting, i: int, moves: bool) -> float:
    return (1 + i + 10 * moves + setting.seed / 4 + 100 * (setting.method == "videomae")
            + 200 * bool(setting.sampling))


@pytest.fixture
def plan(monkeypatch):
    """A plan whose sweeps find all their results, which no file holds."""
    monkeypatch.setattr(Plan, "sweep", lambda _, study, chosen: studies.Sweep(
        list(chosen), [result(study, s) for s in chosen]))
    return PLAN


def mean(settings: list[Setting], protocol: str) -> float:
    return pytest.approx(100 * np.mean([right(s, protocol) for s in settings]) / N)


# Films

def test_moving_things_are_test_clips_with_their_class_and_direction():
    films = page.moving_things(CLIPS, 5)
    known = drawn_clips("test", 5, 32, "medium32")
    names = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")
    for i, (label, film) in enumerate(films.items()):
        x, y = known.motions[0]["velocity"][i]
        way = names[round(np.degrees(np.arctan2(y, x)) / 45) % 8]
        assert label.startswith(f"{i + 1}: ") and label.endswith(f", {way}")
        assert np.array_equal(film, known.images[i])


def test_gameplay_is_the_end_of_what_was_played():
    pytest.importorskip("ale_py")
    from mae_lib.data.atari import record

    films = page.gameplay(["pong", "boxing"], CLIPS, 12)
    assert list(films) == ["Pong", "Boxing"]
    assert np.array_equal(films["Boxing"], record("boxing", 20, size=32).frames[12:].swapaxes(0, 1))


def test_films_hide_what_the_pictures_of_the_masks_hide():
    first, hidden, films = page.samplings(CLIPS, clip=2, seed=1)
    clip = drawn_clips("test", 3, 32, "medium32").images[2]
    assert np.array_equal(np.rint(255 * first), clip[:, ::2].swapaxes(0, 1))
    assert list(hidden) == list(films) == ["agnostic, 0.9", "tube, 0.9", "frame, 0.75",
                                           "block, 0.75"]
    for title, cells in hidden.items():
        grey = cells.repeat(2, 0).repeat(4, 1).repeat(4, 2)
        assert (films[title][:, grey] == 140).all()
        assert np.array_equal(films[title][:, ~grey], clip[:, ~grey])
    assert (hidden["tube, 0.9"] == hidden["tube, 0.9"][0]).all()
    assert hidden["frame, 0.75"].all((1, 2)).sum() == 3
    assert not np.array_equal(hidden["agnostic, 0.9"][0], hidden["tube, 0.9"][0])


def test_what_networks_draw_stands_beside_what_they_see():
    settings = {"A": CLIPS, "B": Setting(dataset="menagerie_clips", method="videomae", views=0,
                                         preset="toy", train_images=8, ratio=0.75)}
    films = page.drawn(settings, 3)
    assert list(films) == ["original", "means alone", "A: visible", "A: drawn", "B: visible",
                           "B: drawn"]
    original = drawn_clips("test", 4, 32, "medium32").images[3][:, [0, 2, 4, 7]]
    assert np.array_equal(films["original"], original)
    for name, shown in (("A", 1 - 231 / 256), ("B", 0.25)):  # 25 tubelets stay; places, of 64
        same = (films[f"{name}: visible"] == original).all(0)
        assert same.mean() == pytest.approx(shown, abs=0.03)
        assert (films[f"{name}: visible"][:, ~same] == 140).all()
    cell = films["means alone"][:, 1, 4:8, 8:12]
    assert np.ptp(cell.reshape(3, -1), axis=1).max() == 0
    assert {film.shape for film in films.values()} == {(3, 4, 32, 32)}


def test_copying_gets_right_what_stands_still_and_is_shown(monkeypatch):
    """Two still clips: a frame says all of the others, a tube nothing of what it hides."""
    still = np.random.default_rng(0).random((2, 3, 1, 32, 32)).repeat(8, 2)
    monkeypatch.setattr(page, "images_of", lambda *_: SimpleNamespace(
        batch=lambda index: torch.from_numpy(still[index]).float()))
    table = page.copying([CLIPS], 2).set_index("hidden")
    seen, error = (table[f"Menagerie clips: {what}"] for what in ("seen elsewhere (%)",
                                                                 "error of copying"))
    assert (seen["tube, 0.9"], error["tube, 0.9"]) == (0, 1)
    assert (seen["frame, 0.75"], error["frame, 0.75"]) == (100, 0)
    # Clips of noise: the mean is equally wrong everywhere.
    for name in ("agnostic, 0.9", "block, 0.75"):
        assert 0 < seen[name] < 100
        assert error[name] == pytest.approx(1 - seen[name] / 100, abs=0.03)


# Series

def test_every_ratio_has_its_own_runs_and_images_are_of_the_same_world(plan):
    curves, steps, sweeps = page.by_ratio(plan)
    places = {"clips, class": ("linear probe, mean", video.ratios(PLAN)),
              "clips, motion": ("motion probe, mean", video.ratios(PLAN))}
    for panel, (protocol, levels) in places.items():
        part = curves[curves.panel == panel].set_index("ratio").value.to_dict()
        assert part == {ratio: mean(runs_, protocol) for ratio, runs_ in levels.items()}
    of_images = curves[curves.panel == "images, class"]
    assert of_images.ratio.tolist() == [0.1, 0.75, 0.9] and set(of_images.seeds) == {3}
    setting = Setting(train_images=PARAMETERS["train_images"], ratio=0.1)
    expected = [right(Setting(ratio=0.1, train_images=setting.train_images, seed=s),
                      "linear probe, cls") for s in range(3)]
    assert of_images.value.iloc[0] == pytest.approx(100 * np.mean(expected) / N)
    table = page.differences(steps)
    assert table.of.tolist() == list(places) + ["images, class"]
    assert table["mean"].tolist() == pytest.approx([100 * 15 / N] * 3)  # .9 less .75, as planted


def test_counts_and_gains_are_of_one_method(plan):
    curves, gains, _ = page.by_count(plan)
    for name in (TUBES, AGNOSTIC):
        for arm, words in ((name, "pretrained"), (before(name), "labels alone")):
            part = curves[(curves.panel == name) & (curves.row == words)]
            assert dict(zip(part.clips, part.value, strict=True)) == {
                n: mean(held, "clips fine-tuned") for n, held in video.sizes(PLAN)[arm].items()}
    assert gains[["method", "clips"]].values.tolist() == [[TUBES, 8], [TUBES, 24], [AGNOSTIC, 8],
                                                          [AGNOSTIC, 24]]
    assert gains["mean"].tolist() == pytest.approx([100 * 20 / N] * 4)


def test_baselines_stand_beside_the_row_that_they_are_of(plan):
    table, _ = page.over_baselines(plan)
    assert table.hidden.tolist() == [AGNOSTIC, AGNOSTIC_TUBES, TUBES, RANDOM]
    first = {row.hidden: row for row in table.itertuples(index=False)}
    texts = {name: first[name][1:] for name in first}
    for name, offset in ((AGNOSTIC, 0), (AGNOSTIC_TUBES, 200), (TUBES, 100), (RANDOM, 300)):
        means = [float(text.partition(" ")[0]) for text in texts[name]]
        assert means == [offset + n + 0.25 for n in (1, 2, 3, 11, 12, 13)]
    assert list(table)[1:] == [*RATIOS, *(f"{name}, what moves" for name in RATIOS)]


# Printed tables

def test_printed_numbers_stand_at_the_sampling_that_the_paper_means():
    """By the case and ratio of each line; the talk swaps two labels, which are not read."""
    st = paper.table("S003.maest_mask_sampling").set_index("case").acc.to_dict()
    assert papers.printed("S003.maest_mask_sampling") == {page.CLASS: {
        "MAE-ST": st["agnostic"], "MAE-ST, tubes": st["space-only"],
        "MAE-ST, frames": st["time-only"], "MAE-ST, blocks": st["block"]}}
    lines = paper.table("S003.videomae_mask_sampling").set_index(["case", "ratio (%)"])
    named = {"VideoMAE": ("tube", 90), "VideoMAE, tubes, .75": ("tube", 75),
             "VideoMAE, random": ("random", 90), "VideoMAE, frames": ("frame", 87.5)}
    found = papers.printed("S003.videomae_mask_sampling")
    for measure, column in ((page.CLASS, "K400"), (page.MOTION, "SSV2")):
        assert found[measure] == {name: lines[column][key] for name, key in named.items()}
    assert {page.CLASS, page.MOTION, page.TUNED} <= set(methods.MEASURES)
