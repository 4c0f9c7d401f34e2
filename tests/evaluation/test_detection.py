"""Average precision against closed forms and a slow loop; the detector against torchvision's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.mask import frPyObjects
from torchvision.models.detection import maskrcnn_resnet50_fpn

from mae_lib.data import menagerie
from mae_lib.data.objects import ObjectSet, scene_objects
from mae_lib.evaluation.coco import coco_ap, detections_to_coco, to_coco
from mae_lib.evaluation.detection import build_mask_rcnn, detect
from mae_lib.models.encoder import Encoder

SIZE = 100
BOTH = ("bbox", "segm")


def filled(box) -> np.ndarray:
    left, top, right, bottom = box
    mask = np.zeros((SIZE, SIZE), bool)
    mask[top:bottom, left:right] = True
    return mask


def rectangles(boxes, labels, categories=("one", "two")) -> ObjectSet:
    """Black images with the given boxes ``[[K,4], ...]`` as objects, wholly filled."""
    boxes = [np.reshape(found, (-1, 4)) for found in boxes]
    masks = [np.array([filled(box) for box in found]).reshape(-1, SIZE, SIZE) for found in boxes]
    labels = [np.array(found, int) for found in labels]
    return ObjectSet(np.zeros((len(boxes), 3, SIZE, SIZE), np.uint8), boxes, labels, masks,
                     categories, "rectangles", "rectangles")


# Twenty objects of 40 x 40 pixels in ten images, ten of each category.
TWENTY = rectangles([[[5, 5 + i, 45, 45 + i], [55, 50, 95, 90]] for i in range(10)], [[1, 2]] * 10)


def as_found(objects: ObjectSet, score=0.5, **changes) -> list[dict[str, np.ndarray]]:
    """The ground truth as if a detector had found it."""
    return [{"boxes": np.array(objects.boxes[i], float), "labels": objects.labels[i],
             "scores": np.full(len(objects.labels[i]), score), "masks": objects.masks[i]} | {
                 name: values[i] for name, values in changes.items()} for i in range(len(objects))]


def moved(objects: ObjectSet, right: int) -> list[dict[str, np.ndarray]]:
    return as_found(objects, boxes=[found + np.array([right, 0, right, 0])
                                    for found in objects.boxes],
                    masks=[np.roll(found, right, 2) for found in objects.masks])


def scores(objects: ObjectSet, outputs) -> list:
    """Results for boxes and for masks."""
    lists = detections_to_coco(outputs, range(len(objects)))
    return [coco_ap(to_coco(objects), found, kind)
            for found, kind in zip(lists, BOTH, strict=True)]


def joined(*outputs):
    """Several detections of the same images as one."""
    return [{name: np.concatenate([found[name] for found in same]) for name in same[0]}
            for same in zip(*outputs, strict=True)]


# Average precision


def test_the_ground_truth_has_precision_one():
    for found in scores(TWENTY, as_found(TWENTY)):
        assert (found.ap, found.ap50, found.ap75) == pytest.approx((1, 1, 1))
        assert found.per_class["ap"].tolist() == pytest.approx([1, 1])
        assert (found.n_gt, found.n_det) == (20, 20)


def test_half_a_width_aside_is_an_iou_of_a_third_and_nothing():
    assert [found.ap for found in scores(TWENTY, moved(TWENTY, 20))] == [0, 0]


def test_five_of_forty_pixels_aside_meet_six_of_ten_thresholds():
    for found in scores(TWENTY, moved(TWENTY, 5)):
        assert (found.ap, found.ap50, found.ap75) == pytest.approx((0.6, 1, 1))


def test_exchanged_categories_find_nothing():
    wrong = as_found(TWENTY, labels=[found[::-1] for found in TWENTY.labels])
    assert [found.ap for found in scores(TWENTY, wrong)] == [0, 0]


def test_half_of_the_objects_reach_51_of_101_recalls():
    half = as_found(TWENTY)[:5] + [{name: x[:0] for name, x in found.items()}
                                   for found in as_found(TWENTY)[5:]]
    assert [found.ap for found in scores(TWENTY, half)] == pytest.approx([51 / 101] * 2)


def test_duplicates_with_a_lower_score_cost_nothing():
    twice = joined(as_found(TWENTY, 0.9), as_found(TWENTY, 0.3))
    assert [found.ap for found in scores(TWENTY, twice)] == pytest.approx([1, 1])


def test_one_surer_false_positive_for_each_true_one_halves_it():
    corner = rectangles([[[0, 90, 10, 100], [90, 0, 100, 10]]] * 10, TWENTY.labels)
    false = joined(as_found(TWENTY, 0.5), as_found(corner, 0.9))
    for found in scores(TWENTY, false):  # precision k / (10 + k) at recall k / 10, non-decreasing
        assert found.ap == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("grown", [1, 2, 3, 5])
def test_precision_of_grown_masks_follows_the_ratio_of_areas(grown):
    larger = [[[x0 - grown, y0 - grown, x1 + grown, y1 + grown]
               for x0, y0, x1, y1 in found.tolist()] for found in TWENTY.boxes]
    masks = [np.array([filled(box) for box in found]) for found in larger]
    box, mask = scores(TWENTY, as_found(TWENTY, masks=masks))
    met = sum(40**2 / (40 + 2 * grown) ** 2 >= 0.5 + 0.05 * i for i in range(10))
    assert box.ap == pytest.approx(1) and mask.ap == pytest.approx(met / 10)


def iou(a, b) -> float:
    inner = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    inner = float(np.prod(np.maximum(inner, 0)))
    return inner / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inner)


def slow_precision(objects, outputs, label, threshold) -> float:
    """Average precision of one category, one detection and one recall at a time."""
    truth = {(i, k): box for i in range(len(objects)) for k, box in enumerate(objects.boxes[i])
             if objects.labels[i][k] == label}
    found = sorted(((-score, i, k) for i, out in enumerate(outputs)
                    for k, score in enumerate(out["scores"]) if out["labels"][k] == label))
    hits, taken = [], set()
    for _, i, k in found:
        rest = {key: iou(outputs[i]["boxes"][k], box) for key, box in truth.items()
                if key[0] == i and key not in taken}
        best = max(rest, key=rest.get, default=None)
        hit = best is not None and rest[best] >= threshold
        taken |= {best} if hit else set()
        hits.append(hit)
    curve = [(sum(hits[:n]) / len(truth), sum(hits[:n]) / n) for n in range(1, 1 + len(hits))]
    return float(np.mean([max((p for r, p in curve if r >= step - 1e-12), default=0.0)
                          for step in np.linspace(0, 1, 101)]))


places = st.tuples(st.integers(0, 7), st.integers(0, 7), st.integers(4, 9), st.integers(4, 9))
things = st.lists(st.tuples(places, st.integers(1, 2)), max_size=4)


def spread(found) -> tuple[list, list]:
    """Boxes in steps of five pixels, and labels."""
    return ([[5 * x, 5 * y, 5 * (x + w), 5 * (y + h)] for (x, y, w, h), _ in found],
            [label for _, label in found])


@settings(max_examples=30)
@given(st.lists(st.tuples(things, things), min_size=1, max_size=3), st.randoms())
def test_precision_is_that_of_a_slow_loop(images, random):
    truth, found = ([spread(image[side]) for image in images] for side in (0, 1))
    objects, drawn = rectangles(*zip(*truth, strict=True)), rectangles(*zip(*found, strict=True))
    ranks = random.sample(range(1, 100), sum(map(len, drawn.labels)))
    parts = np.split(np.array(ranks, float), np.cumsum([len(x) for x in drawn.labels])[:-1])
    outputs = as_found(drawn, scores=parts)
    result = scores(objects, outputs)[0]
    for label, per_class in enumerate(result.per_class["ap"], start=1):
        if not any(label in labels for labels in objects.labels):
            assert np.isnan(per_class)
            continue
        slow = [slow_precision(objects, outputs, label, t) for t in np.arange(50, 100, 5) / 100]
        assert per_class == pytest.approx(np.mean(slow), abs=1e-9)


def test_no_detections_are_zero_and_no_objects_are_not_a_number(capsys):
    nothing = rectangles([[]], [[]])
    empty = coco_ap(to_coco(TWENTY), [])
    assert (empty.ap, empty.ap50, empty.per_class["ap"].tolist(), empty.n_det) == (0, 0, [0, 0], 0)
    for found in (coco_ap(to_coco(nothing), []), *scores(nothing, as_found(rectangles(
            [[[1, 1, 9, 9]]], [[1]])))):
        assert np.isnan([found.ap, found.ap50, found.ap75, *found.per_class["ap"]]).all()
        assert found.n_gt == 0
    assert capsys.readouterr().out == ""


def test_a_category_without_objects_does_not_count():
    ones = rectangles([[[5, 5, 45, 45]]], [[1]])
    found = scores(ones, as_found(ones))[0]
    assert found.ap == pytest.approx(1) and found.per_class["ap75"][0] == pytest.approx(1)
    assert np.isnan(found.per_class["ap"][1])


def test_run_lengths_and_boxes_are_those_of_the_scenes_own_annotations():
    drawn = menagerie.scenes(6, 32, "medium32")
    ours, theirs = to_coco(scene_objects(drawn)), menagerie.coco(drawn)
    for a, b in zip(ours["annotations"], theirs["annotations"], strict=True):
        assert all(a[name] == b[name] for name in ("id", "image_id", "bbox", "area", "iscrowd"))
        packed = frPyObjects(b["segmentation"], 32, 32)["counts"].decode()
        assert a["segmentation"] == {"size": [32, 32], "counts": packed}


def test_detections_that_cannot_be_scored_are_refused():
    gt, (boxes, _) = to_coco(TWENTY), detections_to_coco(as_found(TWENTY), range(10))
    with pytest.raises(ValueError, match="iou_type must be one of bbox, segm, got 'keypoints'"):
        coco_ap(gt, boxes, "keypoints")
    with pytest.raises(ValueError, match="detections must have the key 'segmentation'"):
        coco_ap(gt, boxes, "segm")
    with pytest.raises(ValueError, match="detections must be of images in gt, got image_id 99"):
        coco_ap(gt, [boxes[0] | {"image_id": 99}])
    for ids in (range(9), [0] * 10):
        with pytest.raises(ValueError, match="image_ids must hold 10 different ids"):
            detections_to_coco(as_found(TWENTY), ids)


# The detector


def toy(size=32, patch=4) -> Encoder:
    return Encoder(size, patch, width=16, depth=4, heads=2, mean=(0.4,) * 3, std=(0.2,) * 3)


def random_target(generator) -> dict[str, torch.Tensor]:
    mask = torch.zeros(1, 64, 64, dtype=torch.uint8)
    mask[0, 10:30, 20:44] = 1
    return {"boxes": torch.tensor([[20.0, 10, 44, 30]]), "labels": torch.tensor([2]),
            "masks": mask}


@pytest.mark.parametrize("patch", [4, 8, 16])
def test_five_finite_losses_reach_the_encoder(patch, generator):
    detector = build_mask_rcnn(toy(32, patch), 3, 64, seed=0).train()
    images = list(torch.rand(2, 3, 64, 64, generator=generator))
    losses = detector(images, [random_target(generator) for _ in images])
    assert set(losses) == {"loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness",
                           "loss_rpn_box_reg"}
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    encoder = detector.backbone.encoder
    assert [name for name, p in encoder.named_parameters() if not p.grad.abs().sum() > 0] == []


def test_the_coco_heads_are_shaped_like_torchvisions():
    with torch.device("meta"):
        theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=81)
    ours = build_mask_rcnn(toy(64, 16), 80, 64, "coco")
    shapes = [{name: tuple(w.shape) for name, w in model.state_dict().items()
               if name.startswith(("rpn.", "roi_heads."))} for model in (ours, theirs)]
    assert shapes[0] == shapes[1] and len(shapes[0]) > 20
    assert ours.rpn.anchor_generator.sizes == theirs.rpn.anchor_generator.sizes
    assert ours.roi_heads.detections_per_img == theirs.roi_heads.detections_per_img


def test_images_reach_the_encoder_as_they_are(generator):
    detector, seen = build_mask_rcnn(toy(), 3, 64).eval(), []
    detector.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    images = torch.rand(2, 3, 64, 64, generator=generator)
    detect(detector, images)
    torch.testing.assert_close(seen[0], images)
    assert detector.backbone.encoder.mean.tolist() == pytest.approx([0.4] * 3)


def test_detections_are_arrays_of_known_shape_best_first(generator):
    detector = build_mask_rcnn(toy(), 3, 64, seed=0)
    images = torch.rand(3, 3, 64, 64, generator=generator)
    found, split = detect(detector, images), detect(detector, images, batch=2)
    for one, other in zip(found, split, strict=True):
        count = len(one["labels"])
        assert 0 < count <= 20 and one["boxes"].shape == (count, 4)
        assert one["masks"].shape == (count, 64, 64) and one["masks"].dtype == bool
        assert (np.diff(one["scores"]) <= 0).all() and set(one["labels"]) <= {1, 2, 3}
        np.testing.assert_allclose(one["boxes"], other["boxes"], atol=1e-3)


def test_the_seed_decides_the_new_weights_and_nothing_else():
    state = torch.get_rng_state()
    one, same, other = (build_mask_rcnn(toy_at(0), 3, 64, seed=seed).state_dict()
                        for seed in (0, 0, 1))
    assert all(torch.equal(w, same[name]) for name, w in one.items())
    name = "roi_heads.box_predictor.cls_score.weight"
    assert not torch.equal(one[name], other[name])
    assert torch.equal(one["backbone.encoder.blocks.0.mlp.fc1.weight"],
                       other["backbone.encoder.blocks.0.mlp.fc1.weight"])
    assert torch.equal(state, torch.get_rng_state())


def toy_at(seed: int) -> Encoder:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return toy()


@pytest.mark.parametrize(("arguments", "message"), [
    ((0, 64), "classes must be at least 1, got 0"),
    ((3, 48), "image_size must be a multiple of 32, got 48"),
    ((3, 64, "large"), "preset must be one of laptop, coco, got 'large'"),
])
def test_detectors_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_mask_rcnn(toy(), *arguments)
