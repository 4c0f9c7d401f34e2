"""Linear CKA (Kornblith et al. 2019): how alike two sets of features of the same items are.

The unbiased estimate over minibatches is that of Nguyen et al. 2021: sums of unbiased HSIC over
the batches, divided once at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

BATCH = 256
LEAST = 4  # items that an unbiased HSIC needs


def linear_cka(X: np.ndarray, Y: np.ndarray, unbiased: bool = False) -> float:
    """Similarity of features ``X [n,d1]`` and ``Y [n,d2]`` of the same items; NaN if one is flat.

    Not changed by turning, shifting, or scaling all features alike. The biased form lies in [0, 1]
    and is far above 0 for unrelated features unless n is much larger than d.

    Raises:
        ValueError: fewer than four items, another number in ``Y``, or numbers that are not finite.
    """
    if unbiased:
        batches = MinibatchCKA()
        batches.update(X, Y)
        return batches.value()
    X, Y = checked(X, Y)
    across = ((Y.T @ X) ** 2).sum()
    return _ratio(across, np.linalg.norm(X.T @ X) ** 2, np.linalg.norm(Y.T @ Y) ** 2)


class MinibatchCKA:
    """Unbiased linear CKA of features that come in batches, of 128 items or more each."""

    def __init__(self) -> None:
        self.sums = np.zeros(3)

    def update(self, X: np.ndarray, Y: np.ndarray) -> None:
        """Add a batch; errors as in :func:`linear_cka`."""
        X, Y = checked(X, Y)
        p, q = (X**2).sum(1), (Y**2).sum(1)
        pairs = ((X, Y, p, q), (X, X, p, p), (Y, Y, q, q))
        self.sums += [_hsic(((b.T @ a) ** 2).sum(), k @ m, k.sum() * m.sum(), len(X))
                      for a, b, k, m in pairs]

    def value(self) -> float:
        """So far; NaN if one side is flat, or so close to it that its HSIC is not positive."""
        return _ratio(*self.sums)


def cka_matrix(features: Sequence[np.ndarray], batch: int = BATCH) -> np.ndarray:
    """Unbiased CKA of every pair of ``features``, each ``[n,d]`` of the same items: ``[J,J]``.

    The items are cut into equal batches of at most ``batch``, in their order.
    """
    sums = np.zeros((len(features),) * 2)
    if len({len(X) for X in features}) != 1:
        raise ValueError(f"features must be of the same {LEAST} items or more, "
                         f"got {', '.join(str(len(X)) for X in features) or 'none'}")
    for rows in batches_of(len(features[0]), batch):
        centred = [checked(X[rows], X[rows])[0] for X in features]
        grams = np.stack([(X @ X.T).ravel() for X in centred])
        k = np.stack([(X**2).sum(1) for X in centred])
        sums += _hsic(grams @ grams.T, k @ k.T, np.outer(k.sum(1), k.sum(1)), len(centred[0]))
    own = sums.diagonal()
    return np.array([[_ratio(sums[i, j], own[i], own[j]) for j in range(len(own))]
                     for i in range(len(own))])


def batches_of(count: int, batch: int = BATCH) -> list[slice]:
    """Equal runs of at most ``batch``: a small remainder would weigh as much as a whole batch."""
    edges = np.linspace(0, count, math.ceil(count / batch) + 1).astype(int).tolist()
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def _hsic(across, own, traces, n: int):
    """Unbiased HSIC with a linear kernel, of centred features.

    Centring changes nothing and makes the row sums of the Gram matrices 0, so that three numbers
    are left of each pair: the squared norm of X'Y, the sum of |x|^2 |y|^2 over items, and the
    product of the sums of |x|^2 and |y|^2.
    """
    inner = across - own
    return (inner + traces / ((n - 1) * (n - 2)) - 2 * own / (n - 2)) / (n * (n - 3))


def _ratio(across: float, own: float, other: float) -> float:
    return float(across / math.sqrt(own * other)) if min(own, other) > 0 else math.nan


def checked(X: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both centred, in float64, everything but the first axis flattened."""
    X, Y = (np.asarray(A, np.float64) for A in (X, Y))
    if X.ndim < 2 or Y.ndim < 2 or len(X) != len(Y) or len(X) < LEAST:
        raise ValueError(f"X and Y must be features [n,d] of the same {LEAST} items or more, "
                         f"got {list(X.shape)} and {list(Y.shape)}")
    X, Y = X.reshape(len(X), -1), Y.reshape(len(Y), -1)
    if not (np.isfinite(X).all() and np.isfinite(Y).all()):
        raise ValueError("X and Y must be finite, got NaN or infinity")
    return X - X.mean(0), Y - Y.mean(0)
