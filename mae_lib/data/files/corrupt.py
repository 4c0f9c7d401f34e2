"""Pictures that cannot be read: how many may be, and a set without them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mae_lib.data.files.decoding import BadImage, check
from mae_lib.data.files.parallel import parallel

if TYPE_CHECKING:
    from mae_lib.data.files.sets import FileSet


class CorruptImage(UserWarning):
    """A picture of a training set could not be read, and another took its place."""


class TooManyBadImages(RuntimeError):
    """More pictures than ``max_corrupt`` could not be read; the message counts and names them."""


def allowed_corrupt(images: FileSet) -> int:
    """How many pictures of a set may be unreadable; of a share above 0 at least one."""
    limit = images.max_corrupt
    return limit if isinstance(limit, int) else math.ceil(limit * len(images))


def check_corrupt(images: FileSet, reasons: Iterable[str]) -> None:
    """Raise TooManyBadImages if there are more ``reasons`` than a set allows."""
    reasons = list(reasons)
    if len(reasons) > allowed_corrupt(images):
        raise TooManyBadImages(
            f"{len(reasons)} of {len(images)} pictures of {images.name} cannot be read, more than "
            f"max_corrupt={images.max_corrupt} allows; the first: {'; '.join(reasons[:3])}")


def note_corrupt(images, which: int | str, reason: str, stand_in: str, stacklevel: int) -> None:
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


def readable(images: FileSet, *, workers: int = 0) -> tuple[FileSet, dict[str, str]]:
    """A set without the files that cannot be decoded, and these: name and reason.

    It decodes every file once, so a later ``batch`` meets no surprise in the middle of an
    evaluation, and results are one an item, complete and in order.

    Args:
        workers: processes that decode; 0 for this one.

    Raises:
        TooManyBadImages: more than ``max_corrupt`` of them.
    """
    parts = np.array_split(np.arange(len(images)), max(1, len(images) // 64))
    found = {i: reason for some in parallel(_Check(images), parts, workers)
             for i, reason in some.items()}
    check_corrupt(images, found.values())
    kept = np.setdiff1d(np.arange(len(images)), list(found))
    bad = {images.files[i].decode(): reason for i, reason in found.items()}
    return (images.subset(kept) if found else images), bad


@dataclass(frozen=True)
class _Check:
    """What is wrong with some of the files; an object, so that workers can be sent it."""

    images: FileSet

    def __call__(self, index: np.ndarray) -> dict[int, str]:
        found = {}
        for i in index.tolist():
            try:
                check(self.images.path(i))
            except BadImage as error:
                found[i] = str(error)
        return found
