"""Images under several masks, with the groups of pixels that a mask follows."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.patheffects as effects
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mae_lib.figures.look import channels_last, enlarged, picture, style, titled_grid

GREY = 0.55


def mask_grid(images: np.ndarray, hidden: Mapping[str, np.ndarray],
              groups: np.ndarray | None = None) -> Figure:
    """One row an image, one column a mask, what is hidden in grey; the image itself comes first.

    Args:
        images: ``[n,3,H,W]`` or ``[n,H,W,3]`` in [0, 1].
        hidden: ``{title: [n,h,w]}``, true where a cell is hidden; h and w divide H and W.
        groups: integers ``[n,h,w]``; the first column shows where one group ends and the next
            begins.

    Raises:
        ValueError: no images or masks; masks or groups of another number; cells that do not fit.
    """
    _check(images, hidden, groups)
    with style():
        fig, axes = titled_grid(len(images), ["image" if groups is None else "groups", *hidden])
        for i, line in enumerate(axes):
            image = channels_last(images[i])
            picture(line[0], image)
            if groups is not None:
                _borders(line[0], enlarged(groups[i], image.shape))
            for ax, masks in zip(line[1:], hidden.values(), strict=True):
                cells = enlarged(np.asarray(masks[i], bool), image.shape)
                picture(ax, np.where(cells[..., None], GREY, image))
    plt.close(fig)
    return fig


def _borders(ax, groups: np.ndarray) -> None:
    """Lines between pixels of different groups."""
    down = np.nonzero(groups[1:] != groups[:-1])
    across = np.nonzero(groups[:, 1:] != groups[:, :-1])
    shadow = [effects.withStroke(linewidth=2.2, foreground="black")]
    ax.hlines(down[0] + 0.5, down[1] - 0.5, down[1] + 0.5, colors="white", linewidth=1,
              path_effects=shadow)
    ax.vlines(across[1] + 0.5, across[0] - 0.5, across[0] + 0.5, colors="white", linewidth=1,
              path_effects=shadow)


def _check(images, hidden, groups) -> None:
    if len(images) == 0 or not hidden:
        raise ValueError(f"images and hidden must not be empty, got {len(images)} images and "
                         f"{len(hidden)} masks")
    size = channels_last(images[0]).shape[:2]
    for title, cells in {**hidden, **({} if groups is None else {"groups": groups})}.items():
        shape = np.shape(cells)
        if len(shape) != 3 or shape[0] != len(images) or any(np.mod(size, shape[1:])):
            raise ValueError(f"hidden and groups must have shape [{len(images)},h,w] with h and w "
                             f"dividing {size[0]} and {size[1]}, got {list(shape)} for {title!r}")
