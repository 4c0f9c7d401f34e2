"""Points with intervals, one row a thing that is compared."""

from __future__ import annotations

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mae_lib.figures.look import COLOURS, WIDTH, style

ROW, HEAD = 0.36, 1.1  # inches: of a row, and of the scales above and below a panel
NAME = 22  # characters of a row's name in a line
BELOW = 0.24  # rows: how far a printed number stands below ours
EDGE = 0.08  # share of a panel's width that stays free on either side
INK = "#A84A00"  # of the paper's scale: its markers' colour, dark enough for numbers on white


def dots(frame: pd.DataFrame, panels: str, *, rows: str = "row",
         reference: str | None = None, columns: int = 2) -> Figure:
    """One panel a measure, one line of it a row: the mean as a dot, its interval as a bar.

    Rows stand in order of appearance, from the top, and are the same in all panels.

    Args:
        frame: columns ``rows``, ``panels``, ``value``, ``low``, ``high``, and ``paper`` if printed
            numbers are known: hollow, on a scale of their own above the panel.
        panels: column that names the panels, and with them the axis below.
        reference: a row whose value is drawn through the panel as a dotted line; the paper's number
            for it stands on the same line, so that both show who lies left and right of it.
        columns: panels side by side, at most.

    Raises:
        ValueError: no rows, or a column that is missing.
    """
    if frame.empty or (absent := {rows, panels, "value", "low", "high"} - set(frame)):
        what = f"no {', '.join(sorted(absent))}" if len(frame) else "no rows"
        raise ValueError(f"frame must have rows and the columns {rows}, {panels}, value, low and "
                         f"high, got {what}")
    order, parts = list(dict.fromkeys(frame[rows])), list(frame.groupby(panels, sort=False))
    with style():
        fig, axes = _panels(len(parts), min(columns, len(parts)), len(order))
        for ax, (name, part) in zip(axes, parts, strict=True):
            _points(ax, part.assign(place=part[rows].map(order.index)), part[rows] == reference)
            ax.set_xlabel(name)
        axes[0].set_yticks(range(len(order)), [fill(str(name), NAME) for name in order])
        axes[0].set_ylim(len(order) - 0.5, -0.5)
        if "paper" in frame and frame.paper.notna().any():
            fig.legend(loc="outside upper center", ncols=2, **_legend())
    plt.close(fig)
    return fig


def _panels(count: int, columns: int, rows: int) -> tuple[Figure, list]:
    """A figure and as many axes, filled row by row; they share their rows."""
    lines = -(-count // columns)
    fig, axes = plt.subplots(lines, columns, squeeze=False, sharey=True,
                             figsize=(WIDTH, lines * (HEAD + ROW * rows)))
    for ax in axes.flat[count:]:
        ax.set_visible(False)
    return fig, list(axes.flat[:count])


def _points(ax, part: pd.DataFrame, is_reference: pd.Series) -> None:
    ax.hlines(part.place, part.low, part.high, color=COLOURS[0], linewidth=1.6)
    ax.plot(part.value, part.place, "o", color=COLOURS[0])
    printed = part.dropna(subset="paper") if "paper" in part else part[:0]
    ours = part[["low", "value", "high"]].to_numpy(float)
    spans = [(np.nanmin(ours), np.nanmax(ours))]
    spans += [(printed.paper.min(), printed.paper.max())] if len(printed) else []
    line, beside = part[is_reference], printed[is_reference.reindex(printed.index)]
    if len(line):
        ax.axvline(line.value.iloc[0], color="#666666", linestyle=":", linewidth=1.2)
    if len(beside):
        limits = _aligned(spans, [line.value.iloc[0], beside.paper.iloc[0]])
    else:
        limits = [_widened(*span) for span in spans]
    _scale(ax, limits[0])
    if len(printed):
        _print(ax, printed, limits[1])


def _print(ax, printed: pd.DataFrame, limits: tuple[float, float]) -> None:
    above = ax.twiny()
    above.plot(printed.paper, printed.place + BELOW, "D", color=COLOURS[1],
               markerfacecolor="white")
    above.grid(False)
    above.spines.top.set(visible=True, color=INK)
    above.tick_params(colors=INK)
    _scale(above, limits)


def _scale(ax, limits: tuple[float, float]) -> None:
    ax.set_xlim(*limits)
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))


def _widened(low: float, high: float) -> tuple[float, float]:
    """Limits with room on both sides; of a single number 1 to each."""
    room = (high - low) * EDGE / (1 - 2 * EDGE) if high > low else 1
    return low - room, high + room


def _aligned(spans: list[tuple[float, float]], at: list[float]) -> list[tuple[float, float]]:
    """Limits of two scales, each with all of its span and with its point of ``at`` at the same
    place: where the two would have it on their own, on average."""
    own = [_widened(*span) for span in spans]
    share = np.mean([(x - low) / (high - low) for x, (low, high) in zip(at, own, strict=True)])
    widths = [max((x - low) / share, (high - x) / (1 - share))
              for x, (low, high) in zip(at, own, strict=True)]
    return [(x - share * width, x + (1 - share) * width)
            for x, width in zip(at, widths, strict=True)]


def _legend() -> dict:
    handles = [plt.Line2D([], [], marker="o", linestyle="-", color=COLOURS[0]),
               plt.Line2D([], [], marker="D", linestyle="", color=COLOURS[1],
                          markerfacecolor="white")]
    return {"handles": handles, "labels": ["ours, scale below", "paper, scale above"]}
