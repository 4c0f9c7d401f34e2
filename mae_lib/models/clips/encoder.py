"""The vision transformer that sees the visible tubelets of a clip."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mae_lib.models.clips.tubelets import TubeletEmbed, clip_grid, tubelets
from mae_lib.models.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoded, encoded, take
from mae_lib.models.transformer import EPS, Block, initialise


class ClipEncoder(nn.Module):
    """ViT encoder of clips, for what :class:`mae_lib.models.encoder.Encoder` is for images.

    Clips come in [0, 1]; standardisation is the encoder's own. Positions are added to visible
    tubelets.

    Args:
        positions: of all tubelets, with the class token's if there is one, see
            :mod:`mae_lib.models.clips.positions`.
        frames: of a clip.
        size: side of a frame, or height and width, in pixels.
        time: frames of a tubelet.
        patch: side of a tubelet in pixels.
        class_token: prepend a learned token.

    Attributes:
        size: height and width in pixels, as a set of clips has them.
        grid: time slices, rows and columns.

    Raises:
        ValueError: a clip shorter than a tubelet; frames or sides that do not divide; positions of
            another grid.
    """

    def __init__(self, positions: nn.Module, *, frames: int = 16,
                 size: int | tuple[int, int] = 224, time: int = 2, patch: int = 16,
                 width: int = 768, depth: int = 12, heads: int = 12, class_token: bool = True,
                 mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD):
        super().__init__()
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.frames, self.time, self.patch = frames, time, patch
        self.width, self.depth = width, depth
        self.grid = clip_grid(frames, self.size, time, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width)) if class_token else None
        self.positions = positions
        _check_positions(positions, math.prod(self.grid) + class_token, width)
        self.patch_embed = TubeletEmbed(time, patch, width)
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

    def forward(self, clips: Tensor, visible: Tensor | None = None, *,
                blocks: Sequence[int] = (), attention: Sequence[int] = ()) -> Encoded:
        """Encode clips ``[B,3,T,H,W]`` in [0, 1].

        Args:
            visible: indices of the tubelets to look at, ``[B, K]``; all of them if None.
            blocks: indices of blocks whose output to return.
            attention: indices of blocks whose attention matrix to return.
        """
        return self.encode(self.embed(self.patches(clips), visible), blocks, attention)

    def patches(self, clips: Tensor) -> Tensor:
        """Standardised vectors ``[B, L, time * patch * patch * 3]`` of clips in [0, 1]."""
        if not clips.is_floating_point():
            raise TypeError(f"clips must be floating point in [0, 1], got {clips.dtype}")
        if clips.ndim != 5 or clips.shape[1:] != (3, self.frames, *self.size):
            raise ValueError(f"clips must have shape [B,3,{self.frames},{self.size[0]},"
                             f"{self.size[1]}], got {list(clips.shape)}")
        standardised = (clips - self.mean[:, None, None, None]) / self.std[:, None, None, None]
        return tubelets(standardised, self.time, self.patch)

    def embed(self, patches: Tensor, visible: Tensor | None = None) -> Tensor:
        """Tokens ``[B, K, D]`` of the visible tubelets, positions added; no class token yet."""
        positions = self.positions()[:, -patches.shape[1]:]
        if visible is None:
            return self.patch_embed(patches) + positions
        chosen = self.patch_embed(take(patches, visible))
        return chosen + take(positions.expand(len(patches), -1, -1), visible)

    def encode(self, tokens: Tensor, blocks: Sequence[int] = (),
               attention: Sequence[int] = ()) -> Encoded:
        """Class token, transformer blocks and final norm over embedded tubelets ``[B, K, D]``."""
        return encoded(self, self._prepend_class(tokens), blocks, attention)

    def _prepend_class(self, tokens: Tensor) -> Tensor:
        if self.cls_token is None:
            return tokens
        token = (self.cls_token + self.positions()[:, :1]).expand(len(tokens), -1, -1)
        return torch.cat([token, tokens], dim=1)


def _check_positions(positions: nn.Module, tokens: int, width: int) -> None:
    found = list(positions().shape)
    if found != [1, tokens, width]:
        raise ValueError(f"positions must have shape [1,{tokens},{width}], got {found}")
