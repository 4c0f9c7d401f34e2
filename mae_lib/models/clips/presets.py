"""Sizes of the models of clips, and how a builder reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from mae_lib.models.methods import PRESETS as IMAGE

_VIDEO = {"size": 224, "frames": 16, "time": 2}
_SMALL = {"size": 32, "frames": 8, "time": 2}  # ours


def _with(preset: str, frames: Mapping, *decoder: int) -> dict:
    """An image model's sizes, over so many frames, with a decoder's width, depth and heads."""
    names = ("decoder_width", "decoder_depth", "decoder_heads")
    return {**frames, **IMAGE[preset], **dict(zip(names, decoder, strict=False))}


# Decoders: Feichtenhofer et al., section 4, and their command.
MAE_ST = {
    "toy": _with("toy", _SMALL), "laptop": _with("laptop", _SMALL),
    "vit_base_patch16": _with("vit_base_patch16", _VIDEO, 512, 4, 16),
    "vit_large_patch16": _with("vit_large_patch16", _VIDEO, 512, 4, 16),
    "vit_huge_patch14": _with("vit_huge_patch14", _VIDEO, 512, 4, 16),
}
# Decoders: VideoMAE's code, depths as in its scripts.
VIDEO_MAE = {
    "toy": _with("toy", _SMALL), "laptop": _with("laptop", _SMALL),
    "vit_small_patch16": _with("vit_small_patch16", _VIDEO, 192, 4, 3),
    "vit_base_patch16": _with("vit_base_patch16", _VIDEO, 384, 4, 6),
    "vit_large_patch16": _with("vit_large_patch16", _VIDEO, 512, 12, 8),
    "vit_huge_patch16": {**_with("vit_huge_patch14", _VIDEO, 640, 12, 8), "patch": 16},
}
# Gaps of 4 to 48 frames: Gupta et al., from memory; None: of 1 frame to all. Decoders are those of
# third parties, of CropMAE for ViT-S (methods.md, section 5).
_PAIRS = {"size": 224, "frames": 49, "gap": (4, 48)}
SIAM_MAE = {
    "toy": _with("toy", {"frames": 8, "gap": None}),
    "laptop": _with("laptop", {"frames": 8, "gap": None}),
    "vit_small_patch16": _with("vit_small_patch16", _PAIRS, 256, 4, 8),
    "vit_small_patch8": {**_with("vit_small_patch16", _PAIRS, 256, 4, 8), "patch": 8},
    "vit_base_patch16": _with("vit_base_patch16", _PAIRS, 512, 8, 16),
}


def shape_of(presets: Mapping[str, Mapping], preset: str, overrides: Mapping) -> dict:
    """The sizes of a preset with some of them changed.

    Raises:
        ValueError: unknown preset or override.
    """
    if preset not in presets:
        raise ValueError(f"preset must be one of {', '.join(presets)}, got {preset!r}")
    if unknown := set(overrides) - set(presets[preset]):
        raise ValueError(f"overrides must be among {', '.join(presets[preset])}, "
                         f"got {', '.join(sorted(unknown))}")
    return {**presets[preset], **overrides}


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Draw initial weights from a seed and leave the global generator alone; from it if None."""
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        yield
