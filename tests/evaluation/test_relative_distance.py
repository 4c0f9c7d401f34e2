"""Oracle O8.9: loops over pairs, all masks listed, and labels that mean nothing."""

from itertools import combinations, permutations, product

import numpy as np
import pytest
import torch

from mae_lib.evaluation.records import records_of
from mae_lib.evaluation.relative_distance import (
    bootstrap,
    pair_means,
    ratio_under_one_mask,
    ratio_under_two_masks,
    relative_distance,
    zero_filled,
)
from mae_lib.models.masks import Mask, mask_from_binary

SIZES = {"equal": (6, 6, 6), "unequal": (9, 1, 5, 2)}


def labels_of(sizes):
    return np.random.default_rng(9).permutation(np.repeat(np.arange(len(sizes)), sizes))


def clusters(y, distance=1.0, width=4, seed=0):
    rng = np.random.default_rng(seed)
    return (distance * rng.normal(size=(y.max() + 1, width))[y]
            + rng.normal(size=(len(y), width)))


def loop(X, y, power=1):
    """Means over pairs of one class and of different classes, one pair after another."""
    found = {True: [], False: []}
    for i, j in combinations(range(len(X)), 2):
        total = sum((a - b) ** 2 for a, b in zip(X[i].tolist(), X[j].tolist(), strict=True))
        found[bool(y[i] == y[j])].append(total ** (power / 2))
    return tuple(sum(part) / len(part) for part in (found[True], found[False]))


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("block", [1, 4, 512])
def test_means_agree_with_a_loop_over_pairs(sizes, power, block):
    y = labels_of(SIZES[sizes])
    X = clusters(y)
    found = relative_distance(X, y, squared=power == 2, block=block)
    intra, inter = loop(X, y, power)
    assert (found.intra, found.inter) == pytest.approx((intra, inter), rel=1e-12)
    assert found.ratio == pytest.approx(intra / inter, rel=1e-12)


def test_the_parts_of_equal_classes_are_each_images_mean_distances():
    y = labels_of(SIZES["equal"])
    X = clusters(y)
    found = relative_distance(X, y)
    for i in range(len(X)):
        far = np.linalg.norm(X - X[i], axis=1)
        mates = (y == y[i]) & (np.arange(len(X)) != i)
        assert found.own[i] == pytest.approx(far[mates].mean(), rel=1e-12)
        assert found.other[i] == pytest.approx(far[y != y[i]].mean(), rel=1e-12)


def test_parts_make_records_with_the_means_as_values():
    y = labels_of(SIZES["unequal"])
    found = relative_distance(clusters(y), y)
    records = records_of({"intra": found.own, "inter": found.other}, setting={}, seed=0,
                         dataset="clusters", split="test", protocol="mean token")
    assert [r.value for r in records] == pytest.approx([found.intra, found.inter], rel=1e-12)
    assert found.own[y == 1] == 0  # alone in its class


def test_classes_that_cluster_come_out_below_1_and_the_further_apart_the_lower():
    y = labels_of((30, 30, 30))
    ratios = [relative_distance(clusters(y, distance), y).ratio for distance in (1, 2, 4, 8)]
    assert 1 > ratios[0] > ratios[1] > ratios[2] > ratios[3] > 0


def test_labels_that_mean_nothing_give_1():
    """Mean over all permutations: exactly 1; and with many images each is near it."""
    X, y = clusters(labels_of((5,)), width=3), np.array([0, 0, 0, 1, 1])
    found = [relative_distance(X, np.array(p)) for p in set(permutations(y.tolist()))]
    intra, inter = (np.mean([getattr(f, name) for f in found]) for name in ("intra", "inter"))
    assert intra == pytest.approx(inter, rel=1e-12)
    X = np.random.default_rng(0).normal(size=(600, 8))
    y = np.random.default_rng(1).integers(0, 10, 600)
    assert relative_distance(X, y).ratio == pytest.approx(1, abs=0.01)


def test_scaling_shifting_and_names_of_classes_change_no_ratio():
    y = labels_of(SIZES["unequal"])
    X = clusters(y)
    wanted = relative_distance(X, y).ratio
    assert relative_distance(3e4 * X - 7, np.array([8, 3, 5, -1])[y]).ratio == pytest.approx(
        wanted, rel=1e-9)
    assert relative_distance(X, np.array(list("dabc"))[y]).ratio == pytest.approx(wanted, rel=1e-12)


def test_small_distances_far_from_the_origin_are_not_lost():
    X, y = np.array([[0.0], [1e-6], [1.0], [1.0 + 3e-6]]) + 1e3, np.array([0, 0, 1, 1])
    assert relative_distance(X, y).intra == pytest.approx(2e-6, rel=1e-6)


def slow_bootstrap(X, y, draws, seed):
    rng, found = np.random.default_rng(seed), []
    for _ in range(draws):
        chosen = rng.integers(0, len(X), len(X))
        means = {True: [], False: []}
        for i, j in combinations(chosen, 2):
            if i != j:
                means[bool(y[i] == y[j])].append(np.linalg.norm(X[i] - X[j]))
        found.append(np.mean(means[True]) / np.mean(means[False]))
    return found


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("block", [3, 512])
def test_the_bootstrap_agrees_with_loops_over_drawn_images(sizes, block):
    y = labels_of(SIZES[sizes])
    X = clusters(y)
    found = bootstrap(X, y, draws=12, seed=4, block=block)
    assert found == pytest.approx(slow_bootstrap(X, y, 12, 4), rel=1e-10)


def test_the_bootstrap_spreads_as_much_as_new_samples_do():
    """To draw each image's part instead of the images would give half of it."""
    def sample(seed, each=50):
        y = np.repeat([0, 1], each)
        return clusters(np.array([0, 1]), 1.5, 2, seed=3)[y] + np.random.default_rng(
            [5, seed]).normal(size=(2 * each, 2)), y

    truth = np.std([relative_distance(*sample(seed)).ratio for seed in range(400)])
    guesses = [bootstrap(*sample(seed), draws=200, seed=seed).std() for seed in range(8)]
    assert np.mean(guesses) == pytest.approx(truth, rel=0.15)
    parts = relative_distance(*sample(0))
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, 100, 100) for _ in range(400)]
    naive = np.std([parts.own[d].mean() / parts.other[d].mean() for d in drawn])
    assert naive < 0.65 * truth


def all_masks(pixels, hidden):
    """Every mask ``[M, pixels]`` that hides so many, 1 where a pixel is kept."""
    return np.array([[p not in out for p in range(pixels)]
                     for out in combinations(range(pixels), hidden)], float)


PIXELS = 5


@pytest.fixture(params=SIZES)
def world(request):
    y = labels_of(SIZES[request.param])
    return 0.7 + clusters(y, width=PIXELS), y


def mean_squares(pairs_of_masks, X, y):
    """Ratio of mean squared distances over a list of masks for the first and the second image."""
    totals = np.zeros(2)
    for one, two in pairs_of_masks:
        for i, j in permutations(range(len(X)), 2):
            far = ((one * X[i] - two * X[j]) ** 2).sum()
            totals[int(y[i] == y[j])] += far
    same = sum(y[i] == y[j] for i, j in permutations(range(len(X)), 2))
    return (totals[1] / same) / (totals[0] / (len(X) * (len(X) - 1) - same))


@pytest.mark.parametrize("hidden", [0, 1, 3, 4])
def test_under_one_mask_the_ratio_is_the_same_at_every_masking_ratio(world, hidden):
    masks = all_masks(PIXELS, hidden)
    assert mean_squares(zip(masks, masks, strict=True), *world) == pytest.approx(
        ratio_under_one_mask(pair_means(*world)), rel=1e-10)


@pytest.mark.parametrize("hidden", [0, 3, 4])
def test_under_two_masks_the_closed_form_is_the_mean_over_all_of_them(world, hidden):
    masks = all_masks(PIXELS, hidden)
    assert mean_squares(product(masks, repeat=2), *world) == pytest.approx(
        ratio_under_two_masks(pair_means(*world), 1 - hidden / PIXELS), rel=1e-10)


def test_the_closed_forms_without_masks_are_the_measured_ratio(world):
    means, found = pair_means(*world), relative_distance(*world, squared=True)
    assert ratio_under_one_mask(means) == pytest.approx(found.ratio, rel=1e-10)
    assert ratio_under_two_masks(means, 0) == pytest.approx(
        means.squares_within / means.squares_across, rel=1e-12)


def test_under_two_masks_no_ratio_between_the_ends_is_best(world):
    means = pair_means(*world)
    steps = np.diff([ratio_under_two_masks(means, kept) for kept in np.linspace(0, 1, 21)])
    assert (steps < 0).all() or (steps > 0).all()


def test_pair_means_agree_with_a_loop(world):
    X, y = world
    pairs = list(permutations(range(len(X)), 2))
    for same, squares, products in ((True, 0, 1), (False, 2, 3)):
        chosen = [(i, j) for i, j in pairs if (y[i] == y[j]) == same]
        means = pair_means(X, y)
        assert means[squares] == pytest.approx(
            np.mean([X[i] @ X[i] + X[j] @ X[j] for i, j in chosen]), rel=1e-10)
        assert means[products] == pytest.approx(
            np.mean([X[i] @ X[j] for i, j in chosen]), rel=1e-10)


def test_hidden_patches_are_filled_with_zeros(generator):
    images = torch.rand(2, 3, 4, 6, generator=generator) + 0.1
    mask = mask_from_binary(torch.tensor([[1, 0, 0, 1, 1, 0], [0, 1, 0, 0, 1, 1]]))
    found = zero_filled(images, mask, 2).reshape(2, 3, 4, 6)
    for b, row, col in product(range(2), range(4), range(6)):
        hidden = row // 2 * 3 + col // 2 in mask.hidden[b].tolist()
        assert np.array_equal(found[b, :, row, col],
                              np.zeros(3) if hidden else images[b, :, row, col].numpy())


def test_masked_pictures_come_out_as_the_closed_forms_say(generator):
    """Both by sampling, as a study would: patches of pictures, one mask or one for each."""
    y = np.repeat(np.arange(4), 15)
    images = torch.from_numpy(0.5 + 0.2 * clusters(y, width=48)).reshape(60, 3, 4, 4)
    means = pair_means(images.flatten(1).numpy(), y)
    one, two = [], []
    for _ in range(150):
        order = torch.rand(60, 4, generator=generator).argsort(1)
        masks = Mask(order[:, :1], order[:, 1:])
        same = Mask(*(part[:1].expand(60, -1) for part in masks))
        for found, mask in ((one, same), (two, masks)):
            part = relative_distance(zero_filled(images, mask, 2), y, squared=True)
            found.append((part.intra, part.inter))
    for found, wanted in ((one, ratio_under_one_mask(means)),
                          (two, ratio_under_two_masks(means, 0.25))):
        intra, inter = np.mean(found, 0)
        assert intra / inter == pytest.approx(wanted, abs=0.01)


def test_what_cannot_be_is_refused():
    X, y = np.eye(4), np.array([0, 0, 1, 1])
    for measure in (relative_distance, bootstrap, pair_means):
        with pytest.raises(ValueError, match=r"X must be finite features \[N,D\], got shape \[4\]"):
            measure(X[0], y)
        with pytest.raises(ValueError, match=r"got shape \[4, 4\] with NaN or infinity"):
            measure(X * np.nan, y)
        with pytest.raises(ValueError, match=r"y must hold 4 classes, one an item, got shape .3."):
            measure(X, y[1:])
        for wrong in ([0, 0, 0, 0], [0, 1, 2, 3]):
            with pytest.raises(ValueError, match="y must hold at least 2 classes and one of them "
                                                 "twice, got"):
                measure(X, np.array(wrong))
    for measure in (relative_distance, bootstrap):
        with pytest.raises(ValueError, match="block must be at least 1, got 0"):
            measure(X, y, block=0)
    with pytest.raises(ValueError, match="X must differ between some images of different classes"):
        relative_distance(np.ones((4, 2)), y)
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        bootstrap(X, y, draws=0)
    with pytest.raises(ValueError, match="every draw has pairs of both kinds, got 3 images of 2"):
        bootstrap(X[:3], y[:3], draws=50)
    with pytest.raises(ValueError, match=r"kept must lie in \[0, 1\], got 1\.5"):
        ratio_under_two_masks(pair_means(X, y), 1.5)
