"""The rule of every claim of the talk about design choices of MAE and SimMIM: runs compared.

What is compared stands in :mod:`mae_lib.ledger.design_rows`; accuracies are percentages. Costs are
counted: multiplications of a training step (:mod:`mae_lib.models.cost`); but for S-12, on times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

from mae_lib.ledger.comparisons import (
    Comparison,
    Shape,
    Test,
    alike,
    lowest,
    not_below,
    tendency,
    together,
    top,
    up,
)
from mae_lib.ledger.composites import RATIOS
from mae_lib.ledger.design_rows import (
    BLOCK,
    BLOCK_HALF,
    COLOURED,
    CROPPED,
    DEPTH,
    FIXED_CROP,
    GRID,
    HIDDEN,
    LENGTH,
    SIMMIM,
    SIZE,
    TOKENS,
    WIDTH,
)
from mae_lib.ledger.guards import guarded
from mae_lib.ledger.occlusion_rules import LINEAR, TUNED, Methods, every
from mae_lib.ledger.outcomes import METHOD, RATIO, NoVerdict, Outcomes, shared
from mae_lib.ledger.rows import MAE, SCRATCH
from mae_lib.ledger.verdicts import (
    NOT_TESTED,
    Verdict,
    all_of,
    difference,
    effect,
    extremes_below_best,
)

LONG = "fine-tuned long"  # without pretraining, for as many images as the others see in all
DISTANCE, COST, SECONDS = "relative distance", "step macs", "seconds"
DEEPEST = 8  # blocks up to which He et al.'s decoder gets better


def both(methods: Sequence[str], shape: Shape = up) -> Test:
    """The same of the probe and of fine-tuning, each with its smallest effect."""
    return every(Methods(LINEAR, methods, shape), Methods(TUNED, methods, shape, which=-1))


def over(outcome: str, series: str, shape: Shape, which: int = 0,
         most: float = math.inf) -> Test:
    """A comparison of all levels of a series that were measured, up to ``most``."""
    def test(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
        levels = [level for level in found.levels(outcome, series) if level <= most]
        if len(levels) < 3:
            raise NoVerdict(NOT_TESTED, f"needs three levels of the {series}, has {len(levels)}")
        return guarded(found, outcome, {level: (series, level) for level in levels},
                       lambda table: shape(table, sesoi[which]))
    return test


def deeper_is_not_better(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """A part of S-8: the probe of the deepest decoder does not exceed that of ``DEEPEST``."""
    most = max(found.levels(LINEAR, DEPTH), default=0.0)
    if most <= DEEPEST:
        raise NoVerdict(NOT_TESTED, f"needs a decoder deeper than {DEEPEST} blocks")
    cells = {level: (DEPTH, level) for level in (most, float(DEEPEST))}
    return guarded(found, LINEAR, cells, lambda table: not_below(table, sesoi[0]))


def beats_long_training(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """S-1: MAE and a short fine-tuning above training from scratch for as many images in all."""
    table = shared({"from scratch": found.runs(LONG, (METHOD, SCRATCH)),
                    "MAE": found.runs(TUNED, (METHOD, MAE))})
    return difference(effect(table["MAE"] - table["from scratch"]), sesoi[0])


def longer_above_simmim(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """Beside S-29: MAE trained twice as long, which still takes less than SimMIM."""
    cells = {SIMMIM[0]: (METHOD, SIMMIM[0]), "twice as long": (LENGTH, 2.0)}
    return together({outcome: partial(guarded, found, outcome, cells,
                                      lambda table, least=least: up(table, least))
                     for outcome, least in ((LINEAR, sesoi[0]), (TUNED, sesoi[-1]))})


def over_twice_as_fast(shallow: bool = False) -> Test:
    """S-12: a step of MAE takes less than half of the time that it takes with mask tokens in the
    encoder; He et al. have it with a decoder of one block, too. Rounds of a benchmark are runs."""
    dropped = (DEPTH, 1.0) if shallow else (METHOD, MAE)

    def test(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
        table = found.table(SECONDS, {"tokens": (METHOD, TOKENS), "dropped": dropped})
        return all_of({"times as fast over 2, less 1":
                       effect(table["tokens"] / table["dropped"] / 2 - 1)}, sesoi[0])
    return test


def cheaper(less: str, *others: str) -> Test:
    """A training step takes fewer multiplications by one row than by each of the others: the
    effect is the share that is saved."""
    def judge(found: Outcomes, _: tuple[float, ...]) -> Verdict:
        table = found.table(COST, {name: (METHOD, name) for name in (less, *others)})
        return all_of({f"{name} over {less}": effect(1 - table[less] / table[name])
                       for name in others}, 0.0)
    return judge


def with_cost(test: Test, less: str, *others: str) -> Test:
    """A test, and that one row takes less than the others."""
    return lambda found, sesoi: together({
        "accuracy": partial(test, found, sesoi),
        "cost": partial(cheaper(less, *others), found, sesoi)})


HEADS = [(head, SIMMIM[0]) for head in SIMMIM[1:3]]
RULES: Mapping[str, tuple[Test, Mapping[str, Test]]] = {
    "S-1": (beats_long_training, {}),
    "S-2": (every(both((FIXED_CROP, CROPPED), not_below), both((MAE, FIXED_CROP)),
                  both((COLOURED, CROPPED))), {
        "random crops alone": both((MAE, CROPPED)),
        "other colours alone": both((COLOURED, CROPPED))}),
    "S-3": (over(LINEAR, LENGTH, tendency), {
        "after fine-tuning": over(TUNED, LENGTH, tendency)}),
    "S-4": (every(over(LINEAR, HIDDEN, top(0.75)), over(TUNED, HIDDEN, top(0.75), which=-1)), {
        "linear probe alone": over(LINEAR, HIDDEN, top(0.75)),
        "fine-tuning alone": over(TUNED, HIDDEN, top(0.75), which=-1)}),
    "S-5": (Comparison(("gradient locality",), RATIO, RATIOS[::-1], tendency), {}),
    "S-6": (every(both((BLOCK, MAE)), both((GRID, MAE))), {
        "over block masks": both((BLOCK, MAE)), "over grid masks": both((GRID, MAE))}),
    "S-7": (Methods(LINEAR, (BLOCK, BLOCK_HALF)), {}),
    "S-8": (every(over(LINEAR, DEPTH, tendency, most=DEEPEST),
                  over(TUNED, DEPTH, alike, which=-1, most=DEEPEST), deeper_is_not_better), {
        "by the probe": over(LINEAR, DEPTH, tendency, most=DEEPEST),
        "after fine-tuning": over(TUNED, DEPTH, alike, which=-1, most=DEEPEST)}),
    "S-9": (over(LINEAR, WIDTH, extremes_below_best), {}),
    "S-10": (with_cost(every(*(Methods(TUNED, pair, not_below) for pair in HEADS)),
                       SIMMIM[0], *SIMMIM[1:3]), {}),
    "S-11": (with_cost(both((TOKENS, MAE)), MAE, TOKENS), {
        "by the probe": Methods(LINEAR, (TOKENS, MAE)),
        "after fine-tuning": Methods(TUNED, (TOKENS, MAE))}),
    "S-12": (over_twice_as_fast(), {
        "with a decoder of one block": over_twice_as_fast(shallow=True)}),
    "S-13": (every(over(LINEAR, SIZE, tendency), over(TUNED, SIZE, tendency, which=-1)), {}),
    "S-25": (over(DISTANCE, HIDDEN, lowest(0.75)), {}),
    "S-29": (both((SIMMIM[0], MAE)), {
        "with MAE trained twice as long, at less than SimMIM's cost": longer_above_simmim,
        "SimMIM with its own encoder": both((SIMMIM[3], MAE))}),
}
