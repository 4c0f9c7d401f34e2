"""The linear probe on cached features: standardise, then multinomial logistic regression."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

GRID = tuple(10.0**k for k in range(-4, 3))
LIMITS = (10.0**-8, 10.0**6)  # how far the grid may grow when its best value lies on an edge
BIG = 5e7  # numbers in X above which the last fit uses single precision too


class LinearProbe(ClassifierMixin, BaseEstimator):
    """L2-regularised multinomial logistic regression on standardised features, by L-BFGS.

    Convex, so the answer depends on the data and ``C`` alone. ``C="cv"`` takes the value that does
    best on a held-out tenth, drawn with ``seed``, then fits again on everything. Accuracies within
    one image or .1 points of the best count as equal, and of equal values the one nearest to 1 is
    taken: at the weak end accuracy is flat, and the noise there should not choose. A best value on
    the edge of the grid 1e-4..1e2 extends it.

    Args:
        C: inverse strength of the penalty (per data set, as in scikit-learn), or ``"cv"``.
        max_iter, tol: of L-BFGS; ``tol`` bounds the gradient divided by N.

    Attributes:
        classes_, coef_ ``[K, D]``, intercept_ ``[K]``: of the standardised features.
        mean_, scale_ ``[D]``: of the training set; the scale is at least 1e-6.
        C_, held_out_accuracy_: the value used and ``{C: accuracy}`` of the search.
        converged_, n_iter_: of the last fit.

    Raises:
        ValueError: ``fit`` with NaN, one class, or ``C`` not positive; no best ``C`` inside 1e-8
            and 1e6; ``predict`` with another D.
    """

    def __init__(self, C: float | Literal["cv"] = "cv", *, max_iter: int = 2000,
                 tol: float = 1e-4, seed: int = 0):
        self.C, self.max_iter, self.tol, self.seed = C, max_iter, tol, seed

    def fit(self, X: np.ndarray, y: np.ndarray) -> LinearProbe:
        """Fit on features ``[N, D]``, or on views ``[N, V, D]``, and labels ``[N]``.

        Every view is an item; all views of an image are held out together.
        """
        X, y = _checked(X, y)
        if self.C != "cv" and not (isinstance(self.C, int | float) and self.C > 0):
            raise ValueError(f"C must be positive or 'cv', got {self.C!r}")
        self.held_out_accuracy_ = {}
        self.C_ = self._search(X, y) if self.C == "cv" else float(self.C)
        return self._fit(X, y, self.C_, np.float64 if X.size <= BIG else np.float32)

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Logits ``[N, K]``, also for two classes."""
        if np.ndim(X) != 2 or np.shape(X)[1] != len(self.mean_):
            raise ValueError(f"X must have shape [N,{len(self.mean_)}], got {list(np.shape(X))}")
        return (X - self.mean_) / self.scale_ @ self.coef_.T + self.intercept_

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Labels ``[N]``; of equal logits the smallest label."""
        return self.classes_[self.decision_function(X).argmax(1)]

    def _fit(self, X: np.ndarray, y: np.ndarray, C: float, dtype: type) -> LinearProbe:
        X, y = X.reshape(-1, X.shape[2]), y.repeat(X.shape[1])
        self.mean_, self.scale_ = moments(X)
        model = LogisticRegression(C=C, max_iter=self.max_iter, tol=self.tol)
        scaled = (X.astype(dtype) - self.mean_.astype(dtype)) / self.scale_.astype(dtype)
        self.converged_ = _fit_quietly(model, scaled, y)
        self.classes_, self.n_iter_ = model.classes_, int(model.n_iter_[0])
        self.coef_, self.intercept_ = model.coef_, model.intercept_
        if len(self.classes_) == 2:  # scikit-learn keeps the difference of two logits only
            self.coef_ = np.concatenate([-self.coef_, self.coef_]) / 2
            self.intercept_ = np.concatenate([-self.intercept_, self.intercept_]) / 2
        return self

    def _search(self, X: np.ndarray, y: np.ndarray) -> float:
        fit, held_out = _split(y, self.seed)
        grid = list(GRID)
        while True:
            for C in grid:
                if C not in self.held_out_accuracy_:
                    self._fit(X[fit], y[fit], C, np.float32)  # half the time
                    self.held_out_accuracy_[C] = float(self.score(X[held_out, 0], y[held_out]))
            best = _choose(self.held_out_accuracy_, max(1 / held_out.sum(), 1e-3))
            if best not in (grid[0], grid[-1]):
                return best
            grid = _extended(grid, best)


def moments(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column, accumulated in float64; the latter >= 1e-6."""
    return X.mean(0, dtype=np.float64), np.maximum(X.std(0, dtype=np.float64), 1e-6)


def _checked(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    X, y = np.asarray(X), np.asarray(y)
    X = X[:, None] if X.ndim == 2 else X
    if X.ndim != 3 or y.shape != X.shape[:1]:
        raise ValueError(f"X and y must have shapes [N,D] or [N,V,D] and [N], "
                         f"got {list(X.shape)} and {list(y.shape)}")
    if not np.isfinite(X).all():
        raise ValueError("X must be finite, got NaN or infinity")
    if len(np.unique(y)) < 2:
        raise ValueError(f"y must hold at least two classes, got {len(np.unique(y))}")
    return X, y


def _split(y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Boolean masks (nine tenths, one tenth), a tenth of every class rounded up.

    Raises:
        ValueError: a class with a single item.
    """
    held_out = np.zeros(len(y), bool)
    rng = np.random.default_rng(seed)
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == label))
        if len(members) < 2:
            raise ValueError(f"y must hold every class twice to choose C, got class {label} once")
        held_out[members[: -(-len(members) // 10)]] = True
    return ~held_out, held_out


def _choose(accuracy: dict[float, float], slack: float) -> float:
    best = max(accuracy.values())
    equal = [C for C, value in accuracy.items() if value >= best - slack * (1 + 1e-9)]
    return min(equal, key=lambda C: (abs(np.log10(C)), C))


def _extended(grid: list[float], best: float) -> list[float]:
    further = 10.0 ** (round(np.log10(best)) + (-1 if best == grid[0] else 1))
    if not LIMITS[0] <= further <= LIMITS[1]:
        raise ValueError(f"C must have a best value inside {LIMITS[0]:g}..{LIMITS[1]:g}, got "
                         f"accuracy still rising at {best:g}: give C, or look at the features")
    return sorted([*grid, further])


def _fit_quietly(model: LogisticRegression, X: np.ndarray, y: np.ndarray) -> bool:
    """Fit; return whether it converged instead of warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    for other in caught:
        if not issubclass(other.category, ConvergenceWarning):
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
    return not any(issubclass(w.category, ConvergenceWarning) for w in caught)
