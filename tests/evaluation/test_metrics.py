import math

import numpy as np
import piq
import pytest
import torch
import torch.nn.functional as F
from skimage.data import astronaut
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mae_lib.evaluation.floors import floor_images, patch_means, reference_floors
from mae_lib.evaluation.metrics import PRIMARY, STRUCTURAL, image_metrics

ALL = (*STRUCTURAL, "psnr", "mse")


@pytest.fixture(scope="module")
def photograph():
    """The astronaut at 224 pixels, a photograph that comes with scikit-image."""
    pixels = torch.tensor(astronaut()).permute(2, 0, 1)[None] / 255
    return F.interpolate(pixels, (224, 224), mode="bilinear", antialias=True)


def constant(value, size=32, dtype=torch.float64):
    return torch.full((1, 3, size, size), value, dtype=dtype)


def noisy(images, sd, seed=0):
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    return (images + sd * noise.to(images)).clamp(0, 1)


def test_an_image_is_like_itself(generator):
    x = torch.rand(2, 3, 32, 32, generator=generator)
    values = image_metrics(x, x, ALL)
    for name in STRUCTURAL:
        assert values[name].numpy() == pytest.approx(1, abs=1e-5)
    assert values["mse"].tolist() == [0, 0]
    assert values["psnr"].numpy() == pytest.approx(80)


@pytest.mark.parametrize(("offset", "decibel"), [(0.1, 20.0000), (0.01, 39.9996), (1.0, 0.0)])
def test_psnr_of_a_constant_offset(offset, decibel):
    values = image_metrics(constant(0.0), constant(offset), ("psnr", "mse"))
    assert values["psnr"].item() == pytest.approx(decibel, abs=5e-5)
    assert values["mse"].item() == pytest.approx(offset**2)


def test_psnr_of_gaussian_noise_without_clipping(generator):
    x = constant(0.5, 128)
    y = x + 0.05 * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    assert image_metrics(x, y, ("psnr",))["psnr"].item() == pytest.approx(26.02, abs=0.1)


@pytest.mark.parametrize(("a", "b", "expected"), [(0.3, 0.7, 0.724185), (0.0, 1.0, 9.999e-5)])
def test_ssim_of_two_constants_is_the_luminance_term(a, b, expected):
    value = image_metrics(constant(a), constant(b), ("ssim",))["ssim"].item()
    assert value == pytest.approx((2 * a * b + 1e-4) / (a * a + b * b + 1e-4), rel=1e-9)
    assert value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("size", [224, 64, 32, 28, 16, 12, 11])
def test_ssim_and_psnr_equal_scikit_image(size, generator):
    x = torch.rand(1, 3, size, size, generator=generator, dtype=torch.float64)
    y = noisy(x, 0.1)
    ours = image_metrics(x, y, ("ssim", "psnr"))
    a, b = (v[0].permute(1, 2, 0).numpy() for v in (x, y))
    reference = structural_similarity(a, b, gaussian_weights=True, sigma=1.5, data_range=1,
                                      use_sample_covariance=False, channel_axis=2)
    assert ours["ssim"].item() == pytest.approx(reference, abs=1e-12)
    assert ours["psnr"].item() == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1),
                                                abs=1e-4)


def test_psnr_equals_piq(generator):
    x = torch.rand(3, 3, 32, 32, generator=generator)
    y = noisy(x, 0.1)
    assert torch.allclose(image_metrics(x, y, ("psnr",))["psnr"],
                          piq.psnr(x, y, data_range=1.0, reduction="none"), atol=1e-4)


def test_fsim_of_two_greys():
    values = image_metrics(constant(0.3), constant(0.7), ("fsim", "fsimc"))
    assert values["fsim"].item() == pytest.approx(0.96673, abs=1e-5)
    assert values["fsimc"].item() == pytest.approx(0.96673, abs=1e-5)


def test_fsim_is_symmetric(generator):
    x = torch.rand(2, 3, 32, 32, generator=generator)
    y = noisy(x, 0.2)
    there, back = image_metrics(x, y, ("fsimc",)), image_metrics(y, x, ("fsimc",))
    assert torch.allclose(there["fsimc"], back["fsimc"], atol=1e-5)


def test_fsim_does_not_depend_on_the_scale_of_the_pixels(generator):
    x = torch.rand(2, 3, 32, 32, generator=generator)
    y = noisy(x, 0.2)
    bytes_scale = piq.fsim(x * 255, y * 255, data_range=255, reduction="none")
    assert torch.allclose(image_metrics(x, y, ("fsimc",))["fsimc"], bytes_scale, atol=1e-5)


def test_every_metric_falls_with_noise(photograph):
    x = F.interpolate(photograph, (64, 64), mode="area")
    series = [image_metrics(x, noisy(x, sd), ALL) for sd in (0.02, 0.05, 0.1, 0.2)]
    for name in ALL:
        values = [v[name].item() * (-1 if name == "mse" else 1) for v in series]
        assert values == sorted(values, reverse=True) and len(set(values)) == 4, name


def test_brightness_and_blur_differ_in_structure_but_not_in_psnr(photograph):
    bright = image_metrics(photograph, (photograph + 0.1).clamp(0, 1))
    blur = reference_floors(photograph, patches=())["box blur 9"]
    assert abs(bright["psnr"] - blur["psnr"]).item() < 1
    assert bright["ssim"].item() == pytest.approx(0.845, abs=0.01)
    assert bright["fsimc"].item() == pytest.approx(0.988, abs=0.005)
    assert blur["ssim"].item() == pytest.approx(0.563, abs=0.03)
    assert blur["fsimc"].item() == pytest.approx(0.717, abs=0.02)


def test_images_do_not_influence_each_other(generator):
    x = torch.rand(70, 3, 28, 28, generator=generator)
    y = noisy(x, 0.1)
    together = image_metrics(x, y)
    for name in PRIMARY:
        alone = torch.cat([image_metrics(x[i:i + 1], y[i:i + 1])[name] for i in (0, 66, 69)])
        assert torch.allclose(together[name][[0, 66, 69]], alone, atol=1e-5)


def test_a_region_leaves_out_the_rest(generator):
    x = torch.rand(2, 3, 16, 16, generator=generator)
    y = noisy(x, 0.1)
    region = torch.rand(2, 1, 16, 16, generator=generator) < 0.3
    values = image_metrics(x, y, ("mse", "psnr"), region)
    for i in range(2):
        inside = region[i, 0].numpy()
        error = np.mean((x[i].numpy() - y[i].numpy())[:, inside] ** 2)
        assert values["mse"][i].item() == pytest.approx(error, rel=1e-5)
        assert values["psnr"][i].item() == pytest.approx(-10 * math.log10(error + 1e-8), abs=1e-3)


GOOD = torch.full((1, 3, 32, 32), 0.5)


@pytest.mark.parametrize(("x", "y", "which", "message"), [
    (GOOD, GOOD, ("lpips",), "which must name"),
    (GOOD, GOOD[:, :, :16], ("mse",), "one shape"),
    (GOOD, GOOD + 0.6, ("mse",), "must lie in"),
    (GOOD, GOOD * float("nan"), ("mse",), "must be finite"),
    (GOOD[:0], GOOD[:0], ("mse",), "at least one image"),
    (GOOD[:, :1], GOOD[:, :1], ("mse",), "shape"),
    (GOOD[0], GOOD[0], ("mse",), "shape"),
    (GOOD[..., :10, :10], GOOD[..., :10, :10], ("ssim",), "at least 11 pixels"),
    (GOOD[..., :27, :27], GOOD[..., :27, :27], ("fsimc",), "at least 28 pixels"),
])
def test_bad_images_are_refused(x, y, which, message):
    with pytest.raises(ValueError, match=message):
        image_metrics(x, y, which)


def test_integer_images_are_refused():
    with pytest.raises(TypeError, match="floats"):
        image_metrics((GOOD * 255).byte(), GOOD)


@pytest.mark.parametrize(("region", "which", "message"), [
    (torch.ones(1, 1, 32, 32, dtype=torch.bool), ("ssim",), "region is for"),
    (torch.zeros(1, 1, 32, 32, dtype=torch.bool), ("mse",), "empty"),
    (torch.ones(1, 1, 32, 32), ("mse",), "boolean"),
    (torch.ones(1, 1, 16, 32, dtype=torch.bool), ("mse",), "shape"),
])
def test_bad_regions_are_refused(region, which, message):
    with pytest.raises(ValueError, match=message):
        image_metrics(GOOD, GOOD, which, region)


def test_rounding_beyond_the_range_is_forgiven():
    values = image_metrics(GOOD * 2, GOOD * 2 + 5e-7)
    assert values["ssim"].item() == pytest.approx(1)


def test_floors_are_what_they_say(generator):
    x = torch.rand(2, 3, 32, 32, generator=generator)
    floors = floor_images(x, (4, 32))
    assert set(floors) == {"patch mean 4", "patch mean 32", "global mean", "box blur 9",
                           "jpeg 30", "identity"}
    cell = floors["patch mean 4"][1, :, 4:8, 8:12]
    assert torch.allclose(cell, x[1, :, 4:8, 8:12].mean((1, 2), keepdim=True).expand_as(cell))
    assert torch.allclose(floors["patch mean 32"], floors["global mean"], atol=1e-6)
    assert torch.allclose(floors["box blur 9"][0, 2, 16, 16], x[0, 2, 12:21, 12:21].mean())
    assert 0 < (floors["jpeg 30"] - x).abs().mean() < 0.3
    assert torch.equal(floors["identity"], x)


def test_smaller_flat_patches_score_higher(photograph):
    x = F.interpolate(photograph, (64, 64), mode="area")
    scores = reference_floors(x, (4, 8, 16), ("ssim", "psnr"))
    for metric in ("ssim", "psnr"):
        values = [scores[f"patch mean {p}"][metric].item() for p in (4, 8, 16)]
        assert values == sorted(values, reverse=True)


def test_a_patch_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="patch must divide"):
        patch_means(GOOD, 5)
