"""Separability against loops and closed forms; t-SNE maps that show what is there."""

import numpy as np
import pytest
from scipy.stats import ortho_group
from threadpoolctl import threadpool_limits

from mae_lib.evaluation import embedding
from mae_lib.evaluation.embedding import draws, embed_2d, principal, separability

CLASSES, EACH, WIDTH = 5, 24, 60
LABELS = np.repeat(np.arange(CLASSES), EACH)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads of several processes on small matrices wait for each other, ten times as long."""
    with threadpool_limits(1):
        yield


def blobs(distance, seed=0, labels=LABELS, width=WIDTH):
    """Gaussian classes whose centres are ``distance`` from the origin, in random directions."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(labels.max() + 1, width))
    centres *= distance / np.linalg.norm(centres, axis=1, keepdims=True)
    return centres[labels] + rng.normal(size=(len(labels), width))


def shuffled(seed=0, labels=LABELS):
    return np.random.default_rng(seed).permutation(labels)


def slow_purity(X, y, k):
    """One item at a time, all distances, itself left out."""
    total = 0
    for i in range(len(X)):
        others = sorted((float(((X[i] - X[j]) ** 2).sum()), j) for j in range(len(X)) if j != i)
        total += sum(y[j] == y[i] for _, j in others[:k]) / k
    return total / len(X)


def slow_silhouette(X, y):
    """Rousseeuw's definition, one item at a time."""
    values = []
    for i in range(len(X)):
        distance = np.linalg.norm(X - X[i], axis=1)
        mean = {c: distance[(y == c) & (np.arange(len(X)) != i)].mean() for c in np.unique(y)}
        own, other = mean[y[i]], min(v for c, v in mean.items() if c != y[i])
        values.append((other - own) / max(own, other))
    return np.mean(values)


def test_numbers_agree_with_slow_loops():
    X = blobs(3.0)
    found = separability(X, LABELS, k=7)
    assert found["purity"] == pytest.approx(slow_purity(X, LABELS, 7), abs=1e-12)
    assert found["silhouette"] == pytest.approx(slow_silhouette(X, LABELS), abs=1e-9)
    offsets = (part.mean(0) - X.mean(0) for part in X.reshape(CLASSES, EACH, WIDTH))
    between = sum(EACH * np.outer(offset, offset) for offset in offsets)
    within = np.cov(X.T, bias=True) * len(X) - between
    assert found["fisher"] == pytest.approx(between.trace() / within.trace(), rel=1e-9)


def test_separated_blobs_score_perfectly():
    found = separability(blobs(25.0), LABELS)
    assert found["purity"] == found["linear_acc"] == 1
    assert found["silhouette"] > 0.2 and found["fisher"] > 1


def test_permuted_labels_score_by_chance():
    labels = np.repeat(np.arange(10), 50)
    X = blobs(25.0, labels=labels, width=192)
    found = separability(X, shuffled(labels=labels), folds=2)
    assert found["purity"] == pytest.approx(49 / 499, abs=0.02)
    assert -0.2 < found["silhouette"] < 0
    assert found["linear_acc"] == pytest.approx(0.1, abs=0.05)


def test_turning_shifting_and_scaling_change_nothing():
    X = blobs(3.0)
    turn = ortho_group.rvs(WIDTH, random_state=1)
    expected = separability(X, LABELS)
    assert 0.3 < expected["linear_acc"] < 0.99  # a test at the ceiling would see nothing
    for same in (X @ turn, X + 7.0, X * 1e-3):
        found = separability(same, LABELS)
        assert found == pytest.approx(expected, abs=0.01)  # of 120 items, one may tip over


def test_the_order_of_the_rows_changes_only_which_are_left_out():
    X, order = blobs(3.0), np.random.default_rng(2).permutation(len(LABELS))
    expected, found = separability(X, LABELS), separability(X[order], LABELS[order])
    assert found.pop("linear_acc") == pytest.approx(expected.pop("linear_acc"), abs=0.06)
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_penalty_is_chosen_without_the_items_left_out(monkeypatch):
    seen = []
    best = embedding._best
    monkeypatch.setattr(embedding, "_best", lambda X, y, seed: seen.append(X) or best(X, y, seed))
    embedding.linear_accuracy(blobs(3.0), LABELS)
    sizes = {len(X) for X in seen}
    assert len(seen) == 5 and sizes == {len(LABELS) * 4 // 5}
    rows = [set(map(bytes, X)) for X in seen]
    assert all(len(a & b) == len(LABELS) * 3 // 5 for a, b in zip(rows, rows[1:], strict=False))


def test_components_are_orthogonal_projections_in_falling_order():
    X = blobs(3.0) * np.linspace(0.2, 2.0, WIDTH)
    pca, explained = principal(X, 12)
    assert (np.diff(explained) <= 0).all()
    covariance = np.cov(pca.T)
    assert np.allclose(covariance, np.diag(covariance.diagonal()), atol=1e-9)
    values = np.linalg.eigvalsh(np.cov(X.T))[::-1]  # not whitened: the variances are kept
    assert np.allclose(covariance.diagonal(), values[:12])
    assert np.allclose(explained, values[:12] / values.sum())
    _, _, axes = np.linalg.svd(X - X.mean(0), full_matrices=False)
    assert np.allclose(abs(pca), abs((X - X.mean(0)) @ axes[:12].T))


def test_few_components_are_all_taken_with_a_warning():
    with pytest.warns(UserWarning, match="have 8 components, not 50"):
        pca, explained = principal(blobs(3.0)[:, :8])
    assert pca.shape == (len(LABELS), 8) and explained.sum() == pytest.approx(1)


@pytest.fixture(scope="module")
def separated():
    return embed_2d(blobs(12.0), LABELS, perplexity=10)


def test_a_map_of_separated_classes_keeps_them_apart(separated):
    assert separated.xy.shape == (len(LABELS), 2) and separated.pca.shape == (len(LABELS), 50)
    assert separated.silhouette > 0.5 and separated.silhouette > separability(
        separated.pca, LABELS)["silhouette"]  # a map exaggerates
    assert 0.8 < separated.trustworthiness <= 1 and separated.kl > 0


def test_the_same_seed_gives_the_same_map_whatever_the_labels(separated):
    again = embed_2d(blobs(12.0), shuffled(), perplexity=10)
    assert np.array_equal(again.xy, separated.xy)
    assert again.silhouette < 0


def test_random_starts_agree_on_separated_classes():
    X, few = blobs(25.0), {"perplexity": 10, "init": "random", "max_iter": 500}
    found = [embed_2d(X, LABELS, seed=seed, **few).silhouette for seed in range(5)]
    assert min(found) > 0.7 and max(found) - min(found) < 0.02


def test_draws_are_classes_and_images_at_random_but_always_the_same():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(16), 30))
    found = draws(labels, 10, 20, count=5)
    assert [len(np.unique(labels[rows])) for rows in found] == [10] * 5
    assert all(len(set(rows)) == 200 and set(np.bincount(labels[rows])) <= {0, 20}
               for rows in found)
    assert len({tuple(np.unique(labels[rows])) for rows in found}) > 1
    assert all(map(np.array_equal, found, draws(labels, 10, 20, count=5)))
    assert not np.array_equal(found[0], draws(labels, 10, 20, seed=1)[0])


def test_with_no_class_to_spare_the_draws_differ_in_their_images():
    first, second = draws(np.repeat(np.arange(10), 30), 10, 20, count=2)
    assert set(first) != set(second)


X = blobs(3.0)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: separability(X, LABELS * 0), "at least 2 classes of more than 10 items, got 1"),
    (lambda: separability(X, LABELS, k=EACH), f"more than {EACH} items, got 5 and as few as 24"),
    (lambda: separability(X, LABELS, folds=30), "of more than 29 items"),
    (lambda: separability(X, LABELS[1:]), "y must hold 120 classes, one an item"),
    (lambda: separability(X * np.nan, LABELS), "with NaN or infinity"),
    (lambda: separability(X[0], LABELS), r"features \[N,D\], got shape \[60\]"),
    (lambda: separability(X * 0, LABELS), "X must vary"),
    (lambda: embed_2d(X, LABELS, perplexity=40), r"perplexity must lie in \(0, 40\)"),
    (lambda: embed_2d(X, LABELS, pca_dim=61), r"dims must lie in 1..60, got 61"),
    (lambda: principal(X, 0), "dims must lie in 1..60, got 0"),
    (lambda: draws(LABELS, 6, 10), "must hold 6 classes of 10 images, got 5"),
    (lambda: draws(LABELS, 5, 25), "5 classes of 25 images, got 5 and as few as 24")])
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
