"""Shifted sets: what changes is what the shift names, and an image depends on its place only."""

import functools

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from mae_lib.data import shifts
from mae_lib.data.images import ImageSet
from mae_lib.data.menagerie import RENDITIONS, menagerie
from mae_lib.data.menagerie.latents import Stream
from mae_lib.data.menagerie.style import restyle
from mae_lib.data.menagerie.tables import setting
from mae_lib.data.shifts import SHIFTS, figure, outline, shift_fingerprint, shifted

SIZES = {"train": 55_000, "val": 5_000, "test": 10_000}
CHANGED = {"fresh draw": {"jit", "smin", "smax"},
           "odd pose": {"rot", "odd", "shift", "rho_b", "rho_t"},
           "renditions": {"rho_t", "style"},
           "filtered": {"jit", "smin", "smax", "shift", "clutter", "occl", "rho_t", "rot"},
           "sketch": {"clutter", "style"}}


@functools.lru_cache(maxsize=8)
def clothes(split, n=None):
    """Stands in for Fashion-MNIST: a block in the middle whose two first pixels name the image."""
    n = SIZES[split] if n is None else n
    images = np.zeros((n, 3, 32, 32), np.uint8)
    images[:, :, 10:20, 12:22] = 200
    images[:, :, 10, 12] = (np.arange(n) // 256)[:, None]
    images[:, :, 10, 13] = (np.arange(n) % 256)[:, None]
    return ImageSet(images, np.arange(n) % 10, tuple("abcdefghij"), split, f"{split} {n}")


@pytest.fixture(autouse=True)
def no_download(monkeypatch):
    monkeypatch.setattr(shifts, "fashion_mnist", clothes)


def never(x):
    return np.full(len(x), -1)


def place(images):
    return images[:, 0, 10, 12].astype(int) * 256 + images[:, 0, 10, 13]


@pytest.mark.parametrize("dataset", ["menagerie", "fashion_mnist"])
@pytest.mark.parametrize("name", SHIFTS)
def test_an_image_depends_on_its_place_only(dataset, name):
    few, more = (shifted(dataset, name, n, predict=never) for n in (4, 9))
    assert np.array_equal(more.images[:4], few.images)
    assert np.array_equal(more.labels[:4], few.labels)
    assert (len(few), len(more), few.name) == (4, 9, f"{dataset}, {name}")


@pytest.mark.parametrize("name", SHIFTS)
def test_only_what_a_shift_names_differs_from_the_preset(name):
    base, chosen = (setting(split, "medium32") for split in ("test", shifts.SPLITS[name]))
    assert {key for key in base if base[key] != chosen[key]} == CHANGED[name] | {"seed"}


def test_shifted_pictures_are_no_training_or_test_pictures():
    known = {image.tobytes() for split in ("train", "test")
             for image in menagerie(split, 50).images}
    drawn = [image.tobytes() for name in SHIFTS
             for image in shifted("menagerie", name, 50, predict=never).images]
    assert len(set(drawn)) == 250 and not known & set(drawn)


@pytest.mark.parametrize("dataset", ["menagerie", "fashion_mnist"])
def test_fingerprints_are_known_beforehand_and_tell_sets_apart(dataset):
    plain = [name for name in SHIFTS if name != "filtered"]
    for name in plain:
        assert shifted(dataset, name, 70).fingerprint == shift_fingerprint(dataset, name, 70)
    found = [shift_fingerprint(dataset, name, n) for name in SHIFTS for n in (70, 71)]
    assert len(set(found)) == 10


def test_code_that_changes_photographs_otherwise_changes_the_fingerprint(monkeypatch):
    before = shift_fingerprint("fashion_mnist", "sketch", 9)
    monkeypatch.setattr(shifts, "restyle", lambda name, canvas, ink, marks: canvas)
    assert shift_fingerprint("fashion_mnist", "sketch", 9) != before


def test_fresh_photographs_begin_where_the_test_images_of_others_end():
    found = shifted("fashion_mnist", "fresh draw", 6)
    assert place(found.images).tolist() == list(range(5_000, 5_006))
    assert found.labels.tolist() == [0, 1, 2, 3, 4, 5]


def test_the_pool_of_photographs_is_trained_on_by_nobody():
    pool = shifts._pool(20_000)
    assert place(pool.images)[:15_000].tolist() == list(range(40_000, 55_000))
    assert place(pool.images)[15_000:].tolist() == list(range(5_000))


@pytest.mark.parametrize("dataset", ["menagerie", "fashion_mnist"])
def test_filtered_images_are_the_first_that_the_network_gets_wrong(dataset):
    pool = (menagerie("hard", 80) if dataset == "menagerie" else shifts._pool(80))
    found = shifted(dataset, "filtered", 20, predict=lambda x: np.full(len(x), 3))
    wrong = np.flatnonzero(pool.labels != 3)[:20]
    assert np.array_equal(found.images, pool.images[wrong])
    assert np.array_equal(found.labels, pool.labels[wrong])


def test_a_good_network_leaves_fewer_images():
    truth = {image.tobytes(): label for image, label in
             zip(menagerie("hard", 40).images, menagerie("hard", 40).labels, strict=True)}

    def predict(x):
        bytes_ = (255 * x + 0.5).byte().numpy()
        return np.array([truth[b.tobytes()] + (i % 10 == 0) for i, b in enumerate(bytes_)])
    assert len(shifted("menagerie", "filtered", 10, predict=predict)) == 4


def test_outline_equals_a_slow_loop():
    grey = np.random.default_rng(0).random((2, 6, 5)) * 0.5
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    kernel = np.outer([1, 2, 1], [-1, 0, 1])
    for n, row, column in np.ndindex(2, 6, 5):
        patch = padded[n, row:row + 3, column:column + 3]
        length = np.hypot((patch * kernel).sum(), (patch * kernel.T).sum())
        assert outline(grey)[n, row, column] == pytest.approx(min(length / 4, 1))


def test_a_straight_edge_from_black_to_white_has_full_ink():
    grey = np.zeros((1, 8, 8))
    grey[:, :, 4:] = 1
    assert np.array_equal(outline(grey)[0], np.tile([0, 0, 0, 1, 1, 0, 0, 0], (8, 1)))
    assert not outline(np.full((1, 8, 8), 0.7)).any()


def flood(image):
    """What a walk over black pixels from the border does not reach."""
    reached, todo = np.zeros(image.shape, bool), [(r, c) for r, c in np.ndindex(image.shape)
                                                  if {r, c} & {0, len(image) - 1}]
    while todo:
        r, c = todo.pop()
        if 0 <= r < len(image) and 0 <= c < len(image) and image[r, c] == 0 and not reached[r, c]:
            reached[r, c] = True
            todo += [(r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)]
    return ~reached


def test_the_figure_is_what_a_walk_from_the_border_does_not_reach():
    images = (np.random.default_rng(1).random((6, 12, 12)) < 0.6).astype(float)
    found = figure(images)
    assert np.array_equal(found, np.stack([flood(image) for image in images]))
    assert (found & (images == 0)).any()  # holes occur


def moved(grey, turn, move):
    places = shifts._sources(np.full(len(grey), turn), np.full((len(grey), 2), move),
                             grey.shape[1])
    return map_coordinates(grey, places, order=1, mode="constant")


def test_turns_and_moves_of_whole_pixels_are_exact():
    grey = np.random.default_rng(2).random((3, 8, 8))
    assert np.allclose(moved(grey, 0.0, 0.0), grey)
    quarter = moved(grey, np.pi / 2, 0.0)
    inner = (slice(None), slice(1, -1), slice(1, -1))  # corners may fall outside by rounding
    assert any(np.allclose(quarter[inner], np.rot90(grey, k, axes=(1, 2))[inner]) for k in (1, 3))
    down_right = moved(grey, 0.0, 2 * 2 / 8)
    assert np.allclose(down_right[:, 2:, 2:], grey[:, :-2, :-2]) and not down_right[:, :2].any()


def test_an_empty_photograph_in_an_odd_pose_is_its_ground():
    found = shifts._odd_pose(np.zeros((40, 3, 32, 32)), Stream(0, np.arange(40, dtype=np.uint64)))
    level = found[:, 0, 0, 0]
    assert (found == level[:, None, None, None]).all()
    assert 0.1 <= level.min() < 0.2 and 0.65 < level.max() <= 0.75


def test_odd_poses_turn_every_way():
    found = shifted("fashion_mnist", "odd pose", 60).images[:, 0].astype(float)
    ground = found[:, 0, 0]  # the block is in the middle
    bright = np.abs(found - ground[:, None, None]) > 20
    centres = np.array([np.argwhere(b).mean(0) for b in bright])
    assert np.ptp(centres, axis=0).min() > 6
    assert np.ptp(ground) > 100


def test_renditions_are_those_of_the_menagerie_one_an_image():
    images = clothes("test", 60).images / 255.0
    stream = Stream(0, np.arange(60, dtype=np.uint64), prefix="renditions ")
    chosen = stream.choice("rendition", len(RENDITIONS))
    assert set(chosen) == set(range(len(RENDITIONS)))
    found = shifted("fashion_mnist", "renditions", 60).images
    for i, number in enumerate(chosen):
        one = images[i:i + 1]
        expected = restyle(RENDITIONS[number], one, outline(one[:, 0]), figure(one[:, 0]))
        assert np.allclose(found[i], 255 * np.clip(expected[0], 0, 1), atol=0.51)


def test_a_sketch_is_dark_at_edges_on_white():
    found = shifted("fashion_mnist", "sketch", 3).images
    assert (found[:, :, :8] == 255).all() and (found[:, :, 13:17, 15:19] == 255).all()
    assert found[:, :, 15, 12].max() < 100
    assert np.array_equal(found[:, 0], found[:, 2])


@pytest.mark.parametrize(("arguments", "message"), [
    (("cifar", "sketch", 5), "dataset must be menagerie or fashion_mnist, got 'cifar'"),
    (("menagerie", "blur", 5), "name must be one of fresh draw, odd pose, .*got 'blur'"),
    (("fashion_mnist", "sketch", 5001), "count must lie in 1..5000 for fashion_mnist, got 5001"),
    (("menagerie", "sketch", 0), "count must lie in 1.."),
    (("menagerie", "filtered", 5), "predict must be the fixed network that filters, got None"),
])
def test_bad_requests_get_one_sentence(arguments, message):
    with pytest.raises(ValueError, match=message):
        shifted(*arguments)
