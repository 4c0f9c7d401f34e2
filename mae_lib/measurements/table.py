"""All that a tier has measured as one tidy table: a row for each run and outcome.

What has not been computed is not there; nothing is computed here. The rules of the ledger
(:mod:`mae_lib.ledger.experiments`) read this table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from mae_lib import runs, studies
from mae_lib.ledger import world_rules
from mae_lib.ledger.claims import claims
from mae_lib.ledger.design_rules import COST
from mae_lib.ledger.experiments import verdict_on, verdicts_of
from mae_lib.ledger.outcomes import COLUMNS, RATIO, Outcomes
from mae_lib.ledger.target_rules import PICTURES
from mae_lib.ledger.verdicts import Verdict
from mae_lib.ledger.world_rules import GAMES, object_error
from mae_lib.models.cost import autoencoder_macs
from mae_lib.pages.costs import seconds_of_steps, step_macs
from mae_lib.studies import Plan, Setting, Study, program, targets, worlds
from mae_lib.studies.settings import DATASETS, DRAWN_AS

from .places import (
    METRICS,
    ON_PICTURES,
    OUTCOMES,
    SHARES,
    SIMILARITY,
    object_metrics,
    outcomes_of,
    read,
)
from .series import series_of

USUAL = {"menagerie", "fashion_mnist"}


def measurements(plan: Plan, only: Iterable[Study] | None = None) -> pd.DataFrame:
    """Outcomes by data set, series, level and seed, as the ledger names them.

    Args:
        only: the studies whose results are wanted, all if None.
    """
    every = [*OUTCOMES, studies.CROSS_CKA, studies.TARGETS, studies.SMALL_OBJECTS]
    wanted = every if only is None else list(only)
    rows, asked = [], {study: set(settings) for study, settings in program(plan).items()}
    for setting, places in series_of(plan).items():
        values = _cost(setting)
        for study in OUTCOMES.keys() & wanted:
            if setting in asked[study]:
                values |= _values(plan, study, setting)
        if studies.RECONSTRUCTION in wanted:
            values |= _above_floor(plan, setting, values)
        if set(SHARES) <= values.keys():
            near, near_area, far, far_area = (values.pop(name) for name in SHARES)
            values["gradient locality"] = near - near_area - (far - far_area)
        rows += [(DRAWN_AS.get(setting.dataset, setting.dataset), series, level, setting.seed,
                  name, value)
                 for series, level in places for name, value in values.items()]
    if studies.CROSS_CKA in wanted:
        rows += _similarities(plan)
    if studies.SMALL_OBJECTS in wanted:
        rows += _of_objects(plan)
    if studies.TARGETS in wanted:
        rows += _of_pictures(plan)
    rows += seconds_of_steps(plan)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _values(plan: Plan, study: Study, setting: Setting) -> dict[str, float]:
    result = runs.find(plan.key(study, setting), if_stale=plan.if_stale)
    if result is None:
        return {}
    records = {(r.protocol, r.metric, r.split): r for r in studies.records(result)}
    last = setting.shape["depth"] - 1
    found = {name: read(records, place._replace(metric=place.metric.format(last=last)))
             for name, place in outcomes_of(study, setting).items()}
    return {name: value for name, value in found.items() if value is not None}


def _similarities(plan: Plan) -> list[tuple]:
    """CKA of the models of the ratio series with each other, ``"cka to <ratio>"``."""
    names = {f"cka to {ratio:g}" for ratio in plan.ratios}
    rows = []
    for setting in program(plan)[studies.CROSS_CKA]:
        result = runs.find(plan.key(studies.CROSS_CKA, setting), if_stale=plan.if_stale)
        rows += [(r.dataset, RATIO, r.setting["ratio"], r.seed, r.metric, r.value)
                 for r in (studies.records(result) if result else ())
                 if r.protocol == SIMILARITY and r.metric in names
                 and r.setting["unit"] == plan.patch]
    return rows


def _of_pictures(plan: Plan) -> list[tuple]:
    """Shared and nearest targets of raw pictures, whose parts are counted as seeds."""
    rows = []
    for setting in program(plan)[studies.TARGETS]:
        result = runs.find(plan.key(studies.TARGETS, setting), if_stale=plan.if_stale)
        for r in studies.records(result) if result else ():
            name = ON_PICTURES.get((targets.what(r), r.metric))
            if name is not None:
                rows.append((r.dataset, PICTURES, r.setting["ratio"], r.seed, name, r.value))
    return rows


def _of_objects(plan: Plan) -> list[tuple]:
    """Errors of hidden objects in games, over those of the background, by area."""
    rows = []
    for name, settings in worlds.rows(plan).items():
        for setting in settings:
            result = runs.find(plan.key(studies.SMALL_OBJECTS, setting), if_stale=plan.if_stale)
            held = {r.metric: r.value for r in studies.records(result)} if result else {}
            rows += [(GAMES, name, area, setting.seed, object_error(setting.dataset), held[metric])
                     for area, metric in zip(worlds.EDGES, object_metrics(), strict=True)
                     if held.get(metric) is not None]
    return rows


def _cost(setting: Setting) -> dict[str, float]:
    """Multiplications of one training image: of a step, and of MAE's encoder forward."""
    if setting.kind:
        return {}
    step = step_macs(setting)
    if setting.method or setting.augment:
        return {COST: step}
    return {COST: step, "macs": autoencoder_macs(setting.shape, setting.ratio).encoder}


def _above_floor(plan: Plan, setting: Setting, values: Mapping[str, float]) -> dict[str, float]:
    """Read-outs less the floor of their patch size: a picture of one colour a patch."""
    result = runs.find(plan.key(studies.FLOORS, setting), if_stale=plan.if_stale)
    if result is None:
        return {}
    floor = {r.metric: r.value for r in studies.records(result)
             if r.protocol == f"floor: patch mean {setting.vit_patch}"}
    return {f"{name} floored": values[name] - factor * floor[metric]
            for name, (metric, factor) in METRICS.items() if name in values and metric in floor}


def judged_on_games(found: pd.DataFrame) -> dict[str, Verdict]:
    """Verdicts on the claims about games, the same for all sets of pictures; from
    :func:`measurements`."""
    held = Outcomes.of(found, GAMES)
    return {claim.id: verdict_on(claim, held) for claim in claims(world_rules.RULES)}


def judged(found: pd.DataFrame) -> dict[str, dict[str, Verdict]]:
    """By data set, under the name that readers see: a verdict on every claim about networks.

    Args:
        found: from :func:`measurements`; if it is empty, the verdicts are on the book's two sets.
    """
    sets = set(found.dataset) or USUAL
    return {name: verdicts_of(found, key) for key, name in DATASETS.items() if key in sets}
