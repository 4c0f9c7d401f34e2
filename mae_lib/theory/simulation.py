"""Draw many random masks of one kind and count what each of them locates."""

from __future__ import annotations

from math import isqrt

import numpy as np

from mae_lib.theory.batch import locate_many
from mae_lib.theory.graph import HierGraph
from mae_lib.theory.masks import ignore_boundary, unit_masks

BLOCK = 1024  # masks drawn at once, for the memory's sake


def simulate(graph: HierGraph, rng: np.random.Generator, masks: int, ratio: float, unit: int = 1,
             *, shifted: bool = False, margin: int = 0, of: str = "c") -> np.ndarray:
    """int ``[masks, 1 + H]``: located latents of each height, mask by mask.

    Args:
        graph: its pixels are those of a square, row by row.
        unit, ratio, shifted: of the masks, as in :func:`mae_lib.theory.masks.unit_masks`.
        margin: hidden pixels within this distance of a visible one are ignored.
        of: ``"c"``, ``"selected"`` or ``"shared"``.

    Raises:
        ValueError: pixels that are not a square, no masks; what masks, margins and sets must be.
    """
    side = isqrt(len(graph.pixels))
    if side * side != len(graph.pixels) or masks < 1:
        raise ValueError("graph must have a square of pixels and masks must be at least 1, "
                         f"got {len(graph.pixels)} pixels and {masks}")
    counts = []
    for start in range(0, masks, BLOCK):
        drawn = min(BLOCK, masks - start)
        hidden = unit_masks(rng, drawn, side, unit, ratio, offset=shifted)
        target, visible = (m.reshape(drawn, -1) for m in ignore_boundary(hidden, margin))
        counts.append(locate_many(graph, target, visible).counts(of))
    return np.concatenate(counts)
