"""The rule of every claim of the talk about design choices of MAE and SimMIM: runs compared.

What is compared stands in :mod:`mae_lib.ledger.design_rows`; accuracies are percentages. Costs are
counted, not timed: multiplications of a training step (:mod:`mae_lib.models.cost`).
"""

from __future__ import annotations

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
)
from mae_lib.ledger.design_rows import (
    BLOCK,
    BLOCK_HALF,
    COLOURED,
    CROPPED,
    DEPTHS,
    FIXED_CROP,
    GRID,
    RATIOS,
    SIMMIM,
    SIZES,
    TIMES,
    TOKENS,
    WIDTHS,
    of_depth,
    of_ratio,
    of_size,
    of_width,
    times,
)
from mae_lib.ledger.occlusion_rules import LINEAR, TUNED, Methods, every
from mae_lib.ledger.outcomes import METHOD, RATIO, Outcomes, shared
from mae_lib.ledger.rows import MAE, SCRATCH
from mae_lib.ledger.verdicts import Verdict, all_of, difference, effect, extremes_below_best

# The sizes that MAE has in these tables: of the preset "laptop".
USUAL = {"ratio": 0.75, "depth": 2, "width": 48, "size": 96}
LONG = "fine-tuned long"  # without pretraining, for as many images as the others see in all
DISTANCE, COST = "relative distance", "step macs"


def _named(values: Sequence[float], usual: float, name) -> dict[float, str]:
    """Rows by value; MAE has the usual one."""
    return {value: MAE if value == usual else name(value) for value in values}


BY_RATIO = _named(RATIOS, USUAL["ratio"], of_ratio)
BY_DEPTH = _named(DEPTHS, USUAL["depth"], of_depth)
BY_WIDTH = _named(WIDTHS, USUAL["width"], of_width)
BY_SIZE = _named(SIZES, USUAL["size"], of_size)
LONGER = (MAE, *map(times, TIMES))
UP_TO_8 = tuple(row for depth, row in BY_DEPTH.items() if depth <= 8)


def both(methods: Sequence[str], shape: Shape | None = None) -> Test:
    """The same of the probe and of fine-tuning, each with its smallest effect."""
    kind = {} if shape is None else {"shape": shape}
    return every(Methods(LINEAR, methods, **kind), Methods(TUNED, methods, which=-1, **kind))


def beats_long_training(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """S-1: MAE and a short fine-tuning above training from scratch for as many images in all."""
    table = shared({"from scratch": found.runs(LONG, (METHOD, SCRATCH)),
                    "MAE": found.runs(TUNED, (METHOD, MAE))})
    return difference(effect(table["MAE"] - table["from scratch"]), sesoi[0])


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
    "S-3": (Methods(LINEAR, LONGER, tendency), {
        "after fine-tuning": Methods(TUNED, LONGER, tendency)}),
    "S-4": (both(tuple(BY_RATIO.values()), top(MAE)), {
        "linear probe alone": Methods(LINEAR, tuple(BY_RATIO.values()), top(MAE)),
        "fine-tuning alone": Methods(TUNED, tuple(BY_RATIO.values()), top(MAE), which=-1)}),
    "S-5": (Comparison(("gradient locality",), RATIO, RATIOS[::-1], tendency), {}),
    "S-6": (every(both((BLOCK, MAE)), both((GRID, MAE))), {
        "over block masks": both((BLOCK, MAE)), "over grid masks": both((GRID, MAE))}),
    "S-7": (Methods(LINEAR, (BLOCK, BLOCK_HALF)), {}),
    "S-8": (every(Methods(LINEAR, UP_TO_8, tendency), Methods(TUNED, UP_TO_8, alike, which=-1),
                  Methods(LINEAR, (BY_DEPTH[12], BY_DEPTH[8]), not_below)), {
        "by the probe": Methods(LINEAR, UP_TO_8, tendency),
        "after fine-tuning": Methods(TUNED, UP_TO_8, alike, which=-1)}),
    "S-9": (Methods(LINEAR, tuple(BY_WIDTH.values()), extremes_below_best), {}),
    "S-10": (with_cost(every(*(Methods(TUNED, pair, not_below) for pair in HEADS)),
                       SIMMIM[0], *SIMMIM[1:3]), {}),
    "S-11": (with_cost(both((TOKENS, MAE)), MAE, TOKENS), {
        "by the probe": Methods(LINEAR, (TOKENS, MAE)),
        "after fine-tuning": Methods(TUNED, (TOKENS, MAE))}),
    "S-13": (both(tuple(BY_SIZE.values()), tendency), {}),
    "S-25": (Methods(DISTANCE, tuple(BY_RATIO.values()), lowest(MAE)), {}),
    "S-29": (both((SIMMIM[0], MAE)), {
        "with MAE trained longer, at less than SimMIM's cost": both((SIMMIM[0], times(2))),
        "SimMIM with its own encoder": both((SIMMIM[3], MAE))}),
}
