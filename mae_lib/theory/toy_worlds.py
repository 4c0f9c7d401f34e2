"""Worlds that are small enough to list: every image of a few patches, with its probability."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PROTOTYPES = ((0, 0, 0, 0, 0, 0), (1, 1, 1, 1, 0, 0))  # of the world that the book shows
NOISE = 0.15


@dataclass(frozen=True, eq=False)
class World:
    """All images ``[N, n]`` of n patches, a number each, and ``joint [N, K]``, the probability of
    an image together with each class.

    Raises:
        ValueError: shapes that do not fit, no patch, an image twice; what is no distribution.
    """

    images: np.ndarray
    joint: np.ndarray

    def __post_init__(self) -> None:
        if self.images.ndim != 2 or not self.images.shape[1] or (
                self.joint.ndim != 2 or len(self.joint) != len(self.images)):
            raise ValueError("images and joint must have shapes [N,n] and [N,K], n at least 1, "
                             f"got {list(self.images.shape)} and {list(self.joint.shape)}")
        if len(np.unique(self.images, axis=0)) < len(self.images):
            raise ValueError("images must be different from each other, got one twice")
        if (self.joint < 0).any() or not np.isclose(self.joint.sum(), 1, rtol=0, atol=1e-12):
            raise ValueError(f"joint must hold probabilities that add up to 1, got a sum of "
                             f"{self.joint.sum():.6g} and a least of {self.joint.min():.3g}")

    @property
    def patches(self) -> int:
        return self.images.shape[1]


def noisy_prototypes(prototypes: Sequence[Sequence[int]] = PROTOTYPES,
                     noise: float = NOISE) -> World:
    """Classes of equal probability; an image is its class's prototype of zeros and ones, each patch
    of it flipped with probability ``noise``.

    Raises:
        ValueError: prototypes that are not rows of zeros and ones; noise outside [0, 1].
    """
    means = np.asarray(prototypes)
    if means.ndim != 2 or not np.isin(means, (0, 1)).all():
        raise ValueError(f"prototypes must be rows of zeros and ones, got {prototypes!r}")
    if not 0 <= noise <= 1:
        raise ValueError(f"noise must lie in [0, 1], got {noise}")
    images = np.array(list(itertools.product((0, 1), repeat=means.shape[1])))
    flipped = images[:, None] != means
    joint = np.where(flipped, noise, 1 - noise).prod(2) / len(means)
    there = joint.sum(1) > 0
    return World(images[there], joint[there])


def random_world(rng: np.random.Generator, patches: int = 4, classes: int = 2,
                 values: int = 2) -> World:
    """A random selection of the images of ``patches`` patches with ``values`` values each, and a
    random distribution over them and their classes; often the class follows from the image."""
    images = np.array(list(itertools.product(range(values), repeat=patches)))
    images = images[rng.permutation(len(images))[:rng.integers(2, len(images) + 1)]]
    joint = rng.dirichlet(np.full(len(images), 1.0))[:, None] * (
        rng.dirichlet(np.full(classes, rng.choice([0.01, 1.0])), len(images)))
    return World(images, joint / joint.sum())
