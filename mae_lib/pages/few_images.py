"""What the chapters on few images show (Kong and Zhang, CVPR 2023, Tables 6 to 8)."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from mae_lib import studies
from mae_lib.figures import COLOURS, MARKERS, WIDTH, style
from mae_lib.ledger.rows import PHOTOGRAPH, few
from mae_lib.ledger.summary import only, summarise, with_interval
from mae_lib.models.views import Augmentation
from mae_lib.pages import methods, papers
from mae_lib.studies import Plan, Setting, family
from mae_lib.studies.family import Rows
from mae_lib.studies.sets import training_images
from mae_lib.studies.settings import DATASETS


def pictures(plan: Plan, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """What few networks of the first seed are trained on, ``{label: [count,3,H,W] in [0, 1]}``.

    The first picture with random crops of it; the first of the most pictures, by how they are
    chosen; crops of the photograph. A set of fewer than ``count`` pictures repeats them.
    """
    most = max(plan.few_counts)
    rows = family.table7(plan) | {PHOTOGRAPH: family.table6(plan)[PHOTOGRAPH]}
    shown = {name: _first(settings[0], count) for name, settings in rows.items()}
    one = shown[few(most, "random")][:1].expand(count, -1, -1, -1)
    crop = Augmentation(crop=True)
    crops = crop(one, crop.draw(count, 1, torch.Generator().manual_seed(seed)), 0)
    found = {few(1, "crops"): torch.cat([one[:1], crops[1:]]), **shown}
    return {name: images.numpy() for name, images in found.items()}


def _first(setting: Setting, count: int) -> torch.Tensor:
    images = training_images(setting)
    return images.batch(np.arange(count) % len(images))


def classes_seen(rows: Rows) -> list[int]:
    """How many classes the training images of each row are of, in its first run."""
    return [len(np.unique(training_images(settings[0]).labels)) for settings in rows.values()]


def final_losses(plan: Plan, rows: Rows) -> pd.DataFrame:
    """One row a row that was trained: the loss over the last of its steps, see
    :data:`mae_lib.studies.LOSSES`, with an interval over runs if there are several."""
    parts = []
    for name, settings in rows.items():
        if trained := [s for s in settings if s.views]:
            found = summarise(plan.sweep(studies.LOSSES, trained).records)
            found = only(found, metric="final loss")
            parts.append(found.assign(pretraining=name, loss=with_interval(found, 3)))
    found = pd.concat(parts, ignore_index=True)
    table = found[["pretraining", "loss"]].rename(columns={"loss": "loss at the end"})
    sets = found.dataset.map(DATASETS)
    return table.assign(**{"data set": sets}) if sets.nunique() > 1 else table


def same_images(plan: Plan) -> tuple[Rows, dict[str, dict[str, float]]]:
    """Table 8 under the names of its methods alone: rows, and the paper's numbers."""
    rows = {_method(name): settings for name, settings in family.table8(plan).items()}
    return rows, {measure: {_method(name): value for name, value in numbers.items()}
                  for measure, numbers in papers.printed("S004.T8").items()}


def _method(name: str) -> str:
    return name.partition(", ")[0]


def ranked(found: pd.DataFrame, printed: methods.Printed, measures: Sequence[str]
           ) -> pd.DataFrame:
    """Place of each row by each measure, 1 the best: ``panel``, ``row``, and a column a measure.

    The paper is the first panel, if its numbers of all these measures are known; then our data
    sets.
    """
    theirs = pd.DataFrame({name: printed.get(name, {}) for name in measures}, dtype=float)
    panels = {methods.KONG_ZHANG: theirs.reindex(found.row.unique()).dropna()}
    for dataset, part in found.groupby("dataset", sort=False):
        wide = part.pivot_table("value", "row", "measure", sort=False)
        panels[f"ours, {DATASETS[dataset]}"] = wide[measures].dropna()
    parts = [table.rank(ascending=False).rename_axis("row").reset_index().assign(panel=name)
             for name, table in panels.items() if len(table)]
    return pd.concat(parts, ignore_index=True)


def slopes(ranks: pd.DataFrame) -> Figure:
    """A panel each, a line a row from its place by the first measure to that by the second.

    Args:
        ranks: of :func:`ranked`, with two measures.

    Raises:
        ValueError: other than two measures, or no rows.
    """
    measures = [column for column in ranks if column not in ("panel", "row")]
    if len(measures) != 2 or ranks.empty:
        raise ValueError(f"ranks must have rows and two measures, got {len(ranks)} rows and "
                         f"{len(measures)} measures")
    order, parts = list(dict.fromkeys(ranks.row)), list(ranks.groupby("panel", sort=False))
    with style():
        fig, axes = plt.subplots(1, len(parts), squeeze=False, sharey=True,
                                 figsize=(WIDTH, 1 + 0.34 * len(order)))
        for ax, (name, part) in zip(axes[0], parts, strict=True):
            for row, left, right in part[["row", *measures]].itertuples(index=False):
                i = order.index(row)
                ax.plot([0, 1], [left, right], color=COLOURS[i % len(COLOURS)],
                        marker=MARKERS[i % len(MARKERS)])
            for place, names in part.groupby(measures[1], sort=False).row:
                ax.annotate(", ".join(names), (1.08, place), va="center")
            ax.set(title=name, xlim=(-0.15, 2.2), yticks=range(1, len(order) + 1))
            ax.set_xticks([0, 1], [name.removesuffix(" (%)") for name in measures])
            ax.grid(False)
        axes[0, 0].set_ylabel("place")
        axes[0, 0].invert_yaxis()
    plt.close(fig)
    return fig
