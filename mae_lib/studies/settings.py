"""What determines one pretraining run, and the series of runs that the papers compare."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from mae_lib.models.guided_masks import POLICIES

DATASETS = ("menagerie", "fashion_mnist")


@dataclass(frozen=True)
class Setting:
    """One pretraining run. A field that is None is left out of the result's key.

    Args:
        dataset: ``"menagerie"`` or ``"fashion_mnist"``.
        ratio: share of hidden patches.
        unit: side of a masking unit in pixels, a multiple of the ViT patch.
        target: ``"pixel"`` or ``"normalised"``.
        seed: of the weights, the order of the images and the masks.
        preset: model, see :data:`mae_lib.models.methods.PRESETS`.
        views: training images seen, repetitions counted; 0 keeps the initial weights.
        train_images: how many different ones there are.
        patch: side of a ViT patch in pixels, if not the preset's.
        margin: hidden pixels this close to visible ones are left out of the loss.
        scattered: a control: as many pixels as ``margin`` are left out, but anywhere.
        policy: how masks follow the parts of the picture, see
            :mod:`mae_lib.models.guided_masks`; at random over patches if None.

    Raises:
        ValueError: unknown data set or policy.
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
    patch: int | None = None
    margin: int | None = None
    scattered: bool | None = None
    policy: str | None = None

    def __post_init__(self) -> None:
        if self.dataset not in DATASETS:
            raise ValueError(f"dataset must be one of {', '.join(DATASETS)}, got {self.dataset!r}")
        if self.policy not in (None, *POLICIES):
            raise ValueError(f"policy must be one of {', '.join(POLICIES)}, got {self.policy!r}")
        if self.policy and self.dataset != "menagerie":
            raise ValueError(f"policy needs pictures whose parts are known, got {self.dataset!r}")

    def described(self) -> dict:
        """The fields that are set, as JSON can hold them."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def without_seed(setting: Setting) -> dict:
    """What describes a run in its records, beside the seed."""
    return {name: value for name, value in setting.described().items() if name != "seed"}


def grid(datasets: Iterable[str], ratios: Iterable[float], units: Iterable[int],
         seeds: Iterable[int], *, unit_ratio: float, **common) -> list[Setting]:
    """The two series of Kong et al.: ratios at the smallest unit, and units at ``unit_ratio``."""
    units = sorted(units)
    pairs = [(r, units[0]) for r in ratios] + [(unit_ratio, u) for u in units]
    return [Setting(dataset=d, ratio=r, unit=u, seed=s, **common)
            for d, (r, u), s in itertools.product(datasets, dict.fromkeys(pairs), seeds)]


def one_each(settings: Iterable[Setting]) -> list[Setting]:
    """The first setting of each data set, for studies that depend on little else."""
    return list({setting.dataset: setting for setting in reversed(list(settings))}.values())[::-1]


def untrained(settings: Iterable[Setting]) -> list[Setting]:
    """The control of each data set that keeps its initial weights."""
    return [replace(setting, views=0) for setting in one_each(settings)]
