"""What training costs: multiplications counted, and times as the committed benchmark has them.

The benchmarks are ``benchmarks/masking_cost.py`` and ``methods.py`` beside it. They time all models
in turns, round by round, so that a round compares them on one machine under one load. Their results
are read, never recomputed. CPU seconds are those of the wall clock on an idle machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mae_lib import runs
from mae_lib.ledger import design_rows
from mae_lib.ledger.outcomes import COUPLED, METHOD
from mae_lib.ledger.rows import MAE as PLAIN
from mae_lib.ledger.statistics import Interval, t_interval
from mae_lib.models.cost import autoencoder_macs, method_macs
from mae_lib.models.family import MAE, TOKENS
from mae_lib.models.methods import PRESETS
from mae_lib.studies import Plan, Setting
from mae_lib.studies.settings import SIZES

RESULTS = runs.ROOT / "benchmarks" / "results"
SECONDS = "step cpu s, by round"
PAPERS_MODEL, SHALLOW = "vit_base_patch16", "mae, decoder of one block"
# What the benchmark calls the contenders of claim S-12, and where the ledger has them.
TIMED = {MAE: (METHOD, PLAIN), TOKENS: (METHOD, design_rows.TOKENS),
         SHALLOW: (design_rows.DEPTH, 1.0)}


def step_seconds(sweep: str, preset: str) -> dict[float, list[float]]:
    """CPU seconds of a training step on one thread, ``{level: one value a round}``.

    Empty if there is no benchmark of that preset.

    Args:
        sweep: ``"ratios"`` or ``"coupled patches"``, whose levels are pixels.
    """
    return {float(row["level"]): row[SECONDS] for row in _timed("masking_cost", sweep, preset)}


def method_seconds(preset: str) -> dict[str, list[float]]:
    """The same of every method, by its name in :mod:`mae_lib.models`."""
    return {row["name"]: row[SECONDS] for row in _timed("methods", "methods", preset)}


def seconds_of_steps(plan: Plan) -> list[tuple]:
    """Rows for :func:`mae_lib.measurements.measurements`: seconds of a training step by patch and
    by method, the same for every data set. A round of the benchmark stands for a run."""
    patches, methods = step_seconds("coupled patches", plan.preset), method_seconds(plan.preset)
    found = [(dataset, (COUPLED, patch), patches.get(patch, ()))
             for dataset in plan.datasets for patch in plan.patches]
    found += [(dataset, place, methods.get(name, ()))
              for dataset in plan.method_datasets for name, place in TIMED.items()]
    return [(dataset, *place, number, "seconds", value)
            for dataset, place, values in found for number, value in enumerate(values)]


def _timed(name: str, part: str, preset: str) -> list[dict]:
    """Rows of a benchmark's results if there are any of this preset."""
    path = RESULTS / f"{name}.json"
    runs.note_read(path)
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return found[part] if found and found["provenance"].get("preset") == preset else []


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


def step_macs(setting: Setting) -> int:
    """Multiplications of a training step, for one image."""
    return method_macs(setting.method or MAE, setting.shape, setting.ratio, augment=setting.augment,
                       batch=setting.batch).step


def cost_table(rows: Mapping[str, Setting], reference: str) -> pd.DataFrame:
    """One row a row: millions of multiplications of a training step and image, and how many times
    the reference's those are, those of the whole training, and the time of a step.

    Times have 95 % t intervals over the rounds and are missing where none were measured; they are
    of the benchmark's own masking ratio.
    """
    least, timed = rows[reference], method_seconds(rows[reference].preset)
    counted = {row: step_macs(setting) for row, setting in rows.items()}
    return pd.DataFrame([{
        "pretraining": row, "step (million)": counted[row] / 1e6,
        "step, times": counted[row] / counted[reference],
        "whole training, times": counted[row] * setting.views / counted[reference] / least.views,
        "step, timed": _text(multiples(timed, _timed_as(setting), _timed_as(least)))}
        for row, setting in rows.items()])


def _timed_as(setting: Setting) -> str:
    """What the benchmark calls a setting's method; empty if it does not time it."""
    changed = {name for name in (*SIZES, "sampling", "augment") if getattr(setting, name)}
    if changed == {"decoder_depth"} and setting.decoder_depth == 1 and not setting.method:
        return SHALLOW
    return "" if changed else setting.method or MAE


def multiples(timed: Mapping[float | str, Sequence[float]], level: float | str,
              reference: float | str) -> Interval | None:
    """How many times the reference's a level's seconds are, paired by round; None if untimed."""
    if not {level, reference} <= timed.keys():
        return None
    return t_interval(np.divide(timed[level], timed[reference]))


def _text(found: Interval | None) -> str:
    return "–" if found is None else f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"
