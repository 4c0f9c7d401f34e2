"""Attention laid over the images that it looks at."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.patheffects as outlines
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mae_lib.figures.look import channels_last, enlarged, picture, style, titled_grid

HEAT = "viridis"  # its steps are even for every eye, and in grey
GREY = np.array([0.299, 0.587, 0.114])
LEAST, MOST = 0.35, 0.9  # of the colour of a kept cell


def attention_grid(images: np.ndarray, maps: Mapping[str, np.ndarray],
                   masks: np.ndarray | None = None, tokens: np.ndarray | None = None) -> Figure:
    """One row an image, one column a model: brighter cells get more attention.

    The image is grey where a map is 0, so cut the maps first (``mass_threshold``). Each map has a
    scale of its own.

    Args:
        images: ``[n,3,H,W]`` or ``[n,H,W,3]`` in [0, 1]; they also fill the first column.
        maps: ``{title: [n,h,w]}``.
        masks: where the object is, bool ``[n,H,W]``, drawn as an outline.
        tokens: the cell that looks, ``[n]`` in 0..h*w-1, drawn as a square.

    Raises:
        ValueError: no images or maps; maps, masks or tokens of another number.
    """
    _check(images, maps, masks, tokens)
    with style():
        fig, axes = titled_grid(len(images), ["image", *maps], fontsize=14)
        for i, line in enumerate(axes):
            image = channels_last(images[i])
            picture(line[0], image)
            for ax, found in zip(line[1:], maps.values(), strict=True):
                picture(ax, _overlay(image, found[i]))
                if tokens is not None:
                    _square(ax, tokens[i], found[i].shape, image.shape)
            if masks is not None:
                for ax in line:
                    _outline(ax, masks[i])
    plt.close(fig)
    return fig


def _overlay(image: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The image in pale grey, cells that get attention in colour."""
    grey = np.repeat((image @ GREY)[..., None], 3, -1) * 0.75
    share = np.asarray(found, float) / (np.max(found) or 1)
    share = enlarged(share, image.shape)[..., None]
    colour = plt.get_cmap(HEAT)(0.25 + 0.75 * share[..., 0])[..., :3]
    amount = np.where(share > 0, LEAST + (MOST - LEAST) * share, 0)
    return grey + (colour - grey) * amount


def _outline(ax, mask: np.ndarray) -> None:
    lines = ax.contour(np.pad(np.asarray(mask, float), 1), [0.5], colors="white", linewidths=0.9,
                       extent=(-1, mask.shape[1], -1, mask.shape[0]))
    lines.set_path_effects([outlines.withStroke(linewidth=2, foreground="black")])


def _square(ax, token: int, grid: tuple[int, int], size: tuple[int, ...]) -> None:
    high, wide = size[0] / grid[0], size[1] / grid[1]
    row, column = divmod(int(token), grid[1])
    square = plt.Rectangle((column * wide - 0.5, row * high - 0.5), wide, high, fill=False,
                           edgecolor="#D55E00", linewidth=2, zorder=3)
    square.set_path_effects([outlines.withStroke(linewidth=4, foreground="white")])
    ax.add_patch(square)


def _check(images, maps, masks, tokens) -> None:
    if len(images) == 0 or not maps:
        raise ValueError(f"images and maps must not be empty, got {len(images)} images and "
                         f"{len(maps)} maps")
    given = {"maps": list(maps.values()), "masks": [masks], "tokens": [tokens]}
    for name, values in given.items():
        for value in values:
            if value is not None and len(value) != len(images):
                raise ValueError(f"{name} must be one an image, {len(images)}, got {len(value)}")
