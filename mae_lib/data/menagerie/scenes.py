"""Scenes of one to four objects, with boxes, instance masks and COCO annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .drawing import boxes_of, identity, pixel_keys, render, request
from .latents import Latents, Stream, draw_backdrop, draw_object
from .tables import CLASSES, PARTS, SUPERCLASSES

SEATS = np.array([[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]])  # quadrant centres


@dataclass(frozen=True, eq=False)
class Scenes:
    """Pictures of several objects.

    Attributes:
        images: uint8 ``[N, 3, S, S]``.
        labels: class of every object, int64 ``[N, K]``; -1 where an image has fewer.
        marks: uint8 ``[N, S, S]``: 0, or 1 + part + 8 * object of what shows at a pixel.
        objects: latents of the first, second ... object; those of absent objects mean nothing.
        backdrop: latents of landscape, light and noise.
    """

    images: np.ndarray
    labels: np.ndarray
    marks: np.ndarray
    objects: tuple[Latents, ...]
    backdrop: Latents
    name: str
    fingerprint: str

    def __len__(self) -> int:
        return len(self.images)

    @property
    def instances(self) -> np.ndarray:
        """1 + number of the object that shows, 0 for none; uint8 ``[N, S, S]``."""
        return instances_of(self.marks)

    def masks(self, k: int) -> np.ndarray:
        """Where object ``k`` shows, bool ``[N, S, S]``."""
        return self.instances == k + 1

    def boxes(self, k: int) -> np.ndarray:
        """Tight hulls of object ``k``'s masks, int64 ``[N, 4]``, see `boxes_of`."""
        return boxes_of(self.masks(k))


def scenes(n: int = 1000, size: int = 64, preset: str = "default", *, most: int = 4, start: int = 0,
           seed: int | None = None, **changes) -> Scenes:
    """Scenes of one to ``most`` (at most 4) objects, each about half as large as elsewhere.

    Other arguments and errors as in `menagerie`.
    """
    if most not in (1, 2, 3, 4):
        raise ValueError(f"most must be 1, 2, 3 or 4, got {most!r}")
    chosen, stream = request("scenes", n, size, preset, start, seed, None, changes)
    objects, count = seat(stream, chosen, most, 0.5)
    backdrop = draw_backdrop(stream, chosen, objects[0]["superclass"])
    images, marks, _ = render(objects, backdrop, chosen, pixel_keys(stream), size)
    labels = np.stack([found["class"] for found in objects], 1)
    labels[np.arange(most) >= count[:, None]] = -1
    return Scenes(images, labels, marks, tuple(objects), backdrop, f"menagerie {preset} scenes",
                  identity(images, stream, chosen | {"most": most}))


def seat(stream: Stream, chosen: dict, most: int, scale: float) -> tuple[list[Latents], np.ndarray]:
    """Latents of ``most`` objects, a quadrant each, and how many of them are there ``[N]``."""
    count = 1 + stream.choice("count", most)
    order = np.argsort(stream.unit("seats", len(SEATS)), axis=1, kind="stable")
    objects = []
    for k in range(most):
        found = draw_object(Stream(stream.seed, stream.index, prefix=f"object {k} "), chosen)
        centre = SEATS[order[:, k]]
        found["x"] = centre[:, 0] + 0.5 * found["x"]
        found["y"] = centre[:, 1] + 0.5 * found["y"]
        found["scale"] = scale * found["scale"]
        found["parts"] = found["parts"] & (k < count)[:, None]
        objects.append(found)
    return objects, count


def instances_of(marks: np.ndarray) -> np.ndarray:
    """1 + number of the object behind each mark, 0 where there is none."""
    return np.where(marks > 0, (marks - 1) // PARTS + 1, 0).astype(np.uint8)


def coco(pictures: Scenes, names: Sequence[str] | None = None) -> dict:
    """COCO detection annotations (ready for ``json.dump``): run-length masks, boxes, categories.

    Objects of which no pixel shows are left out. Category ids count from 1 in `CLASSES` order.

    Args:
        names: file names of the images; default ``000000.png`` and so on.
    """
    size = pictures.images.shape[-1]
    names = names or [f"{i:06d}.png" for i in range(len(pictures))]
    if len(names) != len(pictures):
        raise ValueError(f"names must be {len(pictures)} file names, got {len(names)}")
    images = [{"id": i, "file_name": name, "width": size, "height": size}
              for i, name in enumerate(names)]
    return {"images": images, "categories": _categories(), "annotations": _annotations(pictures)}


def _categories() -> list[dict]:
    per = len(CLASSES) // len(SUPERCLASSES)
    return [{"id": 1 + k, "name": name, "supercategory": SUPERCLASSES[k // per]}
            for k, name in enumerate(CLASSES)]


def _annotations(pictures: Scenes) -> list[dict]:
    found = []
    masks = [pictures.masks(k) for k in range(pictures.labels.shape[1])]
    boxes = [boxes_of(mask) for mask in masks]
    for i, k in np.argwhere(pictures.labels >= 0).tolist():
        area = int(masks[k][i].sum())
        if area:
            left, top, right, bottom = boxes[k][i].tolist()
            found.append({"id": 1 + len(found), "image_id": i, "iscrowd": 0, "area": area,
                          "category_id": 1 + int(pictures.labels[i, k]),
                          "bbox": [left, top, right - left, bottom - top],
                          "segmentation": run_lengths(masks[k][i])})
    return found


def run_lengths(mask: np.ndarray) -> dict:
    """Uncompressed COCO run lengths of bool ``[H, W]``: column by column, first a run of zeros."""
    flat = mask.T.reshape(-1)
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate([[0], ends, [flat.size]])).tolist()
    return {"size": list(mask.shape), "counts": ([0] if flat[0] else []) + counts}
