"""A plain vision transformer as the backbone of a detector: maps of four scales, then an FPN.

Li et al. 2021 ("Benchmarking detection transfer learning with vision transformers"), the form that
He et al. used for MAE and Kong et al. for their tables 3 and 5: tokens after a quarter, a half,
three quarters and all of the blocks, each resized to a stride of its own.
"""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.convnext import LayerNorm2d
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from mae_lib.models.encoder import Encoder
from mae_lib.models.patches import patch_grid
from mae_lib.models.transformer import EPS

STRIDES = (4, 8, 16, 32)  # Kong et al., appendix C.7, whatever the patch


class ViTPyramid(nn.Module):
    """A copy of an encoder at another image size, with a feature pyramid on top.

    All blocks attend globally. Positions are interpolated as :func:`at_size` does and then trained
    like the rest of the copy; ``encoder`` itself stays as it is. The pyramid's convolutions end in
    a LayerNorm over channels (Li et al.: batch norm, which small batches do not allow).

    Args:
        encoder: where to start from; trained or not.
        size: side of the images in pixels.
        strides: pixels a cell of each map, finest first; the taps go from shallow to deep.
        out_channels: of every map.

    Raises:
        ValueError: strides that are not the patch times a power of two; a side that is no multiple
            of the largest stride.
    """

    def __init__(self, encoder: Encoder, size: int, strides: Sequence[int] = STRIDES,
                 out_channels: int = 256):
        super().__init__()
        self.taps = taps_of(encoder.depth, len(strides))
        if size % max(strides):
            raise ValueError(f"size must be a multiple of {max(strides)}, got {size}")
        self.resize = nn.ModuleList(resizer(encoder.width, encoder.patch, s) for s in strides)
        self.encoder = at_size(encoder, size).requires_grad_()
        self.encoder.norm = nn.Identity()  # the taps come before it, so it would not be trained
        # Trained and untrained taps differ in scale, which no detector should have to learn first.
        self.fpn = FeaturePyramidNetwork([encoder.width] * len(strides), out_channels,
                                         LastLevelMaxPool(), norm_layer=LayerNorm2d)
        self.out_channels = out_channels

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Maps ``"0"``, ``"1"``, ..., each ``[B, out_channels, size/stride, size/stride]``, and
        ``"pool"``, every second cell of the last, from images ``[B,3,size,size]`` in [0, 1]."""
        blocks = self.encoder(images, blocks=self.taps).blocks
        maps = (self._map(blocks[i]) for i in self.taps)
        resized = [resize(x) for resize, x in zip(self.resize, maps, strict=True)]
        return self.fpn(OrderedDict((str(i), x) for i, x in enumerate(resized)))

    def _map(self, tokens: Tensor) -> Tensor:
        """The patches among ``tokens [B, T, D]`` as a map ``[B, D, h, w]``."""
        h, w = self.encoder.grid
        return tokens[:, -h * w:].transpose(1, 2).unflatten(2, (h, w))


def taps_of(depth: int, count: int = 4) -> tuple[int, ...]:
    """Indices of the blocks that end the first, second, ... of ``count`` equal parts.

    Parts that end inside a block take all of it, so that a shallow encoder has taps twice.
    """
    return tuple(math.ceil(depth * (i + 1) / count) - 1 for i in range(count))


def resizer(width: int, patch: int, stride: int) -> nn.Module:
    """From maps of one cell a patch to maps of one cell a stride: learned if finer, else pooled.

    Raises:
        ValueError: ``stride`` is not ``patch`` times a power of two, smaller than 1 or not.
    """
    steps = math.log2(patch / stride) if stride > 0 else 0.5
    if steps % 1:
        raise ValueError(f"strides must be the patch {patch} times a power of two, got {stride}")
    if steps <= 0:
        return nn.MaxPool2d(stride // patch) if steps else nn.Identity()
    layers = [nn.ConvTranspose2d(width, width, 2, 2)]
    for _ in range(round(steps) - 1):
        layers += [LayerNorm2d(width, eps=EPS), nn.GELU(), nn.ConvTranspose2d(width, width, 2, 2)]
    return nn.Sequential(*layers)


def at_size(encoder: Encoder, size: int) -> Encoder:
    """A copy of ``encoder`` for images of another side, its positions interpolated bicubically.

    Stretched positions stay in the range that training saw; the table of a larger grid would not.
    """
    made = copy.deepcopy(encoder)
    made.size, made.grid = (size, size), patch_grid(size, encoder.patch)
    table = interpolate_positions(encoder.pos_embed.detach(), encoder.grid, made.grid)
    made.pos_embed = nn.Parameter(table, requires_grad=encoder.pos_embed.requires_grad)
    return made


def interpolate_positions(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Positions ``[1, (1 +) L, D]`` of grid ``old`` for grid ``new``; the class token's stays."""
    if tuple(old) == tuple(new):
        return table.clone()
    first, cells = table.split([table.shape[1] - old[0] * old[1], old[0] * old[1]], 1)
    picture = cells.transpose(1, 2).unflatten(2, old)
    stretched = F.interpolate(picture, new, mode="bicubic", antialias=True)
    return torch.cat([first, stretched.flatten(2).transpose(1, 2)], 1)
