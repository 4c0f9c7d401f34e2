"""Had a training come to rest when it ended?"""

from __future__ import annotations

import numpy as np

LAST = 0.2  # the share of the steps that is looked at


def loss_slope(losses: np.ndarray, last: float = LAST) -> float:
    """Relative change of the loss over the last steps, by a straight line through them.

    -.02 says that the loss still fell by two per cent there.

    Args:
        losses: of every step, ``[steps]``.
        last: share of the steps.

    Raises:
        ValueError: fewer than two steps to look at, or losses that are not finite.
    """
    tail = np.asarray(losses, float)[-round(last * len(losses)):]
    if round(last * len(losses)) < 2 or not np.isfinite(tail).all():
        raise ValueError(f"losses must hold at least two finite steps in the last {last:.0%}, "
                         f"got {len(losses)} steps")
    rise = np.polyfit(np.linspace(0, 1, len(tail)), tail, 1)[0]
    return float(rise / tail.mean())


def thinned(losses: np.ndarray, points: int = 100) -> np.ndarray:
    """Means of equal stretches, float32 ``[points]``, or all losses if there are no more."""
    parts = np.array_split(losses, min(points, len(losses)))
    return np.array([part.mean() for part in parts], np.float32)
