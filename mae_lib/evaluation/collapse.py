"""Have features collapsed? How many directions they use, and how alike those of two images are.

The diagnostics that belong beside U-MAE's loss (Zhang et al., NeurIPS 2022), on features ``[N,D]``
of whole or of masked images.
"""

from __future__ import annotations

import numpy as np


def singular_values(X: np.ndarray) -> np.ndarray:
    """Of the centred features ``[N,D]``, the largest first: float64 ``[min(N, D)]``.

    Raises:
        ValueError: ``X`` is not finite features of two items or more.
    """
    X = _features(X)
    if not np.ptp(X, 0).any():  # centring would leave rounding errors, and a rank of them
        return np.zeros(min(X.shape))
    return np.linalg.svd(X - X.mean(0), compute_uv=False)


def effective_rank(values: np.ndarray) -> float:
    """exp of the entropy of singular values ``[k]`` over their sum (Roy and Vetterli 2007).

    From 1, all variance in one direction, to the number of values, all equal. 0 if all are 0: the
    features are the same for all images.

    Raises:
        ValueError: no values, negative or not finite ones.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all() or values.min() < 0:
        raise ValueError("values must be finite singular values [k], none below 0, "
                         f"got {values.tolist() if values.size < 9 else list(values.shape)}")
    share = values[values > 0] / (values.sum() or 1)
    return float(np.exp(-(share * np.log(share)).sum())) if len(share) else 0.0


def alikeness(X: np.ndarray) -> dict[str, np.ndarray]:
    """Cosines of each feature of ``X [N,D]``, not centred, with those of all images.

    Returns:
        ``"cosine"``: the mean over all *other* images; ``"uniformity"``: the mean of the squares,
        the image itself included, as in :func:`mae_lib.models.uniformity.uniformity`. Float64
        ``[N]`` each, so that the means over items are the numbers of the whole set. A feature of
        length 0 has cosine 0 with all.

    Raises:
        ValueError: ``X`` is not finite features of two items or more.
    """
    X = _features(X)
    length = np.linalg.norm(X, axis=1, keepdims=True)
    unit = np.divide(X, length, out=np.zeros_like(X), where=length > 0)
    itself = (length[:, 0] > 0).astype(float)
    # Sums over images first: D x D numbers instead of N x N.
    return {"cosine": (unit @ unit.sum(0) - itself) / (len(X) - 1),
            "uniformity": ((unit @ (unit.T @ unit)) * unit).sum(1) / len(X)}


def _features(X: np.ndarray) -> np.ndarray:
    X = np.asarray(X, np.float64)
    if X.ndim != 2 or len(X) < 2 or X.shape[1] < 1:
        raise ValueError(f"X must be features [N,D] of 2 items or more, got shape {list(X.shape)}")
    if not np.isfinite(X).all():
        raise ValueError("X must be finite, got NaN or infinity")
    return X
