"""Random views of images: crops, colours, pasted rectangles, as numbers with a row an image.

The numbers are drawn on the CPU from a generator, like masks; the views are computed on whole
batches where the model is, with static shapes, so that a compiled step is compiled once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mae_lib.data.files.crops import ASPECTS, check_scale

GREY = (0.2989, 0.587, 0.114)  # of torchvision's grayscale
CHANCE_OF_COLOUR, CHANCE_OF_GREY = 0.8, 0.2
STRENGTH = (0.4, 0.4, 0.4, 0.1)  # brightness, contrast, saturation, hue


class Drawn(NamedTuple):
    """Of each image and view: crop ``[B,V,5]``, colour ``[B,V,5]`` and rectangle ``[B,V,4]``.

    What is not asked for has no numbers: its last axis is empty.
    """

    crop: Tensor
    colour: Tensor
    rectangle: Tensor


@dataclass(frozen=True)
class Augmentation:
    """Which random changes a view is made with, in this order.

    Args:
        crop: a part of the image as large as the image, mirrored every other time (MAE's and MoCo
            v3's first step).
        cutmix: a rectangle of the image at the mirror place in the batch is pasted in (Yun et al.
            2019), its share of the area uniform in [0, 1).
        colour: brightness, contrast, saturation and hue change with chance .8, and a fifth of the
            images turns grey: SimSiam's numbers, in this fixed order.
        scale: least and largest share of the image's area in a crop.
        aspects: least and largest width by height of a crop.

    Raises:
        ValueError: shares that are not 0 < least <= largest <= 1.
    """

    crop: bool = False
    cutmix: bool = False
    colour: bool = False
    scale: tuple[float, float] = (0.2, 1.0)
    aspects: tuple[float, float] = ASPECTS

    def __post_init__(self) -> None:
        check_scale(self.scale)

    def draw(self, batch: int, views: int, generator: torch.Generator | None = None) -> Drawn:
        """Numbers for ``views`` views of each image."""
        def uniform(count: int) -> Tensor:
            return torch.rand(batch, views, count, generator=generator)

        empty = torch.empty(batch, views, 0)
        return Drawn(_crops(uniform(5), self.scale, self.aspects) if self.crop else empty,
                     _colours(uniform(6)) if self.colour else empty,
                     _rectangles(uniform(3)) if self.cutmix else empty)

    def placed(self, images: Tensor, drawn: Drawn, view: int) -> Tensor:
        """The crop alone, ``[B,3,H,W]``: what the other changes are made to."""
        return cropped(images, drawn.crop[:, view]) if self.crop else images

    def painted(self, images: Tensor, drawn: Drawn, view: int) -> Tensor:
        """Images with pasted rectangles and other colours, ``[B,3,H,W]`` in [0, 1]."""
        if self.cutmix:
            images = pasted(images, drawn.rectangle[:, view])
        return recoloured(images, drawn.colour[:, view]) if self.colour else images

    def __call__(self, images: Tensor, drawn: Drawn, view: int) -> Tensor:
        """One view of each image, ``[B,3,H,W]`` in [0, 1]."""
        return self.painted(self.placed(images, drawn, view), drawn, view)


def cropped(images: Tensor, box: Tensor) -> Tensor:
    """A rectangle of each image at the size of the image, bilinear without antialiasing.

    Args:
        box: ``[B,5]``: top, left, height, width in shares of the image's sides, and whether it is
            mirrored (0 or 1).
    """
    top, left, height, width, mirrored = box.unbind(1)
    rows = _interpolation(images.shape[2], top, height)
    columns = _interpolation(images.shape[3], left, width)
    columns = torch.where(mirrored[:, None, None] > 0, columns.flip(1), columns)
    with torch.autocast(images.device.type, enabled=False):  # pixels would be rounded
        return rows[:, None] @ images @ columns[:, None].transpose(2, 3)


def recoloured(images: Tensor, colour: Tensor) -> Tensor:
    """Images in [0, 1] in other colours, as torchvision's functions compute them one by one.

    Args:
        colour: ``[B,5]``: factors of brightness, contrast and saturation, shift of the hue in
            turns, and whether the image is made grey (0 or 1).
    """
    bright, contrast, saturation, hue, grey = colour[:, :, None, None, None].unbind(1)
    x = (images * bright).clamp(0, 1)
    x = _blend(x, _grey(x).mean((2, 3), keepdim=True), contrast)
    x = _blend(x, _grey(x), saturation)
    x = _turned(x, hue)
    return torch.where(grey > 0, _grey(x).expand_as(x), x)


def pasted(images: Tensor, rectangle: Tensor) -> Tensor:
    """Images with a rectangle of the image at the mirror place in the batch.

    Args:
        rectangle: ``[B,4]``: top, left, height, width in shares of the image's sides.
    """
    top, left, height, width = rectangle[:, :, None, None, None].unbind(1)
    row, column = (_centres(side, images.device) for side in images.shape[2:])
    inside = ((row[:, None] >= top) & (row[:, None] < top + height)
              & (column >= left) & (column < left + width))
    return torch.where(inside, images.flip(0), images)


def _crops(draw: Tensor, scale: tuple[float, float], aspects: tuple[float, float]) -> Tensor:
    """Area uniform in ``scale``, aspect log-uniform in ``aspects``, sides cut to the image's."""
    area = scale[0] + (scale[1] - scale[0]) * draw[..., 0]
    aspect = aspects[0] * (aspects[1] / aspects[0]) ** draw[..., 1]
    height, width = (area / aspect).sqrt().clamp(max=1), (area * aspect).sqrt().clamp(max=1)
    top, left = draw[..., 2] * (1 - height), draw[..., 3] * (1 - width)
    return torch.stack([top, left, height, width, (draw[..., 4] < 0.5).float()], -1)


def _colours(draw: Tensor) -> Tensor:
    strength = torch.tensor(STRENGTH)
    change = (2 * draw[..., :4] - 1) * strength * (draw[..., 4:5] < CHANCE_OF_COLOUR)
    same = torch.tensor([1.0, 1.0, 1.0, 0.0])
    return torch.cat([same + change, (draw[..., 5:] < CHANCE_OF_GREY).float()], -1)


def _rectangles(draw: Tensor) -> Tensor:
    side = draw[..., 0].sqrt()
    return torch.stack([draw[..., 1] * (1 - side), draw[..., 2] * (1 - side), side, side], -1)


def _interpolation(side: int, start: Tensor, length: Tensor) -> Tensor:
    """Weights ``[B, side, side]`` that resize a stretch of each image's rows to all of them."""
    place = torch.arange(side, device=start.device)
    source = (start[:, None] + length[:, None] * _centres(side, start.device)) * side - 0.5
    return (1 - (source.clamp(0, side - 1)[..., None] - place).abs()).clamp(min=0)


def _centres(side: int, device) -> Tensor:
    return (torch.arange(side, device=device) + 0.5) / side


def _blend(x: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (factor * x + (1 - factor) * other).clamp(0, 1)


def _grey(x: Tensor) -> Tensor:
    return (x * x.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True)


def _turned(x: Tensor, hue: Tensor) -> Tensor:
    """Colours turned around the axis of greys, value and saturation (HSV) staying as they are."""
    red, green, blue = x.unbind(1)
    value, least = x.amax(1), x.amin(1)
    spread = value - least
    whole = torch.where(spread > 0, spread, torch.ones_like(spread))
    sector = torch.where(value == red, (green - blue) / whole,
                         torch.where(value == green, 2 + (blue - red) / whole,
                                     4 + (red - green) / whole))
    turned = sector / 6 + hue.squeeze(1)
    shift = x.new_tensor([5.0, 3.0, 1.0])[:, None, None]
    place = (shift + 6 * turned[:, None]).remainder(6)
    return value[:, None] - spread[:, None] * torch.minimum(place, 4 - place).clamp(0, 1)
