"""Closed forms: how often a random mask locates a latent of a tree, or of an overlapping pyramid.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.special import gammaln

from mae_lib.theory.graph import HierGraph, Node
from mae_lib.theory.levels import heights, locatable, units_below


def tree_rates(branching: int, height: int, unit_height: int, ratio: float, *,
               exact: bool = False) -> pd.DataFrame:
    """Chance of each latent of a balanced tree to be located, ours.

    Masking units are the aligned subtrees of height ``unit_height``.

    Args:
        branching, height: of the tree, which has ``branching ** height`` pixels.
        ratio: probability that a unit is hidden; with ``exact``, the share of units that are, to
            the nearest number of units.

    Returns:
        One row for each height 1..``height``: ``nodes`` of that height, and the chance of one of
        them to be in ``shared``, ``c`` and ``selected``.

    Raises:
        ValueError: branching below 2, a unit height outside 0..height, a ratio outside [0, 1].
    """
    if branching < 2 or not 0 <= unit_height <= height or height < 1:
        raise ValueError("branching must be at least 2 and unit_height in 0..height, "
                         f"got {branching}, {unit_height} and height {height}")
    _check_ratio(ratio)
    chance = _Chance(ratio, branching ** (height - unit_height), exact)
    rows = [_row(branching, h, unit_height, chance) for h in range(1, height + 1)]
    return pd.DataFrame({"height": range(1, height + 1),
                         "nodes": [branching ** (height - h) for h in range(1, height + 1)],
                         **{name: [row[i] for row in rows]
                            for i, name in enumerate(("shared", "c", "selected"))}})


def overlap_rates(graph: HierGraph, ratio: float, units: Mapping[Node, Node] | None = None, *,
                  exact: bool = False) -> pd.DataFrame:
    """As :func:`tree_rates`, where only latents right above pixels can be located; ours.

    Such are pyramids whose neighbouring latents share children. A latent whose children are pixels
    is located whenever a hidden and a visible unit lie below it.

    Args:
        units: the masking unit of each pixel; its own if None.

    Returns:
        One row for each height: ``nodes``, and their mean chance to be in ``shared`` and ``c``.

    Raises:
        ValueError: a graph in which a latent above latents can be located; a ratio outside [0, 1].
    """
    _check_ratio(ratio)
    found, tall = locatable(graph, units), heights(graph)
    if above := [z for z in found if tall[z] > 1]:
        raise ValueError("graph must let only latents right above pixels be located, got "
                         f"{min(above, key=repr)!r}")
    below = units_below(graph, units)
    chance = _Chance(ratio, len(frozenset().union(*below)), exact)
    shared = [1 - chance(len(u), 0) - chance(0, len(u)) if u else 0.0
              for u in below[:len(graph.latents)]]
    rows = pd.DataFrame({"height": [tall[z] or 0 for z in graph.latents], "shared": shared,
                         "c": [s * (z in found) for s, z in zip(shared, graph.latents,
                                                                strict=True)]})
    table = rows.groupby("height").agg(nodes=("c", "size"), shared=("shared", "mean"),
                                       c=("c", "mean"))
    return table.reset_index()


class _Chance:
    """Probability that given units, ``hidden`` and ``seen`` many, are hidden and seen."""

    def __init__(self, ratio: float, units: int, exact: bool):
        self.ratio, self.units, self.exact = ratio, units, exact
        self.hidden = round(ratio * units)

    def __call__(self, hidden: int, seen: int) -> float:
        if not self.exact:
            return self.ratio**hidden * (1 - self.ratio)**seen
        free, rest = self.units - hidden - seen, self.hidden - hidden
        if not 0 <= rest <= free:
            return 0.0
        return float(np.exp(_log_choose(free, rest) - _log_choose(self.units, self.hidden)))


def _check_ratio(ratio: float) -> None:
    if not 0 <= ratio <= 1:
        raise ValueError(f"ratio must lie in [0, 1], got {ratio}")


def _row(b: int, h: int, unit_height: int, chance: _Chance) -> tuple[float, float, float]:
    if h <= unit_height:
        return 0.0, 0.0, 0.0
    n = b ** (h - 1 - unit_height)  # units below each child
    one_side = chance(b * n, 0) + chance(0, b * n)
    c = sum(np.exp(_log_choose(b, j)) * chance(j * n, (b - j) * n) for j in range(1, b))
    # selected: some child wholly hidden, some pixel seen; by inclusion and exclusion over children
    some = sum((-1) ** (j + 1) * np.exp(_log_choose(b, j)) * chance(j * n, 0)
               for j in range(1, b + 1))
    return 1 - one_side, float(c), float(some - chance(b * n, 0))


def _log_choose(n: int, k: int) -> float:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
