"""Which tubelets are hidden: the four samplers that MAE-ST and VideoMAE compare.

Masks are index tensors over tubelets in the order (time, row, column), with the same counts for
every clip. The names are those of the papers' figures: ``tube`` hides the same places in all time
slices (MAE-ST: space-only), ``frame`` whole slices (time-only).
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from mae_lib.models.clips.tubelets import Grid
from mae_lib.models.masks import Mask, mask_from_order

# How many of n stay visible: MAE's code truncates what stays, VideoMAE's what goes; "exact"
# computes with the decimal ratio.
COUNTS = {"mae": lambda n, ratio: int(n * (1 - ratio)),
          "videomae": lambda n, ratio: n - int(n * ratio),
          "exact": lambda n, ratio: int(n * (1 - Fraction(str(ratio))))}


def shown_count(count: int, ratio: float, rule: str = "mae", what: str = "tubelets") -> int:
    """How many of ``count`` stay visible when ``ratio`` of them are hidden.

    Args:
        rule: a key of ``COUNTS``.
        what: is counted, for the message.

    Raises:
        ValueError: unknown rule; ratio outside [0, 1); nothing visible, or nothing hidden.
    """
    if rule not in COUNTS:
        raise ValueError(f"count must be one of {', '.join(COUNTS)}, got {rule!r}")
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio must lie in [0, 1), got {ratio}")
    shown = COUNTS[rule](count, ratio)
    if not 0 < shown < count:
        raise ValueError(f"ratio must leave some of {count} {what} visible and hide some, "
                         f"got {ratio}, which leaves {shown} visible")
    return shown


def agnostic_mask(batch: int, grid: Grid, ratio: float, *, count: str = "mae",
                  generator: torch.Generator | None = None, noise: Tensor | None = None) -> Mask:
    """Hide a uniformly random subset of all tubelets (Feichtenhofer et al., figure 4).

    Args:
        grid: time slices, rows and columns.
        count: see :func:`shown_count`.
        noise: ``[B, L]``; what has the smallest noise stays visible. Drawn if not given.
    """
    return _random(batch, math.prod(grid), ratio, count, "tubelets", generator, noise)


def tube_mask(batch: int, grid: Grid, ratio: float, *, count: str = "mae",
              generator: torch.Generator | None = None, noise: Tensor | None = None) -> Mask:
    """Hide the same random places in every time slice (Tong et al., section 3.3).

    Args:
        noise: ``[B, rows * columns]``.
    """
    slices, rows, cols = grid
    places = _random(batch, rows * cols, ratio, count, "places", generator, noise)
    starts = torch.arange(slices)[:, None] * rows * cols
    return Mask(*((starts + part[:, None]).flatten(1) for part in places))


def frame_mask(batch: int, grid: Grid, ratio: float, *, count: str = "mae",
               generator: torch.Generator | None = None, noise: Tensor | None = None) -> Mask:
    """Hide random whole time slices.

    Args:
        noise: ``[B, slices]``.
    """
    slices, rows, cols = grid
    times = _random(batch, slices, ratio, count, "time slices", generator, noise)
    places = torch.arange(rows * cols)
    return Mask(*((part[..., None] * rows * cols + places).flatten(1) for part in times))


def block_mask(batch: int, grid: Grid, ratio: float, *, count: str = "mae", smallest: int = 8,
               generator: torch.Generator | None = None) -> Mask:
    """Hide boxes in space and time until the ratio is met.

    MAE-ST names BEiT's sampler and no details: the third axis is ours. As in
    :func:`mae_lib.models.masks.block_mask`, what boxes leave over is filled with tubelets drawn
    uniformly; rejection sampling takes a generator and no noise.

    Args:
        smallest: volume of a box in tubelets as long as more than that is left to hide.
    """
    total = math.prod(grid)
    shown = shown_count(total, ratio, count)
    hidden = torch.stack([_boxes(grid, total - shown, smallest, generator) for _ in range(batch)])
    fill = hidden * 2.0 + torch.rand(hidden.shape, generator=generator)
    return mask_from_order(fill.argsort(1), shown)


SAMPLERS = {"agnostic": agnostic_mask, "tube": tube_mask, "frame": frame_mask, "block": block_mask}


def _random(batch: int, count: int, ratio: float, rule: str, what: str, generator,
            noise: Tensor | None) -> Mask:
    shown = shown_count(count, ratio, rule, what)
    if noise is None:
        noise = torch.rand(batch, count, generator=generator)
    if tuple(noise.shape) != (batch, count):
        raise ValueError(f"noise must have shape [{batch},{count}], got {list(noise.shape)}")
    return mask_from_order(noise.argsort(1), shown)


def _boxes(grid: Grid, target: int, smallest: int, generator) -> Tensor:
    """Boxes until ``target`` tubelets are hidden or ten draws in a row do not fit."""
    hidden, left, failures = np.zeros(grid, bool), target, 0
    while left and failures < 10:
        box = _box(grid, smallest, left, generator)
        new = hidden[box].size - int(hidden[box].sum())
        if 0 < new <= left:
            hidden[box], left, failures = True, left - new, 0
        else:
            failures += 1
    return torch.from_numpy(hidden.ravel())


def _box(grid: Grid, smallest: int, largest: int, generator) -> tuple[slice, slice, slice]:
    """Volume uniform in [smallest, largest], duration uniform, log aspect uniform in +-log(1/.3);
    cut to the grid where a side is longer, anywhere in it."""
    draw = torch.rand(6, generator=generator).tolist()
    volume, duration = smallest + draw[0] * (largest - smallest), 1 + int(draw[1] * grid[0])
    aspect = math.exp((2 * draw[2] - 1) * math.log(1 / 0.3))
    height, width = math.sqrt(volume / duration * aspect), math.sqrt(volume / duration / aspect)
    sides = [min(side, n) for side, n in
             zip((duration, round(height), round(width)), grid, strict=True)]
    starts = [int(u * (n - side + 1)) for u, n, side in zip(draw[3:], grid, sides, strict=True)]
    return tuple(slice(at, at + side) for at, side in zip(starts, sides, strict=True))
