"""What the chapter on classes in feature space shows: how far classes lie apart in the features of
networks, and whether the features have collapsed.

From :data:`mae_lib.studies.DISTANCES`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from mae_lib import studies
from mae_lib.ledger.summary import only, summarise, with_interval
from mae_lib.studies import Plan, Setting, Sweep
from mae_lib.studies.distances import TOKENS
from mae_lib.studies.settings import DATASETS

WHOLE, MASKED = "whole images", "masked images"
CLASS, TWICE, MEAN = TOKENS
DIGITS = {"relative distance": 3, "effective rank": 1, "cosine": 3, "uniformity": 3}


def measured(plan: Plan, rows: Mapping[object, Sequence[Setting]]
             ) -> tuple[pd.DataFrame, list[Sweep]]:
    """One row a row of ``rows``, data set, kind of images, token and metric, and the sweeps that
    they came from.

    Columns: ``row``; ``dataset`` (its key); ``images``, whole ones or masked as in training;
    ``token``; ``metric``, of ``DIGITS``; ``value``, ``low``, ``high`` (95 % over training runs,
    missing if there is one); ``text``. Masks are those of the run's own ratio; a network that was
    not trained has none, and so no row about masked images.

    Raises:
        ValueError: rows without any run.
    """
    parts, sweeps = [], []
    for row, settings in rows.items():
        if settings:
            sweeps.append(plan.sweep(studies.DISTANCES, list(settings)))
            parts.append(_summary(sweeps[-1]).assign(row=row))
    if not parts:
        raise ValueError("rows must hold runs to compare, got none")
    return pd.concat(parts, ignore_index=True), sweeps


def curves(found: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Rows for :func:`mae_lib.figures.ratio_curves`, a panel for whole and one for masked images,
    data sets side by side: the class token and the mean token against ``row``."""
    table = only(found, metric=metric, token=[CLASS, MEAN])
    several = table.dataset.nunique() > 1
    name = table.dataset.map(DATASETS) + ": " if several else ""
    table = table.assign(panel=name + metric + ", " + table.images)
    return table.sort_values("images", ascending=False, kind="stable")  # whole ones first


def table(found: pd.DataFrame, metric: str, head: str) -> pd.DataFrame:
    """One row a row and data set: a metric of whole and of masked images, token by token."""
    part = only(found, metric=metric, token=[CLASS, MEAN])
    part = part.assign(place=part.images + ", " + part.token)
    wide = part.pivot_table("text", ["dataset", "row"], "place", aggfunc="first", sort=False)
    wide = wide.reset_index().rename(columns={"row": head}).rename_axis(columns=None)
    sets = wide.pop("dataset").map(DATASETS)
    wide[head] = wide[head].map(lambda level: level if isinstance(level, str) else f"{level:g}")
    return wide.assign(**{"data set": sets}) if sets.nunique() > 1 else wide


def collapse(found: pd.DataFrame, images: str, token: str, head: str = "pretraining"
             ) -> pd.DataFrame:
    """One row a row and data set: all metrics of one token of whole or of masked images."""
    part = only(found, images=images, token=token)
    wide = part.pivot_table("text", ["dataset", "row"], "metric", aggfunc="first", sort=False)
    wide = wide.reset_index().rename(columns={"row": head}).rename_axis(columns=None)
    sets = wide.pop("dataset").map(DATASETS)
    wide = wide[[head, *DIGITS]]
    return wide.assign(**{"data set": sets}) if sets.nunique() > 1 else wide


def _summary(sweep: Sweep) -> pd.DataFrame:
    """Means over training runs, without what masks of an untrained network would show."""
    found = summarise(sweep.records)
    places = found.protocol.str.split(", ", n=1, expand=True)
    found = found.assign(images=places[0], token=places[1])
    found = found[(found.images == WHOLE) | (found.views > 0)]
    texts = [with_interval(part, DIGITS[metric]) for metric, part in found.groupby("metric")]
    return found.assign(text=pd.concat(texts))
