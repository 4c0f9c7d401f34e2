"""What the chapter on section 3.6 of Kong et al. shows: masks, losses, and pixels by distance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mae_lib.data.groups import menagerie_groups
from mae_lib.evaluation.locality import FILL
from mae_lib.ledger.guards import FACTORS
from mae_lib.ledger.outcomes import SCATTERED
from mae_lib.ledger.summary import only, summarise, with_interval
from mae_lib.models.guided_masks import guided_mask
from mae_lib.models.margins import far_pixels, scattering
from mae_lib.models.masks import Mask, random_mask
from mae_lib.models.methods import PRESETS
from mae_lib.models.patches import patch_grid, unpatchify
from mae_lib.pages.present import named
from mae_lib.studies import Sweep, images
from mae_lib.studies.sets import PRESET, SIZE
from mae_lib.studies.settings import DATASETS

USUAL = "usual"
LOW_LEVEL = "image factors, class token", "latents, class token"
SHARES = {"gradient share, near": "gradient, near", "area share, near": "area, near",
          "gradient share, far": "gradient, far", "area share, far": "area, far"}


def guided(policies: Iterable[str], ratio: float, preset: str, count: int, seed: int = 0
           ) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """What :func:`mae_lib.figures.mask_grid` draws: test pictures of the Menagerie, what each
    policy hides, ``{policy: bool [count,h,w]}``, and the groups that it follows."""
    patch = PRESETS[preset]["patch"]
    found = menagerie_groups("test", count, SIZE, PRESET, patch=patch)
    groups, parents = map(torch.from_numpy, found)
    shape = count, *patch_grid(SIZE, patch)
    hidden = {policy: guided_mask(groups, ratio, policy, parents=parents,
                                  generator=torch.Generator().manual_seed(seed)).binary()
              for policy in ("random", *policies)}
    return (images("menagerie", "test", count).images / 255,
            {policy: mask.view(shape).bool().numpy() for policy, mask in hidden.items()},
            found.groups.reshape(shape))


def left_out(margins: Sequence[int], ratio: float, preset: str, count: int, seed: int = 0
             ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """What :func:`mae_lib.figures.mask_grid` draws: test pictures, what the encoder does not see,
    and for each loss what it does not look at, ``{title: bool [count,H,W]}``."""
    patch = PRESETS[preset]["patch"]
    grid = patch_grid(SIZE, patch)
    mask = random_mask(count, grid, ratio, generator=torch.Generator().manual_seed(seed))
    spread = partial(_on_the_picture, mask=mask, patch=patch, grid=grid)
    weights = {f"margin {m}": far_pixels(mask, grid, patch, m) for m in margins}
    usual = far_pixels(mask, grid, patch, 0)
    if margins:
        first = weights[f"margin {min(margins)}"]
        order = scattering(mask.hidden.shape[1], patch)
        weights[SCATTERED] = first.flatten(1)[:, order].view_as(first)
    return (images("menagerie", "test", count).images / 255,
            {"seen": spread(usual), "usual loss": ~spread(usual),
             **{title: ~spread(found) for title, found in weights.items()}})


def _on_the_picture(weights: Tensor, mask: Mask, patch: int, grid: tuple[int, int]) -> np.ndarray:
    """Weights ``[B,H,p*p]`` of the pixels of hidden patches, true where they are 1, 0 elsewhere."""
    whole = torch.zeros(len(weights), grid[0] * grid[1], patch**2)
    whole.scatter_(1, mask.hidden[..., None].expand_as(weights), weights)
    return unpatchify(whole, patch, grid)[:, 0].bool().numpy()


def counted(margin: float, ratio: float, preset: str, masks: int = 500) -> float:
    """Share of the hidden pixels that a loss with this margin looks at, in random masks."""
    patch = PRESETS[preset]["patch"]
    grid = patch_grid(SIZE, patch)
    mask = random_mask(masks, grid, ratio, generator=torch.Generator().manual_seed(0))
    return float(far_pixels(mask, grid, patch, int(margin)).mean())


def arms(found: pd.DataFrame) -> pd.DataFrame:
    """Rows of a summary with an ``arm`` each: ``"usual"``, ``"margin 1"``, ``"scattered"``, or the
    policy of its masks."""
    found = found.reindex(columns=[*found.columns, *(name for name in (
        "margin", "scattered", "policy") if name not in found)])
    return found.assign(arm=[_arm(row) for row in found.itertuples()])


def _arm(row) -> str:
    if isinstance(row.policy, str):
        return row.policy
    if row.scattered is True:
        return SCATTERED
    return USUAL if pd.isna(row.margin) else f"margin {row.margin:g}"


def compared(probed: Sweep, rebuilt: Sweep, ratio: float, dataset: str) -> pd.DataFrame:
    """One row an arm at one ratio: accuracy of the linear probes and PSNR of the read-out."""
    wanted = {"class token": "class token (%)", "mean token": "mean token (%)",
              "unmasked": "PSNR (dB)"}
    rows = []
    for sweep, metric, scale in ((probed, "accuracy", 100), (rebuilt, "PSNR (dB)", 1)):
        found = arms(named(summarise(sweep.records)))
        found = only(found, dataset=DATASETS[dataset], ratio=ratio, metric=metric,
                     protocol=list(wanted), unit=found.unit.min())
        rows.append(found.assign(text=with_interval(found, 1 if scale > 1 else 2, scale)))
    table = pd.concat(rows).pivot_table("text", "arm", "protocol", aggfunc="first", sort=False)
    return table.rename(columns=wanted).reset_index()


def low_level(rebuilt: pd.DataFrame, causes: pd.DataFrame) -> pd.DataFrame:
    """Rows of named summaries for curves over the ratio: PSNR of the read-out, and how well the
    class token tells position, scale and colour, a panel each, data sets side by side."""
    psnr = only(rebuilt, metric="PSNR (dB)", protocol="unmasked").assign(score="PSNR (dB)")
    told = only(causes, metric=list(FACTORS), protocol=list(LOW_LEVEL))
    told = told.sort_values("protocol", ascending=False, kind="stable")  # the true causes first
    told = told.drop_duplicates(["dataset", "metric", "ratio", "unit"])
    rows = [psnr] + [told[told.metric == name].assign(score=f"{name} (R²)") for name in FACTORS]
    return pd.concat(rows).assign(panel=lambda t: t.dataset + ": " + t.score)


def by_distance(measured: Sweep, ratio: float) -> pd.DataFrame:
    """Relative error against the distance from visible pixels, all models asked at one ratio:
    mean over training runs, a line for each ratio in training and one for the harmonic fill."""
    protocol, rows = f"ratio {ratio:g}", []
    for setting, result in zip(measured.settings, measured.results, strict=True):
        model, fill, _ = result.value[f"curve/{protocol}"]
        panel = f"{DATASETS[setting.dataset]}: relative error"
        for line, values in ((f"trained at {setting.ratio:g}", model), (FILL, fill)):
            rows += [{"panel": panel, "line": line, "distance": place, "value": float(value)}
                     for place, value in enumerate(values, start=1)]
    keys = ["panel", "line", "distance"]
    means = pd.DataFrame(rows).groupby(keys, sort=False).value.mean().reset_index()
    return means.sort_values("line", key=lambda names: names == FILL, kind="stable")


def gradients(measured: Sweep, ratio: float) -> pd.DataFrame:
    """How much of what moves a hidden pixel lies close to it, and how much of the visible area
    does: one row a data set, of the models trained at one ratio."""
    found = only(named(summarise(measured.records)), protocol="own masks", ratio=ratio,
                 metric=list(SHARES))
    found = found.assign(text=with_interval(found), what=found.metric.map(SHARES))
    wide = found.pivot_table("text", "dataset", "what", aggfunc="first", sort=False)
    return wide[list(SHARES.values())].reset_index()
