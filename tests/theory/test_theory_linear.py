import numpy as np
import pytest
from random_graphs import law
from sklearn.cross_decomposition import CCA

from mae_lib.theory.families import figure4, tree
from mae_lib.theory.graph import GraphError
from mae_lib.theory.linear import canonical_correlations, coefficients
from mae_lib.theory.search import locate


@law
def test_corollary_7_correlations_are_one_for_each_shared_latent_and_zero_else(case):
    graph, target, visible = case
    if not target or not visible:
        return
    found = canonical_correlations(graph, target, visible, np.random.default_rng(0))
    ones = len(locate(graph, target, visible).shared)
    np.testing.assert_allclose(found[:ones], 1, atol=1e-6)
    np.testing.assert_allclose(found[ones:], 0, atol=1e-6)


def test_they_agree_with_samples():
    graph, target = figure4(), ["x1", "x2", "x5", "x6"]
    rows = coefficients(graph, np.random.default_rng(1))
    noise = np.random.default_rng(2).standard_normal((20_000, len(graph.nodes)))
    sides = [noise @ np.vstack([rows[p] for p in names]).T
             for names in (target, ["x3", "x4"])]
    # independent coordinates first: pixels of one side repeat each other's causes
    sides = [np.linalg.svd(side, full_matrices=False)[0][:, :np.linalg.matrix_rank(side)]
             for side in sides]
    pairs = CCA(n_components=3).fit_transform(*sides)
    sampled = [np.corrcoef(a, b)[0, 1] for a, b in zip(pairs[0].T, pairs[1].T, strict=True)]
    exact = canonical_correlations(graph, target, None, np.random.default_rng(1))
    np.testing.assert_allclose(sampled, exact[:3], atol=0.05)


def test_an_empty_side_is_refused():
    with pytest.raises(GraphError, match="a pixel each, got an empty side"):
        canonical_correlations(tree(2, 1), [], None, np.random.default_rng(0))
