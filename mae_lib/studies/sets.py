"""The image sets that the experiments are run on."""

from __future__ import annotations

from functools import lru_cache

from mae_lib.data.fashion_mnist import fashion_mnist, fingerprint_of
from mae_lib.data.images import ImageSet
from mae_lib.data.menagerie import identify, menagerie

SIZE = 32  # pixels, of both data sets
PRESET = "medium32"  # of the procedural set: raw pixels alone do not solve its probe


@lru_cache(maxsize=4)
def images(dataset: str, split: str, count: int) -> ImageSet:
    """``count`` images of the split ``"train"`` or ``"test"``."""
    if dataset == "menagerie":
        return menagerie(split, count, size=SIZE, preset=PRESET)
    return fashion_mnist(split, count)


@lru_cache(maxsize=16)
def data_fingerprint(dataset: str, split: str, count: int) -> str:
    """What :func:`images` would carry as its fingerprint, without loading or drawing them all."""
    if dataset == "menagerie":
        return identify(split, count, SIZE, PRESET)
    return fingerprint_of(split, count)
