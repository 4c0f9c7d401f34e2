"""Rules on world models: errors by object size in planted games, and gradients through a stem."""

import pytest
import torch
from planted import measured

from mae_lib.ledger.claims import claims
from mae_lib.ledger.experiments import verdict_on
from mae_lib.ledger.outcomes import Outcomes
from mae_lib.ledger.world_rules import (
    FEATURES,
    GAMES,
    PATCHES,
    REWARDED,
    features_see_beyond,
    object_error,
    reaches,
)

AREAS = (1, 4, 16, 64)
FALLING = (20.0, 12.0, 6.0, 3.0)


def world(**games) -> dict:
    """Errors by area, the same for every network: ``pong=(20, 12, 6, 3)``."""
    return {(object_error(game), name): dict(zip(AREAS, errors, strict=True))
            for game, errors in games.items() for name in (PATCHES, FEATURES, REWARDED)}


def judged(truth: dict, noise: float = 1e-4):
    frame = measured(truth, noise, dataset=GAMES)
    return verdict_on(claims(["S-21"])[0], Outcomes.of(frame, GAMES))


def test_errors_that_rise_as_objects_shrink_support_the_claim():
    found = judged(world(pong=FALLING, boxing=FALLING))
    assert found.word == "supported"
    assert {v.word for v in found.beside.values()} == {"supported"} and len(found.beside) == 2


@pytest.mark.parametrize("games", [{"pong": FALLING, "boxing": FALLING[::-1]},
                                   {"pong": FALLING[::-1]}])
def test_every_game_has_to_agree(games):
    assert judged(world(**games)).word == "not supported"


def test_another_network_has_a_word_of_its_own():
    truth = world(pong=FALLING)
    truth[object_error("pong"), FEATURES] = dict(zip(AREAS, FALLING[::-1], strict=True))
    found = judged(truth)
    assert found.word == "supported"
    assert found.beside["where features are masked"].word == "not supported"


@pytest.mark.parametrize(("last", "word"), [(1.09, "supported (negligible)"), (1.12, "supported")])
def test_a_rise_of_a_tenth_is_what_counts(last, word):
    assert judged(world(pong=(last, 1.02, 1.01, 1.0)), noise=1e-6).word == word


def test_two_sizes_are_too_few_and_no_game_is_none():
    truth = {cell: dict(list(held.items())[:2]) for cell, held in world(pong=FALLING).items()}
    assert judged(truth).reason == "needs objects of three sizes, has 2"
    other = measured({("linear", "ratio"): {0.5: 1.0, 0.75: 2.0}}, dataset=GAMES)
    found = verdict_on(claims(["S-21"])[0], Outcomes.of(other, GAMES))
    assert found.reason == "no measurement of objects in games"


def test_a_claim_about_agents_says_what_it_needs():
    found = verdict_on(claims(["S-22"])[0], Outcomes.of(measured(world(pong=FALLING)), "menagerie"))
    assert found.word == "not tested" and "reinforcement learning" in found.reason


def test_features_of_a_stem_see_beyond_what_was_masked_and_patches_do_not():
    found = features_see_beyond(10, 0)
    assert found.word == "supported" and "20 trials" in found.parts
    generator = torch.Generator().manual_seed(3)
    assert reaches(1, True, generator) > 0 == reaches(1, False, generator)


def test_a_stem_that_sees_its_own_cell_only_would_refute_it(monkeypatch):
    import mae_lib.ledger.world_rules as rules

    make = rules.world_encoder
    monkeypatch.setattr(rules, "world_encoder",
                        lambda *sizes, stem: make(*sizes, stem=False))
    assert features_see_beyond(4, 0).word == "not supported"
