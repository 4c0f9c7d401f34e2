from types import SimpleNamespace

import numpy as np
import pytest
import scipy.ndimage
import scipy.sparse
import scipy.sparse.linalg
import torch

from mae_lib import studies
from mae_lib.data.images import ImageSet
from mae_lib.data.menagerie import menagerie
from mae_lib.evaluation import locality
from mae_lib.evaluation.inpainting import harmonic_fill
from mae_lib.evaluation.locality import (
    distance_to_visible,
    gradient_shares,
    locality_records,
    relative_error,
)
from mae_lib.evaluation.reconstruction import hidden_pixels
from mae_lib.models.masks import mask_from_binary, random_mask, unit_mask
from mae_lib.models.methods import mae
from mae_lib.models.patches import patchify
from mae_lib.studies.locality import LOCALITY

GRID, PATCH = (4, 6), 4
ABOUT = {"setting": {}, "seed": 0, "split": "test"}


@pytest.fixture
def mask(generator):
    return random_mask(5, GRID, 0.75, generator=generator)


@pytest.fixture
def images(generator):
    return torch.rand(5, 3, 16, 24, generator=generator)


def test_distances_are_those_of_scipy(mask):
    hidden = hidden_pixels(mask, GRID, PATCH)[:, 0].numpy()
    expected = [scipy.ndimage.distance_transform_cdt(h, metric="chessboard") for h in hidden]
    assert np.array_equal(distance_to_visible(mask, GRID, PATCH), np.stack(expected))


def test_a_mask_that_shows_nothing_has_no_distances():
    with pytest.raises(ValueError, match="mask must show at least one patch"):
        distance_to_visible(mask_from_binary(torch.ones(1, 24)), GRID, PATCH)


def solved(image: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Laplace's equation as a sparse linear system, one channel."""
    height, width = image.shape
    system, right = scipy.sparse.lil_matrix((image.size, image.size)), np.zeros(image.size)
    for y, x in np.ndindex(height, width):
        here = y * width + x
        system[here, here] = 1
        around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        around = [(v, u) for v, u in around if 0 <= v < height and 0 <= u < width]
        if not hidden[y, x]:
            right[here] = image[y, x]
            continue
        for v, u in around:
            system[here, v * width + u] = -1 / len(around)
    return scipy.sparse.linalg.spsolve(system.tocsr(), right).reshape(height, width)


def test_the_harmonic_fill_solves_laplaces_equation(images, mask):
    hidden = hidden_pixels(mask, GRID, PATCH)
    filled = harmonic_fill(images, hidden)
    for image, area, found in zip(images.numpy(), hidden.numpy(), filled.numpy(), strict=True):
        for channel in range(3):
            np.testing.assert_allclose(found[channel], solved(image[channel], area[0]), atol=1e-4)


def test_one_visible_corner_of_a_large_image_is_filled_in_as_well():
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    hidden = torch.ones(1, 1, 32, 32, dtype=torch.bool)
    hidden[..., :8, :8] = False
    expected = solved(image[0, 0].numpy(), hidden[0, 0].numpy())
    np.testing.assert_allclose(harmonic_fill(image, hidden)[0, 0], expected, atol=1e-3)


@pytest.fixture
def places(mask):
    rng = np.random.default_rng(0)
    distance = distance_to_visible(mask, GRID, PATCH).numpy()
    return rng.random((5, 16, 24)), distance, rng.random((16, 24)) + 0.1


def test_a_relative_error_agrees_with_a_loop_over_places(places):
    errors, distance, variance = places
    for low, high in ((1, 1), (3, 4)):
        total, spread = 0.0, 0.0
        for y, x in np.ndindex(16, 24):
            here = [errors[n, y, x] for n in range(5) if low <= distance[n, y, x] <= high]
            if here:
                total, spread = total + sum(here) / len(here), spread + variance[y, x]
        found = relative_error(errors, distance, variance, low, high)
        assert found.mean() == pytest.approx(total / spread, rel=1e-12)


def test_an_error_as_large_as_the_variance_is_one_wherever_far_pixels_lie(places):
    _, distance, variance = places
    for reach in range(1, 5):
        found = relative_error(variance[None].repeat(5, 0), distance, variance, reach, reach)
        assert found.mean() == pytest.approx(1)


def test_a_distance_that_hardly_a_pixel_has_gives_nothing(places):
    errors, distance, variance = places
    assert relative_error(errors, distance, variance, 40, 50) is None
    distance = np.where(distance > 0, 1, 0)
    distance[0, 0, 0] = 7  # one of 1,440 hidden pixels
    assert relative_error(errors, distance, variance, 7, 7) is None
    assert relative_error(errors, distance, variance, 1, 1) is not None


def test_places_where_all_images_are_alike_have_no_relative_error(places):
    errors, distance, _ = places
    assert relative_error(errors, distance, np.zeros((16, 24)), 1, 1) is None
    curve = locality._curve([errors], distance, np.zeros((16, 24)))
    assert np.isnan(curve[0]).all() and (curve[1] > locality.FEWEST).all()


def stand_in(predict) -> SimpleNamespace:
    """A model that predicts patches from whole images that show visible pixels only."""
    def of_visible(images, mask):
        shown = images * ~hidden_pixels(mask, GRID, PATCH)
        return patchify(predict(shown), PATCH)
    return SimpleNamespace(config={"patch": PATCH}, predict=of_visible)


def test_a_model_that_looks_everywhere_alike_has_the_share_of_the_area(images, mask):
    everywhere = stand_in(lambda x: x.mean((2, 3), keepdim=True).expand_as(x))
    found = gradient_shares(everywhere, images, mask)
    for name in ("near", "far"):
        assert found[f"area share, {name}"].max() < 1
        torch.testing.assert_close(found[f"gradient share, {name}"], found[f"area share, {name}"])


def test_a_model_that_looks_at_neighbours_has_its_whole_gradient_close(images, mask):
    blur = stand_in(lambda x: torch.nn.functional.avg_pool2d(x, 3, 1, 1))
    found = gradient_shares(blur, images, mask)
    assert (found["gradient share, near"] == 1).all()
    assert (found["gradient share, far"] == 0).all()  # it sees nothing there


def test_the_gradient_is_that_of_the_chosen_pixel(images, mask):
    model = SimpleNamespace(predict=lambda x, _: patchify(x, PATCH))
    pixel = torch.tensor([0, 30, 77, 200, 383])
    found = locality._input_gradient(model, images, mask, pixel, GRID, PATCH)
    assert torch.equal(found.flatten(1), 3 * torch.nn.functional.one_hot(pixel, 384).float())


@pytest.fixture(scope="module")
def pictures() -> ImageSet:
    return menagerie("test", 20)


@pytest.fixture
def model(pictures):
    mean, std = pictures.standardisation()
    return mae("toy", seed=0, mean=mean, std=std).eval()


def always(model, picture):
    """Let a model predict ``picture [1,3,H,W]`` whatever it sees."""
    encoder = model.encoder
    model.predict = lambda images, mask: (encoder.patches(picture.expand_as(images))
                                          + 0 * images.sum())
    return model


def values(records, protocol) -> dict:
    return {r.metric: r.value for r in records if r.protocol == protocol}


def test_the_mean_picture_misses_about_all_the_variance(model):
    pictures = menagerie("test", 150)
    mean = torch.from_numpy(pictures.images.mean(0) / 255).float()[None]
    records, curves = locality_records(always(model, mean), pictures, **ABOUT)
    assert set(curves) == {"own masks", "ratio 0.75"}
    found = values(records, "own masks")
    assert [found[f"relative error, {name}"] for name in locality.BINS] == \
        pytest.approx([1] * 4, abs=0.15)


def test_curves_hold_what_the_records_say(model, pictures):
    records, curves = locality_records(model, pictures, **ABOUT)
    for protocol, curve in curves.items():
        found = values(records, protocol)
        assert curve[0, 0] == pytest.approx(found["relative error, 1 px"], rel=1e-5)
        filled = found["relative error of harmonic fill, 2 px"]
        assert curve[1, 1] == pytest.approx(filled, rel=1e-5)
        assert 0.9 < curve[2].sum() <= 1 and (curve[2] > locality.FEWEST).all()


def test_items_are_kept_for_the_model_only(model, pictures):
    records, _ = locality_records(model, pictures, **ABOUT)
    kept = {r.metric for r in records if r.items is not None}
    assert kept == {*(f"relative error, {name}" for name in locality.BINS),
                    "gradient share, near", "gradient share, far"}
    assert all(r.items.dtype == np.float16 and r.value == pytest.approx(
        r.items.astype(float).mean(), rel=1e-3) for r in records if r.items is not None)


def test_a_distance_that_does_not_occur_is_not_tested(model, pictures):
    model.sampler = lambda batch, generator: unit_mask(batch, (8, 8), 0.25, 1, generator=generator)
    few = pictures.subset(slice(0, 2))
    by_name = {r.metric: r for r in locality_records(model, few, **ABOUT)[0]
               if r.protocol == "own masks"}
    assert by_name["relative error, 1 px"].status == "ok"
    missing = by_name["relative error, 5 to 8 px"]
    assert missing.value is None and missing.reason == \
        "hardly any hidden pixel is 5 to 8 px away from all visible ones"


def test_the_study_is_found_the_second_time(tmp_path, monkeypatch):
    monkeypatch.setenv("MAE_LIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MAE_LIB_PUBLISHED", str(tmp_path / "published"))
    setting = studies.Setting(preset="toy", views=0, train_images=64)
    first, again = (LOCALITY(setting, test_images=8) for _ in range(2))
    assert (first.where, again.where) == ("computed", "cache")
    assert again.value["curve/own masks"].shape[0] == 3
    assert {r.n for r in studies.records(again)} == {8}
