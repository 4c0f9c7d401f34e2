"""What a masked autoencoder takes, counted from its sizes: multiplications, parameters, memory.

As in the papers only matrix products count, and one multiplication with its addition is one MAC
(often called a FLOP there). A training step takes about three times the forward pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from mae_lib.models.masks import visible_count
from mae_lib.models.patches import patch_grid

# Bytes that one block keeps for its backward pass, for each token and unit of width: 16 numbers in
# single precision; in mixed precision the residual stream stays single.
KEPT = {"float32": 64, "bfloat16": 36, "float16": 36}
STATE = 16  # bytes a parameter: weight, gradient and AdamW's two moments in single precision


class Macs(NamedTuple):
    """MACs of the parts for one image: patches to tokens, encoder blocks, tokens to the decoder's
    width, decoder blocks, and tokens to pixels."""

    embedding: int
    encoder: int
    bridge: int
    decoder: int
    head: int

    @property
    def total(self) -> int:
        return sum(self)


def block_macs(tokens: int, width: int, queries: int | None = None) -> int:
    """One transformer block over ``tokens``: ``12 T D**2 + 2 T**2 D``.

    Args:
        queries: how many tokens the block has to give back, all if None.
    """
    queries = tokens if queries is None else queries
    return 3 * tokens * width**2 + 9 * queries * width**2 + 2 * queries * tokens * width


def autoencoder_macs(shape: Mapping, ratio: float, *, lazy: bool = True) -> Macs:
    """Forward pass of a masked autoencoder that hides ``ratio`` of the patches of one image.

    Args:
        shape: size, patch, width, depth and the decoder's, as a model's ``config`` and
            :data:`mae_lib.models.methods.PRESETS` have them; size 224 if not given.
        lazy: as this library computes, which never computes what nobody reads; otherwise as the
            published code does, which embeds hidden patches too and predicts visible ones.

    Raises:
        ValueError: a ratio that cannot be met.
    """
    grid = patch_grid(shape.get("size", 224), shape["patch"])
    patches, values = grid[0] * grid[1], 3 * shape["patch"] ** 2
    visible = visible_count(patches, ratio)
    width, narrow, depth = shape["width"], shape["decoder_width"], shape["decoder_depth"]
    embedded, read = (visible, patches - visible) if lazy else (patches, patches + 1)
    return Macs(embedding=embedded * values * width,
                encoder=shape["depth"] * block_macs(visible + 1, width),
                bridge=(visible + 1) * width * narrow,
                decoder=((depth - 1) * block_macs(patches + 1, narrow)
                         + block_macs(patches + 1, narrow, read)),
                head=read * narrow * values)


def encoder_macs(shape: Mapping) -> int:
    """Forward pass of the encoder over one whole image, class token included."""
    tokens = 1 + _patches(shape)
    embedding = (tokens - 1) * 3 * shape["patch"] ** 2 * shape["width"]
    return embedding + shape["depth"] * block_macs(tokens, shape["width"])


def parameters(shape: Mapping) -> int:
    """Trained numbers of a masked autoencoder, encoder and decoder; fixed positions do not count.
    """
    width, narrow, values = shape["width"], shape["decoder_width"], 3 * shape["patch"] ** 2
    encoder = (values + 1) * width + width + shape["depth"] * _block(width) + 2 * width
    decoder = (width + 1) * narrow + narrow + shape["decoder_depth"] * _block(narrow)
    return encoder + decoder + 2 * narrow + (narrow + 1) * values


def activation_bytes(shape: Mapping, ratio: float, precision: str = "float32") -> int:
    """What a training step keeps of one image for the backward pass, in the blocks; attention is
    computed in tiles, so that its matrices are not kept.

    Raises:
        ValueError: unknown precision; a ratio that cannot be met.
    """
    if precision not in KEPT:
        raise ValueError(f"precision must be one of {', '.join(KEPT)}, got {precision!r}")
    patches = _patches(shape)
    tokens = 1 + visible_count(patches, ratio)
    kept = (shape["depth"] * tokens * shape["width"]
            + shape["decoder_depth"] * (1 + patches) * shape["decoder_width"])
    return KEPT[precision] * kept


def _patches(shape: Mapping) -> int:
    rows, columns = patch_grid(shape.get("size", 224), shape["patch"])
    return rows * columns


def _block(width: int) -> int:
    """Parameters of a transformer block."""
    return 12 * width**2 + 13 * width
