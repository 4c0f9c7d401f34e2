"""Pictures with several objects each, for detection: boxes, categories and masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from mae_lib.data.menagerie import Scenes


@dataclass(frozen=True, eq=False)
class ObjectSet:
    """Images and their objects.

    Args:
        images: uint8 ``[N, 3, H, W]``.
        boxes: of each image, ``[K, 4]`` left, top, right, bottom in pixels, the latter two one past
            the last pixel.
        labels: of each image, integers ``[K]`` from 1 on; 0 is the background.
        masks: of each image, bool ``[K, H, W]``.
        categories: names, the first belongs to label 1.
        name, fingerprint: as of :class:`mae_lib.data.images.ImageSet`.

    Raises:
        TypeError: images that are not uint8.
        ValueError: an empty set, other shapes, a box that is degenerate or outside its image, a
            label that is 0 or has no category.
    """

    images: np.ndarray
    boxes: Sequence[np.ndarray]
    labels: Sequence[np.ndarray]
    masks: Sequence[np.ndarray]
    categories: tuple[str, ...]
    name: str
    fingerprint: str

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8:
            raise TypeError(f"images must be uint8, got {self.images.dtype}")
        if self.images.ndim != 4 or self.images.shape[1] != 3 or len(self.images) == 0:
            raise ValueError("images must have shape [N,3,H,W], N at least 1, "
                             f"got {list(self.images.shape)}")
        for name in ("boxes", "labels", "masks"):
            if len(getattr(self, name)) != len(self.images):
                raise ValueError(f"{name} must hold one array for each of {len(self.images)} "
                                 f"images, got {len(getattr(self, name))}")
        for i, found in enumerate(zip(self.boxes, self.labels, self.masks, strict=True)):
            _check(i, *found, self.size, len(self.categories))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.images.shape[2], self.images.shape[3]

    def batch(self, index) -> torch.Tensor:
        """Images at ``index`` as float32 ``[B,3,H,W]`` in [0, 1]."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(self.images[index])).float().div_(255.0)

    def target(self, i: int) -> dict[str, torch.Tensor]:
        """Objects of image ``i`` as torchvision's detectors want them in training: ``boxes``
        float32 ``[K,4]``, ``labels`` int64 ``[K]``, ``masks`` uint8 ``[K,H,W]``."""
        import torch

        return {"boxes": torch.as_tensor(self.boxes[i], dtype=torch.float32).reshape(-1, 4),
                "labels": torch.as_tensor(self.labels[i], dtype=torch.int64),
                "masks": torch.as_tensor(self.masks[i], dtype=torch.uint8)}


def scene_objects(pictures: Scenes) -> ObjectSet:
    """Scenes of the Menagerie with its sixteen classes as categories.

    Objects of which no pixel shows are left out.
    """
    from mae_lib.data.menagerie import CLASSES, boxes_of

    masks = np.stack([pictures.masks(k) for k in range(pictures.labels.shape[1])], 1)
    shown = (pictures.labels >= 0) & masks.any((2, 3))
    masks = [found[some] for found, some in zip(masks, shown, strict=True)]
    labels = [1 + found[some] for found, some in zip(pictures.labels, shown, strict=True)]
    return ObjectSet(pictures.images, [boxes_of(found) for found in masks], labels, masks,
                     CLASSES, pictures.name, pictures.fingerprint)


def _check(i: int, boxes, labels, masks, size: tuple[int, int], categories: int) -> None:
    count = len(labels)
    if np.shape(boxes) != (count, 4) or np.shape(masks) != (count, *size):
        raise ValueError(f"boxes and masks of image {i} must have shapes [{count},4] and "
                         f"[{count},{size[0]},{size[1]}], one for each of its labels, "
                         f"got {list(np.shape(boxes))} and {list(np.shape(masks))}")
    for label in labels:
        if not 1 <= label <= categories:
            raise ValueError(f"labels must lie in 1..{categories}, since 0 is the background, "
                             f"got {label} in image {i}")
    for left, top, right, bottom in boxes:
        if not (0 <= left < right <= size[1] and 0 <= top < bottom <= size[0]):
            raise ValueError(f"boxes must have a positive size inside {size[0]}x{size[1]} pixels, "
                             f"got {[float(x) for x in (left, top, right, bottom)]} in image {i}")
