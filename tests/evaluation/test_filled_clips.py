"""Hidden parts of clips as a network draws them, as they are copied, and errors of both."""

import numpy as np
import pytest
import torch

from mae_lib.evaluation import filled_clips
from mae_lib.evaluation.filled_clips import (
    RATIOS,
    copied,
    filled,
    filling_records,
    shown_pixels,
    to_frames,
)
from mae_lib.models.clips.masks import SAMPLERS
from mae_lib.models.clips.methods import mae_st, video_mae

AT = [0, 2, 4, 7]  # the frames that MAE-ST predicts of eight
GRID = (4, 8, 8)
ABOUT = {"setting": {"ratio": 0.9}, "seed": 3, "split": "test"}
METHODS = {"mae-st": mae_st, "videomae": video_mae}
LEVEL = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3)}


class Noise:
    """Clips whose pixels have nothing to do with each other."""

    name = "noise"

    def __init__(self, count: int, seed: int = 0):
        self.clips = np.random.default_rng(seed).integers(0, 256, (count, 3, 8, 32, 32), np.uint8)

    def __len__(self) -> int:
        return len(self.clips)

    def batch(self, index) -> torch.Tensor:
        return torch.from_numpy(self.clips[index]).float() / 255


def network(name: str, target: str = "pixel", **more):
    return METHODS[name]("toy", target=target, seed=0, **LEVEL, **more)


@pytest.mark.parametrize(("name", "target", "more"), [
    ("mae-st", "pixel", {}), ("mae-st", "normalised", {}), ("mae-st", "normalised",
                                                            {"predicted": 2}),
    ("videomae", "pixel", {}), ("videomae", "normalised", {})])
def test_what_hits_the_target_everywhere_is_the_clip_itself(name, target, more):
    """By the targets that the methods are trained on."""
    model, clips = network(name, target, **more), Noise(3).batch(slice(None))
    tubes = model.encoder.patches(clips)
    found = model.target(tubes)
    if name == "mae-st" and not more:
        every = torch.arange(256).expand(3, -1)
        found = model.loss.target(model.loss.frame_of(tubes, every))
    frames = to_frames(found, clips, model)
    assert torch.allclose(frames, clips[:, :, AT], atol=1e-5)


def test_nothing_predicted_leaves_the_means_of_tubelets_by_colour_or_the_mean_of_all():
    clips = Noise(1).batch(slice(None))
    model = network("videomae", "normalised")
    drawn = to_frames(torch.zeros(1, 256, 96), clips, model)[0]
    assert drawn[1, 0, 4:8, 8:12] == pytest.approx(clips[0, 1, :2, 4:8, 8:12].mean().item())
    model = network("mae-st", "normalised")
    drawn = to_frames(torch.zeros(1, 256, 48), clips, model)[0]
    units = (clips[0, :, 7, 4:8, 8:12].mean((1, 2)) - model.encoder.mean) / model.encoder.std
    expected = units.mean() * model.encoder.std + model.encoder.mean
    assert drawn[:, 3, 5, 9].numpy() == pytest.approx(expected.numpy(), abs=1e-5)


def test_a_network_draws_what_it_predicts():
    model, clips = network("videomae"), Noise(2).batch(slice(None))
    mask = model.sample_mask(2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        cell = model.predict(clips, mask)[1, 2 * 64 + 3 * 8 + 5].view(2, 4, 4, 3)[0]
    expected = (cell * model.encoder.std + model.encoder.mean).clamp(0, 1)
    drawn = filled(model, clips, mask)[1, :, 2, 12:16, 20:24]
    assert torch.allclose(drawn, expected.movedim(-1, 0), atol=1e-6)


def test_pixels_are_shown_where_their_tubelet_is():
    mask = SAMPLERS["agnostic"](2, GRID, 0.9, generator=torch.Generator().manual_seed(0))
    shown = shown_pixels(mask, GRID, 2, 4)
    visible = [set(row) for row in mask.visible.tolist()]
    for b, t, y, x in np.ndindex(2, 8, 32, 32):
        assert shown[b, t, y, x] == (64 * (t // 2) + 8 * (y // 4) + x // 4 in visible[b])


def test_a_pixel_is_copied_from_the_nearest_frame_that_shows_it():
    clips = Noise(2).batch(slice(None))
    shown = torch.rand(2, 8, 32, 32, generator=torch.Generator().manual_seed(1)) < 0.15
    behind = torch.full((3, 32, 32), 0.5)
    found = copied(clips, shown, AT, behind)
    for b, s, y, x in np.ndindex(2, 4, 32, 32):
        near = sorted((abs(t - AT[s]), t) for t in range(8) if shown[b, t, y, x])
        expected = clips[b, :, near[0][1], y, x] if near else behind[:, y, x]
        assert torch.equal(found[b, :, s, y, x], expected)


FRAMES = np.random.default_rng(7).integers(0, 256, (9, 3, 32, 32), np.uint8)


@pytest.mark.parametrize(("drawer", "ones"), [
    ("mean", "network over mean"), ("copy", "network over copy")])
def test_who_draws_like_a_baseline_is_as_wrong_as_it(drawer, ones, monkeypatch):
    mean = torch.from_numpy(FRAMES.mean(0) / 255).float()

    def draw(model, clips, mask):
        shown = shown_pixels(mask, GRID, 2, 4)
        return (mean[:, None].expand(len(clips), -1, 4, -1, -1) if drawer == "mean" else
                copied(clips, shown, AT, mean))

    monkeypatch.setattr(filled_clips, "filled", draw)
    found = {r.metric: r for r in filling_records(network("mae-st"), Noise(70), FRAMES, **ABOUT)}
    assert set(found) == {name + end for name in RATIOS for end in ("", ", what moves")}
    for end in ("", ", what moves"):
        assert found[ones + end].value == pytest.approx(1)
        assert found["copy over mean" + end].value == pytest.approx(
            found["network over mean" + end].value / found["network over copy" + end].value)
    assert found[ones].n == 70 and found[ones].items.std() > 0


def test_errors_are_those_of_hidden_pixels_of_the_predicted_frames():
    model, clips, still = network("mae-st"), Noise(2), FRAMES[:1].repeat(3, 0)
    found = {r.metric: r for r in filling_records(model, clips, still, threshold=99, **ABOUT)}
    x = clips.batch(slice(None))
    mask = model.sample_mask(2, torch.Generator().manual_seed(0))
    drawn, visible = filled(model, x, mask).numpy(), [set(v) for v in mask.visible.tolist()]
    sums = np.zeros((2, 2, 2))  # clip; all or what moves; network or mean
    for b, (s, t), y, x_ in ((b, st, y, x_) for b in range(2) for st in enumerate(AT)
                             for y in range(32) for x_ in range(32)):
        if 64 * (t // 2) + 8 * (y // 4) + x_ // 4 in visible[b]:
            continue
        true, rest = clips.clips[b, :, t, y, x_].astype(int), still[0, :, y, x_].astype(int)
        errors = np.array([((drawn[b, :, s, y, x_] - true / 255) ** 2).sum(),
                           (((rest - true) / 255) ** 2).sum()])
        sums[b, 0] += errors
        sums[b, 1] += errors * (np.abs(rest - true).max() > 99)
    for i, end in enumerate(("", ", what moves")):
        items = sums[:, i, 0] / sums[:, i, 1].mean()
        assert found["network over mean" + end].items == pytest.approx(items, rel=1e-4)


def test_without_errors_to_compare_with_there_is_no_number():
    class Still(Noise):
        def batch(self, index):
            return torch.from_numpy(FRAMES[:1, :, None].repeat(8, 2)).float() / 255

    found = {r.metric: r for r in filling_records(network("videomae"), Still(1), FRAMES[:1],
                                                  **ABOUT)}
    assert all(r.status == "not tested" and "nothing to be wrong about" in r.reason
               for r in found.values())
