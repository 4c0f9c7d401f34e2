"""Intervals and paired tests: over test items for one model, over seeds for a setting.

A claim about a masking ratio is about training runs, so its unit is the pretraining seed: use
:func:`t_interval`. Intervals over items say how well one checkpoint's number is known.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats


class Interval(NamedTuple):
    """A mean and the limits of its two-sided confidence interval."""

    mean: float
    low: float
    high: float


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Score interval of a proportion (Wilson 1927), such as an accuracy over ``n`` test items.

    Raises:
        ValueError: not 0 <= successes <= n with n >= 1; level outside (0, 1).
    """
    _check_level(level)
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"successes must lie in 0..n with n >= 1, got {successes} of {n}")
    z2, share = stats.norm.ppf((1 + level) / 2) ** 2, successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) + z2 / (4 * n)) / n) / (1 + z2 / n)
    return Interval(share, float(max(centre - half, 0.0)), float(min(centre + half, 1.0)))


def t_interval(values, level: float = 0.95) -> Interval:
    """Student's interval of a mean over seeds ``[n]``, n - 1 degrees of freedom.

    Raises:
        ValueError: fewer than two values, NaN or infinity; level outside (0, 1).
    """
    _check_level(level)
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"values must hold at least 2 seeds, got shape {list(values.shape)}")
    _check_finite("values", values)
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * error
    return Interval(float(mean), float(mean - half), float(mean + half))


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value for "a and b are right equally often" (McNemar 1947).

    Args:
        only_a, only_b: items that only a, or only b, gets right.

    Raises:
        ValueError: negative counts.
    """
    if only_a < 0 or only_b < 0:
        raise ValueError(f"counts must not be negative, got {only_a} and {only_b}")
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)


def discordant(a, b) -> tuple[int, int]:
    """How many items only ``a``, and only ``b``, gets right, from 0/1 values ``[n]`` of each."""
    a, b = _paired(a, b)
    return int(((a > 0.5) & (b < 0.5)).sum()), int(((b > 0.5) & (a < 0.5)).sum())


def paired_bootstrap(a, b, *, draws: int = 10_000, seed: int = 0,
                     level: float = 0.95) -> Interval:
    """Percentile interval of the mean of ``a - b`` over items ``[n]``, the same items of both.

    Not for seeds: over five of them it covers 81 % where it promises 90.

    Raises:
        ValueError: unequal shapes, no items, NaN; level outside (0, 1).
    """
    _check_level(level)
    a, b = _paired(a, b)
    difference, rng = a - b, np.random.default_rng(seed)
    means = [difference[rng.integers(0, len(a), len(a))].mean() for _ in range(draws)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(difference.mean()), float(low), float(high))


def _paired(a, b) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.ndim != 1 or a.shape != b.shape or len(a) == 0:
        raise ValueError(f"a and b must hold values of the same items, "
                         f"got shapes {list(a.shape)} and {list(b.shape)}")
    _check_finite("a and b", a, b)
    return a, b


def _check_finite(name: str, *arrays: np.ndarray) -> None:
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError(f"{name} must be finite, got NaN or infinity")


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}")
