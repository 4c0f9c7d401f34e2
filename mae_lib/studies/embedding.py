"""Figures 8 and 10 of Kong et al.: how far apart ten classes lie, as a picture and in numbers."""

from __future__ import annotations

import numpy as np

from mae_lib.evaluation.embedding import (
    DIMENSIONS,
    NEIGHBOURS,
    draws,
    embed_2d,
    principal,
    separability,
)
from mae_lib.evaluation.features import FeatureBank, extract_features, raw_pixels
from mae_lib.evaluation.records import EvalRecord, not_tested, records_of, to_value
from mae_lib.studies.pretraining import model
from mae_lib.studies.sets import images_of, in_memory
from mae_lib.studies.settings import Setting, without_seed
from mae_lib.studies.study import Study

CLASSES, DRAWS, PER_CLASS = 10, 5, 100
NUMBERS = ("purity", "linear_acc", "silhouette", "fisher")
QUALITY = ("silhouette", "trustworthiness", "kl")


def _embed(setting: Setting, if_stale: str, test_images: int) -> dict:
    encoder = model(setting, if_stale).encoder
    both = extract_features(encoder, images_of(setting, "test", test_images), "cls+mean")
    banks = {"mean token": both.columns(slice(encoder.width, None)),
             "class token": both.columns(slice(encoder.width))}
    return _compare(banks, {"setting": without_seed(setting), "seed": setting.seed,
                            "dataset": setting.dataset, "split": "test"})


def _embed_pixels(setting: Setting, if_stale: str, test_images: int) -> dict:
    bank = raw_pixels(in_memory(images_of(setting, "test", test_images)))
    return _compare({"pixels": bank}, {"setting": {"dataset": setting.dataset}, "seed": 0,
                                       "dataset": setting.dataset, "split": "test"})


def _compare(banks: dict[str, FeatureBank], common: dict) -> dict:
    """Numbers of every bank and draw; the map is that of the first bank and draw."""
    (primary, first), *_ = banks.items()
    names, sizes = np.unique(first.y, return_counts=True)
    if len(names) < CLASSES or sizes.min() <= NEIGHBOURS:
        return {**to_value(_not_tested(banks, sizes, common)), "classes": [],
                "xy": np.zeros((0, 2), np.float16), "labels": np.zeros(0, np.uint8)}
    chosen = draws(first.y, CLASSES, min(PER_CLASS, sizes.min()), DRAWS)
    found = [record for name, bank in banks.items()
             for record in _numbers(name, bank, chosen, common)]
    X, labels = first.image[chosen[0]], first.y[chosen[0]]
    drawn = embed_2d(X, labels, min(DIMENSIONS, *X.shape))
    found += records_of({name: np.array([getattr(drawn, name)]) for name in QUALITY}, **common,
                        protocol=f"map, {primary}")
    return {**to_value(found), "xy": drawn.xy.astype(np.float16),
            "labels": labels.astype(np.uint8 if labels.max() < 256 else np.uint16),
            "explained": float(drawn.explained.sum()),
            "classes": [np.unique(first.y[rows]).tolist() for rows in chosen]}


def _numbers(name: str, bank: FeatureBank, chosen: list[np.ndarray],
             common: dict) -> list[EvalRecord]:
    """Separability in fifty principal components; the items of a record are the draws."""
    dims = min(DIMENSIONS, len(chosen[0]), bank.image.shape[1])
    rows = [separability(principal(bank.image[some], dims)[0], bank.y[some]) for some in chosen]
    values = {metric: np.array([row[metric] for row in rows]) for metric in NUMBERS}
    return records_of(values, **common, protocol=f"components, {name}")


def _not_tested(banks: dict[str, FeatureBank], sizes: np.ndarray,
                common: dict) -> list[EvalRecord]:
    reason = (f"{CLASSES} classes of more than {NEIGHBOURS} test images are needed, "
              f"there are {len(sizes)} and as few as {sizes.min()}")
    wanted = [(f"components, {name}", metric) for name in banks for metric in NUMBERS]
    wanted += [(f"map, {next(iter(banks))}", metric) for metric in QUALITY]
    return [not_tested(reason, **common, protocol=protocol, metric=metric)
            for protocol, metric in wanted]


MODULES = ("mae_lib.evaluation.embedding", "mae_lib.evaluation.features")
EMBEDDING = Study("embedding", _embed, MODULES, libraries=("scikit-learn",))
PIXEL_EMBEDDING = Study("pixel_embedding", _embed_pixels, MODULES, libraries=("scikit-learn",),
                        fields=("dataset",))
