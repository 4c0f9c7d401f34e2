"""What the chapter on detection shows: scenes with what is there and what was found, and AP."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torchvision.ops import nms

from mae_lib.data.objects import ObjectSet
from mae_lib.data.official.coco import CocoSet
from mae_lib.figures import Thing
from mae_lib.ledger import paper
from mae_lib.ledger.summary import only, summarise, with_interval
from mae_lib.studies import Sweep
from mae_lib.studies.detection import SHOWN, objects_of

KINDS = {"box": "AP box", "mask": "AP mask"}  # protocol, and the column that the paper prints
OURS, THEIRS = "AP (%): ours", "AP (%): Kong et al."
SAME = 0.5  # overlap of boxes that are taken for one object in a picture
TRUTH, UNTRAINED = "what is there", "untrained"


def scenes(measured: Sweep, initial: Sweep, ratios: Sequence[float], count: int
           ) -> tuple[np.ndarray, dict[str, list[list[Thing]]]]:
    """What :func:`mae_lib.figures.scene_grid` draws: ``count`` test scenes (at most those that a
    result keeps) with the truth and with what the detectors of the first seed are sure of."""
    there = objects_of(measured.settings[0], "test", min(count, SHOWN))
    found = {TRUTH: true_things(there), UNTRAINED: found_things(initial.results[0].value, there)}
    for ratio in ratios:
        found[f"ratio {ratio:g}"] = found_things(_at(measured, ratio).value, there)
    return there.batch(slice(None)).numpy(), found


def true_things(there: ObjectSet | CocoSet) -> list[list[Thing]]:
    """The objects of each scene."""
    return [[Thing(there.categories[label - 1], box, mask)
             for label, box, mask in zip(*objects, strict=True)]
            for objects in zip(there.labels, there.boxes, there.masks, strict=True)]


def found_things(value: dict, there: ObjectSet | CocoSet) -> list[list[Thing]]:
    """What is kept of a detector's finds in these scenes, the first of the test set, see
    ``mae_lib.studies.detection``.

    Detectors give one place several names; only the surest is returned.
    """
    rows, things = value["shown"].astype(np.float32), []
    for scene in range(len(there)):
        here = np.flatnonzero(rows[:, 0] == scene)
        boxes = torch.from_numpy(rows[here, 3:])
        surest = here[nms(boxes, torch.from_numpy(rows[here, 2]), SAME).numpy()]
        things.append([Thing(there.categories[int(rows[k, 1]) - 1], rows[k, 3:],
                             value["shown masks"][scene] == 1 + k) for k in surest])
    return things


def precisions(sweep: Sweep) -> pd.DataFrame:
    """AP in percent with intervals, one row a model and kind of AP; ``patch`` is never missing."""
    table = only(summarise(sweep.records), metric="ap").copy()
    table[["value", "low", "high"]] *= 100
    patch = table["patch"] if "patch" in table else pd.Series(np.nan, table.index)
    return table.assign(patch=patch.fillna(table.unit).astype(int), text=with_interval(table, 1))


def beside_printed(found: pd.DataFrame, name: str, factor: str, scale: int = 1,
                   control: pd.DataFrame | None = None) -> pd.DataFrame:
    """Printed AP beside ours, one row a level that we have and one for the control, if given.

    Args:
        found: from :func:`precisions`, of one series.
        name: ``"S000.T3"`` or ``"S000.T5"``.
        factor: ``"ratio"`` or ``"patch"``.
        scale: how many pixels of the paper's one of ours stands for.
        control: the untrained encoder, from :func:`precisions`.
    """
    printed = paper.table(name)
    printed.index = printed[{"ratio": "mask ratio", "patch": "patch size"}[factor]] / scale
    rows = [_row(level, own, printed, factor) for level, own in found.groupby(factor)]
    if control is not None:
        rows.append(_row(UNTRAINED, control, printed, factor))
    return pd.DataFrame(rows)


def _row(level: float | str, own: pd.DataFrame, printed: pd.DataFrame, factor: str) -> dict:
    row = {factor: level}
    for kind, column in KINDS.items():
        row |= {f"{kind}, paper": printed[column].get(level, np.nan),
                f"{kind}, ours": only(own, protocol=kind).text.iloc[0]}
    return row


def panels(found: pd.DataFrame) -> pd.DataFrame:
    """Rows for curves over the ratio: our AP in one panel, the printed one in another."""
    printed = paper.table("S000.T3").rename(columns={"mask ratio": "ratio"})
    rows = [found.assign(panel=OURS)]
    rows += [pd.DataFrame({"ratio": printed.ratio, "value": printed[column], "protocol": kind,
                           "panel": THEIRS}) for kind, column in KINDS.items()]
    return pd.concat(rows)


def _at(measured: Sweep, ratio: float):
    """The result of the first run at a ratio whose patch is the preset's."""
    return next(r for s, r in zip(measured.settings, measured.results, strict=True)
                if s.ratio == ratio and s.patch is None)
