"""Error bounds and the eigenvalue floor of U-MAE's loss, in listed worlds."""

from dataclasses import replace

import numpy as np
import pytest

from mae_lib.ledger.mask_graphs import cases
from mae_lib.theory.alignment import chain, expected_square
from mae_lib.theory.downstream import (
    disagreement,
    downstream,
    linear_classes,
    spectral_outputs,
    voted_error,
)
from mae_lib.theory.mask_graphs import mask_graph
from mae_lib.theory.toy_worlds import noisy_prototypes, random_world


def graph_of(seed: int, positions: bool = False):
    rng = np.random.default_rng(seed)
    return mask_graph(random_world(rng, 4, classes=3), int(rng.integers(1, 4)),
                      positions=positions)


def test_no_error_exceeds_its_bounds_and_no_loss_its_floor():
    for _, _, found in cases(60, seed=7):
        assert found.error <= found.by_graph <= found.by_loss + 1e-12
        assert found.loss >= found.floor - 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_of_k_numbers_leading_eigenvectors_are_best(seed):
    """Eckart and Young: alignment and uniformity together are then less the sum of k squares."""
    graph = graph_of(seed)
    d1, rng = graph.joint.sum(1), np.random.default_rng(seed)

    def spectral(h):
        targets = np.zeros((len(graph.targets), h.shape[1]))
        return 2 * chain(graph.joint, h, targets).alignment + expected_square(d1, h)
    for k in range(1, len(d1) + 1):
        least = -(graph.eigenvalues[:k] ** 2).sum()
        assert spectral(spectral_outputs(graph, k)) == pytest.approx(least, abs=1e-10)
        assert spectral(rng.normal(size=(len(d1), k))) > least


def test_for_unit_outputs_the_floor_is_that_of_theorem_4_2():
    graph, rng = graph_of(1), np.random.default_rng(0)
    k = graph.targets.shape[1]
    h = rng.normal(size=(len(graph.views), k))
    h /= np.linalg.norm(h, axis=1, keepdims=True)
    losses = replace(chain(graph.joint, h, graph.targets.astype(float)), epsilon=0.2)
    tail, all_of_them = (graph.eigenvalues[k:] ** 2).sum(), (graph.adjacency**2).sum()
    assert downstream(graph, h, losses).floor == pytest.approx(
        tail / 4 - all_of_them / 4 + 0.5 - 0.2)


@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_disagreement_is_counted_over_pairs_of_views(seed, positions):
    graph = graph_of(seed, positions)
    own, d2 = graph.view_labels.argmax(1), graph.joint.sum(0)
    expected = sum(graph.joint[a, t] * graph.joint[b, t] / d2[t]
                   for a in range(len(own)) for b in range(len(own)) if own[a] != own[b]
                   for t in range(len(d2)))
    assert disagreement(graph) == pytest.approx(expected, abs=1e-12)
    of_targets = 1 - graph.target_labels.max(1).sum()
    assert disagreement(graph) <= 2 * (graph.label_error() + of_targets) + 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_the_error_is_that_of_counting_votes(seed):
    graph = graph_of(seed)
    classes = np.random.default_rng(seed).integers(3, size=len(graph.views))
    error = 0.0
    for views, joint in zip(graph.view_of, graph.world.joint, strict=True):
        votes = [int((classes[views] == y).sum()) for y in range(3)]
        error += joint.sum() - joint[votes.index(max(votes))]
    assert voted_error(graph, classes) == pytest.approx(error)


def test_the_head_sums_outputs_by_class():
    graph = graph_of(2)
    h = np.random.default_rng(0).normal(size=(len(graph.views), 2))
    own, d1, head = graph.view_labels.argmax(1), graph.joint.sum(1), np.zeros((2, 3))
    for view, label in enumerate(own):
        head[:, label] += d1[view] * h[view]
    assert linear_classes(graph, h).tolist() == (h @ head).argmax(1).tolist()


def test_eigenvectors_tell_the_books_classes_apart():
    """With positions each mask is a world of its own, of which few eigenvectors know all."""
    graph = mask_graph(noisy_prototypes(), 2, positions=False)
    bayes = mask_graph(noisy_prototypes(), 0).label_error()
    assert voted_error(graph, linear_classes(graph, spectral_outputs(graph, 2))) < bayes + 0.05
