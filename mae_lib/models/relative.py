"""Attention that knows how far apart two patches are: the encoder of SimMIM (and of BEiT).

Names and layout as in microsoft/SimMIM: models/vision_transformer.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mae_lib.models.encoder import Encoder
from mae_lib.models.transformer import Attention


def relative_index(grid: tuple[int, int]) -> Tensor:
    """Which row of a table of ``(2h-1)(2w-1) + 3`` offsets belongs to a query and a key.

    The last three rows are for the class token: its look at a patch, a patch's look at it, and its
    look at itself.

    Returns:
        int64 ``[1 + L, 1 + L]``, class token first.
    """
    rows, cols = grid
    place = torch.arange(rows * cols, device="cpu")
    row, col = place // cols, place % cols
    down = row[:, None] - row[None] + rows - 1
    right = col[:, None] - col[None] + cols - 1
    index = F.pad(down * (2 * cols - 1) + right, (1, 0, 1, 0))
    offsets = (2 * rows - 1) * (2 * cols - 1)
    index[0, :], index[:, 0], index[0, 0] = offsets, offsets + 1, offsets + 2
    return index


class RelativeAttention(nn.Module):
    """Self-attention with a learned number for every head and offset added before the softmax.

    It has the face of :class:`mae_lib.models.transformer.Attention` and takes its place in a
    block. Offsets are those of a whole image, so the tokens must be the class token and all
    patches.
    """

    project = Attention.project

    def __init__(self, width: int, heads: int, grid: tuple[int, int]):
        super().__init__()
        plain = Attention(width, heads)
        self.heads, self.qkv, self.proj = heads, plain.qkv, plain.proj
        offsets = (2 * grid[0] - 1) * (2 * grid[1] - 1) + 3
        self.relative_position_bias_table = nn.Parameter(torch.zeros(offsets, heads))
        self.register_buffer("index", relative_index(grid), persistent=False)

    def forward(self, x: Tensor, last: int | None = None) -> Tensor:
        """Mix all tokens ``[B, 1 + L, D]`` into each of them, or only into the ``last`` ones."""
        query, key, value = self.project(x)
        first = 0 if last is None else x.shape[1] - last
        mixed = F.scaled_dot_product_attention(query[:, :, first:], key, value,
                                               attn_mask=self._bias(query)[:, first:])
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def weights(self, x: Tensor) -> Tensor:
        """The attention matrix ``[B, heads, T, T]``; each row sums to one."""
        query, key, _ = self.project(x)
        scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
        return (scores + self._bias(query)).softmax(-1)

    def _bias(self, query: Tensor) -> Tensor:
        """``[heads, T, T]``."""
        if query.shape[2] != len(self.index):
            raise ValueError(f"tokens must be the class token and all {len(self.index) - 1} "
                             f"patches, since positions are relative, got {query.shape[2]} tokens")
        return self.relative_position_bias_table[self.index].permute(2, 0, 1).to(query.dtype)


def with_relative_positions(encoder: Encoder) -> Encoder:
    """The same encoder, changed: no absolute positions, relative ones in every block."""
    heads = encoder.blocks[0].attn.heads
    for block in encoder.blocks:
        block.attn = RelativeAttention(encoder.width, heads, encoder.grid)
    encoder.pos_embed.data.zero_()
    return encoder


def share_table(encoder: Encoder) -> None:
    """One table for all blocks (SimMIM's pretraining), that of the first."""
    for block in encoder.blocks[1:]:
        table = encoder.blocks[0].attn.relative_position_bias_table
        block.attn.relative_position_bias_table = table
