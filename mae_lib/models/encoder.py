"""The vision transformer that sees the visible patches only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mae_lib.models.patches import patch_grid, patchify, sincos_2d
from mae_lib.models.transformer import EPS, Block, initialise

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Encoded(NamedTuple):
    """What the encoder returns; everything but ``blocks`` is after the final LayerNorm.

    ``cls [B, D]`` or None, ``patches [B, K, D]`` in the order of the given indices,
    ``blocks[i] [B, 1 + K, D]`` the residual stream after block i,
    ``attention[i] [B, heads, T, T]``.
    """

    cls: Tensor | None
    patches: Tensor
    blocks: dict[int, Tensor]
    attention: dict[int, Tensor]

    @property
    def tokens(self) -> Tensor:
        """Class token (if any) and patches ``[B, 1 + K, D]``."""
        return self.patches if self.cls is None else torch.cat([self.cls[:, None], self.patches], 1)


class PatchEmbed(nn.Module):
    """One linear map per patch, kept as a convolution's weight for the published names."""

    def __init__(self, patch: int, width: int):
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, patches: Tensor) -> Tensor:
        weight = self.proj.weight.permute(0, 2, 3, 1).flatten(1)  # (row, column, channel)
        return F.linear(patches, weight, self.proj.bias)


class Encoder(nn.Module):
    """ViT encoder of MAE (He et al., section 3; sizes of Dosovitskiy et al.).

    Images come in [0, 1]; standardisation is the encoder's own, with ``mean`` and ``std`` per
    channel. Positions are fixed and added before patches are dropped.

    Args:
        size: image side, or height and width, in pixels.
        patch: side of a patch in pixels.
        class_token: prepend a learned token.

    Raises:
        ValueError: sides that do not divide.
    """

    def __init__(self, size: int | tuple[int, int] = 224, patch: int = 16, width: int = 768,
                 depth: int = 12, heads: int = 12, *, class_token: bool = True,
                 mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD):
        super().__init__()
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.patch, self.width, self.depth = patch, width, depth
        self.grid = patch_grid(self.size, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width)) if class_token else None
        self.pos_embed = nn.Parameter(sincos_2d(width, self.grid, class_token=class_token),
                                      requires_grad=False)
        self.patch_embed = PatchEmbed(patch, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=EPS)
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError("mean and std must hold three numbers each, std above 0, "
                             f"got {tuple(mean)} and {tuple(std)}")
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)
        self.apply(initialise)
        if class_token:
            nn.init.normal_(self.cls_token, std=0.02)

    def forward(self, images: Tensor, visible: Tensor | None = None, *,
                blocks: Sequence[int] = (), attention: Sequence[int] = ()) -> Encoded:
        """Encode images ``[B,3,H,W]`` in [0, 1].

        Args:
            visible: indices of the patches to look at, ``[B, K]``; all of them if None.
            blocks: indices of blocks whose output to return.
            attention: indices of blocks whose attention matrix to return.
        """
        return self.encode(self.embed(self.patches(images), visible), blocks, attention)

    def patches(self, images: Tensor) -> Tensor:
        """Standardised patch vectors ``[B, L, patch * patch * 3]`` of images in [0, 1]."""
        if not images.is_floating_point():
            raise TypeError(f"images must be floating point in [0, 1], got {images.dtype}")
        if images.ndim != 4 or images.shape[1:] != (3, *self.size):
            raise ValueError(f"images must have shape [B,3,{self.size[0]},{self.size[1]}], "
                             f"got {list(images.shape)}")
        standardised = (images - self.mean[:, None, None]) / self.std[:, None, None]
        return patchify(standardised, self.patch)

    def embed(self, patches: Tensor, visible: Tensor | None = None) -> Tensor:
        """Tokens ``[B, K, D]`` of the visible patches, positions added; no class token yet."""
        positions = self.pos_embed[:, -patches.shape[1]:]
        if visible is None:
            return self.patch_embed(patches) + positions
        chosen = self.patch_embed(take(patches, visible))
        return chosen + positions[0][visible]

    def encode(self, tokens: Tensor, blocks: Sequence[int] = (),
               attention: Sequence[int] = ()) -> Encoded:
        """Class token, transformer blocks and final norm over embedded patches ``[B, K, D]``."""
        return encoded(self, self._prepend_class(tokens), blocks, attention)

    def _prepend_class(self, tokens: Tensor) -> Tensor:
        if self.cls_token is None:
            return tokens
        token = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        return torch.cat([token, tokens], dim=1)


def encoded(encoder: nn.Module, x: Tensor, blocks: Sequence[int] = (),
            attention: Sequence[int] = ()) -> Encoded:
    """Tokens ``[B, T, D]``, a class token first if there is one, through an encoder's ``blocks``
    and its final ``norm``; of which blocks to return outputs and attention."""
    outputs, matrices = {}, {}
    for i, block in enumerate(encoder.blocks):
        if i in attention:
            matrices[i] = block.attn.weights(block.norm1(x))
        x = block(x)
        if i in blocks:
            outputs[i] = x
    x = encoder.norm(x)
    if encoder.cls_token is None:
        return Encoded(None, x, outputs, matrices)
    return Encoded(x[:, 0], x[:, 1:], outputs, matrices)


def take(x: Tensor, index: Tensor) -> Tensor:
    """Rows ``index [B, K]`` of each item of ``x [B, L, D]``."""
    return x.gather(1, index.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
