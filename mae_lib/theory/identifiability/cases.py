"""The cases of the experiment, and what the theory expects of each."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from mae_lib.theory.identifiability.estimators import Estimator, fit
from mae_lib.theory.identifiability.scores import scores
from mae_lib.theory.identifiability.worlds import world

COMPARE = {">": operator.gt, "<": operator.lt}


@dataclass(frozen=True)
class Case:
    """One world and one estimator.

    ``expected`` holds bounds such as ``{"code > c": (">", 0.95)}``; ``trained`` False keeps the
    initial weights.
    """

    world: str = "leaky"
    loss: str = "mse"
    size: int = 2
    sees: str = "code"
    trained: bool = True
    expected: Mapping[str, tuple[str, float]] = field(default_factory=dict)


# The bounds were fixed before the experiment; they leave room for the spread between seeds.
_BOTH = {"code > c": (">", 0.95), "c > code": (">", 0.95)}
_ALONE = {"code > s_m": ("<", 0.05), "leak": ("<", 0.05)}
CASES = {
    "no training": Case(trained=False, expected={"code > c": ("<", 0.85)}),
    "squared error": Case(expected=_BOTH | _ALONE),
    "energy": Case(loss="energy", expected=_BOTH | _ALONE),
    "energy, invertible": Case(loss="invertible", expected={
        "code > c": (">", 0.9), "c > code": (">", 0.9)}),
    "squared error, linear world": Case("linear", expected=_BOTH | _ALONE),
    "squared error, latent graph": Case("graph", expected=_BOTH | _ALONE),
    "code too small": Case(size=1, expected={"code > c": ("<", 0.75), "c > code": (">", 0.9)}),
    "code too large": Case(size=4, expected={
        "code > c": (">", 0.95), "c > code": ("<", 0.9), "leak": (">", 0.1)}),
    "code too large, energy": Case(loss="energy", size=4, expected={
        "code > c": (">", 0.95), "c > code": ("<", 0.9), "leak": (">", 0.1)}),
    "mean zero": Case("mean zero", expected={"variance": ("<", 1e-3)}),
    "mean zero, energy": Case("mean zero", "energy", expected={"code > c": (">", 0.88)}),
    "biased sign": Case("biased sign", expected=_BOTH),
    "s_m depends on c": Case("s_m on c", expected=_BOTH),
    "s_m depends on s_mc": Case("s_m on s_mc", expected={
        "code > c": ("<", 0.95), "c > code": ("<", 0.95)}),
    "s_m depends on s_mc, energy, large": Case("s_m on s_mc", "energy", 4, expected={
        "code > s_mc": (">", 0.9)}),
    "decoder sees a projection": Case(sees="projection", expected={"code > c": ("<", 0.85)}),
    "decoder sees the magnitude": Case(sees="magnitude", expected=_BOTH),
    "half of c": Case("half of c", expected={"code > c": ("<", 0.65)}),
}


def run(name: str, seed: int, steps: int) -> dict[str, float]:
    """Train and score one case; deterministic in its arguments.

    Raises:
        ValueError: an unknown case, or less than one step.
    """
    if name not in CASES or steps < 1:
        raise ValueError(f"name must be a case of at least one step, got {name!r} and {steps}")
    case = CASES[name]
    drawn = world(case.world, 2 * seed)
    probe = drawn(1, torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        estimator = Estimator(probe.x_mc.shape[1], probe.x_m.shape[1], case.size, case.loss,
                              case.sees)
    if case.trained:
        fit(estimator, drawn, steps, 3 * seed + 1)
    return scores(estimator, drawn, 3 * seed + 2)


def as_expected(name: str, found: Mapping[str, float]) -> dict[str, bool]:
    """Which of the bounds that the theory sets for a case hold."""
    return {score: COMPARE[sign](found[score], bound)
            for score, (sign, bound) in CASES[name].expected.items()}
