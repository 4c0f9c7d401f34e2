"""Sizes of the masked world models."""

from __future__ import annotations

# The first: Seo et al. 2022, configs.yaml of the official code; the others are ours. A patch is the
# stride of the stem, and what is predicted for a token.
WORLDS = {
    "mwm": {"size": 64, "patch": 8, "width": 256, "depth": 4, "heads": 4,
            "decoder_width": 256, "decoder_depth": 3, "decoder_heads": 4},
    "laptop": {"size": 64, "patch": 8, "width": 96, "depth": 3, "heads": 3,
               "decoder_width": 48, "decoder_depth": 2, "decoder_heads": 3},
    "toy": {"size": 32, "patch": 8, "width": 32, "depth": 1, "heads": 2,
            "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2},
}
# SiamMAE in this style: frames of a clip, and fewest and most frames from past to future, any if
# None; the talk gives neither.
PAIRS = {name: {**shape, "frames": 8, "gap": None} for name, shape in WORLDS.items()}
