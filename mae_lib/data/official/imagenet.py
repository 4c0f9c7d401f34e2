"""ImageNet-1K and Imagenette in the folders that their archives unpack to."""

from __future__ import annotations

import functools
import pkgutil
from pathlib import Path

from mae_lib.data.files.sets import FileSet
from mae_lib.data.files.transforms import CentreView, RandomView
from mae_lib.data.official.folders import WrongLayout, class_folders, existing, found_in

COUNTS = {"train": 1_281_167, "val": 50_000}
IMAGENETTE = ("n01440764", "n02102040", "n02979186", "n03000684", "n03028079", "n03394916",
              "n03417042", "n03425413", "n03445777", "n03888257")
IMAGENETTE_COUNTS = {"train": 9_469, "val": 3_925}


def imagenet(root: str | Path, split: str = "train", *, size: int = 224,
             view: RandomView | None = None, max_corrupt: float = 0.001,
             strict: bool = True) -> FileSet:
    """ImageNet-1K from ``root/train/<wnid>/`` and ``root/val/<wnid>/``; class k is ``wnids()[k]``.

    Args:
        size: side of the views: the shorter side of a picture is resized to 256/224 of it.
        view: the random view of training, for example
            :func:`mae_lib.data.files.transforms.pretraining_view`.
        strict: see :func:`mae_lib.data.official.folders.class_folders`.

    Raises:
        ValueError: an unknown split.
        WrongLayout: folders or counts that are not ImageNet's.
    """
    return _split(root, split, "ImageNet-1K", wnids(), COUNTS, size, view, max_corrupt, strict)


def imagenette(root: str | Path, split: str = "train", *, size: int = 224,
               view: RandomView | None = None, max_corrupt: float = 0.001,
               strict: bool = True) -> FileSet:
    """Imagenette, ten easy classes of ImageNet, of any of its sizes (``imagenette2``,
    ``imagenette2-320``, ``imagenette2-160``): ``root/train/<wnid>/`` and ``root/val/<wnid>/``.

    Raises:
        As :func:`imagenet`.
    """
    return _split(root, split, "Imagenette", IMAGENETTE, IMAGENETTE_COUNTS, size, view, max_corrupt,
                  strict)


def wnids() -> tuple[str, ...]:
    """WordNet ids of ImageNet-1K's classes, sorted: the order of every published classifier."""
    return timm_table("imagenet_synsets.txt")


def class_names() -> tuple[str, ...]:
    """A word for each of the 1000 classes; not all differ (there are two cranes)."""
    words = dict(line.split("\t", 1) for line in timm_table("imagenet_synset_to_lemma.txt"))
    return tuple(words[wnid].split(",")[0] for wnid in wnids())


@functools.cache
def timm_table(name: str) -> tuple[str, ...]:
    """Lines of one of the tables about ImageNet that timm carries."""
    return tuple(pkgutil.get_data("timm.data", f"_info/{name}").decode().splitlines())


def _split(root, split, name, classes, counts, size, view, max_corrupt, strict) -> FileSet:
    if split not in counts:
        raise ValueError(f"split must be one of {', '.join(counts)}, got {split!r}")
    root = existing(Path(root), f"the folder of {name}, with train/<wnid>/ and val/<wnid>/ in it")
    base = root / split
    if not base.is_dir():
        raise WrongLayout(f"{root} should hold the folder {split} of {name}, with {len(classes)} "
                          f"class folders like {split}/{classes[0]}, but holds {found_in(root)}")
    files, labels = class_folders(base, classes, count=counts[split], strict=strict)
    return FileSet(base, files, labels, classes, f"{name} {split}", CentreView(size), view,
                   max_corrupt)
