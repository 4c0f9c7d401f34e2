"""Image sets and the checks that every image passes before it reaches a model or a metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # torch costs seconds to import; only `batch` and `check_images` need it
    import torch


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images of one size, kept as bytes.

    Args:
        images: uint8 ``[N, 3, H, W]``.
        labels: integer ``[N]``, each in ``range(len(classes))``.
        classes: names of the classes, in label order.
        name: what a reader calls the set, for example ``"menagerie medium32 train"``.
        fingerprint: SHA-256 (hex) of whatever determines the bytes; enters every result key.

    Raises:
        ValueError: empty set, wrong rank or channels, labels out of range or of another length.
        TypeError: images that are not uint8.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    name: str
    fingerprint: str

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8:
            raise TypeError(f"images must be uint8, got {self.images.dtype}")
        if self.images.ndim != 4 or self.images.shape[1] != 3:
            raise ValueError(f"images must have shape [N,3,H,W], got {list(self.images.shape)}")
        if len(self.images) == 0:
            raise ValueError("images must hold at least one image, got an empty set")
        check_labels(self.labels, len(self.images), len(self.classes))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.images.shape[2], self.images.shape[3]

    def batch(self, index) -> torch.Tensor:
        """Images at ``index`` (integers, a slice or a mask) as float32 ``[B,3,H,W]`` in [0, 1]."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(self.images[index])).float().div_(255.0)

    def subset(self, index) -> ImageSet:
        """The images at ``index``, with a fingerprint that says so."""
        chosen = np.arange(len(self))[index]
        return ImageSet(self.images[chosen], self.labels[chosen], self.classes, self.name,
                        fingerprint(self.fingerprint, chosen.astype(np.int64).tobytes()))

    def standardisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel over the set, in [0, 1] units."""
        sums = np.stack([[image.sum(), (image.astype(np.uint64) ** 2).sum()]
                         for image in np.moveaxis(self.images, 1, 0)]).astype(np.float64)
        count = self.images[:, 0].size * np.array([255.0, 255.0**2])
        first, second = (sums / count).T
        spread = np.sqrt(second - first**2)
        return tuple(first.round(4).tolist()), tuple(spread.round(4).tolist())


def fingerprint(*parts: str | bytes) -> str:
    """SHA-256 (hex) of the parts, each preceded by its length so that no two lists collide."""
    import hashlib

    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(f"{len(data)}:".encode() + data)
    return digest.hexdigest()


def check_labels(labels: np.ndarray, count: int, classes: int) -> None:
    """Raise ValueError unless ``labels`` are ``count`` integers in ``range(classes)``."""
    labels = np.asarray(labels)
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be {count} integers, one an image, "
                         f"got {labels.dtype} of shape {list(labels.shape)}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must lie in 0..{classes - 1}, "
                         f"got {labels.min()}..{labels.max()}")


def check_images(images: torch.Tensor, *, size: tuple[int, int] | None = None) -> None:
    """Check a batch at a public boundary: float ``[B,3,H,W]`` in [0, 1], finite, not empty.

    Args:
        size: height and width that are required, if any.

    Raises:
        TypeError: integer images.
        ValueError: anything else that is off.
    """
    if not images.is_floating_point():
        raise TypeError(f"images must be floats in [0, 1], got {images.dtype}")
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images must have shape [B,3,H,W], got {list(images.shape)}")
    if size is not None and tuple(images.shape[2:]) != tuple(size):
        raise ValueError(f"images must be {size[0]}x{size[1]} pixels, "
                         f"got {images.shape[2]}x{images.shape[3]}")
    if images.numel() == 0:
        raise ValueError("images must hold at least one image, got an empty batch")
    if not images.isfinite().all():
        raise ValueError("images must be finite, got NaN or infinity")
    low, high = images.min().item(), images.max().item()
    if low < -1e-6 or high > 1 + 1e-6:
        raise ValueError(f"images must lie in [0, 1], got values from {low:.4g} to {high:.4g}")
