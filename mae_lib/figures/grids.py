"""Grids of small pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mae_lib.figures.look import WIDTH, channels_last, picture, style


def reconstruction_grid(rows: Mapping[str, np.ndarray], columns: Sequence[str] = ()) -> Figure:
    """Images in rows that are named on the left.

    Args:
        rows: ``{label: images}``, each ``[n, 3, H, W]`` or ``[n, H, W, 3]`` in [0, 1].
        columns: titles of the n columns.

    Raises:
        ValueError: no rows, rows of unequal length, another number of titles.
    """
    count = _row_length(rows, columns)
    with style():
        height = WIDTH * 0.86 / count * len(rows) + 0.3 * bool(len(columns))
        fig, axes = plt.subplots(len(rows), count, figsize=(WIDTH, height), squeeze=False)
        for line, (label, images) in zip(axes, rows.items(), strict=True):
            for ax, image in zip(line, images, strict=True):
                picture(ax, image)
            line[0].set_ylabel(label, rotation=0, ha="right", va="center", labelpad=6)
        for ax, title in zip(axes[0], columns, strict=False):
            ax.set_title(title)
    plt.close(fig)
    return fig


def mask_panel(image: np.ndarray, hidden: Mapping[str, np.ndarray], patch: int) -> Figure:
    """One image under several masks, hidden patches in grey.

    Args:
        image: ``[3, H, W]`` or ``[H, W, 3]`` in [0, 1].
        hidden: ``{title: [L]}``, 1 or true where the patch is hidden, row-major.
        patch: side in pixels.
    """
    image = channels_last(image)
    grid = image.shape[0] // patch, image.shape[1] // patch
    shown = [image]
    for mask in hidden.values():
        cells = np.reshape(np.asarray(mask, bool), grid).repeat(patch, 0).repeat(patch, 1)
        shown.append(np.where(cells[..., None], 0.55, image))
    titles = ["original", *hidden]
    with style():
        fig, axes = plt.subplots(1, len(shown), figsize=(WIDTH, WIDTH / len(shown) + 0.3))
        for ax, cut, title in zip(axes, shown, titles, strict=True):
            picture(ax, cut)
            ax.set_title(title)
    plt.close(fig)
    return fig


def _row_length(rows: Mapping[str, np.ndarray], columns: Sequence[str]) -> int:
    lengths = sorted({len(images) for images in rows.values()})
    if len(lengths) != 1 or lengths[0] == 0:
        raise ValueError(f"rows must hold equally many images, at least one, got {lengths}")
    if len(columns) not in (0, lengths[0]):
        raise ValueError(f"columns must name {lengths[0]} images, got {len(columns)}")
    return lengths[0]
