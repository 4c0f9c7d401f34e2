"""What determines one pretraining run, and the series of runs that the papers compare."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace

from mae_lib.data.subsets import CHOICES
from mae_lib.models.family import MAE, check_names
from mae_lib.models.guided_masks import POLICIES
from mae_lib.models.methods import PRESETS
from mae_lib.models.wider import KINDS, Kind

# Data sets under the names that readers know.
DATASETS = {"menagerie": "Menagerie", "fashion_mnist": "Fashion-MNIST", "imagenet": "ImageNet-1K",
            "imagenette": "Imagenette", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100",
            "stl10": "STL-10", "folder": "own pictures", "examples": "example pictures",
            "menagerie_clips": "Menagerie clips", "pong": "Pong", "boxing": "Boxing",
            "ms_pacman": "Ms. Pac-Man", "boxing_clips": "Boxing clips"}
DRAWN_AS = {"menagerie_clips": "menagerie"}  # of one world: they stand together
GAMES = ("pong", "boxing", "ms_pacman")
CLIPS_OF_GAMES = {"boxing_clips": "boxing"}
CLIPS = ("menagerie_clips", *CLIPS_OF_GAMES)
CHOSEN = (*CHOICES, "photograph")
SIZES = ("width", "depth", "decoder_width", "decoder_depth")
NOT_OF_KINDS = ("augment", "margin", "scattered", "policy")
HERE = ("root", "checkpoint", "micro")  # of this machine: they change no result


@dataclass(frozen=True)
class Setting:
    """One pretraining run. A field that is None is left out of the result's key.

    Args:
        dataset: a key of ``DATASETS``.
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
        sampling: see :func:`mae_lib.models.methods.mae`; random, or the method's own, if None.
        width, depth, decoder_width, decoder_depth: sizes of the networks, if not the preset's.
        method, augment: another method than MAE, and what its views are made with, see
            :func:`mae_lib.models.family.method`; or a method of
            :data:`mae_lib.models.wider.KINDS`.
        chosen: how ``train_images`` few images are chosen, see
            :func:`mae_lib.data.subsets.few`; ``"photograph"`` for crops of one photograph.
        precision: of training, see :func:`mae_lib.training.step.compile_step`; float32 if None.
        root: folder of the data set, or of several in their official layouts.
        checkpoint: file of published weights to look at; nothing is trained then.
        micro: images a device and forward pass at most.

    Raises:
        ValueError: unknown data set, policy, method, augmentation or choice; a method of images
            for clips, or the other way round.
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
    sampling: str | None = None
    width: int | None = None
    depth: int | None = None
    decoder_width: int | None = None
    decoder_depth: int | None = None
    method: str | None = None
    augment: str | None = None
    chosen: str | None = None
    precision: str | None = None
    root: str | None = None
    checkpoint: str | None = None
    micro: int | None = None

    def __post_init__(self) -> None:
        if self.dataset not in DATASETS:
            raise ValueError(f"dataset must be one of {', '.join(DATASETS)}, got {self.dataset!r}")
        if self.policy not in (None, *POLICIES):
            raise ValueError(f"policy must be one of {', '.join(POLICIES)}, got {self.policy!r}")
        if self.policy and self.dataset != "menagerie":
            raise ValueError(f"policy needs pictures whose parts are known, got {self.dataset!r}")
        if self.chosen not in (None, *CHOSEN):
            raise ValueError(f"chosen must be one of {', '.join(CHOSEN)}, got {self.chosen!r}")
        if self.kind is None:
            check_names(self.method or MAE, self.augment)
        elif ignored := [name for name in NOT_OF_KINDS if getattr(self, name)]:
            raise ValueError(f"{ignored[0]} must be left open for {self.method}, "
                             f"got {getattr(self, ignored[0])!r}")
        if (self.dataset in CLIPS) != bool(self.kind and self.kind.clips):
            what = "clips" if self.dataset in CLIPS else "single images"
            raise ValueError(f"method must be one that learns from {what} for "
                             f"{DATASETS[self.dataset]}, got {self.method or MAE!r}")

    @property
    def kind(self) -> Kind | None:
        """Of a method of clips or of world models; None of the others."""
        return KINDS.get(self.method)

    @property
    def sizes(self) -> Mapping[str, int]:
        """Of the preset, whose name stands for other sizes in clips and world models."""
        return (self.kind.presets if self.kind else PRESETS)[self.preset]

    @property
    def vit_patch(self) -> int:
        """Side of a ViT patch in pixels."""
        return self.patch or self.sizes["patch"]

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return self.sizes.get("size", 224)

    @property
    def shape(self) -> dict[str, int]:
        """All sizes of the networks, by the names of ``PRESETS``."""
        own = {name: getattr(self, name) for name in SIZES if getattr(self, name) is not None}
        return {**self.sizes, "size": self.size, "patch": self.vit_patch, **own}

    def described(self) -> dict:
        """The fields that are set, as JSON can hold them; not what is of this machine alone."""
        return {name: value for name, value in asdict(self).items()
                if value is not None and name not in HERE}


def without_seed(setting: Setting) -> dict:
    """What describes a run in its records, beside the seed."""
    return {name: value for name, value in setting.described().items() if name != "seed"}


def grid(datasets: Iterable[str], ratios: Iterable[float], units: Iterable[int],
         seeds: Iterable[int], *, unit_ratio: float, unit_patch: int | None = None,
         **common) -> list[Setting]:
    """The two series of Kong et al.: ratios, masking whole patches, and units at ``unit_ratio``.

    Args:
        unit_patch: side of a ViT patch in the series of units, the preset's if None.
    """
    own = PRESETS[common.get("preset", Setting.preset)]["patch"]
    other = None if unit_patch == own else unit_patch
    places = [(r, own, None) for r in ratios] + [(unit_ratio, u, other) for u in sorted(units)]
    return [Setting(dataset=d, ratio=r, unit=u, patch=p, seed=s, **common)
            for d, (r, u, p), s in itertools.product(datasets, dict.fromkeys(places), seeds)]


def one_each(settings: Iterable[Setting]) -> list[Setting]:
    """The first setting of each data set, for studies that depend on little else."""
    return list({setting.dataset: setting for setting in reversed(list(settings))}.values())[::-1]


def untrained(settings: Iterable[Setting]) -> list[Setting]:
    """The control of each data set that keeps its initial weights."""
    return [replace(setting, views=0, checkpoint=None) for setting in one_each(settings)]
