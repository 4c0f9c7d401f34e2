"""Image sets refuse what a model could not use."""

import numpy as np
import pytest
import torch

from mae_lib.data.images import ImageSet, check_images, check_labels, fingerprint


def image_set(n=6, **changes):
    rng = np.random.default_rng(0)
    values = {"images": rng.integers(0, 256, (n, 3, 8, 10), dtype=np.uint8),
              "labels": np.arange(n) % 2, "classes": ("a", "b"), "name": "x", "fingerprint": "f"}
    return ImageSet(**(values | changes))


def test_a_batch_is_float32_in_the_unit_interval():
    found = image_set()
    batch = found.batch([4, 1])
    assert batch.dtype == torch.float32 and found.size == (8, 10)
    assert np.array_equal(batch.numpy(), found.images[[4, 1]] / np.float32(255))


def test_standardisation_is_that_of_numpy():
    found = image_set(50)
    mean, std = found.standardisation()
    pixels = found.images.transpose(1, 0, 2, 3).reshape(3, -1) / 255.0
    assert np.allclose(mean, pixels.mean(1), atol=5.1e-5)
    assert np.allclose(std, pixels.std(1), atol=5.1e-5)


def test_a_subset_is_another_set():
    found = image_set()
    part = found.subset(slice(2))
    assert len(part) == 2 and part.fingerprint != found.fingerprint
    assert part.fingerprint != found.subset(slice(3)).fingerprint


def test_fingerprints_tell_lists_of_parts_apart():
    assert fingerprint("ab", "c") != fingerprint("a", "bc")


@pytest.mark.parametrize(("changes", "message"), [
    ({"images": np.zeros((0, 3, 8, 8), np.uint8)}, "at least one image"),
    ({"images": np.zeros((6, 1, 8, 8), np.uint8)}, r"shape \[N,3,H,W\], got \[6, 1, 8, 8\]"),
    ({"labels": np.array([0, 1, 2, 0, 1, 0])}, r"labels must lie in 0\.\.1, got 0\.\.2"),
    ({"labels": np.zeros(5, int)}, "6 integers"),
    ({"labels": np.zeros(6)}, "6 integers"),
])
def test_a_set_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        image_set(**changes)


def test_a_set_of_floats_is_refused():
    with pytest.raises(TypeError, match="images must be uint8, got float64"):
        image_set(images=np.zeros((6, 3, 8, 8)))


@pytest.mark.parametrize(("images", "message"), [
    (torch.full((1, 3, 4, 4), float("nan")), "finite"),
    (torch.full((1, 3, 4, 4), 1.1), r"lie in \[0, 1\], got values from 1.1 to 1.1"),
    (torch.full((1, 3, 4, 4), -0.1), r"lie in \[0, 1\]"),
    (torch.zeros(1, 1, 4, 4), r"shape \[B,3,H,W\]"),
    (torch.zeros(3, 4, 4), r"shape \[B,3,H,W\]"),
    (torch.zeros(0, 3, 4, 4), "at least one image"),
    (torch.zeros(1, 3, 4, 5), "4x4 pixels, got 4x5"),
])
def test_images_that_are_off_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        check_images(images, size=(4, 4))


def test_integer_images_are_a_type_error():
    with pytest.raises(TypeError, match="floats"):
        check_images(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))


def test_rounding_at_the_ends_is_allowed():
    check_images(torch.tensor([-5e-7, 1 + 5e-7]).reshape(2, 1, 1, 1).expand(2, 3, 4, 4))
    check_labels(np.array([0, 1]), 2, 2)
