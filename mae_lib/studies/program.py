"""Which measurements a tier consists of, in the order in which they are best computed."""

from __future__ import annotations

from mae_lib.studies.attention import ATTENTION
from mae_lib.studies.detection import DETECTION
from mae_lib.studies.embedding import EMBEDDING, PIXEL_EMBEDDING
from mae_lib.studies.latents import LATENTS, PIXEL_LATENTS
from mae_lib.studies.locality import LOCALITY
from mae_lib.studies.losses import LOSSES
from mae_lib.studies.plan import ARMS, Plan
from mae_lib.studies.pretraining import PRETRAINING
from mae_lib.studies.probing import LARS_PROBE, LINEAR_PROBE, PIXEL_PROBE
from mae_lib.studies.reconstruction import FLOORS, RECONSTRUCTION
from mae_lib.studies.robustness import FILTER_NETWORK, ROBUSTNESS
from mae_lib.studies.settings import Setting, one_each
from mae_lib.studies.shape_bias import SHAPE_BIAS
from mae_lib.studies.similarity import CROSS_CKA
from mae_lib.studies.study import Study


def program(plan: Plan) -> dict[Study, list[Setting]]:
    """Every study of a tier with its settings; trainings, on which the rest depends, come first."""
    series = _once(plan.core + plan.coupled_series)
    trained = _once(series + [s for name in ARMS for s in plan.arm(name)])
    controls = _once(plan.core + plan.untrained)
    sets = one_each(plan.core)
    return {PRETRAINING: trained, FILTER_NETWORK: sets, LOSSES: trained,
            FLOORS: sets, PIXEL_PROBE: sets, PIXEL_EMBEDDING: sets, PIXEL_LATENTS: sets,
            RECONSTRUCTION: _once(trained + plan.untrained),
            LINEAR_PROBE: _once(trained + plan.untrained),
            LARS_PROBE: [s for s in plan.ratio_series if s.seed == min(plan.seeds)],
            ROBUSTNESS: _once(series + plan.untrained),
            SHAPE_BIAS: [s for s in controls if s.dataset == "menagerie"],
            ATTENTION: controls, EMBEDDING: _once(series + plan.untrained),
            LATENTS: _once(series + plan.untrained), LOCALITY: controls,
            CROSS_CKA: [s for seed in plan.seeds
                        for s in one_each(s for s in plan.core if s.seed == seed)],
            DETECTION: plan.detected}


def _once(settings: list[Setting]) -> list[Setting]:
    return list(dict.fromkeys(settings))
