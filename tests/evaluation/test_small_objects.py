"""Errors on moving objects by their area, against loops over objects, pixels and tokens."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mae_lib.data.atari import components
from mae_lib.data.images import ImageSet
from mae_lib.evaluation.small_objects import (
    EDGES,
    bin_names,
    object_errors,
    small_object_records,
    unseen_pixels,
)
from mae_lib.models.masks import Mask, mask_from_binary, nothing_hidden, random_mask
from mae_lib.models.patches import patchify
from mae_lib.models.worlds.autoencoder import mwm
from mae_lib.models.worlds.stem import hidden_probability

ABOUT = {"setting": {"ratio": 0.75}, "seed": 3, "split": "test"}
NAMES = ("object error over background error, {}", "object error over background error, {}, unseen",
         "object error over background error, {}, seen by a token",
         "object error over that of leaving it out, {}", "share of its pixels unseen, {}",
         "share of the frame, {}")
EDGES_USED = (1, 4, 20)


def scenes(count=9, side=32):
    """Squares of 1 to 7 pixels that jump about before a wall."""
    rng = np.random.default_rng(0)
    wall = rng.integers(100, size=(3, side, side), dtype=np.uint8)
    frames = np.repeat(wall[None], count, axis=0)
    for frame in frames:
        for length in (1, 1, 3, 7):
            y, x = rng.integers(side - length, size=2)
            frame[:, y:y + length, x:x + length] += np.uint8(rng.integers(40, 150))
    return ImageSet(frames, np.zeros(count, int), ("dots",), "dots", "f" * 64), wall


IMAGES, WALL = scenes()


def tiny(**options):
    return mwm("toy", seed=0, reward=False, **options).eval()


def flooded(moves):
    """Objects of one frame as lists of pixels, by walking to all eight neighbours, in the order of
    their first pixels."""
    waiting, objects = {tuple(p) for p in np.argwhere(moves).tolist()}, []
    for pixel in sorted(waiting):
        if pixel not in waiting:
            continue
        waiting.remove(pixel)
        edge = reached = [pixel]
        while edge:
            near = {(y + dy, x + dx) for y, x in edge for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
            edge = sorted(near & waiting)
            waiting -= set(edge)
            reached = reached + edge
        objects.append(reached)
    return objects


def sees(token, pixel, stem):
    """Whether the token at (row, column) of the grid was computed from the pixel."""
    reach = (7, 14) if stem else (0, 7)
    return all(8 * t - reach[0] <= p <= 8 * t + reach[1]
               for t, p in zip(token, pixel, strict=True))


def slow(model, stem, ratio, mask_seed=0):
    """``{metric: values}``, one pixel after the other."""
    x = torch.from_numpy(IMAGES.images).float() / 255
    generator = torch.Generator().manual_seed(mask_seed)
    mask = random_mask(9, (4, 4), ratio, generator=generator) if ratio else nothing_hidden(
        9, (4, 4))
    with torch.no_grad():
        patches = model.predict(x, mask)
    mean, std = (v[:, None, None] for v in (model.encoder.mean, model.encoder.std))
    still, rows = [], []
    for i in range(9):
        hidden = {(n // 4, n % 4) for n in mask.hidden[i].tolist()}
        tokens = [(n // 4, n % 4) for n in mask.visible[i].tolist()]
        picture = torch.zeros(3, 32, 32)
        for n in range(16):
            row, col = n // 4 * 8, n % 4 * 8
            picture[:, row:row + 8, col:col + 8] = patches[i, n].reshape(8, 8, 3).permute(2, 0, 1)
        picture = (picture * std + mean).clamp(0, 1)
        error = (picture - x[i]).square().sum(0)
        blank = np.square(IMAGES.images[i] / 255.0 - WALL / 255.0).sum(0)
        moves = (IMAGES.images[i] != WALL).any(0)
        for pixel in np.argwhere(~moves).tolist():
            if not ratio or (pixel[0] // 8, pixel[1] // 8) in hidden:
                still.append(error[tuple(pixel)].item())
        for pixels in flooded(moves):
            scored = [p for p in pixels if not ratio or (p[0] // 8, p[1] // 8) in hidden]
            lost = {p for p in pixels if ratio and not any(sees(t, p, stem) for t in tokens)}
            rows.append((pixels, scored, lost, error, blank))
    found = {}
    names = ("1 to 3 px", "4 to 19 px", "20 px or more")
    for name, low, high in zip(names, (1, 4, 20), (4, 20, 10**9), strict=True):
        lists = [[] for _ in NAMES]
        for pixels, scored, lost, error, blank in rows:
            if not low <= len(pixels) < high:
                continue
            parts = (scored, [p for p in scored if p in lost], [p for p in scored if p not in lost])
            for values, part in zip(lists, parts, strict=False):
                if part:
                    values.append(np.mean([error[p].item() for p in part]) / np.mean(still))
            if scored:
                lists[3].append(sum(error[p].item() for p in scored) / sum(blank[p]
                                                                          for p in scored))
            lists[4].append(len(lost) / len(pixels))
            lists[5].append(len(pixels) / 1024)
        found |= {title.format(name): v for title, v in zip(NAMES, lists, strict=True)}
    return found


@pytest.mark.parametrize("stem, ratio", [(True, 0.75), (False, 0.75), (True, 0.5), (True, 0)])
def test_records_agree_with_a_slow_loop(stem, ratio):
    model = tiny(stem=stem)
    records = small_object_records(model, IMAGES, ratio=ratio, edges=EDGES_USED, behind=WALL,
                                   mask_seed=5, **ABOUT)
    expected = slow(model, stem, ratio, mask_seed=5)
    assert sorted(r.metric for r in records) == sorted(expected)
    for record in records:
        values = expected[record.metric]
        assert (record.status == "ok") == (len(values) > 0) and record.n == len(values)
        assert record.protocol == ("hidden cells, ratio " + str(ratio) if ratio else
                                   "nothing hidden")
        assert (record.setting, record.seed, record.split) == ({"ratio": 0.75}, 3, "test")
        if values:
            assert list(record.items) == pytest.approx(values, rel=1e-4)
            assert record.value == pytest.approx(np.mean(values), rel=1e-4)
    tested = {r.metric.split(", ")[-1] for r in records if r.status == "ok"}
    assert ("unseen" in tested) == (ratio > 0) and ("seen by a token" in tested) == stem


def test_with_nothing_hidden_batches_do_not_matter(monkeypatch):
    model = tiny()
    whole = small_object_records(model, IMAGES, behind=WALL, ratio=0, **ABOUT)
    monkeypatch.setattr("mae_lib.evaluation.small_objects.BATCH", 4)
    parts = small_object_records(model, IMAGES, behind=WALL, ratio=0, **ABOUT)
    assert [(r.metric, r.n) for r in whole] == [(r.metric, r.n) for r in parts]
    assert [r.value for r in whole if r.n] == pytest.approx([r.value for r in parts if r.n])


def test_models_with_and_without_a_stem_are_scored_on_the_same_objects():
    both = [{r.metric: r.n for r in small_object_records(tiny(stem=stem), IMAGES, behind=WALL,
                                                         **ABOUT)} for stem in (True, False)]
    shared = [m for m in both[0] if not m.endswith(("unseen", "seen by a token"))]
    assert len(shared) == 4 * len(EDGES) and all(both[0][m] == both[1][m] for m in shared)


class Painter:
    """Draws what it is told to, and fails by a given amount."""

    def __init__(self, drawn: np.ndarray):
        self.patches = patchify(torch.from_numpy(drawn).float(), 8)
        self.config = {"patch": 8, "target": "pixel"}
        self.encoder = SimpleNamespace(mean=torch.zeros(3), std=torch.ones(3))

    def predict(self, images, mask):
        return self.patches


def test_a_model_that_paints_the_wall_leaves_every_object_out():
    model = Painter(np.repeat(WALL[None] / 255.0, 9, 0) + 0.1)  # a little too bright
    records = small_object_records(model, IMAGES, edges=(1,), behind=WALL, ratio=0, **ABOUT)
    found = {r.metric: r for r in records}
    error = found["object error over background error, 1 px or more"]
    moves = (IMAGES.images != WALL).any(1)
    by_hand = [np.mean([(IMAGES.images[i, :, y, x] / 255 - WALL[:, y, x] / 255 - 0.1) ** 2
                        for y, x in pixels]) * 3 / 0.03
               for i in range(9) for pixels in flooded(moves[i])]
    assert list(error.items) == pytest.approx(by_hand, rel=1e-3)


def test_still_pixels_without_error_are_refused():
    black = ImageSet(np.zeros_like(IMAGES.images), IMAGES.labels, ("dots",), "black", "")
    with pytest.raises(ValueError, match="still pixels .* with an error, got 9216 still pixels"):
        small_object_records(Painter(black.images), black, ratio=0, **ABOUT)
    with pytest.raises(ValueError, match="still pixels .* with an error, got 0 still pixels"):
        small_object_records(Painter(black.images), black, behind=WALL + np.uint8(1), ratio=0,
                             **ABOUT)


def test_missing_objects_score_one_and_drawn_ones_zero():
    """Whatever their contrast."""
    right = IMAGES.images / 255.0
    wall = np.repeat(WALL[None] / 255.0, 9, 0)
    wrong = np.zeros(right.shape)
    wrong[:, 0] = 0.01 * (right[:, 0] == wall[:, 0])  # still pixels need some error
    for picture, expected in ((wall, 1.0), (right, 0.0)):
        records = small_object_records(Painter(picture + wrong), IMAGES, behind=WALL, **ABOUT)
        values = [r.value for r in records if "leaving it out" in r.metric and r.n]
        assert len(values) > 2 and values == pytest.approx([expected] * len(values), abs=1e-5)


@pytest.mark.parametrize("stem", [True, False])
def test_unseen_pixels_against_a_loop_over_tokens(stem, generator):
    mask = random_mask(3, (3, 5), 0.7, generator=generator)
    found = unseen_pixels(mask, (3, 5), 8, stem=stem)
    assert found.shape == (3, 24, 40)
    for b in range(3):
        tokens = [(n // 5, n % 5) for n in mask.visible[b].tolist()]
        for y in range(24):
            for x in range(40):
                assert found[b, y, x] == (not any(sees(t, (y, x), stem) for t in tokens))


def test_unseen_pixels_are_as_rare_as_they_should_be(generator):
    """0.061 of the pixels that nine tokens see, and three quarters without a stem."""
    mask = random_mask(4000, (8, 8), 0.75, generator=generator)
    for stem, seeing in ((True, 9), (False, 1)):
        share = unseen_pixels(mask, (8, 8), 8, stem=stem)[:, 28, 35].float().mean().item()
        p = float(hidden_probability(64, 48, seeing))
        assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / 4000)


def test_without_visible_tokens_all_is_unseen():
    every = torch.arange(6)[None]
    assert unseen_pixels(Mask(every[:, :0], every), (2, 3), 8, stem=True).all()
    assert not unseen_pixels(nothing_hidden(1, (2, 3)), (2, 3), 8, stem=True).any()


def test_a_single_token_shows_its_field():
    hidden = torch.ones(1, 16)
    hidden[0, 5] = 0
    seen = ~unseen_pixels(mask_from_binary(hidden), (4, 4), 8, stem=True)[0]
    expected = torch.zeros(32, 32, dtype=torch.bool)
    expected[1:23, 1:23] = True
    assert torch.equal(seen, expected)


def test_object_errors_against_a_loop():
    rng = np.random.default_rng(0)
    moves, region, errors = rng.random((5, 9, 9)) < 0.3, rng.random((5, 9, 9)) < 0.5, rng.random(
        (5, 9, 9))
    moves[2] = False  # a frame without objects
    found = object_errors(errors, region, components(moves))
    expected = []
    for i in range(5):
        for pixels in flooded(moves[i]):
            values = [errors[i][p] for p in pixels if region[i][p]]
            expected.append(np.mean(values) if values else np.nan)
    assert np.isnan(found).any() and sorted(found[~np.isnan(found)]) == pytest.approx(
        sorted(v for v in expected if not np.isnan(v)))
    assert np.isnan(found).sum() == np.isnan(expected).sum()


def test_the_threshold_leaves_out_what_is_faint():
    model = tiny()
    counts = [sum(r.n for r in small_object_records(model, IMAGES, behind=WALL, threshold=t,
                                                    **ABOUT) if "share of the frame" in r.metric)
              for t in (0, 100)]
    strong = [len(flooded((np.abs(frame.astype(int) - WALL) > 100).any(0)))
              for frame in IMAGES.images]
    assert counts[1] == sum(strong) < counts[0]


def test_objects_below_the_first_edge_are_left_out():
    found = small_object_records(tiny(), IMAGES, behind=WALL, edges=(4,), **ABOUT)
    share = next(r for r in found if r.metric == "share of the frame, 4 px or more")
    assert share.items.min() * 1024 >= 4 and {r.metric.split(", ")[1] for r in found} == {
        "4 px or more"}


def test_bins_have_the_names_of_their_areas():
    assert bin_names((1, 2, 4, 10)) == ["1 px", "2 to 3 px", "4 to 9 px", "10 px or more"]
    assert EDGES[:3] == (1, 2, 4) and bin_names(EDGES)[-1] == "1024 px or more"


@pytest.mark.parametrize("edges", [(), (0, 2), (4, 2), (2, 2), (1, 2.5)])
def test_edges_that_do_not_rise_are_refused(edges):
    with pytest.raises(ValueError, match="edges must be integers that rise, the first at least 1"):
        small_object_records(tiny(), IMAGES, edges=edges, **ABOUT)


@pytest.mark.parametrize("ratio", [1.0, 0.99, -0.5])
def test_ratios_that_cannot_be_met_are_refused(ratio):
    with pytest.raises(ValueError, match=r"ratio must .* got"):
        small_object_records(tiny(), IMAGES, ratio=ratio, **ABOUT)
