"""The rule of every claim about trained networks: from measurements to a verdict.

A rule looks at one data set. Levels of the unit and the patch series are pixels of 32-pixel images:
4, 8 and 16 stand for the paper's 8, 16 and 32 of 224.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType

import pandas as pd

from mae_lib.ledger import (
    associations,
    audit,
    composites,
    design_rules,
    occlusion_rules,
    single_rules,
    target_rules,
    video_rules,
    world_rules,
)
from mae_lib.ledger.claims import Claim, claims
from mae_lib.ledger.comparisons import (
    Comparison,
    Shape,
    Test,
    alike,
    lowest,
    not_below,
    tendency,
    top,
    up,
)
from mae_lib.ledger.composites import RATIOS, UNITS
from mae_lib.ledger.guards import FACTORS, PRECISIONS, SEPARATION, SHIFTED
from mae_lib.ledger.outcomes import (
    COUPLED,
    EQUAL_TOKENS,
    LONGER,
    NORMALISED,
    RATIO,
    UNIT,
    NoVerdict,
    Outcomes,
)
from mae_lib.ledger.verdicts import NOT_TESTED, Verdict, adjusted, extremes

RISE = RATIOS[:4]
ARMS = {EQUAL_TOKENS: "with equally many encoder tokens", NORMALISED: "with normalised targets",
        LONGER: "after longer training"}
TREND = "weak form, a trend"
SSIM_FSIM = ("ssim", "fsimc")
NO_FILTERED = tuple(name for name in SHIFTED if name != "filtered")  # as the paper's sentence has


@dataclass(frozen=True)
class Rule:
    """How a claim is decided: its test, and other readings that are shown beside it.

    ``over_ratios``: the test is about masking ratios, so that it is also shown with equal numbers
    of encoder tokens, with normalised targets and after longer training, where that was measured.
    """

    test: Test
    beside: Mapping[str, Test] = field(default_factory=dict)
    over_ratios: bool = False


def over_ratios(outcomes: str | tuple[str, ...], shape: Shape = up, levels=RATIOS, *,
                trend: bool = False) -> Rule:
    """A comparison of masking ratios, with its weak form beside it if the claim asks for it."""
    names = (outcomes,) if isinstance(outcomes, str) else outcomes
    weak = {TREND: Comparison(names, RATIO, levels, tendency)} if trend else {}
    return Rule(Comparison(names, RATIO, levels, shape), weak, over_ratios=True)


def over_biases(shape: Shape = up, levels=RATIOS) -> Rule:
    """A comparison of shape bias over ratios, and the same by the cue that is easier to read."""
    coat = {"by the coat, a texture in a hue of its own":
            Comparison(("shape bias, coat",), RATIO, levels, shape)}
    return Rule(Comparison(("shape bias",), RATIO, levels, shape), coat, over_ratios=True)


def over_units(outcomes: str | tuple[str, ...], shape: Shape = up, levels=UNITS, **least) -> Rule:
    """A comparison of masking units at one patch size."""
    names = (outcomes,) if isinstance(outcomes, str) else outcomes
    return Rule(Comparison(names, UNIT, levels, shape, least))


def over_patches(outcomes: str | tuple[str, ...], shape: Shape = up, levels=UNITS,
                 beside: Mapping[str, Test] | None = None) -> Rule:
    """A comparison of patches that are masking units, too."""
    names = (outcomes,) if isinstance(outcomes, str) else outcomes
    return Rule(Comparison(names, COUPLED, levels, shape), beside or {})


def _rules(*modules: ModuleType) -> dict[str, Rule]:
    """The rules that modules of their own hold."""
    return {claim: Rule(test, beside) for module in modules
            for claim, (test, beside) in module.RULES.items()}


RULES: dict[str, Rule] = {
    # Reconstruction of whole images. PSNR and MSE are one measurement and count once.
    "K-R1": over_ratios("ssim", up, RISE, trend=True),
    "K-R2": over_ratios("fsimc", up, RISE, trend=True),
    "K-R3": over_ratios(SSIM_FSIM, up, (0.9, 0.75)),
    "K-R4": over_ratios("psnr", up, (0.75, 0.9)),
    "K-R5": over_ratios("psnr", up, RISE[::-1], trend=True),
    "K-R6": over_units(SSIM_FSIM),
    "K-R7": over_units("psnr", up, UNITS[::-1]),
    "K-R8": over_patches(("ssim floored", "fsimc floored"),
                         beside={"without the floor": Comparison(SSIM_FSIM, COUPLED, UNITS)}),
    "K-R9": over_patches("psnr floored", up, UNITS[::-1], {
        "without the floor": Comparison(("psnr",), COUPLED, UNITS[::-1])}),
    "K-R10": Rule(associations.metrics_disagree, {
        "with FSIM": partial(associations.metrics_disagree, structural="fsimc")}),
    "K-R11": Rule(associations.structure_probes_better, {
        "with FSIM": partial(associations.structure_probes_better, structural="fsimc")}),
    "K-R12": Rule(associations.same_signs_hidden, over_ratios=True),
    # Attention
    "K-A1": over_ratios("lift", up, RISE, trend=True),
    "K-A2": over_ratios("background", up, (0.75, 0.9)),
    "K-A3": Rule(single_rules.lift_is_one, over_ratios=True),
    "K-A4": over_ratios("recall", up, RISE, trend=True),
    "K-A5": over_ratios("recall", extremes),
    "K-A6": over_ratios("distance", tendency, RISE),
    "K-A7": over_units(("lift", "recall"), top(UNITS[1]), recall=0.02),
    "K-A8": Rule(single_rules.mean_head_diffuser),
    # How far apart classes lie
    "K-S1": over_ratios(SEPARATION, up, RISE, trend=True),
    "K-S2": over_ratios(SEPARATION, alike, (0.75, 0.9)),
    "K-S3": over_units(SEPARATION),
    "K-S4": over_patches(SEPARATION, lowest(UNITS[0])),
    "K-S5": over_patches(SEPARATION, alike, UNITS[1:]),
    # Linear probing
    "K-L1": over_ratios("linear", up, RISE),
    "K-L2": over_ratios("linear", up, (0.9, 0.75)),
    "K-L3": over_ratios("linear", top(0.75)),
    "K-L4": over_ratios("linear", up, (0.1, 0.25, 0.5, 0.9)),
    "K-L5": over_patches("linear", top(UNITS[1]), beside={
        "with the largest below the smallest": Comparison(("linear",), COUPLED, (16.0, 4.0, 8.0))}),
    "K-L6": over_units("linear"),
    "K-L7": Rule(single_rules.mean_token_not_worse, over_ratios=True),
    # Shifted test sets
    "K-V1": over_ratios("fresh draw", top(0.75)),
    "K-V2": over_ratios("odd pose", top(0.75)),
    "K-V3": over_ratios("renditions", top(0.75)),
    "K-V4": over_ratios("filtered", top(0.75)),
    "K-V5": over_ratios("sketch", top(0.75)),
    "K-V6": over_ratios(SHIFTED, up, (0.25, 0.75)),
    "K-V7": over_units(NO_FILTERED),
    "K-V8": over_units("filtered"),
    "K-V9": over_patches(NO_FILTERED, top(UNITS[1])),
    "K-V10": Rule(single_rules.only_largest_patch_lower),
    "K-V11": Rule(associations.robust_beyond_accuracy, over_ratios=True),
    # Shape bias
    "K-B1": over_biases(extremes),
    "K-B2": over_biases(up, (0.9, 0.75)),
    "K-B3": over_biases(lowest(0.1)),
    "K-B4": over_biases(alike, (0.25, 0.5, 0.75)),
    "K-B5": Rule(lambda found, sesoi: audit.verdicts()["K-B5"]),
    "K-B6": Rule(single_rules.shape_below_half, over_ratios=True),
    # Detection
    "K-D1": over_ratios("box ap", top(0.75)),
    "K-D2": over_ratios("mask ap", top(0.75)),
    "K-D3": over_ratios(PRECISIONS, top(0.75), (0.1, 0.75, 0.9)),
    "K-D4": over_patches(PRECISIONS, up, (8.0, 4.0)),
    "K-D5": over_patches(PRECISIONS, up, (16.0, 8.0)),
    "K-D6": Rule(single_rules.untested("needs detectors trained with two batch sizes; ours all "
                                       "have the same")),
    "K-D7": Rule(lambda found, sesoi: audit.verdicts()["K-D7"]),
    # Suggestions of section 3.6
    "K-P1": Rule(single_rules.margin_helps, {
        "control: as many pixels left out anywhere": single_rules.margin_beats_scattered}),
    "K-P2": Rule(single_rules.guided_masks_help, {
        "control: parts of another picture": single_rules.guided("shuffled", "whole"),
        "control: half of every part": single_rules.guided("anti", "whole")}),
    "K-P3": Rule(single_rules.high_ratio_keeps_low_level),
    "K-P4": Rule(single_rules.near_is_easier),
    # The statements of the abstract
    "K-X1": Rule(associations.extremes_resemble, {
        "alike in the linear probe": associations.same_as_lowest("linear", 1.0),
        "alike in shape bias": associations.same_as_lowest("shape bias", 0.03)}, True),
    "K-X2": Rule(composites.extreme_ratios, {
        "high-level half": lambda found, sesoi: composites.high_at_ends(found, *sesoi),
        "low-level half": lambda found, sesoi: composites.low_at_ends(found, *sesoi)}, True),
    "K-X3": Rule(composites.middle_patch, {
        "masking unit": lambda found, sesoi: composites.middle_is_best(found, UNIT, *sesoi),
        "coupled patch": lambda found, sesoi: composites.middle_is_best(found, COUPLED, *sesoi)}),
    "K-X4": over_ratios(FACTORS, not_below, (0.75, 0.9)),
    "K-C1": Rule(single_rules.larger_patch_faster, {
        "in multiplications": partial(single_rules.larger_patch_faster, cost="macs")}),
    "K-T9": Rule(occlusion_rules.CONTRASTIVE_PROBES_BETTER),
} | _rules(occlusion_rules, design_rules, target_rules, video_rules)
# Those of games are judged apart: on games, not on sets of pictures.
EVERY = RULES | _rules(world_rules)


def verdicts_of(outcomes: pd.DataFrame, dataset: str) -> dict[str, Verdict]:
    """A verdict on every claim of ``RULES`` from the measurements on one data set.

    Within each family of claims p-values are corrected by Holm's method; a claim that loses its
    support by that keeps the word it had as ``unadjusted``. Claims decided by enumeration or by
    arithmetic have no sampling error and stay out of the correction.

    Args:
        outcomes: tidy, see :meth:`mae_lib.ledger.outcomes.Outcomes.of`; it may lack anything.
        dataset: one of its data sets.

    Raises:
        ValueError: a column that is missing, a run twice, infinite values.
    """
    found, known = Outcomes.of(outcomes, dataset), claims(RULES)
    return adjusted({claim.id: verdict_on(claim, found) for claim in known},
                    {claim.id: claim.family for claim in known})


def verdict_on(claim: Claim, found: Outcomes) -> Verdict:
    """The verdict on one claim, before the correction for its family."""
    rule, sesoi = EVERY[claim.id], smallest_effects(claim)
    verdict = _try(rule.test, found, sesoi)
    beside = {name: _try(test, found, sesoi) for name, test in rule.beside.items()}
    if rule.over_ratios:
        beside |= {name: _try(rule.test, found.with_arm(arm), sesoi)
                   for arm, name in ARMS.items()}
    return replace(verdict, beside={name: v for name, v in beside.items() if v.word != NOT_TESTED})


def smallest_effects(claim: Claim) -> tuple[float, ...]:
    """The numbers in a claim's smallest effect of interest, shares for percentages: ``"5% relative
    MSE"`` is (.05,), ``"1.0 / .5 pp"`` (1, .5), and a dash none."""
    found = re.findall(r"(?:^|/)\s*(\d*\.?\d+(?:e-?\d+)?)(\s*%)?", claim.sesoi)
    return tuple(float(number) / (100 if percent else 1) for number, percent in found)


def _try(test: Test, found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    try:
        return test(found, sesoi)
    except NoVerdict as why:
        return why.verdict
