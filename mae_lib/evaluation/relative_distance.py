"""How far images of one class lie from each other, relative to images of different classes.

R = D_intra / D_inter, means of the L2 distance over all pairs of images of the same and of
different classes (Zhang et al., NeurIPS 2022, as the talk by D. Kim shows it). The sources do not
say in which space, or whether of whole images; here it is any features ``[N,D]``.

In pixels two closed forms hold, :func:`ratio_under_one_mask` and :func:`ratio_under_two_masks`: no
masking ratio between the ends can be best there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mae_lib.models.masks import Mask
from mae_lib.models.patches import patch_grid, patchify, unpatchify

BLOCK = 512  # images whose distances from all others are held at a time


@dataclass(frozen=True, eq=False)
class RelativeDistance:
    """Each image's part ``[N]`` of both means over pairs, in the units of the features.

    ``own`` is the sum of the distances to the other images of its class, ``other`` to images of
    other classes, each over the mean number of such pairs an image. So the means over images are
    the means over pairs, in classes of unequal sizes too; in equal ones an image's part is its mean
    distance.
    """

    own: np.ndarray
    other: np.ndarray

    @property
    def intra(self) -> float:
        """Mean distance of two images of one class."""
        return float(self.own.mean())

    @property
    def inter(self) -> float:
        """Mean distance of two images of different classes."""
        return float(self.other.mean())

    @property
    def ratio(self) -> float:
        """R: below 1 if classes cluster, about 1 for labels that mean nothing."""
        return self.intra / self.inter


def relative_distance(X: np.ndarray, y: np.ndarray, *, squared: bool = False,
                      block: int = BLOCK) -> RelativeDistance:
    """Distances of all pairs of features ``X [N,D]`` of classes ``y [N]``.

    Args:
        squared: means of the squared distance, as in the closed forms.
        block: images at a time; changes no value.

    Raises:
        ValueError: features or classes off, see :func:`checked`; ``block`` below 1; no two images
            of different classes that differ.
    """
    X, member = checked(X, y)
    sums = np.concatenate([rows @ member for _, rows in _distances(X, squared, block)])
    own = (sums * member).sum(1)
    other = sums.sum(1) - own
    if not other.any():
        raise ValueError("X must differ between some images of different classes, got none that do")
    within, across = _all_pairs(member)
    return RelativeDistance(own * len(X) / within, other * len(X) / across)


def bootstrap(X: np.ndarray, y: np.ndarray, *, draws: int = 1000, seed: int = 0,
              block: int = BLOCK) -> np.ndarray:
    """R of images drawn with replacement, ``[draws]``; its quantiles are the limits of an interval.

    An image stands in many pairs: to draw the *parts* of :class:`RelativeDistance` instead would
    make the interval half as wide as it is. An image that is drawn twice makes no pair with itself.

    Raises:
        ValueError: as :func:`relative_distance`; ``draws`` below 1; so few images that some draw
            has no pair of one class or of different ones.
    """
    X, member = checked(X, y)
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    times = _times_drawn(len(X), draws, seed)
    sums = np.zeros((2, draws))  # of one class, of all
    for rows, found in _distances(X, False, block):
        same = found * (member[rows] @ member.T)
        for total, part in zip(sums, (same, found), strict=True):
            total += ((times @ part.T) * times[:, rows]).sum(1)
    within, across = _pairs(member, times)
    if min(within.min(), across.min()) == 0:
        raise ValueError("X must hold so many images of each class that every draw has pairs "
                         f"of both kinds, got {len(X)} images of {member.shape[1]} classes")
    return (sums[0] / within) / ((sums[1] - sums[0]) / across)


class PairMeans(NamedTuple):
    """Means over pairs of images x, x' of one class and of different ones: of |x|^2 + |x'|^2, and
    of the inner product of x and x'."""

    squares_within: float
    products_within: float
    squares_across: float
    products_across: float


def pair_means(X: np.ndarray, y: np.ndarray) -> PairMeans:
    """What the closed forms need of images ``X [N,pixels]`` of classes ``y [N]``, from sums over
    classes; errors as in :func:`checked`."""
    X, member = checked(X, y)
    squares, sizes, own = (X**2).sum(1), member.sum(0), (member.T @ X)
    mates = member @ sizes - 1
    within, across = _all_pairs(member)
    products = (own**2).sum() - squares.sum()
    others = (X.sum(0)**2).sum() - (own**2).sum()
    return PairMeans(float(2 * squares @ mates / within), float(products / within),
                     float(2 * squares @ (len(X) - 1 - mates) / across), float(others / across))


def ratio_under_one_mask(means: PairMeans) -> float:
    """Ratio of mean *squared* distances if one random mask covers both images of a pair.

    Every pixel is kept equally often, so that the share kept cancels: it is the same at every
    masking ratio. (Ours; expectation over masks, hidden pixels 0.)
    """
    return ratio_under_two_masks(means, 1.0)


def ratio_under_two_masks(means: PairMeans, kept: float) -> float:
    """Ratio of mean *squared* distances if each image has a random mask of its own.

    With hidden pixels 0 and a share k ``kept``: (S - 2k P) of pairs of one class over that of
    different ones, S the squares and P the products of :class:`PairMeans`. It is monotone in k, so
    that no ratio between the ends is best; with nothing kept it tends to the ratio of the S. (Ours;
    expectation over independent masks.)

    Raises:
        ValueError: ``kept`` outside [0, 1].
    """
    if not 0 <= kept <= 1:
        raise ValueError(f"kept must lie in [0, 1], got {kept}")
    return ((means.squares_within - 2 * kept * means.products_within)
            / (means.squares_across - 2 * kept * means.products_across))


def zero_filled(images: Tensor, mask: Mask, patch: int) -> np.ndarray:
    """Pixels ``[B, 3HW]`` of images ``[B,3,H,W]``, 0 in patches that a mask hides."""
    shown = patchify(images, patch) * (1 - mask.binary())[..., None].to(images)
    return unpatchify(shown, patch, patch_grid(tuple(images.shape[2:]), patch)).flatten(1).numpy()


def checked(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features in float64, and float64 ``[N, K]``, 1 where an image belongs to a class.

    Raises:
        ValueError: ``X`` is not finite features [N,D]; another number of classes in ``y``; fewer
            than two different ones; no class of two images.
    """
    X, y = np.asarray(X, np.float64), np.asarray(y)
    if X.ndim != 2 or 0 in X.shape or not np.isfinite(X).all():
        raise ValueError(f"X must be finite features [N,D], got shape {list(X.shape)}"
                         + " with NaN or infinity" * (X.ndim == 2 and X.size > 0))
    if y.shape != X.shape[:1]:
        raise ValueError(f"y must hold {len(X)} classes, one an item, got shape {list(y.shape)}")
    names, index, sizes = np.unique(y, return_inverse=True, return_counts=True)
    if len(names) < 2 or sizes.max() < 2:
        raise ValueError("y must hold at least 2 classes and one of them twice, "
                         f"got {len(names)} of at most {sizes.max()}")
    return X, np.eye(len(names))[index]


def _distances(X: np.ndarray, squared: bool, block: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of the distance matrix ``[block, N]``. Differences are taken before they are squared:
    a matrix product would lose the small ones."""
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    all_of_them = torch.from_numpy(X)
    for start in range(0, len(X), block):
        rows = slice(start, start + block)
        found = torch.cdist(all_of_them[rows], all_of_them,
                            compute_mode="donot_use_mm_for_euclid_dist").numpy()
        yield rows, found**2 if squared else found


def _pairs(member: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ordered pairs of different images of one class, and of different classes, ``[draws]``, of
    images drawn ``times [draws, N]``."""
    alike = ((times @ member) ** 2).sum(1)
    return alike - (times**2).sum(1), times.sum(1) ** 2 - alike


def _all_pairs(member: np.ndarray) -> tuple[float, float]:
    """The same with every image once."""
    within, across = _pairs(member, np.ones((1, len(member))))
    return within.item(), across.item()


def _times_drawn(count: int, draws: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([np.bincount(rng.integers(0, count, count), minlength=count)
                     for _ in range(draws)]).astype(np.float64)
