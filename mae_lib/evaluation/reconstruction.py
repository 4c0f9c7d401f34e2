"""What a masked autoencoder makes of an image: the read-out of Kong et al. 2023, figure 5, and
the controls it needs.

``reconstruct_unmasked`` is the paper's protocol (appendix C.3): every patch visible. The training
loss never covers visible patches, so this is an untrained read-out, and the further the training
ratio is from 0 the further the model is from what it was trained for. ``reconstruct_complement``
predicts every patch while it is hidden, at one test ratio for all models; ``reconstruct_masked``
scores a model under its own masks.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor

from mae_lib.data.images import check_images
from mae_lib.evaluation.pixels import Reconstruction, grid_of, to_pixels
from mae_lib.models.masks import Mask, mask_from_binary, nothing_hidden


def reconstruct_unmasked(model, images: Tensor) -> Reconstruction:
    """Every patch visible, no mask token anywhere (Kong et al. 2023, figure 5 and C.3)."""
    check_images(images)
    mask = nothing_hidden(len(images), grid_of(images, model))
    return to_pixels(predict(model, images, mask), images, model)


def reconstruct_complement(model, images: Tensor, ratio: float,
                           generator: torch.Generator | None = None) -> Reconstruction:
    """Every patch predicted while hidden, put together from complementary masks.

    Raises:
        ValueError: a ratio without folds, see :func:`complement_folds`; images off.
    """
    check_images(images)
    folds, source = complement_folds(len(images), grid_of(images, model), ratio, generator)
    prediction = predict(model, images, folds[0])
    for k, mask in enumerate(folds[1:], start=1):
        read_here = (source == k).unsqueeze(-1).to(images.device)
        prediction = torch.where(read_here, predict(model, images, mask), prediction)
    return to_pixels(prediction, images, model)


def complement_folds(batch: int, grid: tuple[int, int], ratio: float,
                     generator: torch.Generator | None = None) -> tuple[list[Mask], Tensor]:
    """Masks that hide every patch, and for each patch the fold to read it from, ``[B, L]``.

    Up to one half, 1/ratio folds whose hidden sets partition the grid; above, 1/(1-ratio) folds
    whose visible sets do, and a patch visible in one fold is read from the next: an average over
    all folds that hide it would blur.

    Raises:
        ValueError: ``ratio`` outside (0, 1), or the number of folds is no integer that divides the
            number of patches.
    """
    patches = grid[0] * grid[1]
    part, count = _fold_count(ratio, patches)
    order = torch.rand(batch, patches, generator=generator).argsort(1)
    home = torch.empty_like(order).scatter_(  # the fold whose set a patch belongs to
        1, order, torch.arange(count).repeat_interleave(patches // count).expand(batch, -1))
    if part == "hidden":
        return [mask_from_binary(home == k) for k in range(count)], home
    return [mask_from_binary(home != k) for k in range(count)], (home + 1) % count


def reconstruct_masked(model, images: Tensor, mask: Mask, *, paste: bool) -> Reconstruction:
    """A prediction under one mask an image.

    Args:
        paste: put the visible patches of the original back and score the whole image; otherwise
            ``region`` is set to the hidden pixels. Errors in units of the target are those of the
            hidden patches, clipped fractions those of the whole prediction, either way.

    Raises:
        ValueError: images off; a mask that hides nothing.
    """
    check_images(images)
    if mask.hidden.shape[1] == 0:
        raise ValueError("mask must hide some patches, got one that hides none")
    result = to_pixels(predict(model, images, mask), images, model)
    result = replace(result, target_error=result.target_error.gather(
        1, mask.hidden.to(images.device)))
    region = hidden_pixels(mask, grid_of(images, model), model.config["patch"]).to(images.device)
    if not paste:
        return replace(result, region=region)
    return replace(result, pixels=torch.where(region, result.pixels, images),
                   unclamped=torch.where(region, result.unclamped, images))


def hidden_pixels(mask: Mask, grid: tuple[int, int], patch: int) -> Tensor:
    """Boolean ``[B,1,H,W]``, true where the patch is hidden."""
    cells = mask.binary().bool().unflatten(1, grid).unsqueeze(1)
    return cells.repeat_interleave(patch, 2).repeat_interleave(patch, 3)


@torch.no_grad()
def predict(model, images: Tensor, mask: Mask) -> Tensor:
    """``model.predict`` without gradients, on the model's device, the result on the images'."""
    device = model.encoder.mean.device
    return model.predict(images.to(device), mask.to(device)).to(images)


def _fold_count(ratio: float, patches: int) -> tuple[str, int]:
    if not 0 < ratio < 1:
        raise ValueError(f"ratio must lie in (0, 1), got {ratio}")
    exact = Fraction(str(ratio))
    part = "hidden" if exact <= Fraction(1, 2) else "visible"
    count = 1 / exact if part == "hidden" else 1 / (1 - exact)
    if count.denominator != 1 or patches % count:
        raise ValueError(f"ratio must be 1/k or 1 - 1/k with k a divisor of the {patches} patches, "
                         f"got {ratio}")
    return part, int(count)
