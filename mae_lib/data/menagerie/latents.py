"""Latents of the Menagerie: each a pure function of (seed, index of the image, its name).

A counter-based hash stands in for a random stream, so an image can be drawn alone, in any batch and
on any machine. Only sums, products, comparisons and table look-ups touch the numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .tables import (
    BIOMES,
    CLASSES,
    PARTS,
    PREFERRED_BIOME,
    PREFERRED_TEXTURE,
    RENDITIONS,
    SUPERCLASSES,
    TABLES,
    TEXTURES,
    column,
    member,
    templates,
)

Latents = dict[str, np.ndarray]


class Latent(NamedTuple):
    """Level of a latent (4 highest, 1 lowest) and the latents it is drawn from."""

    level: int
    parents: tuple[str, ...] = ()


_POSE = ("x", "y", "scale", "rotation", "mirror", "aspect")
LATENTS: dict[str, Latent] = {
    "superclass": Latent(4),
    "class": Latent(4, ("superclass",)),
    "biome": Latent(3, ("superclass",)),
    "texture": Latent(3, ("class",)),
    "parts": Latent(3, ("class",)),
    **{name: Latent(3) for name in (*_POSE, "articulation", "boxiness")},
    **{name: Latent(3) for name in ("hue", "scheme", "saturation", "value")},
    "part_centre": Latent(2, ("class", "articulation", *_POSE)),
    "part_size": Latent(2, ("class", "scale", "aspect")),
    "part_angle": Latent(2, ("class", "articulation", "rotation", "mirror")),
    "sky": Latent(2, ("biome",)),
    "horizon": Latent(2),
    "hills": Latent(2),
    "ground": Latent(2, ("biome",)),
    "texture_phase": Latent(1),
    "texture_frequency": Latent(1),  # a factor; the texture id brings the frequency itself
    "texture_contrast": Latent(1),
    "texture_tone": Latent(1),
    "ground_texture": Latent(1),
    "light": Latent(1),
    "ambient": Latent(1),
    "clutter": Latent(1),
    "rendition": Latent(1),
    "noise": Latent(1),
}

# What a caller may set by hand, and how many values the discrete ones have.
FIXABLE = tuple(name for name in LATENTS if not name.startswith("part_"))
COUNTS = {"superclass": len(SUPERCLASSES), "class": len(CLASSES), "biome": len(BIOMES),
          "texture": TEXTURES, "mirror": 2, "scheme": len(TABLES["schemes"]), "texture_tone": 2,
          "rendition": len(RENDITIONS)}

_GOLDEN, _ODD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)


def mix(z: np.ndarray) -> np.ndarray:
    """Bijective scrambling of uint64 (the finaliser of SplitMix64, Steele et al. 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@dataclass(frozen=True)
class Stream:
    """Draws for the images ``index`` (uint64 ``[N]``) of a seed; ``fixed`` values replace draws.

    ``prefix`` tells the objects of one image apart.
    """

    seed: int
    index: np.ndarray
    fixed: Mapping[str, object] = field(default_factory=dict)
    prefix: str = ""

    def bits(self, name: str, *shape: int) -> np.ndarray:
        """uint64 ``[N, *shape]``, a hash of seed, index, name and place."""
        digest = hashlib.sha256((self.prefix + name).encode()).digest()[:8]
        key = np.array([self.seed, int.from_bytes(digest, "little")], dtype=np.uint64)
        key = mix(mix(key[:1] + _GOLDEN) ^ key[1:])
        rows = mix(self.index * _GOLDEN + key)
        place = np.arange(1, int(np.prod(shape, dtype=np.int64)) + 1, dtype=np.uint64) * _ODD
        return mix(rows[:, None] + place).reshape(len(self.index), *shape)

    def unit(self, name: str, *shape: int) -> np.ndarray:
        """Uniform in [0, 1), float64 ``[N, *shape]``."""
        return (self.bits(name, *shape) >> np.uint64(11)) * 2.0**-53

    def between(self, name: str, low: float, high: float, *shape: int) -> np.ndarray:
        """Uniform in [low, high), unless the latent is fixed."""
        drawn = low + (high - low) * self.unit(name, *shape)
        return self.given(name, drawn)

    def ranged(self, name: str, *shape: int) -> np.ndarray:
        """Uniform in the range that the tables give for the name."""
        return self.between(name, *TABLES["ranges"][name], *shape)

    def scaled(self, name: str, factor: float) -> np.ndarray:
        """``factor`` times a draw in the range of the tables, unless the latent is fixed."""
        low, high = TABLES["ranges"][name]
        return self.given(name, factor * (low + (high - low) * self.unit(name)))

    def choice(self, name: str, count: int) -> np.ndarray:
        """int64 in ``range(count)``, unless the latent is fixed."""
        return self.given(name, np.floor(count * self.unit(name)).astype(np.int64))

    def given(self, name: str, drawn: np.ndarray) -> np.ndarray:
        """The fixed value of a latent where there is one, else the draw."""
        if name not in self.fixed:
            return drawn
        value = np.asarray(self.fixed[name], drawn.dtype)
        try:
            return np.broadcast_to(value, drawn.shape).copy()
        except ValueError:
            raise ValueError(f"fixed {name} must fit the shape {list(drawn.shape)}, "
                             f"got {list(value.shape)}") from None


def check_fixed(fixed: Mapping) -> None:
    """ValueError unless the latents set by hand exist and have values that they can take."""
    for name, value in fixed.items():
        member("fixed latent", name, FIXABLE)
        value = np.asarray(value)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError(f"fixed {name} must be finite, got {value}")
        if name in COUNTS and not (value.dtype.kind in "iu" and value.size
                                   and 0 <= value.min() <= value.max() < COUNTS[name]):
            raise ValueError(f"fixed {name} must be integers in 0..{COUNTS[name] - 1}, got {value}")


def draw_object(stream: Stream, setting: Mapping) -> Latents:
    """Latents of one object an image; arrays have first axis N.

    ``part_*`` are in object coordinates; `compose` carries them to the image.
    """
    found = _identity(stream, setting) | _pose(stream, setting) | _palette(stream)
    found |= _parts(stream, setting, found)
    found["texture_phase"] = stream.between("texture_phase", 0.0, 1.0, 2)
    found["texture_frequency"] = stream.ranged("texture_frequency")
    found["texture_contrast"] = stream.scaled("texture_contrast", setting["texc"])
    found["texture_tone"] = stream.choice("texture_tone", 2)
    return found


def _identity(stream: Stream, setting: Mapping) -> Latents:
    superclass = stream.choice("superclass", len(SUPERCLASSES))
    per = len(CLASSES) // len(SUPERCLASSES)
    label = stream.given("class", superclass * per + stream.choice("member", per))
    free = stream.choice("free texture", TEXTURES)
    follows = stream.unit("texture follows") < setting["rho_t"]
    texture = stream.given("texture", np.where(follows, PREFERRED_TEXTURE[label], free))
    return {"superclass": label // per, "class": label, "texture": texture}


def _pose(stream: Stream, setting: Mapping) -> Latents:
    shift, turn = setting["shift"], setting["rot"]
    mirror = stream.given("mirror", stream.choice("flip", 2) * setting["flip"])
    return {
        "x": stream.between("x", -shift, shift),
        "y": stream.between("y", -shift, shift),
        "scale": stream.between("scale", setting["smin"], setting["smax"]),
        "rotation": stream.between("rotation", -turn, turn),
        "mirror": mirror,
        **{name: stream.ranged(name) for name in ("aspect", "articulation", "boxiness")},
    }


def _palette(stream: Stream) -> Latents:
    return {
        "hue": stream.between("hue", 0.0, 1.0),
        "scheme": stream.choice("scheme", len(TABLES["schemes"])),
        "saturation": stream.ranged("saturation", 3),
        "value": stream.ranged("value", 3),
    }


def _parts(stream: Stream, setting: Mapping, found: Latents) -> Latents:
    """Which parts are there, and where: the template of the class, bent and jittered."""
    table, wobble = templates()[found["class"]], TABLES["part_jitter"]
    part = {name: table[:, :, column(name)] for name in TABLES["part_columns"]}
    bend = part["articulation"] * found["articulation"][:, None]
    place = setting["jit"] * wobble["centre"] * stream.between("part centre", -1, 1, PARTS, 2)
    swell = setting["jit"] * wobble["size"] * stream.between("part size", -1, 1, PARTS, 2)
    turn = setting["jit"] * wobble["angle"] * stream.between("part angle", -1, 1, PARTS)
    return {
        "parts": stream.given("parts", stream.unit("parts", PARTS) < part["presence"]),
        "part_centre": np.stack([part["cx"], part["cy"]], -1) + place,
        "part_size": np.stack([part["a"], part["b"]], -1) * (1.0 + swell),
        "part_angle": part["rotation"] + bend + turn,
        "bend": part["articulation"],
    }


def draw_backdrop(stream: Stream, setting: Mapping, superclass: np.ndarray) -> Latents:
    """Latents of landscape, light, clutter and noise; ``superclass`` ``[N]`` sways the biome."""
    free = stream.choice("free biome", len(BIOMES))
    follows = stream.unit("biome follows") < setting["rho_b"]
    biome = stream.given("biome", np.where(follows, PREFERRED_BIOME[superclass], free))
    found = {"biome": biome} | _landscape(stream, setting, biome)
    found["light"] = stream.ranged("light")
    found["ambient"] = stream.ranged("ambient")
    found["clutter"] = stream.between("clutter", 0.0, 1.0, setting["clutter"] + setting["occl"], 13)
    found["rendition"] = stream.choice("rendition", len(RENDITIONS))
    found["noise"] = stream.scaled("noise", setting["noise"])
    return found


def _landscape(stream: Stream, setting: Mapping, biome: np.ndarray) -> Latents:
    colours = np.array(TABLES["biomes"]["values"]).reshape(len(BIOMES), 3, 3)[biome]
    spread = np.array([TABLES["sky_jitter"][name] for name in ("hue", "saturation", "value")])
    colours = colours + spread * stream.between("sky jitter", -1, 1, 3, 3)
    if setting["odd"]:
        low, high = np.array([0.0, 0.3, 0.1]), np.array([1.0, 1.0, 0.75])
        colours = low + (high - low) * stream.unit("odd", 3, 3)
    waves = [stream.ranged("hill_height"), stream.ranged("hill_frequency")]
    grain = [stream.ranged("ground_frequency", 2), stream.unit("ground direction", 2)]
    grain.append(stream.ranged("ground_contrast")[:, None])
    return {
        "sky": stream.given("sky", colours[:, :2]),
        "ground": stream.given("ground", colours[:, 2]),
        "horizon": stream.ranged("horizon"),
        "hills": stream.given("hills", np.stack([*waves, stream.unit("hill phase")], -1)),
        "ground_texture": stream.given("ground_texture", np.concatenate(grain, -1)),
    }
