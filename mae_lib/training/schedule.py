"""Learning-rate schedule and AdamW parameter groups of MAE's recipe."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Recipe:
    """How long and how fast to train (names as in He et al., appendix A.1).

    Args:
        views: images seen in all, repetitions counted; whole batches only.
        batch: images in a step.
        lr: peak learning rate, absolute (MAE's base rate is per 256 images).
        warmup: share of the steps with a linearly growing rate.
        min_lr: rate at the end of the half cosine.
        clip: largest gradient norm, None for no clipping.

    Raises:
        ValueError: a number out of its range.
    """

    views: int
    batch: int = 32
    lr: float = 1.5e-3
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    warmup: float = 0.05
    min_lr: float = 0.0
    clip: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= self.views:
            raise ValueError(f"batch must lie in 1..views ({self.views}), got {self.batch}")
        if not self.lr > self.min_lr >= 0:
            raise ValueError(f"lr must be above min_lr >= 0, got lr {self.lr}, "
                             f"min_lr {self.min_lr}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must lie in [0, 1), a share of the steps, got {self.warmup}")
        if self.clip is not None and self.clip <= 0:
            raise ValueError(f"clip must be positive or None, got {self.clip}")

    @property
    def steps(self) -> int:
        return self.views // self.batch

    def rate(self, step: float) -> float:
        """Learning rate of a step: linear warm-up from zero, then half a cosine to ``min_lr``."""
        warmup = self.warmup * self.steps
        if step < warmup:
            return self.lr * step / warmup
        done = (step - warmup) / (self.steps - warmup)
        return self.min_lr + (self.lr - self.min_lr) * 0.5 * (1 + math.cos(math.pi * done))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Weight decay for matrices, none for vectors and biases; frozen positions in no group.

    Class and mask tokens are ``[1, 1, D]`` and so are decayed, as in the official code.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    return [{"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0}]
