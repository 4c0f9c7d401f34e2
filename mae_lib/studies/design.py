"""Which runs the talk's tables of design choices compare (He et al., Table 1; SimMIM, Table 2).

All are the MAE of :func:`mae_lib.studies.family.base` with one thing changed, and see equally many
images but for those that are trained longer. That MAE itself is in every table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mae_lib.ledger.design_rows import (
    BLOCK,
    BLOCK_HALF,
    COLOURED,
    CROPPED,
    DEPTH,
    FIXED_CROP,
    GRID,
    HIDDEN,
    LENGTH,
    SIMMIM,
    SIZE,
    TOKENS,
    UNIFORM,
    WIDTH,
)
from mae_lib.ledger.rows import MAE, SCRATCH
from mae_lib.models import family as models
from mae_lib.models.methods import PRESETS
from mae_lib.models.simmim import RATIO
from mae_lib.studies import family
from mae_lib.studies.family import Rows
from mae_lib.studies.plan import Plan
from mae_lib.studies.settings import Setting

UNITS = 2  # patches along a side of SimMIM's masking units
SERIES = (HIDDEN, LENGTH, DEPTH, WIDTH, SIZE)


def own(plan: Plan) -> Plan:
    """The plan with the seeds of these tables."""
    return replace(plan, method_seeds=plan.design_seeds)


def augmentation(plan: Plan) -> Rows:
    """Table 1e: what pictures are changed by before they are masked; MAE's own are not. Whatever
    is done to a picture is done to what has to be predicted, too."""
    coloured = {"method": models.JITTERED, "augment": "mask+crop+colour"}
    return _with(plan, {FIXED_CROP: {"augment": "mask+fixed"}, CROPPED: {"augment": "mask+crop"},
                        COLOURED: coloured})


def sampling(plan: Plan) -> Rows:
    """Table 1f: how masks are drawn."""
    return _with(plan, {BLOCK_HALF: {"sampling": "block", "ratio": 0.5},
                        BLOCK: {"sampling": "block"}, GRID: {"sampling": "grid"}})


def mask_tokens(plan: Plan) -> Rows:
    """Table 1c: hidden patches are dropped, or shown to the encoder as mask tokens."""
    return _with(plan, {TOKENS: {"method": models.TOKENS}})


def simmim(plan: Plan) -> Rows:
    """SimMIM with the heads of its Table 2, and with its own encoder; ratio and units are its
    own, too."""
    unit = UNITS * plan.patch
    return _with(plan, {row: {"method": name, "ratio": RATIO, "unit": unit}
                        for row, name in zip(SIMMIM, models.SIMMIM, strict=True)})


def uniformity(plan: Plan) -> Rows:
    """U-MAE."""
    return _with(plan, {UNIFORM: {"method": models.UNIFORM}})


TABLES = (augmentation, sampling, mask_tokens, simmim, uniformity)


def every_row(plan: Plan) -> Rows:
    """All rows of all tables whose rows have names."""
    return {name: settings for table in TABLES for name, settings in table(plan).items()}


def series(plan: Plan, name: str) -> dict[float, list[Setting]]:
    """The runs of a series by level: He et al., Tables 1a and 1b, Figures 5 and 7.

    Raises:
        ValueError: an unknown series.
    """
    if name == HIDDEN:
        return _levels(plan, plan.ratios, lambda ratio: {"ratio": ratio})
    if name == LENGTH:
        return _levels(plan, (1, *plan.lengths), lambda n: {"views": int(n * plan.method_views)})
    fields = {DEPTH: ("decoder_depth", plan.decoder_depths),
              WIDTH: ("decoder_width", plan.decoder_widths), SIZE: ("width", plan.encoder_widths)}
    if name not in fields:
        raise ValueError(f"name must be one of {', '.join(SERIES)}, got {name!r}")
    field, values = fields[name]
    usual = PRESETS[plan.preset][field]
    return _levels(plan, values, lambda value: {} if value == usual else {field: value})


def every_run(plan: Plan) -> list[Setting]:
    """Every run of every table and series, once."""
    tables = [*every_row(plan).values(), *(runs for name in SERIES
                                           for runs in series(plan, name).values())]
    return list(dict.fromkeys(setting for settings in tables for setting in settings))


def _with(plan: Plan, changes: dict[str, dict]) -> Rows:
    """No pretraining, MAE, and rows that each change something."""
    here = own(plan)
    return family.rows(here, SCRATCH, MAE) | {
        name: family.changed(here, **change) for name, change in changes.items()}


def _levels(plan: Plan, values: Iterable[float], change) -> dict[float, list[Setting]]:
    return {value: family.changed(own(plan), **change(value)) for value in values}
