"""CKA against Gram matrices, double sums and closed forms; occlusion with models that know."""

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group

from mae_lib.data.images import ImageSet
from mae_lib.evaluation.cka import batches_of
from mae_lib.evaluation.similarity import (
    MinibatchCKA,
    PooledPixels,
    block_features,
    cka_matrix,
    cross_model_cka,
    level,
    linear_cka,
    occlusion_cka,
    occlusion_masks,
    occlusion_retrieval,
    occlusion_summary,
    retrieved,
)
from mae_lib.models.encoder import Encoder

RATIOS = (0.0, 0.25, 0.75, 0.9)


def gaussians(n=60, d=12, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def related(n=60, seed=0):
    """Two sets of features that share a part."""
    X, noise = gaussians(n, 12, seed), gaussians(n, 7, seed + 1)
    return X, X[:, :7] + noise


def picture_set(count=300, size=16, seed=0):
    """Blots of a colour of their own: neighbouring patches are alike, as in pictures."""
    rng = np.random.default_rng(seed)
    rough = rng.random((count, 3, 4, 4)).repeat(size // 4, 2).repeat(size // 4, 3)
    tinted = 0.4 * rough + 0.4 * rng.random((count, 3, 1, 1)) + 0.2 * rng.random(
        (count, 3, size, size))
    return ImageSet((255 * tinted).astype(np.uint8), np.zeros(count, np.int64), ("thing",), "blots",
                    f"blots {count} {size} {seed}")


IMAGES = picture_set()


def tiny(seed=0, **changes):
    torch.manual_seed(seed)
    return Encoder(**{"size": 16, "patch": 2, "width": 32, "depth": 2, "heads": 4} | changes).eval()


ENCODER = tiny()


def gram_cka(X, Y):
    """Biased, from centred Gram matrices."""
    H = np.eye(len(X)) - 1 / len(X)
    K, L = H @ X @ X.T @ H, H @ Y @ Y.T @ H
    return (K * L).sum() / np.sqrt((K * K).sum() * (L * L).sum())


def song_hsic(K, L):
    """The unbiased estimate as Song et al. write it, with zero diagonals."""
    n = len(K)
    K, L, one = K - np.diag(np.diag(K)), L - np.diag(np.diag(L)), np.ones(n)
    total = np.trace(K @ L) + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * one @ K @ L @ one) / (n * (n - 3))


def song_cka(X, Y):
    K, L = X @ X.T, Y @ Y.T
    return song_hsic(K, L) / np.sqrt(song_hsic(K, K) * song_hsic(L, L))


def quadruple_hsic(K, L):
    """The same estimate as a mean over all ordered quadruples of different items."""
    n = len(K)
    terms = [K[i, j] * (L[i, j] + L[q, r] - 2 * L[i, q])
             for i, j, q, r in itertools.permutations(range(n), 4)]
    return np.mean(terms)


# The estimator


@pytest.mark.parametrize("unbiased", [False, True])
def test_features_are_like_themselves(unbiased):
    X = gaussians()
    assert linear_cka(X, X, unbiased) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("unbiased", [False, True])
def test_turning_scaling_and_shifting_change_nothing(unbiased):
    X, Y = related()
    turn, expected = ortho_group.rvs(12, random_state=0), linear_cka(X, Y, unbiased)
    assert 0.2 < expected < 0.9
    for same in (X @ turn, 1e3 * X, X + 50, 0.1 * X @ turn - 3):
        assert linear_cka(same, Y, unbiased) == pytest.approx(expected, abs=1e-10)
        assert linear_cka(Y, same, unbiased) == pytest.approx(expected, abs=1e-10)


def test_stretching_one_direction_changes_it():
    X, _ = related()
    assert linear_cka(X * np.r_[10, np.ones(11)], X) < 0.8


def test_the_feature_form_equals_the_gram_form():
    X, Y = related()
    assert linear_cka(X, Y) == pytest.approx(gram_cka(X, Y), abs=1e-12)
    assert linear_cka(X, Y, unbiased=True) == pytest.approx(song_cka(X, Y), abs=1e-12)


def test_the_unbiased_estimate_is_a_mean_over_quadruples():
    X, Y = related(9)
    K, L = X @ X.T, Y @ Y.T
    expected = quadruple_hsic(K, L) / np.sqrt(quadruple_hsic(K, K) * quadruple_hsic(L, L))
    assert linear_cka(X, Y, unbiased=True) == pytest.approx(expected, abs=1e-12)


def test_a_shift_of_all_rows_leaves_every_sum_as_it_was():
    X, Y = related()
    plain, shifted = MinibatchCKA(), MinibatchCKA()
    plain.update(X, Y)
    shifted.update(X + 7, Y - 5)
    np.testing.assert_allclose(shifted.sums, plain.sums, rtol=1e-10)
    K, L = X @ X.T, Y @ Y.T
    np.testing.assert_allclose(plain.sums, [song_hsic(K, L), song_hsic(K, K), song_hsic(L, L)],
                               rtol=1e-10)


def test_only_the_biased_form_finds_likeness_between_independent_features():
    X, Y = gaussians(256, 512, 0), gaussians(256, 512, 1)
    assert linear_cka(X, Y) == pytest.approx(0.666, abs=0.003)
    assert abs(linear_cka(X, Y, unbiased=True)) < 0.005


def test_shuffled_pairs_are_not_alike():
    X, Y = related(2000)
    order = np.random.default_rng(2).permutation(len(X))
    assert linear_cka(X, Y, unbiased=True) > 0.3
    assert abs(linear_cka(X, Y[order], unbiased=True)) < 0.02


def test_batches_add_up_before_the_one_division():
    X, Y = related(400)
    batches, parts = MinibatchCKA(), np.zeros(3)
    for rows in (slice(0, 130), slice(130, 400)):
        batches.update(X[rows], Y[rows])
        K, L = X[rows] @ X[rows].T, Y[rows] @ Y[rows].T
        parts += [song_hsic(K, L), song_hsic(K, K), song_hsic(L, L)]
    assert batches.value() == pytest.approx(parts[0] / np.sqrt(parts[1] * parts[2]), abs=1e-12)


def test_one_batch_is_the_full_unbiased_value():
    X, Y = related(200)
    assert cka_matrix([X, Y], batch=200)[0, 1] == pytest.approx(
        linear_cka(X, Y, unbiased=True), abs=1e-12)


def test_the_matrix_holds_every_pair():
    features = [*related(300), gaussians(300, 5, 9)]
    found = cka_matrix(features, batch=128)
    for i, j in itertools.product(range(3), repeat=2):
        batches = MinibatchCKA()
        for rows in (slice(0, 100), slice(100, 200), slice(200, 300)):
            batches.update(features[i][rows], features[j][rows])
        assert found[i, j] == pytest.approx(batches.value(), abs=1e-12)


@pytest.mark.parametrize(("count", "sizes"), [(256, {256}), (257, {128, 129}), (2000, {250})])
def test_batches_are_equal_runs(count, sizes):
    found = batches_of(count)
    assert {b.stop - b.start for b in found} == sizes
    assert [i for b in found for i in range(b.start, b.stop)] == list(range(count))


@pytest.mark.parametrize("unbiased", [False, True])
def test_flat_features_have_no_value(unbiased):
    X = gaussians()
    assert np.isnan(linear_cka(np.ones((60, 3)), X, unbiased))
    assert np.isnan(cka_matrix([np.ones((60, 3)), X])[0, 1])


def test_nothing_yet_is_no_value():
    assert np.isnan(MinibatchCKA().value())


def test_higher_arrays_are_flattened():
    X, Y = related()
    assert linear_cka(X.reshape(60, 3, 4), Y) == linear_cka(X, Y)


# Representations of encoders


def test_features_of_blocks_are_pooled_residual_streams():
    x = IMAGES.batch(slice(None))
    with torch.no_grad():
        blocks = ENCODER(x, blocks=(0, 1)).blocks
    kinds = {name: block_features(ENCODER, IMAGES, name, batch=128)
             for name in ("mean", "cls", "cls+mean", "tokens")}
    for i in range(2):
        near = {"rtol": 1e-4, "atol": 1e-5}
        np.testing.assert_allclose(kinds["mean"][i], blocks[i][:, 1:].mean(1), **near)
        np.testing.assert_allclose(kinds["cls"][i], blocks[i][:, 0], **near)
        np.testing.assert_allclose(kinds["tokens"][i], blocks[i][:, 1:].flatten(0, 1), **near)
        assert np.array_equal(kinds["cls+mean"][i],
                              np.hstack([kinds["cls"][i], kinds["mean"][i]]))


def test_an_encoder_without_a_class_token_pools_all_its_tokens():
    bare = tiny(class_token=False)
    with torch.no_grad():
        expected = bare(IMAGES.batch(slice(None)), blocks=(1,)).blocks[1].mean(1)
    np.testing.assert_allclose(block_features(bare, IMAGES)[1], expected, rtol=1e-4, atol=1e-5)


def test_a_levelled_image_has_no_mean_colour_and_one_contrast():
    mean, std = torch.tensor([0.2, 0.5, 0.6]), torch.tensor([0.3, 0.1, 0.2])
    x = IMAGES.batch(slice(0, 5))
    z = (level(x, mean, std) - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(z.mean((2, 3)), torch.zeros(5, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.square().mean((1, 2, 3)), torch.ones(5))
    tinted = level(0.5 * x + torch.tensor([0.1, 0.3, 0.2])[:, None, None], mean, std)
    torch.testing.assert_close(tinted, level(x, mean, std), atol=1e-5, rtol=1e-5)


def test_a_flat_image_stays_flat():
    mean, std = torch.full((3,), 0.4), torch.full((3,), 0.2)
    torch.testing.assert_close(level(torch.full((1, 3, 8, 8), 0.9), mean, std),
                               torch.full((1, 3, 8, 8), 0.4))


def test_models_are_compared_block_by_block():
    other = tiny(1, depth=3)
    found = cross_model_cka(ENCODER, other, IMAGES, batch=128)
    assert found.shape == (2, 3)
    left, right = (block_features(e, IMAGES, levelled=True) for e in (ENCODER, other))
    batches = MinibatchCKA()
    for rows in (slice(0, 100), slice(100, 200), slice(200, 300)):
        batches.update(left[1][rows], right[2][rows])
    assert found[1, 2] == pytest.approx(batches.value(), abs=1e-6)
    np.testing.assert_allclose(cross_model_cka(other, ENCODER, IMAGES, batch=128), found.T,
                               atol=1e-6)
    own = cross_model_cka(ENCODER, ENCODER, IMAGES)
    np.testing.assert_allclose(own.diagonal(), 1, atol=1e-9)
    raw = cross_model_cka(ENCODER, other, IMAGES, levelled=False)
    assert raw[0, 0] > found[0, 0] + 0.02  # the mean colour is in both


# Occlusion


def test_masks_are_the_same_for_all_and_nested():
    few, many = (occlusion_masks(20, (8, 8), r, draws=2, seed=3) for r in (0.9, 0.5))
    assert few.shape == (2, 20, 6) and many.shape == (2, 20, 32)
    assert (few.diff(dim=2) > 0).all()
    assert all(set(a.tolist()) < set(b.tolist())
               for a, b in zip(few.flatten(0, 1), many.flatten(0, 1), strict=True))
    assert torch.equal(few, occlusion_masks(20, (8, 8), 0.9, draws=2, seed=3))
    assert not torch.equal(few[0], few[1])
    assert not torch.equal(few, occlusion_masks(20, (8, 8), 0.9, draws=2, seed=4))
    assert torch.equal(occlusion_masks(1, (2, 2), 0)[0, 0], torch.arange(4))


@pytest.mark.parametrize("representation", ["mean", "cls", "tokens"])
def test_nothing_hidden_changes_nothing(representation):
    found = occlusion_cka(ENCODER, IMAGES.subset(slice(0, 40)), (0.0,), draws=2,
                          representation=representation)
    assert found.shape == (1, 2, 2)
    np.testing.assert_allclose(found, 1, atol=1e-6)


def test_occlusion_drops_tokens_and_compares_the_rest():
    images = IMAGES.subset(slice(0, 200))
    found = occlusion_cka(ENCODER, images, (0.5,), draws=2, levelled=False, seed=5)
    x, shown = images.batch(slice(None)), occlusion_masks(200, (8, 8), 0.5, 2, seed=5)
    with torch.no_grad():
        full = ENCODER(x, blocks=(1,)).blocks[1][:, 1:].mean(1).numpy()
        for draw in range(2):
            masked = ENCODER(x, shown[draw], blocks=(1,)).blocks[1][:, 1:].mean(1).numpy()
            assert found[0, 1, draw] == pytest.approx(song_cka(full, masked), abs=1e-4)


def test_tokens_are_compared_at_the_places_that_are_left():
    """Patches do not see each other in raw pixels, so that what is left has not changed."""
    pixels = PooledPixels(16, 2)
    assert occlusion_cka(pixels, IMAGES, (0.75,), 1, "tokens").item() == pytest.approx(1, abs=1e-9)
    assert occlusion_cka(pixels, IMAGES, (0.75,), 1).item() < 0.9
    images = IMAGES.subset(slice(0, 30))
    found = occlusion_cka(ENCODER, images, (0.75,), 1, "tokens", levelled=False)[0, 1, 0]
    shown = occlusion_masks(30, (8, 8), 0.75, 1)[0]
    with torch.no_grad():
        full = ENCODER(images.batch(slice(None)), blocks=(1,)).blocks[1][:, 1:]
        masked = ENCODER(images.batch(slice(None)), shown, blocks=(1,)).blocks[1][:, 1:]
    rows = np.concatenate([full[i, shown[i]].numpy() for i in range(30)])
    assert found == pytest.approx(song_cka(rows, masked.flatten(0, 1).numpy()), abs=1e-4)


def test_likeness_falls_with_the_ratio_in_an_untrained_model():
    """O7.19; and less so where the mean colour of the image is left to hold on to."""
    levelled, raw = (occlusion_cka(ENCODER, IMAGES, RATIOS, draws=2, levelled=kind).mean(2)
                     for kind in (True, False))
    assert (np.diff(levelled, axis=0) < -0.02).all() and (np.diff(raw, axis=0) < 0).all()
    assert (raw[1:] > levelled[1:] + 0.02).all()


def test_the_nearest_is_found_by_a_loop():
    queries, keys = related(50)
    keys = np.hstack([keys, gaussians(50, 5, 3)])
    a, b = queries - queries.mean(0), keys - keys.mean(0)
    cosine = [[u @ v / np.linalg.norm(u) / np.linalg.norm(v) for v in b] for u in a]
    expected = [all(row[i] > value for j, value in enumerate(row) if j != i)
                for i, row in enumerate(cosine)]
    found = retrieved(queries, keys)
    assert found.tolist() == expected and 0 < found.sum() < 50


def test_a_tie_is_a_miss():
    assert not retrieved(np.ones((5, 2)), np.ones((5, 2))).any()


def test_retrieval_is_perfect_unhidden_and_chance_for_other_pictures():
    found = occlusion_retrieval(ENCODER, IMAGES, (0.0, 0.5, 0.9), draws=2)
    rates = found.mean((1, 2))
    assert found.shape == (3, 2, 300) and rates[0] == 1 and 1 > rates[1] > rates[2] > 3 / 300
    full, other = (block_features(ENCODER, picture_set(seed=s), levelled=True)[-1] for s in (0, 1))
    assert retrieved(other, full).mean() < 5 / 300


def test_the_summary_is_means_a_slope_and_the_excess():
    cka = np.array([1.0, 0.8, 0.4])[:, None, None] + np.array([0.02, -0.02])[:, None] * np.ones(3)
    found = occlusion_summary(cka, (0.0, 0.25, 0.75), control=cka - 0.1)
    np.testing.assert_allclose(found["auc"], [1.0, 0.8, 0.4])
    np.testing.assert_allclose(found["excess"], 0.1)
    assert found["slope"] == pytest.approx(-0.8)
    assert "excess" not in occlusion_summary(cka, (0.0, 0.25, 0.75))


X = gaussians()


@pytest.mark.parametrize(("call", "message"), [
    (lambda: linear_cka(X[:3], X[:3]), r"same 4 items or more, got \[3, 12\]"),
    (lambda: linear_cka(X, X[:50]), r"got \[60, 12\] and \[50, 12\]"),
    (lambda: linear_cka(X[:, 0], X), r"features \[n,d\]"),
    (lambda: MinibatchCKA().update(X * np.nan, X), "must be finite"),
    (lambda: cka_matrix([X, X[:50]]), "same 4 items or more"),
    (lambda: block_features(ENCODER, IMAGES, "max"), "must be one of mean, cls, cls.mean, tokens"),
    (lambda: block_features(PooledPixels(16, 2), IMAGES, "cls"), "without a class token"),
    (lambda: cross_model_cka(ENCODER, ENCODER, IMAGES, "tokens"), "'mean' or 'cls' here"),
    (lambda: occlusion_retrieval(ENCODER, IMAGES, (0.5,), 1, "tokens"), "'mean' or 'cls' here"),
    (lambda: occlusion_cka(ENCODER, IMAGES, (1.0,)), r"ratio must lie in \[0, 1\)"),
    (lambda: retrieved(X, X[:, :5]), "must be features of one length")])
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
