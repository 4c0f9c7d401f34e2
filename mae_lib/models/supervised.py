"""An encoder that learns from labels, as a method: the supervised ViT beside the others.

It sees as many images as they do, in the same loop (Kong and Zhang, CVPR 2023, Figure 1, Table 8).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mae_lib.models.classifier import Classifier
from mae_lib.models.methods import MaskedAutoencoder
from mae_lib.models.views import Augmentation, Drawn


class Labelled(NamedTuple):
    """Labels ``[B]`` and the numbers of one view of each image."""

    labels: Tensor
    crop: Tensor
    colour: Tensor
    rectangle: Tensor


class Supervised(nn.Module):
    """Cross entropy of a linear head on the mean token, label smoothing .1 (He et al.'s recipe).

    Args:
        base: its encoder is trained in place.
        classes: number of classes.
        augment: of the images.
        seed: of the head.
    """

    def __init__(self, base: MaskedAutoencoder, classes: int, augment: Augmentation,
                 smoothing: float = 0.1, seed: int | None = None):
        super().__init__()
        self.encoder, self.config, self.augment = base.encoder, base.config, augment
        self.smoothing, self.variant = smoothing, f"{augment}, smoothing {smoothing:g}"
        self.head = Classifier(base.encoder, classes, seed=seed).head

    def sample_mask(self, labels: Tensor, generator: torch.Generator | None = None) -> Labelled:
        """Labels ``[B]`` with the numbers of a view of each image, on the CPU."""
        return Labelled(labels, *self.augment.draw(len(labels), 1, generator))

    def forward(self, images: Tensor, drawn: Labelled) -> Tensor:
        """The training loss (a scalar) of images ``[B,3,H,W]`` in [0, 1]."""
        view = self.augment(images, Drawn(*drawn[1:]), 0)
        logits = self.head(self.encoder(view).patches.mean(1))
        return F.cross_entropy(logits, drawn.labels, label_smoothing=self.smoothing)
