"""The light transformer that fills in the hidden patches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mae_lib.models.encoder import Encoded, take
from mae_lib.models.masks import Mask
from mae_lib.models.patches import sincos_2d
from mae_lib.models.transformer import EPS, Block, initialise


class Decoder(nn.Module):
    """MAE's decoder (He et al., section 3): mask tokens and positions in, patch vectors out.

    Args:
        encoder_width: D of the encoder.
        grid: rows and columns of patches.
        outputs: length of a predicted patch vector.
        class_token: whether the encoder hands over a class token.
    """

    def __init__(self, encoder_width: int, grid: tuple[int, int], outputs: int, width: int = 512,
                 depth: int = 8, heads: int = 16, *, class_token: bool = True):
        super().__init__()
        self.patches = grid[0] * grid[1]
        self.embed = nn.Linear(encoder_width, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(sincos_2d(width, grid, class_token=class_token),
                                      requires_grad=False)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.pred = nn.Linear(width, outputs)
        self.apply(initialise)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, latent: Encoded, mask: Mask) -> Tensor:
        """Predict the hidden patches, in the order of ``mask.hidden``: ``[B, H, outputs]``."""
        return self._predict(latent, mask, mask.hidden.shape[1])

    def everywhere(self, latent: Encoded, mask: Mask) -> Tensor:
        """Predict every patch, also the visible ones: ``[B, L, outputs]``."""
        places = torch.cat(mask, dim=1).argsort(1)
        return take(self._predict(latent, mask, self.patches), places)

    def _predict(self, latent: Encoded, mask: Mask, last: int) -> Tensor:
        """Predictions of the last tokens in the order class token, visible, hidden patches.

        The order of tokens means nothing to a transformer; this one needs no scattering, and what
        nobody asked for is left out of the last block.
        """
        x = self.embed(latent.tokens)
        prefix = x.shape[1] - mask.visible.shape[1]
        front, positions = self.pos_embed[:, :prefix], self.pos_embed[0, prefix:]
        x = torch.cat([x[:, :prefix] + front, x[:, prefix:] + positions[mask.visible],
                       self.mask_token + positions[mask.hidden]], dim=1)
        for block in self.blocks[:-1]:
            x = block(x)
        return self.pred(self.norm(self.blocks[-1](x, last)))
