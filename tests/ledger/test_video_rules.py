"""Rules on clips: a world in which every claim is true, and one thing made false."""

import numpy as np
import pytest
from planted import measured

from mae_lib.ledger.claims import claims
from mae_lib.ledger.design_rows import HIDDEN as OF_IMAGES
from mae_lib.ledger.experiments import smallest_effects, verdict_on, verdicts_of
from mae_lib.ledger.outcomes import Outcomes
from mae_lib.ledger.video_rows import (
    AGNOSTIC,
    CLIPS,
    HIDDEN,
    SIAMESE,
    STILL,
    SYMMETRIC,
    TUBES,
    before,
    with_labels,
)
from mae_lib.ledger.video_rules import MOVES, READ, RULES, TRACKED, TUNED

LINEAR, UNTRAINED, NOISE = "linear", "untrained", 1e-4  # of a series' range
MAE_ST = (AGNOSTIC, "MAE-ST, tubes", "MAE-ST, frames", "MAE-ST, blocks")
VIDEO_MAE = (TUBES, "VideoMAE, tubes, .75", "VideoMAE, random", "VideoMAE, frames")
TUBED, RANDOM = MAE_ST[1], VIDEO_MAE[2]
OF_TUBES, OF_AGNOSTIC = map(with_labels, (TUBES, AGNOSTIC))
BEFORE_TUBES, BEFORE_AGNOSTIC = (with_labels(before(name)) for name in (TUBES, AGNOSTIC))
SIZES = (200, 600, 1800)  # equally far apart in the logarithm


def the_talks_world() -> dict:
    """Means under which every claim is true. From .75 to .9 clips gain 10 and images lose 2;
    VideoMAE gains 30, 20 and 10 over no pretraining, MAE-ST 12 on the most clips."""
    rows = dict(zip(MAE_ST + VIDEO_MAE, (60, 55, 50, 54, 58, 56, 55, 50), strict=True))
    ratios = {0.5: 40, 0.75: 50, 0.9: 60, 0.95: 52}
    found = {(LINEAR, OF_IMAGES): {0.5: 57, 0.75: 60, 0.9: 58}}
    for outcome in (READ, MOVES):
        found |= {(outcome, CLIPS): rows, (outcome, HIDDEN): ratios, (outcome, UNTRAINED): {0: 20}}
    for series, values in ((OF_TUBES, (60, 62, 70)), (OF_AGNOSTIC, (55, 60, 72)),
                           (BEFORE_TUBES, (30, 42, 60)), (BEFORE_AGNOSTIC, (30, 42, 60))):
        found[TUNED, series] = dict(zip(SIZES, values, strict=True))
    return found | {(TRACKED, CLIPS): {SYMMETRIC: 0.4, SIAMESE: 0.6, STILL: 0.5},
                    (TRACKED, UNTRAINED): {0: 0.3}}


def world(*changes) -> dict:
    """The same with other means, ``(outcome, series, level, mean)``."""
    found = the_talks_world()
    for outcome, series, level, mean in changes:
        assert level in found[outcome, series], level
        found[outcome, series] = found[outcome, series] | {level: mean}
    return found


def judged(claim: str, truth: dict, noise: float = NOISE, seeds: int = 5):
    frame = measured(truth, noise, seeds)
    return verdict_on(claims([claim])[0], Outcomes.of(frame, "menagerie"))


BESIDE = {**{claim: {"by motion"} for claim in ("S-14", "S-15", "S-16", "S-17")},
          "S-18": set(), "S-19": set(),
          "S-20": {"over no pretraining", "over MAE of single frames"}}


def test_in_the_talks_world_its_claims_are_found_to_be_true():
    found = verdicts_of(measured(the_talks_world(), NOISE), "menagerie")
    assert {name: found[name].word for name in RULES} == dict.fromkeys(RULES, "supported")
    assert {name: set(found[name].beside) for name in RULES} == BESIDE
    assert all(v.word == "supported" for name in RULES for v in found[name].beside.values())


READINGS = [
    *(("S-15", CLIPS, other, 61) for other in MAE_ST[1:]),
    *(("S-16", CLIPS, other, 59) for other in VIDEO_MAE[1:]),
    ("S-15", CLIPS, AGNOSTIC, 53), ("S-16", CLIPS, TUBES, 54),
    ("S-17", CLIPS, RANDOM, 59), ("S-17", CLIPS, TUBES, 54),
    ("S-17", CLIPS, TUBED, 61), ("S-17", CLIPS, AGNOSTIC, 54),
    ("S-14", HIDDEN, 0.9, 47), ("S-14", HIDDEN, 0.75, 63)]  # clips lose 3, images 2
BROKEN = [(claim, READ, *rest) for claim, *rest in READINGS] + [
    ("S-14", LINEAR, OF_IMAGES, 0.9, 71), ("S-14", LINEAR, OF_IMAGES, 0.75, 47),
    ("S-18", TUNED, OF_TUBES, 200, 35), ("S-18", TUNED, OF_TUBES, 1800, 95),
    ("S-18", TUNED, BEFORE_TUBES, 200, 55), ("S-18", TUNED, BEFORE_TUBES, 1800, 35),
    ("S-19", TUNED, OF_AGNOSTIC, 1800, 59), ("S-19", TUNED, BEFORE_AGNOSTIC, 1800, 73),
    ("S-20", TRACKED, CLIPS, SIAMESE, 0.39), ("S-20", TRACKED, CLIPS, SYMMETRIC, 0.61)]


@pytest.mark.parametrize(("claim", "outcome", "series", "level", "mean"), BROKEN)
def test_where_one_thing_that_a_claim_says_is_false_it_is_not_supported(claim, outcome, series,
                                                                        level, mean):
    assert judged(claim, world((outcome, series, level, mean))).word == "not supported"


@pytest.mark.parametrize(("claim", "series", "level", "mean"), READINGS)
def test_the_reading_by_motion_is_about_motion_alone(claim, series, level, mean):
    found = judged(claim, world((MOVES, series, level, mean)))
    assert found.word == "supported" and found.beside["by motion"].word == "not supported"
    found = judged(claim, world((READ, series, level, mean)))
    assert found.word == "not supported" and found.beside["by motion"].word == "supported"


@pytest.mark.parametrize(("name", "change"), [
    ("over no pretraining", (TRACKED, UNTRAINED, 0, 0.61)),
    ("over MAE of single frames", (TRACKED, CLIPS, STILL, 0.61))])
def test_other_readings_of_tracking_fail_by_their_own_control(name, change):
    found = judged("S-20", world(change)).beside
    assert found[name].word == "not supported"


def test_every_claim_was_broken():
    assert {claim for claim, *_ in BROKEN} == set(RULES) == set(BESIDE)


@pytest.mark.parametrize("claim", ["S-14", "S-15", "S-16", "S-17", "S-19"])
def test_levels_that_a_claim_does_not_name_change_nothing(claim):
    other = world((READ, HIDDEN, 0.95, 99), (READ, HIDDEN, 0.5, 99), (LINEAR, OF_IMAGES, 0.5, 99),
                  (TUNED, OF_AGNOSTIC, 200, 99), (TUNED, OF_TUBES, 1800, 99))
    assert judged(claim, other).word == "supported"


# Margins

def exceeding(claim: str, by: float) -> dict:
    """A world in which a claim's effect is exactly so large."""
    changes = {
        "S-14": [(READ, HIDDEN, 0.9, 50 - 2 + by)],
        "S-15": [(READ, CLIPS, MAE_ST[3], 60 - by)], "S-16": [(READ, CLIPS, RANDOM, 58 - by)],
        "S-17": [(READ, CLIPS, TUBED, 60 - by)],
        "S-18": [(TUNED, OF_TUBES, n, scratch + gain) for n, scratch, gain in zip(
            SIZES, (30, 42, 60), (10 + by, 10 + by / 2, 10), strict=True)],
        "S-19": [(TUNED, OF_AGNOSTIC, 1800, 60 + by)],
        "S-20": [(TRACKED, CLIPS, SIAMESE, 0.4 + by)]}
    return world(*changes[claim])


MARGINS = {"S-14": 1, "S-15": 0.5, "S-16": 0.5, "S-17": 0.5, "S-18": 5, "S-19": 1, "S-20": 0.02}


@pytest.mark.parametrize("claim", MARGINS)
def test_the_declared_size_is_what_makes_an_effect_negligible(claim):
    assert smallest_effects(claims([claim])[0]) == (MARGINS[claim],)
    words = [judged(claim, exceeding(claim, share * MARGINS[claim]), 1e-6).word
             for share in (1.02, 0.98, -0.02)]
    assert words == ["supported", "supported (negligible)", "not supported"]


def test_the_fall_of_the_gains_is_that_of_the_line_of_least_squares():
    """Sizes that are not equally far apart: covariance over variance, by hand."""
    sizes, gains, truth = (100, 150, 1000, 4000), (9, 13, 4, 2), the_talks_world()
    truth[TUNED, BEFORE_TUBES] = dict(zip(sizes, (30, 40, 50, 60), strict=True))
    truth[TUNED, OF_TUBES] = {n: truth[TUNED, BEFORE_TUBES][n] + gain
                              for n, gain in zip(sizes, gains, strict=True)}
    log, mean = [np.log(n) for n in sizes], sum(np.log(n) for n in sizes) / 4
    slope = (sum((x - mean) * (y - 7) for x, y in zip(log, gains, strict=True))
             / sum((x - mean) ** 2 for x in log))
    found = judged("S-18", truth, 1e-9)
    assert found.effect.mean == pytest.approx(-slope * (log[-1] - log[0]), abs=1e-5)
    assert found.effect.n == 5


def test_pretraining_is_compared_run_by_run():
    """Runs differ by more than the gain does; those of one seed differ alike."""
    frame = measured(the_talks_world(), 1e-6)
    shift = frame.seed.map({0: -9, 1: 7, 2: 0, 3: 12, 4: -4})
    of_clips = frame.series.isin([CLIPS, HIDDEN, OF_IMAGES, OF_TUBES, OF_AGNOSTIC, BEFORE_TUBES,
                                   BEFORE_AGNOSTIC])
    percent = of_clips & (frame.outcome != TRACKED)
    frame.loc[percent, "value"] += shift[percent]
    found = verdicts_of(frame, "menagerie")
    assert {name: found[name].word for name in RULES} == dict.fromkeys(RULES, "supported")


# What is void or missing

@pytest.mark.parametrize(("claim", "outcome", "value"), [
    ("S-15", READ, 65), ("S-16", READ, 65), ("S-17", READ, 65), ("S-20", TRACKED, 0.7)])
def test_rows_that_no_training_has_helped_are_void(claim, outcome, value):
    found = judged(claim, world((outcome, UNTRAINED, 0, value)))
    assert found.word == "void" and found.reason.startswith("training does not help: "
                                                            f"'{outcome}'")


def without(*cells) -> dict:
    """The talk's world without these, ``(outcome, series, level)``."""
    truth = the_talks_world()
    for outcome, series, level in cells:
        truth[outcome, series] = {n: v for n, v in truth[outcome, series].items() if n != level}
    return {cell: held for cell, held in truth.items() if held}


@pytest.mark.parametrize(("claim", "missing", "reason"), [
    ("S-14", [(READ, HIDDEN, 0.9)], "no measurement of 'clip probe' at hidden share of clips 0.9"),
    ("S-14", [(LINEAR, OF_IMAGES, 0.75)], "no measurement of 'linear' at hidden share 0.75"),
    ("S-15", [(READ, CLIPS, MAE_ST[3])],
     "no measurement of 'clip probe' at clips MAE-ST, blocks"),
    ("S-16", [(READ, CLIPS, VIDEO_MAE[1])],
     "no measurement of 'clip probe' at clips VideoMAE, tubes, .75"),
    ("S-17", [(READ, CLIPS, RANDOM)], "no measurement of 'clip probe' at clips VideoMAE, random"),
    ("S-18", [(TUNED, OF_TUBES, 600)], "needs three numbers of clips, has 2"),
    ("S-18", [(TUNED, BEFORE_TUBES, 200)], "needs three numbers of clips, has 2"),
    ("S-18", [(TUNED, OF_TUBES, n) for n in SIZES],
     "no measurement of 'clips fine-tuned' on this data set"),
    ("S-19", [(TUNED, BEFORE_AGNOSTIC, n) for n in SIZES],
     "no measurement of 'clips fine-tuned' on this data set"),
    ("S-20", [(TRACKED, CLIPS, SYMMETRIC)],
     "no measurement of 'tracking' at clips SiamMAE, both masked")])
def test_what_a_claim_needs_and_was_not_measured_is_said(claim, missing, reason):
    found = judged(claim, without(*missing))
    assert (found.word, found.reason) == ("not tested", reason)


def test_the_gain_is_read_where_both_were_measured():
    """Of the most clips that there are with and without pretraining, not of the most of either."""
    found = judged("S-19", without((TUNED, BEFORE_AGNOSTIC, 1800)), 1e-6)
    assert found.word == "supported" and found.effect.mean == pytest.approx(60 - 42, abs=1e-3)


@pytest.mark.parametrize("claim", RULES)
def test_two_runs_are_too_few(claim):
    found = judged(claim, the_talks_world(), seeds=2)
    assert (found.word, found.reason) == ("not tested", "needs three training runs, has 2")
    assert found.beside == {}


def test_without_clips_nothing_is_said():
    truth = {(LINEAR, OF_IMAGES): the_talks_world()[LINEAR, OF_IMAGES]}
    assert {judged(claim, truth).word for claim in RULES} == {"not tested"}
