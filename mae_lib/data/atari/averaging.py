"""Pictures made smaller by averaging over areas, exactly."""

from __future__ import annotations

import numpy as np
from numba import njit


def _jit(function):
    """Compile and cache; where no folder can be written, compile anew in each process."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)


@_jit
def average(picture, out):
    """Fill ``out`` with means of ``picture`` over the area of each of its pixels.

    A pixel that lies in the area in part counts in part. In whole numbers, halves rounded up, so
    that the bytes are the same on every machine.

    Args:
        picture: uint8 ``[H, W, 3]``, contiguous.
        out: uint8 ``[3, h, w]``.
    """
    height, width, _ = picture.shape
    _, rows, cols = out.shape
    lines = picture.reshape(height, 3 * width)
    summed = np.empty(3 * width, np.int32)
    for i in range(rows):
        summed[:] = 0
        for y in range(i * height // rows, ((i + 1) * height - 1) // rows + 1):
            weight = np.int32(_overlap(i, height, y, rows))
            for k in range(3 * width):
                summed[k] += weight * np.int32(lines[y, k])
        for j in range(cols):
            red, green, blue = 0, 0, 0
            for x in range(j * width // cols, ((j + 1) * width - 1) // cols + 1):
                weight = _overlap(j, width, x, cols)
                red += weight * summed[3 * x]
                green += weight * summed[3 * x + 1]
                blue += weight * summed[3 * x + 2]
            area = height * width
            out[0, i, j] = (red + area // 2) // area
            out[1, i, j] = (green + area // 2) // area
            out[2, i, j] = (blue + area // 2) // area


@_jit
def _overlap(i, width_i, j, width_j):
    """Length that [i, i + 1) * width_i and [j, j + 1) * width_j share."""
    return min((i + 1) * width_i, (j + 1) * width_j) - max(i * width_i, j * width_j)
