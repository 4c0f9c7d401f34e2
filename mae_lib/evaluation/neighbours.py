"""The nearest-neighbour probe: nothing is trained, nothing is tuned."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import Tensor

CHUNK = 2 * 10**7  # similarities held at a time


class NearestNeighbours(ClassifierMixin, BaseEstimator):
    """Vote of the ``k`` training items with the largest cosine similarity.

    Args:
        k: number of neighbours.
        temperature: a vote weighs exp(similarity / temperature), as in DINO; None: all weigh 1.

    Attributes:
        classes_ ``[K]``; features_ ``[N, D]``, of unit length.

    Raises:
        ValueError: ``fit`` with NaN, wrong shapes, or not more items than ``k``; ``predict`` with
            another D.
    """

    def __init__(self, k: int = 20, *, temperature: float | None = 0.07):
        self.k, self.temperature = k, temperature

    def fit(self, X: np.ndarray, y: np.ndarray) -> NearestNeighbours:
        """Remember features ``[N, D]`` and labels ``[N]``."""
        if np.ndim(X) != 2 or np.shape(y) != np.shape(X)[:1]:
            raise ValueError(f"X and y must have shapes [N,D] and [N], "
                             f"got {list(np.shape(X))} and {list(np.shape(y))}")
        if not 1 <= self.k < len(X):
            raise ValueError(f"k must lie in 1..{len(X) - 1}, below the number of training items, "
                             f"got {self.k}")
        self.classes_, index = np.unique(y, return_inverse=True)
        self.index_, self.features_ = torch.as_tensor(index), _unit(X)
        return self

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Sums of votes ``[N, K]``."""
        if np.ndim(X) != 2 or np.shape(X)[1] != self.features_.shape[1]:
            raise ValueError(f"X must have shape [N,{self.features_.shape[1]}], "
                             f"got {list(np.shape(X))}")
        rows = max(CHUNK // len(self.features_), 1)
        return torch.cat([self._votes(x) for x in _unit(X).split(rows)]).numpy()

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Labels ``[N]``; of equal votes the smallest label."""
        return self.classes_[self.decision_function(X).argmax(1)]

    def _votes(self, x: Tensor) -> Tensor:
        similarity, nearest = (x @ self.features_.T).topk(self.k, dim=1)
        weight = torch.ones_like(similarity)
        if self.temperature is not None:
            weight = (similarity / self.temperature).exp()
        votes = torch.zeros(len(x), len(self.classes_))
        return votes.scatter_add_(1, self.index_[nearest], weight)


def _unit(X: np.ndarray) -> Tensor:
    X = torch.as_tensor(np.asarray(X), dtype=torch.float32)
    if not X.isfinite().all():
        raise ValueError("X must be finite, got NaN or infinity")
    return F.normalize(X, dim=1)
