"""Which patches are hidden: masks as index tensors, and the samplers.

A mask counts patches only (the encoder alone knows about class tokens), and all masks of a batch
hide the same number, so that tensors keep one shape and a compiled step is compiled once.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor

Grid = tuple[int, int]
CUTS = ("official", "whole_units")


class Mask(NamedTuple):
    """Indices of the visible ``[B, K]`` and of the hidden ``[B, H]`` patches, each ascending."""

    visible: Tensor
    hidden: Tensor

    def binary(self) -> Tensor:
        """float32 ``[B, K + H]``, 1 where a patch is hidden (the convention of He et al.)."""
        batch, visible = self.visible.shape
        zeros = torch.zeros(batch, visible + self.hidden.shape[1], device=self.hidden.device)
        return zeros.scatter(1, self.hidden, 1.0)

    def to(self, device: torch.device | str) -> Mask:
        return Mask(self.visible.to(device), self.hidden.to(device))


def visible_count(patches: int, ratio: float, *, exact: bool = False) -> int:
    """How many of ``patches`` stay visible when ``ratio`` of them are hidden.

    The official code truncates ``patches * (1 - ratio)`` in floating point, which loses a patch
    where the product should be an integer (10 patches at .9 leave 0, not 1); ``exact`` computes
    with the decimal ratio instead.

    Raises:
        ValueError: ``ratio`` outside [0, 1), or nothing visible, or nothing hidden.
    """
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio must lie in [0, 1), got {ratio}")
    kept = 1 - Fraction(str(ratio)) if exact else 1 - ratio
    visible = int(patches * kept)
    if not 0 < visible < patches:
        raise ValueError(f"ratio must leave some of {patches} patches visible and hide some, "
                         f"got {ratio}, which leaves {visible} visible")
    return visible


def mask_from_order(order: Tensor, visible: int) -> Mask:
    """The first ``visible`` entries of each row of a permutation ``[B, L]`` stay visible."""
    return Mask(order[:, :visible].sort(1).values, order[:, visible:].sort(1).values)


def mask_from_binary(hidden: Tensor) -> Mask:
    """Index form of a 0/1 or boolean mask ``[B, L]``, 1 = hidden.

    Raises:
        ValueError: rows hide different numbers of patches.
    """
    hidden = hidden.bool()
    counts = hidden.sum(1)
    if (counts != counts[0]).any():
        raise ValueError(f"masks of a batch must hide equally many patches, got "
                         f"{counts.min().item()} to {counts.max().item()}")
    order = hidden.to(torch.uint8).argsort(dim=1, stable=True)
    return Mask(*order.split([hidden.shape[1] - int(counts[0]), int(counts[0])], dim=1))


def nothing_hidden(batch: int, grid: Grid, device: torch.device | str = "cpu") -> Mask:
    """Every patch visible: the mask of a read-out without masking."""
    every = torch.arange(grid[0] * grid[1], device=device).repeat(batch, 1)
    return Mask(every, every[:, :0])


def random_mask(batch: int, grid: Grid, ratio: float, *, generator: torch.Generator | None = None,
                noise: Tensor | None = None, exact: bool = False) -> Mask:
    """Hide a uniformly random subset, another one for each image (He et al., section 3).

    Args:
        ratio: share of patches to hide.
        noise: ``[B, L]``; the patches with the smallest noise stay visible. Drawn if not given.
        exact: see :func:`visible_count`.
    """
    patches = grid[0] * grid[1]
    visible = visible_count(patches, ratio, exact=exact)
    noise = _noise(batch, patches, generator, noise)
    return mask_from_order(noise.argsort(1), visible)


def unit_mask(batch: int, grid: Grid, ratio: float, unit: int, *, cut: str = "official",
              generator: torch.Generator | None = None, noise: Tensor | None = None) -> Mask:
    """Hide square units of ``unit x unit`` patches (Hu et al. 2022; Kong et al., section 3).

    Args:
        unit: side of a masking unit in patches; 1 is :func:`random_mask`.
        cut: ``"official"`` hides an exact number of patches, so that the last visible unit may be
            cut, column by column; ``"whole_units"`` hides ``ceil(ratio * units)`` whole units.
        noise: ``[B, units]``; units with the smallest noise stay visible.

    Raises:
        ValueError: unknown ``cut``; a unit that does not fit; nothing visible or nothing hidden.
    """
    if cut not in CUTS:
        raise ValueError(f"cut must be one of {', '.join(CUTS)}, got {cut!r}")
    if not 1 <= unit <= max(grid):
        raise ValueError(f"unit must lie in 1..{max(grid)} patches, got {unit}")
    unit_of_patch, place_in_unit, units = _units(grid, unit)
    visible = visible_count(grid[0] * grid[1], ratio)
    if cut == "whole_units":
        visible = _whole_unit_count(grid, unit, units, ratio)
    rank = _noise(batch, units, generator, noise).argsort(1).argsort(1)
    order = (rank[:, unit_of_patch] * unit**2 + place_in_unit).argsort(1)
    return mask_from_order(order, visible)


def grid_mask(batch: int, grid: Grid, *, offset: tuple[int, int] | str = (0, 0),
              generator: torch.Generator | None = None) -> Mask:
    """Keep one patch of every 2x2 cell, always the same one (He et al., figure 6): ratio 3/4.

    Args:
        offset: row and column of the visible patch in a cell, or ``"random"`` for each image.

    Raises:
        ValueError: odd sides.
    """
    if grid[0] % 2 or grid[1] % 2:
        raise ValueError(f"grid must have even sides, got {grid[0]}x{grid[1]}")
    if offset == "random":
        offsets = torch.randint(2, (batch, 2), generator=generator)
    else:
        offsets = torch.tensor([offset]).expand(batch, 2)
    rows, cols = _rows_and_columns(grid)
    shown = (rows % 2 == offsets[:, :1]) & (cols % 2 == offsets[:, 1:])
    return mask_from_binary(~shown)


def block_mask(batch: int, grid: Grid, ratio: float, *, min_patches: int = 4,
               generator: torch.Generator | None = None) -> Mask:
    """Hide rectangles until the ratio is met (BEiT's sampler; He et al., figure 6).

    Rectangles seldom meet the count exactly; the rest is filled with patches drawn uniformly,
    so that all masks of a batch hide equally many. Rejection sampling on the CPU: it takes a
    generator and no noise.

    Args:
        min_patches: smallest area of a rectangle as long as more than that is left to hide.
    """
    target = grid[0] * grid[1] - visible_count(grid[0] * grid[1], ratio)
    masks = torch.stack([_blocks(grid, target, min_patches, generator) for _ in range(batch)])
    fill = masks * 2.0 + torch.rand(masks.shape, generator=generator)
    return mask_from_order(fill.argsort(1), grid[0] * grid[1] - target)


def _blocks(grid: Grid, target: int, min_patches: int, generator) -> Tensor:
    """Rectangles until ``target`` patches are hidden or ten draws in a row do not fit."""
    hidden = torch.zeros(grid, dtype=torch.bool)
    failures = 0
    while (left := target - int(hidden.sum())) > 0 and failures < 10:
        proposal = hidden.clone()
        proposal[_rectangle(grid, min_patches, left, generator)] = True
        fits = int(hidden.sum()) < int(proposal.sum()) <= target
        hidden, failures = (proposal, 0) if fits else (hidden, failures + 1)
    return hidden.flatten()


def _rectangle(grid: Grid, smallest: int, largest: int, generator) -> tuple[slice, slice]:
    """Area uniform in [smallest, largest], log aspect uniform in +-log(1/.3), anywhere.

    Empty if it is not smaller than the grid in both directions.
    """
    draw = torch.rand(4, generator=generator).tolist()
    area = smallest + draw[0] * (largest - smallest)
    aspect = math.exp((2 * draw[1] - 1) * math.log(1 / 0.3))
    height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    if height >= grid[0] or width >= grid[1]:
        return slice(0), slice(0)
    top, left = int(draw[2] * (grid[0] - height + 1)), int(draw[3] * (grid[1] - width + 1))
    return slice(top, top + height), slice(left, left + width)


def _units(grid: Grid, unit: int) -> tuple[Tensor, Tensor, int]:
    """For each patch its unit and its place in it (columns outer, rows inner); units in all."""
    rows, cols = _rows_and_columns(grid)
    units_per_row = math.ceil(grid[1] / unit)
    unit_of_patch = rows // unit * units_per_row + cols // unit
    place = cols % unit * unit + rows % unit
    return unit_of_patch, place, math.ceil(grid[0] / unit) * units_per_row


def _whole_unit_count(grid: Grid, unit: int, units: int, ratio: float) -> int:
    if grid[0] % unit or grid[1] % unit:
        raise ValueError(f"unit must divide the grid {grid[0]}x{grid[1]} when whole units are "
                         f"hidden, got {unit}")
    shown = units - math.ceil(units * ratio)
    if not 0 < shown < units:
        raise ValueError(f"ratio must leave some of {units} units visible and hide some, "
                         f"got {ratio}, which leaves {shown} visible")
    return shown * unit**2


def _rows_and_columns(grid: Grid) -> tuple[Tensor, Tensor]:
    index = torch.arange(grid[0] * grid[1])
    return index // grid[1], index % grid[1]


def _noise(batch: int, count: int, generator, noise: Tensor | None) -> Tensor:
    if noise is None:
        return torch.rand(batch, count, generator=generator)
    if tuple(noise.shape) != (batch, count):
        raise ValueError(f"noise must have shape [{batch},{count}], got {list(noise.shape)}")
    return noise
