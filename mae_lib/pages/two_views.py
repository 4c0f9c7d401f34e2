"""What the chapters on Tables 1 to 3 of Kong and Zhang (CVPR 2023) show beside accuracies: which
patches two branches see, and how the comparison of two views was learnt."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from mae_lib import studies
from mae_lib.models.masks import random_mask
from mae_lib.models.patches import patch_grid
from mae_lib.models.siamese import SECOND_RATIO, TwoMasks
from mae_lib.studies import Plan, Setting, Sweep
from mae_lib.studies.family import Rows
from mae_lib.studies.sets import images_of
from mae_lib.studies.settings import DATASETS


def branches(setting: Setting, count: int, seed: int = 0
             ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """What :func:`mae_lib.figures.mask_grid` draws: test images, and where R-MAE's branches do not
    see them: T1; its complement T2; T2 of the variant that hides a quarter, which is compared with
    T1 only where it sees what T1 does not."""
    grid = patch_grid(setting.size, setting.vit_patch)
    generator = torch.Generator().manual_seed(seed)
    first, second = (random_mask(count, grid, ratio, generator=generator)
                     for ratio in (setting.ratio, SECOND_RATIO))
    hidden = {"T1": first.binary(), "T2": 1 - first.binary(), "T2, a quarter": second.binary(),
              "compared": 1 - TwoMasks(*first, *second).compared}
    return (images_of(setting, "test", count).batch(slice(count)).numpy(),
            {title: mask.view(count, *grid).bool().numpy() for title, mask in hidden.items()})


def losses(plan: Plan, rows: Rows, points: int = 10) -> tuple[pd.DataFrame, list[Sweep]]:
    """Training losses for :func:`mae_lib.figures.ratio_curves`, and the sweeps that they came from.

    ``row``, ``panel`` (the data set), ``done`` (share of the training, at the end of a stretch) and
    ``value``, the mean loss over the stretch and over training runs.
    """
    found, sweeps = [], []
    for row, settings in rows.items():
        sweeps.append(plan.sweep(studies.LOSSES, settings))
        for setting, result in zip(settings, sweeps[-1].results, strict=True):
            curve = np.asarray(result.value["curve"], float)
            stretches = np.array_split(curve, min(points, len(curve)))
            found += [{"row": row, "panel": DATASETS[setting.dataset], "done": i / len(stretches),
                       "value": stretch.mean()} for i, stretch in enumerate(stretches, start=1)]
    keys = ["panel", "row", "done"]
    return pd.DataFrame(found).groupby(keys, sort=False).value.mean().reset_index(), sweeps


def guessing(plan: Plan) -> dict[str, dict[str, float]]:
    """Dotted lines for :func:`losses`: InfoNCE of a network that cannot tell pictures apart, the
    logarithm of how many a batch holds."""
    return {DATASETS[name]: {"guessing": float(np.log(plan.batch))}
            for name in plan.method_datasets}
