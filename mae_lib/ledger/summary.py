"""Many records as one table of means and intervals, and the order of the settings in it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import stats

from mae_lib.evaluation.records import EvalRecord, frame
from mae_lib.ledger.statistics import Interval, t_interval, wilson

# Columns that a summary has even if nothing was tested.
ALWAYS = ("dataset", "preset", "ratio", "unit", "protocol", "metric", "value", "low", "high",
          "over", "seeds", "n")


def summarise(records: Iterable[EvalRecord]) -> pd.DataFrame:
    """One row for each setting, data set, protocol and metric, means over seeds.

    Columns besides the setting's: ``value``, ``low``, ``high`` (95 %), ``seeds``, ``n``, and
    ``over``: ``"runs"`` for a t interval over seeds; ``"images"`` where there is a single seed, and
    then the interval says nothing about another training run. Records that were not tested are
    left out.

    Raises:
        ValueError: two records of one seed that the columns do not tell apart, as those of two
            splits: one would count as a second run.
    """
    tested = [record for record in records if record.status == "ok"]
    if not tested:
        return pd.DataFrame(columns=list(ALWAYS))
    table = frame(tested).assign(record=tested)
    own = {"seed", "value", "record", "status", "reason", "n", "split"}
    keys = [column for column in table.columns if column not in own]
    rows = [dict(zip(keys, key, strict=True)) | _interval(list(group.record))
            for key, group in table.groupby(keys, sort=False, dropna=False)]
    return pd.DataFrame(rows)


def ordering(table: pd.DataFrame, factor: str, value: str = "value") -> str:
    """The values of a factor in ascending order of what was measured: ``"0.1 < 0.5 < 0.25"``."""
    return " < ".join(f"{x:g}" for x in table.sort_values(value)[factor])


def with_interval(table: pd.DataFrame, digits: int = 2, scale: float = 1) -> pd.Series:
    """Each row as ``"mean [low, high]"``; the mean alone where there is no interval."""
    texts = [_text(row, digits, scale) for _, row in table.iterrows()]
    return pd.Series(texts, table.index, dtype=object)


def only(table: pd.DataFrame, **values) -> pd.DataFrame:
    """Rows in which each named column has the value, or one of the values, given."""
    for column, wanted in values.items():
        chosen = list(wanted) if isinstance(wanted, list | tuple) else [wanted]
        table = table[table[column].isin(chosen)]
    return table


def _interval(group: list[EvalRecord]) -> dict:
    if len({record.seed for record in group}) < len(group):
        one, splits = group[0], sorted({record.split for record in group})
        raise ValueError(f"records must hold one value a seed, got {len(group)} of {one.metric!r} "
                         f"in {one.protocol!r} from splits {splits}")
    if len(group) > 1:
        found, over = t_interval([record.value for record in group]), "runs"
    else:
        found, over = _over_items(group[0]), "images"
    return {"value": found.mean, "low": found.low, "high": found.high, "over": over,
            "seeds": len(group), "n": group[0].n}


def _over_items(record: EvalRecord) -> Interval:
    """Wilson's interval of an accuracy, the normal interval of any other mean over images."""
    if record.items is None or len(record.items) < 2:
        return Interval(record.value, np.nan, np.nan)
    if record.metric == "accuracy":
        return wilson(int(round(float(np.sum(record.items)))), record.n)
    items = np.asarray(record.items, np.float64)
    half = stats.norm.ppf(0.975) * items.std(ddof=1) / np.sqrt(len(items))
    return Interval(record.value, record.value - half, record.value + half)


def _text(row: pd.Series, digits: int, scale: float) -> str:
    mean = f"{row.value * scale:.{digits}f}"
    if np.isnan(row.low):
        return mean
    return f"{mean} [{row.low * scale:.{digits}f}, {row.high * scale:.{digits}f}]"
