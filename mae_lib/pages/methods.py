"""What the chapters on Kong and Zhang (CVPR 2023) share: methods compared, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pandas as pd

from mae_lib import studies
from mae_lib.ledger.summary import only, summarise, with_interval
from mae_lib.models.family import MAE, is_autoencoder
from mae_lib.studies import Plan, Study, Sweep
from mae_lib.studies.family import Rows

PAPER = "Kong and Zhang"


class Measure(NamedTuple):
    """Where a number stands among a study's records; ``factor`` brings it to the shown unit."""

    study: Study
    protocol: str
    metric: str = "accuracy"
    factor: float = 100
    digits: int = 1


MEASURES = {
    "linear probe (%)": Measure(studies.LINEAR_PROBE, "linear probe, cls"),
    "linear probe, mean token (%)": Measure(studies.LINEAR_PROBE, "linear probe, mean"),
    "fine-tuned (%)": Measure(studies.FINETUNING, "fine-tuned"),
    "few labels (%)": Measure(studies.FEW_LABELS, "few labels"),
    "PSNR (dB)": Measure(studies.RECONSTRUCTION, "own masks, pasted", "psnr", 1, 2),
    "PSNR, hidden (dB)": Measure(studies.RECONSTRUCTION, "own masks, hidden", "psnr", 1, 2)}


def measured(plan: Plan, rows: Rows, *measures: str) -> tuple[pd.DataFrame, list[Sweep]]:
    """Rows of a table with these ``MEASURES``, and the sweeps that they came from.

    One row a row of the table and measure: ``row``, ``measure``, ``dataset``, ``value``, ``low``,
    ``high`` (95 %), ``seeds``, ``text`` ("mean [low, high]"). Intervals are over training runs, or
    over images if there is only one. A method without the quantity has no row.
    """
    parts, sweeps = [], []
    for name in measures:
        kind = MEASURES[name]
        for row, settings in rows.items():
            if kind.study is studies.RECONSTRUCTION:
                settings = [s for s in settings if s.views and is_autoencoder(s.method or MAE)]
            if not settings:
                continue
            sweeps.append(plan.sweep(kind.study, settings))
            found = only(summarise(sweeps[-1].records), protocol=kind.protocol, metric=kind.metric)
            parts.append(found.assign(
                row=row, measure=name, text=with_interval(found, kind.digits, kind.factor),
                **{c: found[c] * kind.factor for c in ("value", "low", "high")}))
    keep = ["row", "measure", "dataset", "value", "low", "high", "over", "seeds", "text"]
    return pd.concat(parts, ignore_index=True)[keep], sweeps


def beside(found: pd.DataFrame, printed: Mapping[str, Mapping[str, float]] | None = None,
           head: str = "pretraining") -> pd.DataFrame:
    """One row a row of the table: ours with intervals, the paper's number beside each measure.

    Args:
        found: of :func:`measured`, on one data set.
        printed: ``{measure: {row: number}}``.
        head: what the first column is called.
    """
    wide = found.pivot_table("text", "row", "measure", aggfunc="first", sort=False)
    order = list(dict.fromkeys(found.row))
    table = pd.DataFrame({head: order})
    for measure in dict.fromkeys(found.measure):
        table[f"ours, {measure}"] = wide[measure].reindex(order).to_numpy()
        if printed and measure in printed:
            table[f"{PAPER}, {measure}"] = [printed[measure].get(row) for row in order]
    return table


def gaps(plan: Plan, rows: Rows, measure: str, pairs: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """How far the first row of each pair lies above the second, run by run: mean and every run.
    """
    kind = MEASURES[measure]
    values = {name: {r.seed: kind.factor * r.value
                     for r in plan.sweep(kind.study, rows[name]).records
                     if (r.protocol, r.metric) == (kind.protocol, kind.metric)}
              for name in {name for pair in pairs for name in pair}}
    found = []
    for a, b in pairs:
        both = sorted(values[a].keys() & values[b].keys())
        runs = pd.Series([values[a][s] - values[b][s] for s in both])
        found.append({"difference": f"{a} less {b}", "mean": runs.mean(),
                      "each run": ", ".join(f"{v:+.{kind.digits}f}" for v in runs)})
    return pd.DataFrame(found)
