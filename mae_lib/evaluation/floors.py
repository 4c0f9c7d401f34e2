"""Reconstructions that know nothing about images: what a number has to beat to mean anything."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mae_lib.data.images import check_images
from mae_lib.evaluation.metrics import PRIMARY, image_metrics
from mae_lib.models.patches import patch_grid, patchify, unpatchify


def reference_floors(images: Tensor, patches: Sequence[int] = (8, 16, 32),
                     which: Sequence[str] = PRIMARY) -> dict[str, dict[str, Tensor]]:
    """Metrics of each floor, ``{floor: {metric: [B]}}``, for images ``[B,3,H,W]`` in [0, 1]."""
    floors = floor_images(images, patches)
    return {name: image_metrics(images, floor, which) for name, floor in floors.items()}


def floor_images(images: Tensor, patches: Sequence[int] = (8, 16, 32)) -> dict[str, Tensor]:
    """The floors themselves: ``patch mean <p>``, global mean, 9x9 blur, JPEG, identity.

    Args:
        patches: sides in pixels of flat patches. A model of normalised patches has a floor of its
            own besides: see :func:`mae_lib.evaluation.reconstruction.leak`.

    Raises:
        ValueError: images off, or a side that does not divide the image's.
    """
    check_images(images)
    floors = {f"patch mean {p}": patch_means(images, p) for p in patches}
    floors["global mean"] = images.mean((2, 3), keepdim=True).expand_as(images)
    floors["box blur 9"] = F.avg_pool2d(F.pad(images, (4, 4, 4, 4), "reflect"), 9, stride=1)
    floors["jpeg 30"] = torch.stack([jpeg(image, 30) for image in images])
    floors["identity"] = images
    return floors


def patch_means(images: Tensor, patch: int) -> Tensor:
    """Every patch of ``[B,3,H,W]`` flat, in its mean colour.

    Raises:
        ValueError: ``patch`` does not divide the image's sides.
    """
    grid = patch_grid(tuple(images.shape[2:]), patch)
    colours = patchify(images, patch).unflatten(-1, (patch * patch, 3)).mean(2)
    return unpatchify(colours.repeat(1, 1, patch * patch), patch, grid)


def jpeg(image: Tensor, quality: int) -> Tensor:
    """One image ``[3,H,W]`` in [0, 1], written as a JPEG file and read again."""
    pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        decoded = np.array(Image.open(file))
    return torch.from_numpy(decoded).permute(2, 0, 1).to(image) / 255
