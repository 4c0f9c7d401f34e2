"""The tables of the Menagerie as arrays: classes, templates, textures, biomes, splits, presets."""

from __future__ import annotations

import functools
from importlib.resources import files

import numpy as np
import yaml

TABLES = yaml.safe_load(files(__package__).joinpath("tables.yaml").read_text(encoding="utf-8"))
SUPERCLASSES = tuple(TABLES["superclasses"])
CLASSES = tuple(name for members in TABLES["superclasses"].values() for name in members)
SPLITS = tuple(TABLES["splits"])
PRESETS = tuple(TABLES["presets"])
BIOMES = tuple(TABLES["biomes"]["names"])
RENDITIONS = tuple(TABLES["renditions"])
STYLES = ("plain", "renditions", "sketch", *RENDITIONS)
PARTS = 8  # most parts of a figure
PREFERRED_TEXTURE = np.array(TABLES["textures"]["preferred_by_class"])
PREFERRED_BIOME = np.array(TABLES["biomes"]["preferred_by_superclass"])
TEXTURES = 2 * len(TABLES["textures"]["patterns"])


def setting(split: str, preset: str = "default", **changes) -> dict:
    """Everything that shapes the draw of a split: defaults, then preset, then split, then changes.

    Raises:
        ValueError: unknown split, preset or name of a change, or a value of the wrong kind.
    """
    member("split", split, SPLITS)
    member("preset", preset, PRESETS)
    chosen = TABLES["defaults"] | TABLES["presets"][preset] | TABLES["splits"][split]
    for name, value in changes.items():
        member("setting", name, tuple(TABLES["defaults"]))
        chosen[name] = _like(name, value, TABLES["defaults"][name])
    member("style", chosen["style"], STYLES)
    if chosen["rho_t"] > 1 or chosen["rho_b"] > 1:
        raise ValueError(f"rho_t and rho_b must lie in [0, 1], "
                         f"got {chosen['rho_t']} and {chosen['rho_b']}")
    if not 0 < chosen["smin"] <= chosen["smax"]:
        raise ValueError(f"smin must lie in (0, smax], got {chosen['smin']} of {chosen['smax']}")
    return chosen


def member(what: str, value, known: tuple[str, ...]) -> None:
    """Raise ValueError unless ``value`` is one of the ``known`` names."""
    if value not in known:
        raise ValueError(f"{what} must be one of {', '.join(known)}, got {value!r}")


@functools.cache
def templates() -> np.ndarray:
    """Part tables of the classes, float64 ``[classes, PARTS, 13]``; no part: presence 0."""
    table = np.zeros((len(CLASSES), PARTS, len(TABLES["part_columns"])))
    table[:, :, 2:4] = 1.0  # half axes of parts that are not there: anything but 0
    for row, name in zip(table, CLASSES, strict=True):
        parts = np.array(TABLES["templates"][name], dtype=np.float64)
        row[: len(parts)] = parts
    return table


def column(name: str) -> int:
    """Position of a column of the part tables."""
    return TABLES["part_columns"].index(name)


def textures() -> tuple[np.ndarray, np.ndarray]:
    """Pattern coefficients ``[textures, 7]`` and frequency ``[textures]`` of every texture id."""
    patterns = np.array(TABLES["textures"]["patterns"], dtype=np.float64)
    frequencies = np.array(TABLES["textures"]["frequencies"], dtype=np.float64)
    return patterns.repeat(2, axis=0), np.tile(frequencies, len(patterns))


def _like(name: str, value, default):
    """``value`` in the kind of the table's default; ValueError if it is of another kind."""
    kinds = {bool: bool, int: int, float: (int, float), str: str}[type(default)]
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
        raise ValueError(f"{name} must be {type(default).__name__}, got {value!r}")
    if not isinstance(value, str | bool) and not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be finite and not negative, got {value!r}")
    return type(default)(value)
