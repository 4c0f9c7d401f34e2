"""Which runs on clips are compared: samplings and ratios, data set sizes, frames in pairs."""

from __future__ import annotations

from dataclasses import replace

from mae_lib.ledger.video_rows import (
    AGNOSTIC,
    AGNOSTIC_TUBES,
    MAE_ST,
    RANDOM,
    SCRATCH,
    SIAMESE,
    STILL,
    SYMMETRIC,
    TUBES,
    VIDEO_MAE,
    before,
)
from mae_lib.studies.family import Rows
from mae_lib.studies.plan import Plan
from mae_lib.studies.settings import Setting

DATASET, RATIO, FUTURE = "menagerie_clips", 0.9, 0.95
TARGET = "normalised"  # as in the papers on clips
GAME = "boxing_clips"  # what moves in it is large enough to be seen in 32 pixels
TRACKED_PATCH = 2  # pixels: eight cells a side would hardly hold an object's parts


def samplings(plan: Plan) -> Rows:
    """Both methods under every sampling that their papers try, at the papers' ratios."""
    found = {SCRATCH: untrained(_base(plan, "mae-st"))}
    for how, (name, ratio) in MAE_ST.items():
        found[name] = [replace(s, ratio=ratio, sampling=None if name == AGNOSTIC else how)
                       for s in _base(plan, "mae-st")]
    for (how, ratio), name in VIDEO_MAE.items():
        found[name] = [replace(s, ratio=ratio, sampling=None if how == "tube" else how)
                       for s in _base(plan, "videomae")]
    return found


def ratios(plan: Plan) -> dict[float, list[Setting]]:
    """MAE-ST by the share that is hidden."""
    return {r: [replace(s, ratio=r) for s in _base(plan, "mae-st")] for r in plan.clip_ratios}


def sizes(plan: Plan) -> dict[str, dict[int, list[Setting]]]:
    """VideoMAE and MAE-ST, each with and without pretraining, by how many clips there are to learn
    from without labels and with them."""
    def of(settings: list[Setting]) -> dict[int, list[Setting]]:
        return {n: [replace(s, train_images=n) for s in settings] for n in plan.clip_counts}

    found = {}
    for name, method in ((TUBES, "videomae"), (AGNOSTIC, "mae-st")):
        trained = _base(plan, method)
        found |= {name: of(trained), before(name): of(untrained(trained))}
    return found


def pairs(plan: Plan) -> Rows:
    """SiamMAE, its control with both frames masked, MAE of single pictures, and no pretraining."""
    own = [replace(s, patch=TRACKED_PATCH, ratio=FUTURE, views=plan.pair_views)
           for s in _base(plan, "siam-mae")]
    # MAE of single pictures: of the same world, as large and as long.
    still = [replace(s, method=None, dataset="menagerie", ratio=plan.unit_ratio,
                     unit=TRACKED_PATCH) for s in own]
    return {SCRATCH: untrained(own), SIAMESE: own, STILL: still,
            SYMMETRIC: [replace(s, method="siam-mae symmetric") for s in own]}


def games(plan: Plan) -> Rows:
    """Both methods with random tubelets and with tubes hidden, on clips of a game; pixels are the
    target, so that nothing of the original is needed to say what was drawn."""
    named = samplings(plan)
    return {name: [replace(s, dataset=GAME, target="pixel", train_images=plan.world_frames)
                   for s in named[name]] for name in (AGNOSTIC, AGNOSTIC_TUBES, TUBES, RANDOM)}


def every_run(plan: Plan) -> list[Setting]:
    """Every run on clips, once."""
    parts = [*samplings(plan).values(), *ratios(plan).values(), *pairs(plan).values(),
             *games(plan).values(),
             *(runs for found in sizes(plan).values() for runs in found.values())]
    return list(dict.fromkeys(setting for settings in parts for setting in settings))


def untrained(settings: list[Setting]) -> list[Setting]:
    """The same with initial weights."""
    return [replace(s, views=0) for s in settings]


def _base(plan: Plan, method: str) -> list[Setting]:
    common = plan.beside_images(plan.clip_views, plan.clip_images) | {"target": TARGET}
    return [Setting(dataset=DATASET, method=method, ratio=RATIO, seed=seed, **common)
            for seed in plan.clip_seeds]
