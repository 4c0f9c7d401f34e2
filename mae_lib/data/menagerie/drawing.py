"""Drawing: latents to bytes, in chunks, with masks, part maps, boxes and ink on request."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mae_lib.data.images import ImageSet, fingerprint

from .latents import LATENTS, Latents, Stream, check_fixed, draw_backdrop, draw_object, mix
from .tables import CLASSES, RENDITIONS, setting

SMALLEST = 16  # pixels a side
PROBE = 64  # images whose bytes enter a fingerprint


@dataclass(frozen=True, eq=False)
class Menagerie:
    """Pictures with everything that is known about them.

    Attributes:
        images: uint8 ``[N, 3, S, S]``.
        latents: name -> array with first axis N; `LATENTS` has their levels and parents. Those of
            the parts are in image coordinates (half a side = 1, y down), angles in degrees.
        parts: uint8 ``[N, S, S]``, 0 where no part shows, else 1 + its place in the template.
        ink: float32 ``[N, S, S]``, strength of the outlines in [0, 1].
    """

    images: np.ndarray
    latents: Latents
    parts: np.ndarray
    ink: np.ndarray
    name: str
    fingerprint: str

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> np.ndarray:
        """Class of every image, int64 ``[N]``."""
        return self.latents["class"]

    @property
    def masks(self) -> np.ndarray:
        """Where the object shows, bool ``[N, S, S]``."""
        return self.parts > 0

    @property
    def boxes(self) -> np.ndarray:
        """Tight hulls of the masks, see `boxes_of`."""
        return boxes_of(self.masks)

    def image_set(self) -> ImageSet:
        """The pictures and their classes, for training."""
        return ImageSet(self.images, self.labels, CLASSES, self.name, self.fingerprint)


def menagerie(split: str = "train", n: int = 1000, size: int = 32, preset: str = "medium32", *,
              start: int = 0, seed: int | None = None, **changes) -> ImageSet:
    """Images ``start`` to ``start + n`` of a split, with their classes.

    Args:
        split: one of `SPLITS`: train, val, test, v2, objectnet, R, hard, sketch, ...
        n: how many, at least 1.
        size: side in pixels, at least 16.
        preset: one of `PRESETS`; the split's own changes have the last word over it.
        seed: None (or 0) is the published world; any other number a world with the same splits and
            other images. No two splits share a stream.
        changes: settings of the tables to change, for example ``rho_t=0.0``.

    Raises:
        ValueError: an argument out of range or a name that is not known.
    """
    return draw(split, n, size, preset, start=start, seed=seed, keep=False, **changes).image_set()


def draw(split: str = "train", n: int = 1000, size: int = 32, preset: str = "medium32", *,
         start: int = 0, seed: int | None = None, fixed: Mapping | None = None, keep: bool = True,
         **changes) -> Menagerie:
    """As `menagerie`, with latents, part maps and ink.

    Args:
        fixed: latents to set by hand, name -> one value or one an image; the rest are drawn as
            ever, so this is an intervention.
        keep: False leaves part maps and ink out (empty arrays), which saves memory.
    """
    chosen, stream = request(split, n, size, preset, start, seed, fixed, changes)
    subject = draw_object(stream, chosen)
    backdrop = draw_backdrop(stream, chosen, subject["superclass"])
    images, marks, ink = render([subject], backdrop, chosen, pixel_keys(stream), size, keep)
    return Menagerie(images, describe(subject, backdrop), marks, ink, f"menagerie {preset} {split}",
                     identity(images, stream, chosen))


def request(split, n, size, preset, start=0, seed=None, fixed=None,
            changes=None) -> tuple[dict, Stream]:
    """Checked setting and stream of a request; arguments as in `draw`."""
    chosen, seed = setting(split, preset, **(changes or {})), 0 if seed is None else seed
    for name, value, least in (("n", n, 1), ("size", size, SMALLEST), ("start", start, 0),
                               ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    if seed >= 2**50 or start + n >= 2**63:
        raise ValueError(f"seed and start must stay below 2**50 and 2**63, got {seed} and {start}")
    check_fixed(fixed or {})
    index = np.arange(start, start + n, dtype=np.uint64)
    return chosen, Stream(chosen["seed"] + 1000 * int(seed), index, dict(fixed or {}))


def identify(split: str = "train", n: int = 1000, size: int = 32, preset: str = "medium32", *,
             start: int = 0, seed: int | None = None, **changes) -> str:
    """Fingerprint of the set that `menagerie` would give, from its first images alone."""
    chosen, stream = request(split, n, size, preset, start, seed, None, changes)
    first = menagerie(split, min(n, PROBE), size, preset, start=start, seed=seed, **changes)
    return identity(first.images, stream, chosen)


def pixel_keys(stream: Stream) -> np.ndarray:
    """Key of every image's pixel noise, uint64 ``[N]``."""
    return mix(stream.bits("pixels"))


def render(objects: Sequence[Latents], backdrop: Latents, chosen: Mapping, keys: np.ndarray,
           size: int, keep: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bytes ``[N,3,S,S]``, marks uint8 and ink float32 ``[N,S,S]`` (empty unless ``keep``)."""
    n, step = len(keys), max(1, 2**19 // size**2)
    images = np.empty((n, 3, size, size), np.uint8)
    kept = n if keep else 0
    marks, ink = np.empty((kept, size, size), np.uint8), np.empty((kept, size, size), np.float32)
    for first in range(0, n, step):
        some = slice(first, first + step)
        parts = [{name: value[some] for name, value in found.items()}
                 for found in (backdrop, *objects)]
        some_marks, some_ink = _render_chunk(parts[1:], parts[0], chosen, keys[some], images[some])
        if keep:
            marks[some], ink[some] = some_marks, some_ink
    return images, marks, ink


def _render_chunk(objects, backdrop, chosen, keys, images):
    from . import raster  # numba: only when something is drawn
    from .compose import compose

    n, size = len(images), images.shape[-1]
    canvas, ink = np.empty((n, 3, size, size)), np.empty((n, size, size))
    marks = np.empty((n, size, size), np.uint8)
    raster.paint(*compose(objects, backdrop, chosen["clutter"]), canvas, ink, marks)
    ambient, noise = backdrop["ambient"].copy(), backdrop["noise"].copy()
    _restyle(chosen["style"], backdrop["rendition"], canvas, ink, marks, ambient, noise)
    raster.develop(canvas, ambient, noise, keys, images)
    return marks, ink


def _restyle(style, rendition, canvas, ink, marks, ambient, noise) -> None:
    """Renditions of the pictures in place; what is drawn by hand has no sensor noise."""
    from .style import restyle

    names = [style] if style != "renditions" else RENDITIONS
    for number, name in enumerate(names):
        chosen = rendition == number if style == "renditions" else np.ones(len(ink), bool)
        if name == "plain" or not chosen.any():
            continue
        lit = canvas[chosen] * ambient[chosen][:, None, None, None]
        canvas[chosen] = restyle(name, lit, ink[chosen], marks[chosen])
        ambient[chosen], noise[chosen] = 1.0, 0.0


def describe(subject: Latents, backdrop: Latents) -> Latents:
    """Latents as they are handed out: parts in image coordinates."""
    from .compose import part_frames

    frames, centre = part_frames(subject)
    size = np.sqrt((frames * frames).sum(-2))
    sign = 1.0 - 2.0 * subject["mirror"][:, None]
    angle = subject["rotation"][:, None] + sign * subject["part_angle"]
    placed = {"part_centre": centre, "part_size": size, "part_angle": angle}
    return {name: (subject | backdrop | placed)[name] for name in LATENTS}


def boxes_of(masks: np.ndarray) -> np.ndarray:
    """Tight hulls (left, top, right, bottom) of bool ``[N, S, S]``, int64 ``[N, 4]``.

    Right and bottom are one past the last pixel; an empty mask has the box 0, 0, 0, 0.
    """
    boxes = np.zeros((len(masks), 4), np.int64)
    for low, axis in ((0, 1), (1, 2)):
        line = masks.any(axis=axis)
        boxes[:, low] = line.argmax(1)
        boxes[:, low + 2] = line.shape[1] - line[:, ::-1].argmax(1)
    return boxes * masks.any(axis=(1, 2))[:, None]


def identity(images: np.ndarray, stream: Stream, chosen: Mapping) -> str:
    """Fingerprint of a set: its settings, its stream, and the bytes of its first images.

    The bytes stand in for the version of the generator: code that draws otherwise gets another
    fingerprint, and code that was merely rewritten keeps it.
    """
    settings = {name: value for name, value in sorted(chosen.items())}
    where = [stream.seed, int(stream.index[0]), len(stream.index), *images.shape[1:]]
    fixed = {name: np.asarray(value).tolist() for name, value in sorted(stream.fixed.items())}
    return fingerprint("menagerie", json.dumps([settings, where, fixed]), images[:PROBE].tobytes())
