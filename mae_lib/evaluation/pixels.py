"""From what a network predicts to images that can be scored."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mae_lib.data.images import check_images
from mae_lib.models.patches import patch_grid, patchify, unpatchify
from mae_lib.models.targets import EPS, TARGETS, statistics

DENORM = ("auto", "none", "target_stats")
SLACK = 1e-6  # rounding of a pixel that is exactly 0 or 1 is not clipping


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Images a model put together.

    ``pixels [B,3,H,W]`` in [0, 1], and ``unclamped`` as they came; ``clipped_fraction [B]``, the
    share of values outside [0, 1]; ``used_target_stats``, whether mean and spread of the original
    patches were used (a leak); ``target_error [B, L]``, mean squared error of each scored patch in
    units of the target (no leak); ``region [B,1,H,W]``, the pixels that count, None for all.
    """

    pixels: Tensor
    unclamped: Tensor
    clipped_fraction: Tensor
    used_target_stats: bool
    target_error: Tensor
    region: Tensor | None = None


def to_pixels(prediction: Tensor, images: Tensor, model, denorm: str = "auto",
              clamp: bool = True) -> Reconstruction:
    """Turn predicted patches into images.

    Args:
        prediction: ``[B, L, p*p*3]`` in units of the target.
        images: the originals, ``[B,3,H,W]`` in [0, 1].
        model: gives the standardisation and the target.
        denorm: ``"target_stats"`` undoes per-patch normalisation with mean and spread of the
            original patches, which no model could know; ``"none"`` takes the prediction as
            standardised pixels; ``"auto"`` does what the model's target asks for.
        clamp: bring ``pixels`` into [0, 1], as every metric requires.

    Raises:
        ValueError: unknown ``denorm``; prediction of a wrong shape; images off.
    """
    check_images(images)
    if denorm not in DENORM:
        raise ValueError(f"denorm must be one of {', '.join(DENORM)}, got {denorm!r}")
    patches = _standardised_patches(images, model)
    if prediction.shape != patches.shape:
        raise ValueError(f"prediction must have shape {list(patches.shape)}, "
                         f"got {list(prediction.shape)}")
    target = model.config["target"]
    error = (prediction - TARGETS[target](patches)).square().mean(-1)
    leaks = denorm == "target_stats" or (denorm == "auto" and target == "normalised")
    if leaks:
        mean, variance = statistics(patches)
        prediction = prediction * (variance + EPS).sqrt() + mean
    raw = _from_standardised(prediction, images, model)
    outside = ((raw < -SLACK) | (raw > 1 + SLACK)).flatten(1).float().mean(1)
    return Reconstruction(raw.clamp(0, 1) if clamp else raw, raw, outside, leaks, error)


def leak(images: Tensor, model) -> Reconstruction:
    """What ``to_pixels`` alone makes of a prediction of zeros: the floor of a model whose target
    is normalised, and higher for smaller patches."""
    return to_pixels(torch.zeros_like(_standardised_patches(images, model)), images, model)


def grid_of(images: Tensor, model) -> tuple[int, int]:
    """Rows and columns of the model's patches in these images."""
    return patch_grid(tuple(images.shape[2:]), model.config["patch"])


def _channels(model, images: Tensor) -> tuple[Tensor, Tensor]:
    encoder = model.encoder
    return encoder.mean.to(images)[:, None, None], encoder.std.to(images)[:, None, None]


def _standardised_patches(images: Tensor, model) -> Tensor:
    mean, std = _channels(model, images)
    return patchify((images - mean) / std, model.config["patch"])


def _from_standardised(patches: Tensor, images: Tensor, model) -> Tensor:
    mean, std = _channels(model, images)
    return unpatchify(patches, model.config["patch"], grid_of(images, model)) * std + mean
