"""Mask R-CNN on the encoder of a masked autoencoder (Kong et al., tables 3 and 5)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead

from mae_lib.models.encoder import Encoder
from mae_lib.models.pyramid import STRIDES, ViTPyramid

SHAPES = (0.5, 1.0, 2.0)  # height over width of anchors
# ``anchors`` are sides in strides. "coco": torchvision's and He et al.'s (2017) numbers. "laptop":
# objects of 13 to 27 pixels in images of 64, and heads a fraction as wide.
PRESETS = {
    "laptop": {"channels": 64, "anchors": (4.0, 5.6), "hidden": 256, "mask_layers": 2,
               "limits": {"rpn_pre_nms_top_n_train": 200, "rpn_pre_nms_top_n_test": 100,
                          "rpn_post_nms_top_n_train": 200, "rpn_post_nms_top_n_test": 100,
                          "rpn_batch_size_per_image": 64, "box_batch_size_per_image": 32,
                          "box_detections_per_img": 20}},
    "coco": {"channels": 256, "anchors": (8.0,), "hidden": 1024, "mask_layers": 4, "limits": {}},
}
MASK_THRESHOLD = 0.5


def build_mask_rcnn(encoder: Encoder, classes: int, image_size: int, preset: str = "laptop", *,
                    seed: int | None = None) -> MaskRCNN:
    """A detector (He et al. 2017) whose backbone is a copy of ``encoder``.

    It takes lists of float32 images ``[3,S,S]`` in [0, 1], all of one size so that nothing is
    padded: padding would become tokens.

    Args:
        classes: number of categories, background not counted.
        image_size: side of the images in pixels.
        preset: ``"laptop"`` or ``"coco"``.
        seed: of all new weights; the global generator if None.

    Raises:
        ValueError: no category, an unknown preset, a side that 32 does not divide, an encoder that
            does not fit :class:`mae_lib.models.pyramid.ViTPyramid`.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    if classes < 1:
        raise ValueError(f"classes must be at least 1, got {classes}")
    if image_size % 32:
        raise ValueError(f"image_size must be a multiple of 32, got {image_size}")
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        return _build(encoder, classes, image_size, PRESETS[preset])


def _build(encoder: Encoder, classes: int, size: int, shape: dict) -> MaskRCNN:
    channels, hidden = shape["channels"], shape["hidden"]
    sizes = tuple(tuple(s * a for a in shape["anchors"]) for s in (*STRIDES, 2 * STRIDES[-1]))
    anchors = AnchorGenerator(sizes, (SHAPES,) * len(sizes))
    # The encoder standardises with the mean and deviation of its pretraining: not twice.
    unchanged = {"image_mean": (0.0,) * 3, "image_std": (1.0,) * 3}
    return MaskRCNN(
        ViTPyramid(encoder, size, STRIDES, channels), min_size=size, max_size=size,
        fixed_size=(size, size), **unchanged, rpn_anchor_generator=anchors,
        rpn_head=RPNHead(channels, anchors.num_anchors_per_location()[0]),
        box_head=TwoMLPHead(channels * 7**2, hidden),
        box_predictor=FastRCNNPredictor(hidden, 1 + classes),
        mask_head=MaskRCNNHeads(channels, (channels,) * shape["mask_layers"], 1),
        mask_predictor=MaskRCNNPredictor(channels, channels, 1 + classes), **shape["limits"])


@torch.no_grad()
def detect(detector: MaskRCNN, images: Tensor, batch: int = 25) -> list[dict[str, np.ndarray]]:
    """What a detector finds in images ``[N,3,S,S]``, best first.

    Returns:
        For each image ``boxes`` float32 ``[K,4]`` (left, top, right, bottom), ``labels`` int64
        ``[K]`` from 1, ``scores`` float32 ``[K]`` and ``masks`` bool ``[K,S,S]``.
    """
    detector.eval()
    device = next(detector.parameters()).device
    return [_found(output) for some in images.split(batch)
            for output in detector(list(some.to(device)))]


def _found(output: dict[str, Tensor]) -> dict[str, np.ndarray]:
    found = {name: values.cpu().numpy() for name, values in output.items()}
    return found | {"masks": found["masks"][:, 0] > MASK_THRESHOLD}
