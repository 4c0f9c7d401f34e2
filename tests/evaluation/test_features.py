import numpy as np
import pytest
import torch

from mae_lib.data.images import ImageSet
from mae_lib.evaluation.features import FeatureBank, extract_features, random_crop, raw_pixels
from mae_lib.models.encoder import Encoder


@pytest.fixture(scope="module")
def image_set():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)
    return ImageSet(pixels, np.array([0, 1, 2, 0, 1, 2]), ("a", "b", "c"), "noise", "f" * 64)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return Encoder(32, 4, 32, 2, 4).eval()


def test_features_are_the_normed_tokens_of_all_patches(encoder, image_set):
    with torch.no_grad():
        encoded = encoder(image_set.batch(slice(None)))
    cls = extract_features(encoder, image_set, "cls")
    mean = extract_features(encoder, image_set, "mean")
    both = extract_features(encoder, image_set, "cls+mean", batch=4)
    assert np.allclose(cls.image, encoded.cls, atol=1e-5)
    assert np.allclose(mean.image, encoded.patches.mean(1), atol=1e-5)
    assert np.allclose(both.image, np.hstack([cls.image, mean.image]), atol=1e-5)
    assert np.array_equal(both.columns(slice(32)).X, both.X[:, :, :32])
    assert cls.X.shape == (6, 1, 32) and cls.y.tolist() == [0, 1, 2, 0, 1, 2]


def test_the_first_view_is_the_image_and_the_others_are_crops(encoder, image_set):
    plain = extract_features(encoder, image_set, "mean")
    views = extract_features(encoder, image_set, "mean", views=3, seed=1)
    assert views.X.shape == (6, 3, 32)
    assert np.array_equal(views.X[:, 0], plain.X[:, 0])
    assert not np.allclose(views.X[:, 1], views.X[:, 2], atol=1e-3)


def test_views_depend_on_the_seed_and_not_on_the_batch(encoder, image_set):
    one = extract_features(encoder, image_set, "mean", views=2, seed=1)
    other = extract_features(encoder, image_set, "mean", views=2, seed=1, batch=2)
    another = extract_features(encoder, image_set, "mean", views=2, seed=2)
    assert np.allclose(one.X, other.X, atol=1e-5)
    assert not np.allclose(one.X[:, 1], another.X[:, 1], atol=1e-3)


def test_a_crop_of_everything_is_the_image(generator):
    image = torch.rand(3, 32, 32, generator=generator)
    assert torch.allclose(random_crop(image, [1, 0.5, 0, 0, 0.7]), image, atol=1e-6)
    assert torch.allclose(random_crop(image, [1, 0.5, 0, 0, 0.3]), image.flip(-1), atol=1e-6)


def test_crops_stay_in_range_and_in_the_image(generator):
    flat = torch.full((3, 24, 32), 0.25)
    draws = torch.rand(50, 5, generator=generator).tolist() + [[0.999] * 5, [0] * 5]
    for draw in draws:
        assert torch.allclose(random_crop(flat, draw), flat, atol=1e-6)


def test_raw_patches_are_averaged_over_the_grid(image_set):
    bank = raw_pixels(image_set, patch=4)
    cells = image_set.images[2].reshape(3, 8, 4, 8, 4).mean((1, 3)) / 255  # [channel, row, col]
    assert bank.X.shape == (6, 1, 48)
    assert np.allclose(bank.image[2], np.moveaxis(cells, 0, -1).ravel(), atol=1e-5)


def test_raw_pixels_of_grey_images_have_one_channel(image_set):
    assert raw_pixels(image_set).X.shape == (6, 1, 3072)
    grey = ImageSet(image_set.images[:, :1].repeat(3, 1), image_set.labels, image_set.classes,
                    "grey", "g")
    bank = raw_pixels(grey)
    assert bank.X.shape == (6, 1, 1024) and bank.X.max() <= 1


def test_ids_tell_sets_apart(image_set):
    ids = raw_pixels(image_set).ids
    other = raw_pixels(image_set.subset(slice(0, 3))).ids
    assert len(set(ids)) == 6 and not set(ids) & set(other)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"pool": "max"}, "pool must be one of"), ({"views": 0}, "views must be at least 1"),
    ({"ids": [1, 1, 2, 3, 4, 5]}, "ids must be unique"), ({"ids": [1]}, "must have shape")])
def test_bad_requests_are_refused(arguments, message, encoder, image_set):
    with pytest.raises(ValueError, match=message):
        extract_features(encoder, image_set, **arguments)


def test_an_encoder_without_a_class_token_has_none_to_give(image_set):
    encoder = Encoder(32, 4, 32, 1, 4, class_token=False)
    with pytest.raises(ValueError, match="without a class token"):
        extract_features(encoder, image_set, "cls")


@pytest.mark.parametrize(("X", "message"), [
    (np.zeros((0, 1, 3)), "none of them 0"), (np.zeros((2, 3)), "shape"),
    (np.full((2, 1, 3), np.nan), "finite"), (np.zeros((3, 1, 3)), "y and ids")])
def test_bad_banks_are_refused(X, message):
    with pytest.raises(ValueError, match=message):
        FeatureBank(X, np.zeros(2, int), np.arange(2))
