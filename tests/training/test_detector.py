"""Training a detector at toy size."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mae_lib.data.objects import ObjectSet
from mae_lib.evaluation.coco import coco_ap, detections_to_coco, to_coco
from mae_lib.evaluation.detection import build_mask_rcnn, detect
from mae_lib.models.encoder import Encoder
from mae_lib.training.detector import DetectorConfig, detector_groups, fit_detector, mirrored
from mae_lib.training.pretrain import NonFiniteLoss

COLOURS = np.array([[230, 40, 40], [40, 40, 230]], np.uint8)
SHORT = DetectorConfig(epochs=1, batch=2)


def squares(count: int, size: int = 32) -> ObjectSet:
    """Grey noise with a red rectangle (category 1) on the left, a blue one (2) on the right."""
    rng = np.random.default_rng(0)
    images = rng.integers(100, 130, (count, 3, size, size)).astype(np.uint8)
    boxes, masks = np.zeros((count, 2, 4), int), np.zeros((count, 2, size, size), bool)
    for i in range(count):
        for k in range(2):
            wide, high = rng.integers(10, size // 2, 2)
            left = k * size // 2 + rng.integers(0, size // 2 - wide + 1)
            top = rng.integers(0, size - high + 1)
            boxes[i, k] = left, top, left + wide, top + high
            masks[i, k, top:top + high, left:left + wide] = True
            images[i][:, masks[i, k]] = COLOURS[k][:, None]
    return ObjectSet(images, list(boxes), [np.array([1, 2])] * count, list(masks),
                     ("red", "blue"), "squares", "squares")


def toy_detector(size: int = 32):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = Encoder(16, 4, width=16, depth=4, heads=2)
    return build_mask_rcnn(encoder, 2, size, seed=0)


def weights(detector, part="") -> dict[str, torch.Tensor]:
    return {name: w.clone() for name, w in detector.state_dict().items() if name.startswith(part)}


def same(one: dict, other: dict) -> bool:
    return all(torch.equal(w, other[name]) for name, w in one.items())


def test_it_overfits_four_images():
    detector, train = toy_detector(), squares(4)
    config = DetectorConfig(epochs=40, batch=4, lr=3e-3, encoder_lr=3e-3, flip=False)
    losses = fit_detector(detector, train, config, progress=False)
    assert len(losses) == 40 and losses[-5:].mean() < 0.5 * losses[:5].mean()
    boxes, masks = detections_to_coco(detect(detector, train.batch(slice(None))), range(4))
    assert coco_ap(to_coco(train), boxes).ap50 > 0.9
    assert coco_ap(to_coco(train), masks, "segm").ap50 > 0.9


def test_the_seed_decides_everything_and_the_global_generator_rests():
    runs, state = [], torch.get_rng_state()
    for seed in (0, 0, 1):
        detector = toy_detector()
        losses = fit_detector(detector, squares(4), replace(SHORT, seed=seed), progress=False)
        runs.append((losses, weights(detector)))
    assert np.array_equal(runs[0][0], runs[1][0]) and same(runs[0][1], runs[1][1])
    assert not np.array_equal(runs[0][0], runs[2][0])
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("frozen", [False, True])
def test_a_frozen_encoder_stays_and_all_else_is_trained(frozen):
    detector = toy_detector()
    before = weights(detector)
    fit_detector(detector, squares(4), replace(SHORT, frozen=frozen, epochs=3), progress=False)
    after = weights(detector)
    moved = {name for name, w in before.items() if not torch.equal(w, after[name])}
    inside = {name for name in before if name.startswith("backbone.encoder.")}
    assert moved & inside == (set() if frozen else inside)
    assert {"backbone.fpn.inner_blocks.0.0.weight", "rpn.head.cls_logits.weight",
            "roi_heads.mask_predictor.conv5_mask.weight"} <= moved
    assert not detector.training


def test_rates_fall_toward_the_first_layer_and_vectors_do_not_decay():
    detector = toy_detector()
    names = {p: name for name, p in detector.named_parameters()}
    groups = detector_groups(detector, DetectorConfig(lr=1e-3, encoder_lr=2.5e-4))
    found = {names[p]: (1e-3 * g["lr_scale"], g["weight_decay"]) for g in groups
             for p in g["params"]}
    assert set(found) == set(names.values())
    for layer in range(4):  # block 3 is the last
        rate = pytest.approx(2.5e-4 * 0.75 ** (3 - layer))
        assert found[f"backbone.encoder.blocks.{layer}.attn.qkv.weight"] == (rate, 0.05)
        assert found[f"backbone.encoder.blocks.{layer}.norm1.weight"] == (rate, 0)
    first = pytest.approx(2.5e-4 * 0.75**4)
    assert found["backbone.encoder.patch_embed.proj.weight"] == (first, 0.05)
    assert found["backbone.encoder.pos_embed"] == found["backbone.encoder.cls_token"] == (first, 0)
    assert found["roi_heads.box_head.fc6.weight"] == (pytest.approx(1e-3), 0.05)
    assert found["backbone.fpn.layer_blocks.0.1.weight"] == (pytest.approx(1e-3), 0)  # of a norm


def test_mirrored_objects_lie_where_their_mirrored_masks_are():
    objects = squares(2)
    image, target = objects.batch([0])[0], objects.target(0)
    flipped, found = mirrored(image, target)
    assert torch.equal(flipped[:, :, 0], image[:, :, -1])
    for box, mask in zip(found["boxes"], found["masks"], strict=True):
        rows, columns = mask.nonzero(as_tuple=True)
        hull = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert box.tolist() == [float(x) for x in hull]
    again = mirrored(flipped, found)
    assert torch.equal(again[0], image) and all(torch.equal(again[1][n], target[n]) for n in target)


def test_half_of_the_images_are_mirrored_as_the_seed_says(monkeypatch):
    import mae_lib.training.detector as module

    seen = []
    monkeypatch.setattr(module, "mirrored", lambda *pair: (seen.append(0), pair)[1])
    for step in range(100):
        module._batch(squares(4), SHORT, step)
    assert 70 < len(seen) < 130
    module._batch(squares(4), replace(SHORT, flip=False), 0)
    assert 70 < len(seen) < 130


def test_weights_that_are_not_numbers_are_noticed():
    detector = toy_detector()
    with torch.no_grad():
        detector.roi_heads.box_predictor.cls_score.bias.fill_(torch.nan)
    with pytest.raises(NonFiniteLoss, match="loss became nan"):
        fit_detector(detector, squares(4), SHORT, progress=False)


@pytest.mark.parametrize(("changes", "message"), [
    ({"epochs": 0}, "epochs must be at least 1, got 0"),
    ({"layer_decay": 0}, r"layer_decay must lie in \(0, 1\], got 0"),
    ({"encoder_lr": 0}, "encoder_lr must be above 0, got 0"),
    ({"batch": 5}, r"batch must lie in 1..views \(4\), got 5"),
])
def test_numbers_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        fit_detector(toy_detector(), squares(4), DetectorConfig(**{"epochs": 1} | changes))
