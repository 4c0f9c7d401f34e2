"""Do two images ever have the same hidden part? In the pictures themselves, without a network.

In the theory of Zhang et al. (NeurIPS 2022) two images are joined if one target could be theirs. In
a talk D. Kim doubts that any two images share one exactly, and leaves open whether similar targets
do as well. Here an image's target is the bytes of its hidden patches, and a mask is laid over all
images, since a transformer knows the places of what it predicts. Images that are the same as a
whole share everything and are one image here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

import numpy as np
import torch

from mae_lib.data.images import ImageSet
from mae_lib.models.masks import Grid, random_mask
from mae_lib.models.patches import patchify

BLOCK = 512  # images whose distances from all others are held at a time
TOLERANCES = (0.25, 0.5)  # of the mean distance
OWN, ANOTHER = "own class", "another class"


def hidden_patches(grid: Grid, ratio: float, masks: int, seed: int = 0) -> np.ndarray:
    """Patches that ``masks`` random masks hide, int64 ``[masks, H]``, ascending.

    What is hidden at one ratio is hidden at all larger ones, so that ratios differ in nothing else.

    Raises:
        ValueError: ``masks`` below 1; a ratio that hides nothing or everything.
    """
    if masks < 1:
        raise ValueError(f"masks must be at least 1, got {masks}")
    noise = torch.rand(masks, grid[0] * grid[1], generator=torch.Generator().manual_seed(seed))
    return random_mask(masks, grid, ratio, noise=noise).hidden.numpy()


def exact_sharing(images: ImageSet, hidden: np.ndarray, patch: int) -> dict[str, np.ndarray]:
    """With how many other images each image has the same target, summed over masks.

    Args:
        hidden: patches that each mask hides, ``[M, H]``.
        patch: side of a patch in pixels.

    Returns:
        ``"own class"`` and ``"another class"``, int64 ``[N]``: partners under all masks together.
        Half their sums are numbers of pairs, see :func:`pair_count`.

    Raises:
        ValueError: a patch that does not divide the side; ``hidden`` off.
    """
    cells = _cells(images, patch)
    hidden = _checked(hidden, cells.shape[1])
    whole = _codes(cells)
    found = np.zeros((2, len(images)), np.int64)
    for rows in hidden:
        target = _codes(cells[:, rows])
        own = _partners(*(list(zip(codes, images.labels, strict=True))
                          for codes in (target, whole)))
        found += [own, _partners(target, whole) - own]
    return dict(zip((OWN, ANOTHER), found, strict=True))


def pair_count(images: ImageSet) -> int:
    """How many pairs of images there are that are not the same as a whole."""
    counts = Counter(_codes(images.images))
    return (len(images) ** 2 - sum(n**2 for n in counts.values())) // 2


def shared_patches(images: ImageSet, patch: int) -> dict[str, np.ndarray]:
    """The share of each image's patches whose content another image has, too: float64 ``[N]``.

    ``"same place"``, ``"any place"``: where the other image has it; ``"flat"``: patches of a single
    colour, shared or not; ``"same place, not flat"``, ``"any place, not flat"``: shared ones that
    are not flat.

    Raises:
        ValueError: a patch that does not divide the side.
    """
    cells = _cells(images, patch)
    count, places = cells.shape[:2]
    whole = np.repeat(_numbers(_codes(cells)), places)
    content = _numbers(_codes(cells.reshape(count * places, -1)))
    flat = _flat(cells, patch).ravel()
    same = _elsewhere(content * places + np.tile(np.arange(places), count), whole)
    any_place = _elsewhere(content, whole)
    found = {"same place": same, "any place": any_place, "flat": flat,
             "same place, not flat": same & ~flat, "any place, not flat": any_place & ~flat}
    return {name: part.reshape(count, places).mean(1) for name, part in found.items()}


def near_sharing(images: ImageSet, hidden: np.ndarray, patch: int, *,
                 tolerances: Sequence[float] = TOLERANCES,
                 block: int = BLOCK) -> dict[str, np.ndarray]:
    """How near the most similar target of another image is, and whose: means over masks.

    L2 distances between the pixels of targets, exact, over the mean distance of two images under
    that mask: 0 where a target is shared (by all images too), about 1 where all are equally far.

    Args:
        hidden: patches that each mask hides, ``[M, H]``.
        tolerances: within which targets count as the same, in mean distances.
        block: images at a time; changes no value.

    Returns:
        Float64 ``[N]`` each. ``"nearest"``: the distance of the nearest other target;
        ``"nearest is of its class"``: how often (of several equally near ones, the share of them);
        ``"own class within .."`` and ``"another class within .."``: shares of all other images that
        lie within a tolerance and are of the same class, or of another.

    Raises:
        ValueError: a patch that does not divide the side; ``hidden`` off; ``block`` below 1; a
            tolerance below 0; fewer than two different images, or an image with no other.
    """
    cells = _cells(images, patch)
    hidden = _checked(hidden, cells.shape[1])
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    if min(tolerances, default=0) < 0:
        raise ValueError(f"tolerances must not be negative, got {min(tolerances)}")
    whole = _numbers(_codes(cells))
    if whole.max() == 0:
        raise ValueError(f"images must hold two that differ, got {len(images)} of the same")
    masks = [_near(cells[:, rows].reshape(len(images), -1), images.labels, whole, tolerances, block)
             for rows in hidden]
    return {name: np.mean([mask[name] for mask in masks], axis=0) for name in masks[0]}


def _near(pixels: np.ndarray, labels: np.ndarray, whole: np.ndarray, tolerances: Sequence[float],
          block: int) -> dict[str, np.ndarray]:
    """:func:`near_sharing` of one mask, from the bytes ``[N, n]`` that it hides."""
    mean = _mean_distance(pixels, whole, block)
    parts = []
    for rows, squares in _squared_distances(pixels, block):
        other = whole[rows, None] != whole
        mate = other & (labels[rows, None] == labels)
        squares[~other] = np.inf
        parts.append(_near_rows(np.sqrt(squares) / (mean or 1), other, mate, tolerances))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _near_rows(distance: np.ndarray, other: np.ndarray, mate: np.ndarray,
               tolerances: Sequence[float]) -> dict[str, np.ndarray]:
    nearest = distance.min(1)
    ties = distance == nearest[:, None]
    found = {"nearest": nearest, "nearest is of its class": (ties & mate).sum(1) / ties.sum(1)}
    for tolerance in tolerances:
        near = distance <= tolerance
        for name, kind in ((OWN, mate), (ANOTHER, other & ~mate)):
            found[f"{name} within {tolerance:g}"] = (near & kind).sum(1) / other.sum(1)
    return found


def _mean_distance(pixels: np.ndarray, whole: np.ndarray, block: int) -> float:
    """Of two different images; those that are the same as a whole have distance 0."""
    total = sum(np.sqrt(squares).sum() for _, squares in _squared_distances(pixels, block))
    counts = np.bincount(whole)
    return float(total / (len(whole) ** 2 - (counts**2).sum()))


def _squared_distances(pixels: np.ndarray, block: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of the matrix of squared distances. Bytes make integers below 2^53 of all terms, so
    that float64 holds them exactly and a matrix product loses nothing."""
    numbers = torch.from_numpy(pixels.astype(np.float64))
    squares = numbers.square().sum(1)
    for start in range(0, len(numbers), block):
        rows = slice(start, start + block)
        found = squares[rows, None] + squares - 2 * (numbers[rows] @ numbers.T)
        yield rows, found.numpy()


def _cells(images: ImageSet, patch: int) -> np.ndarray:
    """Bytes of all patches, uint8 ``[N, L, 3 * patch * patch]``."""
    return patchify(torch.from_numpy(images.images), patch).numpy()


def _checked(hidden: np.ndarray, patches: int) -> np.ndarray:
    hidden = np.asarray(hidden)
    if hidden.ndim != 2 or 0 in hidden.shape or hidden.dtype.kind not in "iu":
        raise ValueError(f"hidden must be indices [M,H] of patches, got {hidden.dtype} of shape "
                         f"{list(hidden.shape)}")
    if hidden.min() < 0 or hidden.max() >= patches:
        raise ValueError(f"hidden must lie in 0..{patches - 1}, "
                         f"got {hidden.min()}..{hidden.max()}")
    return hidden


def _codes(rows: np.ndarray) -> list[bytes]:
    """What stands for the bytes of each row: 128 bits, in which no two differing rows agree."""
    return [blake2b(np.ascontiguousarray(row), digest_size=16).digest() for row in rows]


def _numbers(codes: Iterable[bytes]) -> np.ndarray:
    """The same codes as integers from 0, in the order in which they first come."""
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(code, len(seen)) for code in codes])


def _partners(target: Sequence, whole: Sequence) -> np.ndarray:
    """How many items have the same target, less those that are the same as a whole."""
    by_target, by_whole = Counter(target), Counter(whole)
    return np.array([by_target[t] - by_whole[w] for t, w in zip(target, whole, strict=True)])


def _elsewhere(content: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Whether an item's content comes in images other than its own, too: bool, one an item."""
    owners = np.unique(np.stack([content, whole]), axis=1)[0]
    return np.bincount(owners)[content] > 1


def _flat(cells: np.ndarray, patch: int) -> np.ndarray:
    """Patches whose pixels all have one colour, bool ``[N, L]``."""
    colours = cells.reshape(*cells.shape[:2], patch * patch, 3)
    return (colours == colours[:, :, :1]).all((2, 3))
