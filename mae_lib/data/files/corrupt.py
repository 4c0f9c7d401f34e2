"""Pictures that cannot be read: how many may be, and what is said of each."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Protocol


class CorruptImage(UserWarning):
    """A picture of a training set could not be read, and another took its place."""


class TooManyBadImages(RuntimeError):
    """More pictures than ``max_corrupt`` could not be read; the message counts and names them."""


class Tolerant(Protocol):
    """A set of files, or a stream of shards, that goes on without up to ``max_corrupt`` pictures,
    a number or a share; ``corrupt`` has the reason of each that was met."""

    name: str
    max_corrupt: int | float
    corrupt: dict[int | str, str]

    def __len__(self) -> int: ...


def allowed_corrupt(images: Tolerant) -> int:
    """How many pictures of a set may be unreadable; of a share above 0 at least one."""
    limit = images.max_corrupt
    return limit if isinstance(limit, int) else math.ceil(limit * len(images))


def check_corrupt(images: Tolerant, reasons: Iterable[str]) -> None:
    """Raise TooManyBadImages if there are more ``reasons`` than a set allows."""
    reasons = list(reasons)
    if len(reasons) > allowed_corrupt(images):
        raise TooManyBadImages(
            f"{len(reasons)} of {len(images)} pictures of {images.name} cannot be read, more than "
            f"max_corrupt={images.max_corrupt} allows; the first: {'; '.join(reasons[:3])}")


def note_corrupt(images: Tolerant, which: int | str, reason: str, stand_in: str,
                 stacklevel: int) -> None:
    """Remember in ``images.corrupt`` what training could not read, and warn, or raise
    TooManyBadImages.

    Args:
        stand_in: what takes its place, the end of the warning's sentence.
        stacklevel: of the warning, counted from the caller.
    """
    images.corrupt[which] = reason
    check_corrupt(images, images.corrupt.values())
    warnings.warn(f"{reason}; {stand_in} takes its place ({len(images.corrupt)} of at most "
                  f"{allowed_corrupt(images)})", CorruptImage, stacklevel=stacklevel + 1)
