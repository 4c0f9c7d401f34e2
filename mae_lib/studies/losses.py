"""How a training went, in a few numbers: what is kept of runs whose weights are not published."""

from __future__ import annotations

from mae_lib.evaluation.convergence import LAST, loss_slope, thinned
from mae_lib.evaluation.records import EvalRecord, to_value
from mae_lib.studies.pretraining import PRETRAINING
from mae_lib.studies.settings import Setting, without_seed
from mae_lib.studies.study import Study


def _losses(setting: Setting, if_stale: str) -> dict:
    run = PRETRAINING(setting, if_stale=if_stale)
    losses = run.value["losses"]
    numbers = {"final loss": losses[-round(LAST * len(losses)):].mean(),
               "loss slope": loss_slope(losses)}
    records = [EvalRecord(without_seed(setting), setting.seed, setting.dataset, "train", "training",
                          name, float(value), len(losses)) for name, value in numbers.items()]
    return {**to_value(records), "curve": thinned(losses),
            "training seconds": run.provenance["seconds"]}


LOSSES = Study("losses", _losses, ("mae_lib.evaluation.convergence",))
