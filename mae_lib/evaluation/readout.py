"""Linear read-outs of numbers and of choices from standardised features.

Many are fitted on the same features, so both are quick: ridge regression in closed form, logistic
regression that starts each penalty where the one before ended. A held-out tenth, always the same
rows, chooses the penalty; then everything is fitted.
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from mae_lib.evaluation.logistic import moments

PENALTIES = tuple(10.0**k for k in range(-7, 2))  # of ridge regression, an item
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # inverse penalties of logistic regression
TOLERANCE = 3e-4
LEAST = 20


def read_number(X: np.ndarray, Y: np.ndarray, Z: np.ndarray, seed: int = 0) -> np.ndarray:
    """Ridge regression of ``Y [N,c]`` on ``X [N,D]``, applied to ``Z [M,D]``: float64 ``[M,c]``.

    One penalty for all of ``Y``; of those that do equally well the largest.

    Raises:
        ValueError: fewer than 20 items, shapes that do not fit, NaN or infinity.
    """
    X, Z = _standardised(X, Y, Z)
    centre, rest, tenth = Y.mean(0), *_split(len(X), seed)
    fits = ridge(X[rest], Y[rest] - centre, PENALTIES[::-1])
    errors = [((X[tenth] @ W - (Y[tenth] - centre)) ** 2).sum() for W in fits]
    best = PENALTIES[::-1][int(np.argmin(errors))]
    return centre + Z @ ridge(X, Y - centre, [best])[0]


def ridge(X: np.ndarray, Y: np.ndarray, penalties) -> list[np.ndarray]:
    """Weights ``[D,c]`` for each penalty: least |Y - XW|^2 + N * penalty * |W|^2, no intercept."""
    values, axes = np.linalg.eigh(X.T @ X / len(X))
    turned = axes.T @ (X.T @ Y) / len(X)
    return [axes @ (turned / (values.clip(0) + penalty)[:, None]) for penalty in penalties]


def read_class(X: np.ndarray, y: np.ndarray, Z: np.ndarray, seed: int = 0) -> np.ndarray:
    """Logistic regression of choices ``y [N]`` on ``X [N,D]``, applied to ``Z``: choices ``[M]``.

    Of penalties that do equally well the largest. Errors as in :func:`read_number`.
    """
    X, Z = (A.astype(np.float32) for A in _standardised(X, y, Z))
    (rest, tenth), right = _split(len(X), seed), []
    model = LogisticRegression(warm_start=True, tol=TOLERANCE, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # close enough to compare
        for C in STRENGTHS:
            model.set_params(C=C).fit(X[rest], y[rest])
            right.append(model.score(X[tenth], y[tenth]))
        best = STRENGTHS[int(np.argmax(right))]
        return LogisticRegression(C=best, tol=TOLERANCE, max_iter=1000).fit(X, y).predict(Z)


def _split(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of nine tenths and of one tenth."""
    order = np.random.default_rng(seed).permutation(count)
    return order[count // 10:], order[:count // 10]


def _standardised(X: np.ndarray, y: np.ndarray, Z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in float64, with the mean and spread of ``X``; a feature that is flat stays near 0."""
    if X.ndim != 2 or Z.ndim != 2 or X.shape[1] != Z.shape[1] or len(X) != len(y):
        raise ValueError(f"X, y and Z must have shapes [N,D], [N,...] and [M,D], "
                         f"got {list(X.shape)}, {list(y.shape)} and {list(Z.shape)}")
    if len(X) < LEAST:
        raise ValueError(f"X must hold {LEAST} items at least, got {len(X)}")
    if not all(np.isfinite(A).all() for A in (X, y, Z)):
        raise ValueError("X, y and Z must be finite, got NaN or infinity")
    mean, scale = moments(X)
    return (X - mean) / scale, (Z - mean) / scale
