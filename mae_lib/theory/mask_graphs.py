"""The graphs that masking draws between parts of images (Zhang et al., NeurIPS 2022), by listing.

A mask cuts an image into the view x1 that the encoder is shown and the target x2 that it has to
predict. In the *mask graph* a view and a target are joined by the probability that they are cut
from one image. Two views that can have the same target are joined in the *augmentation graph*.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np

from mae_lib.theory.toy_worlds import World


class EdgeMass(NamedTuple):
    """Of two images drawn for one target: the probability that they are the same with the same
    class, different with the same class, and of different classes. The three add up to 1."""

    same: float
    within: float
    across: float


@dataclass(frozen=True, eq=False)
class MaskGraph:
    """A world under all masks that hide the same number of patches, each equally likely.

    ``views [N1, n - h]`` and ``targets [N2, h]`` are what there is to see and to predict, in the
    order of the patches; ``view_of`` and ``target_of [N, masks]`` say which of them an image and a
    mask give. With ``positions`` views and targets know which patches they are made of, so that
    those of two masks are never the same.
    """

    world: World
    views: np.ndarray
    targets: np.ndarray
    view_of: np.ndarray
    target_of: np.ndarray

    @cached_property
    def joint(self) -> np.ndarray:
        """Mask graph: the probability ``[N1, N2]`` of a view together with a target."""
        found = np.zeros((len(self.views), len(self.targets)))
        weight = self.world.joint.sum(1)[:, None] / self.view_of.shape[1]
        np.add.at(found, (self.view_of, self.target_of), weight)
        return found

    @cached_property
    def normalised(self) -> np.ndarray:
        """The mask graph over the roots of both marginals, ``[N2, N1]``."""
        d1, d2 = self.joint.sum(1), self.joint.sum(0)
        return self.joint.T / np.sqrt(np.outer(d2, d1))

    @cached_property
    def adjacency(self) -> np.ndarray:
        """Normalised adjacency matrix of the augmentation graph, ``[N1, N1]``."""
        return self.normalised.T @ self.normalised

    @cached_property
    def eigenvalues(self) -> np.ndarray:
        """Of the adjacency matrix, the largest first, ``[N1]``; they lie in [0, 1]."""
        return np.linalg.eigvalsh(self.adjacency)[::-1]

    @cached_property
    def view_labels(self) -> np.ndarray:
        """Probability of a view together with each class, ``[N1, K]``."""
        return self._labels(self.view_of, len(self.views))

    @cached_property
    def target_labels(self) -> np.ndarray:
        """Probability of a target together with each class, ``[N2, K]``."""
        return self._labels(self.target_of, len(self.targets))

    def label_error(self) -> float:
        """alpha: how often the likeliest class of a view is not that of its image."""
        return float(1 - self.view_labels.max(1).sum())

    def edge_mass(self) -> EdgeMass:
        """How the probability of sharing a target is spread."""
        d2 = self.joint.sum(0)
        alike = float((self.target_labels**2).sum(1) @ (1 / d2))
        count = self.view_of.shape[1]
        owners = np.zeros((*self.world.joint.shape, len(d2)))  # image, class, target
        for which in self.target_of.T:
            owners[np.arange(len(which)), :, which] += self.world.joint / count
        same = float((owners**2).sum((0, 1)) @ (1 / d2))
        return EdgeMass(same, alike - same, 1 - alike)

    def _labels(self, which: np.ndarray, count: int) -> np.ndarray:
        found = np.zeros((count, self.world.joint.shape[1]))
        np.add.at(found, which, self.world.joint[:, None] / which.shape[1])
        return found


def mask_graph(world: World, hidden: int, *, positions: bool = True) -> MaskGraph:
    """The graph of a world whose masks hide ``hidden`` patches, 0 to all of them.

    Raises:
        ValueError: another number of hidden patches.
    """
    if not 0 <= hidden <= world.patches:
        raise ValueError(f"hidden must lie in 0..{world.patches}, got {hidden}")
    everything = set(range(world.patches))
    masks = [np.array(m, int) for m in combinations(range(world.patches), hidden)]
    shown = [np.array(sorted(everything - set(m)), int) for m in masks]
    (views, view_of), (targets, target_of) = (_parts(world.images, some, positions)
                                              for some in (shown, masks))
    return MaskGraph(world, views, targets, view_of, target_of)


def _parts(images: np.ndarray, chosen: list[np.ndarray], positions: bool
           ) -> tuple[np.ndarray, np.ndarray]:
    """The different parts ``[P, size]`` that a choice of patches gives, and which of them each
    image and choice give, ``[N, choices]``."""
    place = np.arange(len(chosen)) if positions else np.zeros(len(chosen), int)
    rows = [np.column_stack([np.full(len(images), p), images[:, some]])
            for p, some in zip(place, chosen, strict=True)]
    parts, which = np.unique(np.concatenate(rows), axis=0, return_inverse=True)
    return parts[:, 1:], which.reshape(len(chosen), len(images)).T
