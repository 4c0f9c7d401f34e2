"""What the chapter on Table 5 of Kong and Zhang (CVPR 2023) shows: views, cells, effects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from mae_lib.figures.masks import GREY
from mae_lib.ledger.occlusion_rules import gain_beside_mask, main_effect, subsets
from mae_lib.ledger.rows import CMAE, EXTRAS, MAE, SCRATCH, factorial
from mae_lib.ledger.statistics import Interval, t_interval
from mae_lib.ledger.summary import with_interval
from mae_lib.models.masks import random_mask
from mae_lib.models.patches import patch_grid
from mae_lib.models.views import Augmentation, Drawn
from mae_lib.pages import methods
from mae_lib.studies import Plan, Setting, images_of
from mae_lib.studies.family import Rows
from mae_lib.studies.settings import DATASETS

Contrast = Callable[[pd.DataFrame], pd.Series]
MEASURE = "fine-tuned (%)"
SEEN = ("seen", "predicted", "view 2")  # of one image, by MAE, from MAE, by C-MAE
BESIDE = "others, beside masking"


def views(setting: Setting, count: int, seed: int = 0, extras: Sequence[str] = EXTRAS
          ) -> tuple[dict[str, np.ndarray], list[str]]:
    """What :func:`mae_lib.figures.reconstruction_grid` draws: a row a cell of Table 5.

    Of each of ``count`` test images: what MAE is shown, which is C-MAE's first view too; what MAE
    has to predict; C-MAE's second view. Grey is hidden, or not asked for. All rows are made with
    the same random numbers. A rectangle comes from the image at the mirror place, so that an image
    in the middle of an odd ``count`` shows none.
    """
    generator = torch.Generator().manual_seed(seed)
    images = images_of(setting, "test", count).batch(slice(count))
    hidden = _hidden(setting, count, generator)
    drawn = Augmentation(cutmix=True, colour=True).draw(count, 2, generator)
    rows = {label(subset): _seen(images, hidden, drawn, subset)
            for subset in subsets(extras)}
    return rows, list(SEEN) * count


def label(subset: tuple[str, ...]) -> str:
    """A cell of Table 5 without its method."""
    return factorial("", subset).removeprefix(": ")


def _hidden(setting: Setting, count: int, generator: torch.Generator) -> Tensor:
    """Which pixels a mask of the setting hides, bool ``[B,1,H,W]``."""
    patch = setting.vit_patch
    grid = patch_grid(setting.size, patch)
    cells = random_mask(count, grid, setting.ratio, generator=generator).binary().bool()
    return cells.view(count, 1, *grid).repeat_interleave(patch, 2).repeat_interleave(patch, 3)


def _seen(images: Tensor, hidden: Tensor, drawn: Drawn, subset: tuple[str, ...]) -> np.ndarray:
    """The pictures of one cell, ``[B * len(SEEN), 3, H, W]``."""
    made = Augmentation(cutmix="cutmix" in subset, colour="colour" in subset)
    first, second = (made(images, drawn, view) for view in (0, 1))
    parts = [first, images, second]
    if "mask" in subset:
        gone = (hidden, ~hidden, ~hidden)
        parts = [torch.where(away, GREY, part) for away, part in zip(gone, parts, strict=True)]
    return torch.stack(parts, 1).flatten(0, 1).numpy()


def cells(found: pd.DataFrame, printed: Mapping[str, float]) -> pd.DataFrame:
    """Rows for :func:`mae_lib.figures.dots`: subsets as rows, a panel a data set and method.

    Args:
        found: of :func:`mae_lib.pages.methods.measured`, of Table 5 and, if there, the control
            without pretraining, which stands in every panel.
        printed: of the paper, by row.
    """
    parts, several = [], found.dataset.nunique() > 1
    for dataset, part in found.groupby("dataset", sort=False):
        head = f"{DATASETS[dataset]}: " if several else ""
        for name in (MAE, CMAE):
            own = part[part.row.isin([SCRATCH, *(factorial(name, s) for s in subsets())])]
            parts.append(own.assign(panel=f"{head}{name}, {MEASURE}", method=name,
                                    paper=own.row.map(printed).astype(float),
                                    row=own.row.str.removeprefix(f"{name}: ")))
    return pd.concat(parts, ignore_index=True)


def cells_table(found: pd.DataFrame, printed: Mapping[str, float]) -> pd.DataFrame:
    """One row a data set and subset: each method's accuracy with interval, and the paper's."""
    return _by_method(cells(found, printed), "views made with")


def effects(plan: Plan, rows: Rows, printed: Mapping[str, float]) -> pd.DataFrame:
    """One row an augmentation: what it adds to either method's accuracy on average over the
    others, and how much more to C-MAE's than to MAE's; ours with intervals, and the paper's.

    The last row is what the others add to masking. These are the parts of claim O-18. Only cells
    that are in ``rows`` count, in the paper's numbers, too.
    """
    cells = {name: part for name, part in rows.items() if name != SCRATCH}
    wanted = _effects([extra for extra in EXTRAS if factorial(MAE, (extra,)) in cells])
    found = contrasts(plan, cells, wanted)
    same = pd.DataFrame([{name: printed[name] for name in cells}])
    theirs = [contrast(same).iloc[0] for contrast in wanted.values()]
    effect, method = zip(*wanted, strict=True)
    times = len(found) // len(wanted)  # data sets
    return _by_method(found.assign(row=effect * times, method=method * times,
                                   paper=theirs * times), "gain by")


def _by_method(found: pd.DataFrame, head: str) -> pd.DataFrame:
    """``text`` and ``paper`` of every ``method``, a line a data set and ``row``."""
    wide = found.pivot_table(["text", "paper"], ["dataset", "row"], "method", aggfunc="first",
                             sort=False, dropna=False)
    table = wide.index.to_frame(index=False).rename(columns={"row": head})
    for name in dict.fromkeys(found.method):
        for column, whose in (("text", "ours"), ("paper", methods.KONG_ZHANG)):
            table[f"{whose}, {name}"] = wide[column, name].to_numpy()
    sets = table.pop("dataset").map(DATASETS)
    return table.assign(**{"data set": sets}) if sets.nunique() > 1 else table


def _effects(extras: Sequence[str]) -> dict[tuple[str, str], Contrast]:
    """The parts of claim O-18: of each augmentation and method, and of their difference."""
    tests = {"masking" if extra == "mask" else extra: partial(main_effect, extra=extra)
             for extra in extras} | {BESIDE: gain_beside_mask}
    return {(effect, method): value for effect, test in tests.items() for method, value in (
        (MAE, partial(test, name=MAE)), (CMAE, partial(test, name=CMAE)),
        (f"{CMAE} less {MAE}", partial(_difference, test)))}


def _difference(test: Callable[..., pd.Series], table: pd.DataFrame) -> pd.Series:
    return test(table, name=CMAE) - test(table, name=MAE)


def contrasts(plan: Plan, rows: Rows, wanted: Mapping[object, Contrast]) -> pd.DataFrame:
    """One row a data set and contrast of rows, fine-tuned: its mean in points with an interval.

    With several training runs the 95 % interval is Student's over them. With one it is the normal
    one over test images, which are the same for all rows, and says nothing about another run.

    Args:
        wanted: ``{name: function}``; it takes a table with a column a row of ``rows``, a line a
            run or a test image, and returns a number a line.

    Returns:
        Columns ``dataset``, ``contrast``, ``value``, ``low``, ``high``, ``over``, ``text``.

    Raises:
        ValueError: rows without a common run.
    """
    kind, found = methods.MEASURES[MEASURE], []
    for dataset, over, table in _tables(plan, rows, kind):
        for name, contrast in wanted.items():
            value, low, high = _interval(contrast(table), over)
            found.append({"dataset": dataset, "contrast": name, "value": value, "low": low,
                          "high": high, "over": over})
    frame = pd.DataFrame(found)
    return frame.assign(text=with_interval(frame, kind.digits))


def _tables(plan: Plan, rows: Rows, kind: methods.Measure
            ) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Of each data set what contrasts are made of, and what its lines are: runs or images."""
    held = {name: methods.by_run(plan.sweep(kind.study, settings), kind)
            for name, settings in rows.items()}
    common = sorted(set.intersection(*(set(found) for found in held.values())))
    if not common:
        raise ValueError(f"rows must have a training run in common, got none of {len(rows)}")
    for dataset in dict.fromkeys(data for data, _ in common):
        runs = [run for run in common if run[0] == dataset]
        if len(runs) > 1:
            parts = {name: [found[run].value for run in runs] for name, found in held.items()}
        else:
            parts = {name: found[runs[0]].items for name, found in held.items()}
        over = "runs" if len(runs) > 1 else "images"
        yield dataset, over, kind.factor * pd.DataFrame(parts).astype(float)


def _interval(values: pd.Series, over: str) -> Interval:
    if over == "runs":
        return t_interval(values)
    half = stats.norm.ppf(0.975) * values.std(ddof=1) / np.sqrt(len(values))
    return Interval(*(float(values.mean() + sign * half) for sign in (0, -1, 1)))
