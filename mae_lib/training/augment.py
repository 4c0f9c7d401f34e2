"""Labelled images varied at random: flips, shifts, mixtures of two images and of their labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Augment:
    """What is done to a batch of training images, in this order.

    Args:
        flip: mirror every other image.
        shift: move each image by up to so many pixels each way; the edge is reflected.
        erase: chance that a rectangle of an image (2 % to a third of its area) becomes noise.
        mixup, cutmix: parameters of the Beta distributions that two images are mixed by; 0 leaves
            it out, and of two positive ones each batch takes either (Zhang et al. 2018; Yun et al.
            2019).

    Raises:
        ValueError: a number out of its range.
    """

    flip: bool = False
    shift: int = 0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.erase <= 1:
            raise ValueError(f"erase must lie in [0, 1], got {self.erase}")
        if min(self.shift, self.mixup, self.cutmix) < 0:
            raise ValueError("shift, mixup and cutmix must not be negative, got "
                             f"{self.shift}, {self.mixup} and {self.cutmix}")

    def __call__(self, images: Tensor, targets: Tensor,
                 generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Varied images ``[B,3,H,W]`` and their class probabilities ``[B, K]``, on the CPU."""
        if self.flip:
            images = flipped(images, torch.rand(len(images), generator=generator) < 0.5)
        if self.shift:
            offsets = torch.randint(2 * self.shift + 1, (len(images), 2), generator=generator)
            images = shifted(images, offsets - self.shift)
        if self.erase:
            images = erased(images, self.erase, generator)
        return mixed(images, targets, self.mixup, self.cutmix, generator)


def flipped(images: Tensor, which: Tensor) -> Tensor:
    """Images with those of ``which`` (bool ``[B]``) mirrored."""
    return torch.where(which[:, None, None, None], images.flip(-1), images)


def shifted(images: Tensor, offsets: Tensor) -> Tensor:
    """Pixel (i, j) of an image comes from (i + dy, j + dx) of it; the edge is reflected.

    Args:
        offsets: integer ``[B, 2]`` (dy, dx), each smaller than the image.
    """
    margin = int(offsets.abs().max())
    wide = F.pad(images, (margin,) * 4, mode="reflect")
    height, width = images.shape[2:]
    rows = margin + offsets[:, :1] + torch.arange(height)
    columns = margin + offsets[:, 1:] + torch.arange(width)
    item, channel = torch.arange(len(images))[:, None, None, None], torch.arange(images.shape[1])
    return wide[item, channel[:, None, None], rows[:, None, :, None], columns[:, None, None, :]]


def erased(images: Tensor, chance: float, generator: torch.Generator) -> Tensor:
    """Images of which some have a rectangle of uniform noise (Zhong et al. 2020)."""
    draw = torch.rand(len(images), 5, generator=generator)
    share, aspect = 0.02 + draw[:, 1] * (1 / 3 - 0.02), (10 / 3) ** (2 * draw[:, 2] - 1)
    inside = _rectangles(images, share, aspect, draw[:, 3], draw[:, 4])
    noise = torch.rand(images.shape, generator=generator)
    return torch.where(inside & (draw[:, 0] < chance)[:, None, None, None], noise, images)


def mixed(images: Tensor, targets: Tensor, mixup: float, cutmix: float,
          generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Each image mixed with its mirror place in the batch, and the labels by the same shares."""
    if not (mixup or cutmix):
        return images, targets
    if mixup and cutmix:
        either = torch.rand((), generator=generator) < 0.5
        mixup, cutmix = (mixup, 0.0) if either else (0.0, cutmix)
    share = _beta(mixup or cutmix, generator)
    if cutmix:
        draw = torch.rand(2, len(images), generator=generator)
        ones = torch.ones(len(images))
        pasted = _rectangles(images, (1 - share) * ones, ones, *draw)
        images = torch.where(pasted, images.flip(0), images)
        kept = 1 - pasted.float().mean((1, 2, 3))[:, None]
        return images, kept * targets + (1 - kept) * targets.flip(0)
    return (share * images + (1 - share) * images.flip(0),
            share * targets + (1 - share) * targets.flip(0))


def _rectangles(images: Tensor, share: Tensor, aspect: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """bool ``[B,1,H,W]``: rectangles of given area and aspect that lie inside the image."""
    height, width = images.shape[2:]
    tall = (height * (share * aspect).sqrt()).round().clamp(max=height)
    wide = (width * (share / aspect).sqrt()).round().clamp(max=width)
    top, left = (y * (height - tall + 1)).floor(), (x * (width - wide + 1)).floor()
    row, column = torch.arange(height), torch.arange(width)
    inside_y = (row >= top[:, None]) & (row < (top + tall)[:, None])
    inside_x = (column >= left[:, None]) & (column < (left + wide)[:, None])
    return (inside_y[:, :, None] & inside_x[:, None, :])[:, None]


def _beta(alpha: float, generator: torch.Generator) -> float:
    """A draw of Beta(alpha, alpha); PyTorch's own takes no generator."""
    seed = torch.randint(2**62, (), generator=generator).item()
    return np.random.default_rng(seed).beta(alpha, alpha)
