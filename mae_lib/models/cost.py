"""What a masked autoencoder takes, counted from its sizes: multiplications, parameters, memory.

As in the papers only matrix products count, and one multiplication with its addition is one MAC
(often called a FLOP there). A training step takes about three times the forward pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mae_lib.models.contrastive import HIDDEN
from mae_lib.models.family import (
    CONTRASTIVE,
    FAITHFUL,
    MAE,
    SIAMESE,
    SIMMIM,
    SUPERVISED,
    TOKENS,
    UNIFORM,
    check_names,
    views,
)
from mae_lib.models.masks import visible_count
from mae_lib.models.patches import patch_grid
from mae_lib.models.siamese import SECOND_RATIO
from mae_lib.models.worlds.memory import BYTES

TRAINED = 3  # a training step takes three forward passes, where gradients flow
# Bytes that one block keeps for its backward pass, for each token and unit of width: 16 numbers in
# single precision; in mixed precision the residual stream stays single.
KEPT = {"float32": 64, "bfloat16": 36, "float16": 36}
STATE = 16  # bytes a parameter: weight, gradient and AdamW's two moments in single precision
COPY = 4  # bytes a parameter that only follows: the weight


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
    patches, values = _patches(shape), 3 * shape["patch"] ** 2
    visible = visible_count(patches, ratio)
    embedded, read = (visible, patches - visible) if lazy else (patches, patches + 1)
    return Macs(embedded * values * shape["width"],
                shape["depth"] * block_macs(visible + 1, shape["width"]),
                *_decoding(shape, visible, read))


def encoder_macs(shape: Mapping, shown: int | None = None) -> int:
    """Forward pass of the encoder over one image, class token included.

    Args:
        shown: how many of the patches it sees, all if None.
    """
    shown = _patches(shape) if shown is None else shown
    embedding = shown * 3 * shape["patch"] ** 2 * shape["width"]
    return embedding + shape["depth"] * block_macs(shown + 1, shape["width"])


class MethodMacs(NamedTuple):
    """MACs of one training image: forward where gradients flow, and forward without them."""

    learned: int
    followed: int

    @property
    def forward(self) -> int:
        return self.learned + self.followed

    @property
    def step(self) -> int:
        """Forward and backward; what is not trained has no backward pass.

        The gradients that nobody needs, of pixels and of the target's features, are in it: about
        1 % at most of a ViT-B and less of the smaller network.
        """
        return TRAINED * self.learned + self.followed


def method_macs(name: str, shape: Mapping, ratio: float, *, augment: str | None = None,
                batch: int = 1, classes: int = 0) -> MethodMacs:
    """What one of :data:`mae_lib.models.family.METHODS` takes for one training image.

    As this library computes: R-MAE predicts every patch from both branches; C-MAE encodes one view
    with gradient and the other by the momentum target, MoCo v3 both by both. Heads and the
    similarities of InfoNCE count. Drawing the views does not, nor moving the target's weights.

    Args:
        shape: as in :func:`autoencoder_macs`.
        augment: see :func:`mae_lib.models.family.method`.
        batch: images at a time, among which InfoNCE tells one from the others.
        classes: of a method that learns from labels.

    Raises:
        ValueError: unknown name or augmentation; a ratio that cannot be met.
    """
    done, width = passes(name, _patches(shape), ratio, augment), shape["width"]
    head, others = 2 * width * round(HIDDEN * width), batch * width * _tells_apart(name)
    decoded = (_decoding(shape, *both) for both in zip(done.encoded, done.read, strict=False))
    hidden = _patches(shape) - visible_count(_patches(shape), ratio) if name in LINEAR else 0
    learned = (sum(encoder_macs(shape, n) + (2 * head + others) * done.compared
                   for n in done.encoded)
               + sum(map(sum, decoded)) + width * classes * (name == SUPERVISED)
               + hidden * sum(a * b for a, b in _pixel_head(name, shape))
               + batch * width * (name == UNIFORM))  # cosines of all pairs
    return MethodMacs(learned, sum(encoder_macs(shape, n) + head * done.compared
                                   for n in done.followed))


def counted(network: nn.Module, inputs: Tensor) -> int:
    """MACs of a forward pass over ``inputs [1, ...]`` as PyTorch counts them while it runs: of a
    method its training loss, of an encoder everything shown."""
    drawn = ()
    if hasattr(network, "sample_mask"):
        more = {"rewards": torch.zeros(1)} if network.config.get("reward") else {}
        more |= {"memory": torch.zeros(1, BYTES)} if "memory_ratio" in network.config else {}
        drawn = (network.sample_mask(1, torch.Generator().manual_seed(0), **more),)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        network(inputs, *drawn)
    return counter.get_total_flops() // 2


def trained_parameters(network: nn.Module) -> int:
    """How many numbers of a network are trained."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


class Passes(NamedTuple):
    """What a method puts through its networks for one image, in patches.

    Args:
        encoded: of each encoding with gradient.
        followed: of each encoding by the momentum target.
        read: that are predicted after each encoding; none without a decoder.
        compared: tokens of an encoding that the heads see, class token included.
    """

    encoded: tuple[int, ...]
    followed: tuple[int, ...] = ()
    read: tuple[int, ...] = ()
    compared: int = 0


def passes(name: str, patches: int, ratio: float, augment: str | None = None) -> Passes:
    """What a method computes of an image of so many patches; see :func:`method_macs`."""
    check_names(name, augment)
    if name == SUPERVISED:
        return Passes((patches,))
    masked = "mask" in views(name, augment)
    visible = visible_count(patches, ratio) if masked else patches
    rest = patches - visible if masked else patches
    if name in CONTRASTIVE:
        return _contrastive(CONTRASTIVE[name], patches, (visible, rest))
    if name in SIAMESE:
        second = {"complement": rest, "identity": patches,
                  "independent": visible_count(patches, SECOND_RATIO)}[SIAMESE[name]]
        return Passes((visible, second), read=(patches, patches))
    if name == TOKENS or name in SIMMIM:
        return Passes((patches,), read=() if name in LINEAR else (patches,))
    return Passes((visible,), read=(rest,))


LINEAR = tuple(name for name in SIMMIM if "decoder" not in name)


def _pixel_head(name: str, shape: Mapping) -> list[tuple[int, int]]:
    """Inputs and outputs of the maps from a token to its pixels that SimMIM has for a decoder."""
    width, values = shape["width"], 3 * shape["patch"] ** 2
    if name not in LINEAR:
        return []
    return [(width, width), (width, values)] if "mlp" in name else [(width, values)]


def _contrastive(changes: Mapping, patches: int, shown: tuple[int, int]) -> Passes:
    """Mask tokens stand in for what is hidden, or it is dropped; one way, or both."""
    seen = shown if changes.get("shown") == "dropped" else (patches, patches)
    ways = 2 if changes.get("symmetric") else 1
    tokens = {"token": patches, "token and class": patches + 1}
    return Passes(seen[:ways], seen[::-1][:ways], (),
                  tokens.get(changes.get("place", "token"), 1))


def _tells_apart(name: str) -> bool:
    """Whether images are told from each other by InfoNCE."""
    return name in CONTRASTIVE and CONTRASTIVE[name].get("comparison") != "byol"


def parameters(shape: Mapping, name: str = MAE, classes: int = 0) -> int:
    """Trained numbers of a method's networks; fixed positions do not count, nor does what follows.
    """
    width, narrow, values = shape["width"], shape["decoder_width"], 3 * shape["patch"] ** 2
    if name == SUPERVISED:
        return _encoder(shape) + (width + 1) * classes
    if name in CONTRASTIVE:
        return followers(shape, name) + _head(width, CONTRASTIVE[name])
    if name in LINEAR:
        return (_encoder(shape) + width + _relative(name, shape)
                + sum((a + 1) * b for a, b in _pixel_head(name, shape)))
    token = width * (name == TOKENS or name in SIMMIM)
    decoder = (width + 1) * narrow + narrow + shape["decoder_depth"] * _block(narrow)
    return _encoder(shape) + token + decoder + 2 * narrow + (narrow + 1) * values


def followers(shape: Mapping, name: str) -> int:
    """Numbers of a momentum target: encoder, mask token and projector."""
    if name not in CONTRASTIVE:
        return 0
    token = shape["width"] * (CONTRASTIVE[name].get("shown") != "dropped")
    return _encoder(shape) + token + _head(shape["width"], CONTRASTIVE[name])


def activation_bytes(shape: Mapping, ratio: float, precision: str = "float32", name: str = MAE,
                     augment: str | None = None) -> int:
    """What a training step keeps of one image for the backward pass, in the blocks; attention is
    computed in tiles, so that its matrices are not kept.

    Args:
        name, augment: see :func:`method_macs`.

    Raises:
        ValueError: unknown precision, name or augmentation; a ratio that cannot be met.
    """
    if precision not in KEPT:
        raise ValueError(f"precision must be one of {', '.join(KEPT)}, got {precision!r}")
    patches = _patches(shape)
    done = passes(name, patches, ratio, augment)
    encoded = sum(1 + shown for shown in done.encoded)
    kept = (shape["depth"] * encoded * shape["width"]
            + shape["decoder_depth"] * len(done.read) * (1 + patches) * shape["decoder_width"])
    return KEPT[precision] * kept


def _patches(shape: Mapping) -> int:
    rows, columns = patch_grid(shape.get("size", 224), shape["patch"])
    return rows * columns


def _block(width: int) -> int:
    """Parameters of a transformer block."""
    return 12 * width**2 + 13 * width


def _encoder(shape: Mapping) -> int:
    """Parameters of the encoder, class token included."""
    width = shape["width"]
    return (3 * shape["patch"] ** 2 + 4) * width + shape["depth"] * _block(width)


def _relative(name: str, shape: Mapping) -> int:
    """Parameters of the table of relative positions that all blocks share."""
    rows, columns = patch_grid(shape.get("size", 224), shape["patch"])
    return ((2 * rows - 1) * (2 * columns - 1) + 3) * shape["heads"] * (name == FAITHFUL)


def _head(width: int, changes: Mapping) -> int:
    """Parameters of a projector or predictor, normalised over the batch for BYOL."""
    hidden = round(HIDDEN * width)
    return 2 * width * hidden + hidden + width + 2 * hidden * (changes.get("comparison") == "byol")


def _decoding(shape: Mapping, shown: int, read: int) -> tuple[int, int, int]:
    """MACs of bridge, decoder and head where ``shown`` patches were encoded and ``read`` tokens
    are predicted."""
    patches, width, narrow = _patches(shape), shape["width"], shape["decoder_width"]
    blocks = ((shape["decoder_depth"] - 1) * block_macs(patches + 1, narrow)
              + block_macs(patches + 1, narrow, read))
    return (shown + 1) * width * narrow, blocks, read * narrow * 3 * shape["patch"] ** 2
