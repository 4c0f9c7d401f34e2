"""Views of a picture: the fixed ones of evaluation and the random ones of training.

Pixels are computed by torchvision on Pillow's pictures, bicubic, as He et al.'s code does. Only the
random numbers are drawn here, so that a view is a function of (picture, seed) and of nothing else.
The ``repr`` of a view says all that matters and enters the fingerprint of a set.
"""

from __future__ import annotations

import contextlib
import functools
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torchvision.transforms import functional as F
from torchvision.transforms.functional import InterpolationMode

from mae_lib.data.files.crops import check_scale, crop_box, loop_free_box
from mae_lib.data.files.decoding import BadImage

FILL = (124, 116, 104)  # ImageNet's mean: where RandAugment moves a picture away
_GLOBAL = threading.Lock()  # RandAugment draws from generators that the whole process shares


@dataclass(frozen=True)
class CentreView:
    """The official view of evaluation: shorter side to ``resize``, then the central square.

    Args:
        size: side of the view in pixels.
        resize: of the shorter side; ``size * 256 // 224`` if None, which is 256 for 224.
        border: pixels cut off each side beforehand: 2 for ObjectNet, as its own loader does.
    """

    size: int = 224
    resize: int | None = None
    border: int = 0

    def __post_init__(self) -> None:
        _check_size(self.size)
        if self.resize is not None and self.resize < self.size:
            raise ValueError(f"resize must be at least size {self.size}, got {self.resize}")

    def __call__(self, picture: Image.Image, seed: int | None = None) -> Image.Image:
        picture = without_border(picture, self.border)
        shorter = self.resize or self.size * 256 // 224
        return F.center_crop(F.resize(picture, shorter, InterpolationMode.BICUBIC), self.size)


@dataclass(frozen=True)
class WholeView:
    """The whole picture as a square, each side resized by itself; a picture of that size stays as
    it is, to the last bit.

    Args:
        original: side of the square that every picture must be; any shape if None.
    """

    size: int = 224
    original: int | None = None

    def __post_init__(self) -> None:
        _check_size(self.size)

    def __call__(self, picture: Image.Image, seed: int | None = None) -> Image.Image:
        if self.original is not None and picture.size != (self.original, self.original):
            raise BadImage(f"should be a picture of {self.original}x{self.original} pixels, "
                           f"but is one of {picture.height}x{picture.width}")
        return F.resize(picture, [self.size, self.size], InterpolationMode.BICUBIC)


@dataclass(frozen=True)
class RandomView:
    """A random crop, resized to a square, mirrored every other time.

    Args:
        size: side of the view in pixels.
        scale: least and largest share of the picture's area.
        loop_free: draw once and cut the crop to the picture (He et al.'s linear probe), instead of
            drawing again until it fits (torchvision).
        augment: of RandAugment in timm's notation, "rand-m9-mstd0.5-inc1" for example; None for
            none.
    """

    size: int = 224
    scale: tuple[float, float] = (0.2, 1.0)
    loop_free: bool = False
    augment: str | None = None

    def __post_init__(self) -> None:
        _check_size(self.size)
        check_scale(self.scale)
        if self.augment is not None:
            _randaugment(self.augment, self.size)

    def __call__(self, picture: Image.Image, seed: int) -> Image.Image:
        draws = np.random.default_rng(seed)
        if self.loop_free:
            box = loop_free_box(picture.height, picture.width, draws.random(4), self.scale)
        else:
            box = crop_box(picture.height, picture.width, draws.random, self.scale)
        view = F.resized_crop(picture, *box, [self.size, self.size], InterpolationMode.BICUBIC)
        view = F.hflip(view) if draws.random() < 0.5 else view
        if self.augment is None:
            return view
        with _seeded(int(draws.integers(2**32))):
            return _randaugment(self.augment, self.size)(view)


View = CentreView | WholeView | RandomView


def pretraining_view(size: int = 224) -> RandomView:
    """Of MAE's pretraining (He et al. 2022, appendix A.1)."""
    return RandomView(size, (0.2, 1.0))


def probing_view(size: int = 224) -> RandomView:
    """Of MAE's linear probe: the crop of :func:`mae_lib.data.files.crops.loop_free_box`."""
    return RandomView(size, (0.08, 1.0), loop_free=True)


def finetuning_view(size: int = 224) -> RandomView:
    """Of MAE's fine-tuning. Erasing, mixup and cutmix come after it, on whole batches:
    :class:`mae_lib.training.augment.Augment`, where ``flip`` is then not needed."""
    return RandomView(size, (0.08, 1.0), augment="rand-m9-mstd0.5-inc1")


def without_border(picture: Image.Image, border: int) -> Image.Image:
    """A picture without its outermost ``border`` pixels on each side."""
    if not border:
        return picture
    width, height = picture.size
    if min(width, height) <= 2 * border:
        raise BadImage(f"has {height}x{width} pixels, nothing but its border of {border}")
    return picture.crop((border, border, width - border, height - border))


@functools.cache
def _randaugment(config: str, size: int) -> Callable[[Image.Image], Image.Image]:
    from timm.data.auto_augment import rand_augment_transform

    try:
        made = rand_augment_transform(config, {"translate_const": int(size * 0.45),
                                               "img_mean": FILL, "interpolation": Image.BICUBIC})
    except (AssertionError, ValueError, KeyError, IndexError) as error:
        raise ValueError("augment must be RandAugment in timm's notation, like "
                         f"'rand-m9-mstd0.5-inc1', got {config!r}") from error
    for op in made.ops:
        if op.name.startswith("Posterize"):
            op.level_fn = _at_least_one_bit(op.level_fn)
    return made


def _at_least_one_bit(level_fn: Callable) -> Callable:
    """At the highest levels timm keeps no bit of a colour, which Pillow 13 refuses."""
    return lambda level, hparams: (max(1, level_fn(level, hparams)[0]),)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Python's and NumPy's global generators in a known state, and afterwards as they were."""
    with _GLOBAL:
        before = random.getstate(), np.random.get_state()
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])


def _check_size(size: int) -> None:
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
