"""The pre-norm transformer block of ViT and MAE, under the parameter names of timm."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-6  # of every LayerNorm in MAE (transformers' ViTMAE defaults to 1e-12)


class Attention(nn.Module):
    """Multi-head self-attention over tokens ``[B, T, D]`` with one fused projection."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"heads must divide the width {width}, got {heads}")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each ``[B, heads, T, D / heads]``."""
        batch, tokens, _ = x.shape
        parts = self.qkv(x).reshape(batch, tokens, 3, self.heads, -1).unbind(2)
        return tuple(part.transpose(1, 2) for part in parts)

    def forward(self, x: Tensor, last: int | None = None) -> Tensor:
        """Mix all tokens into each of them, or only into the ``last`` ones."""
        query, key, value = self.project(x)
        mixed = F.scaled_dot_product_attention(_last(query, last), key, value)
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def weights(self, x: Tensor) -> Tensor:
        """The attention matrix ``[B, heads, T, T]``; each row sums to one."""
        query, key, _ = self.project(x)
        return (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(-1)


class MLP(nn.Module):
    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """``x + Attention(LN x)``, then ``x + MLP(LN x)``; MLP four times as wide, exact GELU."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = MLP(width, 4 * width)

    def forward(self, x: Tensor, last: int | None = None) -> Tensor:
        """The next ``[B, T, D]``, or its ``last`` tokens only (the same numbers, for less)."""
        x = _last(x, last) + self.attn(self.norm1(x), last)
        return x + self.mlp(self.norm2(x))


def _last(x: Tensor, count: int | None) -> Tensor:
    """The last ``count`` tokens of ``x [..., T, D]``; all of them if None."""
    return x if count is None else x.narrow(-2, x.shape[-2] - count, count)


def initialise(module: nn.Module) -> None:
    """MAE's initialisation of one module, for ``model.apply``: Xavier-uniform, zero biases."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):  # the bias keeps PyTorch's default, as in the release
        nn.init.xavier_uniform_(module.weight.data.flatten(1))
