"""COCO in its official layout: stretched alike, scored with crowds, trained without them."""

import json

import layouts
import numpy as np
import pytest
import torch
from PIL import Image

from mae_lib.data.files.decoding import BadImage
from mae_lib.data.images import check_images
from mae_lib.data.objects import ObjectSet
from mae_lib.data.official.coco import coco
from mae_lib.data.official.coco_shapes import stretched
from mae_lib.data.official.folders import WrongLayout
from mae_lib.evaluation.coco import coco_ap, detections_to_coco

SIDE = 64


@pytest.fixture
def root(tmp_path):
    return layouts.write_coco(layouts.write_coco(tmp_path, "val"), "train")


@pytest.fixture
def val(root):
    return coco(root, "val", size=SIDE)


def test_labels_have_no_gaps_where_cocos_ids_have(val):
    assert len(val.categories) == 80 and val.categories[79] == "thing 90"
    assert [x.tolist() for x in val.labels] == [[80], [1], []]


def test_training_leaves_out_pictures_without_objects_and_scoring_does_not(root, val):
    train = coco(root, "train", size=SIDE)
    assert train.ids.tolist() == [10, 20] and val.ids.tolist() == [10, 20, 30]
    assert len(train) == 2 and train.name == "COCO train2017" and train.size == (SIDE, SIDE)


def test_it_has_the_face_of_a_set_of_objects(val):
    """What is decoded lazily passes every check of the set that keeps all in memory."""
    images = (255 * val.batch(slice(None))).round().byte().numpy()
    kept = ObjectSet(images, list(val.boxes), list(val.labels), list(val.masks), val.categories,
                     val.name, val.fingerprint)
    for i in range(3):
        ours, theirs = val.target(i), kept.target(i)
        assert all(torch.equal(ours[k], theirs[k]) and ours[k].dtype == theirs[k].dtype
                   for k in ("boxes", "labels", "masks"))
    check_images(val.batch([2, 0]), size=(SIDE, SIDE))
    assert torch.equal(val.batch([2])[0], val.batch([0, 2])[1])


def test_pictures_boxes_and_masks_are_stretched_alike(root):
    """A bright rectangle drawn where the box says stays inside box and mask at another shape."""
    dark = np.zeros((40, 60, 3), np.uint8)
    dark[4:24, 6:30] = 255  # the box of the first picture
    Image.fromarray(dark).save(root / "val2017/000000000010.jpg", quality=100, subsampling=0)
    val = coco(root, "val", size=120)
    left, top, right, bottom = val.boxes[0][0]
    assert np.allclose([left, top, right, bottom], [12, 12, 60, 72])
    bright = val.batch([0])[0, 0].numpy() > 0.5
    mask = val.masks[0][0]
    assert mask.shape == (120, 120) and mask.dtype == bool
    assert (bright & mask).sum() / (bright | mask).sum() > 0.95
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert abs(np.array([columns[0], rows[0], 1 + columns[-1], 1 + rows[-1]])
               - val.boxes[0][0]).max() <= 1


def test_a_triangle_covers_half_its_box(val):
    left, top, right, bottom = val.boxes[1][0]
    share = val.masks[1][0].sum() / ((right - left) * (bottom - top))
    assert 0.45 < share < 0.55


@pytest.mark.parametrize("height, width", [(5, 9), (7, 3), (13, 11), (1, 63)])
def test_stretching_a_crowd_favours_no_side(height, width):
    mask = np.random.default_rng(0).random((height, width)) < 0.5
    found = stretched(mask, 20)
    assert np.array_equal(stretched(mask[::-1, ::-1], 20), found[::-1, ::-1])
    assert np.array_equal(stretched(found, 20), found) and found.any() and not found.all()


def truth_as_detections(val):
    return [{"boxes": val.boxes[i], "labels": val.labels[i], "masks": val.masks[i],
             "scores": np.ones(len(val.labels[i]))} for i in range(len(val))]


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_the_truth_scores_one(val, kind):
    boxes, masks = detections_to_coco(truth_as_detections(val), range(3))
    found = coco_ap(val.ground_truth(), boxes if kind == "bbox" else masks, kind)
    assert found.ap == pytest.approx(1)


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_what_is_found_in_a_crowd_is_not_wrong_and_beside_it_is(val, kind):
    """A surer detection of the crowd's category: inside the crowd it does not count at all."""
    def scored(left):
        found = truth_as_detections(val)
        box = np.array([[left, 10.0, left + 16, 30.0]])
        mask = np.zeros((1, SIDE, SIDE), bool)
        mask[0, 10:30, left:left + 16] = True
        found[1] = {"boxes": np.concatenate([found[1]["boxes"], box]),
                    "labels": np.array([1, 1]), "scores": np.array([0.5, 0.9]),
                    "masks": np.concatenate([found[1]["masks"], mask])}
        boxes, masks = detections_to_coco(found, range(3))
        return coco_ap(val.ground_truth(), boxes if kind == "bbox" else masks, kind).per_class["ap"]

    assert scored(40)[0] == pytest.approx(1)  # the crowd is the right half
    assert scored(0)[0] == pytest.approx(0.5)


def test_ground_truth_keeps_the_crowd_and_training_does_not(val):
    truth = val.ground_truth()
    assert [a["iscrowd"] for a in truth["annotations"]] == [0, 0, 1]
    assert [a["category_id"] for a in truth["annotations"]] == [80, 1, 1]
    assert len(val.target(1)["labels"]) == 1
    json.dumps(truth)


def test_a_detector_trains_on_it_as_on_scenes(root):
    from mae_lib.evaluation.detection import build_mask_rcnn
    from mae_lib.models.methods import mae
    from mae_lib.training.detector import DetectorConfig, fit_detector

    train = coco(root, "train", size=32)
    encoder = mae("toy", seed=0, size=32, width=16, depth=4, heads=2, decoder_width=8).encoder
    detector = build_mask_rcnn(encoder, len(train.categories), 32, seed=0)
    losses = fit_detector(detector, train, DetectorConfig(epochs=1, batch=2), progress=False)
    assert losses.shape == (1,) and np.isfinite(losses).all()


def test_fingerprints_tell_splits_sides_and_choices(root, val):
    others = [coco(root, "train", size=SIDE), coco(root, "val", size=32), val.subset([0, 1])]
    assert len({val.fingerprint, *(x.fingerprint for x in others)}) == 4
    assert coco(root, "val", size=SIDE).fingerprint == val.fingerprint


def test_boxes_without_area_are_left_out_and_others_end_at_the_edge(root):
    file = root / "annotations/instances_val2017.json"
    stored = json.loads(file.read_text())
    stored["annotations"][0]["bbox"] = [6.0, 4.0, 0.0, 20.0]
    stored["annotations"][1]["bbox"] = [2.0, 2.0, 30.5, 46.0]
    file.write_text(json.dumps(stored))
    found = coco(root, "val", size=SIDE)
    assert len(found.boxes[0]) == 0 and found.masks[0].shape == (0, SIDE, SIDE)
    assert found.boxes[1][0].max() == SIDE


def test_what_is_missing_is_named(root, tmp_path_factory):
    empty = tmp_path_factory.mktemp("coco")
    with pytest.raises(WrongLayout, match="should hold annotations/instances_val2017.json of COCO "
                                          "2017, but holds nothing"):
        coco(empty)
    (root / "val2017/000000000020.jpg").unlink()
    with pytest.raises(WrongLayout, match="val2017 should hold the 3 pictures that the annotations "
                                          "name, but 1 are missing: 000000000020.jpg"):
        coco(root)
    with pytest.raises(ValueError, match="split must be one of train, val, got 'test'"):
        coco(root, "test")
    (root / "annotations/instances_val2017.json").write_text('{"images": [')
    with pytest.raises(WrongLayout, match="should hold COCO's annotations, but is cut short"):
        coco(root)


def test_a_picture_that_does_not_fit_its_annotations_is_refused(root, val):
    layouts.write(root / "val2017/000000000020.jpg", 1, height=32, width=48)
    with pytest.raises(BadImage, match="000000000020.jpg should have 48x32 pixels as its "
                                       "annotations say, but has 32x48"):
        val.batch([1])
