"""Table 2 of Kong et al. as they measured it: classifiers of ImageNet on cue-conflict images."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from mae_lib.data.official.cue_conflict_images import CueConflict, cue_conflict
from mae_lib.data.official.human_categories import CATEGORIES
from mae_lib.evaluation.records import EvalRecord, records_of, to_value
from mae_lib.evaluation.shape_bias import ShapeBias, shape_bias, to_categories
from mae_lib.studies.probing import classifiers
from mae_lib.studies.sets import existing_root
from mae_lib.studies.settings import Setting, without_seed
from mae_lib.studies.shape_bias import bias_records, by_class
from mae_lib.studies.study import Study, image_fingerprints
from mae_lib.training.finetune import predict_logits

FOLDER = "cue-conflict"  # below the root, with one folder a shape


def pictures(setting: Setting) -> CueConflict:
    """The 1,280 photographs of Geirhos et al."""
    return cue_conflict(existing_root(setting.root, "cue-conflict") / FOLDER, size=setting.size)


def _cue_conflict(setting: Setting, if_stale: str, probe_images: int,
                  probe_test_images: int) -> dict:
    named = classifiers(setting, if_stale, probe_images, probe_test_images)
    seen, found, classes = pictures(setting), [], {}
    for name, classifier in named.items():
        said = _categories(predict_logits(classifier, seen.images))
        protocol, bias = f"texture cue, {name}", shape_bias(said, seen.shapes, seen.textures)
        found += _records(said, bias, seen, protocol, setting)
        classes[f"per_class/{protocol}"] = by_class(bias.per_class, CATEGORIES)
    return to_value(found) | classes


def _categories(logits: np.ndarray) -> np.ndarray:
    """The category that each image is said to be, text ``[N]``."""
    shares = to_categories(softmax(logits.astype(np.float64), axis=1))
    return np.array(CATEGORIES)[shares.argmax(1)]


def _records(said: np.ndarray, bias: ShapeBias, seen: CueConflict, protocol: str,
             setting: Setting) -> list[EvalRecord]:
    about = {"setting": without_seed(setting), "seed": setting.seed, "dataset": setting.dataset,
             "split": "test", "protocol": protocol}
    right = {"shape accuracy": said == seen.shapes, "texture accuracy": said == seen.textures}
    return (bias_records(bias, about)
            + records_of({name: items.astype(np.uint8) for name, items in right.items()}, **about))


def _data(setting: Setting, arguments: dict) -> dict[str, str]:
    return image_fingerprints(setting, arguments) | {
        "cue conflict": pictures(setting).images.fingerprint}


CUE_CONFLICT = Study("cue_conflict", _cue_conflict,
                     ("mae_lib.evaluation.streamed_probe", "mae_lib.evaluation.shape_bias"),
                     libraries=("timm",), data=_data)
