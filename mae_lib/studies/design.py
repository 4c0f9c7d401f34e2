"""Which runs the talk's tables of design choices compare (He et al., Table 1; SimMIM, Table 2).

All are the MAE of :func:`mae_lib.studies.family.base` with one thing changed, and see equally many
images but for those that are trained longer. That MAE itself is a row of every table.
"""

from __future__ import annotations

from dataclasses import replace

from mae_lib.ledger.design_rows import (
    BLOCK,
    BLOCK_HALF,
    COLOURED,
    CROPPED,
    FIXED_CROP,
    GRID,
    SIMMIM,
    TOKENS,
    UNIFORM,
    of_depth,
    of_ratio,
    of_size,
    of_width,
    times,
)
from mae_lib.ledger.rows import MAE, SCRATCH
from mae_lib.models import family as models
from mae_lib.models.simmim import RATIO
from mae_lib.studies import family
from mae_lib.studies.family import Rows
from mae_lib.studies.plan import Plan

UNITS = 2  # patches along a side of SimMIM's masking units


def own(plan: Plan) -> Plan:
    """The plan with the seeds of these tables."""
    return replace(plan, method_seeds=plan.design_seeds)


def augmentation(plan: Plan) -> Rows:
    """Table 1e: what pictures are changed by before they are masked; MAE's own are not."""
    ways = {FIXED_CROP: "mask+fixed", CROPPED: "mask+crop", COLOURED: "mask+crop+colour"}
    return _with(plan, {name: {"augment": words} for name, words in ways.items()})


def ratio(plan: Plan) -> Rows:
    """Figure 5 of He et al.: the share that is hidden."""
    rest = [r for r in plan.ratios if r != plan.unit_ratio]
    return _with(plan, {of_ratio(r): {"ratio": r} for r in rest})


def sampling(plan: Plan) -> Rows:
    """Table 1f: how masks are drawn."""
    return _with(plan, {BLOCK_HALF: {"sampling": "block", "ratio": 0.5},
                        BLOCK: {"sampling": "block"}, GRID: {"sampling": "grid"}})


def decoder_depth(plan: Plan) -> Rows:
    """Table 1a."""
    return _sizes(plan, "decoder_depth", plan.decoder_depths, of_depth)


def decoder_width(plan: Plan) -> Rows:
    """Table 1b."""
    return _sizes(plan, "decoder_width", plan.decoder_widths, of_width)


def mask_tokens(plan: Plan) -> Rows:
    """Table 1c: hidden patches are dropped, or shown to the encoder as mask tokens."""
    return _with(plan, {TOKENS: {"method": models.TOKENS}})


def length(plan: Plan) -> Rows:
    """Figure 7 of He et al.: training longer."""
    views = {times(n): int(n * plan.method_views) for n in plan.lengths}
    return _with(plan, {name: {"views": count} for name, count in views.items()})


def encoder_size(plan: Plan) -> Rows:
    """Larger and smaller encoders."""
    return _sizes(plan, "width", plan.encoder_widths, of_size)


def simmim(plan: Plan) -> Rows:
    """SimMIM with the heads of its Table 2, and with its own encoder; ratio and units are its
    own, too."""
    unit = UNITS * plan.patch
    return _with(plan, {row: {"method": name, "ratio": RATIO, "unit": unit}
                        for row, name in zip(SIMMIM, models.SIMMIM, strict=True)})


def uniformity(plan: Plan) -> Rows:
    """U-MAE."""
    return _with(plan, {UNIFORM: {"method": models.UNIFORM}})


TABLES = (augmentation, ratio, sampling, decoder_depth, decoder_width, mask_tokens, length,
          encoder_size, simmim, uniformity)


def every_row(plan: Plan) -> Rows:
    """All rows of all tables."""
    return {name: settings for table in TABLES for name, settings in table(plan).items()}


def _with(plan: Plan, changes: dict[str, dict]) -> Rows:
    """No pretraining, MAE, and rows that each change something."""
    here = own(plan)
    return family.rows(here, SCRATCH, MAE) | {
        name: family.changed(here, **change) for name, change in changes.items()}


def _sizes(plan: Plan, field: str, values: tuple[int, ...], name) -> Rows:
    """Rows in the order of their size; the preset's own is MAE."""
    here = own(plan)
    usual = {value: s.shape[field] for value in values for s in family.base(here)[:1]}
    found = {MAE if usual[value] == value else name(value):
             family.changed(here, **{} if usual[value] == value else {field: value})
             for value in usual}
    return family.rows(here, SCRATCH) | found
