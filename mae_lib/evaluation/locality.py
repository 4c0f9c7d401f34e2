"""Are hidden pixels next to visible ones filled in from their neighbours? (Kong et al., sec. 3.6)

Distances are Chebyshev distances to the nearest visible pixel, so 1 is next to one.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mae_lib.data.images import ImageSet, check_images
from mae_lib.evaluation.inpainting import harmonic_fill
from mae_lib.evaluation.pixels import grid_of
from mae_lib.evaluation.reconstruction import hidden_pixels, reconstruct_masked
from mae_lib.evaluation.records import EvalRecord, not_tested, records_of
from mae_lib.models.masks import Mask, random_mask

BATCH = 128
BINS = {"1 px": (1, 1), "2 px": (2, 2), "3 to 4 px": (3, 4), "5 to 8 px": (5, 8)}
FILL = "harmonic fill"
FEWEST = 0.01


def distance_to_visible(mask: Mask, grid: tuple[int, int], patch: int) -> Tensor:
    """Distance of every pixel, int64 ``[B, H, W]``; 0 where visible.

    Raises:
        ValueError: a mask that shows nothing.
    """
    if mask.visible.shape[1] == 0:
        raise ValueError("mask must show at least one patch, got one that hides all")
    far = hidden_pixels(mask, grid, patch).float()
    distance = torch.zeros_like(far)
    while far.any():
        distance += far
        far = -F.max_pool2d(-far, 3, stride=1, padding=1)  # what lies outside shows nothing
    return distance[:, 0].long()


def relative_error(errors: np.ndarray, distance: np.ndarray, variance: np.ndarray, low: int,
                   high: int) -> np.ndarray | None:
    """Squared error over variance at the pixels ``low`` to ``high`` away from visible ones.

    Every place in the picture counts alike, however often it is that far away: far pixels lie at
    the border more often, where pictures may be easier.

    Args:
        errors: of every pixel, ``[N, H, W]``.
        distance: of every pixel, ``[N, H, W]``.
        variance: of every place over the images, ``[H, W]``.

    Returns:
        float64 ``[N]`` whose mean is the error over the variance, both averaged over places; an
        image without such a pixel contributes 0. None if there are hardly any: fewer than
        ``FEWEST`` of the hidden pixels, or only places where all images are alike.
    """
    inside = (distance >= low) & (distance <= high)
    count = inside.sum(0)
    spread = variance[count > 0].sum()
    if count.sum() <= FEWEST * (distance > 0).sum() or not spread:
        return None
    weighted = np.where(inside, errors / count.clip(1), 0.0).sum((1, 2))
    return len(errors) * weighted / spread


def gradient_shares(model, images: Tensor, mask: Mask,
                    generator: torch.Generator | None = None) -> dict[str, Tensor]:
    """How much of what moves a predicted pixel lies close to it.

    Two hidden pixels an image: ``near``, drawn from those next to a visible one, and ``far``, from
    those furthest from every visible one. The share of the input gradient (absolute values, all
    channels) that lies on visible pixels at most one patch further away than the nearest visible
    one; and the share of the visible pixels that lie there, which is what a model that looks
    everywhere alike would have.

    Returns:
        ``{"gradient share, near": [B], "gradient share, far", "area share, near", "area share,
        far"}``.
    """
    grid, patch = grid_of(images, model), model.config["patch"]
    distance = distance_to_visible(mask, grid, patch)
    visible = distance == 0
    chance = torch.rand(distance.shape, generator=generator)
    found = {}
    for name, candidates in (("near", distance == 1),
                             ("far", distance == distance.amax((1, 2), keepdim=True))):
        pixel = (chance * candidates).flatten(1).argmax(1)
        reach = distance.flatten(1).gather(1, pixel[:, None])[..., None] + patch - 1
        close = visible & (_distance_from(pixel, distance.shape) <= reach)
        gradient = _input_gradient(model, images, mask, pixel, grid, patch) * visible
        found[f"gradient share, {name}"] = _share(gradient, close)
        found[f"area share, {name}"] = _share(visible.float(), close)
    return found


def locality_records(model, images: ImageSet, *, setting: dict, seed: int, split: str,
                     ratio: float = 0.75, mask_seed: int = 0
                     ) -> tuple[list[EvalRecord], dict[str, np.ndarray]]:
    """Records and curves under the model's ``"own masks"`` and under ``"ratio 0.75"``.

    Metrics are ``"relative error, <bin>"`` for each of ``BINS``, ``"relative error of harmonic
    fill, <bin>"``, see :func:`relative_error`, and those of :func:`gradient_shares`. A bin with
    hardly any pixels is not tested.

    Returns:
        The records, and for each protocol float32 ``[3, D]``, for distance 1 to D, the last that is
        not too rare: relative error of the model and of the fill, and share of the hidden pixels.
    """
    generator = partial(torch.Generator().manual_seed, mask_seed)
    grid = grid_of(images.batch(slice(1)), model)
    samplers = {"own masks": partial(model.sample_mask, generator=generator()),
                f"ratio {ratio:g}": partial(random_mask, grid=grid, ratio=ratio,
                                            generator=generator())}
    described = {"setting": setting, "seed": seed, "dataset": images.name, "split": split}
    variance = (images.images / 255).var(0).sum(0)
    records, curves = [], {}
    for protocol, sample in samplers.items():
        found = _measure(model, images, sample, generator())
        errors = {"relative error": found.pop("model"), f"relative error of {FILL}":
                  found.pop("fill")}
        distance, about = found.pop("distance"), described | {"protocol": protocol}
        records += _error_records(errors, distance, variance, about) + records_of(found, **about)
        curves[protocol] = _curve(list(errors.values()), distance, variance)
    return [_lean(record) for record in records], curves


def _measure(model, images: ImageSet, sample, generator) -> dict[str, np.ndarray]:
    """Squared errors of model and fill and distances, ``[N, H, W]``; gradient shares ``[N]``."""
    parts = []
    for i in range(0, len(images), BATCH):
        x = images.batch(slice(i, i + BATCH))
        check_images(x)
        mask = sample(len(x))
        result = reconstruct_masked(model, x, mask, paste=False)
        filled = harmonic_fill(x, result.region)
        distance = distance_to_visible(mask, grid_of(x, model), model.config["patch"])
        parts.append({"model": (result.pixels - x).square().sum(1),
                      "fill": (filled - x).square().sum(1), "distance": distance,
                      **gradient_shares(model, x, mask, generator)})
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}


def _error_records(errors: dict, distance: np.ndarray, variance: np.ndarray,
                   about: dict) -> list[EvalRecord]:
    found = []
    for (name, (low, high)), (title, squares) in itertools.product(BINS.items(), errors.items()):
        metric = f"{title}, {name}"
        items = relative_error(squares, distance, variance, low, high)
        found += (records_of({metric: items}, **about) if items is not None else
                  [not_tested(f"hardly any hidden pixel is {name} away from all visible ones",
                              metric=metric, **about)])
    return found


def _curve(errors: list[np.ndarray], distance: np.ndarray, variance: np.ndarray) -> np.ndarray:
    shares = np.bincount(distance.ravel())[1:] / (distance > 0).sum()
    last = int((shares > FEWEST).cumprod().sum())
    found = [[relative_error(e, distance, variance, k, k) for k in range(1, last + 1)]
             for e in errors]
    rows = [[np.nan if items is None else items.mean() for items in row] for row in found]
    return np.array([*rows, shares[:last]], np.float32)


def _lean(record: EvalRecord) -> EvalRecord:
    """Items in half precision, none for what only serves to compare with."""
    if record.items is None or FILL in record.metric or "area" in record.metric:
        return replace(record, items=None)
    return replace(record, items=record.items.astype(np.float16))


def _input_gradient(model, images: Tensor, mask: Mask, pixel: Tensor, grid, patch: int) -> Tensor:
    """Absolute gradient ``[B, H, W]`` of the predicted ``pixel [B]``, its channels added up."""
    images = images.clone().requires_grad_()
    width = grid[1] * patch
    row, column = pixel // width, pixel % width
    place = row // patch * grid[1] + column // patch
    inside = (row % patch * patch + column % patch) * 3
    predicted = model.predict(images, mask)[torch.arange(len(images)), place]
    chosen = predicted.gather(1, inside[:, None] + torch.arange(3))
    return torch.autograd.grad(chosen.sum(), images)[0].abs().sum(1)


def _distance_from(pixel: Tensor, shape: torch.Size) -> Tensor:
    """Chebyshev distance of every pixel from one of each image, ``[B, H, W]``."""
    row, column = pixel // shape[2], pixel % shape[2]
    down = (torch.arange(shape[1]) - row[:, None]).abs()
    across = (torch.arange(shape[2]) - column[:, None]).abs()
    return torch.maximum(down[:, :, None], across[:, None, :])


def _share(mass: Tensor, where: Tensor) -> Tensor:
    return (mass * where).sum((1, 2)) / mass.sum((1, 2)).clamp(min=torch.finfo().tiny)
