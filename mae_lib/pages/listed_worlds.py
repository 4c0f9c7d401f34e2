"""What the chapter on mask graphs shows: worlds that can be listed, their graphs and bounds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from mae_lib.ledger.mask_graphs import TOLERANCE, cases
from mae_lib.theory.alignment import best_outputs, chain
from mae_lib.theory.downstream import downstream
from mae_lib.theory.mask_graphs import MaskGraph, mask_graph
from mae_lib.theory.toy_worlds import World

POSITIONS = {True: "positions known", False: "positions unknown"}


def prototypes(patches: int, telling: int) -> list[list[int]]:
    """Two classes that differ in the first ``telling`` of their patches.

    Raises:
        ValueError: more telling patches than patches, or none.
    """
    if not 1 <= telling <= patches:
        raise ValueError(f"telling must lie in 1..{patches}, got {telling}")
    return [[0] * patches, [1] * telling + [0] * (patches - telling)]


def adjacency(graph: MaskGraph) -> pd.DataFrame:
    """The adjacency matrix of the augmentation graph, views by mask where they know it; of those
    that do not a row for each content."""
    by_view = {view: mask for mask, views in enumerate(graph.view_of.T) for view in views}
    known = len(graph.views) != len(np.unique(graph.views, axis=0))
    names = ["".join(map(str, view)) for view in graph.views]
    order = sorted(range(len(names)), key=lambda i: (by_view[i] if known else 0, names[i]))
    index = pd.Index([names[i] for i in order])
    if known:
        masks = [f"mask {by_view[i] + 1}" for i in order]
        index = pd.MultiIndex.from_arrays([masks, index])
    return pd.DataFrame(graph.adjacency[np.ix_(order, order)], index, index)


def spectra(world: World, hidden: Iterable[int], most: int) -> pd.DataFrame:
    """The largest eigenvalues of both kinds of graphs, for curves: columns ``panel``, ``rank``,
    ``value`` and ``hidden``."""
    rows = [(name, rank, value, f"{count} of {world.patches} hidden")
            for known, name in POSITIONS.items() for count in hidden
            for rank, value in enumerate(
                mask_graph(world, count, positions=known).eigenvalues[:most].clip(0), start=1)]
    return pd.DataFrame(rows, columns=["panel", "rank", "value", "hidden"])


def sharing_curves(found: pd.DataFrame) -> pd.DataFrame:
    """Edge masses and label error over the ratio, for curves; ``found`` as
    :func:`mae_lib.ledger.mask_graphs.sharing` gives it."""
    shared = "sharing a target"
    lines = {"same": (shared, "same image"), "within": (shared, "same class"),
             "across": (shared, "other class"), "alpha": ("label error of views", "α")}
    return pd.concat([pd.DataFrame({"panel": panel, "line": line, "ratio": found.ratio.round(2),
                                    "value": found[name]})
                      for name, (panel, line) in lines.items()], ignore_index=True)


def bounds(world: World, *, positions: bool) -> pd.DataFrame:
    """By number of hidden patches: the least loss of MAE, what the bounds leave of it, and how much
    of it they do not explain; targets in zeros and ones, h_g the target itself."""
    rows = []
    for hidden in range(1, world.patches + 1):
        graph = mask_graph(world, hidden, positions=positions)
        targets = graph.targets.astype(float)
        losses = chain(graph.joint, best_outputs(graph.joint, targets), targets)
        rows.append({"hidden patches": hidden, "loss of MAE": losses.loss,
                     "bound by Theorem 3.2": losses.first_bound,
                     "and by 3.3": round(losses.whole_bound, 9) + 0.0,  # not -0
                     "unexplained": losses.looseness if losses.loss > TOLERANCE else np.nan})
    return pd.DataFrame(rows)


def errors(world: World, *, positions: bool) -> pd.DataFrame:
    """By number of hidden patches: error of the classifier on the outputs of least loss beside its
    bounds, and the loss of U-MAE beside its floor."""
    rows = []
    for hidden in range(1, world.patches + 1):
        graph = mask_graph(world, hidden, positions=positions)
        targets = 2.0 * graph.targets - 1
        h = best_outputs(graph.joint, targets)
        found = downstream(graph, h, chain(graph.joint, h, targets))
        rows.append({"hidden patches": hidden, "error": found.error,
                     "bound by the graph": found.by_graph, "by the loss": found.by_loss,
                     "loss of U-MAE": found.loss, "its floor": found.floor})
    return pd.DataFrame(rows)


def room(worlds: int, seed: int) -> pd.DataFrame:
    """Least, middle and most of what every inequality leaves, over random worlds."""
    found = list(cases(worlds, seed))
    left = {"MAE over the asymmetric loss (3.2)": [c.slack[0] for _, c, _ in found],
            "asymmetric over alignment (3.3)": [c.slack[1] for _, c, _ in found],
            "unexplained share of the loss": [c.looseness for _, c, _ in found
                                              if c.loss > TOLERANCE],
            "bound by the graph over the error (4.1)": [d.by_graph - d.error for *_, d in found],
            "bound by the loss over the error (4.1)": [d.by_loss - d.error for *_, d in found],
            "U-MAE over its floor (4.2)": [d.loss - d.floor for *_, d in found]}
    return pd.DataFrame([{"what is left": name, "least": np.min(values),
                          "median": np.median(values), "most": np.max(values)}
                         for name, values in left.items()])
