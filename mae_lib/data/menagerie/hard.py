"""The filtered set: of a hard pool, the images that a fixed predictor gets wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mae_lib.data.images import ImageSet


def filtered(pool: ImageSet, predict: Callable, *, batch: int = 256) -> ImageSet:
    """Images of the pool that ``predict`` labels wrongly (as ImageNet-A was made from photographs).

    Args:
        pool: usually ``menagerie("hard", ...)``.
        predict: float32 images ``[B,3,H,W]`` in [0, 1] to integer labels ``[B]``.

    Raises:
        ValueError: labels of another shape, or a predictor that gets every image right.
    """
    said = [_labels(predict, pool, slice(at, min(at + batch, len(pool))))
            for at in range(0, len(pool), batch)]
    wrong = np.flatnonzero(np.concatenate(said) != pool.labels)
    if not len(wrong):
        raise ValueError("predict must err somewhere for a filtered set, got every image right")
    return replace(pool.subset(wrong), name=f"{pool.name} filtered")


def _labels(predict: Callable, pool: ImageSet, some: slice) -> np.ndarray:
    labels = np.asarray(predict(pool.batch(some)))
    if labels.shape != (some.stop - some.start,):
        raise ValueError(f"predict must return one label an image, got shape {list(labels.shape)}")
    return labels
