"""Bytes, requests and what comes with the plain pictures of the Menagerie."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from mae_lib.data.images import ImageSet
from mae_lib.data.menagerie import (
    CLASSES,
    LATENTS,
    SPLITS,
    boxes_of,
    draw,
    filtered,
    identify,
    menagerie,
)

# First 16 hexadecimal digits of the SHA-256 of the first 48 images, preset medium32. Whoever
# changes these changes every published result on this set.
BYTES = {
    ("train", 32): "ae522b22c734f9fe",
    ("v2", 32): "792b95efd851c3e2",
    ("objectnet", 32): "62d79693610b8bcb",
    ("R", 32): "13c3f885dfd024aa",
    ("hard", 32): "030ca3fc68a13f3c",
    ("sketch", 32): "5299cf8d553f81d4",
    ("train", 64): "ae13e4f12a14df6b",
}


@pytest.mark.parametrize(("split", "size"), BYTES)
def test_bytes_are_those_of_every_other_machine(split, size):
    images = menagerie(split, 48, size).images
    assert hashlib.sha256(images.tobytes()).hexdigest()[:16] == BYTES[split, size]


@pytest.mark.parametrize("split", SPLITS)
def test_an_image_is_the_same_alone_and_in_a_batch(split):
    batch = draw(split, 9, 33)
    for i in (0, 4, 8):
        alone = draw(split, 1, 33, start=i)
        for name in ("images", "parts", "ink"):
            assert np.array_equal(getattr(alone, name)[0], getattr(batch, name)[i])
        assert all(np.array_equal(v[0], batch.latents[k][i]) for k, v in alone.latents.items())


def test_chunks_do_not_show():
    whole = menagerie("train", 700, 32)  # more than one chunk of the renderer
    assert np.array_equal(whole.images[600:], menagerie("train", 100, 32, start=600).images)


def test_splits_and_seeds_share_no_image():
    sets = [menagerie(split, 20).images for split in ("train", "val", "test")]
    sets += [menagerie("train", 20, seed=seed).images for seed in (1, 2)]
    rows = np.concatenate(sets).reshape(100, -1)
    assert len(np.unique(rows, axis=0)) == 100
    assert np.array_equal(menagerie("train", 20, seed=0).images, sets[0])


def test_latents_do_not_depend_on_the_size():
    small, large = draw("train", 5, 16), draw("train", 5, 96)
    assert all(np.array_equal(small.latents[name], large.latents[name]) for name in LATENTS)


def test_image_set_carries_classes_and_fingerprint():
    found = menagerie("val", 30, 32)
    assert isinstance(found, ImageSet)
    assert found.classes == CLASSES and len(CLASSES) == 16
    assert found.images.shape == (30, 3, 32, 32) and found.name == "menagerie medium32 val"
    assert found.fingerprint == identify("val", 30, 32)


def test_fingerprint_tells_requests_apart():
    requests = [dict(), dict(n=101), dict(size=33), dict(preset="easy32"), dict(start=1),
                dict(seed=1), dict(split="val"), dict(rho_t=0.5)]
    prints = {identify(**({"n": 100} | request)) for request in requests}
    assert len(prints) == len(requests)


def test_masks_are_the_pixels_that_the_object_changes():
    drawn = draw("train", 60, 64, "default", noise=0.0, clutter=0)
    bare = draw("train", 60, 64, "default", noise=0.0, clutter=0, fixed={"parts": False})
    changed = (drawn.images != bare.images).any(1)
    assert not bare.masks.any()
    assert (changed | ~drawn.masks).mean() > 0.999  # a part may have the colour of what it covers
    outside = changed & ~drawn.masks  # only the softened edge, less than half covered
    assert outside.sum() < 0.25 * drawn.masks.sum()


def test_box_is_the_tight_hull_of_the_mask():
    drawn = draw("objectnet", 50, 48)
    for mask, (left, top, right, bottom) in zip(drawn.masks, drawn.boxes, strict=True):
        rows, columns = np.nonzero(mask)
        assert (left, top) == (columns.min(), rows.min())
        assert (right, bottom) == (columns.max() + 1, rows.max() + 1)


def test_box_of_an_empty_mask_is_empty():
    assert np.array_equal(boxes_of(np.zeros((2, 5, 5), bool)), np.zeros((2, 4)))


def test_sketch_is_ink_on_white():
    drawn = draw("sketch", 20, 64)
    assert np.array_equal(drawn.images[:, 0], drawn.images[:, 2])
    expected = np.floor(255 * (1 - 0.85 * drawn.ink) + 0.5)
    assert np.abs(drawn.images[:, 0] - expected).max() <= 1  # ink is handed out as float32
    assert (drawn.images == 255).mean() > 0.6


def test_renditions_differ_from_the_plain_picture_but_not_in_layout():
    plain = draw("R", 40, 48, style="plain")
    drawn = draw("R", 40, 48)
    assert (plain.images != drawn.images).any(axis=(1, 2, 3)).all()
    assert np.array_equal(plain.parts, drawn.parts)
    assert set(drawn.latents["rendition"]) == set(range(6))


def test_a_blueprint_shows_outlines_only():
    drawn = draw("R", 4, 32, style="blueprint")
    pixels = np.moveaxis(drawn.images, 1, -1).reshape(-1, 3).astype(int)
    line = (pixels[:, :1] - 31) / (255 * (0.85 - 0.12))  # from blue to chalk
    assert np.abs(pixels - (pixels[0] + line * (255 * np.array([0.73, 0.67, 0.45])))).max() < 2


def test_an_intervention_changes_nothing_else():
    before, after = draw("train", 10), draw("train", 10, fixed={"hue": 0.5, "class": 3})
    assert (after.latents["hue"] == 0.5).all() and (after.labels == 3).all()
    for name in ("x", "y", "scale", "light", "ambient", "clutter", "saturation"):
        assert np.array_equal(before.latents[name], after.latents[name])


def test_filtered_keeps_the_errors_of_the_predictor():
    pool = menagerie("hard", 80)
    wrong = filtered(pool, lambda images: np.full(len(images), 5), batch=32)
    assert len(wrong) == (pool.labels != 5).sum() and 5 not in wrong.labels
    assert wrong.name.endswith("filtered") and wrong.fingerprint != pool.fingerprint


def test_filtered_refuses_a_perfect_predictor():
    pool = menagerie("hard", 8)
    right = iter(np.split(pool.labels, 2))
    with pytest.raises(ValueError, match="predict must err"):
        filtered(pool, lambda images: next(right), batch=4)
    with pytest.raises(ValueError, match="one label an image"):
        filtered(pool, lambda images: np.zeros((len(images), 16)))


@pytest.mark.parametrize(("request_", "message"), [
    (dict(n=0), "n must be an integer of at least 1, got 0"),
    (dict(n=2.5), "n must be an integer"),
    (dict(size=15), "size must be an integer of at least 16, got 15"),
    (dict(start=-1), "start must be"),
    (dict(seed=-1), "seed must be"),
    (dict(seed=2**60), "seed and start must stay below"),
    (dict(split="trian"), "split must be one of train, val,.*got 'trian'"),
    (dict(preset="hard32"), "preset must be one of default"),
    (dict(style="cubism"), "style must be one of plain"),
    (dict(rho=1.0), "setting must be one of rho_t"),
    (dict(rho_t=1.5), "rho_t and rho_b must lie"),
    (dict(noise="much"), "noise must be float, got 'much'"),
    (dict(clutter=-1), "clutter must be finite and not negative"),
    (dict(smin=0.9, smax=0.5), "smin must lie in"),
])
def test_bad_requests_get_one_sentence(request_, message):
    with pytest.raises(ValueError, match=message):
        menagerie(**request_)


@pytest.mark.parametrize(("fixed", "message"), [
    ({"klass": 1}, "fixed latent must be one of"),
    ({"class": 16}, "fixed class must be integers in 0..15"),
    ({"class": "cat"}, "fixed class must be integers"),
    ({"hue": [0.1, 0.2]}, r"fixed hue must fit the shape \[3\], got \[2\]"),
    ({"hue": np.nan}, "fixed hue must be finite"),
])
def test_bad_interventions_get_one_sentence(fixed, message):
    with pytest.raises(ValueError, match=message):
        draw("train", 3, fixed=fixed)


def test_importing_the_room_compiles_nothing():
    code = "import sys, mae_lib.data.menagerie; assert not {'numba', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
