"""Effective rank against closed forms; cosines against double loops and the loss of U-MAE."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy, ortho_group

from mae_lib.evaluation.collapse import alikeness, effective_rank, singular_values
from mae_lib.models.uniformity import uniformity

SHAPES = ((2, 1), (3, 7), (7, 3), (30, 6))


def gaussians(shape, seed=0):
    return 0.5 + np.random.default_rng(seed).normal(size=shape)


def loop(X, measure):
    """``measure(cosine, same item)`` of each item with all items, None left out; means."""
    rows = []
    for i, a in enumerate(X):
        found = [measure(float(a @ b / np.sqrt((a @ a) * (b @ b))), i == j)
                 for j, b in enumerate(X)]
        kept = [value for value in found if value is not None]
        rows.append(sum(kept) / len(kept))
    return rows


@pytest.mark.parametrize("shape", SHAPES)
def test_cosines_agree_with_a_double_loop(shape):
    X = gaussians(shape)
    found = alikeness(X.astype(np.float32))
    single = X.astype(np.float32).astype(np.float64)
    assert found["cosine"] == pytest.approx(loop(single, lambda c, same: None if same else c),
                                            abs=1e-12)
    assert found["uniformity"] == pytest.approx(loop(single, lambda c, same: c**2), abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_mean_of_the_items_is_the_term_of_the_loss(shape):
    X = gaussians(shape)
    assert alikeness(X)["uniformity"].mean() == pytest.approx(
        uniformity(torch.from_numpy(X)).item(), rel=1e-12)


def test_cosines_at_their_ends():
    same = np.outer([1.0, 3.0, 0.2], [1.0, 2.0])
    assert alikeness(same)["cosine"] == pytest.approx([1, 1, 1])
    assert alikeness(np.eye(4))["cosine"] == pytest.approx([0, 0, 0, 0], abs=1e-12)
    assert alikeness(np.eye(4))["uniformity"] == pytest.approx([1 / 4] * 4)
    assert alikeness([[2.0, 0.0], [-1.0, 0.0]])["cosine"] == pytest.approx([-1, -1])
    found = alikeness([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    assert found["cosine"] == pytest.approx([0, 0.5**1.5, 0.5**1.5])
    assert found["uniformity"] == pytest.approx([0, 1 / 2, 1 / 2])


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_are_roots_of_the_eigenvalues_of_the_covariance(shape):
    X = gaussians(shape)
    wanted = np.sort(np.linalg.eigvalsh(np.atleast_2d(np.cov(X.T, bias=True)) * len(X)))[::-1]
    assert singular_values(X) == pytest.approx(np.sqrt(np.maximum(wanted, 0))[:min(shape)],
                                               abs=1e-6)


def test_turning_and_shifting_change_no_singular_value_and_scaling_no_rank():
    X = gaussians((30, 6))
    moved = 3 * X @ ortho_group.rvs(6, random_state=0) + 7
    assert singular_values(moved) == pytest.approx(3 * singular_values(X), rel=1e-9)
    assert effective_rank(singular_values(moved)) == pytest.approx(
        effective_rank(singular_values(X)), rel=1e-9)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_equal_directions_count_as_many_as_they_are(count):
    corners = np.concatenate([np.eye(6)[:count], -np.eye(6)[:count]])
    assert effective_rank(singular_values(corners)) == pytest.approx(count, rel=1e-9)
    assert effective_rank(np.full(count, 0.3)) == pytest.approx(count, rel=1e-12)


def test_the_rank_is_exp_of_scipys_entropy():
    values = np.random.default_rng(0).random(9)
    assert effective_rank(values) == pytest.approx(np.exp(entropy(values)), rel=1e-12)
    assert effective_rank([2.0, 1.0]) == pytest.approx(3 / 2 ** (2 / 3), rel=1e-12)
    assert effective_rank([*values, 0.0]) == pytest.approx(effective_rank(values), rel=1e-12)


def test_features_that_are_the_same_for_all_images_have_rank_0():
    same = np.tile(gaussians((1, 5)), (7, 1))
    assert (same - same.mean(0)).any()  # rounding alone would make up a rank
    assert not singular_values(same).any() and effective_rank(singular_values(same)) == 0
    one = same + np.outer(np.arange(7), [0, 1, 0, 0, 0])
    assert effective_rank(singular_values(one)) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("measure", [singular_values, alikeness])
def test_features_that_cannot_be_are_refused(measure):
    for wrong in (np.ones(3), np.ones((1, 3)), np.ones((3, 0))):
        with pytest.raises(ValueError, match=r"X must be features \[N,D\] of 2 items or more, got"):
            measure(wrong)
    with pytest.raises(ValueError, match="X must be finite, got NaN or infinity"):
        measure([[1.0, np.nan], [0.0, 1.0]])


@pytest.mark.parametrize("wrong", [[], [1.0, -0.1], [np.inf, 1.0], [[1.0]]])
def test_values_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="values must be finite singular values .k., none below 0"):
        effective_rank(wrong)
