"""Gradients of one step: in one precision or two, in one pass or several."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mae_lib.models.masks import Mask
from mae_lib.training.distributed import accumulating

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def grad_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """What keeps small gradients of float16 from vanishing; does nothing in other precisions.

    Raises:
        ValueError: an unknown precision, or float16 on XLA.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision == "float16" and device.type == "xla":
        raise ValueError("precision must be 'float32' or 'bfloat16' on XLA, got 'float16'")
    return torch.amp.GradScaler(device.type if device.type == "cuda" else "cpu",
                                enabled=precision == "float16")


def backward(forward: nn.Module, precision: str, scaler: torch.amp.GradScaler, images: Tensor,
             mask: Mask, number: int, passes: int) -> Tensor:
    """Add the gradients of pass ``number`` of ``passes``; returns its share of the loss."""
    dtype = PRECISIONS[precision]
    with accumulating(forward, last=number == passes):
        with torch.autocast(images.device.type, dtype, enabled=dtype is not None):
            loss = forward(images, mask) / passes
        scaler.scale(loss).backward()
    return loss.detach()
