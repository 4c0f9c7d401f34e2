"""Names of the rows on clips: levels of the series ``"clips"``."""

from __future__ import annotations

CLIPS, HIDDEN, COUNT = "clips", "hidden share of clips", "labelled clips"
SCRATCH = "no pretraining"
# The papers' own ratios: what is hidden of tubelets, places, time slices, and tubelets in boxes.
MAE_ST = {"agnostic": ("MAE-ST", 0.9), "tube": ("MAE-ST, tubes", 0.9),
          "frame": ("MAE-ST, frames", 0.75), "block": ("MAE-ST, blocks", 0.75)}
VIDEO_MAE = {("tube", 0.9): "VideoMAE", ("tube", 0.75): "VideoMAE, tubes, .75",
             ("agnostic", 0.9): "VideoMAE, random", ("frame", 0.75): "VideoMAE, frames"}
AGNOSTIC, AGNOSTIC_TUBES = MAE_ST["agnostic"][0], MAE_ST["tube"][0]
TUBES, RANDOM = VIDEO_MAE["tube", 0.9], VIDEO_MAE["agnostic", 0.9]
SIAMESE, SYMMETRIC, STILL = "SiamMAE", "SiamMAE, both masked", "MAE of single frames"


def before(name: str) -> str:
    """The same network with its initial weights."""
    return f"{name} without pretraining"


def with_labels(name: str) -> str:
    """Series of a row with so many labelled clips, which it was pretrained on, too."""
    return f"{name}, labelled clips"
