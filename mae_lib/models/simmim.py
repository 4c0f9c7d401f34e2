"""SimMIM (Xie et al., CVPR 2022): the encoder sees mask tokens, one linear map predicts pixels.

After microsoft/SimMIM: models/simmim.py. Masks hide whole units of 32 pixels.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from mae_lib.models.encoder import Encoded, Encoder, take
from mae_lib.models.masks import Mask, nothing_hidden, unit_mask
from mae_lib.models.methods import MaskedAutoencoder
from mae_lib.models.relative import share_table, with_relative_positions
from mae_lib.models.targets import pixels

RATIO, UNIT = 0.6, 32
EPS = 1e-5  # pixels, in the mean of the loss
STD, BRANCH = 0.02, 0.1  # of initial weights, clipped there; of what a branch adds at first


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
    """From a patch's token to its pixels, (row, column, channel): one linear map, or two.

    Args:
        hidden: width between two maps, with a GELU; one map if None.
    """

    def __init__(self, width: int, patch: int, hidden: int | None = None):
        super().__init__()
        values = 3 * patch**2
        self.pred = nn.Linear(width, values) if hidden is None else nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, values))

    def forward(self, latent: Encoded, mask: Mask) -> Tensor:
        """Predict the hidden patches: ``[B, H, outputs]``."""
        return self.pred(take(latent.patches, mask.hidden))

    def everywhere(self, latent: Encoded, mask: Mask) -> Tensor:
        """Predict every patch: ``[B, L, outputs]``."""
        return self.pred(latent.patches)


class ReadsAll(nn.Module):
    """MAE's decoder behind an encoder that has seen a token for every patch: none is filled in."""

    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.decoder = decoder

    def forward(self, latent: Encoded, mask: Mask) -> Tensor:
        """Predict the hidden patches: ``[B, H, outputs]``."""
        return take(self.everywhere(latent, mask), mask.hidden)

    def everywhere(self, latent: Encoded, mask: Mask) -> Tensor:
        """Predict every patch: ``[B, L, outputs]``."""
        batch, patches, _ = latent.patches.shape
        every = nothing_hidden(batch, (1, patches), latent.patches.device)
        return self.decoder.everywhere(latent, every)


def masked_l1(prediction: Tensor, target: Tensor, mask: Mask) -> Tensor:
    """Mean absolute error over the hidden pixels of a batch; 0 if none is hidden.

    Args:
        prediction, target: of the hidden patches, ``[B, H, n]``.
    """
    return (prediction - target).abs().sum() / (prediction.numel() / 3 + EPS) / 3


def simmim(encoder: Encoder, *, ratio: float = RATIO, unit: int = UNIT,
           head: nn.Module | None = None) -> MaskedAutoencoder:
    """The method around an encoder, from its own standardised pixels to the loss.

    Args:
        ratio: share of masking units that are hidden, rounded up.
        unit: side of a masking unit in pixels, a multiple of the patch.
        head: of all tokens, as :class:`PixelHead`, which it is if None.

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
    head = PixelHead(encoder.width, encoder.patch) if head is None else head
    return MaskedAutoencoder(encoder, head, sampler,
                             show=MaskTokens(encoder.width), target=pixels, loss=masked_l1,
                             config=config)


@torch.no_grad()
def as_simmim(encoder: Encoder) -> Encoder:
    """The same encoder, changed to SimMIM's: relative positions from one table for all blocks, and
    its initial weights.

    Those of patches and blocks are normal with ``STD``, clipped at one; what a branch of block l
    adds is divided by sqrt(2l), and its layer scale stands in the weights, where it starts as
    ``BRANCH`` and is learned with them. Left out: dropped branches, which a small encoder has no
    use for.
    """
    share_table(with_relative_positions(encoder))
    for module in encoder.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.trunc_normal_(module.weight, std=STD, a=-STD, b=STD)
            nn.init.zeros_(module.bias)
    for number, block in enumerate(encoder.blocks, 1):
        for branch in (block.attn.proj, block.mlp.fc2):
            branch.weight.mul_(BRANCH / math.sqrt(2 * number))
    return encoder


def head_from_shuffle(weight: Tensor) -> Tensor:
    """Rows of SimMIM's 1x1 convolution before a pixel shuffle, (channel, row, column), in the
    order of our patches: ``[3 * s * s, ...]`` both."""
    side = round((len(weight) / 3) ** 0.5)
    return weight.unflatten(0, (3, side, side)).movedim(0, 2).flatten(0, 2)
