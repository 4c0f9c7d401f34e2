import pytest
import torch
from timm.layers import resample_abs_pos_embed, resample_patch_embed

from mae_lib.models.patches import sincos_2d
from mae_lib.models.positions import (
    is_fixed,
    moved_positions,
    resample_patches,
    resample_positions,
)

GRIDS = [((4, 4), (6, 6)), ((6, 6), (4, 4)), ((4, 4), (3, 5)), ((3, 5), (7, 2)), ((2, 2), (9, 9))]


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("old, new", GRIDS)
def test_interpolation_agrees_with_timm(generator, old, new, prefix, antialias):
    table = torch.randn(1, prefix + old[0] * old[1], 12, generator=generator)
    theirs = resample_abs_pos_embed(table, list(new), list(old), prefix, antialias=antialias)
    ours = resample_positions(table, old, new, antialias=antialias)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    assert ours.shape == (1, prefix + new[0] * new[1], 12)
    assert torch.equal(ours[:, :prefix], table[:, :prefix])


def test_the_same_grid_changes_nothing(generator):
    table = torch.randn(1, 16, 8, generator=generator)
    assert torch.equal(resample_positions(table, (4, 4), (4, 4)), table)
    assert not torch.equal(resample_positions(table, (4, 4), (2, 8)), table)


def test_a_constant_stays_constant_and_rows_stay_rows():
    flat = resample_positions(torch.full((1, 17, 4), 3.0), (4, 4), (7, 5))
    torch.testing.assert_close(flat, torch.full((1, 36, 4), 3.0))
    rows = torch.arange(4.0).repeat_interleave(4).reshape(1, 16, 1)
    moved = resample_positions(rows, (4, 4), (4, 9)).reshape(4, 9)
    torch.testing.assert_close(moved, torch.arange(4.0)[:, None].expand(4, 9))


def test_positions_of_another_grid_are_refused():
    with pytest.raises(ValueError, match=r"\[1,16 \(\+1\),D\] for a grid of 4x4, got \[1, 20"):
        resample_positions(torch.zeros(1, 20, 8), (4, 4), (6, 6))


@pytest.mark.parametrize("class_token", [True, False])
def test_fixed_positions_are_computed_for_the_new_grid(class_token):
    old, new = (sincos_2d(16, grid, class_token=class_token) for grid in [(4, 4), (5, 7)])
    moved, way = moved_positions(old, (4, 4), (5, 7))
    assert torch.equal(moved, new) and way == "from 4x4 to 5x7 patches: fixed, computed anew"


def test_one_number_off_makes_positions_trained():
    table = sincos_2d(16, (4, 4))
    table[0, 5, 3] += 1e-4
    moved, way = moved_positions(table, (4, 4), (6, 6))
    assert way.endswith("trained, interpolated")
    assert torch.equal(moved, resample_positions(table, (4, 4), (6, 6)))


@pytest.mark.parametrize("kept", [torch.float16, torch.bfloat16, torch.float32])
def test_fixed_positions_are_known_after_half_precision(kept):
    assert is_fixed(sincos_2d(16, (4, 4)).to(kept).float(), (4, 4))
    assert not is_fixed(sincos_2d(16, (2, 8)).to(kept).float(), (4, 4))
    assert not is_fixed(torch.zeros(1, 16, 6), (4, 4))


@pytest.mark.parametrize("patch", [2, 4, 6, 8])
def test_patch_projections_agree_with_timm(generator, patch):
    weight = torch.randn(5, 3, 4, 4, generator=generator)
    theirs = resample_patch_embed(weight, [patch, patch])
    torch.testing.assert_close(resample_patches(weight, patch), theirs, rtol=1e-4, atol=1e-5)


def test_an_enlarged_patch_gets_the_answer_of_the_patch(generator):
    weight = torch.randn(5, 3, 4, 4, generator=generator)
    image = torch.rand(1, 3, 4, 4, generator=generator)
    large = torch.nn.functional.interpolate(image, (8, 8), mode="bicubic", antialias=True)
    torch.testing.assert_close((resample_patches(weight, 8) * large).sum((1, 2, 3)),
                               (weight * image).sum((1, 2, 3)), rtol=1e-4, atol=1e-4)
    assert torch.equal(resample_patches(weight, 4), weight)
