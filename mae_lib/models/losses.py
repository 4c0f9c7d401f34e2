"""Losses of masked image modelling: pure functions of tensors."""

from __future__ import annotations

from torch import Tensor

from mae_lib.models.masks import Mask


def masked_mse(prediction: Tensor, target: Tensor, mask: Mask) -> Tensor:
    """Mean squared error over hidden patches only (He et al., section 3).

    Args:
        prediction, target: of the hidden patches, ``[B, H, n]``.

    Raises:
        ValueError: the mask hides nothing, so that the mean would be 0/0.
    """
    if mask.hidden.shape[1] == 0:
        raise ValueError("mask must hide at least one patch, got a mask that hides none")
    return (prediction - target).square().mean()
