"""A loss that leaves out hidden pixels next to visible ones (Kong et al. 2023, section 3.6).

Such pixels can be guessed from their neighbours; what is left asks for more than the next pixels
tell. :func:`mae_lib.theory.masks.ignore_boundary` is the same idea in the theory.
"""

from __future__ import annotations

from math import perm

import torch
import torch.nn.functional as F
from torch import Tensor

from mae_lib.models.encoder import take
from mae_lib.models.masks import Grid, Mask
from mae_lib.models.patches import patchify


def margin_mse(prediction: Tensor, target: Tensor, mask: Mask, *, grid: Grid, patch: int,
               margin: int, order: Tensor | None = None) -> Tensor:
    """Mean squared error over the hidden pixels further than ``margin`` from every visible one.

    Bound to the keywords by ``functools.partial`` it takes the place of
    :func:`mae_lib.models.losses.masked_mse`, which it is at margin 0. The mean runs over the pixels
    of the batch that count; if none does the loss is 0, with zero gradients.

    Args:
        prediction, target: of the hidden patches, ``[B, H, n]``.
        patch: side of a patch in pixels.
        margin: in pixels, see :func:`far_pixels`.
        order: for the control, see :func:`scattering`.

    Raises:
        ValueError: a negative margin; a mask that hides nothing.
    """
    weights = far_pixels(mask, grid, patch, margin)
    if order is not None:
        weights = weights.flatten(1)[:, order.to(weights.device)].view_as(weights)
    channels = prediction.shape[-1] // patch**2
    squares = (prediction - target).square().unflatten(-1, (patch**2, channels)).sum(-1)
    weights = weights.to(squares)
    return (weights * squares).sum() / (channels * weights.sum()).clamp(min=1)


def far_pixels(mask: Mask, grid: Grid, patch: int, margin: int) -> Tensor:
    """float32 ``[B, H, patch * patch]``: 1 for the pixels of hidden patches that count, else 0.

    Those count whose Chebyshev distance to the nearest visible pixel is above ``margin``; what lies
    outside the image is not visible.

    Raises:
        ValueError: a negative margin; a mask that hides nothing.
    """
    if margin < 0:
        raise ValueError(f"margin must not be negative, got {margin}")
    if mask.hidden.shape[1] == 0:
        raise ValueError("mask must hide at least one patch, got a mask that hides none")
    cells = 1 - mask.binary().unflatten(1, grid)
    visible = cells.repeat_interleave(patch, 1).repeat_interleave(patch, 2)[:, None]
    near = F.max_pool2d(visible, 2 * margin + 1, stride=1, padding=margin)
    return take(1 - patchify(near, patch), mask.hidden)


def scattering(hidden: int, patch: int, seed: int = 0) -> Tensor:
    """Control of the same size: an order in which equally many pixels are left out, but anywhere.

    One permutation of the ``hidden * patch**2`` hidden pixels of an image, the same in every step,
    so that the loss stays a function of its arguments; where they lie changes with the mask.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(hidden * patch**2, generator=generator)


def kept_share(patch: int, margin: int, hidden: int, patches: int) -> float:
    """Expected share of the hidden pixels that count, in patches away from the border of the image,
    for uniformly random masks that hide ``hidden`` of ``patches``.

    Raises:
        ValueError: a margin beyond half a patch, where more than the eight neighbours matter.
    """
    if not 0 <= 2 * margin <= patch:
        raise ValueError(f"margin must lie in 0..{patch // 2}, half a patch, got {margin}")
    edge, corner = (perm(hidden - 1, k) / perm(patches - 1, k) for k in (1, 3))
    inner = patch - 2 * margin
    return (inner**2 + 4 * margin * inner * edge + 4 * margin**2 * corner) / patch**2
