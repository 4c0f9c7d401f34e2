"""Rules on design choices: a world in which every claim is true, and one thing made false."""

import pytest
from planted import measured

from mae_lib.ledger.claims import claims
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
from mae_lib.ledger.design_rules import COST, DISTANCE, LONG, RULES, SECONDS
from mae_lib.ledger.experiments import verdict_on, verdicts_of
from mae_lib.ledger.outcomes import Outcomes
from mae_lib.ledger.rows import MAE, SCRATCH

TUNED, LINEAR, LOCAL, METHOD = "fine-tuned", "linear", "gradient locality", "method"
LINE, MLP, DEEP, OWN = SIMMIM
NOISE = 1e-4  # of a series' range


def the_talks_world() -> dict:
    """Means under which every claim is true."""
    linear = {MAE: 60, CROPPED: 64, FIXED_CROP: 63, COLOURED: 58, BLOCK: 50, BLOCK_HALF: 57,
              GRID: 52, TOKENS: 45, LINE: 55, MLP: 55, DEEP: 55, OWN: 55}
    tuned = {MAE: 70, SCRATCH: 40, CROPPED: 74, FIXED_CROP: 73, COLOURED: 71, BLOCK: 66,
             BLOCK_HALF: 68, GRID: 67, TOKENS: 68, LINE: 65, MLP: 65, DEEP: 65, OWN: 64}
    costs = {MAE: 1, TOKENS: 3, LINE: 2, MLP: 2.4, DEEP: 4}
    ratio = (0.1, 0.25, 0.5, 0.75, 0.9)
    levels = {
        (LINEAR, HIDDEN): (ratio, (50, 53, 57, 60, 56)),
        (TUNED, HIDDEN): (ratio, (66, 67, 68, 70, 67)),
        (DISTANCE, HIDDEN): (ratio, (.9, .88, .85, .8, .86)),
        (LOCAL, "ratio"): (ratio, (.9, .8, .6, .4, .2)),
        (LINEAR, LENGTH): ((1, 2, 4), (60, 63, 66)), (TUNED, LENGTH): ((1, 2, 4), (70, 72, 74)),
        (LINEAR, DEPTH): ((1, 2, 4, 8, 12), (56, 60, 63, 66, 65)),
        (TUNED, DEPTH): ((1, 2, 4, 8, 12), (70, 70.1, 70, 70.05, 69)),
        (LINEAR, WIDTH): ((24, 48, 96, 192), (56, 60, 61, 58)),
        (LINEAR, SIZE): ((48, 96, 144), (50, 60, 65)), (TUNED, SIZE): ((48, 96, 144), (60, 70, 75))}
    named = {(LINEAR, METHOD): linear, (TUNED, METHOD): tuned, (COST, METHOD): costs,
             (LONG, METHOD): {SCRATCH: 60}, (SECONDS, METHOD): {MAE: 1, TOKENS: 2.6},
             (SECONDS, DEPTH): {1: .8}}
    untrained = {(LINEAR, "untrained"): {0: 30}, (TUNED, "untrained"): {0: 40}}
    return named | untrained | {cell: dict(zip(at, values, strict=True))
                                for cell, (at, values) in levels.items()}


def world(*changes) -> dict:
    """The same with other means, ``(outcome, series, level, mean)``."""
    found = the_talks_world()
    for outcome, series, level, mean in changes:
        assert level in found[outcome, series], level
        found[outcome, series] = found[outcome, series] | {level: mean}
    return found


def judged(claim: str, truth: dict, noise: float = NOISE):
    return verdict_on(claims([claim])[0], Outcomes.of(measured(truth, noise), "menagerie"))


def test_in_the_talks_world_its_claims_are_found_to_be_true():
    found = verdicts_of(measured(the_talks_world(), NOISE), "menagerie")
    assert {name: found[name].word for name in RULES} == dict.fromkeys(RULES, "supported")
    assert all(v.word == "supported" for name in RULES for v in found[name].beside.values())


BROKEN = [
    ("S-1", LONG, METHOD, SCRATCH, 71), ("S-2", LINEAR, METHOD, FIXED_CROP, 66),
    ("S-2", TUNED, METHOD, FIXED_CROP, 69), ("S-2", LINEAR, METHOD, COLOURED, 65),
    ("S-2", TUNED, METHOD, COLOURED, 75), ("S-3", LINEAR, LENGTH, 4, 55),
    ("S-4", LINEAR, HIDDEN, 0.9, 62), ("S-4", TUNED, HIDDEN, 0.5, 71),
    ("S-6", LINEAR, METHOD, BLOCK, 61), ("S-6", TUNED, METHOD, GRID, 71),
    ("S-6", LINEAR, METHOD, GRID, 61), ("S-6", TUNED, METHOD, BLOCK, 71),
    ("S-7", LINEAR, METHOD, BLOCK_HALF, 49), ("S-8", TUNED, DEPTH, 4, 73),
    ("S-8", LINEAR, DEPTH, 12, 70), ("S-9", LINEAR, WIDTH, 192, 63),
    ("S-9", LINEAR, WIDTH, 24, 63), ("S-10", TUNED, METHOD, MLP, 67),
    ("S-10", TUNED, METHOD, DEEP, 67), ("S-10", COST, METHOD, DEEP, 1),
    ("S-11", LINEAR, METHOD, TOKENS, 61), ("S-11", TUNED, METHOD, TOKENS, 71),
    ("S-11", COST, METHOD, TOKENS, .5), ("S-12", SECONDS, METHOD, TOKENS, 1.9),
    ("S-13", LINEAR, SIZE, 144, 40),
    ("S-13", TUNED, SIZE, 144, 50), ("S-25", DISTANCE, HIDDEN, 0.9, .7),
    ("S-29", LINEAR, METHOD, LINE, 61), ("S-29", TUNED, METHOD, LINE, 71)]


@pytest.mark.parametrize(("claim", "outcome", "series", "level", "mean"), BROKEN)
def test_where_one_thing_that_a_claim_says_is_false_it_is_not_supported(claim, outcome, series,
                                                                        level, mean):
    assert judged(claim, world((outcome, series, level, mean))).word == "not supported"


def test_a_trend_the_other_way_is_not_supported():
    ratio, values = zip(*the_talks_world()[LOCAL, "ratio"].items(), strict=True)
    turned = dict(zip(ratio, values[::-1], strict=True))
    assert judged("S-5", the_talks_world() | {(LOCAL, "ratio"): turned}).word == "not supported"
    deep = dict(zip((1, 2, 4, 8, 12), (66, 63, 60, 56, 55), strict=True))
    assert judged("S-8", the_talks_world() | {(LINEAR, DEPTH): deep}).word == "not supported"


def test_every_claim_was_broken():
    assert {claim for claim, *_ in BROKEN} | {"S-5"} == set(RULES)


@pytest.mark.parametrize(("claim", "outcome", "series", "reason"), [
    ("S-8", LINEAR, DEPTH, "needs three levels of the decoder depth, has 2"),
    ("S-4", TUNED, HIDDEN, "needs three levels of the hidden share, has 2"),
    ("S-25", DISTANCE, HIDDEN, "needs three levels of the hidden share, has 2")])
def test_two_levels_are_no_series(claim, outcome, series, reason):
    truth = the_talks_world()
    truth[outcome, series] = dict(list(truth[outcome, series].items())[:2])
    found = judged(claim, truth)
    assert (found.word, found.reason) == ("not tested", reason)


def test_a_decoder_of_eight_blocks_alone_says_nothing_of_deeper_ones():
    truth = the_talks_world()
    truth[LINEAR, DEPTH] = {n: v for n, v in truth[LINEAR, DEPTH].items() if n <= 8}
    found = judged("S-8", truth)
    assert (found.word, found.reason) == ("not tested", "needs a decoder deeper than 8 blocks")


@pytest.mark.parametrize(("claim", "change", "share"), [
    ("S-1", (LONG, METHOD, SCRATCH, 69.01), "supported (negligible)"),
    ("S-1", (LONG, METHOD, SCRATCH, 68.99), "supported"),
    ("S-7", (LINEAR, METHOD, BLOCK_HALF, 51.01), "supported"),
    ("S-7", (LINEAR, METHOD, BLOCK_HALF, 50.99), "supported (negligible)")])
def test_the_declared_size_is_what_makes_a_difference_negligible(claim, change, share):
    assert judged(claim, world(change), noise=1e-6).word == share
