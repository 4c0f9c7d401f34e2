"""Shifted test sets for a probe that was fitted on ordinary images.

Table 1 of Kong et al. scores its probes on five variants of ImageNet. Each has an *analogue* here,
under a name of its own, since it is not that set: the Menagerie draws them, Fashion-MNIST gets them
by changing photographs. An image depends on the shift's name and its own place only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .fashion_mnist import fashion_mnist, fingerprint_of
from .images import ImageSet, fingerprint
from .menagerie import RENDITIONS, filtered, identify, menagerie
from .menagerie.latents import Stream
from .menagerie.style import restyle

# What each stands for, under the head of its column in Table 1: ImageNet-v2, ObjectNet,
# ImageNet-R(enditions), ImageNet-A, ImageNet-Sketch.
SHIFTS = {"fresh draw": "IN-v2", "odd pose": "OJN", "renditions": "IN-R", "filtered": "IN-A",
          "sketch": "IN-S"}
SPLITS = {"fresh draw": "v2", "odd pose": "objectnet", "renditions": "R", "filtered": "hard",
          "sketch": "sketch"}  # of the Menagerie
POOL = 4  # images looked at for one that a filter may keep
PROBE = 64  # images whose bytes enter a fingerprint
FIRST_FRESH = 5_000  # place in Fashion-MNIST's test set; no other protocol goes so far
FIRST_OF_POOL = 40_000  # in its training set; nothing is trained on this and later ones
ODD = {"shift": 0.35, "level": (0.1, 0.75)}  # half sides; grey of the background


def shifted(dataset: str, name: str, count: int, *, predict: Callable | None = None,
            size: int = 32, preset: str = "medium32") -> ImageSet:
    """The first ``count`` images of a shifted test set.

    Args:
        dataset: ``"menagerie"`` or ``"fashion_mnist"``.
        name: one of ``SHIFTS``.
        predict: of ``"filtered"`` only: the fixed network, float32 images ``[B,3,H,W]`` in [0, 1]
            to labels ``[B]``; of the first ``POOL * count`` images of the pool, those that it gets
            wrong are kept, at most ``count``.
        size, preset: of the Menagerie; all that a shift does not name stays as in the preset.

    Raises:
        ValueError: unknown data set or shift; a ``count`` that there is not; ``"filtered"`` without
            ``predict`` or one that makes no mistake.
    """
    check_shift(dataset, name, count)
    if name == "filtered" and predict is None:
        raise ValueError("predict must be the fixed network that filters, got None")
    if dataset == "menagerie":
        drawn = POOL * count if name == "filtered" else count
        found = menagerie(SPLITS[name], drawn, size, preset)
    else:
        found = _photographs(name, count)
    if name == "filtered":
        found = filtered(found, predict)
        found = found.subset(slice(min(count, len(found))))
    return replace(found, name=f"{dataset}, {name}")


def shift_fingerprint(dataset: str, name: str, count: int, *, size: int = 32,
                      preset: str = "medium32") -> str:
    """The fingerprint of ``shifted(...)``, known without it; of ``"filtered"`` that of its pool."""
    check_shift(dataset, name, count)
    if dataset == "menagerie":
        drawn = POOL * count if name == "filtered" else count
        return identify(SPLITS[name], drawn, size, preset)
    return _fingerprint(name, count, _photographs(name, min(count, PROBE)).images)


def check_shift(dataset: str, name: str, count: int) -> None:
    """Raise ValueError unless there is such a set with ``count`` images."""
    if dataset not in ("menagerie", "fashion_mnist"):
        raise ValueError(f"dataset must be menagerie or fashion_mnist, got {dataset!r}")
    if name not in SHIFTS:
        raise ValueError(f"name must be one of {', '.join(SHIFTS)}, got {name!r}")
    most = 2**40 if dataset == "menagerie" else FIRST_FRESH
    if not 1 <= count <= most:
        raise ValueError(f"count must lie in 1..{most} for {dataset}, got {count}")


def _photographs(name: str, count: int) -> ImageSet:
    """Fashion-MNIST under a shift; of ``"filtered"`` the whole pool."""
    if name == "fresh draw":
        found = fashion_mnist("test").subset(slice(FIRST_FRESH, FIRST_FRESH + count))
    elif name == "filtered":
        found = _pool(POOL * count)
    else:
        found = fashion_mnist("test", count)
        places = np.arange(count, dtype=np.uint64)
        pixels = CHANGES[name](found.images / 255.0, Stream(0, places, prefix=f"{name} "))
        found = replace(found, images=np.floor(255.0 * pixels + 0.5).astype(np.uint8))
    return replace(found, fingerprint=_fingerprint(name, count, found.images))


def _fingerprint(name: str, count: int, images: np.ndarray) -> str:
    """Of a photographed set: its source, and its first bytes for what the code does to it."""
    return fingerprint(fingerprint_of("", count), name, images[:PROBE].tobytes())


def _pool(count: int) -> ImageSet:
    """Training photographs that nothing is trained on, then those kept for validation."""
    parts = [fashion_mnist("train").subset(slice(FIRST_OF_POOL, None)), fashion_mnist("val")]
    images, labels = (np.concatenate([getattr(part, field) for part in parts])[:count]
                      for field in ("images", "labels"))
    return replace(parts[0], images=images, labels=labels)


def _odd_pose(images: np.ndarray, stream: Stream) -> np.ndarray:
    """Turned by any angle, moved, and laid on a grey ground."""
    from scipy.ndimage import map_coordinates

    grey, inside = images[:, 0], figure(images[:, 0]).astype(float)
    turn, move = stream.unit("turn") * 2 * np.pi, stream.between("move", -1, 1, 2) * ODD["shift"]
    places = _sources(turn, move, grey.shape[1])
    moved, cover = (map_coordinates(each, places, order=1, mode="constant")
                    for each in (grey, inside))  # grey is 0 outside the figure
    level = stream.between("level", *ODD["level"])[:, None, None]
    return np.clip(moved + (1 - cover) * level, 0, 1)[:, None].repeat(3, axis=1)


def _sources(turn: np.ndarray, move: np.ndarray, size: int) -> np.ndarray:
    """Where each pixel of turned (radians ``[N]``) and moved (half sides ``[N, 2]``, down and
    right) images comes from: image, row and column, float ``[3, N, size, size]``."""
    half = (size - 1) / 2
    row, column = np.indices((size, size)) - half
    row, column = (axis - move[:, k, None, None] * size / 2 for k, axis in enumerate((row, column)))
    cosine, sine = np.cos(turn)[:, None, None], np.sin(turn)[:, None, None]
    image = np.broadcast_to(np.arange(len(turn))[:, None, None], row.shape)
    return np.stack([image, cosine * row - sine * column + half,
                     sine * row + cosine * column + half])


def _renditions(images: np.ndarray, stream: Stream) -> np.ndarray:
    """One of the Menagerie's renditions each: poster, blueprint, negative, mosaic, ..."""
    changed, chosen = images.copy(), stream.choice("rendition", len(RENDITIONS))
    for number, name in enumerate(RENDITIONS):
        some = chosen == number
        if some.any():
            grey = images[some, 0]
            changed[some] = restyle(name, images[some], outline(grey), figure(grey))
    return np.clip(changed, 0, 1)


def _sketch(images: np.ndarray, stream: Stream) -> np.ndarray:
    return restyle("sketch", images, outline(images[:, 0]), figure(images[:, 0]))


def outline(grey: np.ndarray) -> np.ndarray:
    """Strength of the edges of ``[N, H, W]`` in [0, 1]: length of the Sobel gradient, 1 for a
    straight edge from black to white."""
    from scipy.ndimage import correlate1d

    slopes = [correlate1d(correlate1d(grey, [-1, 0, 1], axis=a, mode="nearest"), [1, 2, 1],
                          axis=b, mode="nearest") for a, b in ((1, 2), (2, 1))]
    return np.minimum(np.sqrt(slopes[0] ** 2 + slopes[1] ** 2) / 4, 1)


def figure(grey: np.ndarray) -> np.ndarray:
    """What is not black ground joined to the border, bool ``[N, H, W]``."""
    from scipy.ndimage import binary_fill_holes

    return np.stack([binary_fill_holes(image > 0) for image in grey])


CHANGES = {"odd pose": _odd_pose, "renditions": _renditions, "sketch": _sketch}
