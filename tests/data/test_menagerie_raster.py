"""The painter against slow code, libm and colorsys."""

import colorsys
import math

import numpy as np
import pytest

from mae_lib.data.menagerie import CLASSES, draw
from mae_lib.data.menagerie.compose import hsv_to_rgb
from mae_lib.data.menagerie.latents import mix
from mae_lib.data.menagerie.raster import RIM, _bell, _mix, cosine, sine
from mae_lib.data.menagerie.tables import TABLES


def test_sine_of_turns_agrees_with_libm():
    turns = np.linspace(-7, 7, 20_001)
    assert np.abs(sine(turns) - np.sin(2 * np.pi * turns)).max() < 1e-9
    assert np.abs(cosine(turns) - np.cos(2 * np.pi * turns)).max() < 1e-9


def test_colours_agree_with_colorsys():
    colours = np.random.default_rng(0).random((200, 3))
    expected = [colorsys.hsv_to_rgb(*colour) for colour in colours]
    assert np.allclose(hsv_to_rgb(colours), expected, atol=1e-12)
    assert np.allclose(hsv_to_rgb(colours - [2, 0, 0]), expected, atol=1e-12)  # hue has period 1


def test_pixel_noise_has_mean_zero_and_variance_one():
    keys = mix(np.arange(50_000, dtype=np.uint64))
    noise = np.array([_bell(key) for key in keys])
    assert abs(noise.mean()) < 0.02 and abs(noise.var() - 1) < 0.02
    assert int(_mix(keys[7])) == int(mix(keys[7:8])[0])  # the painter's hash is the latents'


def inside(label: int, latents: dict, i: int, u: float, v: float) -> int:
    """Topmost part at an image point: forward maps, matrix inverses and gauges, one by one."""
    get = {name: value[i] for name, value in latents.items()}
    top = 0
    for p, row in enumerate(TABLES["templates"][CLASSES[label]]):
        _, _, _, _, _, w1, w2, winf, taper, *_ = row
        w2, winf = w2 * (1 - get["boxiness"]), winf + w2 * get["boxiness"]
        point = np.linalg.solve(get["frames"][p], np.array([u, v]) - get["part_centre"][p])
        x, y = point
        x = abs(x) / (1 + taper * min(max(y, -1), 1))
        gauge = w1 * (x + abs(y)) + w2 * math.hypot(x, y) + winf * max(x, abs(y))
        if get["parts"][p] and gauge <= 1:
            top = p + 1
    return top


def rotation(degrees: float) -> np.ndarray:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, -s], [s, c]])


def frames(latents: dict, i: int) -> np.ndarray:
    """Image-from-part matrices of one image, from the latents that are handed out."""
    width = latents["scale"][i] * latents["aspect"][i]
    height = latents["scale"][i] / latents["aspect"][i]
    sign = 1 - 2 * latents["mirror"][i]
    turn = rotation(latents["rotation"][i])
    found = []
    for angle, lengths in zip(latents["part_angle"][i], latents["part_size"][i], strict=True):
        own = sign * (angle - latents["rotation"][i])
        shape = turn @ np.diag([sign * width, height]) @ rotation(own)
        found.append(shape / np.linalg.norm(shape, axis=0) * lengths)
    return np.stack(found)


@pytest.mark.parametrize("label", range(16))
def test_part_map_agrees_with_a_slow_painter(label):
    drawn = draw("train", 2, 24, "default", fixed={"class": label}, clutter=0, start=label)
    latents = drawn.latents | {"frames": np.stack([frames(drawn.latents, i) for i in range(2)])}
    for i, row, column in np.ndindex(2, 24, 24):
        u, v = (2 * column + 1) / 24 - 1, (2 * row + 1) / 24 - 1
        assert drawn.parts[i, row, column] == inside(label, latents, i, u, v)


def test_mask_area_does_not_depend_on_the_size():
    fine, coarse = draw("val", 30, 256, "default"), draw("val", 30, 64, "default")
    ratio = coarse.masks.mean(axis=(1, 2)) / fine.masks.mean(axis=(1, 2))
    assert abs(ratio.mean() - 1) < 0.01 and np.abs(ratio - 1).max() < 0.08


def test_ink_lies_on_outlines():
    drawn = draw("sketch", 20, 64, fixed={"parts": np.eye(8, dtype=bool)[1], "class": 0})
    edge = np.zeros_like(drawn.masks)
    edge[:, 1:] |= drawn.masks[:, 1:] != drawn.masks[:, :-1]
    edge[:, :, 1:] |= drawn.masks[:, :, 1:] != drawn.masks[:, :, :-1]
    assert drawn.ink[edge].mean() > 0.6
    assert drawn.ink[drawn.masks].mean() < 0.2 and drawn.ink.max() <= 1


def test_rim_darkens_the_object_towards_its_outline():
    fixed = {"parts": np.eye(8, dtype=bool)[1], "class": 0, "value": 0.9, "ambient": 1.0,
             "texture_contrast": 0.0}
    drawn = draw("train", 20, 96, fixed=fixed, noise=0.0, clutter=0)
    brightness = drawn.images.max(1)
    from scipy.ndimage import distance_transform_edt
    depth = np.stack([distance_transform_edt(mask) for mask in drawn.masks])
    shown = drawn.masks
    assert brightness[shown & (depth <= 1)].mean() < 0.7 * brightness[depth > 3 * RIM].mean()
