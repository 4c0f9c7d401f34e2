"""The linear probe of He et al. 2022 (table 10): a linear layer trained by steps of LARS."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.base import BaseEstimator, ClassifierMixin
from timm.optim import Lars
from torch import Tensor, nn

from mae_lib.training.schedule import Recipe

TRUST = 1e-3


class GradientProbe(ClassifierMixin, BaseEstimator):
    """BatchNorm without parameters and a linear layer, trained with LARS or momentum SGD.

    The peak rate is ``base_lr * batch / 256``, reached after ``warmup`` epochs and lowered to zero
    along a half cosine; the classes of the last epoch's model are returned, no epoch is selected.

    A step of LARS has length ``rate * .001 * |weight|`` before momentum, so progress is relative,
    and ``budget_ = .001 * (sum of rates)`` says how far the weights can travel: about 22 for the
    ImageNet recipe, but it shrinks with the data set. Below 1 the probe underfits, and says so.

    Args:
        optimizer: ``"lars"`` (weight with trust ratio, bias without) or ``"sgd"``.
        batch: cut down to the number of training items if larger.

    Attributes:
        classes_, head_ (the module), budget_ (``"lars"``; None for ``"sgd"``).

    Raises:
        ValueError: ``fit`` with NaN, wrong shapes, one class, unknown optimizer or bad numbers.
    """

    def __init__(self, optimizer: Literal["lars", "sgd"] = "lars", *, epochs: int = 90,
                 base_lr: float = 0.1, batch: int = 16384, warmup: int = 10, seed: int = 0):
        self.optimizer, self.epochs, self.base_lr = optimizer, epochs, base_lr
        self.batch, self.warmup, self.seed = batch, warmup, seed

    def fit(self, X: np.ndarray, y: np.ndarray) -> GradientProbe:
        """Fit on ``[N, D]``, or on views ``[N, V, D]``, of which each epoch takes one an image."""
        X, index = self._checked(X, y)
        batch = min(self.batch, len(X))
        recipe = Recipe(views=self.epochs * (len(X) // batch) * batch, batch=batch,
                        lr=self.base_lr * batch / 256, warmup=self.warmup / self.epochs)
        self.budget_ = self._budget(recipe)
        generator = torch.Generator().manual_seed(self.seed)
        self.head_ = new_head(X.shape[2], len(self.classes_), generator)
        self._train(X, index, recipe, generator)
        return self

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Logits ``[N, K]``."""
        with torch.no_grad():
            return self.head_(torch.as_tensor(X, dtype=torch.float32)).numpy()

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.classes_[self.decision_function(X).argmax(1)]

    def _checked(self, X: np.ndarray, y: np.ndarray) -> tuple[Tensor, Tensor]:
        if self.optimizer not in ("lars", "sgd"):
            raise ValueError(f"optimizer must be 'lars' or 'sgd', got {self.optimizer!r}")
        if not 0 <= self.warmup < self.epochs:
            raise ValueError(f"warmup must lie in 0..epochs - 1 ({self.epochs - 1}), "
                             f"got {self.warmup}")
        X = np.asarray(X)[:, None] if np.ndim(X) == 2 else np.asarray(X)
        if X.ndim != 3 or np.shape(y) != X.shape[:1]:
            raise ValueError(f"X and y must have shapes [N,D] or [N,V,D] and [N], "
                             f"got {list(X.shape)} and {list(np.shape(y))}")
        if not np.isfinite(X).all():
            raise ValueError("X must be finite, got NaN or infinity")
        self.classes_, index = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y must hold at least two classes, got {len(self.classes_)}")
        return torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(index)

    def _budget(self, recipe: Recipe) -> float | None:
        if self.optimizer == "sgd":
            return None
        budget = TRUST * sum(recipe.rate(step) for step in range(recipe.steps))
        if budget < 1:
            warnings.warn(f"the LARS budget is {budget:.2g}, below 1: the probe will underfit; "
                          "raise epochs or base_lr", stacklevel=3)
        return budget

    def _train(self, X: Tensor, y: Tensor, recipe: Recipe, generator: torch.Generator) -> None:
        optimizer = new_optimizer(self.head_[1], self.optimizer)
        self.head_.train()
        for step in range(recipe.steps):
            place = step % (len(X) // recipe.batch)
            if place == 0:
                order = torch.randperm(len(X), generator=generator)
                view = torch.randint(X.shape[1], (len(X),), generator=generator)
            rows = order[place * recipe.batch:(place + 1) * recipe.batch]
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate(step)
            optimizer.zero_grad()
            F.cross_entropy(self.head_(X[rows, view[rows]]), y[rows]).backward()
            optimizer.step()
        self.head_.eval()


def new_head(width: int, classes: int, generator: torch.Generator) -> nn.Sequential:
    """BatchNorm without parameters (eps 1e-6), then a linear layer, truncated normal of sd .01."""
    linear = nn.Linear(width, classes)
    nn.init.trunc_normal_(linear.weight, std=0.01, generator=generator)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(nn.BatchNorm1d(width, affine=False, eps=1e-6), linear)


def new_optimizer(linear: nn.Linear, name: str) -> torch.optim.Optimizer:
    """Momentum .9, no weight decay; the trust ratio applies to the weight only.

    timm's Lars needs two groups for that: without weight decay its default is plain SGD, and with
    ``always_adapt`` it would adapt the bias too.
    """
    if name == "sgd":
        return torch.optim.SGD(linear.parameters(), lr=1.0, momentum=0.9)
    groups = [{"params": [linear.weight], "always_adapt": True},
              {"params": [linear.bias], "always_adapt": False}]
    return Lars(groups, lr=1.0, momentum=0.9, trust_coeff=TRUST)
