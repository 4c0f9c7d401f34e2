"""Image sets, and the check that every image passes before it reaches a model or a metric."""

import numpy as np
import pytest
import torch

from mae_lib.data.images import ImageSet, check_images, check_labels, fingerprint

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 3, 5, 7), dtype=np.uint8)


def image_set(images=PIXELS, labels=None, classes=("a", "b")) -> ImageSet:
    labels = np.arange(len(images)) % 2 if labels is None else labels
    return ImageSet(images, labels, classes, "noise", "mark")


def test_a_set_knows_its_length_and_size():
    assert len(image_set()) == 12 and image_set().size == (5, 7)


@pytest.mark.parametrize("images, error, message", [
    (PIXELS / 255, TypeError, "images must be uint8, got float64"),
    (PIXELS.astype(np.int8), TypeError, "images must be uint8, got int8"),
    (PIXELS[:, 0], ValueError, r"images must have shape \[N,3,H,W\], got \[12, 5, 7\]"),
    (PIXELS[:, :2], ValueError, r"images must have shape \[N,3,H,W\], got \[12, 2, 5, 7\]"),
    (PIXELS[:0], ValueError, "images must hold at least one image, got an empty set")])
def test_images_that_are_none_are_refused(images, error, message):
    with pytest.raises(error, match=message):
        image_set(images)


@pytest.mark.parametrize("labels, message", [
    (np.zeros(11, int), r"labels must be 12 integers, .* got int64 of shape \[11\]"),
    (np.zeros((12, 1), int), r"labels must be 12 integers, .* of shape \[12, 1\]"),
    (np.zeros(12), r"labels must be 12 integers, .* got float64"),
    (np.full(12, 2), r"labels must lie in 0\.\.1, got 2\.\.2"),
    (np.arange(12) - 1, r"labels must lie in 0\.\.1, got -1\.\.10")])
def test_labels_that_do_not_fit_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        image_set(labels=labels)


def test_labels_may_be_any_list_of_integers():
    check_labels([0, 1, 2], 3, 3)


@pytest.mark.parametrize("index", [slice(2, 5), [4, 4, 0], np.arange(12) > 8, np.array([-1])])
def test_a_batch_is_the_bytes_over_255(index):
    batch = image_set().batch(index)
    assert batch.dtype == torch.float32 and batch.is_contiguous()
    assert np.allclose(batch.numpy(), PIXELS[index].astype(np.float64) / 255, atol=1e-7)
    assert batch.min() >= 0 and batch.max() <= 1
    check_images(batch, size=(5, 7))


def test_a_batch_does_not_share_memory_with_the_set():
    images = image_set(PIXELS.copy())
    images.batch(slice(None)).zero_()
    assert np.array_equal(images.images, PIXELS)


@pytest.mark.parametrize("index", [slice(2, 5), [7, 0, 1], np.arange(12) % 3 == 0])
def test_a_subset_holds_what_was_chosen_under_another_fingerprint(index):
    subset = image_set().subset(index)
    assert np.array_equal(subset.images, PIXELS[index])
    assert np.array_equal(subset.labels, (np.arange(12) % 2)[index])
    assert subset.fingerprint != "mark" and subset.classes == ("a", "b")


def test_the_fingerprint_of_a_subset_says_which_and_in_what_order():
    marks = [image_set().subset(i).fingerprint for i in ([0, 1], [1, 0], [0, 2], [0], slice(2))]
    assert len(set(marks)) == 4 and marks[0] == marks[4]


def test_an_empty_subset_is_refused():
    with pytest.raises(ValueError, match="at least one image"):
        image_set().subset(slice(0))


@pytest.mark.parametrize("images", [PIXELS, PIXELS[:1], np.full((3, 3, 4, 4), 255, np.uint8),
                                    RNG.integers(0, 2, (400, 3, 8, 8), dtype=np.uint8)])
def test_standardisation_is_that_of_numpy_in_float64(images):
    found = image_set(images).standardisation()
    plain = np.moveaxis(images.astype(np.float64) / 255, 1, 0).reshape(3, -1)
    assert np.allclose(found, [plain.mean(1), plain.std(1)], atol=5.1e-5)
    assert all(isinstance(value, float) for row in found for value in row)


def test_no_two_lists_of_parts_have_one_fingerprint():
    lists = [("ab", "c"), ("a", "bc"), ("abc",), ("ab", "c", ""), ("2:ab", "c"), ()]
    assert len({fingerprint(*parts) for parts in lists}) == len(lists)
    assert fingerprint("é") == fingerprint("é".encode())


GOOD = torch.rand(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))


def with_value(value: float) -> torch.Tensor:
    images = GOOD.clone()
    images[1, 2, 3, 5] = value
    return images


@pytest.mark.parametrize("images", [GOOD, GOOD.half(), GOOD.double(), with_value(0.0),
                                    with_value(1.0), with_value(1 + 5e-7), with_value(-5e-7),
                                    GOOD[:1]])
def test_images_in_range_pass(images):
    check_images(images)
    check_images(images, size=(4, 6))


@pytest.mark.parametrize("images, error, message", [
    ((GOOD * 255).byte(), TypeError, r"images must be floats in \[0, 1\], got torch.uint8"),
    ((GOOD * 255).long(), TypeError, r"images must be floats in \[0, 1\], got torch.int64"),
    (GOOD[0], ValueError, r"images must have shape \[B,3,H,W\], got \[3, 4, 6\]"),
    (GOOD[:, :1], ValueError, r"images must have shape \[B,3,H,W\], got \[2, 1, 4, 6\]"),
    (GOOD.movedim(1, 3), ValueError, r"images must have shape \[B,3,H,W\], got \[2, 4, 6, 3\]"),
    (GOOD[:0], ValueError, "images must hold at least one image, got an empty batch"),
    (with_value(float("nan")), ValueError, "images must be finite, got NaN or infinity"),
    (with_value(float("inf")), ValueError, "images must be finite, got NaN or infinity"),
    (with_value(1.5), ValueError, r"images must lie in \[0, 1\], got values from .* to 1\.5"),
    (with_value(-0.25), ValueError, r"images must lie in \[0, 1\], got values from -0\.25 to"),
    (GOOD * 255, ValueError, r"images must lie in \[0, 1\], got values from .* to 2\d\d")])
def test_each_thing_that_is_off_is_said(images, error, message):
    with pytest.raises(error, match=message):
        check_images(images)


def test_another_size_than_required_is_said():
    with pytest.raises(ValueError, match="images must be 6x4 pixels, got 4x6"):
        check_images(GOOD, size=(6, 4))
