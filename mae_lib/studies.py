"""One function a measurement: a setting goes in, a result that is found or computed comes out.

This is what a chapter calls. A study ties data, model, training and evaluation together and keeps
what it finds in :mod:`mae_lib.runs`; the rooms below know nothing of each other's results.
"""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from mae_lib import runs
from mae_lib.data.images import ImageSet
from mae_lib.evaluation import records
from mae_lib.models.methods import MaskedAutoencoder, mae
from mae_lib.training.pretrain import pretrain
from mae_lib.training.schedule import Recipe

DATASETS = {"menagerie": "mae_lib.data.menagerie", "fashion_mnist": "mae_lib.data.fashion_mnist"}
SIZE = 32  # pixels, of both data sets
PRESET = "medium32"  # of the procedural set: raw pixels alone do not solve its probe
COMPLEMENT_RATIOS = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Setting:
    """What determines one pretraining run.

    Args:
        dataset: ``"menagerie"`` or ``"fashion_mnist"``.
        ratio: share of hidden patches.
        unit: side of a masking unit in pixels, a multiple of the ViT patch.
        target: ``"pixel"`` or ``"normalised"``.
        seed: of the weights, the order of the images and the masks.
        preset: model, see :data:`mae_lib.models.methods.PRESETS`.
        views: training images seen, repetitions counted; 0 keeps the initial weights.
        train_images: how many different ones there are.
    """

    dataset: str = "menagerie"
    ratio: float = 0.75
    unit: int = 4
    target: str = "pixel"
    seed: int = 0
    preset: str = "laptop"
    views: int = 300_000
    batch: int = 32
    lr: float = 1.5e-3
    train_images: int = 40_000

    def __post_init__(self) -> None:
        if self.dataset not in DATASETS:
            raise ValueError(f"dataset must be one of {', '.join(DATASETS)}, got {self.dataset!r}")

    @property
    def identity(self) -> dict:
        """All of it but the seed."""
        return {k: v for k, v in asdict(self).items() if k != "seed"}


def grid(datasets: Iterable[str], ratios: Iterable[float], units: Iterable[int],
         seeds: Iterable[int], *, unit_ratio: float, **common) -> list[Setting]:
    """The two series of Kong et al.: ratios at the smallest unit, and units at ``unit_ratio``."""
    units = sorted(units)
    pairs = [(r, units[0]) for r in ratios] + [(unit_ratio, u) for u in units]
    return [Setting(dataset=d, ratio=r, unit=u, seed=s, **common)
            for d, (r, u), s in itertools.product(datasets, dict.fromkeys(pairs), seeds)]


@lru_cache(maxsize=4)
def images(dataset: str, split: str, count: int) -> ImageSet:
    """``count`` images of the split ``"train"`` or ``"test"``."""
    if dataset == "menagerie":
        from mae_lib.data.menagerie import menagerie

        source = {"train": "train", "test": "val"}[split]  # val plays ImageNet's validation set
        return menagerie(source, count, size=SIZE, preset=PRESET)
    from mae_lib.data.fashion_mnist import fashion_mnist

    return fashion_mnist(split, count)


def pretrained(setting: Setting, *, progress: bool = True) -> runs.Result:
    """A pretraining run: weights (rounded to float16, as they are kept and evaluated) and losses.

    An interrupted run goes on from its last checkpoint.
    """
    key = _key("pretraining", setting, {}, ["mae_lib.training.pretrain"])
    return runs.find_or_compute(key, lambda: _pretrain(setting, key, progress))


def model(setting: Setting) -> MaskedAutoencoder:
    """The pretrained model of a setting, in evaluation mode."""
    from mae_lib.models.weights import from_published_names

    network = _network(setting)
    if setting.views:
        weights = {k: v.float() for k, v in pretrained(setting).value["weights"].items()}
        network.load_state_dict(from_published_names(weights), strict=False)
    return network.eval()
