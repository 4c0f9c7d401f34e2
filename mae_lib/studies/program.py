"""Which measurements a tier consists of, in the order in which they are best computed."""

from __future__ import annotations

from mae_lib.studies.plan import ARMS, Plan
from mae_lib.studies.pretraining import PRETRAINING
from mae_lib.studies.probing import LINEAR_PROBE, PIXEL_PROBE
from mae_lib.studies.reconstruction import FLOORS, RECONSTRUCTION
from mae_lib.studies.settings import Setting, one_each
from mae_lib.studies.study import Study


def program(plan: Plan) -> dict[Study, list[Setting]]:
    """Every study of a tier with its settings; trainings, on which the rest depends, come first."""
    series = list(dict.fromkeys(plan.core + plan.coupled_series))
    arms = {name: plan.arm(name) for name in ARMS}
    trained = list(dict.fromkeys(series + sum(arms.values(), [])))
    once = one_each(plan.core)
    return {PRETRAINING: trained, FLOORS: once, PIXEL_PROBE: once,
            RECONSTRUCTION: series + plan.untrained + arms["normalised"] + arms["equal tokens"],
            LINEAR_PROBE: trained + plan.untrained}
