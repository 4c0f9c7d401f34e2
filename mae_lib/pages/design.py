"""What the chapters on design choices show: series over levels beside the papers' numbers, masks
and views as pictures, MAE against long training from scratch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import nn

from mae_lib.evaluation.localisation import coverage
from mae_lib.ledger import paper
from mae_lib.ledger.design_rows import DEPTH, WIDTH
from mae_lib.ledger.rows import MAE, SCRATCH
from mae_lib.models import family as models
from mae_lib.models.masks import Mask
from mae_lib.models.methods import PRESETS, mae
from mae_lib.pages import costs, methods
from mae_lib.pages.papers import COLUMNS
from mae_lib.studies import Plan, Setting, Sweep, design, family, images_of
from mae_lib.studies.attention import object_masks
from mae_lib.studies.family import Rows

HE = "He et al."
MEASURES = ("linear probe (%)", "linear probe, mean token (%)", "fine-tuned (%)")
SCRATCH_LONG, COST = "no pretraining, long", "training, times"
# Printed series: table, the column of its levels, and what one of them is counted in.
PRINTED = {DEPTH: ("S003.decoder_depth", "blocks", 1),
           WIDTH: ("S003.decoder_width", "dim", PRESETS["vit_large_patch16"]["width"])}


def levels(plan: Plan, name: str) -> dict[float, list[Setting]]:
    """The runs of a series of :mod:`mae_lib.studies.design`, by level in ascending order; widths
    of decoders as shares of the encoder's, so that networks of all sizes can be compared."""
    unit = PRESETS[plan.preset]["width"] if name == WIDTH else 1
    return {level / unit: found for level, found in sorted(design.series(plan, name).items())}


def printed_levels(name: str) -> methods.Printed:
    """What He et al. print of a series, ``{measure: {level: number}}``, levels as in
    :func:`levels`; nothing of a series that the talk shows without numbers."""
    if name not in PRINTED:
        return {}
    table, column, unit = PRINTED[name]
    whole = paper.table(table)
    return {COLUMNS[c]: {level / unit: float(number) for level, number in
                         zip(whole[column], whole[c], strict=True)}
            for c in whole if c in COLUMNS}


def curves(found: pd.DataFrame, printed: methods.Printed | None = None,
           by: str = HE) -> pd.DataFrame:
    """Rows for :func:`mae_lib.figures.ratio_curves`: panels of ours, then those of the printed
    numbers of the same measures, on scales of their own; ``whose`` tells them apart.

    Args:
        found: of :func:`mae_lib.pages.methods.measured`, levels as rows.
    """
    theirs = [{"row": level, "panel": f"{by}: {measure}", "value": number, "whose": by}
              for measure in dict.fromkeys(found.measure)
              for level, number in (printed or {}).get(measure, {}).items()]
    ours = found.assign(whose="ours")
    return pd.concat([ours, pd.DataFrame(theirs)], ignore_index=True) if theirs else ours


def by_level(found: pd.DataFrame, cost: Mapping[float, float], head: str,
             printed: methods.Printed | None = None, by: str = HE) -> pd.DataFrame:
    """One row a level, ours or theirs: what its training takes, and what was measured.

    Args:
        found: of :func:`mae_lib.pages.methods.measured`, on one data set, levels as rows.
        cost: of :func:`training_costs`.
        head: what the levels are.
    """
    numbers = {measure: {f"{level:g}": number for level, number in part.items()}
               for measure, part in (printed or {}).items()}
    every = {level for part in (printed or {}).values() for level in part} | set(found.row)
    order = [f"{level:g}" for level in sorted(every)]
    counted = {f"{level:g}": f"{times:.2f}" for level, times in cost.items()}
    named = found.assign(row=found.row.map("{:g}".format))
    table = methods.beside(named, numbers, head, by, order)
    table.insert(1, COST, [counted.get(level) for level in order])
    return table


def gaps_of_levels(plan: Plan, name: str, *measures: str) -> pd.DataFrame:
    """Points by which MAE at each other level of a series lies above MAE as it is in all other
    rows, run by run: columns of :func:`mae_lib.pages.methods.gaps_by_measure`."""
    rows = {f"{level:g}": found for level, found in levels(plan, name).items()}
    usual = family.base(design.own(plan))
    pairs = [(level, MAE) for level, found in rows.items() if found != usual]
    return methods.gaps_by_measure(plan, rows | {MAE: usual}, measures, pairs)


def training_costs(plan: Plan, name: str) -> dict[float, float]:
    """How many times the multiplications of MAE's whole training those of each level take."""
    usual = family.base(design.own(plan))[0]
    whole = costs.step_macs(usual) * usual.views
    return {level: costs.step_macs(runs[0]) * runs[0].views / whole
            for level, runs in levels(plan, name).items()}


def from_scratch(plan: Plan) -> tuple[pd.DataFrame, list[Sweep]]:
    """MAE and a short fine-tuning, the same fine-tuning alone, and training with labels for as many
    pictures as MAE and fine-tuning see together: rows of :func:`mae_lib.pages.methods.measured`,
    all as fine-tuned, and the sweeps that they came from.
    """
    here, short = design.own(plan), "fine-tuned (%)"
    found, sweeps = methods.measured(plan, family.rows(here, SCRATCH, MAE), short)
    scratch = {SCRATCH_LONG: family.scratch(here)}
    long, more = methods.measured(plan, scratch, "from scratch (%)")
    renamed = long.assign(measure=short, panel=long.panel.str.replace("from scratch (%)", short))
    return pd.concat([found, renamed], ignore_index=True), sweeps + more


def printed_from_scratch() -> methods.Printed:
    """He et al.'s numbers of the same: their own training from scratch, and MAE."""
    numbers = paper.table("S003.mae_scratch").iloc[0]
    return {"fine-tuned (%)": {SCRATCH_LONG: float(numbers["scratch our impl"]),
                               MAE: float(numbers["baseline MAE"])}}


def pictures_seen(plan: Plan) -> pd.DataFrame:
    """How many pictures each row of :func:`from_scratch` sees without and with labels, repetitions
    counted."""
    short, long = (n * plan.probe_images for n in (plan.finetune_epochs, plan.scratch_epochs))
    rows = [(SCRATCH, 0, short), (MAE, plan.method_views, short), (SCRATCH_LONG, 0, long)]
    return pd.DataFrame([(row, f"{bare:,}", f"{labelled:,}") for row, bare, labelled in rows],
                        columns=["pretraining", "pictures without labels", "with labels"])


def masks(rows: Rows, count: int, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """What :func:`mae_lib.figures.mask_grid` draws: test images, and where the masks of training
    of each row hide them, bool ``[count,h,w]``."""
    first = next(settings[0] for settings in rows.values() if settings)
    return images_of(first, "test", count).batch(slice(count)).numpy(), _hidden(rows, count, seed)


def _hidden(rows: Rows, count: int, seed: int) -> dict[str, np.ndarray]:
    """Where masks of training hide a picture, by row, bool ``[count,h,w]``."""
    hidden = {}
    for row, settings in rows.items():
        if not settings:
            continue
        made = _untrained(settings[0])
        drawn = made.sample_mask(count, torch.Generator().manual_seed(seed))
        hidden[row] = Mask(drawn.visible, drawn.hidden).binary().bool().numpy().reshape(
            count, *made.encoder.grid)
    return hidden


def hidden_figures(rows: Rows, count: int, seed: int = 0) -> tuple[pd.DataFrame, float]:
    """By row, the share in percent of ``count`` test pictures of which a mask of training hides
    every patch that the figure touches; and how many patches that are, on average. One mask a
    picture; of sets whose figures are known."""
    setting = next(settings[0] for settings in rows.values() if settings)
    figures = object_masks(images_of(setting, "test", count), setting)
    assert figures is not None
    hidden = _hidden(rows, count, seed)
    touched = coverage(figures, next(iter(hidden.values())).shape[1:]).numpy() > 0
    shares = [100 * (where | ~touched).all((1, 2)).mean() for where in hidden.values()]
    table = pd.DataFrame({"masks": list(hidden), "figure wholly hidden (%)": shares})
    return table, float(touched.sum((1, 2)).mean())


def views(rows: Rows, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """What :func:`mae_lib.figures.reconstruction_grid` draws: ``count`` test images, before they
    are masked, as each row changes them in training, ``[count,3,H,W]`` in [0, 1]. The same random
    numbers for all rows."""
    chosen = {row: settings[0] for row, settings in rows.items() if settings}
    images = images_of(next(iter(chosen.values())), "test", count).batch(slice(count))
    found = {}
    for row, setting in chosen.items():
        augment = getattr(_untrained(setting), "augment", None)
        drawn = augment and augment.draw(count, 1, torch.Generator().manual_seed(seed))
        found[row] = (images if augment is None else augment(images, drawn, 0)).numpy()
    return found


def _untrained(setting: Setting) -> nn.Module:
    """The model of a setting, for what it draws: its standardisation is not that of the data."""
    base = mae(setting.preset, ratio=setting.ratio, unit=setting.unit, seed=setting.seed,
               sampling=setting.sampling or "random", **setting.shape)
    if not setting.method and not setting.augment:
        return base
    return models.method(setting.method or models.MAE, base, augment=setting.augment,
                         seed=setting.seed)
