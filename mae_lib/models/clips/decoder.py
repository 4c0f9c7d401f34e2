"""The light transformer that fills in the hidden tubelets of a clip."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mae_lib.models.encoder import Encoded, take
from mae_lib.models.masks import Mask
from mae_lib.models.transformer import EPS, Block, initialise


class ClipDecoder(nn.Module):
    """Mask tokens and positions in, vectors of tubelets out.

    Other than :class:`mae_lib.models.decoder.Decoder` it takes no class token from the encoder; it
    has one of its own (MAE-ST) or none (VideoMAE).

    Args:
        encoder_width: D of the encoder.
        positions: as the encoder's, of the decoder's width.
        outputs: length of a predicted vector.
        bias: of the map from the encoder's width, which VideoMAE does without.
        class_token: prepend a learned token, at first zero.
    """

    def __init__(self, encoder_width: int, positions: nn.Module, outputs: int, width: int = 512,
                 depth: int = 4, heads: int = 16, *, bias: bool = True, class_token: bool = True):
        super().__init__()
        self.patches = positions().shape[1] - class_token
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width)) if class_token else None
        self.positions = positions
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.pred = nn.Linear(width, outputs)
        self.apply(initialise)
        self.embed = nn.Linear(encoder_width, width, bias=bias)
        nn.init.xavier_uniform_(self.embed.weight)
        if bias:
            nn.init.zeros_(self.embed.bias)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, latent: Encoded, mask: Mask) -> Tensor:
        """Predict the hidden tubelets, in the order of ``mask.hidden``: ``[B, H, outputs]``."""
        return self._predict(latent, mask, mask.hidden.shape[1])

    def everywhere(self, latent: Encoded, mask: Mask) -> Tensor:
        """Predict every tubelet, also the visible ones: ``[B, L, outputs]``."""
        places = torch.cat(mask, dim=1).argsort(1)
        return take(self._predict(latent, mask, self.patches), places)

    def _predict(self, latent: Encoded, mask: Mask, last: int) -> Tensor:
        """Predictions of the last tokens in the order class token, visible, hidden tubelets; what
        nobody asked for is left out of the last block."""
        seen = self.embed(latent.patches)
        table = self.positions().expand(len(seen), -1, -1)
        positions = table[:, -self.patches:]
        x = torch.cat([seen + take(positions, mask.visible),
                       self.mask_token + take(positions, mask.hidden)], dim=1)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token + table[:, :1], x], dim=1)
        for block in self.blocks[:-1]:
            x = block(x)
        return self.pred(self.norm(self.blocks[-1](x, last)))
