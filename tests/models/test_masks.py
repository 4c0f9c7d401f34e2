import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import label

from mae_lib.models import masks
from mae_lib.models.masks import (
    Mask,
    block_mask,
    grid_mask,
    mask_from_binary,
    mask_from_order,
    nothing_hidden,
    random_mask,
    unit_mask,
    visible_count,
)

RATIOS = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
KEPT = {49: (44, 36, 24, 12, 4, 2), 64: (57, 48, 32, 16, 6, 3), 196: (176, 147, 98, 49, 19, 9),
        256: (230, 192, 128, 64, 25, 12), 784: (705, 588, 392, 196, 78, 39),
        1568: (1411, 1176, 784, 392, 156, 78)}
TRUNCATED = [(20, 0.8, 3, 4), (25, 0.8, 4, 5), (50, 0.8, 9, 10), (100, 0.8, 19, 20),
             (100, 0.9, 9, 10), (400, 0.9, 39, 40)]  # patches, ratio, float count, true count
SAMPLERS = {
    "random": lambda batch, g: random_mask(batch, (6, 8), 0.75, generator=g),
    "unit": lambda batch, g: unit_mask(batch, (6, 8), 0.75, 2, generator=g),
    "whole unit": lambda batch, g: unit_mask(batch, (6, 8), 0.75, 2, cut="whole_units",
                                             generator=g),
    "block": lambda batch, g: block_mask(batch, (6, 8), 0.75, generator=g),
    "grid": lambda batch, g: grid_mask(batch, (6, 8), offset="random", generator=g),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def assert_is_a_partition(mask, batch, patches, visible):
    """Ascending indices, every patch once, fixed counts."""
    assert mask.visible.shape == (batch, visible)
    assert mask.hidden.shape == (batch, patches - visible)
    assert mask.visible.dtype == mask.hidden.dtype == torch.int64
    assert (mask.visible.diff(dim=1) > 0).all() and (mask.hidden.diff(dim=1) > 0).all()
    every = torch.cat(mask, dim=1).sort(1).values
    assert torch.equal(every, torch.arange(patches).expand(batch, patches))


@pytest.mark.parametrize("patches, kept", KEPT.items())
def test_visible_counts_are_the_published_ones(patches, kept):
    assert tuple(visible_count(patches, ratio) for ratio in RATIOS) == kept


@pytest.mark.parametrize("patches, ratio, truncated, true", TRUNCATED)
def test_float_truncation_is_reproduced_and_the_exact_mode_avoids_it(patches, ratio, truncated,
                                                                     true):
    assert visible_count(patches, ratio) == truncated
    assert visible_count(patches, ratio, exact=True) == true
    assert random_mask(1, (1, patches), ratio, exact=True).visible.shape == (1, true)


@given(st.integers(2, 2000), st.integers(1, 99))
def test_the_exact_mode_counts_as_integers_do(patches, percent):
    kept = patches * (100 - percent) // 100
    if 0 < kept < patches:
        assert visible_count(patches, percent / 100, exact=True) == kept
        assert visible_count(patches, percent / 100) in (kept - 1, kept) or kept == 1


@pytest.mark.parametrize("patches, ratio", [(16, 0.95), (10, 0.9), (8, 0.9)])
def test_a_ratio_that_leaves_nothing_visible_is_refused(patches, ratio):
    with pytest.raises(ValueError, match=f"got {ratio}, which leaves 0 visible"):
        visible_count(patches, ratio)


def test_a_ratio_that_hides_nothing_is_refused():
    with pytest.raises(ValueError, match="got 0.0, which leaves 64 visible"):
        visible_count(64, 0.0)


@pytest.mark.parametrize("ratio", [1.0, 1.2, -0.1, math.nan])
def test_a_ratio_outside_its_range_is_refused(ratio):
    with pytest.raises(ValueError, match=r"ratio must lie in \[0, 1\), got"):
        visible_count(64, ratio)


@given(st.integers(1, 4), st.integers(1, 9), st.integers(2, 9), st.integers(5, 95),
       st.integers(0, 99))
def test_random_masks_partition_the_patches(batch, rows, cols, percent, seed):
    patches = rows * cols
    visible = int(patches * (1 - percent / 100))
    if 0 < visible < patches:
        mask = random_mask(batch, (rows, cols), percent / 100, generator=seeded(seed))
        assert_is_a_partition(mask, batch, patches, visible)


def test_random_masks_follow_the_noise_as_the_release_does(generator):
    noise = torch.rand(5, 64, generator=generator)
    shuffle = np.argsort(noise.numpy(), axis=1)
    restore = np.argsort(shuffle, axis=1)
    removed = np.take_along_axis(np.r_["1", np.zeros((5, 16)), np.ones((5, 48))], restore, axis=1)
    assert (np.take_along_axis(restore, shuffle, 1) == np.arange(64)).all()
    mask = random_mask(5, (8, 8), 0.75, noise=noise)
    np.testing.assert_array_equal(mask.binary().numpy(), removed)
    np.testing.assert_array_equal(mask.visible.numpy(), np.sort(shuffle[:, :16], axis=1))


@pytest.mark.parametrize("draw", SAMPLERS.values(), ids=SAMPLERS)
def test_equal_generators_give_equal_masks_and_images_get_different_ones(draw):
    first, again, other = draw(8, seeded(3)), draw(8, seeded(3)), draw(8, seeded(4))
    assert torch.equal(first.hidden, again.hidden)
    assert not torch.equal(first.hidden, other.hidden)
    assert len({tuple(row) for row in first.hidden.tolist()}) > 1


@pytest.mark.parametrize("draw", SAMPLERS.values(), ids=SAMPLERS)
def test_samplers_leave_the_global_generator_alone(draw):
    before = torch.get_rng_state()
    draw(3, seeded())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", ["random", "whole unit"])
def test_every_patch_is_hidden_at_the_same_rate(name):
    count = 4000
    rate = SAMPLERS[name](count, seeded()).binary().mean(0)
    error = math.sqrt(0.75 * 0.25 / count)
    assert (rate - 0.75).abs().max() < 4 * error


def slow_official_unit_mask(noise, grid, unit, visible):
    """The release's column order, one patch at a time, for one image."""
    rows, cols = grid
    units_per_row = math.ceil(cols / unit)
    chosen = []
    for index in sorted(range(len(noise)), key=lambda i: noise[i]):
        top, left = index // units_per_row * unit, index % units_per_row * unit
        for right in range(unit):
            for down in range(unit):
                if top + down < rows and left + right < cols:
                    chosen.append((top + down) * cols + left + right)
    return sorted(chosen[:visible])


@given(st.integers(1, 9), st.integers(2, 9), st.integers(1, 9), st.integers(5, 95),
       st.integers(0, 99))
def test_unit_masks_agree_with_a_loop_in_the_column_order(rows, cols, unit, percent, seed):
    patches = rows * cols
    visible = int(patches * (1 - percent / 100))
    if unit > max(rows, cols) or not 0 < visible < patches:
        return
    noise = torch.rand(3, math.ceil(rows / unit) * math.ceil(cols / unit), generator=seeded(seed))
    mask = unit_mask(3, (rows, cols), percent / 100, unit, noise=noise)
    assert_is_a_partition(mask, 3, patches, visible)
    assert mask.visible.tolist() == [
        slow_official_unit_mask(line, (rows, cols), unit, visible) for line in noise.tolist()]


def by_unit(binary, grid, unit):
    """[B, units, unit * unit] from [B, L]."""
    cells = binary.reshape(-1, grid[0] // unit, unit, grid[1] // unit, unit)
    return cells.transpose(2, 3).reshape(len(binary), -1, unit * unit)


COUNTS = [(28, 1, 0.75, 196, 0), (28, 2, 0.75, 49, 0), (28, 4, 0.75, 12, 0.25),
          (28, 4, 0.9, 4, 0.875), (28, 4, 0.5, 24, 0.5), (28, 4, 0.25, 36, 0.75),
          (28, 4, 0.1, 44, 0.0625), (14, 2, 0.75, 12, 0.25)]


@pytest.mark.parametrize("side, unit, ratio, whole, part", COUNTS)
def test_visible_units_are_the_published_counts_and_one_is_cut(side, unit, ratio, whole, part):
    mask = unit_mask(6, (side, side), ratio, unit, generator=seeded())
    shown = 1 - by_unit(mask.binary(), (side, side), unit).mean(2)
    assert ((shown == 1).sum(1) == whole).all()
    cut = (shown > 0) & (shown < 1)
    assert (cut.sum(1) == (part > 0)).all() and (shown[cut] == part).all()


def test_units_of_one_patch_are_random_masks(generator):
    noise = torch.rand(4, 64, generator=generator)
    units, single = unit_mask(4, (8, 8), 0.75, 1, noise=noise), random_mask(4, (8, 8), 0.75,
                                                                           noise=noise)
    assert torch.equal(units.visible, single.visible) and torch.equal(units.hidden, single.hidden)


def test_a_unit_as_large_as_the_grid_shows_the_first_columns():
    mask = unit_mask(2, (4, 4), 0.5, 4, generator=seeded())
    assert mask.visible.tolist() == [[0, 1, 4, 5, 8, 9, 12, 13]] * 2


@pytest.mark.parametrize("ratio", [0.1, 0.25, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("unit", [1, 2, 4])
def test_whole_units_are_never_cut(unit, ratio):
    mask = unit_mask(5, (16, 16), ratio, unit, cut="whole_units", generator=seeded())
    hidden = by_unit(mask.binary(), (16, 16), unit)
    assert torch.equal(hidden, hidden[..., :1].expand_as(hidden))
    units = (16 // unit) ** 2
    assert (hidden[..., 0].sum(1) == math.ceil(units * ratio)).all()


BAD_UNITS = [((8, 8), 0.75, 2, {"cut": "half"}, "cut must be one of official, .* got 'half'"),
             ((8, 8), 0.75, 9, {}, r"unit must lie in 1\.\.8 patches, got 9"),
             ((8, 8), 0.75, 0, {}, r"unit must lie in 1\.\.8 patches, got 0"),
             ((8, 6), 0.75, 4, {"cut": "whole_units"}, "unit must divide the grid 8x6"),
             ((8, 8), 0.75, 8, {"cut": "whole_units"}, "some of 1 units visible"),
             ((8, 8), 0.9, 4, {"cut": "whole_units"}, "some of 4 units visible"),
             ((8, 8), 0.99, 2, {}, "got 0.99, which leaves 0 visible"),
             ((8, 8), 0.75, 2, {"noise": torch.rand(1, 64)}, r"noise must have shape \[1,16\]")]


@pytest.mark.parametrize("grid, ratio, unit, options, message", BAD_UNITS)
def test_units_that_cannot_be_met_are_refused(grid, ratio, unit, options, message):
    with pytest.raises(ValueError, match=message):
        unit_mask(1, grid, ratio, unit, **options)


def test_noise_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"noise must have shape \[2,64\], got \[64\]"):
        random_mask(2, (8, 8), 0.75, noise=torch.rand(64))


@pytest.mark.parametrize("offset", [(0, 0), (0, 1), (1, 0), (1, 1), "random"])
def test_grid_masks_show_one_patch_of_every_cell(offset):
    mask = grid_mask(16, (14, 6), offset=offset, generator=seeded())
    assert_is_a_partition(mask, 16, 84, 21)
    shown = 1 - by_unit(mask.binary(), (14, 6), 2)
    assert (shown.sum(2) == 1).all()
    assert torch.equal(shown, shown[:, :1].expand_as(shown))  # the same place in every cell
    places = set(shown[:, 0].argmax(1).tolist())
    assert places == ({0, 1, 2, 3} if offset == "random" else {offset[0] * 2 + offset[1]})


def test_grid_masks_refuse_odd_sides():
    with pytest.raises(ValueError, match="grid must have even sides, got 7x8"):
        grid_mask(1, (7, 8))


@given(st.integers(1, 9), st.integers(2, 9), st.integers(5, 95), st.integers(0, 99))
def test_block_masks_hide_exactly_the_asked_number(rows, cols, percent, seed):
    visible = int(rows * cols * (1 - percent / 100))
    if 0 < visible < rows * cols:
        mask = block_mask(2, (rows, cols), percent / 100, generator=seeded(seed))
        assert_is_a_partition(mask, 2, rows * cols, visible)


def mean_component(mask, side):
    pieces = [label(image)[1] for image in mask.binary().reshape(-1, side, side).numpy()]
    return mask.hidden.shape[1] / np.mean(pieces)


def test_block_masks_hang_together_more_than_random_ones_and_prefer_the_centre():
    block = block_mask(200, (14, 14), 0.5, generator=seeded())
    assert mean_component(block, 14) > 3 * mean_component(
        random_mask(200, (14, 14), 0.5, generator=seeded()), 14)
    rate = block.binary().mean(0).reshape(14, 14)
    assert rate[5:9, 5:9].mean() > rate[[0, 0, 13, 13], [0, 13, 0, 13]].mean() + 0.1


def test_rectangles_keep_to_their_areas_and_aspects_and_lie_anywhere():
    generator = seeded()
    drawn = [masks._rectangle((120, 120), 1600, 3600, generator) for _ in range(3000)]
    height, width = torch.tensor([[s.stop - s.start for s in pair] for pair in drawn]).T.double()
    corner = torch.tensor([[s.start for s in pair] for pair in drawn])
    # Sides are rounded: at 20 and more, by at most 2.5 percent each.
    area, aspect = height * width, (height / width).log() / math.log(1 / 0.3)
    assert 1500 < area.min() < 1650 and 3500 < area.max() < 3750
    assert -1.05 < aspect.min() < -0.95 and 0.95 < aspect.max() < 1.05
    assert abs(aspect.mean()) < 4 / math.sqrt(3 * 3000)
    assert abs(area.mean() - 2600) < 4 * 2000 / math.sqrt(12 * 3000)
    assert corner.min() == 0 and (corner[:, 0] + height).max() == 120


# Shares of drawings that meet the target before completion, from 14x14 patches and areas of at
# least 16; the reference shares are known to about a percent.
@pytest.mark.parametrize("target, share", [(75, 0.69), (98, 0.67), (147, 0.62)])
def test_blocks_meet_their_target_as_often_as_the_reference_sampler(target, share):
    generator, drawings = seeded(), 500
    met = sum(int(masks._blocks((14, 14), target, 16, generator).sum()) == target
              for _ in range(drawings))
    assert abs(met / drawings - share) < 4 * math.sqrt(share * (1 - share) / drawings) + 0.01


@given(st.integers(1, 4), st.integers(2, 30), st.integers(0, 99))
def test_binary_and_index_form_hold_the_same_mask(batch, patches, seed):
    order = torch.rand(batch, patches, generator=seeded(seed)).argsort(1)
    mask = mask_from_order(order, 1 + seed % (patches - 1))
    assert mask.binary().dtype == torch.float32
    for form in (mask.binary(), mask.binary().bool()):
        again = mask_from_binary(form)
        assert torch.equal(again.visible, mask.visible) and torch.equal(again.hidden, mask.hidden)


def test_binary_masks_that_hide_different_numbers_are_refused():
    with pytest.raises(ValueError, match="must hide equally many patches, got 1 to 2"):
        mask_from_binary(torch.tensor([[0, 1, 0], [1, 1, 0]]))


def test_nothing_hidden_shows_every_patch():
    mask = nothing_hidden(2, (2, 3))
    assert_is_a_partition(mask, 2, 6, 6)
    assert not mask.binary().any()


def test_a_mask_moves_as_a_whole():
    moved = random_mask(2, (2, 2), 0.5).to("meta")
    assert isinstance(moved, Mask) and moved.visible.is_meta and moved.hidden.is_meta
