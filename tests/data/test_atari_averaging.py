"""Averaging over areas, against the same with every pixel cut into whole pieces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mae_lib.data.atari.averaging import average


def ours(picture: np.ndarray, rows: int, cols: int) -> np.ndarray:
    out = np.zeros((3, rows, cols), np.uint8)
    average(picture, out)
    return out


def in_pieces(picture: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """Cut each pixel into rows x cols equal pieces and sum them block by block, in integers."""
    height, width, _ = picture.shape
    pieces = picture.astype(np.int64).repeat(rows, 0).repeat(cols, 1)
    sums = pieces.reshape(rows, height, cols, width, 3).sum((1, 3))
    return ((2 * sums + height * width) // (2 * height * width)).transpose(2, 0, 1)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


sides = st.integers(1, 23)


@given(sides, sides, sides, sides, st.integers(0, 99))
def test_an_average_is_the_sum_of_all_pieces_of_pixels(height, width, rows, cols, seed):
    picture = noise(height, width, seed)
    assert np.array_equal(ours(picture, rows, cols), in_pieces(picture, rows, cols))


@pytest.mark.parametrize("rows, cols", [(64, 64), (84, 84), (1, 1)])
def test_a_screen_of_the_console_is_averaged_as_by_matrices(rows, cols):
    """The mean is linear in rows and in columns; float64 holds every sum exactly."""
    picture = noise(210, 160)
    sums = share(210, rows) @ picture.transpose(2, 0, 1).astype(float) @ share(160, cols).T
    assert np.array_equal(ours(picture, rows, cols), np.floor(sums / (210 * 160) + 0.5))


def share(pixels: int, areas: int) -> np.ndarray:
    """How many of ``areas`` pieces of each pixel lie in each area, ``[areas, pixels]``."""
    owner = np.arange(pixels * areas) // pixels
    counts = [(owner == i).reshape(pixels, areas).sum(1) for i in range(areas)]
    return np.stack(counts).astype(float)


def test_a_picture_of_the_wanted_size_stays_as_it_is():
    picture = noise(21, 16)
    assert np.array_equal(ours(picture, 21, 16), picture.transpose(2, 0, 1))


@pytest.mark.parametrize("value", [0, 1, 254, 255])
def test_a_plain_picture_keeps_its_colour(value):
    assert (ours(np.full((250, 160, 3), value, np.uint8), 64, 64) == value).all()


def test_halves_are_rounded_up():
    picture = np.zeros((1, 2, 3), np.uint8)
    picture[0, 1] = [1, 2, 3]
    assert ours(picture, 1, 1).ravel().tolist() == [1, 1, 2]
