"""Scenes with the objects in them: outlines, boxes and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.patheffects as effects
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mae_lib.figures.look import WIDTH, channels_last, picture, style, titled_grid

POINTS = 10
SHADOW = [effects.withStroke(linewidth=2.4, foreground="black")]


class Thing(NamedTuple):
    """An object in a scene: its name, box (left, top, right, bottom; the latter two one past the
    last pixel) and mask, bool ``[H,W]``; either may be None."""

    name: str
    box: np.ndarray | None = None
    mask: np.ndarray | None = None


def scene_grid(images: np.ndarray, found: Mapping[str, Sequence[Sequence[Thing]]]) -> Figure:
    """One row a scene, one column a way to see it: outlines, boxes with dashes, and names.

    Args:
        images: ``[n,3,H,W]`` or ``[n,H,W,3]`` in [0, 1].
        found: ``{title: things of each image}``.

    Raises:
        ValueError: no images or columns; a column of another number.
    """
    _check(images, found)
    side = WIDTH / len(found)
    with style():
        fig, axes = titled_grid(len(images), found)
        for line, image, *things in zip(axes, images, *found.values(), strict=True):
            for ax, seen in zip(line, things, strict=True):
                picture(ax, image)
                for thing in seen:
                    _thing(ax, thing, channels_last(image).shape, 72 * side)
    plt.close(fig)
    return fig


def _thing(ax, thing: Thing, size: tuple[int, ...], points: float) -> None:
    if thing.mask is not None and thing.mask.any():
        lines = ax.contour(np.pad(np.asarray(thing.mask, float), 1), [0.5], colors="white",
                           linewidths=0.9, extent=(-1, size[1], -1, size[0]))
        lines.set_path_effects([effects.withStroke(linewidth=2, foreground="black")])
    if thing.box is None:
        return
    left, top, right, bottom = map(float, thing.box)
    ax.add_patch(plt.Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False,
                               edgecolor="#F0E442", linestyle=(0, (3, 2)), linewidth=1.3,
                               path_effects=SHADOW))
    _name(ax, thing.name, (left + right) / 2, top, bottom, size, points)


def _name(ax, name: str, middle: float, top: float, bottom: float, size: tuple[int, ...],
          points: float) -> None:
    """Above things in the upper half and below others, where names are least in the way, but
    never outside the picture, which is ``points`` wide."""
    letter = size[1] * POINTS / points  # its height, in pixels of the picture
    half, upper = 0.33 * letter * len(name), top + bottom < size[0]
    ax.text(min(max(middle, half), size[1] - half),
            max(top - 1, 1.1 * letter) if upper else min(bottom, size[0] - 1.3 * letter), name,
            color="white", fontsize=POINTS, ha="center", va="bottom" if upper else "top",
            path_effects=SHADOW, in_layout=False)


def _check(images, found) -> None:
    if len(images) == 0 or not found:
        raise ValueError(f"images and found must not be empty, got {len(images)} images and "
                         f"{len(found)} columns")
    for title, things in found.items():
        if len(things) != len(images):
            raise ValueError(f"found must hold the things of each of {len(images)} images, "
                             f"got {len(things)} under {title!r}")
