"""Boxes and outlines of COCO's annotations on a square."""

from __future__ import annotations

import warnings

import numpy as np


def xyxy(annotation: dict, scale: tuple[float, float]) -> list[float]:
    """Left, top, right, bottom on the square."""
    x, y, width, height = annotation["bbox"]
    return [x * scale[0], y * scale[1], (x + width) * scale[0], (y + height) * scale[1]]


def outline(annotation: dict, scale: tuple[float, float], picture: dict, side: int) -> list | dict:
    """Polygons on the square, or the run lengths of a crowd there."""
    shape = annotation["segmentation"]
    if isinstance(shape, list):
        return [(np.reshape(points, (-1, 2)) * scale).ravel().tolist() for points in shape]
    from pycocotools import mask

    if isinstance(shape["counts"], list):
        shape = mask.frPyObjects(shape, picture["height"], picture["width"])
    found = mask.encode(np.asfortranarray(stretched(decoded(shape), side)))
    return found | {"counts": found["counts"].decode()}


def drawn(annotation: dict, scale: tuple[float, float], picture: dict, side: int) -> np.ndarray:
    """The mask of an object, bool ``[S, S]``."""
    from pycocotools import mask

    shape = outline(annotation, scale, picture, side)
    if isinstance(shape, list):
        shape = mask.merge(mask.frPyObjects(shape, side, side))
    return decoded(shape).astype(bool)


def decoded(run_lengths: dict) -> np.ndarray:
    """Run lengths as uint8 ``[H, W]``."""
    from pycocotools import mask

    with warnings.catch_warnings():  # pycocotools 2.0.11 does not know NumPy 2's copy keyword
        warnings.simplefilter("ignore", DeprecationWarning)
        return mask.decode(run_lengths)


def stretched(mask: np.ndarray, side: int) -> np.ndarray:
    """A mask on the square, each pixel that of its centre."""
    rows, columns = (((np.arange(side) + 0.5) * n / side).astype(int) for n in mask.shape)
    return mask[np.ix_(rows, columns)]
