"""Tables 3 and 5 of Kong et al.: objects found and outlined by a detector on the encoder.

Chosen on 21 November 2026 on 200 validation scenes, from one model (seed 0, ratio .75) and the
untrained encoder alone: 600 training scenes, 6 epochs, norms in the pyramid, the 16 classes as
categories. Box and mask AP were .225 and .163, untrained .162 and .118. With the 4 superclasses and
no norms the two had been closer: .340 and .223 against .315 and .201. Other ratios and the test
scenes were looked at afterwards only.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mae_lib.data.images import fingerprint
from mae_lib.data.menagerie import scenes
from mae_lib.data.objects import ObjectSet, scene_objects
from mae_lib.data.official.coco import CocoSet, coco
from mae_lib.evaluation.coco import CocoResult, coco_ap, detections_to_coco, to_coco
from mae_lib.evaluation.detection import build_mask_rcnn, detect
from mae_lib.evaluation.records import EvalRecord, not_tested, records_of, to_value
from mae_lib.studies.pretraining import model
from mae_lib.studies.sets import PRESET, existing_root
from mae_lib.studies.settings import Setting, without_seed
from mae_lib.studies.study import Study
from mae_lib.training.detector import DetectorConfig, fit_detector

SCENE_SIZE = 64  # pixels, twice those of pretraining, with objects as large as there
COCO_SIZE = 1024  # as He et al. and Li et al. 2021
BATCH = 25  # pictures at a time: masks of all of COCO fit nowhere
PRESET_OF = {"menagerie": "laptop", "imagenet": "coco"}
NAMES = {"menagerie": "menagerie scenes", "imagenet": "COCO"}
STARTS = {"train": 0, "val": 1_000_000, "test": 2_000_000}  # first scene of each split
SHOWN, SURE = 6, 0.2  # test scenes whose detections are kept for figures, if so sure
METRICS = ("ap", "ap50", "ap75")


@lru_cache(maxsize=4)
def scene_set(split: str, count: int) -> ObjectSet:
    """``count`` scenes of the split ``"train"``, ``"val"`` or ``"test"``; none is in two splits."""
    return scene_objects(scenes(count, SCENE_SIZE, PRESET, start=STARTS[split]))


def objects_of(setting: Setting, split: str, count: int) -> ObjectSet | CocoSet:
    """What detectors of a setting see: scenes of the Menagerie, or photographs of COCO 2017, whose
    validation set stands for its test set."""
    if setting.dataset == "menagerie":
        return scene_set(split, count)
    return _photographs(setting.root, {"train": "train", "test": "val"}[split], count)


@lru_cache(maxsize=2)
def _photographs(root: str, split: str, count: int) -> CocoSet:
    found = coco(existing_root(root, "coco") / "coco", split, size=COCO_SIZE)
    return found.subset(slice(count))


@lru_cache(maxsize=8)
def scene_fingerprint(split: str, count: int) -> str:
    """What tells a set of scenes from others, without drawing them all."""
    return fingerprint(scene_set(split, min(count, 16)).fingerprint, str(count))


def _detect(setting: Setting, if_stale: str, train_scenes: int, test_scenes: int,
            detector_epochs: int) -> dict:
    records, drawn = _measure(setting, if_stale, train_scenes, test_scenes, detector_epochs,
                              setting.seed)
    return {**to_value(records), **drawn}


def _detect_frozen(setting: Setting, if_stale: str, train_scenes: int, test_scenes: int,
                   detector_epochs: int) -> dict:
    records, drawn = _measure(setting, if_stale, train_scenes, test_scenes, detector_epochs,
                              setting.seed, frozen=True)
    return {**to_value(records), **drawn}


def _detect_again(setting: Setting, if_stale: str, train_scenes: int, test_scenes: int,
                  detector_epochs: int, detector_seeds: tuple[int, ...]) -> dict:
    found = [_measure(setting, if_stale, train_scenes, test_scenes, detector_epochs, seed)[0]
             for seed in detector_seeds]
    return to_value([record for records in found for record in records])


def _measure(setting: Setting, if_stale: str, train_scenes: int, test_scenes: int, epochs: int,
             seed: int, *, frozen: bool = False) -> tuple[list[EvalRecord], dict]:
    """Records of one detector, and what figures show of it."""
    config = DetectorConfig(epochs=epochs, seed=seed, frozen=frozen)
    train, test = (objects_of(setting, split, count) for split, count in
                   (("train", train_scenes), ("test", test_scenes)))
    detector = build_mask_rcnn(model(setting, if_stale).encoder, len(train.categories),
                               train.size[0], PRESET_OF[setting.dataset], seed=seed)
    losses = fit_detector(detector, train, config)
    shown, lists = _found(detector, test)
    described = without_seed(setting) | {"detector_seed": seed, "frozen": frozen}
    common = {"setting": described, "seed": setting.seed, "dataset": NAMES[setting.dataset],
              "split": "test"}
    return _records(test, lists, common), _shown(shown, test.size[0]) | {"losses": losses}


def _found(detector, test: ObjectSet | CocoSet) -> tuple[list[dict], tuple[list, list]]:
    """What is found in the first scenes, and in all of them as COCO's scoring wants it: boxes, and
    outlines."""
    first, boxes, outlines = [], [], []
    for i in range(0, len(test), BATCH):
        index = range(len(test))[i:i + BATCH]
        found = detect(detector, test.batch(slice(i, i + BATCH)))
        first += found[:SHOWN - len(first)]
        for whole, part in zip((boxes, outlines), detections_to_coco(found, index), strict=True):
            whole += part
    return first, (boxes, outlines)


def _records(test: ObjectSet | CocoSet, lists: tuple[list, list],
             common: dict) -> list[EvalRecord]:
    truth = test.ground_truth() if isinstance(test, CocoSet) else to_coco(test)
    return [record for protocol, kind, detections in zip(("box", "mask"), ("bbox", "segm"), lists,
                                                         strict=True)
            for record in _scores(coco_ap(truth, detections, kind), common, protocol)]


def _scores(result: CocoResult, common: dict, protocol: str) -> list[EvalRecord]:
    """One record a metric; its items are the categories that occur."""
    if not result.n_gt:
        return [not_tested("no test scene shows an object", **common, protocol=protocol, metric=m)
                for m in METRICS]
    table = {m: result.per_class[m] for m in METRICS}
    return records_of({m: x[~np.isnan(x)] for m, x in table.items()}, **common, protocol=protocol)


def _shown(found: list[dict], side: int = SCENE_SIZE) -> dict[str, np.ndarray]:
    """Sure detections of the first scenes: one row each of scene, category, score in percent and
    box, and their masks painted into one map a scene, the surest on top, 1 + row where a mask is.
    """
    sure = [{name: x[one["scores"] >= SURE] for name, x in one.items()} for one in found]
    rows = [(i, label, round(100 * float(score)), *box.round()) for i, one in enumerate(sure)
            for label, score, box in zip(one["labels"], one["scores"], one["boxes"], strict=True)]
    small = np.uint8 if max(side, len(rows)) < 256 else np.uint16
    maps, number = np.zeros((len(found), side, side), small), 1
    for painted, one in zip(maps, sure, strict=True):
        for k in reversed(range(len(one["labels"]))):
            painted[one["masks"][k]] = number + k
        number += len(one["labels"])
    return {"shown": np.array(rows, small).reshape(-1, 7), "shown masks": maps}


def _data(setting: Setting, arguments: dict) -> dict[str, str]:
    if setting.dataset != "menagerie":
        return {f"{split} scenes": objects_of(setting, split, arguments[f"{split}_scenes"])
                .fingerprint for split in ("train", "test")}
    return {f"{split} scenes": scene_fingerprint(split, arguments[f"{split}_scenes"])
            for split in ("train", "test")}


DETECTOR = ("mae_lib.evaluation.detection", "mae_lib.evaluation.coco", "mae_lib.training.detector")
LIBRARIES = ("torchvision", "pycocotools")
DETECTION = Study("detection", _detect, DETECTOR, LIBRARIES, data=_data)
FROZEN_DETECTION = Study("frozen_detection", _detect_frozen, DETECTOR, LIBRARIES, data=_data)
DETECTOR_NOISE = Study("detector_noise", _detect_again, DETECTOR, LIBRARIES, data=_data)
