"""How far two batches of images are apart, one number an image.

SSIM: Wang et al. 2004; FSIM and its colour form FSIMc: Zhang et al. 2011; both computed by piq,
behind our own checks, since piq's are asserts. Structural metrics look at windows of 11 pixels and
at wavelengths of 6 to 48 pixels: values at 32 and at 224 pixels are on different scales.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import piq
import torch
from torch import Tensor

from mae_lib.data.images import check_images

CHUNK = 64  # images at a time: FSIM's filter responses of more fall out of the CPU's cache

_ssim = partial(piq.ssim, data_range=1.0, reduction="none")
_fsim = partial(piq.fsim, data_range=1.0, reduction="none")
# name -> (function, smallest side in pixels). ssim7 and fsimc3 are sensitivity checks for small
# images: at 32 pixels half of the positions have no full 11-pixel window, and the fourth scale of
# FSIM lies beyond the lowest frequency.
STRUCTURAL = {
    "ssim": (_ssim, 11),
    "ssim7": (partial(_ssim, kernel_size=7), 7),
    "fsim": (partial(_fsim, chromatic=False), 28),
    "fsimc": (partial(_fsim, chromatic=True), 28),
    "fsimc3": (partial(_fsim, chromatic=True, scales=3), 28),
}
PIXEL = ("psnr", "mse")
PRIMARY = ("ssim", "fsimc", "psnr", "mse")


def image_metrics(x: Tensor, y: Tensor, which: Sequence[str] = PRIMARY,
                  region: Tensor | None = None) -> dict[str, Tensor]:
    """Metrics between originals and reconstructions, ``{name: [B]}``.

    Args:
        x, y: ``[B,3,H,W]`` in [0, 1].
        which: any of ssim, ssim7, fsim, fsimc, fsimc3, psnr (dB, at most 80), mse.
        region: boolean ``[B,1,H,W]``, the pixels to compare; for psnr and mse only.

    Raises:
        ValueError: unknown metric; images off range, of unequal shape or too small; a region with
            a structural metric, or one that is empty for some image.
        TypeError: integer images.
    """
    _check(x, y, which, region)
    x, y = x.clamp(0, 1), y.clamp(0, 1)
    error = squared_error(x, y, region)
    values = {"mse": error, "psnr": psnr(error)}
    return {name: values[name] if name in PIXEL else _chunked(STRUCTURAL[name][0], x, y)
            for name in which}


def psnr(mse: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of a mean squared error in [0, 1] units; 80 at error 0."""
    return -10 * torch.log10(mse + 1e-8)


def squared_error(x: Tensor, y: Tensor, region: Tensor | None = None) -> Tensor:
    """Mean squared difference of each image, ``[B]``, over all channels and the region's pixels."""
    squares = (x - y).square().mean(1, keepdim=True)
    if region is None:
        return squares.flatten(1).mean(1)
    return (squares * region).flatten(1).sum(1) / region.flatten(1).sum(1)


def _chunked(metric, x: Tensor, y: Tensor) -> Tensor:
    return torch.cat([metric(a, b) for a, b in zip(x.split(CHUNK), y.split(CHUNK), strict=True)])


def _check(x: Tensor, y: Tensor, which: Sequence[str], region: Tensor | None) -> None:
    check_images(x)
    check_images(y)
    if x.shape != y.shape:
        raise ValueError(f"x and y must have one shape, got {list(x.shape)} and {list(y.shape)}")
    for name in which:
        _check_metric(name, min(x.shape[2:]), region)
    if region is not None:
        _check_region(region, x)


def _check_metric(name: str, side: int, region: Tensor | None) -> None:
    if name in PIXEL:
        return
    if name not in STRUCTURAL:
        raise ValueError(f"which must name {', '.join([*STRUCTURAL, *PIXEL])}, got {name!r}")
    if side < STRUCTURAL[name][1]:
        raise ValueError(f"{name} needs images of at least {STRUCTURAL[name][1]} pixels a side, "
                         f"got {side}")
    if region is not None:
        raise ValueError(f"region is for {' and '.join(PIXEL)} only (paste the visible patches "
                         f"for structural metrics), got it with {name}")


def _check_region(region: Tensor, x: Tensor) -> None:
    expected = [len(x), 1, *x.shape[2:]]
    if region.dtype != torch.bool or list(region.shape) != expected:
        raise ValueError(f"region must be boolean of shape {expected}, "
                         f"got {region.dtype} of shape {list(region.shape)}")
    if not region.flatten(1).any(1).all():
        raise ValueError("region must hold a pixel of every image, got an empty one")
