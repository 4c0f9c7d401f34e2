"""COCO 2017 (Lin et al. 2014), detection and instance segmentation, from the official files.

A set has the face of :class:`mae_lib.data.objects.ObjectSet`, but decodes pictures and masks when
they are asked for. All is shown on a square: pictures, boxes and masks are stretched alike, which
leaves the overlap of boxes as it is, and that of masks but for the grid they are drawn on.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mae_lib.data.files.decoding import BadImage, decode
from mae_lib.data.files.sets import as_floats
from mae_lib.data.files.transforms import WholeView
from mae_lib.data.images import fingerprint
from mae_lib.data.objects import ObjectSet
from mae_lib.data.official.coco_shapes import drawn, outline, xyxy
from mae_lib.data.official.folders import WrongLayout, existing, found_in

if TYPE_CHECKING:
    from pycocotools.coco import COCO

SPLITS = ("train", "val")


@dataclass(frozen=True, eq=False)
class CocoSet:
    """Pictures of COCO and their objects on a square of ``side`` pixels.

    Args:
        folder: of the pictures.
        truth: the annotations, as pycocotools reads them.
        ids: COCO's ids of the pictures, int ``[N]``.
        side: of the square in pixels.
        categories: names; label k is ``categories[k - 1]``, 0 is the background.
        source: what tells the annotations from others, hex.
    """

    folder: Path
    truth: COCO
    ids: np.ndarray
    side: int
    categories: tuple[str, ...]
    name: str
    source: str

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.side, self.side

    @cached_property
    def fingerprint(self) -> str:
        """Of the annotations, the choice of pictures and the side."""
        return fingerprint(self.source, self.name, np.int64(self.ids).tobytes(), str(self.side))

    def batch(self, index) -> Tensor:
        """Pictures at ``index`` as float32 ``[B,3,S,S]`` in [0, 1].

        Raises:
            BadImage: a picture that cannot be read, or has not the size that COCO says.
        """
        pixels = [self._pixels(i) for i in np.arange(len(self))[index]]
        return as_floats(torch.from_numpy(np.stack(pixels)))

    target = ObjectSet.target  # of boxes, labels and masks, which leave crowds out

    @property
    def boxes(self) -> Sequence[np.ndarray]:
        """Of each picture ``[K, 4]``: left, top, right, bottom."""
        return _Each(self, lambda one: np.array(
            [xyxy(a, one.scale) for a in one.things]).reshape(-1, 4).clip(0, self.side))

    @property
    def labels(self) -> Sequence[np.ndarray]:
        """Of each picture integers ``[K]`` from 1 on."""
        return _Each(self, lambda one: np.array([self._label[a["category_id"]]
                                                 for a in one.things], np.int64))

    @property
    def masks(self) -> Sequence[np.ndarray]:
        """Of each picture bool ``[K, S, S]``, drawn by pycocotools."""
        return _Each(self, lambda one: np.array(
            [drawn(a, one.scale, one.picture, self.side) for a in one.things],
            bool).reshape(-1, *self.size))

    def subset(self, index) -> CocoSet:
        """The pictures at ``index``."""
        return replace(self, ids=self.ids[index])

    def ground_truth(self) -> dict:
        """What :func:`mae_lib.evaluation.coco.coco_ap` scores against, on the square: image ids
        count from 0, categories from 1; crowds are kept, and what is found in them is not wrong."""
        images = [{"id": i, "height": self.side, "width": self.side} for i in range(len(self))]
        categories = [{"id": 1 + k, "name": name} for k, name in enumerate(self.categories)]
        found = [self._scored(i, annotation, one) for i in range(len(self))
                 for one in [self.objects(i)] for annotation in (*one.things, *one.crowds)]
        return {"images": images, "categories": categories,
                "annotations": [a | {"id": n} for n, a in enumerate(found, start=1)]}

    def objects(self, i: int) -> Objects:
        """The annotations of picture ``i`` as they are in the file."""
        picture = self.truth.imgs[int(self.ids[i])]
        all_of = [a for a in self.truth.imgToAnns[picture["id"]] if _has_area(a)]
        scale = self.side / picture["width"], self.side / picture["height"]
        return Objects(picture, scale, [a for a in all_of if not a["iscrowd"]],
                       [a for a in all_of if a["iscrowd"]])

    @cached_property
    def _label(self) -> dict[int, int]:
        """COCO's 80 ids lie in 1..90; labels have no gaps."""
        return {one: 1 + k for k, one in enumerate(sorted(self.truth.cats))}

    def _scored(self, i: int, annotation: dict, one: Objects) -> dict:
        left, top, right, bottom = xyxy(annotation, one.scale)
        return {"image_id": i, "category_id": self._label[annotation["category_id"]],
                "iscrowd": annotation["iscrowd"], "bbox": [left, top, right - left, bottom - top],
                "area": annotation["area"] * one.scale[0] * one.scale[1],
                "segmentation": outline(annotation, one.scale, one.picture, self.side)}

    def _pixels(self, i: int) -> np.ndarray:
        picture = self.truth.imgs[int(self.ids[i])]
        path = self.folder / picture["file_name"]
        found = decode(path)
        if found.size != (picture["width"], picture["height"]):
            raise BadImage(f"{path} should have {picture['height']}x{picture['width']} pixels as "
                           f"its annotations say, but has {found.height}x{found.width}")
        return np.asarray(WholeView(self.side)(found)).transpose(2, 0, 1)


@dataclass(frozen=True)
class Objects:
    """A picture's entry, the scale (x, y) to the square, its things and its crowds."""

    picture: dict
    scale: tuple[float, float]
    things: list[dict]
    crowds: list[dict]


class _Each(Sequence):
    """Something of each picture, computed when asked for."""

    def __init__(self, images: CocoSet, of):
        self.images, self.of = images, of

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> np.ndarray:
        return self.of(self.images.objects(range(len(self))[i]))


def coco(root: str | Path, split: str = "val", *, size: int = 1024) -> CocoSet:
    """COCO 2017 from ``root/train2017/``, ``root/val2017/`` and ``root/annotations/``.

    Of ``"train"`` the pictures without an object are left out (of 118,287 about a thousand); of
    ``"val"`` all 5,000 stay, since what is found in them counts.

    Args:
        size: side of the square that a picture becomes, in pixels.

    Raises:
        ValueError: an unknown split.
        WrongLayout: folders or files that are not there, pictures that the annotations miss.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    root = existing(Path(root), "the folder of COCO 2017, with annotations/ and val2017/ in it")
    file, folder = root / "annotations" / f"instances_{split}2017.json", root / f"{split}2017"
    for path in (file, folder):
        if not path.exists():
            raise WrongLayout(f"{root} should hold {path.relative_to(root)} of COCO 2017, but "
                              f"holds {found_in(root)}")
    truth = _read(file)
    _check_pictures(folder, truth)
    ids = np.array(sorted(truth.imgs))
    names = tuple(truth.cats[k]["name"] for k in sorted(truth.cats))
    source = hashlib.sha256(file.read_bytes()).hexdigest()
    found = CocoSet(folder, truth, ids, size, names, f"COCO {split}2017", source)
    if split == "val":
        return found
    return found.subset([i for i in range(len(found)) if found.objects(i).things])


def _has_area(annotation: dict) -> bool:
    """Two boxes of COCO have no width; nothing can be learnt from them, or found."""
    return min(annotation["bbox"][2:]) > 0


def _read(file: Path) -> COCO:
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        try:
            return COCO(str(file))
        except (ValueError, KeyError, AssertionError) as error:
            raise WrongLayout(f"{file} should hold COCO's annotations, but is cut short or "
                              f"something else ({error})") from error


def _check_pictures(folder: Path, truth: COCO) -> None:
    named = {image["file_name"] for image in truth.imgs.values()}
    if missing := sorted(named - set(os.listdir(folder))):
        raise WrongLayout(f"{folder} should hold the {len(named):,} pictures that the annotations "
                          f"name, but {len(missing):,} are missing: {', '.join(missing[:3])}")
