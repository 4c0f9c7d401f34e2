"""Filling holes in an image from the pixels around them: a baseline that has learnt nothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def harmonic_fill(images: Tensor, hidden: Tensor, *, sweeps: int = 150) -> Tensor:
    """Hidden pixels so smooth that each is the mean of its neighbours (Laplace's equation).

    A baseline that knows nothing but the visible pixels nearby. Red-black over-relaxation, of which
    150 sweeps leave an error below 1e-3 at 32 pixels a side.

    Args:
        images: ``[B,3,H,W]`` in [0, 1].
        hidden: bool ``[B,1,H,W]``, not all of an image.
    """
    shown = (~hidden).to(images)
    mean = (images * shown).sum((2, 3), keepdim=True) / shown.sum((2, 3), keepdim=True)
    filled = torch.where(hidden, mean, images)
    height, width = images.shape[2:]
    red = (torch.arange(height)[:, None] + torch.arange(width)) % 2 == 0
    count = _neighbour_sum(torch.ones(1, 1, height, width))
    for colour in (red, ~red) * sweeps:
        step = 1.94 * (hidden & colour)
        filled.addcmul_(step, _neighbour_sum(filled) / count - filled)
    return filled


def _neighbour_sum(x: Tensor) -> Tensor:
    wide = F.pad(x, (1, 1, 1, 1))
    return (wide[..., :-2, 1:-1] + wide[..., 2:, 1:-1] + wide[..., 1:-1, :-2]
            + wide[..., 1:-1, 2:])
