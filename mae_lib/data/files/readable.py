"""A set of files without those that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mae_lib.data.files.corrupt import check_corrupt
from mae_lib.data.files.decoding import BadImage, check
from mae_lib.data.files.parallel import parallel
from mae_lib.data.files.sets import FileSet


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
