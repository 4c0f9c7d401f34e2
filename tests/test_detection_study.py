"""What the study of detection keeps, at toy size and from detections made up by hand."""

import numpy as np
import pytest

from mae_lib import studies
from mae_lib.evaluation.coco import detections_to_coco
from mae_lib.evaluation.records import from_value
from mae_lib.studies import detection
from mae_lib.studies.detection import DETECTION, DETECTOR_NOISE, FROZEN_DETECTION, scene_set

pytestmark = pytest.mark.usefixtures("own_results")

TOY = studies.Setting("menagerie", preset="toy", views=0, train_images=64, seed=3)
COUNTS = {"train_scenes": 4, "test_scenes": 8, "detector_epochs": 1}
COMMON = {"setting": {}, "seed": 0, "dataset": "menagerie scenes", "split": "test"}


def perfect(count: int) -> list[dict]:
    objects = scene_set("test", count)
    return [{"boxes": b.astype(float), "labels": k, "masks": m, "scores": np.full(len(k), 0.9)}
            for b, k, m in zip(objects.boxes, objects.labels, objects.masks, strict=True)]


def test_no_scene_is_in_two_splits():
    images = [scene_set(split, 8).images for split in ("train", "val", "test")]
    assert len({image.tobytes() for some in images for image in some}) == 24


def test_more_scenes_begin_with_the_same_ones_under_another_fingerprint():
    few, many = scene_set("test", 4), scene_set("test", 8)
    assert np.array_equal(few.images, many.images[:4])
    assert len({detection.scene_fingerprint(*which) for which in
                [("test", 20), ("test", 30), ("train", 20)]}) == 3


def test_the_items_of_perfect_detections_are_ones_for_the_classes_that_occur():
    lists = detections_to_coco(perfect(8), range(8))
    records = detection._records(scene_set("test", 8), lists, COMMON)
    occurring = len({k for labels in scene_set("test", 8).labels for k in labels})
    assert [(r.protocol, r.metric) for r in records] == [
        (protocol, metric) for protocol in ("box", "mask") for metric in ("ap", "ap50", "ap75")]
    for record in records:
        assert record.value == pytest.approx(1) and record.n == occurring < 16


def test_what_is_shown_can_be_told_apart_again():
    found, objects = perfect(3), scene_set("test", 3)
    found[0]["scores"][-1] = 0.1  # not sure, so not shown
    shown = detection._shown(found)
    assert shown["shown"].shape == (sum(map(len, objects.labels)) - 1, 7)
    for row, (i, label, percent, *box) in enumerate(shown["shown"].tolist(), start=1):
        y, x = np.nonzero(shown["shown masks"][i] == row)
        assert [x.min(), y.min(), x.max() + 1, y.max() + 1] == box
        place = objects.boxes[i].tolist().index(box)
        assert objects.labels[i][place] == label and percent == 90
    assert detection._shown([])["shown"].shape == (0, 7)


@pytest.mark.parametrize("study", [DETECTION, FROZEN_DETECTION])
def test_a_study_keeps_one_row_for_each_metric_and_little_else(study):
    result = study(TOY, **COUNTS)
    rows = [(r.protocol, r.metric, r.seed, r.setting["frozen"]) for r in from_value(result.value)]
    frozen = study is FROZEN_DETECTION
    assert rows == [(p, m, 3, frozen) for p in ("box", "mask") for m in ("ap", "ap50", "ap75")]
    assert result.value["losses"].shape == (1,) and np.isfinite(result.value["losses"]).all()
    arrays = [x for x in result.value.values() if isinstance(x, np.ndarray)]
    assert sum(x.nbytes for x in arrays) < 40_000


def test_the_noise_study_repeats_the_detector_alone():
    found = from_value(DETECTOR_NOISE(TOY, detector_seeds=(3, 4), **COUNTS).value)
    assert [r.setting["detector_seed"] for r in found] == [3] * 6 + [4] * 6
    assert {r.seed for r in found} == {3}
    losses = [detection._measure(TOY, "show", 4, 2, 1, seed)[1]["losses"] for seed in (3, 4)]
    usual = DETECTION(TOY, **COUNTS).value["losses"]
    assert np.array_equal(usual, losses[0]) and not np.array_equal(usual, losses[1])


def test_other_counts_and_scenes_are_another_result():
    key = DETECTION.key(TOY, **COUNTS)
    assert key.name != DETECTION.key(TOY, **COUNTS | {"test_scenes": 9}).name
    assert set(key.data) == {"train scenes", "test scenes", "train"}
