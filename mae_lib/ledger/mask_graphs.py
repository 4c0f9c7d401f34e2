"""Verdicts on the theorems of Zhang et al. (NeurIPS 2022) as the slides give them, by listing all
images and masks of small worlds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from mae_lib.ledger.verdicts import Effect, Verdict, all_of, exact, weakest
from mae_lib.theory.alignment import Chain, best_outputs, chain
from mae_lib.theory.downstream import Downstream, downstream
from mae_lib.theory.mask_graphs import MaskGraph, mask_graph
from mae_lib.theory.toy_worlds import World, noisy_prototypes, random_world

TOLERANCE = 1e-10
PATCHES = (2, 3, 4)


def bounds_hold(worlds: int, seed: int) -> Verdict:
    """S-23: neither inequality fails, for random outputs and for those of least loss."""
    slacks = np.array([losses.slack for _, losses, _ in cases(worlds, seed)])
    return weakest({f"theorem 3.{i + 2}": exact(int((part < -TOLERANCE).sum()), len(part))
                    for i, part in enumerate(slacks.T)})


def error_and_floor_hold(worlds: int, seed: int) -> Verdict:
    """S-24: no error is above its bounds, by the graph and by the loss; no loss below its floor.

    The theorems with the constants of :mod:`mae_lib.theory.downstream`, where the second bound on
    the error is never below the first.
    """
    found = [down for *_, down in cases(worlds, seed)]
    room = {"error, bound by the graph": [d.by_graph - d.error for d in found],
            "error, bound by the loss": [d.by_loss - max(d.by_graph, d.error) for d in found],
            "loss above its floor": [d.loss - d.floor for d in found]}
    return weakest({name: exact(int((np.array(part) < -TOLERANCE).sum()), len(part))
                    for name, part in room.items()})


def cases(worlds: int, seed: int) -> Iterator[tuple[MaskGraph, Chain, Downstream]]:
    """For each random world and kind of outputs a graph with its losses and bounds.

    Numbers of hidden patches from one to all but one, views with and without positions, a second
    autoencoder that errs and one that does not.
    """
    rng = np.random.default_rng(seed)
    for _ in range(worlds):
        world = random_world(rng, int(rng.choice(PATCHES)), int(rng.integers(2, 4)),
                             int(rng.integers(2, 4)))
        graph = mask_graph(world, int(rng.integers(1, world.patches)),
                           positions=bool(rng.integers(2)))
        targets = graph.targets - graph.targets.mean()
        for h in (rng.normal(size=(len(graph.views), targets.shape[1])),
                  best_outputs(graph.joint, targets)):
            other = targets + rng.choice([0, 0.3]) * rng.normal(size=targets.shape)
            losses = chain(graph.joint, h, targets, other)
            yield graph, losses, downstream(graph, h, losses)


def sharing(world: World | None = None, *, positions: bool = True) -> pd.DataFrame:
    """The toy world at every number of hidden patches: columns ``ratio``, ``alpha``, the edge
    masses ``same``, ``within`` and ``across``, and ``looseness``, the share of the least possible
    loss that the bounds do not explain (missing where that loss is 0)."""
    world = noisy_prototypes() if world is None else world
    rows = []
    for hidden in range(world.patches + 1):
        graph = mask_graph(world, hidden, positions=positions)
        targets = graph.targets.astype(float)
        losses = chain(graph.joint, best_outputs(graph.joint, targets), targets)
        rows.append({"ratio": hidden / world.patches, "alpha": graph.label_error(),
                     **graph.edge_mass()._asdict(),
                     "looseness": losses.looseness if losses.loss > TOLERANCE else np.nan})
    return pd.DataFrame(rows)


def sharing_grows(sesoi: float) -> dict[str, Verdict]:
    """S-26 in the toy world, exactly: both masses of edges between different images rise with the
    ratio, from nothing hidden to everything, and alpha rises more over its upper half."""
    table = sharing().set_index("ratio")
    rise = {name: Effect(float(table[name].iloc[-1] - table[name].iloc[0]))
            for name in ("within", "across")}
    alpha = table.alpha
    late = Effect(float(alpha[1.0] - 2 * alpha[0.5] + alpha[0.0]))
    return {"toy world, edges": all_of(rise, sesoi),
            "toy world, label error": all_of({"rises late": late}, sesoi)}
