"""Tables of numbers as colours."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mae_lib.figures.look import WIDTH, style

HEAT = "viridis"  # its steps are even for every eye, and in grey
ROW = 0.27  # inches, of a row with a number in it
MISSING = "#bbbbbb"


def heat_maps(panels: Mapping[str, pd.DataFrame], label: str, *, digits: int | None = 2,
              limits: tuple[float, float] = (0, 1), square: bool = False) -> Figure:
    """Data frames, a cell a number, all in one scale of colours: one below the other, or, if their
    cells are to be square, side by side.

    Of an index or of columns with two levels, ``(group, name)``, groups are parted by lines, and
    the first name of a group is preceded by the group's.

    Args:
        panels: ``{title: frame}``; what is missing in a frame is grey.
        label: of the scale.
        digits: decimals of the numbers in the cells. None: none are written, and of two levels only
            the groups are named.
        limits: of the scale; colours of numbers beyond it are those of the ends.

    Raises:
        ValueError: no panels, or one without cells.
    """
    if not panels or any(frame.empty for frame in panels.values()):
        raise ValueError(f"panels must hold frames with cells, got "
                         f"{ {name: frame.shape for name, frame in panels.items()} }")
    count = len(panels)
    heights = [1] if square else [len(frame) for frame in panels.values()]
    size = WIDTH, WIDTH / count + 0.5 if square else ROW * sum(heights) + 0.7 * count + 0.7
    with style():
        fig, axes = plt.subplots(len(heights), count // len(heights), figsize=size, squeeze=False,
                                 height_ratios=heights)
        for ax, (title, frame) in zip(axes.flat, panels.items(), strict=True):
            shown = _cells(ax, frame, digits, limits)
            ax.set_title(title)
            ax.set_aspect(1 if square else "auto")
            if _crowded(ax, WIDTH / axes.shape[1]):
                ax.tick_params(axis="x", rotation=90)
        fig.colorbar(shown, ax=list(axes.flat), location="bottom", label=label, aspect=40,
                     shrink=0.6, pad=0.15 / size[1])
    plt.close(fig)
    return fig


def _cells(ax, frame: pd.DataFrame, digits: int | None, limits: tuple[float, float]):
    values = frame.to_numpy(float)
    colours = plt.get_cmap(HEAT).with_extremes(bad=MISSING)
    shown = ax.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1],
                      interpolation="nearest")
    for (i, j), value in np.ndenumerate(values):
        if digits is not None and np.isfinite(value):
            ax.text(j, i, f"{round(value, digits) + 0.0:.{digits}f}", ha="center", va="center",
                    fontsize=10, color=_readable(colours(shown.norm(value))))
    ax.set_yticks(*_ticks(frame.index, digits is None))
    ax.set_xticks(*_ticks(frame.columns, digits is None))
    for place in _breaks(frame.index):
        ax.axhline(place, color="white", linewidth=2)
    for place in _breaks(frame.columns):
        ax.axvline(place, color="white", linewidth=2)
    ax.grid(False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return shown


def _crowded(ax, inches: float) -> bool:
    """Whether names below the columns would run into each other, at 0.08 inches a letter."""
    names = [text.get_text() for text in ax.get_xticklabels()]
    return 0.08 * (max(map(len, names)) + 1) * len(names) > 0.8 * inches


def _readable(colour: tuple[float, ...]) -> str:
    """Black or white, whichever stands out more: contrast 4.58 or above (WCAG's luminance)."""
    c = np.array(colour[:3])
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return "black" if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else "white"


def _ticks(index: pd.Index, groups_only: bool) -> tuple[list[float], list[str]]:
    if index.nlevels == 1:
        return list(range(len(index))), [str(name) for name in index]
    starts = _starts(index)
    if groups_only:
        ends = [*starts[1:], len(index)]
        return ([(a + b - 1) / 2 for a, b in zip(starts, ends, strict=True)],
                [str(index[a][0]) for a in starts])
    return (list(range(len(index))),
            [f"{group}: {name}" if i in starts else str(name)
             for i, (group, name) in enumerate(index)])


def _starts(index: pd.Index) -> list[int]:
    """Where groups begin."""
    groups = index.get_level_values(0)
    return [i for i in range(len(index)) if i == 0 or groups[i] != groups[i - 1]]


def _breaks(index: pd.Index) -> list[float]:
    return [start - 0.5 for start in _starts(index)[1:]] if index.nlevels == 2 else []
