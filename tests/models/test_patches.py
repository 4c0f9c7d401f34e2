import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mae_lib.models.patches import patch_grid, patchify, sincos_2d, unpatchify

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4),
                   st.integers(1, 5))  # batch, channels, rows, columns, patch


def images_of(shape):
    batch, channels, rows, cols, patch = shape
    return torch.rand(batch, channels, rows * patch, cols * patch), patch, (rows, cols)


def slow_patchify(images, patch):
    batch, channels, height, width = images.shape
    patches = []
    for b in range(batch):
        for top in range(0, height, patch):
            for left in range(0, width, patch):
                patches.append([images[b, c, top + i, left + j].item()
                                for i in range(patch) for j in range(patch)
                                for c in range(channels)])
    return torch.tensor(patches).reshape(batch, -1, patch * patch * channels)


@given(SHAPES)
def test_patchify_agrees_with_a_loop(shape):
    images, patch, _ = images_of(shape)
    assert torch.equal(patchify(images, patch), slow_patchify(images, patch))


@given(SHAPES)
def test_patchify_agrees_with_unfold(shape):
    images, patch, _ = images_of(shape)
    columns = F.unfold(images, patch, stride=patch)  # [B, C * p * p, L], the channel slowest
    columns = columns.unflatten(1, (images.shape[1], patch * patch)).permute(0, 3, 2, 1)
    assert torch.equal(patchify(images, patch), columns.flatten(2))


@given(SHAPES)
def test_unpatchify_undoes_patchify(shape):
    images, patch, grid = images_of(shape)
    assert torch.equal(unpatchify(patchify(images, patch), patch, grid), images)


def test_an_image_of_patch_indices_gives_constant_rows():
    index = torch.arange(6.0).reshape(1, 1, 2, 3).expand(1, 3, 2, 3)
    patches = patchify(index.repeat_interleave(4, 2).repeat_interleave(4, 3), 4)
    assert torch.equal(patches, torch.arange(6.0)[None, :, None].expand(1, 6, 48))


@pytest.mark.parametrize("size, patch, grid", [(32, 4, (8, 8)), ((224, 112), 16, (14, 7))])
def test_patch_grid_counts_rows_and_columns(size, patch, grid):
    assert patch_grid(size, patch) == grid


@pytest.mark.parametrize("size, patch", [(30, 4), ((32, 30), 4), ((30, 32), 4), (32, 0)])
def test_a_patch_that_does_not_divide_is_refused(size, patch):
    with pytest.raises(ValueError, match="patch must divide the image side, got patch"):
        patch_grid(size, patch)


def test_patchify_refuses_an_image_that_does_not_divide():
    with pytest.raises(ValueError, match="got patch 4 for 30x32 pixels"):
        patchify(torch.zeros(1, 3, 30, 32), 4)


@pytest.mark.parametrize("shape", [(1, 5, 12), (1, 4, 13)])
def test_unpatchify_refuses_patches_that_do_not_fit(shape):
    with pytest.raises(ValueError, match="patches must have shape"):
        unpatchify(torch.zeros(shape), 2, (2, 2))


def loop_positions(width, rows, cols):
    """Written from the formulas: omega_k = 10000^(-2k/d), column half first."""
    half = width // 2
    table = np.zeros((1 + rows * cols, width))
    for row in range(rows):
        for col in range(cols):
            for start, place in ((0, col), (half, row)):
                for k in range(half // 2):
                    angle = place / 10000 ** (2 * k / half)
                    line = table[1 + row * cols + col]
                    line[start + k] = math.sin(angle)
                    line[start + half // 2 + k] = math.cos(angle)
    return table


@pytest.mark.parametrize("width, grid", [(32, (8, 8)), (16, (3, 5)), (768, (14, 14)), (4, (1, 1))])
def test_positions_agree_with_a_loop(width, grid):
    expected = loop_positions(width, *grid)
    np.testing.assert_allclose(sincos_2d(width, grid)[0].numpy(), expected, atol=1e-7)
    without = sincos_2d(width, grid, class_token=False)[0].numpy()
    np.testing.assert_allclose(without, expected[1:], atol=1e-7)


def test_positions_have_equal_norms_and_a_zero_class_row():
    table = sincos_2d(768, (14, 14))[0]
    assert table.dtype == torch.float32 and torch.equal(table[0], torch.zeros(768))
    torch.testing.assert_close(table[1:].square().sum(1), torch.full((196,), 384.0))


def test_products_of_positions_depend_on_the_displacement_only():
    table = sincos_2d(64, (5, 7), class_token=False)[0].double()
    products = (table @ table.T).reshape(5, 7, 5, 7)
    for down in range(5):
        for right in range(7):
            moved = [products[r, c, r + down, c + right]
                     for r in range(5 - down) for c in range(7 - right)]
            torch.testing.assert_close(torch.stack(moved), moved[0].expand(len(moved)),
                                       rtol=0, atol=1e-5)


def test_the_first_half_of_a_position_tells_the_column_and_the_second_the_row():
    table = sincos_2d(64, (5, 7), class_token=False)[0].reshape(5, 7, 64)
    column, row = table[..., :32], table[..., 32:]
    assert torch.equal(column, column[:1].expand_as(column))
    assert torch.equal(row, row[:, :1].expand_as(row))
    assert torch.pdist(column[0]).min() > 0.1 and torch.pdist(row[:, 0]).min() > 0.1


def test_positions_refuse_a_width_that_is_no_multiple_of_four():
    with pytest.raises(ValueError, match="width must be a multiple of 4 .* got 30"):
        sincos_2d(30, (2, 2))
