"""A small convolutional classifier: the fixed network that picks the "filtered" test images.

Trained with labels and never evaluated itself, as the ResNet-50 behind ImageNet-A.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS = (24, 48, 96)


class ConvNet(nn.Module):
    """Three stages of convolution, group normalisation, ReLU and 2x2 maximum; mean; linear.

    Takes float32 images ``[B,3,H,W]`` in [0, 1], H and W at least 8; returns logits ``[B,K]``.
    About 55,000 weights.

    Args:
        classes: K, at least 2.
        seed: of the initial weights.

    Raises:
        ValueError: fewer than two classes; images too small.
    """

    def __init__(self, classes: int, *, seed: int = 0):
        super().__init__()
        if classes < 2:
            raise ValueError(f"classes must be at least 2, got {classes}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.stages = nn.Sequential(*(_stage(a, b) for a, b in zip((3, *WIDTHS), WIDTHS,
                                                                       strict=False)))
            self.head = nn.Linear(WIDTHS[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        if min(images.shape[-2:]) < 8:
            raise ValueError(f"images must have sides of at least 8 pixels, "
                             f"got {list(images.shape[-2:])}")
        return self.head(self.stages((images - 0.5) / 0.25).mean((2, 3)))


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(8, outputs),
                         nn.ReLU(), nn.MaxPool2d(2))
