"""The chapter for a folder of one's own pictures: what is run on it, and what is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mae_lib.data.official.folders import folder as listed
from mae_lib.ledger.summary import only, summarise, with_interval
from mae_lib.pages.present import named
from mae_lib.studies import LINEAR_PROBE, Plan
from mae_lib.studies.sets import example_folder, own_pictures

SHOWN = 6
FEW = 50  # pictures, below which there is little to learn


def plan(folder: str, views: int, seed: int = 0) -> Plan:
    """One small MAE at ratio .75 on the pictures of a folder, and what is measured of it.

    Raises:
        WrongLayout: no such folder, or no picture in it.
        ValueError: fewer than 50 pictures.
    """
    root = str(Path(folder).expanduser()) if folder else example_folder()
    dataset = "folder" if folder else "examples"
    if (count := len(listed(root))) < FEW:
        raise ValueError(f"folder must hold at least {FEW} pictures to learn from, got {count} "
                         f"in {root}")
    return Plan(datasets=(dataset,), seeds=(seed,), preset="laptop", views=views, batch=32,
                lr=1.5e-3, ratios=(0.75,), units=(4,), unit_ratio=0.75, train_images=count,
                probe_images=min(count, 20_000), probe_test_images=2_000, test_images=200,
                shown=SHOWN, data_root=root)


def contents(made: Plan) -> pd.DataFrame:
    """What is in the folder, a line each."""
    whole = listed(made.data_root)
    good = own_pictures(Path(made.data_root), made.core[0].size)
    largest = np.bincount(whole.labels).max()
    rows = {"pictures": f"{len(whole):,}", "that cannot be read": f"{len(whole) - len(good):,}",
            "classes": f"{len(whole.classes)}",
            "share of the largest class": f"{largest / len(whole):.0%}"}
    return pd.DataFrame({"": list(rows), "in the folder": list(rows.values())})


def probes(made: Plan) -> pd.DataFrame:
    """Accuracy (%) of simple classifiers on pictures that nothing was trained on, of the trained
    encoder and of the same before training; one row a classifier. Empty for a single class."""
    if len(listed(made.data_root).classes) < 2:
        return pd.DataFrame()
    parts = []
    for settings, column in ((made.core, "trained"), (made.untrained, "untrained")):
        found = named(summarise(made.sweep(LINEAR_PROBE, settings).records))
        found = only(found, metric="accuracy")
        parts.append(found.assign(text=with_interval(found, 1, 100), column=column))
    table = pd.concat(parts)
    return table.pivot_table("text", "protocol", "column", aggfunc="first",
                             sort=False).reset_index(names="classifier")
