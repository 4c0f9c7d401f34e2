"""Masked autoencoders of Atari frames: which runs are compared, and what they make of small things.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from mae_lib.data.images import ImageSet
from mae_lib.evaluation.pixels import grid_of
from mae_lib.evaluation.reconstruction import hidden_pixels, reconstruct_masked
from mae_lib.evaluation.records import to_value
from mae_lib.evaluation.small_objects import small_object_records
from mae_lib.ledger.world_rules import FEATURES, PATCHES, RATIO, REWARDED
from mae_lib.models.masks import random_mask
from mae_lib.studies.family import Rows
from mae_lib.studies.plan import Plan
from mae_lib.studies.pretraining import model
from mae_lib.studies.sets import images_of
from mae_lib.studies.settings import Setting, without_seed
from mae_lib.studies.study import Study
from mae_lib.studies.video import untrained

METHODS = {PATCHES: "mwm patches", FEATURES: "mwm", REWARDED: "mwm reward"}
EDGES = (1, 4, 16, 64, 256)  # pixels, of 64 x 64
FAINT = 24  # of 255: rims of moving objects, which are averaged with what is behind them
FILM = 16  # frames in a row of which is kept what the network draws


def rows(plan: Plan) -> Rows:
    """By what is masked: patches, as MAE does, or what a stem makes of the frame, as MWM does."""
    found = {name: [s for game in plan.world_games for s in _base(plan, game, method)]
             for name, method in METHODS.items()}
    return {"no training": untrained(found[PATCHES])} | found


def every_run(plan: Plan) -> list[Setting]:
    """Every run on games, once."""
    return [setting for settings in rows(plan).values() for setting in settings]


def _base(plan: Plan, game: str, method: str) -> list[Setting]:
    common = plan.beside_images(plan.world_views, plan.world_frames)
    return [Setting(dataset=game, method=method, ratio=RATIO, seed=seed, **common)
            for seed in plan.world_seeds]


def _objects(setting: Setting, if_stale: str, world_test_frames: int) -> dict:
    """Errors of hidden objects by their area, of which only the means are kept, and a film."""
    network, images = model(setting, if_stale), images_of(setting, "test", world_test_frames)
    found = small_object_records(
        network, images, setting=without_seed(setting), seed=setting.seed, split="test",
        ratio=setting.ratio, edges=EDGES, threshold=FAINT)
    return to_value(replace(record, items=None) for record in found) | _film(network, images,
                                                                             setting.ratio)


def _film(network, images: ImageSet, ratio: float) -> dict[str, np.ndarray]:
    """What is drawn of frames in the middle, uint8 ``[FILM,3,H,W]``, and which pixels were hidden,
    bool ``[FILM,H,W]``."""
    x = images.batch(filmed(len(images)))
    mask = random_mask(len(x), grid_of(x, network), ratio,
                       generator=torch.Generator().manual_seed(0))
    drawn = reconstruct_masked(network, x, mask, paste=False).pixels
    hidden = hidden_pixels(mask, grid_of(x, network), network.config["patch"])[:, 0]
    return {"drawn": (drawn * 255).round().to(torch.uint8).numpy(), "hidden": hidden.numpy()}


def filmed(count: int) -> slice:
    """Which of ``count`` test frames the film shows."""
    start = max(0, (count - FILM) // 2)
    return slice(start, start + FILM)


SMALL_OBJECTS = Study("small_objects", _objects, ("mae_lib.evaluation.small_objects",),
                      libraries=("ale-py",))
