"""Random masks over a square of pixels, and the pixels at their edge that may be ignored."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter

from mae_lib.theory.graph import HierGraph
from mae_lib.theory.levels import heights, units_below


def unit_masks(rng: np.random.Generator, count: int, side: int, unit: int, ratio: float, *,
               offset: bool = False) -> np.ndarray:
    """bool ``[count, side, side]``, True where a pixel is hidden.

    Args:
        unit: side of a masking unit in pixels.
        ratio: share of the units that are hidden, to the nearest whole unit.
        offset: shift the grid of units at random, each mask by itself; units are then cut at the
            border.

    Raises:
        ValueError: a ratio outside [0, 1], a unit that does not divide the side.
    """
    if not 0 <= ratio <= 1:
        raise ValueError(f"ratio must lie in [0, 1], got {ratio}")
    if unit < 1 or side % unit:
        raise ValueError(f"unit must divide the side {side}, got {unit}")
    across = side // unit + offset
    order = rng.random((count, across * across)).argsort(1).argsort(1)
    coarse = (order < round(ratio * across * across)).reshape(count, across, across)
    fine = coarse.repeat(unit, 1).repeat(unit, 2)
    if not offset:
        return fine
    places = np.arange(side) + rng.integers(0, unit, (count, 2, 1))
    return fine[np.arange(count)[:, None, None], places[:, 0, :, None], places[:, 1, None, :]]


def ignore_boundary(hidden: np.ndarray, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """Leave hidden pixels near visible ones out of the target (Kong et al., section 3.6).

    Args:
        hidden: bool ``[..., H, W]``.
        distance: hidden pixels within this Chebyshev distance of a visible one become ignored.

    Returns:
        Target and visible pixels, as ``hidden``.

    Raises:
        TypeError: hidden is not boolean.
        ValueError: a negative distance, fewer than two axes.
    """
    hidden = np.asarray(hidden)
    if hidden.dtype != bool:
        raise TypeError(f"hidden must be boolean, got {hidden.dtype}")
    if hidden.ndim < 2 or distance < 0:
        raise ValueError("hidden must have two axes or more and distance must not be negative, "
                         f"got shape {list(hidden.shape)} and {distance}")
    size = (1,) * (hidden.ndim - 2) + (2 * distance + 1,) * 2
    near = maximum_filter(~hidden, size=size, mode="constant", cval=False)
    return hidden & ~near, ~hidden


def lowest_shared(graph: HierGraph, side: int, distance: int) -> int | None:
    """The margin lemma, ours: the least height at which :func:`ignore_boundary` leaves some shared.

    A latent whose pixels lie within ``distance`` of each other cannot be shared, whatever the mask:
    where it has a visible pixel below it, all its hidden ones are ignored.

    Args:
        graph: its pixels are those of a square, row by row.

    Returns:
        None if the margin leaves none.

    Raises:
        ValueError: a side that does not fit the pixels.
    """
    if side * side != len(graph.pixels):
        raise ValueError(f"side must fit {len(graph.pixels)} pixels, got {side}")
    places = {name: divmod(i, side) for i, name in enumerate(graph.pixels)}
    tall = heights(graph)
    left = [tall[name] for name, below in zip(graph.latents, units_below(graph, places),
                                              strict=False)
            if below and np.ptp(np.array(list(below)), axis=0).max() > distance]
    return min(left, default=None)
