"""Which cause a patch of a Menagerie picture belongs to, for masks that follow the picture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mae_lib.data.menagerie import Menagerie, draw
from mae_lib.data.menagerie.raster import RADIAN, sine
from mae_lib.data.menagerie.tables import PARTS

SKY, GROUND, FIRST_PART = 0, 1, 2
CHUNK = 4096  # pictures drawn at a time; part maps and ink of 40,000 would fill memory


class Groups(NamedTuple):
    """Low-level and high-level group of every patch, both uint8 ``[N, L]``."""

    groups: np.ndarray
    parents: np.ndarray


def menagerie_groups(split: str = "train", n: int = 1000, size: int = 32,
                     preset: str = "medium32", *, patch: int = 4, tile: int | None = 2,
                     start: int = 0, seed: int | None = None) -> Groups:
    """Groups of the patches of the pictures that ``menagerie`` gives for the same arguments.

    A patch belongs to what most of its pixels show, among equals to the first of sky, ground and
    parts; distractors count as the landscape behind them. Each part of the object is a group.

    Args:
        tile: side in patches of the squares that sky and ground are cut into, about as large as
            the parts; high-level groups are then 0 sky, 1 ground, 2 object. If None, sky and ground
            are two groups of their own, which are most of the picture, in 0 background, 1 object.

    Returns:
        With T tiles (or T = 1): groups t and T + t are sky and ground in tile t, 2T + p is part p.

    Raises:
        ValueError: ``patch`` does not divide ``size``, ``tile`` not the side in patches; arguments
            that ``draw`` refuses.
    """
    if patch < 1 or size % patch:
        raise ValueError(f"patch must divide the side {size}, got {patch}")
    side = size // patch
    if tile is not None and (tile < 1 or side % tile):
        raise ValueError(f"tile must divide the {side} patches a side or be None, got {tile}")
    if tile is not None and 2 * (side // tile) ** 2 + PARTS > 256:
        raise ValueError(f"tile must leave at most {(256 - PARTS) // 2} tiles, "
                         f"got {(side // tile) ** 2}")
    found = [_dominant(pixel_kinds(draw(split, min(CHUNK, n - i), size, preset, start=start + i,
                                        seed=seed)), patch) for i in range(0, n, CHUNK)]
    return _grouped(np.concatenate(found), side, tile)


def pixel_kinds(pictures: Menagerie) -> np.ndarray:
    """What every pixel shows, uint8 ``[N, S, S]``: 0 sky, 1 ground, 2 + p part p of the object.

    From the part maps and the line of the hills.
    """
    size, found = pictures.parts.shape[-1], pictures.latents
    u = (2 * np.arange(size) + 1) / size - 1
    height, frequency, phase = found["hills"].T[..., None]
    ridge = found["horizon"][:, None] + height * sine(RADIAN * frequency * u + phase)
    landscape = np.where(u[:, None] > ridge[:, None, :], GROUND, SKY)
    parts = pictures.parts.astype(np.int64)
    return np.where(parts > 0, parts - 1 + FIRST_PART, landscape).astype(np.uint8)


def _dominant(pixels: np.ndarray, patch: int) -> np.ndarray:
    """The most frequent value in each patch of ``[N, S, S]``, the smallest among equals."""
    side = pixels.shape[-1] // patch
    tiles = pixels.reshape(-1, side, patch, side, patch)
    counts = [(tiles == value).sum((2, 4)) for value in range(FIRST_PART + PARTS)]
    return np.argmax(counts, axis=0).reshape(len(pixels), -1)


def _grouped(kinds: np.ndarray, side: int, tile: int | None) -> Groups:
    edge = tile or side
    across = side // edge
    row, column = np.divmod(np.arange(side * side), side)
    place, count = row // edge * across + column // edge, across**2
    groups = np.where(kinds < FIRST_PART, kinds * count + place, kinds + 2 * (count - 1))
    kind = np.minimum(kinds, FIRST_PART)
    return Groups(groups.astype(np.uint8), (kind if tile else kind // 2).astype(np.uint8))
