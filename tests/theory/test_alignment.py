"""The losses on mask graphs against loops and traces; both bounds, and how tight they can be."""

import numpy as np
import pytest

from mae_lib.ledger.mask_graphs import cases
from mae_lib.theory.alignment import best_outputs, chain, expected_square
from mae_lib.theory.mask_graphs import mask_graph
from mae_lib.theory.toy_worlds import noisy_prototypes, random_world


def drawn(seed: int):
    rng = np.random.default_rng(seed)
    graph = mask_graph(random_world(rng, 4), int(rng.integers(1, 4)), positions=bool(seed % 2))
    h = rng.normal(size=(len(graph.views), graph.targets.shape[1]))
    other = graph.targets + 0.3 * rng.normal(size=graph.targets.shape)
    return graph, h, other


@pytest.mark.parametrize("seed", range(6))
def test_losses_are_sums_over_views_and_targets(seed):
    graph, h, other = drawn(seed)
    found, joint, targets = chain(graph.joint, h, graph.targets, other), graph.joint, graph.targets
    places = list(np.ndindex(joint.shape))
    d1, d2 = joint.sum(1), joint.sum(0)
    assert found.loss == pytest.approx(
        sum(joint[i, j] * np.sum((h[i] - targets[j]) ** 2) for i, j in places), abs=1e-12)
    assert found.asymmetric == pytest.approx(
        -sum(joint[i, j] * np.dot(h[i], other[j]) for i, j in places), abs=1e-12)
    assert found.alignment == pytest.approx(
        -sum(joint[i, j] * joint[k, j] / d2[j] * np.dot(h[i], h[k])
             for i, j in places for k in range(len(h))), abs=1e-12)
    assert found.epsilon == pytest.approx(
        sum(d2[j] * np.sum((other[j] - targets[j]) ** 2) for j in range(len(d2))), abs=1e-12)
    assert expected_square(d1, h) == pytest.approx(
        sum(d1[i] * d1[k] * np.dot(h[i], h[k]) ** 2 for i in range(len(h)) for k in range(len(h))))


@pytest.mark.parametrize("seed", range(6))
def test_losses_are_the_traces_of_the_paper(seed):
    """Equations 4 and 5, the exact form of 6, and the square of the spectral loss."""
    graph, h, other = drawn(seed)
    found = chain(graph.joint, h, graph.targets, other)
    H, G = (np.sqrt(d)[:, None] * x for d, x in ((graph.joint.sum(1), h),
                                                  (graph.joint.sum(0), other)))
    across, within = graph.normalised, graph.adjacency
    assert found.asymmetric == pytest.approx(-np.trace(G.T @ across @ H), abs=1e-12)
    assert found.alignment == pytest.approx(-np.trace(H.T @ within @ H), abs=1e-12)
    gap = np.sum((across @ H - G) ** 2)
    assert found.residual == pytest.approx(gap, abs=1e-12)
    assert found.asymmetric == pytest.approx(
        (found.alignment - found.other_norm + gap) / 2, abs=1e-12)
    assert found.slack[1] == pytest.approx(gap / 2, abs=1e-12)
    square = np.sum((within - H @ H.T) ** 2) - np.sum(within**2)
    assert 2 * found.alignment + expected_square(graph.joint.sum(1), h) == pytest.approx(
        square, abs=1e-12)


def test_neither_bound_fails_in_any_world():
    for _, losses, _ in cases(60, seed=5):
        assert min(losses.slack) > -1e-12
        assert losses.loss >= losses.whole_bound - 1e-12
        assert losses.loss - losses.whole_bound == pytest.approx(sum(losses.slack), abs=1e-12)


def test_the_whole_bound_never_explains_more_than_half():
    loose = [losses.looseness for _, losses, _ in cases(60, seed=6) if losses.loss > 1e-9]
    assert 0.5 <= min(loose) < 0.6


def test_half_is_reached_where_targets_are_the_means_of_what_is_predicted():
    """Two views of one target, with outputs one to either side of it."""
    joint = np.array([[0.5], [0.5]])
    found = chain(joint, np.array([[1.0], [3.0]]), np.array([[2.0]]))
    assert found.loss == pytest.approx(1) and found.looseness == pytest.approx(0.5)


def test_without_sharing_the_bound_says_nothing():
    rng = np.random.default_rng(0)
    found = chain(np.eye(5) / 5, rng.normal(size=(5, 3)), rng.normal(size=(5, 3)))
    assert found.whole_bound == pytest.approx(0, abs=1e-12)
    assert found.looseness == pytest.approx(1)


def test_collapsed_unit_outputs_align_best_and_are_least_uniform():
    graph, *_ = drawn(0)
    constant = np.tile([0.6, 0.8], (len(graph.views), 1))
    found = chain(graph.joint, constant, np.zeros((len(graph.targets), 2)))
    assert found.alignment == pytest.approx(-1)
    assert expected_square(graph.joint.sum(1), constant) == pytest.approx(1)
    rng = np.random.default_rng(1)
    for _ in range(20):
        h = rng.normal(size=constant.shape)
        h /= np.linalg.norm(h, axis=1, keepdims=True)
        assert chain(graph.joint, h, np.zeros((len(graph.targets), 2))).alignment > -1


def test_the_best_outputs_have_the_least_loss():
    graph = mask_graph(noisy_prototypes(), 3)
    targets = graph.targets.astype(float)
    best = best_outputs(graph.joint, targets)
    variance = sum(graph.joint[i, j] * (targets[j] - best[i]) ** 2
                   for i, j in np.ndindex(graph.joint.shape)).sum()
    assert chain(graph.joint, best, targets).loss == pytest.approx(variance)
    rng = np.random.default_rng(0)
    for _ in range(5):
        moved = best + 0.1 * rng.normal(size=best.shape)
        assert chain(graph.joint, moved, targets).loss > variance


def test_bad_shapes_and_an_empty_loss_are_told():
    with pytest.raises(ValueError, match=r"must have shapes \[2,n\] and \[2,n\]"):
        chain(np.eye(2) / 2, np.zeros((3, 1)), np.zeros((2, 1)))
    with pytest.raises(ValueError, match="loss must be above 0"):
        _ = chain(np.eye(2) / 2, np.zeros((2, 1)), np.zeros((2, 1))).looseness
