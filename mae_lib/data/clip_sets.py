"""Clips with labels, as sets that models train on: short Menagerie films by class or by motion."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from mae_lib.data.images import check_labels, fingerprint
from mae_lib.data.menagerie import CLASSES, Clips, clips

if TYPE_CHECKING:
    import torch

FRAMES = 8  # a unit of time
STARTS = {"train": 0, "test": 10**9}  # the first clip of a split in the endless row of clips
FIRST = 8  # clips that stand for all of a set in its fingerprint
DIRECTIONS = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")


@dataclass(frozen=True, eq=False)
class ClipSet:
    """Labelled clips of one size, kept as bytes: what :class:`mae_lib.data.protocols.Images` is for
    images.

    Args:
        clips: uint8 ``[N, 3, T, H, W]``.
        labels: integer ``[N]``, each in ``range(len(classes))``.
        classes: names of the classes, in label order.
        name: what a reader calls the set.
        fingerprint: hex; whatever determines the clips enters it.

    Raises:
        ValueError: wrong rank or channels, no clips, labels out of range or of another length.
        TypeError: clips that are not uint8.
    """

    clips: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    name: str
    fingerprint: str

    def __post_init__(self) -> None:
        if self.clips.dtype != np.uint8:
            raise TypeError(f"clips must be uint8, got {self.clips.dtype}")
        if self.clips.ndim != 5 or self.clips.shape[1] != 3 or len(self.clips) == 0:
            raise ValueError("clips must have shape [N,3,T,H,W] with N at least 1, "
                             f"got {list(self.clips.shape)}")
        check_labels(self.labels, len(self.clips), len(self.classes))

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.clips.shape[3:]

    def batch(self, index) -> torch.Tensor:
        """Clips at ``index`` (integers, a slice or a mask) as float32 ``[B,3,T,H,W]`` in [0, 1]."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(self.clips[index])).float().div_(255.0)

    def subset(self, index) -> ClipSet:
        """The clips at ``index``, with a fingerprint that says so."""
        chosen = np.arange(len(self))[index]
        return ClipSet(self.clips[chosen], self.labels[chosen], self.classes, self.name,
                       fingerprint(self.fingerprint, chosen.astype(np.int64).tobytes()))

    def labelled(self, labels: np.ndarray, classes: tuple[str, ...]) -> ClipSet:
        """The same clips with other labels."""
        return ClipSet(self.clips, labels, classes, self.name, fingerprint(
            self.fingerprint, *classes, np.asarray(labels, np.int64).tobytes()))

    def standardisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel over the set, in [0, 1] units."""
        parts = [channel.astype(np.float32) for channel in np.moveaxis(self.clips, 1, 0)]
        first = np.array([part.mean(dtype=np.float64) for part in parts]) / 255
        spread = np.array([part.std(dtype=np.float64) for part in parts]) / 255
        return tuple(first.round(4).tolist()), tuple(spread.round(4).tolist())


@lru_cache(maxsize=4)
def drawn(split: str, count: int, size: int, preset: str, frames: int = FRAMES) -> Clips:
    """``count`` clips of a split with all that is known of them."""
    return clips(count, frames, size, preset, start=STARTS[split])


def menagerie_clips(split: str, count: int, size: int, preset: str) -> ClipSet:
    """Clips by the class of their first object."""
    found = drawn(split, count, size, preset)
    return ClipSet(found.images, found.labels, CLASSES, found.name,
                   identify_clips(split, count, size, preset))


def directions(split: str, count: int, size: int, preset: str) -> np.ndarray:
    """In which of eight ``DIRECTIONS`` the first object of each clip drifts, int64 ``[count]``."""
    x, y = drawn(split, count, size, preset).motions[0]["velocity"].T
    return np.round(np.arctan2(y, x) / (np.pi / 4)).astype(np.int64) % len(DIRECTIONS)


def identify_clips(split: str, count: int, size: int, preset: str) -> str:
    """Fingerprint of :func:`menagerie_clips`, from the first of them alone."""
    first = clips(min(count, FIRST), FRAMES, size, preset, start=STARTS[split])
    return fingerprint("clip set", split, str(count), first.fingerprint)
