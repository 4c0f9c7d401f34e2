"""A frame and the console's memory, encoded together: MWM with a second modality.

The talk by D. Kim names "MWM + Multi-Modality" without text or numbers, so that all details are
ours: the 128 bytes of the console (:class:`mae_lib.data.atari.Recording`) are 16 tokens of 8 bytes
each, with a mask and a loss of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mae_lib.models.clips.presets import seeded, shape_of
from mae_lib.models.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoded, Encoder, take
from mae_lib.models.masks import Mask, visible_count
from mae_lib.models.patches import patch_grid, sincos_1d, sincos_2d
from mae_lib.models.targets import TARGETS
from mae_lib.models.transformer import initialise
from mae_lib.models.worlds.groups import (
    GroupDecoder,
    check_options,
    group_vectors,
    joined,
    part_mask,
    scored_mse,
)
from mae_lib.models.worlds.presets import WORLDS
from mae_lib.models.worlds.stem import world_encoder

BYTES, WORD = 128, 8  # of the console's memory, and of a token
WORDS = BYTES // WORD


class Remembered(NamedTuple):
    """Indices of visible and hidden tokens of the frame and of the memory, and its bytes.

    ``visible [B, K]``, ``hidden [B, H]``, ``read [B, R]``, ``unread [B, 16 - R]``,
    ``memory [B, 128]``.
    """

    visible: Tensor
    hidden: Tensor
    read: Tensor
    unread: Tensor
    memory: Tensor


class FrameAndMemory(nn.Module):
    """Hide features of a frame and words of the memory, predict both.

    Args:
        encoder: of the frame; its blocks see the words as well.
        decoder: of the groups ``"frame"`` and ``"memory"``.
        samplers: ``(batch, generator) -> Mask`` of the frame and of the memory.
        target: ``[B, L, n] -> [B, L, n]``, what is to be predicted, from standardised patches.
        scored: ``"all"`` tokens or ``"hidden"`` ones, in both.
        weight: of the memory's loss.
        config: JSON-able settings from which the same model can be built again.
    """

    def __init__(self, encoder: Encoder, decoder: GroupDecoder,
                 samplers: tuple[Callable[..., Mask], Callable[..., Mask]], *,
                 target: Callable[[Tensor], Tensor], scored: str = "all", weight: float = 1.0,
                 config: dict | None = None):
        super().__init__()
        self.encoder, self.decoder, self.samplers = encoder, decoder, samplers
        self.words = nn.Linear(WORD, encoder.width).apply(initialise)
        self.register_buffer("places", word_positions(encoder.width), persistent=False)
        self.embeddings = group_vectors(2, encoder.width)  # of frame and memory
        self.target, self.scored, self.weight = target, scored, weight
        self.config = dict(config or {})

    def sample_mask(self, batch: int, generator: torch.Generator | None, memory: Tensor
                    ) -> Remembered:
        """Masks of frames and of memories, on the CPU, beside the bytes ``[B, 128]``."""
        if tuple(memory.shape) != (batch, BYTES):
            raise ValueError(f"memory must have shape [{batch},{BYTES}], got {list(memory.shape)}")
        frame, words = (sample(batch, generator=generator) for sample in self.samplers)
        return Remembered(*frame, *words, memory)

    def forward(self, images: Tensor, drawn: Remembered) -> Tensor:
        """The training loss (a scalar) of images ``[B,3,H,W]`` in [0, 1]."""
        patches, masks = self.encoder.patches(images), _masks(drawn)
        found = self._decoded(images, drawn)
        frame = scored_mse(found["frame"], self.target(patches), masks[0], self.scored)
        memory = scored_mse(found["memory"], words_of(drawn.memory), masks[1], self.scored)
        return frame + self.weight * memory

    def predict(self, images: Tensor, drawn: Remembered) -> Tensor:
        """Predicted patch vectors ``[B, L, n]`` in units of the target, visible ones included."""
        return self._decoded(images, drawn)["frame"]

    def predict_memory(self, images: Tensor, drawn: Remembered) -> Tensor:
        """Predicted bytes ``[B, 128]``, 0 to 255 but for the model's errors, read ones included."""
        return (self._decoded(images, drawn)["memory"].flatten(1) + 1) * 127.5

    def features(self, images: Tensor, memory: Tensor) -> Encoded:
        """Frames and memories ``[B, 128]`` encoded together, nothing hidden: ``patches`` are L
        tokens of the frame, then 16 of the memory."""
        return self.encoder.encode(self._embedded(images, memory))

    def _embedded(self, images: Tensor, memory: Tensor) -> Tensor:
        """Tokens ``[B, L + 16, D]``, positions and embeddings of the groups added."""
        frame = self.encoder.embed(self.encoder.patches(images)) + self.embeddings[0]
        words = self.words(words_of(memory)) + self.places + self.embeddings[1]
        return torch.cat([frame, words], dim=1)

    def _decoded(self, images: Tensor, drawn: Remembered) -> dict[str, Tensor]:
        mask = joined(_masks(drawn), list(self.decoder.counts.values()))
        tokens = take(self._embedded(images, drawn.memory), mask.visible)
        return self.decoder(self.encoder.encode(tokens), mask)


def words_of(memory: Tensor) -> Tensor:
    """Words ``[B, 16, 8]`` of bytes ``[B, 128]``, 0 to 255 brought to -1 to 1."""
    return memory.float().unflatten(1, (WORDS, WORD)) / 127.5 - 1


def word_positions(width: int) -> Tensor:
    """Fixed positions of the words, float32 ``[16, width]``: sines and cosines of their number."""
    return sincos_1d(width, torch.arange(WORDS)).float()


def mwm_memory(preset: str = "mwm", *, memory_ratio: float = 0.75, weight: float = 1.0,
               stem: bool = True, padding: str = "zeros", scored: str = "all",
               ratio: float = 0.75, target: str = "pixel", seed: int | None = None,
               mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD,
               **overrides: int) -> FrameAndMemory:
    """The autoencoder of frame and memory with its networks; no reward.

    Args:
        memory_ratio: share of the words that are hidden; 0 hides none, 1 all.
        weight: of the memory's loss, not negative.

    All else, and errors, as in :func:`mae_lib.models.worlds.autoencoder.mwm`.
    """
    shape = shape_of(WORLDS, preset, overrides)
    grid = patch_grid(shape["size"], shape["patch"])
    check_options(target, scored, ratio, memory_ratio)
    if weight < 0:
        raise ValueError(f"weight must not be negative, got {weight}")
    if ratio:
        visible_count(grid[0] * grid[1], ratio)  # refuse what cannot be met before training
    if memory_ratio not in (0, 1):
        visible_count(WORDS, memory_ratio)
    samplers = (partial(part_mask, grid=grid, ratio=ratio),
                partial(part_mask, grid=(1, WORDS), ratio=memory_ratio))
    width = shape["decoder_width"]
    groups = {"frame": sincos_2d(width, grid, class_token=False)[0],
              "memory": word_positions(width)}
    with seeded(seed):
        encoder = world_encoder(shape, mean, std, stem=stem, padding=padding)
        decoder = GroupDecoder(shape["width"], groups,
                               {"frame": 3 * shape["patch"] ** 2, "memory": WORD}, width,
                               shape["decoder_depth"], shape["decoder_heads"], embeddings=True)
        config = {"method": "mwm_memory", "preset": preset, **shape, "memory_ratio": memory_ratio,
                  "weight": weight, "stem": stem, "padding": padding, "scored": scored,
                  "ratio": ratio, "target": target, "mean": [float(m) for m in mean],
                  "std": [float(s) for s in std]}
        return FrameAndMemory(encoder, decoder, samplers, target=TARGETS[target], scored=scored,
                              weight=weight, config=config)


def _masks(drawn: Remembered) -> tuple[Mask, Mask]:
    return Mask(drawn.visible, drawn.hidden), Mask(drawn.read, drawn.unread)
