"""Average precision of boxes and masks as COCO defines it, scored by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mae_lib.data.objects import ObjectSet

TYPES = ("bbox", "segm")


@dataclass(frozen=True, eq=False)
class CocoResult:
    """Average precision in [0, 1] at IoU .50 to .95, at .50 and at .75; NaN without ground truth.

    ``per_class`` holds the same three as ``{"ap", "ap50", "ap75": [C]}`` in the order of the
    categories, NaN for those without ground truth;
    ``n_gt`` and ``n_det`` count objects and detections. COCO's scores by area are not here: its
    limits are absolute (32 and 96 pixels a side) and mean nothing for small images.
    """

    ap: float
    ap50: float
    ap75: float
    per_class: dict[str, np.ndarray]
    n_gt: int
    n_det: int


def to_coco(dataset: ObjectSet) -> dict:
    """Ground truth in COCO's format: image ids count from 0, ids of objects and categories from 1.
    """
    height, width = dataset.size
    images = [{"id": i, "height": height, "width": width} for i in range(len(dataset))]
    categories = [{"id": 1 + k, "name": name} for k, name in enumerate(dataset.categories)]
    found = [(i, *thing) for i in range(len(dataset)) for thing in
             zip(dataset.boxes[i], dataset.labels[i], dataset.masks[i], strict=True)]
    annotations = [{"id": n, "image_id": i, "category_id": int(label), "iscrowd": 0,
                    "bbox": xywh(box), "area": int(mask.sum()), "segmentation": run_lengths(mask)}
                   for n, (i, box, label, mask) in enumerate(found, start=1)]
    return {"images": images, "categories": categories, "annotations": annotations}


def detections_to_coco(outputs: Sequence[Mapping[str, np.ndarray]],
                       image_ids: Sequence[int]) -> tuple[list[dict], list[dict]]:
    """Detections of :func:`mae_lib.evaluation.detection.detect` as two lists, boxes and masks.

    Two, since pycocotools reads a list that holds both as boxes.

    Raises:
        ValueError: not one image id an output, or an id given twice.
    """
    if len(outputs) != len(image_ids) or len(set(image_ids)) != len(image_ids):
        raise ValueError(f"image_ids must hold {len(outputs)} different ids, one an output, "
                         f"got {list(image_ids)}")
    boxes, masks = [], []
    for image_id, out in zip(image_ids, outputs, strict=True):
        for box, label, score, mask in zip(out["boxes"], out["labels"], out["scores"],
                                           out["masks"], strict=True):
            common = {"image_id": image_id, "category_id": int(label), "score": float(score)}
            boxes.append(common | {"bbox": xywh(box)})
            masks.append(common | {"segmentation": run_lengths(mask)})
    return boxes, masks


def coco_ap(gt: dict, detections: list[dict], iou_type: str = "bbox") -> CocoResult:
    """Average precision of one list of :func:`detections_to_coco` against :func:`to_coco`.

    Without ground truth it is NaN, with ground truth but without detections 0.

    Raises:
        ValueError: unknown ``iou_type``, detections without that key or of images that are not in
            ``gt``.
    """
    if iou_type not in TYPES:
        raise ValueError(f"iou_type must be one of {', '.join(TYPES)}, got {iou_type!r}")
    _check(gt, detections, "bbox" if iou_type == "bbox" else "segmentation")
    objects = np.bincount([a["category_id"] for a in gt["annotations"]],
                          minlength=1 + len(gt["categories"]))[1:]
    table = _table(gt, detections, iou_type) if detections else np.zeros((10, len(objects)))
    table = np.where(objects > 0, table, np.nan)
    per_class = {"ap": table.mean(0), "ap50": table[0], "ap75": table[5]}
    means = {name: _mean(values) for name, values in per_class.items()}
    return CocoResult(**means, per_class=per_class, n_gt=int(objects.sum()),
                      n_det=len(detections))


def _table(gt: dict, detections: list[dict], iou_type: str) -> np.ndarray:
    """Average precision ``[10, C]`` by IoU threshold .50, .55, ... and category."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        truth = COCO()
        truth.dataset = {"info": {}, **gt}
        truth.createIndex()
        scores = COCOeval(truth, truth.loadRes(detections), iou_type)
        scores.evaluate()
        scores.accumulate()
    return scores.eval["precision"][:, :, :, 0, -1].mean(1)  # all areas, at most 100 an image


def xywh(box: Sequence[float]) -> list[float]:
    """Left, top, width, height of a box left, top, right, bottom."""
    left, top, right, bottom = (float(x) for x in box)
    return [left, top, right - left, bottom - top]


def run_lengths(mask: np.ndarray) -> dict:
    """Compressed COCO run lengths of bool ``[H, W]``, the counts as text so that JSON takes them.
    """
    from pycocotools.mask import encode

    found = encode(np.asfortranarray(mask, dtype=np.uint8))
    return found | {"counts": found["counts"].decode()}


def _mean(values: np.ndarray) -> float:
    """Mean of the numbers in an array, NaN if there are none."""
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if kept.size else float("nan")


def _check(gt: dict, detections: list[dict], key: str) -> None:
    known = {image["id"] for image in gt["images"]}
    for found in detections:
        if key not in found:
            raise ValueError(f"detections must have the key {key!r}, got {sorted(found)}")
        if found["image_id"] not in known:
            raise ValueError("detections must be of images in gt, "
                             f"got image_id {found['image_id']!r}")
