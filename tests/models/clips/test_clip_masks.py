import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import label

from mae_lib.models.clips.masks import (
    COUNTS,
    SAMPLERS,
    agnostic_mask,
    block_mask,
    frame_mask,
    shown_count,
    tube_mask,
)
from mae_lib.models.masks import random_mask, visible_count

GRID = (4, 4, 6)
PAPER = (8, 14, 14)
grids = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(name, batch=8, grid=GRID, ratio=0.75, **options):
    options = {"generator": seeded()} | options
    return SAMPLERS[name](batch, grid, ratio, **options)


def cells(mask, grid=GRID):
    """1 where hidden, [B, slices, places]."""
    return mask.binary().reshape(-1, grid[0], grid[1] * grid[2])


def assert_is_a_partition(mask, batch, total, visible):
    assert mask.visible.shape == (batch, visible)
    assert mask.hidden.shape == (batch, total - visible)
    assert mask.visible.dtype == mask.hidden.dtype == torch.int64
    assert (mask.visible.diff(dim=1) > 0).all() and (mask.hidden.diff(dim=1) > 0).all()
    every = torch.cat(mask, dim=1).sort(1).values
    assert torch.equal(every, torch.arange(total).expand(batch, total))


# Ratio, rule, tubelets that stay visible of 8x14x14: methods.md 2.6, 4.1 and 4.2.
PUBLISHED = [("agnostic", 0.9, "mae", 156), ("agnostic", 0.5, "mae", 784),
             ("tube", 0.9, "videomae", 160), ("tube", 0.9, "mae", 152),
             ("tube", 0.75, "mae", 49 * 8), ("frame", 0.75, "mae", 2 * 196),
             ("frame", 0.875, "mae", 196), ("frame", 0.875, "videomae", 196),
             ("block", 0.75, "mae", 392)]


@pytest.mark.parametrize("name, ratio, rule, visible", PUBLISHED)
def test_visible_counts_are_the_published_ones(name, ratio, rule, visible):
    mask = draw(name, 2, PAPER, ratio, count=rule)
    assert_is_a_partition(mask, 2, 1568, visible)


@given(st.integers(2, 2000), st.integers(0, 99))
def test_counts_are_those_of_their_rule(total, percent):
    ratio = percent / 100
    expected = {"mae": int(total * (1 - ratio)), "videomae": total - int(ratio * total),
                "exact": total * (100 - percent) // 100}
    for rule, shown in expected.items():
        if 0 < shown < total:
            assert shown_count(total, ratio, rule) == shown
    if 0 < expected["mae"] < total:
        assert shown_count(total, ratio) == visible_count(total, ratio)


@given(st.sampled_from(sorted(SAMPLERS)), grids, st.integers(5, 95),
       st.sampled_from(sorted(COUNTS)), st.integers(0, 99))
def test_masks_partition_the_tubelets_or_are_refused(name, grid, percent, rule, seed):
    unit = {"tube": grid[0], "frame": grid[1] * grid[2]}.get(name, 1)
    total = math.prod(grid)
    try:
        shown = shown_count(total // unit, percent / 100, rule)
    except ValueError:
        with pytest.raises(ValueError, match="ratio must leave some of"):
            draw(name, 2, grid, percent / 100, count=rule, generator=seeded(seed))
        return
    mask = draw(name, 2, grid, percent / 100, count=rule, generator=seeded(seed))
    assert_is_a_partition(mask, 2, total, shown * unit)


def test_a_tube_hides_the_same_places_in_every_slice():
    hidden = cells(draw("tube"))
    assert torch.equal(hidden, hidden[:, :1].expand_as(hidden))
    assert (hidden.sum(2) == 18).all()


def test_a_frame_is_hidden_whole_or_not_at_all():
    hidden = cells(draw("frame"))
    assert torch.equal(hidden, hidden[..., :1].expand_as(hidden))
    assert (hidden[..., 0].sum(1) == 3).all()


def test_agnostic_masks_are_neither():
    hidden = cells(draw("agnostic"))
    assert not (hidden == hidden[:, :1]).all((1, 2)).any()
    assert not (hidden == hidden[..., :1]).all((1, 2)).any()


@pytest.mark.parametrize("name, size", [("agnostic", 96), ("tube", 24), ("frame", 4)])
def test_masks_follow_the_noise(name, size):
    noise = torch.rand(5, size, generator=seeded(7))
    shown = np.argsort(noise.numpy(), axis=1)[:, :size // 4]
    unit = np.isin(np.arange(size), shown[0])
    expected = {"agnostic": unit, "tube": np.tile(unit, 4), "frame": np.repeat(unit, 24)}[name]
    mask = SAMPLERS[name](5, GRID, 0.75, noise=noise)
    np.testing.assert_array_equal(mask.visible[0].numpy(), np.flatnonzero(expected))


@given(st.integers(1, 6), st.integers(2, 6), st.integers(10, 90), st.integers(0, 99))
def test_one_slice_is_masked_as_an_image(rows, cols, percent, seed):
    noise = torch.rand(3, rows * cols, generator=seeded(seed))
    if not 0 < int(rows * cols * (1 - percent / 100)) < rows * cols:
        return
    flat = random_mask(3, (rows, cols), percent / 100, noise=noise)
    for sampler in (agnostic_mask, tube_mask):
        mask = sampler(3, (1, rows, cols), percent / 100, noise=noise)
        assert torch.equal(mask.visible, flat.visible) and torch.equal(mask.hidden, flat.hidden)


@pytest.mark.parametrize("name", ["agnostic", "tube", "frame"])
def test_every_tubelet_is_hidden_at_the_same_rate(name):
    rate = draw(name, 4000).binary().mean(0)
    assert (rate - 0.75).abs().max() < 4 * math.sqrt(0.75 * 0.25 / 4000)


@pytest.mark.parametrize("name", SAMPLERS)
def test_equal_generators_give_equal_masks_and_clips_get_different_ones(name):
    first, again, other = (draw(name, generator=seeded(s)) for s in (3, 3, 4))
    assert torch.equal(first.hidden, again.hidden)
    assert not torch.equal(first.hidden, other.hidden)
    assert len({tuple(row) for row in first.hidden.tolist()}) > 1


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_leave_the_global_generator_alone(name):
    before = torch.get_rng_state()
    draw(name)
    assert torch.equal(before, torch.get_rng_state())


def mean_component(mask, grid):
    pieces = [label(clip)[1] for clip in mask.binary().reshape(-1, *grid).numpy()]
    return mask.hidden.shape[1] / np.mean(pieces)


@pytest.mark.parametrize("ratio", [0.15, 0.3])  # above, random tubelets hang together as well
def test_blocks_hang_together_more_than_random_tubelets(ratio):
    block = draw("block", 60, (8, 8, 8), ratio)
    assert mean_component(block, (8, 8, 8)) > 3 * mean_component(
        draw("agnostic", 60, (8, 8, 8), ratio), (8, 8, 8))


def test_blocks_change_less_from_tubelet_to_tubelet_in_space_and_in_time():
    block, random = (draw(name, 60, (8, 8, 8), 0.9).binary().reshape(-1, 8, 8, 8)
                     for name in ("block", "agnostic"))
    for axis in (1, 2, 3):
        assert block.diff(dim=axis).abs().mean() < random.diff(dim=axis).abs().mean() / 2


BAD = [("frame", (8, 14, 14), 0.9, {}, "some of 8 time slices visible and hide some, got 0.9, "
                                       "which leaves 0 visible"),
       ("frame", (1, 4, 4), 0.5, {}, "some of 1 time slices visible"),
       ("tube", (8, 3, 3), 0.9, {}, "some of 9 places visible .* which leaves 0 visible"),
       ("agnostic", (2, 2, 2), 0.9, {}, "some of 8 tubelets visible"),
       ("block", (2, 2, 2), 0.9, {}, "some of 8 tubelets visible"),
       ("tube", GRID, 0.0, {}, "which leaves 24 visible"),
       ("agnostic", GRID, 1.0, {}, r"ratio must lie in \[0, 1\), got 1.0"),
       ("frame", GRID, math.nan, {}, r"ratio must lie in \[0, 1\), got nan"),
       ("tube", GRID, 0.5, {"count": "half"}, "count must be one of mae, .* got 'half'"),
       ("agnostic", GRID, 0.5, {"noise": torch.rand(1, 24)}, r"noise must have shape \[1,96\]"),
       ("tube", GRID, 0.5, {"noise": torch.rand(1, 96)}, r"noise must have shape \[1,24\]"),
       ("frame", GRID, 0.5, {"noise": torch.rand(2, 4)}, r"noise must have shape \[1,4\]")]


@pytest.mark.parametrize("name, grid, ratio, options, message", BAD)
def test_what_cannot_be_met_is_refused(name, grid, ratio, options, message):
    with pytest.raises(ValueError, match=message):
        SAMPLERS[name](1, grid, ratio, **options)


def test_truncation_is_avoided_by_exact_counts():
    assert frame_mask(1, (10, 2, 2), 0.9, count="exact").visible.shape == (1, 4)
    assert block_mask(1, (10, 2, 5), 0.9, count="exact").visible.shape == (1, 10)
    with pytest.raises(ValueError, match="some of 10 time slices visible"):
        frame_mask(1, (10, 2, 2), 0.9)
