"""Cue conflict (after Geirhos et al. 2019): the shape of one class in the coat of another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mae_lib.data.images import ImageSet

from .drawing import describe, identity, pixel_keys, render, request
from .latents import Latents, Stream, draw_backdrop, draw_object
from .tables import (
    CLASSES,
    PARTS,
    PREFERRED_TEXTURE,
    TEXTURES,
    column,
    member,
    templates,
)

CUES = ("texture", "coat")
SHOWN = ("both", "shape", "texture")


@dataclass(frozen=True, eq=False)
class CueConflict:
    """Pictures with two labels each.

    Attributes:
        images: uint8 ``[N, 3, S, S]``.
        shapes, textures: class of the shape and of the coat, int64 ``[N]``.
        latents, parts: as in `Menagerie`.
    """

    images: np.ndarray
    shapes: np.ndarray
    textures: np.ndarray
    latents: Latents
    parts: np.ndarray
    name: str
    fingerprint: str

    def __len__(self) -> int:
        return len(self.images)

    def image_set(self) -> ImageSet:
        """The pictures labelled by shape."""
        return ImageSet(self.images, self.shapes, CLASSES, self.name, self.fingerprint)


def cue_conflict(n: int = 1280, size: int = 32, preset: str = "medium32", *, cue: str = "texture",
                 shown: str = "both", congruent: bool = False, start: int = 0,
                 seed: int | None = None, **changes) -> CueConflict:
    """Images whose shape says one class and whose coat says another.

    Args:
        cue: "texture": the class's preferred texture; "coat": that and a hue of its own, which is
            harder to overlook.
        shown: "both" cues; "shape" alone, in a flat colour; "texture" alone, filling the frame.
        congruent: shape and coat of one class, as a probe is trained on.

    The biome says nothing here. Other arguments and errors as in `menagerie`.
    """
    member("cue", cue, CUES)
    member("shown", shown, SHOWN)
    chosen, stream = request("conflict", n, size, preset, start, seed, None,
                             {"rho_b": 0.0} | changes)
    shapes, textures = _pair(stream, congruent)
    stream = Stream(stream.seed, stream.index, _fixed(stream, shapes, textures, cue, shown))
    subject = draw_object(stream, chosen)
    if shown == "texture":
        subject |= _fill(subject)
    backdrop = draw_backdrop(stream, chosen, subject["superclass"])
    images, marks, _ = render([subject], backdrop, chosen, pixel_keys(stream), size)
    return CueConflict(images, shapes, textures, describe(subject, backdrop), marks,
                       f"menagerie {preset} {cue} conflict",
                       identity(images, stream, chosen | {"shown": shown}))


def hue_of(texture: np.ndarray) -> np.ndarray:
    """Hue that goes with a texture in a coat, [0, 1): evenly spread and told apart from it."""
    return (7 * texture % TEXTURES) / TEXTURES


def _pair(stream: Stream, congruent: bool) -> tuple[np.ndarray, np.ndarray]:
    shapes = stream.choice("shape of the pair", len(CLASSES))
    other = 1 + stream.choice("texture of the pair", len(CLASSES) - 1)
    return shapes, shapes if congruent else (shapes + other) % len(CLASSES)


def _fixed(stream: Stream, shapes, textures, cue: str, shown: str) -> dict:
    fixed = {"class": shapes, "texture": PREFERRED_TEXTURE[textures]}
    if cue == "coat" and shown != "shape":
        fixed["hue"] = hue_of(fixed["texture"]) + 0.02 * stream.between("hue jitter", -1, 1)
    if shown == "shape":
        fixed["texture_contrast"] = 0.0
    return fixed


def _fill(subject: Latents) -> Latents:
    """The textured part alone, so large that it covers the frame."""
    textured = templates()[subject["class"]][:, :, column("textured")]
    only = np.arange(PARTS) == textured.argmax(1)[:, None]
    size = np.where(only[..., None], 16.0 / subject["scale"][:, None, None], 1.0)
    return {"parts": only, "part_size": np.broadcast_to(size, (*only.shape, 2)).copy(),
            "part_centre": np.zeros((*only.shape, 2))}
