"""The few kinds of figures and tables of the book, in one style.

Numbers come in as numpy arrays or data frames, figures go out. Type is at least 10 pt at a width of
700 pixels; colours are those of Okabe and Ito, and lines differ in marker too, so that nothing is
said by colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
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
                _picture(ax, image)
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
    image = _channels_last(image)
    grid = image.shape[0] // patch, image.shape[1] // patch
    shown = [image]
    for mask in hidden.values():
        cells = np.reshape(np.asarray(mask, bool), grid).repeat(patch, 0).repeat(patch, 1)
        shown.append(np.where(cells[..., None], 0.55, image))
    titles = ["original", *hidden]
    with style():
        fig, axes = plt.subplots(1, len(shown), figsize=(WIDTH, WIDTH / len(shown) + 0.3))
        for ax, picture, title in zip(axes, shown, titles, strict=True):
            _picture(ax, picture)
            ax.set_title(title)
    plt.close(fig)
    return fig


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
    groups = list(frame.groupby(panels, sort=False))
    rows = -(-len(groups) // columns)
    with style():
        fig, axes = plt.subplots(rows, columns, figsize=(WIDTH, 2.7 * rows), squeeze=False)
        for ax, (name, part) in zip(axes.flat, groups, strict=False):
            _lines(ax, part, ticks, (x, y, by, low, high))
            _references(ax, ticks, (paper or {}).get(name), (floors or {}).get(name, {}))
            ax.set(title=name, xlabel=xlabel or x)
            ax.set_xticks(range(len(ticks)), [f"{t:g}" for t in ticks])
        for ax in axes.flat[len(groups):]:
            ax.set_visible(False)
        if by is not None or paper:
            _legend(fig)
    plt.close(fig)
    return fig


def table(frame: pd.DataFrame, caption: str, *, digits: int | Mapping[str, int] = 2,
          units: Mapping[str, str] | None = None) -> str:
    """An HTML table of class ``data``: one header a column, the first column heads its row.

    Put ours and the paper's numbers in columns named so; nothing is marked by colour.

    Args:
        digits: decimals of numbers, for all columns or by column; integers stay as they are.
        units: ``{column: unit}``, printed in the header.

    Raises:
        ValueError: an empty caption or frame.
    """
    if not caption or frame.empty:
        raise ValueError(f"table must have a caption and rows, got {caption!r} and {len(frame)}")
    heads = [f"{c} ({units[c]})" if units and c in units else str(c) for c in frame.columns]
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in heads)
    places = [digits if isinstance(digits, int) else digits.get(c, 2) for c in frame.columns]
    body = []
    for row in frame.itertuples(index=False):
        first, *rest = (escape(_text(v, d)) for v, d in zip(row, places, strict=True))
        cells = "".join(f"<td>{value}</td>" for value in rest)
        body.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    return (f'<table class="data"><caption>{escape(caption)}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>")


def _text(value, digits: int) -> str:
    if pd.isna(value):
        return "–"
    return f"{value:.{digits}f}" if isinstance(value, float | np.floating) else str(value)


def _lines(ax, part: pd.DataFrame, ticks: list, names: tuple) -> None:
    x, y, by, low, high = names
    lines = [(None, part)] if by is None else list(part.groupby(by, sort=False))
    for i, (label, line) in enumerate(lines):
        line = line.sort_values(x)
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


def _picture(ax, image: np.ndarray) -> None:
    ax.imshow(np.clip(_channels_last(image), 0, 1), interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def _channels_last(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    return np.moveaxis(image, 0, -1) if image.shape[0] == 3 else image


def _row_length(rows: Mapping[str, np.ndarray], columns: Sequence[str]) -> int:
    lengths = sorted({len(images) for images in rows.values()})
    if len(lengths) != 1 or lengths[0] == 0:
        raise ValueError(f"rows must hold equally many images, at least one, got {lengths}")
    if len(columns) not in (0, lengths[0]):
        raise ValueError(f"columns must name {lengths[0]} images, got {len(columns)}")
    return lengths[0]


def _require(frame: pd.DataFrame, names: list[str]) -> None:
    if missing := [name for name in names if name not in frame]:
        raise ValueError(f"frame must have columns {', '.join(names)}, got no {missing[0]!r}")
    if frame.empty:
        raise ValueError("frame must have rows, got none")
