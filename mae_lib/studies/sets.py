"""The image sets that the experiments are run on, under one face."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from mae_lib.data.atari import AtariClips, clip_set, frame_set, record
from mae_lib.data.atari import fingerprint_of as fingerprint_of_recording
from mae_lib.data.atari.clips import fingerprint_of_clips
from mae_lib.data.atari.frames import fingerprint_of_frames
from mae_lib.data.clip_sets import FRAMES, identify_clips, menagerie_clips
from mae_lib.data.fashion_mnist import fashion_mnist, fingerprint_of
from mae_lib.data.files.readable import readable
from mae_lib.data.files.sets import FileSet, decoded
from mae_lib.data.files.transforms import pretraining_view
from mae_lib.data.images import ImageSet
from mae_lib.data.menagerie import CLASSES, identify, menagerie
from mae_lib.data.official.folders import folder
from mae_lib.data.official.imagenet import imagenet, imagenette
from mae_lib.data.official.small_sets import small_set
from mae_lib.data.protocols import Images
from mae_lib.data.subsets import crops_of_photograph, few
from mae_lib.runs import cache_folder
from mae_lib.studies.machine import decoders
from mae_lib.studies.settings import CLIPS, CLIPS_OF_GAMES, DATASETS, GAMES, Setting

SIZE = 32  # pixels, of the laptop's pictures
MEMORY = 2e9  # bytes for pictures that are decoded once
EXAMPLES, EXAMPLE_SIDE = 960, 64  # pictures that are drawn as an example of a folder
HELD_OUT = 10  # of a folder every tenth picture is for testing
FOLDERS = {"imagenet": "imagenet", "imagenette": "imagenette2"}  # below the root
SMALL = {"cifar10": 32, "cifar100": 32, "stl10": 96}  # their sides in pixels
POOL = 20_000  # training images of which few are chosen, where they are drawn; else all there are
PLAYERS = {"train": 0, "test": 1}  # seeds of the random players of games
PRESET = "medium32"  # of the procedural set: raw pixels alone do not solve its probe


def images_of(setting: Setting, split: str, count: int) -> Images:
    """``count`` images of a setting's data set, at the size that its model sees."""
    return images(setting.dataset, split, count, setting.size, _root(setting))


def training_images(setting: Setting) -> Images:
    """The images that a setting is pretrained on."""
    if setting.chosen is None:
        return images_of(setting, "train", setting.train_images)
    if setting.chosen == "photograph":
        return crops_of_photograph(setting.train_images, setting.size, setting.seed)
    pool = images_of(setting, "train", pool_size(setting))
    return few(pool, setting.train_images, setting.chosen, setting.seed)


def pool_size(setting: Setting) -> int:
    """How many images a setting's training images are chosen from; all of its own if they are."""
    if setting.chosen is None:
        return setting.train_images
    return POOL if setting.dataset in ("menagerie", "fashion_mnist") else sys.maxsize


@lru_cache(maxsize=64)
def training_fingerprint(setting: Setting) -> str:
    """What tells the images that a setting is pretrained on, or is chosen from, from others."""
    if setting.chosen == "photograph":
        return training_images(setting).fingerprint
    return fingerprint_of_images(setting, "train", pool_size(setting))


@lru_cache(maxsize=4)
def images(dataset: str, split: str, count: int, size: int = SIZE,
           root: str | None = None) -> Images:
    """``count`` images of the split ``"train"`` or ``"test"``.

    Of ImageNet, Imagenette and folders these are chosen once and for all, and all of them if there
    are no more than ``count``. Its validation set stands for ImageNet's test set. Of a game clips
    are cut from ``count`` frames, wherever one can begin.

    Args:
        size: side in pixels.
        root: folder of the data set, for those that lie on disk.

    Raises:
        ValueError: images of a fixed size that is not ``size``; data sets on disk without ``root``.
        WrongLayout, MissingDataset: ``root`` does not hold what it should.
    """
    if dataset == "menagerie":
        return menagerie(split, count, size=size, preset=PRESET)
    if dataset in CLIPS_OF_GAMES:
        return _clips_of_game(CLIPS_OF_GAMES[dataset], split, count, size)
    if dataset in CLIPS:
        return menagerie_clips(split, count, size, PRESET)
    if dataset in GAMES:
        return _frames(dataset, split, count, size)
    if (own := SMALL.get(dataset, SIZE if dataset == "fashion_mnist" else size)) != size:
        raise ValueError(f"preset must be one for images of {own}x{own} pixels for {dataset}, "
                         f"got one for {size}x{size}")
    if dataset == "fashion_mnist":
        return fashion_mnist(split, count)
    if dataset in SMALL:
        return _some(small_set(dataset, split, root=root), count)
    return _some(_on_disk(dataset, split, size, existing_root(root, DATASETS[dataset])), count)


def existing_root(root: str | None, what: str) -> Path:
    """The folder of data sets on disk.

    Raises:
        ValueError: none is named.
    """
    if not root:
        raise ValueError(f"data_root must name the folder that {what} lies in, got none")
    return Path(root)


def _frames(game: str, split: str, count: int, size: int) -> ImageSet:
    """What a random player sees; another player for each split."""
    return frame_set(record(game, count, seed=PLAYERS[split], size=size))


def _clips_of_game(game: str, split: str, count: int, size: int) -> AtariClips:
    """The same frames in clips that overlap."""
    return clip_set(record(game, count, seed=PLAYERS[split], size=size), FRAMES)


def rewards(setting: Setting) -> np.ndarray:
    """Points made on the way to each training frame of a game, float32 ``[N]``."""
    return record(setting.dataset, setting.train_images, seed=PLAYERS["train"],
                  size=setting.size).rewards.astype(np.float32)


def _on_disk(dataset: str, split: str, size: int, root: Path) -> FileSet:
    view = pretraining_view(size) if split == "train" else None
    if dataset in ("folder", "examples"):
        whole = own_pictures(root, size)
        tested = np.arange(len(whole)) % HELD_OUT == HELD_OUT - 1
        return replace(whole.subset(tested if split == "test" else ~tested), view=view)
    read = imagenet if dataset == "imagenet" else imagenette
    return read(root / FOLDERS[dataset], {"train": "train", "test": "val"}[split], size=size,
                view=view)


def _root(setting: Setting) -> str | None:
    return example_folder() if setting.dataset == "examples" else setting.root


def example_folder(count: int = EXAMPLES) -> str:
    """A folder of Menagerie pictures, one folder a class, drawn once and kept in the cache.

    Without compression, so that the files are the same bytes everywhere.
    """
    root = cache_folder() / "example pictures" / str(count)
    if not (root / "done").exists():
        drawn = menagerie("val", count, size=EXAMPLE_SIDE)
        for i, (pixels, label) in enumerate(zip(drawn.images, drawn.labels, strict=True)):
            file = root / CLASSES[label] / f"{i:05}.ppm"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.transpose(1, 2, 0)).save(file)
        (root / "done").touch()
    return str(root)


@lru_cache(maxsize=1)
def own_pictures(root: Path, size: int) -> FileSet:
    """All pictures of a folder that can be read, decoded once if they fit into memory."""
    good, _ = readable(folder(root, size=size, name=DATASETS["folder"]), workers=decoders())
    if len(good) * 3 * (2 * size) ** 2 > MEMORY:
        return good
    return decoded(good, 2 * size, workers=decoders())


def _some(images: Images, count: int) -> Images:
    """``count`` of the images, the same ones for ever; all of them if there are no more."""
    if count >= len(images):
        return images
    order = np.random.default_rng(len(images)).permutation(len(images))
    return images.subset(np.sort(order[:count]))


def fingerprint_of_images(setting: Setting, split: str, count: int) -> str:
    """What :func:`images_of` would carry as its fingerprint, without loading or drawing them."""
    return data_fingerprint(setting.dataset, split, count, setting.size, _root(setting))


@lru_cache(maxsize=16)
def data_fingerprint(dataset: str, split: str, count: int, size: int = SIZE,
                     root: str | None = None) -> str:
    """What :func:`images` would carry as its fingerprint."""
    if dataset == "menagerie":
        return identify(split, count, size, PRESET)
    if dataset == "fashion_mnist":
        return fingerprint_of(split, count)
    if dataset in CLIPS_OF_GAMES:
        played = fingerprint_of_recording(CLIPS_OF_GAMES[dataset], count, seed=PLAYERS[split],
                                          size=size)
        return fingerprint_of_clips([played], FRAMES)
    if dataset in CLIPS:
        return identify_clips(split, count, size, PRESET)
    if dataset in GAMES:
        return fingerprint_of_frames(dataset, count, seed=PLAYERS[split], size=size)
    return images(dataset, split, count, size, root).fingerprint


def in_memory(images: Images) -> ImageSet:
    """A set with all its pixels at hand, for measurements that look at all of them at once."""
    if isinstance(images, ImageSet):
        return images
    return ImageSet(pixels_of(images, slice(None)), images.labels, images.classes, images.name,
                    images.fingerprint)


def pixels_of(images: Images, index) -> np.ndarray:
    """The bytes of some images, uint8 ``[n,3,H,W]``."""
    found = images.images[index] if isinstance(images, ImageSet) else images.pixels(index)
    return np.asarray(found)
