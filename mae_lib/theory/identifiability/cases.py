"""The cases of the experiment: a world and an estimator each, trained and scored."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mae_lib.theory.families import FIGURE4_MASKS, figure4
from mae_lib.theory.identifiability.estimators import Estimator, fit
from mae_lib.theory.identifiability.graph_world import graph_world
from mae_lib.theory.identifiability.scores import scores
from mae_lib.theory.identifiability.worlds import World, world


@dataclass(frozen=True)
class Case:
    """One world and one estimator.

    ``world``: a name as in :func:`mae_lib.theory.identifiability.worlds.world`, or ``"graph"`` for
    Figure 4 under its third mask. ``loss``, ``size``, ``sees``: see :class:`Estimator`; ``trained``
    False keeps the initial weights.
    """

    world: str = "leaky"
    loss: str = "mse"
    size: int = 2
    sees: str = "code"
    trained: bool = True


CASES = {
    "no training": Case(trained=False),
    "squared error": Case(),
    "energy": Case(loss="energy"),
    "energy, invertible": Case(loss="invertible"),
    "squared error, linear world": Case("linear"),
    "squared error, latent graph": Case("graph"),
    "code too small": Case(size=1),
    "code too large": Case(size=4),
    "code too large, energy": Case(loss="energy", size=4),
    "mean zero": Case("mean zero"),
    "mean zero, energy": Case("mean zero", "energy"),
    "biased sign": Case("biased sign"),
    "s_m depends on c": Case("s_m on c"),
    "s_m depends on s_mc": Case("s_m on s_mc"),
    "s_m depends on s_mc, energy, large": Case("s_m on s_mc", "energy", 4),
    "decoder sees a projection": Case(sees="projection"),
    "decoder sees the magnitude": Case(sees="magnitude"),
    "half of c": Case("half of c"),
}


def run(name: str, seed: int, steps: int) -> dict[str, float]:
    """Train and score one case; deterministic in its arguments.

    Raises:
        ValueError: an unknown case, or less than one step.
    """
    if name not in CASES or steps < 1:
        raise ValueError(f"name must be a case of at least one step, got {name!r} and {steps}")
    case = CASES[name]
    drawn = _world(case.world, 2 * seed)
    probe = drawn(1, torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        estimator = Estimator(probe.x_mc.shape[1], probe.x_m.shape[1], case.size, case.loss,
                              case.sees)
    if case.trained:
        fit(estimator, drawn, steps, 3 * seed + 1)
    return scores(estimator, drawn, 3 * seed + 2)


def _world(name: str, seed: int) -> World:
    if name == "graph":
        return graph_world(figure4(), FIGURE4_MASKS["between"], seed)
    return world(name, seed)
