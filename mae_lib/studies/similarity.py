"""Does a model trained at ratio .9 resemble one trained at .1? Linear CKA of all pairs of models.

The abstract of Kong et al. calls the representations of both extremes low-level; if so, they should
be nearest to each other.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mae_lib.data.images import ImageSet
from mae_lib.evaluation.cka import cka_matrix
from mae_lib.evaluation.records import EvalRecord, to_value
from mae_lib.evaluation.similarity import block_features
from mae_lib.studies.pretraining import model
from mae_lib.studies.sets import fingerprint_of_images, images_of
from mae_lib.studies.settings import Setting, grid, without_seed
from mae_lib.studies.study import Study, image_fingerprints

REPRESENTATIONS = ("class token", "mean token")
INPUTS = {"levelled": True, "raw": False}  # see mae_lib.evaluation.similarity.level
UNTRAINED = "untrained"
RECIPE = ("target", "preset", "views", "batch", "lr", "train_images", "precision")


def compared(setting: Setting, ratios: tuple[float, ...], units: tuple[int, ...],
             unit_ratio: float) -> dict[str, Setting]:
    """The models of both series that share data set, seed and recipe with a setting, by name.

    Names are the ratio (``"0.9"``), ``"unit 8"`` for masking units of several patches if these are
    as large as in the ratio series, and ``"untrained"`` for the control.
    """
    patch = setting.vit_patch
    units = units if min(units) == patch else ()
    series = grid([setting.dataset], ratios, units, [setting.seed], unit_ratio=unit_ratio,
                  root=setting.root,
                  **{name: getattr(setting, name) for name in RECIPE})
    named = {f"{s.ratio:g}" if s.unit == patch else f"unit {s.unit}": s for s in series}
    return named | {UNTRAINED: replace(series[0], views=0)}


def _cross(setting: Setting, if_stale: str, test_images: int, ratios: tuple[float, ...],
           units: tuple[int, ...], unit_ratio: float) -> dict:
    test = images_of(setting, "test", test_images)
    models = compared(setting, ratios, units, unit_ratio)
    encoders = [model(s, if_stale).encoder for s in models.values()]
    cka = np.array([_all_pairs(encoders, test, levelled) for levelled in INPUTS.values()],
                   np.float32)
    return {**to_value(_records(cka, models, test_images)), "cka": cka, "models": list(models),
            "inputs": list(INPUTS), "representations": list(REPRESENTATIONS)}


def _all_pairs(encoders: list, test: ImageSet, levelled: bool) -> np.ndarray:
    """Every block of every model against every other, for each representation:
    ``[representations, models, blocks, models, blocks]``."""
    found = [np.stack(block_features(e, test, "cls+mean", levelled=levelled)) for e in encoders]
    shape = len(encoders), encoders[0].depth
    halves = np.split(np.concatenate(found), 2, axis=2)
    return np.array([cka_matrix(half).reshape(*shape, *shape) for half in halves])


def _records(cka: np.ndarray, models: dict[str, Setting], count: int) -> list[EvalRecord]:
    """Last block against last block, as ``"cka to <name of the other>"`` of each trained model."""
    common = {"split": "test", "n": count}
    return [EvalRecord(without_seed(setting), setting.seed, setting.dataset, protocol=(
                f"similarity of models, {representation}, {inputs}"),
                metric=f"cka to {other}", value=float(cka[i, r, a, -1, b, -1]), **common)
            for i, inputs in enumerate(INPUTS) for r, representation in enumerate(REPRESENTATIONS)
            for a, (name, setting) in enumerate(models.items()) if name != UNTRAINED
            for b, other in enumerate(models) if other != name]


def _data(setting: Setting, arguments: dict) -> dict[str, str]:
    train = fingerprint_of_images(setting, "train", setting.train_images)
    return image_fingerprints(setting, arguments) | {"train": train}


def _compared(setting: Setting, test_images: int, **series) -> list[Setting]:
    return list(compared(setting, **series).values())


# One result a data set and seed; the ratio and unit of the setting that asks do not matter.
CROSS_CKA = Study("cross_cka", _cross, ("mae_lib.evaluation.similarity",
                                        "mae_lib.training.pretrain"),
                  fields=("dataset", "seed", *RECIPE), data=_data, compares=_compared)
