"""Rules of single claims that compare more than levels of one series."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import pandas as pd

from mae_lib.ledger.comparisons import Comparison, Test, alike, lowest, not_below, together
from mae_lib.ledger.composites import RATIOS, UNITS
from mae_lib.ledger.guards import FACTORS, guarded
from mae_lib.ledger.outcomes import (
    COUPLED,
    GUIDED,
    MARGIN,
    RATIO,
    SCATTERED,
    USUAL,
    Cell,
    NoVerdict,
    Outcomes,
    named,
    shared,
)
from mae_lib.ledger.verdicts import (
    NOT_TESTED,
    Effect,
    Verdict,
    all_of,
    difference,
    effect,
    equivalent,
    not_worse,
)


def lift_is_one(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """K-A3: at .1 the class token attends to the object as much as to the rest: lift is 1."""
    table = found.table("lift", {0.1: (RATIO, 0.1)})
    return equivalent(effect(table[0.1] - 1), sesoi[0])


def mean_head_diffuser(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """K-A8: the mean of the heads has more entropy than the first head, over the five ratios."""
    return difference(_gain(found, "entropy mean", "entropy head 0"), sesoi[0])


def mean_token_not_worse(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """K-L7: the mean token probes no worse than the class token, over the five ratios."""
    cells = {r: (RATIO, r) for r in RATIOS}
    return guarded(found, "linear mean", cells, lambda table: not_worse(
        _gain(found, "linear mean", "linear"), sesoi[0]))


def shape_below_half(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """K-B6: shape bias is below one half at every ratio."""
    def judge(table: pd.DataFrame) -> Verdict:
        return all_of({f"{r:g}": effect(0.5 - table[r]) for r in table}, sesoi[0])
    return guarded(found, "shape bias", {r: (RATIO, r) for r in RATIOS}, judge)


def only_largest_patch_lower(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """K-V10: on filtered images the two smaller patches are alike, and the largest is lower."""
    parts = {"alike": Comparison(("filtered",), COUPLED, UNITS[:2], alike),
             "lower": Comparison(("filtered",), COUPLED, (UNITS[2], UNITS[0]))}
    return together({name: partial(test, found, sesoi) for name, test in parts.items()})


def margin_helps(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """K-P1: with every margin that was tried the probe beats that without."""
    return _against_usual(found, "linear", {"no margin": (RATIO, USUAL)} | {
        f"margin {level:g}": (MARGIN, level) for level in found.levels("linear", MARGIN)
        if level > 0}, sesoi)


def margin_beats_scattered(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """A control of K-P1: the smallest margin beats a loss with as many pixels left out anywhere."""
    least = min(found.levels("linear", SCATTERED), default=1.0)
    return _against_usual(found, "linear", {"scattered": (SCATTERED, least),
                                            "margin": (MARGIN, least)}, sesoi)


def guided_masks_help(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """K-P2: masks that hide parts as wholes, and those that spare one part of each, beat random
    ones of the same ratio: of the series itself if it has them, else the usual training."""
    random = (GUIDED if "random" in found.levels("linear", GUIDED) else RATIO)
    return _against_usual(found, "linear", {
        "random": (random, "random" if random == GUIDED else USUAL),
        "whole": (GUIDED, "whole"), "split": (GUIDED, "split")}, sesoi)


def guided(lower: str, higher: str) -> Test:
    """A control of K-P2: one policy beats another."""
    return lambda found, sesoi: _against_usual(
        found, "linear", {name: (GUIDED, name) for name in (lower, higher)}, sesoi)


def high_ratio_keeps_low_level(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """K-P3: .9 is not worse than .1 in PSNR of the unmasked read-out nor in R2 of position, scale
    and colour, and a tenth or more cheaper in the encoder's multiplications."""
    cells = {r: (RATIO, r) for r in (0.1, 0.9)}
    margins = {"psnr": sesoi[0]} | dict.fromkeys(FACTORS, sesoi[1])
    parts = {name: partial(guarded, found, name, cells, partial(not_below, margin=margin))
             for name, margin in margins.items()}
    parts["macs"] = partial(cheaper, found, "macs", (RATIO, 0.1), (RATIO, 0.9), 0.1)
    return together(parts, spare=FACTORS)


def near_is_easier(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """K-P4: pixels far from every visible one are predicted worse than those beside one, and near
    ones rest more on their surroundings.

    ``"error near"`` and ``"error far"`` are relative errors, their ratio is tested against 1;
    ``"gradient locality"`` is by how much the share of the input gradient that lies close by is
    larger for near pixels than for far ones, each less the share of the area.
    """
    cells = {USUAL: (RATIO, USUAL)}

    def errors() -> Verdict:
        near, far = (found.table(f"error {place}", cells)[USUAL] for place in ("near", "far"))
        return difference(_paired(far, near, lambda f, n: f / n - 1), sesoi[0])

    def gradients() -> Verdict:
        return difference(effect(found.table("gradient locality", cells)[USUAL]), sesoi[0])

    return together({"error": errors, "gradient": gradients})


def larger_patch_faster(found: Outcomes, sesoi: tuple[float, ...], cost: str = "seconds"
                        ) -> Verdict:
    """K-C1: training with the largest coupled patch takes less time than with the smallest."""
    return cheaper(found, cost, (COUPLED, UNITS[0]), (COUPLED, UNITS[-1]), sesoi[0])


def cheaper(found: Outcomes, cost: str, than: Cell, this: Cell, least: float) -> Verdict:
    """COST: one setting saves a share of another's cost."""
    table = found.table(cost, {"than": than, "this": this})
    saved = effect(1 - table["this"] / table["than"])
    name = f"{cost} saved at {named(this[0])} {this[1]:g} against {than[1]:g}"
    return all_of({name: saved}, least)


def untested(reason: str) -> Test:
    """The rule of a claim that needs what is not trained here."""
    def rule(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
        raise NoVerdict(NOT_TESTED, reason)
    return rule


def _against_usual(found: Outcomes, outcome: str, cells: Mapping[str, Cell],
                   sesoi: tuple[float, ...]) -> Verdict:
    """The first cell is below each of the others."""
    first, *rest = cells
    if not rest:
        raise NoVerdict(NOT_TESTED, f"no measurement of {outcome!r} in the series {MARGIN!r}")
    return guarded(found, outcome, cells, lambda table: lowest(first)(table, sesoi[0]))


def _gain(found: Outcomes, more: str, less: str) -> Effect:
    cells = {r: (RATIO, r) for r in RATIOS}
    return _paired(found.table(more, cells).mean(axis=1), found.table(less, cells).mean(axis=1),
                   lambda a, b: a - b)


def _paired(a: pd.Series, b: pd.Series, combine: Callable) -> Effect:
    """The effect of two columns over the seeds that both have.

    Raises:
        NoVerdict: fewer than three.
    """
    both = shared({"a": a.to_dict(), "b": b.to_dict()})
    return effect(combine(both["a"], both["b"]))
