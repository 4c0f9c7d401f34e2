"""What training costs: multiplications counted, and times as the committed benchmark has them.

The benchmark is ``benchmarks/masking_cost.py``. It times all models in turns, round by round, so
that a round compares them on one machine under one load. Its results are read, never recomputed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mae_lib import runs
from mae_lib.ledger.outcomes import COUPLED
from mae_lib.ledger.statistics import Interval, t_interval
from mae_lib.models.cost import autoencoder_macs
from mae_lib.models.methods import PRESETS
from mae_lib.studies import Plan

RESULTS = runs.ROOT / "benchmarks" / "results" / "masking_cost.json"
SECONDS = "step cpu s, by round"
PAPERS_MODEL = "vit_base_patch16"


def step_seconds(sweep: str, preset: str) -> dict[float, list[float]]:
    """CPU seconds of a training step on one thread, ``{level: one value a round}``.

    Empty if there is no benchmark of that preset. CPU seconds are those of the wall clock on a
    machine that does nothing else.

    Args:
        sweep: ``"ratios"`` or ``"coupled patches"``, whose levels are pixels.
    """
    runs.note_read(RESULTS)
    if not RESULTS.exists():
        return {}
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    if found["provenance"].get("preset") != preset:
        return {}
    return {float(row["level"]): row[SECONDS] for row in found[sweep]}


def seconds_of_patches(plan: Plan) -> list[tuple]:
    """Rows for :func:`mae_lib.measurements.measurements`: seconds of a training step by patch, the
    same for every data set. A round of the benchmark stands for a run."""
    timed = step_seconds("coupled patches", plan.preset)
    return [(dataset, COUPLED, patch, number, "seconds", value)
            for dataset in plan.datasets for patch in plan.patches
            for number, value in enumerate(timed.get(patch, ()))]


def cost_of_ratios(ratios: Sequence[float], preset: str) -> pd.DataFrame:
    """One row a ratio: millions of multiplications of an image's forward pass, and how many times
    those, and the time of a training step, are of the lowest ratio's.

    Times have 95 % t intervals over the rounds and are missing where none were measured.
    """
    timed, least = step_seconds("ratios", preset), min(ratios)
    rows = []
    for ratio in sorted(ratios):
        own, first = (autoencoder_macs(PRESETS[preset], r) for r in (ratio, least))
        large, largest = (autoencoder_macs(PRESETS[PAPERS_MODEL], r) for r in (ratio, least))
        rows.append({"ratio": ratio, "encoder": own.encoder / first.encoder,
                     "encoder of ViT-B/16": large.encoder / largest.encoder,
                     "whole model": own.total / first.total,
                     "training step, timed": _text(multiples(timed, ratio, least))})
    return pd.DataFrame(rows)


def multiples(timed: Mapping[float, Sequence[float]], level: float, reference: float
              ) -> Interval | None:
    """How many times the reference's a level's seconds are, paired by round; None if untimed."""
    if not {level, reference} <= timed.keys():
        return None
    return t_interval(np.divide(timed[level], timed[reference]))


def _text(found: Interval | None) -> str:
    return "–" if found is None else f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"
