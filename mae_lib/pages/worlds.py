"""What the page on networks of games shows: objects by their size, films, and what is seen beside.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mae_lib import studies
from mae_lib.evaluation.partners import OVER_STRANGERS
from mae_lib.evaluation.small_objects import bin_names
from mae_lib.ledger.summary import only, summarise, with_interval
from mae_lib.pages.video import GREY
from mae_lib.studies import Plan, Sweep, partners, worlds
from mae_lib.studies.settings import DATASETS

OVER_BACKGROUND = "object error over background error, {}"
OVER_MISSING = "object error over that of leaving it out, {}"


def looked_at(plan: Plan) -> dict[str, Sweep]:
    """Errors of objects by what is masked."""
    return {name: plan.sweep(studies.SMALL_OBJECTS, settings)
            for name, settings in worlds.rows(plan).items()}


def by_area(found: Mapping[str, Sweep], metric: str) -> pd.DataFrame:
    """One row a game (``panel``), network (``row``) and bin of areas (``area``, its smallest):
    ``value``, ``low``, ``high`` over training runs, and ``text``.

    Args:
        metric: ``OVER_BACKGROUND`` or ``OVER_MISSING``.
    """
    names = {metric.format(name): edge for name, edge in
             zip(bin_names(worlds.EDGES), worlds.EDGES, strict=True)}
    parts = []
    for row, sweep in found.items():
        table = only(summarise(sweep.records), metric=list(names))
        game = {r.dataset: DATASETS[s.dataset] for s in sweep.settings
                for r in sweep.of([s]).records}
        parts.append(table.assign(row=row, area=table.metric.map(names),
                                  panel=table.dataset.map(game)))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(text=with_interval(table))[
        ["panel", "row", "area", "value", "low", "high", "text"]]


def areas_beside(table: pd.DataFrame) -> pd.DataFrame:
    """Of :func:`by_area` one row a game and area, a column a network."""
    wide = table.pivot(index=["panel", "area"], columns="row", values="text")
    order = list(dict.fromkeys(table.row))
    return wide[order].reset_index().rename(columns={"panel": "game", "area": "area from, pixels"})


def films(found: Mapping[str, Sweep], game: str, count: int) -> dict[str, np.ndarray]:
    """Clips for :func:`mae_lib.figures.player` of the first run of each trained network: the frames
    of a game, what each sees of them and what it draws.

    Args:
        count: of test frames.
    """
    clips = {}
    for name, sweep in found.items():
        shown = [(s, r) for s, r in zip(sweep.settings, sweep.results, strict=True)
                 if s.dataset == game and s.views]
        if not shown:
            continue
        setting, result = shown[0]
        frames = studies.images_of(setting, "test", count).images[worlds.filmed(count)]
        if not clips:
            clips = {"frames": frames,
                     "not hidden": np.where(result.value["hidden"][:, None], GREY, frames)}
        clips[f"drawn: {name}"] = result.value["drawn"]
    return {name: np.ascontiguousarray(clip.swapaxes(0, 1)) for name, clip in clips.items()}


def beside(plan: Plan) -> dict[str, Sweep]:
    """Networks that see something beside a frame."""
    return {name: plan.sweep(studies.PARTNERS, settings)
            for name, settings in partners.rows(plan).items()}


def told(found: Mapping[str, Sweep]) -> pd.DataFrame:
    """One row a network, way of testing and region: error with the true partner over a stranger's,
    ``row``, ``panel``, ``value``, ``low``, ``high`` and ``text``."""
    start = OVER_STRANGERS.format("")
    parts = []
    for name, sweep in found.items():
        table = summarise(sweep.records)
        parts.append(table.assign(network=name, region=table.metric.str.removeprefix(start)))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(text=with_interval(table, 3))[
        ["network", "protocol", "region", "value", "low", "high", "text"]]


def pictures(found: Mapping[str, Sweep]) -> dict[str, np.ndarray]:
    """Rows for :func:`mae_lib.figures.reconstruction_grid`: of the first run of each network one
    frame, what is seen of it, and what is drawn beside the true partner and a stranger's."""
    return {name: sweep.results[0].value["pictures"][1] / 255
            for name, sweep in found.items() if sweep.results}


COLUMNS = ("frame", "not hidden", "true partner", "a stranger's")
