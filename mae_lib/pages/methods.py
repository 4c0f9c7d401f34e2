"""Methods compared, row by row, with what papers print of them beside it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from mae_lib import figures, studies
from mae_lib.evaluation.records import EvalRecord, paired_items
from mae_lib.ledger.statistics import Interval, t_interval
from mae_lib.ledger.summary import only, summarise, with_interval
from mae_lib.models.family import MAE, is_autoencoder
from mae_lib.studies import Plan, Setting, Study, Sweep
from mae_lib.studies.family import Rows
from mae_lib.studies.settings import DATASETS, DRAWN_AS

KONG_ZHANG = "Kong and Zhang"


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
    "from scratch (%)": Measure(studies.FROM_SCRATCH, "from scratch"),
    "PSNR (dB)": Measure(studies.RECONSTRUCTION, "own masks, pasted", "psnr", 1, 2),
    "PSNR, hidden (dB)": Measure(studies.RECONSTRUCTION, "own masks, hidden", "psnr", 1, 2),
    "effective rank": Measure(studies.OCCLUSION, "occlusion, mean token, levelled",
                              "effective rank", 1),
    # Of clips, whose encoders need not have a class token.
    "class of the clip (%)": Measure(studies.LINEAR_PROBE, "linear probe, mean"),
    "motion of the clip (%)": Measure(studies.MOTION, "motion probe, mean"),
    "clips fine-tuned (%)": Measure(studies.CLIP_TUNING, "clips fine-tuned"),
    "J&F": Measure(studies.PROPAGATION, "label propagation", "j&f", 1, 3)}
KEPT = ["row", "measure", "panel", "dataset", "value", "low", "high", "over", "seeds", "text"]
Printed = Mapping[str, Mapping[str, float]]


def measured(plan: Plan, rows: Rows, *measures: str) -> tuple[pd.DataFrame, list[Sweep]]:
    """Rows of a table with these ``MEASURES``, and the sweeps that they came from.

    One row a row of the table, measure and data set: ``row``, ``measure``, ``panel`` (the measure,
    with its data set where there are several), ``dataset`` (its key), ``value``, ``low``, ``high``
    (95 %), ``seeds``, ``text`` ("mean [low, high]"). Intervals are over training runs, or over
    images if there is only one. A method without the quantity has no row.

    Raises:
        ValueError: an unknown measure; rows without any run.
    """
    parts, sweeps = [], {}
    for name in measures:
        kind = _kind(name)
        for row, settings in rows.items():
            settings, place = [s for s in settings if _has(kind, s)], (kind.study.kind, row)
            if settings and place not in sweeps:
                sweeps[place] = plan.sweep(kind.study, settings)
            if settings:
                parts += [part.assign(row=row, measure=name)
                          for part in _by_set(sweeps[place], kind)]
    if not parts:
        raise ValueError("rows must hold runs to compare, got none: a checkpoint has none")
    found = pd.concat(parts, ignore_index=True)
    several = found.dataset.nunique() > 1
    name = found.dataset.map(DATASETS) + ": " if several else ""
    return found.assign(panel=name + found.measure)[KEPT], list(sweeps.values())


def beside(found: pd.DataFrame, printed: Printed | None = None, head: str = "pretraining",
           by: str = KONG_ZHANG, rows: Iterable[str] | None = None) -> pd.DataFrame:
    """One row a row of the table: ours with intervals, the paper's number beside each measure.

    Args:
        found: of :func:`measured`, on one data set.
        printed: ``{measure: {row: number}}``, as of :func:`mae_lib.pages.papers.printed`.
        head: what the first column is called.
        by: who printed the numbers.
        rows: in this order, those of ours that were not measured included; as found if None.
    """
    wide = found.pivot_table("text", "row", "measure", aggfunc="first", sort=False)
    order = list(dict.fromkeys(found.row if rows is None else rows))
    table = pd.DataFrame({head: order})
    for measure in dict.fromkeys(found.measure):
        table[f"ours, {measure}"] = wide[measure].reindex(order).to_numpy()
        if printed and measure in printed:
            table[f"{by}, {measure}"] = [printed[measure].get(row) for row in order]
    return table


def tables(found: pd.DataFrame, caption: str, printed: Printed | None = None,
           head: str = "pretraining", by: str = KONG_ZHANG) -> str:
    """:func:`beside` as HTML, a table a data set, named in the caption where there are several."""
    parts = list(found.groupby("dataset", sort=False))
    of = {name: f"{DATASETS[name]}: " if len(parts) > 1 else "" for name, _ in parts}
    return "".join(figures.table(beside(part, printed, head, by), of[name] + caption, digits=1)
                   for name, part in parts)


def gaps(plan: Plan, rows: Rows, measure: str, pairs: Iterable[tuple[str, str]],
         printed: Printed | None = None, by: str = KONG_ZHANG) -> pd.DataFrame:
    """How far the first row of each pair lies above the second, run by run: mean and every run.

    ``95 % interval`` is of the mean over training runs; of a single run it is over test images,
    paired, since both rows answer the same ones. ``data set`` is there if there are several.
    With ``printed`` the paper's difference stands last.

    Raises:
        ValueError: an unknown measure; a single run of a measure without a value an image.
    """
    pairs, kind, found = list(pairs), _kind(measure), []
    held = {name: by_run(plan.sweep(kind.study, rows[name]), kind)
            for name in dict.fromkeys(name for pair in pairs for name in pair)}
    sets = list(dict.fromkeys(data for runs in held.values() for data, _ in runs))
    for data, (a, b) in ((data, pair) for data in sets for pair in pairs):
        both = sorted(run for run in held[a].keys() & held[b].keys() if run[0] == data)
        found.append({"data set": DATASETS[data], "difference": f"{a} less {b}",
                      **_gap([(held[a][run], held[b][run]) for run in both], kind),
                      by: _printed_gap((printed or {}).get(measure, {}), a, b)})
    absent = ["data set"] * (len(sets) < 2) + [by] * (printed is None)
    return pd.DataFrame(found).drop(columns=absent)


def gaps_by_measure(plan: Plan, rows: Rows, measures: Iterable[str],
                    pairs: Iterable[tuple[str, str]], printed: Printed | None = None,
                    by: str = KONG_ZHANG) -> pd.DataFrame:
    """:func:`gaps` of several measures as one table, pair by pair."""
    pairs = list(pairs)
    parts = {m: gaps(plan, rows, m, pairs, printed, by) for m in measures}
    found = pd.concat(parts, names=["measure"]).reset_index("measure").sort_index(kind="stable")
    found.insert(0, "difference", found.pop("difference"))
    return found.reset_index(drop=True)


def spread(seeds: Collection[int]) -> str:
    """What the intervals over one run a seed of each row are, for captions."""
    if (runs := len(seeds)) > 1:
        return f"95 % intervals over {runs} training runs a row."
    return ("One training run a row: 95 % intervals are over test images and say nothing about "
            "another run.")


def with_printed(found: pd.DataFrame, printed: Printed) -> pd.DataFrame:
    """Rows of :func:`measured` with the ``paper``'s number, missing where there is none, as
    :func:`mae_lib.figures.dots` draws them."""
    numbers = [printed.get(measure, {}).get(row)
               for measure, row in zip(found.measure, found.row, strict=True)]
    return found.assign(paper=pd.Series(numbers, found.index, dtype=float))


def _kind(measure: str) -> Measure:
    if measure not in MEASURES:
        raise ValueError(f"measure must be one of {', '.join(MEASURES)}, got {measure!r}")
    return MEASURES[measure]


def _has(kind: Measure, setting: Setting) -> bool:
    """Only what was trained to reconstruct has a reconstruction."""
    return kind.study is not studies.RECONSTRUCTION or bool(
        setting.views and is_autoencoder(setting.method or MAE))


def _by_set(sweep: Sweep, kind: Measure) -> Iterable[pd.DataFrame]:
    """Mean and interval of each data set, under its key: records name the images themselves."""
    for data in dict.fromkeys(s.dataset for s in sweep.settings):
        part = sweep.of(s for s in sweep.settings if s.dataset == data)
        found = only(summarise(part.records), protocol=kind.protocol, metric=kind.metric)
        yield found.assign(dataset=DRAWN_AS.get(data, data),
                           text=with_interval(found, kind.digits, kind.factor),
                           **{c: found[c] * kind.factor for c in ("value", "low", "high")})


def by_run(sweep: Sweep, kind: Measure) -> dict[tuple[str, int], EvalRecord]:
    """The record of each training run, by data set and seed; clips stand with their pictures."""
    return {(DRAWN_AS.get(setting.dataset, setting.dataset), setting.seed): record
            for setting, result in zip(sweep.settings, sweep.results, strict=True)
            for record in studies.records(result) if record.status == "ok"
            and (record.protocol, record.metric) == (kind.protocol, kind.metric)}


def _gap(runs: list[tuple[EvalRecord, EvalRecord]], kind: Measure) -> dict[str, object]:
    """Mean of a - b, its interval, and each run's."""
    values = [kind.factor * (a.value - b.value) for a, b in runs]
    if len(values) > 1:
        found = t_interval(values)
    elif values:
        found = _over_images(*paired_items(*runs[0]), kind.factor)
    else:
        found = Interval(np.nan, np.nan, np.nan)
    limits = f"[{found.low:+.{kind.digits}f}, {found.high:+.{kind.digits}f}]" if values else "–"
    return {"mean": found.mean, "95 % interval": limits,
            "each run": ", ".join(f"{v:+.{kind.digits}f}" for v in values)}


def _over_images(a: np.ndarray, b: np.ndarray, factor: float) -> Interval:
    """Normal interval of the mean difference of the same images."""
    values = factor * (np.asarray(a, float) - np.asarray(b, float))
    half = stats.norm.ppf(0.975) * stats.sem(values)
    return Interval(*(float(values.mean() + sign * half) for sign in (0, -1, 1)))


def _printed_gap(numbers: Mapping[str, float], a: str, b: str) -> float:
    return round(numbers[a] - numbers[b], 1) if {a, b} <= numbers.keys() else np.nan
