"""CIFAR-10, CIFAR-100 and STL-10 in memory, read by torchvision.

CIFAR's files are pickles; torchvision opens them only if their checksums are the official ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mae_lib.data.fashion_mnist import MissingDataset, cache_folder
from mae_lib.data.images import ImageSet, fingerprint

# Class in torchvision, its splits, and what is looked for below the root.
SETS = {"cifar10": ("CIFAR10", ("train", "test"), "cifar-10-batches-py"),
        "cifar100": ("CIFAR100", ("train", "test"), "cifar-100-python"),
        "stl10": ("STL10", ("train", "test", "unlabeled"), "stl10_binary")}


def small_set(name: str, split: str = "train", n: int | None = None, *,
              root: str | Path | None = None, download: bool = False) -> ImageSet:
    """The first ``n`` images of a split, all if None.

    Args:
        name: ``"cifar10"``, ``"cifar100"`` (32 pixels; splits train, test) or ``"stl10"`` (96
            pixels; also ``"unlabeled"``, of one class).
        root: folder that holds torchvision's copy; ``$MAE_LIB_DATA``, or our cache, if None.
        download: let torchvision fetch it if it is not there.

    Raises:
        ValueError: an unknown name or split, or ``n`` out of range.
        MissingDataset: the files are not there, or are damaged.
    """
    if name not in SETS:
        raise ValueError(f"name must be one of {', '.join(SETS)}, got {name!r}")
    splits = SETS[name][1]
    if split not in splits:
        raise ValueError(f"split must be one of {', '.join(splits)} for {name}, got {split!r}")
    found = _load(name, split, Path(root or cache_folder()), download)
    n = len(found.data) if n is None else n
    if not 1 <= n <= len(found.data):
        raise ValueError(f"n must lie in 1..{len(found.data)} for {name} {split}, got {n}")
    images = found.data if name == "stl10" else found.data.transpose(0, 3, 1, 2)
    labels, classes = _labels(name, split, found)
    images = np.ascontiguousarray(images[:n])
    return ImageSet(images, labels[:n], classes, f"{name} {split}",
                    fingerprint(name, split, images.tobytes()))


def _labels(name: str, split: str, found) -> tuple[np.ndarray, tuple[str, ...]]:
    if split == "unlabeled":
        return np.zeros(len(found.data), np.int64), ("unlabelled",)
    labels = found.labels if name == "stl10" else found.targets
    return np.asarray(labels, np.int64), tuple(found.classes)


def _load(name: str, split: str, root: Path, download: bool):
    import torchvision.datasets

    kind, _, folder = SETS[name]
    choice = {"split": split} if name == "stl10" else {"train": split == "train"}
    try:
        return getattr(torchvision.datasets, kind)(str(root), **choice, download=download)
    except (RuntimeError, OSError) as error:
        raise MissingDataset(
            f"{name} should lie in {root / folder} as torchvision keeps it, but is not there or "
            f"damaged ({str(error).splitlines()[0]}); download=True fetches it") from error
