"""Claims on shared targets, against measurements with a planted truth."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from mae_lib.ledger import mask_graphs, target_rules
from mae_lib.ledger.claims import claims
from mae_lib.ledger.composites import RATIOS
from mae_lib.ledger.experiments import RULES, smallest_effects, verdict_on
from mae_lib.ledger.outcomes import Outcomes
from mae_lib.ledger.target_rules import (
    LEVELLED,
    NEAR_ANOTHER,
    NEAR_OWN,
    PAIRS,
    PICTURES,
    SHARED_ANOTHER,
    SHARED_OWN,
    TARGET,
    VIEW,
)

FLAT, LATE = [0.2] * 5, [0.3, 0.3, 0.32, 0.5, 0.8]  # the latter an error of views
UP = [0.1, 0.15, 0.2, 0.25, 0.3]


def planted(own=UP, error=LATE, shared=(0,) * 5, another=(0,) * 5, near=(UP, UP), noise=0.002,
            levelled=None) -> pd.DataFrame:
    """One repetition of the counts and five of all else, at the five ratios."""
    rng = np.random.default_rng(0)
    means = {TARGET: own, LEVELLED: own if levelled is None else levelled,
             VIEW: 1 - np.array(error), NEAR_OWN: near[0], NEAR_ANOTHER: near[1]}
    rows = [(name, ratio, seed, held[i] + noise * rng.standard_normal())
            for name, held in means.items() for i, ratio in enumerate(RATIOS) for seed in range(5)]
    rows += [(name, ratio, 0, float(held[i])) for i, ratio in enumerate(RATIOS) for name, held in
             ((SHARED_OWN, shared), (SHARED_ANOTHER, another), (PAIRS, [1000] * 5))]
    table = pd.DataFrame(rows, columns=["outcome", "level", "seed", "value"])
    return table.assign(dataset="menagerie", series=PICTURES)


def judged(claim: str, frame: pd.DataFrame):
    return verdict_on(claims([claim])[0], Outcomes.of(frame, "menagerie"))


def test_the_ledger_has_these_rules_and_their_smallest_effects():
    assert set(target_rules.RULES) == {"S-26", "S-27", "S-28"} <= set(RULES)
    assert [smallest_effects(c) for c in claims(target_rules.RULES)] == [(.02,), (0,), (.1,)]


# S-27: exact

def test_without_a_shared_target_all_differ():
    verdict = judged("S-27", planted())
    assert verdict.word == "supported" and list(verdict.parts) == ["5000 trials"]
    assert verdict.p == pytest.approx(3 / 5000)


@pytest.mark.parametrize("kind", ["shared", "another"])
@pytest.mark.parametrize("place", range(5))
def test_one_shared_target_at_any_ratio_refutes(kind, place):
    verdict = judged("S-27", planted(**{kind: np.eye(5)[place]}))
    assert verdict.word == "not supported"
    assert verdict.effect.mean == pytest.approx(-1 / 5000)


# S-26: trends

def words(verdict) -> dict[str, str]:
    return {name: v.word for name, v in verdict.beside.items()}


def on_pictures(frame, **kind):
    return target_rules.on_pictures(Outcomes.of(frame, "menagerie"), (0.02,), **kind)


def test_shares_of_one_whole_do_not_both_rise():
    """Whatever is planted, one of both kinds of edges does not."""
    for own in (UP, UP[::-1], FLAT):
        assert on_pictures(planted(own)).word == "not supported"
        assert judged("S-26", planted(own)).word == "not supported"


def test_the_parts_are_last_less_first_of_both_kinds_and_the_bend_of_the_error():
    frame = planted(noise=0.001)
    parts = on_pictures(frame).parts
    assert parts["edges in the class: 0.1 < 0.9"].mean == pytest.approx(0.2, abs=2e-3)
    assert parts["edges across classes: 0.1 < 0.9"].mean == pytest.approx(-0.2, abs=2e-3)
    late = 0.8 - 2 * 0.32 + 0.3
    assert parts["label error: rises late"].mean == pytest.approx(late, abs=4e-3)
    assert {e.n for e in parts.values()} == {5}


@pytest.mark.parametrize(("error", "lower"), [(LATE, False), ([.3, .5, .7, .75, .8], True),
                                              ([.3, .4, .55, .68, .8], True)])
def test_an_error_that_rises_early_or_evenly_does_not_rise_late(error, lower):
    found = on_pictures(planted(error=error)).parts["label error: rises late"]
    assert (found.limit(+1) < 0.02) == lower and (found.limit(-1) > 0.02) == (not lower)


def test_both_kinds_within_reach_may_rise():
    reach = "by all targets nearer than half the mean distance"
    for near in product((UP, UP[::-1]), repeat=2):
        word = words(judged("S-26", planted(near=near)))[reach]
        assert word == ("supported" if near == (UP, UP) else "not supported")


def test_levelled_pictures_are_read_beside():
    frame = planted(levelled=UP[::-1])
    verdict = judged("S-26", frame)
    assert "by the nearest target of levelled pictures" in words(verdict)
    turned = on_pictures(frame, target=LEVELLED)
    assert turned.parts["edges in the class: 0.1 < 0.9"].mean == pytest.approx(-0.2, abs=5e-3)


def test_the_toy_world_counts_as_much_as_pictures(monkeypatch):
    verdict = judged("S-26", planted())
    assert words(verdict)["in the toy world"] == "not supported"
    assert any(name.startswith("toy world, edges: across") for name in verdict.parts)
    monkeypatch.setattr(target_rules, "on_pictures", lambda *_: mask_graphs.exact(0, 10))
    assert judged("S-26", planted()).word == "not supported"


# S-28: looseness

def test_the_bound_is_loose_at_every_number_of_hidden_patches():
    verdict = judged("S-28", planted())
    table = mask_graphs.sharing()
    assert verdict.word == "supported" and len(verdict.parts) == 6
    assert [e.mean for e in verdict.parts.values()] == pytest.approx(
        (table.looseness.dropna() - 0.5).tolist())
    beside, = verdict.beside.values()
    assert beside.word == "supported" and len(beside.parts) == 5
    assert {e.mean for e in beside.parts.values()} == {0.5} and not beside.caveat


def test_where_targets_are_shared_pictures_say_nothing_about_the_bound():
    beside, = judged("S-28", planted(shared=[9, 0, 0, 0, 0])).beside.values()
    assert list(beside.parts) == [f"{r:g} hidden" for r in RATIOS[1:]]
    assert beside.caveat == "without 0.1, where some targets are shared"
    verdict = judged("S-28", planted(another=[1] * 5))
    assert verdict.word == "supported" and not verdict.beside


def test_a_tight_bound_would_be_found(monkeypatch):
    table = mask_graphs.sharing().assign(looseness=[np.nan, .9, .9, .55, .9, .9, .9])
    monkeypatch.setattr(mask_graphs, "sharing", lambda: table)
    assert judged("S-28", planted()).word == "supported (negligible)"
    monkeypatch.setattr(mask_graphs, "sharing", lambda: table.assign(looseness=0.4))
    assert judged("S-28", planted()).word == "not supported"


# What is missing

@pytest.mark.parametrize(("claim", "lost", "name"), [
    ("S-26", TARGET, TARGET), ("S-26", VIEW, VIEW), ("S-27", PAIRS, SHARED_OWN),
    ("S-27", SHARED_ANOTHER, SHARED_ANOTHER), ("S-28", SHARED_OWN, SHARED_OWN)])
def test_what_was_not_measured_decides_nothing(claim, lost, name):
    frame = planted()
    if lost == PAIRS:
        frame = frame[~frame.outcome.isin([PAIRS, SHARED_OWN, SHARED_ANOTHER])]
    verdict = judged(claim, frame[frame.outcome != lost])
    assert verdict.word == "not tested" and f"no measurement of {name!r}" in verdict.reason


def test_two_parts_are_too_few_for_a_trend():
    frame = planted()
    assert judged("S-26", frame[frame.seed < 2]).word == "not tested"
    assert judged("S-27", frame[frame.seed < 2]).word == "supported"
