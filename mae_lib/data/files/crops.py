"""Which part of a picture a random crop shows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

ASPECTS = (3 / 4, 4 / 3)  # width over height
ATTEMPTS = 10  # at a crop that fits, as in torchvision


def crop_box(height: int, width: int, random_numbers: Callable[[int], np.ndarray],
             scale: tuple[float, float]) -> tuple[int, int, int, int]:
    """Top, left, height and width of torchvision's random resized crop.

    Area uniform in ``scale``, aspect log-uniform in ``ASPECTS``, drawn up to ten times until the
    crop fits; then the largest central crop with an aspect within limits.

    Args:
        random_numbers: gives so many uniform numbers in [0, 1).
    """
    for _ in range(ATTEMPTS):
        draw = random_numbers(4)
        h, w = _sides(height, width, draw, scale)
        if 0 < h <= height and 0 < w <= width:
            return int(draw[2] * (height - h + 1)), int(draw[3] * (width - w + 1)), h, w
    w = min(width, round(height * ASPECTS[1]))
    h = min(height, round(width / ASPECTS[0]))
    return (height - h) // 2, (width - w) // 2, h, w


def loop_free_box(height: int, width: int, draw: np.ndarray,
                  scale: tuple[float, float] = (0.08, 1.0)) -> tuple[int, int, int, int]:
    """Top, left, height and width of the crop of He et al.'s linear probe: one draw, cut to size.

    Area uniform in ``scale``, aspect log-uniform in ``ASPECTS``.

    Args:
        draw: four uniform numbers in [0, 1).
    """
    h, w = _sides(height, width, draw, scale)
    h, w = min(max(h, 1), height), min(max(w, 1), width)
    return int(draw[2] * (height - h + 1)), int(draw[3] * (width - w + 1)), h, w


def check_scale(scale: tuple[float, float]) -> None:
    """Raise ValueError unless ``scale`` is the least and largest share of an area."""
    if not 0 < scale[0] <= scale[1] <= 1:
        raise ValueError(f"scale must be two shares 0 < least <= most <= 1, got {scale}")


def _sides(height: int, width: int, draw: np.ndarray,
           scale: tuple[float, float]) -> tuple[int, int]:
    area = (scale[0] + (scale[1] - scale[0]) * draw[0]) * height * width
    aspect = math.exp(math.log(ASPECTS[0]) + draw[1] * math.log(ASPECTS[1] / ASPECTS[0]))
    return round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
