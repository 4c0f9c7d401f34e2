"""The book's look: colours, markers, type, and pictures without frames."""

from __future__ import annotations

from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLE = {
    "figure.facecolor": "white", "axes.facecolor": "white", "savefig.facecolor": "white",
    "figure.dpi": 100, "savefig.dpi": 200, "figure.constrained_layout.use": True,
    "font.size": 10.5, "axes.titlesize": 11, "axes.labelsize": 10.5, "legend.fontsize": 10,
    "xtick.labelsize": 10, "ytick.labelsize": 10,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.color": "#dddddd", "grid.linewidth": 0.6, "axes.axisbelow": True,
    "lines.linewidth": 1.8, "lines.markersize": 5.5, "legend.frameon": False,
    "axes.prop_cycle": plt.cycler(color=COLOURS),
}
WIDTH = 7.0  # inches: 700 pixels on the page


def style():
    """Context of the book's look: ``with style(): fig, ax = plt.subplots()``."""
    return plt.rc_context(STYLE)


def picture(ax, image: np.ndarray) -> None:
    """Show an image ``[3,H,W]`` or ``[H,W,3]`` in [0, 1], its pixels as squares."""
    ax.imshow(np.clip(channels_last(image), 0, 1), interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def channels_last(image: np.ndarray) -> np.ndarray:
    """``[3,H,W]`` as ``[H,W,3]``; what has its channels last already stays as it is."""
    image = np.asarray(image)
    return np.moveaxis(image, 0, -1) if image.shape[0] == 3 else image


def titled_grid(rows: int, titles: Iterable[str], fontsize: float = 13
                ) -> tuple[Figure, np.ndarray]:
    """A figure for square pictures, a title above each column; its axes ``[rows, columns]``."""
    titles = list(titles)
    fig, axes = plt.subplots(rows, len(titles), squeeze=False,
                             figsize=(WIDTH, WIDTH / len(titles) * rows + 0.35))
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=fontsize)
    return fig, axes


def enlarged(cells: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Cells ``[h,w]`` as pixels ``[H,W]``."""
    return cells.repeat(size[0] // cells.shape[0], 0).repeat(size[1] // cells.shape[1], 1)
