"""The losses in the theory of Zhang et al. (NeurIPS 2022), and how tight the bounds between them
are.

The constants are ours: the paper leaves them out. All losses are expectations over a joint
distribution of views x1 and targets x2, so that they can be computed exactly in a toy world, and as
well on a batch of images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Chain:
    """Expectations from which both bounds follow.

    Args:
        loss: of MAE, the squared distance of the output h(x1) from the target x2.
        epsilon: squared distance of h_g(x2), the output of a second autoencoder, from x2.
        asymmetric: less the inner product of h(x1) and h_g(x2) (equation 4).
        alignment: less that of h(x1) and h(x1'), two views that share a target (equation 5).
        norm, other_norm: squared length of h and of h_g.
        residual: squared distance of h_g(x2) from the mean of h over the views with target x2.
    """

    loss: float
    epsilon: float
    asymmetric: float
    alignment: float
    norm: float
    other_norm: float
    residual: float

    @property
    def first_bound(self) -> float:
        """Theorem 3.2: of the loss, by the asymmetric loss."""
        return self.asymmetric - self.epsilon + (self.norm + self.other_norm) / 2

    @property
    def second_bound(self) -> float:
        """Theorem 3.3: of the asymmetric loss, by alignment."""
        return (self.alignment - self.other_norm) / 2

    @property
    def whole_bound(self) -> float:
        """Both together: half the variance of h among views that share a target, less epsilon."""
        return (self.alignment + self.norm) / 2 - self.epsilon

    @property
    def slack(self) -> tuple[float, float]:
        """What each of the two bounds gives away: never negative."""
        return self.loss - self.first_bound, self.asymmetric - self.second_bound

    @property
    def looseness(self) -> float:
        """Share of the loss that the whole bound does not explain.

        It is never below one half: the loss is at least the variance of h among views that share
        a target, and the bound at most half of that.

        Raises:
            ValueError: a loss of 0, of which there is no share.
        """
        if self.loss <= 0:
            raise ValueError(f"loss must be above 0 to say how loose its bound is, got {self.loss}")
        return (self.loss - self.whole_bound) / self.loss


def chain(joint: np.ndarray, h: np.ndarray, targets: np.ndarray,
          other: np.ndarray | None = None) -> Chain:
    """The losses of outputs on a mask graph.

    Args:
        joint: probability of a view together with a target, ``[N1, N2]``.
        h: outputs for the views, ``[N1, n]``.
        targets: ``[N2, n]``.
        other: h_g for the targets, ``[N2, n]``; the targets themselves if None, so that epsilon
            is 0.

    Raises:
        ValueError: shapes that do not fit.
    """
    other = targets if other is None else other
    d1, d2 = joint.sum(1), joint.sum(0)
    if h.shape != (len(d1), targets.shape[1]) or not len(d2) == len(targets) == len(other):
        raise ValueError(f"h and targets must have shapes [{len(d1)},n] and [{len(d2)},n], got "
                         f"{list(h.shape)} and {list(targets.shape)}")
    mean = joint.T @ h / d2[:, None]  # of h over the views of each target
    norm, other_norm = (float(d @ (x**2).sum(1)) for d, x in ((d1, h), (d2, other)))
    loss = norm + float(d2 @ (targets**2).sum(1)) - 2 * float(d2 @ (mean * targets).sum(1))
    return Chain(loss, float(d2 @ ((other - targets) ** 2).sum(1)),
                 -float(d2 @ (mean * other).sum(1)), -float(d2 @ (mean**2).sum(1)), norm,
                 other_norm, float(d2 @ ((mean - other) ** 2).sum(1)))


def expected_square(marginal: np.ndarray, h: np.ndarray) -> float:
    """The uniformity loss on a graph: the squared inner product of the outputs of two views that
    are drawn independently, ``h [N1, n]`` with probabilities ``marginal [N1]``."""
    second = (marginal[:, None] * h).T @ h
    return float((second**2).sum())


def best_outputs(joint: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The outputs of least loss: the mean target of each view, ``[N1, n]``."""
    return joint @ targets / joint.sum(1, keepdims=True)
