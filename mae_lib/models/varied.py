"""An MAE whose input is not the image itself: a crop of it, other colours, a pasted rectangle.

For the controls of Kong and Zhang (CVPR 2023): MAE with colour jitter (Table 4), every combination
of augmentations, masking one of them (Table 5), and stronger augmentation of few images (Table 6).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mae_lib.models.encoder import take
from mae_lib.models.losses import masked_mse
from mae_lib.models.masks import Mask, nothing_hidden
from mae_lib.models.methods import MaskedAutoencoder
from mae_lib.models.views import Augmentation, Drawn


class Varied(NamedTuple):
    """A mask and the numbers of one view of each image."""

    visible: Tensor
    hidden: Tensor
    crop: Tensor
    colour: Tensor
    rectangle: Tensor


class VariedMAE(nn.Module):
    """A masked autoencoder that is shown a random view of the image.

    The target is the image at the place of the crop, in its own colours and without pasted parts;
    with ``jittered_target`` it is the view itself. Without masking all patches are shown and all
    are predicted.

    Args:
        autoencoder: whose parts are used; it is trained in place.
        augment: of the view.
        masked: hide patches.
        jittered_target: predict the view and not the image (Table 4, "whole image").
    """

    def __init__(self, autoencoder: MaskedAutoencoder, augment: Augmentation, *,
                 masked: bool = True, jittered_target: bool = False):
        super().__init__()
        self.encoder, self.decoder = autoencoder.encoder, autoencoder.decoder
        self.sampler, self.show = autoencoder.sampler, autoencoder.show
        self.target, self.config = autoencoder.target, autoencoder.config
        self.augment, self.masked, self.jittered_target = augment, masked, jittered_target
        self.variant = f"{augment}, {masked=}, {jittered_target=}"

    def sample_mask(self, batch: int, generator: torch.Generator | None = None) -> Varied:
        """Masks and views of a batch, on the CPU."""
        mask = (self.sampler(batch, generator=generator) if self.masked
                else nothing_hidden(batch, self.encoder.grid))
        return Varied(*mask, *self.augment.draw(batch, 1, generator))

    def forward(self, images: Tensor, drawn: Varied) -> Tensor:
        """The training loss (a scalar) of images ``[B,3,H,W]`` in [0, 1]."""
        mask, numbers = Mask(*drawn[:2]), Drawn(*drawn[2:])
        placed = self.augment.placed(images, numbers, 0)
        seen = self.augment.painted(placed, numbers, 0)
        wanted = self.encoder.patches(seen if self.jittered_target else placed)
        latent = self.encoder.encode(self.show(self.encoder, self.encoder.patches(seen), mask))
        if not self.masked:
            return (self.decoder.everywhere(latent, mask) - self.target(wanted)).square().mean()
        return masked_mse(self.decoder(latent, mask), self.target(take(wanted, mask.hidden)), mask)
