"""What the chapter on shared targets in real pictures shows: counts, nearest hidden parts, pixels.

Sweeps are those of :data:`mae_lib.studies.TARGETS`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from mae_lib.data.images import ImageSet
from mae_lib.data.protocols import Images
from mae_lib.evaluation.shared_targets import hidden_patches
from mae_lib.figures.masks import GREY
from mae_lib.ledger.summary import summarise
from mae_lib.models.patches import patch_grid, patchify, unpatchify
from mae_lib.pages.present import named
from mae_lib.studies import Sweep, targets
from mae_lib.studies.sets import in_memory

LINES = {targets.HIDDEN: "hidden part", targets.LEVELLED: "hidden part, levelled",
         targets.VISIBLE: "visible part"}
SCORES = {targets.OF_ITS_CLASS: "nearest is of its class",
          targets.NEAREST: "distance of the nearest"}
MASKS = {targets.ONE_MASK: "one mask", targets.TWO_MASKS: "own masks"}
FORMS = {targets.SQUARED: "", targets.EXPECTED: ", expected"}
PLACES = {"same place": "at the same place", "any place": "anywhere", "flat": "of one colour",
          "any place, not flat": "anywhere, not of one colour"}


def summary(found: Sweep) -> pd.DataFrame:
    """Means over the parts with 95 % intervals; ``what`` is the protocol without its ratio."""
    table = named(summarise(found.records))
    return table.assign(what=table.protocol.str.partition(", ratio ")[0])


def shared(found: Sweep) -> pd.DataFrame:
    """One row a data set and ratio: how many pairs of pictures share a target, and which share of
    any network's loss the bound leaves unexplained because of that."""
    table = summary(found)
    table = table[(table.what == targets.EVERYTHING) & table.ratio.notna()]
    wide = table.pivot_table("value", ["dataset", "ratio"], "metric", sort=False).reset_index()
    alone = wide[targets.OWN] + wide[targets.ANOTHER] == 0
    return pd.DataFrame({
        "data set": wide.dataset, "share hidden": wide.ratio.map("{:g}".format),
        "pairs compared": wide[targets.PAIRS].map("{:,.0f}".format),
        "share it, of one class": wide[targets.OWN].astype(int),
        "of two classes": wide[targets.ANOTHER].astype(int),
        "unexplained": np.where(alone, "all", "at least half")})


def single_patches(found: Sweep) -> pd.DataFrame:
    """One row a data set: how many of its patches, in percent, other pictures have as well."""
    table = summary(found)
    table = table[(table.what == targets.SINGLE) & table.metric.isin(list(PLACES))]
    wide = (100 * table.pivot_table("value", "dataset", "metric", sort=False))[list(PLACES)]
    return wide.rename(columns=PLACES).rename_axis("data set").reset_index()


def nearest_curves(found: Sweep) -> pd.DataFrame:
    """For curves over the ratio, a panel a score and data set: of hidden parts, levelled or not,
    and of visible ones, ``line``."""
    table = summary(found)
    table = table[table.what.isin(list(LINES)) & table.metric.isin(list(SCORES))]
    table = table.assign(line=table.what.map(LINES),
                         panel=table.dataset + ": " + table.metric.map(SCORES))
    place = table.metric.map(list(SCORES).index)
    return table.loc[place.sort_values(kind="stable").index]


def chances(found: Sweep) -> dict[str, dict[str, float]]:
    """Reference lines of those curves: how often two pictures are of one class."""
    table = summary(found)
    table = table[table.metric == targets.CHANCE]
    return {f"{row.dataset}: {SCORES[targets.OF_ITS_CLASS]}": {"chance": row.value}
            for row in table.itertuples()}


def pixel_curves(found: Sweep) -> pd.DataFrame:
    """For curves over the ratio, a panel a data set: the ratio of mean squared distances within and
    across classes, measured and in closed form, for both kinds of masks."""
    table = summary(found)
    table = table[table.what.isin(list(MASKS)) & table.metric.isin(list(FORMS))]
    return table.assign(panel=table.dataset,
                        line=table.what.map(MASKS) + table.metric.map(FORMS))


def whole_pixels(found: Sweep) -> pd.DataFrame:
    """One row a data set: the relative distance of whole pictures with its interval."""
    table = summary(found)
    table = table[(table.what == targets.PIXELS) & (table.metric == targets.DISTANCE)]
    return table[["dataset", "value", "low", "high"]].rename(columns={
        "dataset": "data set", "value": "R of pixels", "low": "95 % from", "high": "to"})


def nearest_sheet(images: Images, ratio: float, patch: int, count: int, seed: int = 0
                  ) -> tuple[dict[str, np.ndarray], list[str]]:
    """The first pictures, their hidden parts, and the pictures with the nearest hidden parts.

    One mask for all, distances of pixels as in :func:`near_sharing`. Pictures that are the same as
    a whole are never each other's nearest.

    Returns:
        rows of pictures ``[count,3,H,W]`` by name, what the mask leaves visible in grey, and above
        each column ``"same"`` or ``"other"``, the class of the nearest.

    Raises:
        ValueError: ``count`` below 1 or above the number of pictures; all pictures the same; a
            ratio that hides nothing or everything.
    """
    if not 1 <= count <= len(images):
        raise ValueError(f"count must lie in 1..{len(images)}, got {count}")
    images = in_memory(images)
    grid = patch_grid(images.size, patch)
    hidden = hidden_patches(grid, ratio, 1, seed)[0]
    chosen = _nearest(images, hidden, patch, count)
    mine, other = (images.images[index] / 255 for index in (slice(count), chosen))
    same = images.labels[:count] == images.labels[chosen]
    return ({"picture": mine, "hidden part": _only(mine, hidden, patch),
             "nearest one": _only(other, hidden, patch), "its picture": other},
            ["same" if alike else "other" for alike in same])


def _nearest(images: ImageSet, hidden: np.ndarray, patch: int, count: int) -> np.ndarray:
    cells = patchify(torch.from_numpy(images.images), patch)[:, hidden].flatten(1).double()
    whole = images.images.reshape(len(images), -1)
    copies = torch.from_numpy((whole[:count, None] == whole[None]).all(2))
    if copies.all():
        raise ValueError(f"images must hold two that differ, got {len(images)} of the same")
    distance = torch.cdist(cells[:count], cells).masked_fill(copies, float("inf"))
    return distance.argmin(1).numpy()


def _only(pictures: np.ndarray, hidden: np.ndarray, patch: int) -> np.ndarray:
    """Pictures in [0, 1] with all but the hidden patches in grey."""
    cells = patchify(torch.from_numpy(pictures), patch)
    shown = torch.full_like(cells, GREY)
    shown[:, hidden] = cells[:, hidden]
    return unpatchify(shown, patch, patch_grid(pictures.shape[2:], patch)).numpy()
