"""MWM's convolutional stem (Seo et al., CoRL 2022), and what its tokens know of hidden cells.

Masks cover what the stem makes of a frame, not the frame: a token that stays was computed from all
pixels in its receptive field, many of which lie in cells whose own token was dropped. After the
official code, mwm/common/mae.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import torch
from torch import Tensor, nn

from mae_lib.models.encoder import Encoder, take
from mae_lib.models.masks import Mask
from mae_lib.models.patches import unpatchify

PADDINGS = ("zeros", "reflect", "replicate")
LAYERS = 3  # each of stride 2
STRIDE = 2**LAYERS  # pixels from one token to the next


class Stem(nn.Module):
    """Three convolutions 4x4 of stride 2 with ReLU, then one 1x1: a token for 8x8 pixels.

    Channels are D/8, D/4, D/2 and D. Stands where an encoder has its patch projection, and like it
    takes patch vectors, but of the whole image. Initial weights as Keras': Glorot-uniform over all
    weights of a kernel, zero biases.

    Args:
        width: D, a multiple of 8.
        grid: rows and columns of tokens.
        padding: of one pixel on every side: ``"zeros"`` (MWM), ``"reflect"`` or ``"replicate"``.
            With zeros a token can tell that it stands at the border.

    Raises:
        ValueError: a width that is no multiple of 8; unknown padding.
    """

    def __init__(self, width: int, grid: tuple[int, int], padding: str = "zeros"):
        super().__init__()
        if width % 8:
            raise ValueError(f"width must be a multiple of 8 for the stem, got {width}")
        if padding not in PADDINGS:
            raise ValueError(f"padding must be one of {', '.join(PADDINGS)}, got {padding!r}")
        self.grid = tuple(grid)
        channels = (3, width // 8, width // 4, width // 2)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1, padding_mode=padding)
                                    for a, b in pairwise(channels))
        self.proj = nn.Conv2d(width // 2, width, 1)
        for layer in (*self.layers, self.proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, patches: Tensor) -> Tensor:
        """Tokens ``[B, L, D]`` of all patch vectors ``[B, L, 192]`` of an image.

        Raises:
            ValueError: some patches only, as from an encoder that was told which to look at.
        """
        if patches.shape[1] != (count := self.grid[0] * self.grid[1]):
            raise ValueError(f"patches must be all {count} of an image, since a stem looks across "
                             f"their borders, got {patches.shape[1]}; mask its tokens instead")
        x = unpatchify(patches, STRIDE, self.grid)
        for layer in self.layers:
            x = layer(x).relu()
        return self.proj(x).flatten(2).transpose(1, 2)


def mask_features(encoder: Encoder, patches: Tensor, mask: Mask) -> Tensor:
    """The encoder sees visible tokens only, each made from the whole image, positions added: what
    to ``show`` (MWM). With a patch projection the same as
    :func:`mae_lib.models.methods.drop_hidden`."""
    return take(encoder.embed(patches), mask.visible)


def world_encoder(shape: dict, mean: Sequence[float], std: Sequence[float], *, stem: bool = True,
                  padding: str = "zeros") -> Encoder:
    """An encoder with a stem, or with a patch projection, from the sizes of a preset.

    Raises:
        ValueError: a stem with patches that are not its stride; see :class:`Stem`.
    """
    if padding not in PADDINGS:
        raise ValueError(f"padding must be one of {', '.join(PADDINGS)}, got {padding!r}")
    if stem and shape["patch"] != STRIDE:
        raise ValueError(f"patch must be {STRIDE}, the stride of the stem, got {shape['patch']}")
    encoder = Encoder(shape["size"], shape["patch"], shape["width"], shape["depth"],
                      shape["heads"], mean=mean, std=std)
    if stem:
        encoder.patch_embed = Stem(shape["width"], encoder.grid, padding)
    return encoder


def seen_rows(token: int) -> tuple[int, int]:
    """First and last pixel row that tokens of row ``token`` of the grid are computed from.

    8i - 7 to 8i + 14, the same for columns; those outside of the picture are padding. One layer
    makes row i from rows 2i - 1 to 2i + 2 of what is below it.
    """
    return STRIDE * token - (STRIDE - 1), STRIDE * token + 2 * (STRIDE - 1)


def sight(tokens: int, patch: int = STRIDE, *, stem: bool = True) -> Tensor:
    """Which of ``tokens`` rows of the grid see which pixel row, bool ``[tokens, tokens * patch]``.

    Without a stem each sees its own patch. A token sees a pixel if its row and its column do.
    """
    pixels = torch.arange(tokens * patch)
    rows = [seen_rows(i) if stem else (i * patch, (i + 1) * patch - 1) for i in range(tokens)]
    first, last = torch.tensor(rows).T[..., None]
    return (first <= pixels) & (pixels <= last)


def hidden_probability(tokens: int, hidden: int, seeing: int) -> Fraction:
    """Probability that all tokens which see a pixel are hidden, exact.

    ``C(L - k, H - k) / C(L, H)`` for k of L tokens, H of which are hidden, all sets alike.

    Args:
        tokens: L.
        hidden: H.
        seeing: k; 9 for most pixels of a stem, 1 for a patch projection.

    Raises:
        ValueError: more hidden or seeing tokens than there are, or fewer than none.
    """
    for name, value in {"hidden": hidden, "seeing": seeing}.items():
        if not 0 <= value <= tokens:
            raise ValueError(f"{name} must lie in 0..{tokens}, the number of tokens, got {value}")
    if seeing > hidden:
        return Fraction(0)
    return Fraction(math.comb(tokens - seeing, hidden - seeing), math.comb(tokens, hidden))
