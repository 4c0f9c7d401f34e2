"""Shape against texture on images whose cues conflict (Geirhos et al. 2019)."""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import yaml
from scipy.stats import binomtest

from mae_lib.data.official.human_categories import CATEGORIES

MIN_DECISIVE = 300  # fewer decisions for either cue make a bias noise
AGGREGATIONS = ("mean", "sum", "max", "restricted")


@functools.cache
def _indices() -> dict[str, list[int]]:
    file = files(__package__).joinpath("human_categories.yaml")
    return yaml.safe_load(file.read_text(encoding="utf-8"))


class ShapeBias(NamedTuple):
    """Decisions on images with two labels.

    Attributes:
        bias: shape decisions / (shape + texture decisions), None without any.
        interval: 95 % Wilson limits of the bias over decisive images, None without any.
        shape_accuracy: share of *all* images whose shape was named, those without conflict too.
        shape_hits, texture_hits: share of the conflict images decided that way.
        coverage: their sum.
        per_class: bias among the images of each shape class, None without a decision.
        n_conflict, n_decisive: images with two different labels, and those decided for either.
    """

    bias: float | None
    interval: tuple[float, float] | None
    shape_accuracy: float
    shape_hits: float
    texture_hits: float
    coverage: float
    per_class: dict
    n_conflict: int
    n_decisive: int


def shape_bias(predictions: np.ndarray, shapes: np.ndarray, textures: np.ndarray) -> ShapeBias:
    """Shape bias of predicted classes ``[N]``, given the classes of shape and texture ``[N]``.

    Images whose shape and texture agree count for ``shape_accuracy`` only. Labels may be integers
    or names.

    Raises:
        ValueError: unequal lengths, no image with a conflict.
    """
    said, shapes, textures = map(np.asarray, (predictions, shapes, textures))
    if said.ndim != 1 or not said.shape == shapes.shape == textures.shape:
        raise ValueError(f"predictions, shapes and textures must have one shape [N], got "
                         f"{list(said.shape)}, {list(shapes.shape)} and {list(textures.shape)}")
    conflict = shapes != textures
    if not conflict.any():
        raise ValueError(f"shapes and textures must differ somewhere, got {len(said)} equal pairs")
    shape, texture = conflict & (said == shapes), conflict & (said == textures)
    n, decisive = int(conflict.sum()), int(shape.sum() + texture.sum())
    per_class = {name.item(): _ratio(shape[shapes == name].sum(), texture[shapes == name].sum())
                 for name in np.unique(shapes)}
    limits = None
    if decisive:
        found = binomtest(int(shape.sum()), decisive).proportion_ci(method="wilson")
        limits = float(found.low), float(found.high)
    return ShapeBias(_ratio(shape.sum(), texture.sum()), limits, float(np.mean(said == shapes)),
                     float(shape.sum() / n), float(texture.sum() / n), decisive / n, per_class, n,
                     decisive)


def _ratio(shape: int, texture: int) -> float | None:
    return float(shape / (shape + texture)) if shape + texture else None


def category_matrix() -> np.ndarray:
    """Which of ImageNet's 1000 classes belong to which of ``CATEGORIES``, bool ``[1000, 16]``.

    207 classes belong to one, the others to none (the lists of model-vs-human).
    """
    matrix = np.zeros((1000, len(CATEGORIES)), bool)
    for column, name in enumerate(CATEGORIES):
        matrix[_indices()[name], column] = True
    return matrix


def to_categories(probabilities: np.ndarray, how: str = "mean") -> np.ndarray:
    """Probabilities ``[N, 1000]`` of ImageNet's classes as those of ``CATEGORIES``, ``[N, 16]``.

    Args:
        how: over the classes of a category. ``"mean"`` (the protocol of Geirhos et al.), ``"max"``,
            ``"sum"``, which favours the many dogs and birds, or ``"restricted"``: the sum after
            the 207 classes were made to sum to 1. Rows sum to 1 with ``"restricted"`` only.

    Raises:
        ValueError: another shape, values outside [0, 1], rows that do not sum to 1 within 1e-4, an
            unknown ``how``; with ``"restricted"`` a row without any probability there.
    """
    probabilities = _checked(probabilities)
    if how not in AGGREGATIONS:
        raise ValueError(f"how must be one of {', '.join(AGGREGATIONS)}, got {how!r}")
    matrix = category_matrix()
    if how == "max":
        return np.stack([probabilities[:, column].max(1) for column in matrix.T], axis=1)
    sums = probabilities @ matrix
    if how == "mean":
        return sums / matrix.sum(0)
    if how == "restricted":
        if not sums.any(1).all():
            raise ValueError("probabilities must not all be 0 in the 207 classes, got such a row")
        return sums / sums.sum(1, keepdims=True)
    return sums


def _checked(probabilities: np.ndarray) -> np.ndarray:
    probabilities = np.asarray(probabilities, float)
    if probabilities.ndim != 2 or probabilities.shape[1] != 1000:
        raise ValueError(f"probabilities must have shape [N,1000], "
                         f"got {list(probabilities.shape)}")
    sums = probabilities.sum(1)
    if not ((abs(sums - 1) <= 1e-4).all() and probabilities.min(initial=0) >= 0):
        raise ValueError(f"probabilities must be at least 0 and sum to 1 in each row, got values "
                         f"from {probabilities.min():g} and sums from {sums.min():g} to "
                         f"{sums.max():g}")
    return probabilities
