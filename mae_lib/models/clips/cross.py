"""The decoders of SiamMAE: tokens of the future frame that look at those of the past frame."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mae_lib.models.encoder import Encoded, take
from mae_lib.models.patches import sincos_2d
from mae_lib.models.transformer import EPS, MLP, Block, initialise


class PairMask(NamedTuple):
    """Two frames of each clip and what is seen of them.

    ``visible [B, K]`` and ``hidden [B, H]`` patches of the future frame, ``shown [B, P]`` those of
    the past frame, and the numbers ``first [B]`` and ``second [B]`` of the past and future frame.
    """

    visible: Tensor
    hidden: Tensor
    shown: Tensor
    first: Tensor
    second: Tensor


class CrossAttention(nn.Module):
    """``x + Attention(LN x; LN z)``: queries of ``x``, keys and values of ``z``."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"heads must divide the width {width}, got {heads}")
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=EPS), nn.LayerNorm(width, eps=EPS)
        self.query = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """``x [B, T, D]`` with what it finds in ``z [B, S, D]``."""
        query, (key, value) = self.query(self.norm1(x)), self.kv(self.norm2(z)).chunk(2, dim=-1)
        heads = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
                 for part in (query, key, value))
        mixed = F.scaled_dot_product_attention(*heads)
        return x + self.proj(mixed.transpose(1, 2).flatten(2))


class CrossSelf(nn.Module):
    """Cross-attention to the past, then a plain block over the future alone."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.cross, self.block = CrossAttention(width, heads), Block(width, heads)

    def forward(self, past: Tensor, future: Tensor,
                last: int | None = None) -> tuple[Tensor, Tensor]:
        """Past as it was, and the next future, or its ``last`` tokens only."""
        return past, self.block(self.cross(future, past), last)


class Cross(nn.Module):
    """Cross-attention to the past, then an MLP.

    Future tokens never see each other, so that what is hidden is predicted from the past alone.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.cross, self.norm = CrossAttention(width, heads), nn.LayerNorm(width, eps=EPS)
        self.mlp = MLP(width, 4 * width)

    def forward(self, past: Tensor, future: Tensor,
                last: int | None = None) -> tuple[Tensor, Tensor]:
        """Past as it was, and the next future, or its ``last`` tokens only."""
        first = 0 if last is None else future.shape[1] - last
        future = self.cross(future[:, first:], past)
        return past, future + self.mlp(self.norm(future))


class Joint(nn.Module):
    """A plain block over past and future side by side."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.block = Block(width, heads)

    def forward(self, past: Tensor, future: Tensor,
                last: int | None = None) -> tuple[Tensor, Tensor]:
        """The next past and future; with ``last`` the past as it was, which nobody will read."""
        mixed = self.block(torch.cat([past, future], dim=1), last)
        if last is not None:
            return past, mixed
        return mixed[:, :past.shape[1]], mixed[:, past.shape[1]:]


DECODERS = {"cross-self": CrossSelf, "cross": Cross, "joint": Joint}


class PairDecoder(nn.Module):
    """Predicts the future frame from its visible patches and from the past frame.

    Both frames get the same positions; nothing says which frame a token is of.

    Args:
        encoder_width: D of the encoder, which has a class token.
        grid: rows and columns of patches.
        outputs: length of a predicted patch vector.
        kind: a key of ``DECODERS``.
        past_positions: add positions to the past frame's tokens once more.

    Raises:
        ValueError: unknown ``kind``.
    """

    def __init__(self, encoder_width: int, grid: tuple[int, int], outputs: int, width: int = 256,
                 depth: int = 4, heads: int = 8, *, kind: str = "cross-self",
                 past_positions: bool = True):
        super().__init__()
        if kind not in DECODERS:
            raise ValueError(f"decoder must be one of {', '.join(DECODERS)}, got {kind!r}")
        self.patches, self.past_positions = grid[0] * grid[1], past_positions
        self.embed = nn.Linear(encoder_width, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(sincos_2d(width, grid), requires_grad=False)
        self.blocks = nn.ModuleList(DECODERS[kind](width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.pred = nn.Linear(width, outputs)
        self.apply(initialise)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, past: Encoded, future: Encoded, drawn: PairMask) -> Tensor:
        """Predict the hidden patches, in the order of ``drawn.hidden``: ``[B, H, outputs]``."""
        return self._predict(past, future, drawn, drawn.hidden.shape[1])

    def everywhere(self, past: Encoded, future: Encoded, drawn: PairMask) -> Tensor:
        """Predict every patch of the future frame: ``[B, L, outputs]``."""
        places = torch.cat([drawn.visible, drawn.hidden], dim=1).argsort(1)
        return take(self._predict(past, future, drawn, self.patches), places)

    def _predict(self, past: Encoded, future: Encoded, drawn: PairMask, last: int) -> Tensor:
        """Predictions of the last tokens in the order class token, visible, hidden patches."""
        z = self.embed(past.tokens)
        if self.past_positions:
            z = z + self._positions(drawn.shown, class_token=True)
        seen = self.embed(future.tokens) + self._positions(drawn.visible, class_token=True)
        x = torch.cat([seen, self.mask_token + self._positions(drawn.hidden)], dim=1)
        for block in self.blocks[:-1]:
            z, x = block(z, x)
        return self.pred(self.norm(self.blocks[-1](z, x, last)[1]))

    def _positions(self, index: Tensor, class_token: bool = False) -> Tensor:
        """Positions of patches ``[B, K, D]``, the class token's in front if asked for."""
        found = self.pos_embed[0, 1:][index]
        if not class_token:
            return found
        return torch.cat([self.pos_embed[:, :1].expand(len(index), -1, -1), found], dim=1)
