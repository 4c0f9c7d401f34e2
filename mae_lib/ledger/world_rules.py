"""The rules of the talk's claims about masked world models: errors by object size, and what masked
features still know."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from mae_lib.ledger.comparisons import Test
from mae_lib.ledger.outcomes import NoVerdict, Outcomes
from mae_lib.ledger.single_rules import untested
from mae_lib.ledger.verdicts import NOT_TESTED, Verdict, exact, trend, weakest
from mae_lib.models.masks import random_mask
from mae_lib.models.worlds.presets import WORLDS
from mae_lib.models.worlds.stem import mask_features, world_encoder

GAMES = "atari"  # the data set of outcomes on games, all of them together
PATCHES, FEATURES, REWARDED = "masked patches", "masked features", "masked features and reward"
RATIO = 0.75


def object_error(game: str) -> str:
    """Outcome: error of hidden objects of a game over the background's; levels are areas in
    pixels, the series the network."""
    return f"object error, {game}"


def smaller_is_worse(name: str) -> Test:
    """S-21: in every game the error of hidden objects, relative to the background's, rises as their
    area falls. Errors are compared by their logarithms, so that a tenth is a tenth anywhere."""
    def test(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
        outcomes = sorted(o for o in found.outcomes() if o.startswith(object_error("")))
        parts = {outcome: _by_area(found, outcome, name, sesoi[0]) for outcome in outcomes}
        if not parts:
            raise NoVerdict(NOT_TESTED, "no measurement of objects in games")
        return weakest(parts)
    return test


def _by_area(found: Outcomes, outcome: str, name: str, least: float) -> Verdict:
    areas = found.levels(outcome, name)[::-1]
    if len(areas) < 3:
        raise NoVerdict(NOT_TESTED, f"needs objects of three sizes, has {len(areas)}")
    table = found.table(outcome, {area: (name, area) for area in areas})
    return trend(pd.DataFrame(np.log(table)), areas, least)


def features_see_beyond(draws: int, seed: int) -> Verdict:
    """S-30: for random networks and masks, kept tokens of a stem depend on pixels of dropped cells,
    and those of a patch projection do not. A draw is one of each."""
    generator, wrong = torch.Generator().manual_seed(seed), 0
    for draw in range(draws):
        wrong += reaches(draw + seed, True, generator) == 0
        wrong += reaches(draw + seed, False, generator) != 0
    return exact(wrong, 2 * draws)


def reaches(seed: int, stem: bool, generator: torch.Generator) -> float:
    """Largest gradient of the kept tokens of a random picture to a pixel of a dropped cell."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        encoder = world_encoder(WORLDS["toy"], (0.5,) * 3, (0.25,) * 3, stem=stem)
    image = torch.rand(1, 3, *encoder.size, generator=generator).requires_grad_()
    mask = random_mask(1, encoder.grid, RATIO, generator=generator)
    mask_features(encoder, encoder.patches(image), mask).square().sum().backward()
    cells = image.grad.abs().sum(1).unfold(1, encoder.patch, encoder.patch).unfold(
        2, encoder.patch, encoder.patch).flatten(3).amax(-1).flatten(1)
    return float(cells.gather(1, mask.hidden).max())


RULES: Mapping[str, tuple[Test, Mapping[str, Test]]] = {
    "S-21": (smaller_is_worse(PATCHES), {
        "where features are masked": smaller_is_worse(FEATURES),
        "and the reward is predicted": smaller_is_worse(REWARDED)}),
    "S-22": (untested("needs agents, MWM's and CURL's, trained by reinforcement learning"), {})}
