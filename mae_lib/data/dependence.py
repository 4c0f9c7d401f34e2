"""How strongly the grey levels of two pixels depend on each other, by distance and by object."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

LUMA = (0.299, 0.587, 0.114)
LEVELS = 8  # bins of grey; more would need more pairs a cell


def grey(images: np.ndarray) -> np.ndarray:
    """uint8 ``[N, H, W]`` from uint8 ``[N, 3, H, W]``."""
    return np.rint(np.tensordot(LUMA, images.astype(np.float32), (0, 1))).astype(np.uint8)


def dependence(images: np.ndarray, distances: Sequence[int], pairs: int, *, seed: int = 0,
               objects: np.ndarray | None = None, groups: int = 10) -> pd.DataFrame:
    """Correlation and mutual information of pixel pairs, one row a distance and group of images.

    Args:
        images: uint8 ``[N, 3, H, W]``.
        distances: between the pixels of a pair, in pixels, along a row or a column.
        pairs: how many are drawn for each row of the result.
        objects: int ``[N, H, W]``, the object each pixel belongs to, 0 for none; then pairs
            within one object and pairs across the border of one are measured as well.
        groups: parts of the images that are measured separately, so that a spread can be given.

    Returns:
        Columns ``distance``, ``group``, ``pair`` (``"any"``, ``"within"``, ``"between"``),
        ``correlation`` (absolute value of Pearson's), ``information`` (bits) and ``n`` pairs.

    Raises:
        ValueError: a distance that does not fit into the images, too few images for the groups.
    """
    if len(images) < groups or groups < 1:
        raise ValueError(f"images must hold one image a group at least, got {len(images)} "
                         f"for {groups} groups")
    side = min(images.shape[-2:])
    if not all(0 < d < side for d in distances):
        raise ValueError(f"distances must lie in 1..{side - 1}, got {list(distances)}")
    rng, shades, rows = np.random.default_rng(seed), grey(images), []
    for group, members in enumerate(np.array_split(np.arange(len(images)), groups)):
        for distance in distances:
            first, second = _places(rng, members, images.shape[-2:], distance, pairs)
            kinds = {"any": slice(None)} | _kinds(objects, first, second)
            rows += [{"distance": distance, "group": group, "pair": kind,
                      **_measure(shades[first][chosen], shades[second][chosen])}
                     for kind, chosen in kinds.items()]
    return pd.DataFrame(rows)


def mutual_information(a: np.ndarray, b: np.ndarray, levels: int = LEVELS) -> float:
    """Bits that one 8-bit grey level tells of another, in ``levels`` bins (plug-in estimate)."""
    counts = np.zeros((levels, levels))
    np.add.at(counts, (a.astype(int) * levels // 256, b.astype(int) * levels // 256), 1)
    joint = counts / counts.sum()
    alone = np.outer(joint.sum(1), joint.sum(0))
    full = joint > 0
    return float((joint[full] * np.log2(joint[full] / alone[full])).sum())


def _measure(a: np.ndarray, b: np.ndarray) -> dict:
    if len(a) < 2 or not a.std() or not b.std():
        return {"correlation": np.nan, "information": np.nan, "n": len(a)}
    return {"correlation": abs(float(np.corrcoef(a, b)[0, 1])),
            "information": mutual_information(a, b), "n": len(a)}


def _places(rng, members: np.ndarray, shape: tuple[int, int], distance: int, pairs: int
            ) -> tuple[tuple, tuple]:
    """Indices of the first and the second pixel of each pair: image, row, column."""
    image = rng.choice(members, pairs)
    down = rng.integers(0, 2, pairs)
    row = (rng.random(pairs) * (shape[0] - distance * down)).astype(int)
    column = (rng.random(pairs) * (shape[1] - distance * (1 - down))).astype(int)
    return (image, row, column), (image, row + distance * down, column + distance * (1 - down))


def _kinds(objects: np.ndarray | None, first: tuple, second: tuple) -> dict[str, np.ndarray]:
    if objects is None:
        return {}
    one, other = objects[first], objects[second]
    return {"within": (one == other) & (one > 0), "between": one != other}
