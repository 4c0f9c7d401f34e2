"""Curves of a measurement against a swept factor."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from mae_lib.figures.look import COLOURS, MARKERS, WIDTH, style


def ratio_curves(frame: pd.DataFrame, x: str, y: str, panels: str, *, by: str | None = None,
                 low: str = "low", high: str = "high", paper: Mapping[str, pd.Series] | None = None,
                 floors: Mapping[str, Mapping[str, float]] | None = None, columns: int = 2,
                 xlabel: str | None = None) -> Figure:
    """One panel a metric: means against the swept factor, with their intervals.

    Args:
        frame: one row a point; columns ``x``, ``y``, ``panels`` and, if there, ``low``, ``high``.
        x: the swept factor; its values are evenly spaced on the axis, in ascending order.
        panels: column whose values name the panels, in order of appearance.
        by: column whose values become the lines of a panel.
        paper: ``{panel: values indexed by x}``, printed numbers, as hollow markers.
        floors: ``{panel: {name: value}}``, dotted lines with their name.

    Raises:
        ValueError: a column that is missing, or no rows.
    """
    _require(frame, [x, y, panels] + [by] * (by is not None))
    ticks = sorted(frame[x].unique())
    kinds = [] if by is None else list(frame[by].unique())  # one look each, in all panels
    groups = list(frame.groupby(panels, sort=False))
    rows = -(-len(groups) // columns)
    with style():
        fig, axes = plt.subplots(rows, columns, figsize=(WIDTH, 2.7 * rows), squeeze=False)
        fig.get_layout_engine().set(h_pad=0.1)  # a label is of the panel above it
        for ax, (name, part) in zip(axes.flat, groups, strict=False):
            _lines(ax, part, ticks, kinds, (x, y, by, low, high))
            _references(ax, ticks, (paper or {}).get(name), (floors or {}).get(name, {}))
            ax.set(title=name, xlabel=xlabel or x)
            ax.set_xticks(range(len(ticks)), [f"{t:g}" for t in ticks])
        for ax in axes.flat[len(groups):]:
            ax.set_visible(False)
        if by is not None or paper:
            _legend(fig)
    plt.close(fig)
    return fig


def _lines(ax, part: pd.DataFrame, ticks: list, kinds: list, names: tuple) -> None:
    x, y, by, low, high = names
    lines = [(None, part)] if by is None else list(part.groupby(by, sort=False))
    for label, line in lines:
        line, i = line.sort_values(x), 0 if by is None else kinds.index(label)
        place = [ticks.index(v) for v in line[x]]
        colour = COLOURS[i % len(COLOURS)]
        ax.plot(place, line[y], color=colour, marker=MARKERS[i % len(MARKERS)],
                label="ours" if label is None else str(label))
        if low in line and high in line:
            ax.vlines(place, line[low], line[high], color=colour, linewidth=1.2)


def _references(ax, ticks: list, paper: pd.Series | None, floors: Mapping[str, float]) -> None:
    if paper is not None:
        ax.plot([ticks.index(v) for v in paper.index], paper.to_numpy(), "k--", marker="o",
                markerfacecolor="white", linewidth=1.2, label="paper")
    for name, value in floors.items():
        ax.axhline(value, color="#666666", linestyle=":", linewidth=1.2)
        ax.annotate(name, (1, value), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                    color="#444444", fontsize=10)


def _legend(fig: Figure) -> None:
    """One legend above all panels, each line once."""
    found = {}
    for ax in fig.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    fig.legend(found.values(), found, loc="outside upper center", ncols=4)


def _require(frame: pd.DataFrame, names: list[str]) -> None:
    if missing := [name for name in names if name not in frame]:
        raise ValueError(f"frame must have columns {', '.join(names)}, got no {missing[0]!r}")
    if frame.empty:
        raise ValueError("frame must have rows, got none")
