"""From latents to what the painter paints: affine maps, colours, and one row a primitive."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .latents import Latents
from .raster import cosine, sine
from .tables import PARTS, TABLES, column, templates, textures

DEGREE = 1 / 360  # in turns
_HAZE = (0.35, 0.65)  # share of background in a distractor's colour


def hsv_to_rgb(hsv: np.ndarray) -> np.ndarray:
    """Colours ``[..., 3]`` from hue (any real, period 1), saturation and value in [0, 1]."""
    hue, saturation, value = np.moveaxis(hsv, -1, 0)
    saturation, value = np.clip(saturation, 0, 1), np.clip(value, 0, 1)
    hue = 6.0 * (hue - np.floor(hue))
    channels = []
    for shift in (5.0, 3.0, 1.0):
        k = hue + shift
        k = k - 6.0 * (k >= 6.0)
        ramp = np.clip(np.minimum(k, 4.0 - k), 0.0, 1.0)
        channels.append(value - value * saturation * ramp)
    return np.stack(channels, axis=-1)


def compose(objects: Sequence[Latents], backdrop: Latents, behind: int) -> tuple[np.ndarray, ...]:
    """Primitives, labels, textures and backdrops of N images, as `raster.paint` wants them.

    Args:
        objects: latents of the first, second ... object of the images; later ones cover earlier.
        backdrop: latents of the landscape; its first ``behind`` distractors stand behind.
    """
    rows, labels, fabric = [], [], []
    distractors, shown = _clutter(backdrop, objects[0], behind)
    light = _light(backdrop)
    for place, found in enumerate(objects):
        rows.append(_figure(found, light))
        labels.append(_figure_labels(found, place))
        fabric.append(_texture(found))
    rows = [distractors[:, :behind], *rows, distractors[:, behind:]]
    labels = [shown[:, :behind], *labels, shown[:, behind:]]
    return (np.ascontiguousarray(np.concatenate(rows, 1)),
            np.ascontiguousarray(np.concatenate(labels, 1)),
            np.ascontiguousarray(np.stack(fabric, 1)), _landscape(backdrop))


def object_frame(found: Latents) -> np.ndarray:
    """Image-from-object matrices ``[N, 2, 2]``: aspect, mirror, scale, then rotation."""
    width = found["scale"] * found["aspect"] * (1.0 - 2.0 * found["mirror"])
    return _rotation(found["rotation"]) * _columns(width, found["scale"] / found["aspect"])


def part_frames(found: Latents) -> tuple[np.ndarray, np.ndarray]:
    """Image-from-part matrices ``[N, PARTS, 2, 2]`` and part centres ``[N, PARTS, 2]``."""
    frame = object_frame(found)[:, None]
    size = found["part_size"]
    part = _rotation(found["part_angle"]) * _columns(size[..., 0], size[..., 1])
    centre = _apply(frame, found["part_centre"]) + np.stack([found["x"], found["y"]], -1)[:, None]
    return _multiply(frame, part), centre


def palette(found: Latents) -> np.ndarray:
    """RGB of the five roles, ``[N, 5, 3]``."""
    schemes = np.array(list(TABLES["schemes"].values()))[found["scheme"]]
    hues = found["hue"][:, None] + np.concatenate([np.zeros((len(schemes), 1)), schemes], 1)
    painted = np.stack([hues, found["saturation"], found["value"]], -1)
    fixed = np.zeros((len(schemes), 2, 3)) + np.array([[0.0, 0.3, 0.12], [0.0, 0.03, 0.95]])
    fixed[..., 0] += found["hue"][:, None]
    return hsv_to_rgb(np.concatenate([painted, fixed], 1))


def _figure(found: Latents, light: np.ndarray) -> np.ndarray:
    """Rows of the painter for the parts of one object, ``[N, PARTS, PRIMITIVE]``."""
    table = templates()[found["class"]]
    frame, centre = part_frames(found)
    roles = table[:, :, column("role")].astype(np.int64)
    colour = np.take_along_axis(palette(found), roles[..., None], 1)
    weights = table[:, :, column("w_l1"):column("w_linf") + 1].copy()
    moved = found["boxiness"][:, None] * weights[..., 1]
    weights[..., 1] -= moved
    weights[..., 2] += moved
    light_part = np.where(found["texture_tone"][:, None, None] == 1, 0.3 * colour,
                          colour + 0.75 * (1.0 - colour))
    amount = table[:, :, column("textured")] * found["texture_contrast"][:, None]
    taper = table[:, :, column("taper")]
    return _rows(frame, centre, weights, taper, colour, light_part, amount, light[:, None])


def _rows(frame, centre, weights, taper, colour, other, amount, light) -> np.ndarray:
    reach_x = abs(frame[..., 0, 0]) * (1.0 + abs(taper)) + abs(frame[..., 0, 1])
    reach_y = abs(frame[..., 1, 0]) * (1.0 + abs(taper)) + abs(frame[..., 1, 1])
    lengths = np.sqrt(frame[..., 0, :] * frame[..., 0, :] + frame[..., 1, :] * frame[..., 1, :])
    toward = frame[..., 0, :] * light[..., :1] + frame[..., 1, :] * light[..., 1:]
    return np.concatenate([
        centre, _inverse(frame).reshape(*frame.shape[:-2], 4), weights, taper[..., None], colour,
        other, amount[..., None], toward / lengths, reach_x[..., None], reach_y[..., None]], -1)


def _figure_labels(found: Latents, place: int) -> np.ndarray:
    """Owner (or -1) and mark of every part; the mark is 1 + part + PARTS * place."""
    there = found["parts"] & (templates()[found["class"]][:, :, column("presence")] > 0)
    marks = np.broadcast_to(1 + np.arange(PARTS) + PARTS * place, there.shape)
    return np.stack([np.where(there, place, -1), marks], -1)


def _texture(found: Latents) -> np.ndarray:
    patterns, frequencies = textures()
    inverse = _inverse(object_frame(found)).reshape(-1, 4)
    frequency = frequencies[found["texture"]] * found["texture_frequency"]
    return np.concatenate([inverse, found["x"][:, None], found["y"][:, None],
                           patterns[found["texture"]], frequency[:, None],
                           found["texture_phase"]], -1)


def _clutter(backdrop: Latents, first: Latents, behind: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels of the distractor shapes, tinted by the landscape.

    Those in front of the objects gather around the first of them.
    """
    u = np.moveaxis(backdrop["clutter"], -1, 0)
    size = 0.07 + 0.16 * u[3:5]
    centre = np.stack([u[1], u[2]], -1) * 2.0 - 1.0
    around = 0.75 * first["scale"][:, None, None] * centre[:, behind:]
    centre[:, behind:] = np.stack([first["x"], first["y"]], -1)[:, None] + around
    frame = _rotation(360.0 * u[5]) * _columns(size[0], size[1])
    weights = np.stack([u[6] * u[7], u[6] * (1.0 - u[7]), 1.0 - u[6]], -1)
    own = hsv_to_rgb(np.stack([u[9], 0.1 + 0.4 * u[10], 0.35 + 0.6 * u[11]], -1))
    below = centre[..., 1:] > backdrop["horizon"][:, None, None]
    air = hsv_to_rgb(np.where(below, backdrop["ground"][:, None], backdrop["sky"][:, None, 1]))
    haze = _HAZE[0] + (_HAZE[1] - _HAZE[0]) * u[12, ..., None]
    colour = own + (air - own) * haze
    light = np.broadcast_to(_light(backdrop)[:, None], (*u[0].shape, 2))
    taper = 1.6 * u[8] - 0.8
    rows = _rows(frame, centre, weights, taper, colour, colour, np.zeros_like(u[0]), light)
    there = np.where(u[0] < 0.8, 0, -1)
    return rows, np.stack([there, np.zeros_like(there)], -1)


def _landscape(backdrop: Latents) -> np.ndarray:
    grain = backdrop["ground_texture"]
    east, north = cosine(grain[:, 2]), sine(grain[:, 2])
    cross = grain[:, 3] * 0.3 - 0.15 + grain[:, 2]
    waves = [grain[:, 0] * east, grain[:, 0] * north,
             -grain[:, 1] * sine(cross), grain[:, 1] * cosine(cross)]
    rows = [hsv_to_rgb(backdrop["sky"]).reshape(-1, 6), hsv_to_rgb(backdrop["ground"]),
            backdrop["horizon"][:, None], backdrop["hills"], np.stack(waves, -1), grain[:, 4:],
            backdrop.get("scroll", np.zeros(len(grain)))[:, None]]
    return np.ascontiguousarray(np.concatenate(rows, -1))


def _light(backdrop: Latents) -> np.ndarray:
    turn = backdrop["light"] * DEGREE
    return np.stack([sine(turn), cosine(turn)], -1)


def _rotation(degrees: np.ndarray) -> np.ndarray:
    c, s = cosine(degrees * DEGREE), sine(degrees * DEGREE)
    return np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)


def _columns(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Factors for the two columns of a matrix."""
    return np.stack([first, second], -1)[..., None, :]


def _multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Product of 2x2 matrices in a fixed order of operations (a BLAS may choose its own)."""
    return a[..., :, :1] * b[..., :1, :] + a[..., :, 1:] * b[..., 1:, :]


def _apply(a: np.ndarray, v: np.ndarray) -> np.ndarray:
    return a[..., 0] * v[..., :1] + a[..., 1] * v[..., 1:]


def _inverse(a: np.ndarray) -> np.ndarray:
    p, q, r, s = a[..., 0, 0], a[..., 0, 1], a[..., 1, 0], a[..., 1, 1]
    det = p * s - q * r
    return np.stack([np.stack([s, -q], -1), np.stack([-r, p], -1)], -2) / det[..., None, None]


