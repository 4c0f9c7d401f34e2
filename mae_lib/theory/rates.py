"""Closed forms: how often a random mask locates a latent of a balanced tree."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import gammaln


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
    if not 0 <= ratio <= 1:
        raise ValueError(f"ratio must lie in [0, 1], got {ratio}")
    chance = _Chance(ratio, branching ** (height - unit_height), exact)
    rows = [_row(branching, h, unit_height, chance) for h in range(1, height + 1)]
    return pd.DataFrame({"height": range(1, height + 1),
                         "nodes": [branching ** (height - h) for h in range(1, height + 1)],
                         **{name: [row[i] for row in rows]
                            for i, name in enumerate(("shared", "c", "selected"))}})


def pooled_height(rates: pd.DataFrame, of: str = "c") -> float:
    """Expected sum of heights over expected number of members, from :func:`tree_rates`."""
    found = rates.nodes * rates[of]
    return float((found * rates.height).sum() / found.sum()) if found.sum() else float("nan")


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
