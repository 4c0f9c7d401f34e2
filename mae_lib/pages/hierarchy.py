"""What the chapters on the theory draw and tabulate: hierarchies and searches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mae_lib import figures
from mae_lib.ledger.statistics import t_interval
from mae_lib.theory.drawing import draw, information_graph, legend, positions
from mae_lib.theory.graph import HierGraph, Node
from mae_lib.theory.levels import mean_height
from mae_lib.theory.search import Step, climb, locate

PAIRS = {"any": "any two pixels", "within": "within one object", "between": "across a border"}


def drawings(panels: Mapping[str, tuple[HierGraph, Iterable[Node] | None]], *, columns: int = 1,
             key: bool = True) -> Figure:
    """Graphs with what a mask locates in them, one panel each, all to one scale.

    Args:
        panels: ``{title: (graph, hidden pixels)}``; with None instead of pixels the graph alone.
        key: put a legend below.
    """
    rows = -(-len(panels) // columns)
    with figures.style():
        width = figures.WIDTH
        wide, tall = np.max([_span(graph) for graph, _ in panels.values()], axis=0)
        fig, axes = plt.subplots(rows, columns, squeeze=False, figsize=(
            width, rows * (tall / wide * width / columns + 0.4) + 0.6 * key))
        for ax, (title, (graph, target)) in zip(axes.flat, panels.items(), strict=False):
            query = None if target is None else graph.query(target)
            font = _font(graph, 72 * width / columns / wide)
            draw(graph, ax, query, None if query is None else locate(graph, *query), font=font)
            ax.set_title(title, fontsize=max(11, 0.8 * font))
            middle, foot = np.mean(ax.get_xlim()), ax.get_ylim()[0]
            ax.set(xlim=(middle - wide / 2, middle + wide / 2), ylim=(foot, foot + tall))
        for ax in axes.flat[len(panels):]:
            ax.set_visible(False)
        if key:
            fig.legend(handles=legend(), loc="outside lower center", ncols=3, fontsize=12)
    plt.close(fig)
    return fig


def information_figure() -> Figure:
    """Kong et al.'s Figure 3."""
    with figures.style():
        fig, ax = plt.subplots(figsize=(4.2, 2.1))
        information_graph(ax)
    plt.close(fig)
    return fig


def steps(graph: HierGraph, target: Iterable[Node]) -> pd.DataFrame:
    """Algorithm 1 round by round."""
    rows = [_step(number, step) for number, step in enumerate(climb(graph, target), 1)]
    return pd.DataFrame(rows)


def searches(graph: HierGraph, masks: Mapping[str, Iterable[Node]]) -> pd.DataFrame:
    """One row a mask: what is hidden, what is selected, shared and in c, and c's mean height."""
    rows = []
    for title, target in masks.items():
        found = locate(graph, target)
        rows.append({"mask": title, "hidden": named(target), "shared": named(found.shared),
                     "selected": named(found.selected), "c": named(found.c),
                     "mean height": mean_height(graph, found.c), "s_m": named(found.s_m)})
    return pd.DataFrame(rows)


def named(names: Iterable[Node]) -> str:
    """A set of nodes as ``"z1, z3"``, or a dash."""
    return ", ".join(sorted(map(str, names), key=lambda n: (len(n), n))) or "–"


def _step(number: int, step: Step) -> dict:
    private = step.parents - step.found
    return {"round": number, "from pixel": str(step.pixel), "joins s_m": named(step.front),
            "parents": named(step.parents), "shared: selected": named(step.found),
            "private: climb on": named(private)}


def _span(graph: HierGraph) -> tuple[float, float]:
    """Width and height of a drawing."""
    xs, ys = zip(*positions(graph).values(), strict=True)
    return max(xs) - min(xs) + 1.2, max(ys) - min(ys) + 1.1


def _font(graph: HierGraph, unit: float) -> float:
    """Points at which the longest name fits into a node, for a unit of so many points.

    Not below the size of other type: it has to be read on a telephone, at half the width.
    """
    longest = max(len(str(name)) for name in graph.nodes)
    return float(np.clip(0.72 * unit / longest, 10.5, 18))


def dependence_curves(measured: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Means over groups with their t intervals, a panel for each data set and measure.

    Args:
        measured: :func:`mae_lib.data.dependence.dependence` by data set.
    """
    rows = []
    measures = {"correlation": "correlation", "information": "information (bits)"}
    for name, found in measured.items():
        for measure, title in measures.items():
            for (pair, distance), part in found.groupby(["pair", "distance"], sort=False):
                values = part[measure].dropna()
                if len(values) > 1:
                    mean, low, high = t_interval(values)
                    rows.append({"panel": f"{name}: {title}", "pair": PAIRS[pair],
                                 "distance": distance, "value": mean, "low": low, "high": high})
    return pd.DataFrame(rows)
