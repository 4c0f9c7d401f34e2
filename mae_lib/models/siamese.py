"""MAE as a siamese network (Kong and Zhang, CVPR 2023): equations 3 to 8, and R-MAE.

M is 1 on *visible* pixels there. One branch encodes what a mask shows, the other what it hides;
both are decoded, and the loss compares them where patches are hidden.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mae_lib.models.masks import Mask, nothing_hidden, random_mask
from mae_lib.models.methods import MaskedAutoencoder

SECOND = ("complement", "independent", "identity")
SECOND_RATIO = 0.25  # of patches hidden from the second branch if its mask is independent


class TwoMasks(NamedTuple):
    """Mask of the first branch (T1 in the paper) and of the second (T2), as indices ``[B, .]``."""

    visible: Tensor
    hidden: Tensor
    visible2: Tensor
    hidden2: Tensor

    @property
    def first(self) -> Mask:
        return Mask(self.visible, self.hidden)

    @property
    def second(self) -> Mask:
        return Mask(self.visible2, self.hidden2)

    @property
    def compared(self) -> Tensor:
        """Where the branches are compared: hidden from the first and shown to the second, float
        ``[B, L]``, 1 there."""
        return _compared(self.first, self.second)


class RMAE(nn.Module):
    """R-MAE (Kong and Zhang, equation 8): the second branch's reconstruction is the target.

    Both branches share encoder and decoder, and gradients flow through both.

    Args:
        autoencoder: whose encoder, decoder, sampler and target are used; it is trained in place.
        second: what the second branch sees: ``"complement"``, what is hidden from the first;
            ``"independent"``, three quarters at random (the paper's dagger); ``"identity"``,
            everything (double dagger).
        weight: lambda, of the second branch's own error.

    Raises:
        ValueError: unknown ``second``; a negative weight.
    """

    def __init__(self, autoencoder: MaskedAutoencoder, second: str = "complement",
                 weight: float = 1.0):
        super().__init__()
        if second not in SECOND:
            raise ValueError(f"second must be one of {', '.join(SECOND)}, got {second!r}")
        if weight < 0:
            raise ValueError(f"weight must not be negative, got {weight}")
        self.encoder, self.decoder = autoencoder.encoder, autoencoder.decoder
        self.sampler, self.show = autoencoder.sampler, autoencoder.show
        self.target, self.second, self.weight = autoencoder.target, second, weight
        self.config, self.variant = autoencoder.config, f"{second}, weight {weight:g}"

    def sample_mask(self, batch: int, generator: torch.Generator | None = None) -> TwoMasks:
        """Masks of both branches, on the CPU."""
        first = self.sampler(batch, generator=generator)
        if self.second == "complement":
            return TwoMasks(*first, *first[::-1])
        grid = self.encoder.grid
        return TwoMasks(*first, *(nothing_hidden(batch, grid) if self.second == "identity" else
                                  random_mask(batch, grid, SECOND_RATIO, generator=generator)))

    def forward(self, images: Tensor, masks: TwoMasks) -> Tensor:
        """The training loss (a scalar) of images ``[B,3,H,W]`` in [0, 1]."""
        first, second = Mask(*masks[:2]), Mask(*masks[2:])  # torch.compile knows no properties
        patches = self.encoder.patches(images)
        one, two = self._decoded(patches, first), self._decoded(patches, second)
        compared = _compared(first, second).to(one.dtype)
        return (region_error(one, two, compared)
                + self.weight * region_error(two, self.target(patches), compared))

    def predict(self, images: Tensor, mask: Mask) -> Tensor:
        """As :meth:`mae_lib.models.methods.MaskedAutoencoder.predict`, by the first branch."""
        return self._decoded(self.encoder.patches(images), mask)

    def _decoded(self, patches: Tensor, mask: Mask) -> Tensor:
        latent = self.encoder.encode(self.show(self.encoder, patches, mask))
        return self.decoder.everywhere(latent, mask)


def _compared(first: Mask, second: Mask) -> Tensor:
    return first.binary() * (1 - second.binary())


def region_error(prediction: Tensor, target: Tensor, region: Tensor) -> Tensor:
    """Mean squared error over the patches of a region; 0 if it is empty (not 0/0).

    With the means of both branches this is M of equation 5 (a sum there), and with pixels as target
    the loss of equation 3.

    Args:
        prediction, target: ``[B, L, n]``.
        region: ``[B, L]``, 1 for patches that count.
    """
    error = (prediction - target).square().mean(-1)
    return (error * region).sum() / region.sum().clamp(min=1)
