"""Maps of embeddings, their classes told by colour and by marker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mae_lib.figures.look import COLOURS, WIDTH, style

SHAPES = ("o", "s", "^", "D", "v", "P", "X", "*")  # filled, then once more hollow


def embedding_panels(maps: Mapping[str, tuple[np.ndarray, np.ndarray]], classes: Sequence[str],
                     columns: int = 2) -> Figure:
    """Scatter plots of points in the plane, one panel a model, one legend for all.

    Axes of such maps have no meaning and are not drawn.

    Args:
        maps: ``{title: (xy [n,2], labels [n])}``; a panel without points says so.
        classes: names, in label order; those that no panel shows are left out, and at most 16 may
            be shown.

    Raises:
        ValueError: no maps; more classes than markers; points and labels that do not fit.
    """
    _check(maps, classes)
    shown = sorted({int(label) for _, labels in maps.values() for label in labels})
    lines = -(-len(maps) // columns)
    with style():
        fig, axes = plt.subplots(lines, columns, figsize=(WIDTH, 3.1 * lines + 0.7), squeeze=False)
        for ax, (title, (xy, labels)) in zip(axes.flat, maps.items(), strict=False):
            _scatter(ax, np.asarray(xy, float), labels, [shown.index(label) for label in labels])
            ax.set_title(title, fontsize=13)
        for ax in axes.flat[len(maps):]:
            ax.set_visible(False)
        keys = [plt.Line2D([], [], linestyle="", markersize=8, **_marker(i))
                for i in range(len(shown))]
        fig.legend(keys, [classes[label] for label in shown], loc="outside lower center", ncols=4,
                   fontsize=12, columnspacing=1.2, handletextpad=0.3)
    plt.close(fig)
    return fig


def _scatter(ax, xy: np.ndarray, labels: np.ndarray, places: list[int]) -> None:
    for place in sorted(set(places)):
        chosen = np.equal(places, place)
        ax.plot(*xy[chosen].T, linestyle="", markersize=3.6, alpha=0.8, **_marker(place))
    if len(labels) == 0:
        ax.text(0.5, 0.5, "not tested", transform=ax.transAxes, ha="center", va="center")
    ax.set(xticks=[], yticks=[], box_aspect=1)
    ax.spines[:].set_visible(True)
    ax.spines[:].set_color("#bbbbbb")


def _marker(place: int) -> dict:
    """No two of the first sixteen look alike, in shape and filling alone."""
    colour, hollow = COLOURS[place % len(COLOURS)], place >= len(SHAPES)
    return {"marker": SHAPES[place % len(SHAPES)], "color": colour, "markeredgecolor": colour,
            "markeredgewidth": 1.0 if hollow else 0,
            "markerfacecolor": "white" if hollow else colour}


def _check(maps, classes) -> None:
    shown = {int(label) for _, labels in maps.values() for label in labels}
    if not maps or len(shown) > 2 * len(SHAPES):
        raise ValueError(f"maps must not be empty and show at most {2 * len(SHAPES)} classes, "
                         f"got {len(maps)} maps and {len(shown)} classes")
    for title, (xy, labels) in maps.items():
        if np.shape(xy) != (len(labels), 2):
            raise ValueError(f"map {title!r} must have points [n,2] and labels [n], "
                             f"got {list(np.shape(xy))} and {len(labels)}")
