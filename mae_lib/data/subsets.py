"""Few images out of many: how they are chosen, which of them keep their labels, one photograph."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

from mae_lib.data.files.transforms import RandomView
from mae_lib.data.images import ImageSet, fingerprint
from mae_lib.data.protocols import Images

CHOICES = ("random", "one class", "each class")
PHOTOGRAPH = "china.jpg"  # of scikit-learn: a temple, 427 x 640 pixels, CC-BY


def few(images: Images, count: int, how: str = "random", seed: int = 0) -> Images:
    """``count`` of the images (Kong and Zhang, CVPR 2023, Table 7).

    Args:
        how: ``"random"``; ``"one class"``, itself drawn at random; ``"each class"``, equally many
            of each as far as that goes.
        seed: of the draw; the first images of a larger draw are those of a smaller one.

    Raises:
        ValueError: an unknown way; more than there are.
    """
    if how not in CHOICES:
        raise ValueError(f"how must be one of {', '.join(CHOICES)}, got {how!r}")
    draws = np.random.default_rng([seed, CHOICES.index(how)])
    order = draws.permutation(len(images))
    labels = images.labels[order]
    if how == "one class":
        order = order[labels == draws.integers(len(images.classes))]
    if how == "each class":
        order = order[np.argsort(_place_in_class(labels), kind="stable")]
    if not 1 <= count <= len(order):
        raise ValueError(f"count must lie in 1..{len(order)}, as many images as there are, "
                         f"got {count}")
    return images.subset(order[:count])


def labelled_share(images: Images, share: float, seed: int = 0) -> Images:
    """The images of which the labels are known: the same share of every class, at random.

    Raises:
        ValueError: a share outside (0, 1]; one that leaves a class without any image.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share}")
    order = np.random.default_rng(seed).permutation(len(images))
    labels = images.labels[order]
    counts = np.bincount(labels, minlength=len(images.classes))
    kept = np.floor(share * counts).astype(int)
    if not kept.all():
        name = images.classes[int(kept.argmin())]
        raise ValueError(f"share must leave an image of every class, got {share:g}, which leaves "
                         f"none of the {counts[kept.argmin()]} of class {name!r}")
    return images.subset(np.sort(order[_place_in_class(labels) < kept[labels]]))


def crops_of_photograph(count: int, size: int, seed: int = 0,
                        scale: tuple[float, float] = (0.02, 0.3)) -> ImageSet:
    """Random crops of one photograph, mirrored every other time, as a set with a single class.

    Args:
        scale: least and largest share of the photograph's area.

    Raises:
        ValueError: fewer than one crop.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    view, picture = RandomView(size, scale), _photograph()
    seeds = np.random.default_rng(seed).integers(2**32, size=count)
    pixels = np.stack([np.asarray(view(picture, int(s))).transpose(2, 0, 1) for s in seeds])
    return ImageSet(pixels, np.zeros(count, np.int64), ("photograph",), f"crops of {PHOTOGRAPH}",
                    fingerprint(PHOTOGRAPH, repr(view), pixels.tobytes()))


@cache
def _photograph() -> Image.Image:
    from sklearn.datasets import load_sample_image

    return Image.fromarray(load_sample_image(PHOTOGRAPH))


def _place_in_class(labels: np.ndarray) -> np.ndarray:
    """How many images of the same class stand before each."""
    places = np.empty(len(labels), int)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        places[own] = np.arange(len(own))
    return places
