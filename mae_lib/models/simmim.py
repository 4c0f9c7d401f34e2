"""SimMIM (Xie et al., CVPR 2022): the encoder sees mask tokens, one linear map predicts pixels.

After microsoft/SimMIM: models/simmim.py. Masks hide whole units of 32 pixels.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from mae_lib.models.encoder import Encoded, Encoder, take
from mae_lib.models.masks import Mask, unit_mask
from mae_lib.models.methods import MaskedAutoencoder
from mae_lib.models.targets import pixels

RATIO, UNIT = 0.6, 32
EPS = 1e-5  # pixels, in the mean of the loss


class MaskTokens(nn.Module):
    """Shows the encoder all patches, a learned token in place of each hidden one."""

    def __init__(self, width: int):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, width))

    def forward(self, encoder: Encoder, patches: Tensor, mask: Mask) -> Tensor:
        """Tokens ``[B, L, D]``, positions (if absolute) added."""
        shown = encoder.patch_embed(patches)
        place = mask.hidden[..., None].expand(-1, -1, shown.shape[-1])
        tokens = self.token.to(shown.dtype).expand(*place.shape)
        return shown.scatter(1, place, tokens) + encoder.pos_embed[:, -shown.shape[1]:]


class PixelHead(nn.Module):
    """One linear map from a patch's token to its pixels, (row, column, channel)."""

    def __init__(self, width: int, patch: int):
        super().__init__()
        self.pred = nn.Linear(width, 3 * patch**2)

    def forward(self, latent: Encoded, mask: Mask) -> Tensor:
        """Predict the hidden patches: ``[B, H, outputs]``."""
        return self.pred(take(latent.patches, mask.hidden))

    def everywhere(self, latent: Encoded, mask: Mask) -> Tensor:
        """Predict every patch: ``[B, L, outputs]``."""
        return self.pred(latent.patches)


def masked_l1(prediction: Tensor, target: Tensor, mask: Mask) -> Tensor:
    """Mean absolute error over the hidden pixels of a batch; 0 if none is hidden.

    Args:
        prediction, target: of the hidden patches, ``[B, H, n]``.
    """
    return (prediction - target).abs().sum() / (prediction.numel() / 3 + EPS) / 3


def simmim(encoder: Encoder, *, ratio: float = RATIO, unit: int = UNIT) -> MaskedAutoencoder:
    """The method around an encoder, from its own standardised pixels to the loss.

    Args:
        ratio: share of masking units that are hidden, rounded up.
        unit: side of a masking unit in pixels, a multiple of the patch.

    Raises:
        ValueError: a unit that is no multiple of the patch.
    """
    if unit < 1 or unit % encoder.patch:
        raise ValueError(f"unit must be a multiple of the patch ({encoder.patch} pixels), "
                         f"got {unit}")
    sampler = partial(unit_mask, grid=encoder.grid, ratio=ratio, unit=unit // encoder.patch,
                      cut="whole_units")
    config = {"method": "simmim", "size": encoder.size, "patch": encoder.patch,
              "width": encoder.width, "depth": encoder.depth, "ratio": ratio, "unit": unit,
              "target": "pixel"}
    return MaskedAutoencoder(encoder, PixelHead(encoder.width, encoder.patch), sampler,
                             show=MaskTokens(encoder.width), target=pixels, loss=masked_l1,
                             config=config)


def head_from_shuffle(weight: Tensor) -> Tensor:
    """Rows of SimMIM's 1x1 convolution before a pixel shuffle, (channel, row, column), in the
    order of our patches: ``[3 * s * s, ...]`` both."""
    side = round((len(weight) / 3) ** 0.5)
    return weight.unflatten(0, (3, side, side)).movedim(0, 2).flatten(0, 2)
