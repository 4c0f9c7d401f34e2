"""Collisions and distances of hidden parts against loops over pairs of images."""

from itertools import product

import numpy as np
import pytest

from mae_lib.data.images import ImageSet
from mae_lib.data.menagerie import menagerie
from mae_lib.evaluation.records import records_of
from mae_lib.evaluation.shared_targets import (
    exact_sharing,
    hidden_patches,
    near_sharing,
    pair_count,
    shared_patches,
)

PATCH, SIDE, PLACES = 2, 6, 9


def image_set(pixels, labels):
    labels = np.asarray(labels)
    return ImageSet(np.asarray(pixels, np.uint8), labels, tuple(map(str, range(labels.max() + 1))),
                    "made up", "made up")


def coarse(count=24, levels=2, seed=0, twice=True):
    """Pictures of few flat patches, some noisy ones; the last is the first again, if asked."""
    rng = np.random.default_rng(seed)
    tiles = 90 * rng.integers(0, levels, (count, 1, 3, 3)).repeat(PATCH, 2).repeat(PATCH, 3)
    noisy = (rng.random((count, 1, 3, 3)) < 0.15).repeat(PATCH, 2).repeat(PATCH, 3)
    pixels = (tiles + noisy * rng.integers(0, 2, (count, 1, SIDE, SIDE))).repeat(3, 1)
    labels = rng.integers(0, 3, count)
    if twice:
        pixels[-1], labels[-1] = pixels[0], labels[0]
        pixels[-2], labels[-2] = pixels[1], (labels[1] + 1) % 3
    return image_set(pixels, labels)


def random_pixels(count=20, seed=0):
    rng = np.random.default_rng(seed)
    return image_set(rng.integers(0, 256, (count, 3, SIDE, SIDE)), rng.integers(0, 3, count))


def part(image, place):
    """The pixels of one patch, by slicing."""
    row, col = divmod(place, SIDE // PATCH)
    return image[:, PATCH * row:PATCH * row + PATCH, PATCH * col:PATCH * col + PATCH]


def same(a, b):
    return np.array_equal(a, b)


def differing_pairs(images):
    return [(i, j) for i, j in product(range(len(images)), repeat=2)
            if not same(images.images[i], images.images[j])]


@pytest.mark.parametrize("ratio", [0.15, 0.5, 0.85])
@pytest.mark.parametrize("seed", range(3))
def test_exact_sharing_agrees_with_a_loop_over_pairs(ratio, seed):
    images, hidden = coarse(seed=seed), hidden_patches((3, 3), ratio, 4, seed)
    own, another = np.zeros(len(images), int), np.zeros(len(images), int)
    for mask, (i, j) in product(hidden, differing_pairs(images)):
        if all(same(part(images.images[i], p), part(images.images[j], p)) for p in mask):
            (own if images.labels[i] == images.labels[j] else another)[i] += 1
    found = exact_sharing(images, hidden, PATCH)
    assert found["own class"].tolist() == own.tolist()
    assert found["another class"].tolist() == another.tolist()
    assert ratio > 0.2 or own.any() and another.any()


def test_pairs_are_counted_without_copies():
    images = coarse()
    assert pair_count(images) == len(differing_pairs(images)) / 2 < 24 * 23 / 2
    assert pair_count(random_pixels(20)) == 190


def test_what_is_shared_under_a_mask_is_shared_under_a_smaller_one():
    """The law of the toy worlds: a target with more patches never joins more images."""
    images, counts = coarse(60), []
    for ratio in (0.15, 0.25, 0.5, 0.75, 0.85):
        found = exact_sharing(images, hidden_patches((3, 3), ratio, 6), PATCH)
        counts.append(found["own class"] + found["another class"])
    assert all((more >= less).all() for more, less in zip(counts[:-1], counts[1:], strict=True))
    assert counts[0].sum() > counts[-1].sum()


def test_one_byte_makes_a_difference():
    pixels = np.zeros((2, 3, SIDE, SIDE), np.uint8)
    pixels[1, 2, 5, 5] = 1  # in the last patch
    images = image_set(pixels, [0, 1])
    assert exact_sharing(images, [[0, 1]], PATCH)["another class"].tolist() == [1, 1]
    assert exact_sharing(images, [[0, 8]], PATCH)["another class"].tolist() == [0, 0]
    assert exact_sharing(images, [[0], [8]], PATCH)["own class"].tolist() == [0, 0]


def test_random_pixels_share_nothing():
    images = random_pixels()
    found = exact_sharing(images, hidden_patches((3, 3), 0.15, 5), PATCH)
    assert not found["own class"].any() and not found["another class"].any()
    assert not any(shares.any() for shares in shared_patches(images, PATCH).values())


@pytest.mark.parametrize("seed", range(3))
def test_shared_patches_agree_with_a_loop_over_pairs(seed):
    images = coarse(14, levels=3, seed=seed)
    found = shared_patches(images, PATCH)
    pairs, wanted = differing_pairs(images), {name: np.zeros(len(images)) for name in found}
    for i, p in product(range(len(images)), range(PLACES)):
        mine = part(images.images[i], p)
        others = [images.images[j] for k, j in pairs if k == i]
        flat = all(same(mine[:, 0, 0], mine[:, r, c]) for r, c in product(range(PATCH), repeat=2))
        here = any(same(mine, part(other, p)) for other in others)
        anywhere = any(same(mine, part(other, q)) for other in others for q in range(PLACES))
        for name, hit in (("flat", flat), ("same place", here), ("any place", anywhere),
                          ("same place, not flat", here and not flat),
                          ("any place, not flat", anywhere and not flat)):
            wanted[name][i] += hit / PLACES
    for name in found:
        assert found[name] == pytest.approx(wanted[name], abs=1e-12), name
    assert 0 < found["same place"].mean() < found["any place"].mean() < 1


def test_an_image_does_not_share_with_itself_or_with_a_copy():
    pixels = random_pixels(3).images.copy()
    pixels[0, :, :PATCH, :PATCH] = pixels[0, :, :PATCH, PATCH:2 * PATCH]  # twice in one image
    pixels[2] = pixels[1]
    assert not any(s.any() for s in shared_patches(image_set(pixels, [0, 1, 1]), PATCH).values())
    assert not exact_sharing(image_set(pixels, [0, 1, 1]), [[0]], PATCH)["own class"].any()


def test_colours_are_flat_as_well_as_grey():
    pixels = np.zeros((2, 3, SIDE, SIDE), np.uint8)
    pixels[:, 0], pixels[0, 1, 0, 0] = 200, 1
    assert shared_patches(image_set(pixels, [0, 1]), PATCH)["flat"].tolist() == [8 / 9, 1]


def slow_near(images, hidden, tolerances):
    """One image at a time; the mean distance runs over ordered pairs of different images."""
    pairs, found = differing_pairs(images), []
    for mask in hidden:
        target = [np.concatenate([part(x, p).ravel() for p in mask]).astype(float)
                  for x in images.images]
        far = {(i, j): np.sqrt(((target[i] - target[j]) ** 2).sum()) for i, j in pairs}
        mean = sum(far.values()) / len(far)
        rows = []
        for i in range(len(images)):
            mine = {j: far[k, j] / mean for k, j in pairs if k == i}
            mates = {j for j in mine if images.labels[j] == images.labels[i]}
            ties = [j for j in mine if mine[j] == min(mine.values())]
            row = {"nearest": min(mine.values()),
                   "nearest is of its class": len(mates & set(ties)) / len(ties)}
            for t in tolerances:
                near = {j for j in mine if mine[j] <= t}
                row[f"own class within {t:g}"] = len(near & mates) / len(mine)
                row[f"another class within {t:g}"] = len(near - mates) / len(mine)
            rows.append(row)
        found.append(rows)
    return {name: np.array([[row[name] for row in rows] for rows in found]).mean(0)
            for name in found[0][0]}


@pytest.mark.parametrize("make", [coarse, random_pixels])
@pytest.mark.parametrize("ratio", [0.15, 0.5, 0.85])
@pytest.mark.parametrize("block", [1, 7, 512])
def test_near_sharing_agrees_with_a_loop_over_pairs(make, ratio, block):
    images, hidden, tolerances = make(), hidden_patches((3, 3), ratio, 3), (0, 0.3, 0.98)
    found = near_sharing(images, hidden, PATCH, tolerances=tolerances, block=block)
    wanted = slow_near(images, hidden, tolerances)
    assert found.keys() == wanted.keys()
    for name in found:
        assert found[name] == pytest.approx(wanted[name], abs=1e-12), name


def test_within_0_is_shared_exactly():
    images, hidden = coarse(), hidden_patches((3, 3), 0.5, 4)
    found, exact = (near_sharing(images, hidden, PATCH, tolerances=[0]),
                    exact_sharing(images, hidden, PATCH))
    other = np.array([sum(i == k for k, _ in differing_pairs(images)) for i in range(24)])
    for name in ("own class", "another class"):
        assert found[f"{name} within 0"] * other * 4 == pytest.approx(exact[name], abs=1e-9)


def test_a_target_that_all_images_share_is_at_distance_0():
    pixels = random_pixels(4).images.copy()
    pixels[:, :, :PATCH, :PATCH] = 7
    found = near_sharing(image_set(pixels, [0, 0, 1, 1]), [[0]], PATCH, tolerances=[0])
    assert not found["nearest"].any()
    for name in ("nearest is of its class", "own class within 0"):
        assert found[name] == pytest.approx([1 / 3] * 4)


def test_classes_that_look_alike_find_each_other():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 10)
    faces = rng.integers(20, 230, (3, 3, SIDE, SIDE))
    images = image_set(faces[labels] + rng.integers(0, 20, (30, 3, SIDE, SIDE)), labels)
    found = near_sharing(images, hidden_patches((3, 3), 0.5, 3), PATCH)
    assert found["nearest is of its class"].tolist() == [1.0] * 30
    assert found["nearest"].max() < 0.3
    assert found["own class within 0.5"] == pytest.approx([9 / 29] * 30)
    assert not found["another class within 0.5"].any()


def test_distances_are_exact_for_bright_pictures():
    """One grey level between two white pictures of many pixels, which float32 would lose."""
    pixels = np.full((3, 3, 64, 64), 255, np.uint8)
    pixels[1, 0, 0, 0], pixels[2] = 254, 0
    found = near_sharing(image_set(pixels, [0, 0, 1]), [list(range(256))], 4, tolerances=[])
    whole = 255 * np.sqrt(3 * 64 * 64)
    almost = np.sqrt(whole**2 - 255**2 + 254**2)
    mean = (1 + whole + almost) / 3
    assert found["nearest"] == pytest.approx(np.array([1, 1, almost]) / mean, rel=1e-12)


def test_items_make_records_of_pictures():
    images = menagerie("train", 40, 32)
    hidden = hidden_patches((8, 8), 0.75, 2)
    items = {**exact_sharing(images, hidden, 4), **near_sharing(images, hidden, 4)}
    for record in records_of(items, setting={"ratio": 0.75}, seed=0, dataset="menagerie",
                             split="train", protocol="targets"):
        assert record.n == 40 and record.value == pytest.approx(items[record.metric].mean())
    assert items["nearest"].min() > 0


def test_masks_are_nested_and_hide_as_many_as_the_samplers_of_training():
    few, many = (hidden_patches((8, 8), ratio, 5, seed=3) for ratio in (0.25, 0.75))
    assert few.shape == (5, 16) and many.shape == (5, 48)
    assert all(set(a) < set(b) for a, b in zip(few.tolist(), many.tolist(), strict=True))
    assert len({tuple(row) for row in few.tolist()}) == 5
    assert np.array_equal(few, hidden_patches((8, 8), 0.25, 5, seed=3))
    assert not np.array_equal(few, hidden_patches((8, 8), 0.25, 5, seed=4))


def test_what_cannot_be_is_refused():
    images = coarse()
    with pytest.raises(ValueError, match="masks must be at least 1, got 0"):
        hidden_patches((3, 3), 0.5, 0)
    for measure in (exact_sharing, near_sharing):
        for wrong in ([0, 1], [[]], [[0.5]]):
            with pytest.raises(ValueError, match=r"hidden must be indices \[M,H\] of patches, got"):
                measure(images, wrong, PATCH)
        with pytest.raises(ValueError, match=r"hidden must lie in 0\.\.8, got -1\.\.9"):
            measure(images, [[9, -1]], PATCH)
        with pytest.raises(ValueError, match="patch must divide the image side"):
            measure(images, [[0]], 4)
    with pytest.raises(ValueError, match="patch must divide the image side"):
        shared_patches(images, 4)
    with pytest.raises(ValueError, match="block must be at least 1, got 0"):
        near_sharing(images, [[0]], PATCH, block=0)
    with pytest.raises(ValueError, match=r"tolerances must not be negative, got -0\.1"):
        near_sharing(images, [[0]], PATCH, tolerances=[0.5, -0.1])
    with pytest.raises(ValueError, match="images must hold two that differ, got 3 of the same"):
        near_sharing(image_set(images.images[[0, 0, 0]], [0, 1, 1]), [[0]], PATCH)
