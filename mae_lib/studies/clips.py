"""What networks that were pretrained on clips know: motion, classes from few labels, whose part
moved where."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mae_lib.data.clip_sets import DIRECTIONS, FRAMES, directions, drawn, identify_clips
from mae_lib.data.menagerie import Clips
from mae_lib.evaluation.probing import linear_probe
from mae_lib.evaluation.propagation import bound_records, propagation_records
from mae_lib.evaluation.records import EvalRecord, records_of, to_value
from mae_lib.models.patches import patch_grid
from mae_lib.studies.pretraining import model
from mae_lib.studies.probing import pooled
from mae_lib.studies.sets import PRESET, images_of
from mae_lib.studies.settings import Setting, without_seed
from mae_lib.studies.study import Study
from mae_lib.training.finetune import FinetuneConfig, finetune

PROTOCOL = "label propagation"


def _motion(setting: Setting, if_stale: str, probe_images: int, probe_test_images: int) -> dict:
    """Linear probe of the direction in which the first object drifts."""
    encoder, sides = model(setting, if_stale).encoder, []
    for split, count in (("train", probe_images), ("test", probe_test_images)):
        labels = directions(split, count, setting.size, PRESET)
        sides.append(pooled(encoder, images_of(setting, split, count).labelled(labels, DIRECTIONS)))
    train, test = sides
    return to_value([
        linear_probe(train[pool], test[pool]).record(
            f"motion probe, {pool}", setting=without_seed(setting), seed=setting.seed,
            dataset=setting.dataset, split="test") for pool in train])


def _tuned(setting: Setting, if_stale: str, probe_test_images: int, clip_tuning_views: int) -> dict:
    """Fine-tuned with the labels of the clips that it was pretrained on; an untrained encoder is
    the arm from scratch. Equally many clips are seen, whatever their number."""
    train, test = (images_of(setting, split, count) for split, count in
                   (("train", setting.train_images), ("test", probe_test_images)))
    config = FinetuneConfig(epochs=max(1, round(clip_tuning_views / len(train))), augment=None,
                            seed=setting.seed)
    found = finetune(model(setting, if_stale), train, test, config)
    return to_value(records_of({"accuracy": found.correct.astype(np.uint8)},
                               setting=without_seed(setting), seed=setting.seed,
                               dataset=setting.dataset, split="test", protocol="clips fine-tuned"))


def _propagate(setting: Setting, if_stale: str, tracked_clips: int) -> dict:
    """Labels of a clip's first frame, carried on by features of single frames."""
    encoder = model(setting, if_stale).encoder
    found = propagation_records(encoder, _tracked(setting, tracked_clips), seed=setting.seed,
                                setting=without_seed(setting), split="test", name=PROTOCOL)
    return to_value(map(_small, found))


def _bounds(setting: Setting, if_stale: str, tracked_clips: int) -> dict:
    """What standing still scores, and what cells of this size could score at best."""
    grid = patch_grid(setting.size, setting.vit_patch)
    return to_value(map(_small, bound_records(_tracked(setting, tracked_clips), grid,
                                              split="test")))


def _tracked(setting: Setting, count: int) -> Clips:
    return drawn("test", count, setting.size, PRESET, FRAMES)


def _fingerprint(setting: Setting, arguments: dict) -> dict[str, str]:
    return {"tracked": identify_clips("test", arguments["tracked_clips"], setting.size, PRESET)}


def _small(record: EvalRecord) -> EvalRecord:
    return record if record.items is None else replace(record,
                                                       items=record.items.astype(np.float32))


MOTION = Study("motion_probe", _motion, ("mae_lib.evaluation.probing",
                                         "mae_lib.evaluation.features", "mae_lib.data.clip_sets"),
               libraries=("scikit-learn",))
CLIP_TUNING = Study("clip_tuning", _tuned, ("mae_lib.training.finetune", "mae_lib.data.clip_sets"))
TRACKING = ("mae_lib.evaluation.propagation", "mae_lib.data.clip_sets")
PROPAGATION = Study("propagation", _propagate, TRACKING, data=_fingerprint)
TRACKING_BOUNDS = Study("tracking_bounds", _bounds, TRACKING,
                        fields=("dataset", "preset", "method", "patch"), data=_fingerprint)
