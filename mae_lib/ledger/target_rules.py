"""Rules of the talk's claims on shared targets, from raw pictures and from the toy world.

No network is looked at. Shared targets are counted among all pictures of a set; for nearest ones
the disjoint parts of :mod:`mae_lib.studies.targets` are what training runs are elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import pandas as pd

from mae_lib.ledger import mask_graphs
from mae_lib.ledger.comparisons import Test, tendency
from mae_lib.ledger.composites import RATIOS
from mae_lib.ledger.outcomes import NoVerdict, Outcomes
from mae_lib.ledger.verdicts import NOT_TESTED, Effect, Verdict, all_of, effect, exact, weakest

PICTURES = "raw pictures, ratio"  # the series
SHARED_OWN, SHARED_ANOTHER = "shared, own class", "shared, another class"
PAIRS = "pairs of targets"
TARGET, LEVELLED, VIEW = "nearest target", "nearest levelled target", "nearest view"
NEAR_OWN, NEAR_ANOTHER = "near, own class", "near, another class"
FIRST, MIDDLE, LAST = RATIOS[0], 0.5, RATIOS[-1]
HALF = 0.5  # of the loss: what the bound never explains more than


def targets_differ(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """S-27: under no mask do two pictures that differ have the same target."""
    table = counts(found)
    return exact(int(table[[SHARED_OWN, SHARED_ANOTHER]].to_numpy().sum()),
                 int(table[PAIRS].sum()))


def connected(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """S-26: edges within and across classes rise with the ratio, and the label error of views rises
    late; on pictures, and in the toy world."""
    return weakest({"pictures": on_pictures(found, sesoi),
                    **mask_graphs.sharing_grows(sesoi[0])})


def on_pictures(found: Outcomes, sesoi: tuple[float, ...], target: str = TARGET) -> Verdict:
    """The same with an edge from each target to the nearest other one: of its class, or not.

    These are shares of one whole, so that both cannot rise. The label error is that of a classifier
    which takes the class of the nearest view.
    """
    own, error = _over_ratios(found, target), 1 - _over_ratios(found, VIEW)
    late = effect(error[LAST] - 2 * error[MIDDLE] + error[FIRST])
    return weakest({"edges in the class": tendency(own, sesoi[0]),
                    "edges across classes": tendency(1 - own, sesoi[0]),
                    "label error": all_of({"rises late": late}, sesoi[0])})


def within_reach(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """Edges of S-26 to all targets that lie nearer than half the mean distance: their number is not
    fixed, so that both kinds may rise."""
    return weakest({name: tendency(_over_ratios(found, name), sesoi[0])
                    for name in (NEAR_OWN, NEAR_ANOTHER)})


def in_the_toy_world(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """S-26, exactly."""
    return weakest(mask_graphs.sharing_grows(sesoi[0]))


def bound_is_loose(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """S-28: the bound leaves more than half of the loss unexplained; in the toy world, for the
    outputs of least loss, at every number of hidden patches. It asks for a count on pictures, too,
    which the claim needs beside it: see :func:`loose_on_pictures`."""
    counts(found)
    table = mask_graphs.sharing().dropna(subset="looseness")
    return all_of({f"toy world, {ratio:.2g} hidden": Effect(share - HALF)
                   for ratio, share in zip(table.ratio, table.looseness, strict=True)}, sesoi[0])


def loose_on_pictures(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """S-28 where every target of the sample has one owner: outputs for one target do not vary then,
    the bound is less than 0, and all of the loss is unexplained, whatever the network.

    Raises:
        NoVerdict: at every ratio some targets are shared.
    """
    table = counts(found)
    shared = table[[SHARED_OWN, SHARED_ANOTHER]].sum(axis=1) > 0
    if shared.all():
        raise NoVerdict(NOT_TESTED, "some targets are shared at every ratio")
    verdict = all_of({f"{ratio:g} hidden": Effect(1 - HALF) for ratio in table.index[~shared]},
                     sesoi[0])
    left = ", ".join(f"{ratio:g}" for ratio in table.index[shared])
    return replace(verdict, caveat=f"without {left}, where some targets are shared" * any(shared))


def counts(found: Outcomes) -> pd.DataFrame:
    """Shared targets of both kinds and pairs, summed over the repetitions: ``[ratios, 3]``.

    Raises:
        NoVerdict: they were not counted.
    """
    levels = found.levels(PAIRS, PICTURES) or [FIRST]
    rows = {level: {name: sum(found.runs(name, (PICTURES, level)).values())
                    for name in (SHARED_OWN, SHARED_ANOTHER, PAIRS)} for level in levels}
    return pd.DataFrame(rows).T


def _over_ratios(found: Outcomes, outcome: str) -> pd.DataFrame:
    return found.table(outcome, {ratio: (PICTURES, ratio) for ratio in RATIOS})


RULES: Mapping[str, tuple[Test, Mapping[str, Test]]] = {
    "S-26": (connected, {
        "pictures alone, by the nearest target": on_pictures,
        "by the nearest target of levelled pictures": partial(on_pictures, target=LEVELLED),
        "by all targets nearer than half the mean distance": within_reach,
        "in the toy world": in_the_toy_world}),
    "S-27": (targets_differ, {}),
    "S-28": (bound_is_loose, {"on pictures, where no target is shared": loose_on_pictures}),
}
