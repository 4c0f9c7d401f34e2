"""Linear hierarchies, in which what two sides share can be read off without training."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mae_lib.theory.graph import GraphError, HierGraph, Node


def coefficients(graph: HierGraph, rng: np.random.Generator) -> dict[Node, np.ndarray]:
    """Every node as a linear function of all exogenous variables, ``[size of node, nodes]``.

    A node holds its parents and one exogenous variable of its own, turned by a random orthogonal
    matrix: an invertible module. Column i stands for the exogenous variable of ``graph.nodes[i]``.
    """
    rows: list[np.ndarray] = [np.zeros((0, 0))] * len(graph.nodes)
    own = np.eye(len(graph.nodes))
    for i in graph.order:
        inputs = np.vstack([*(rows[j] for j in graph.parents[i]), own[i]])
        turn, _ = np.linalg.qr(rng.standard_normal((len(inputs), len(inputs))))
        rows[i] = turn @ inputs
    return dict(zip(graph.nodes, rows, strict=True))


def canonical_correlations(graph: HierGraph, target: Iterable[Node],
                           visible: Iterable[Node] | None, rng: np.random.Generator,
                           *, tolerance: float = 1e-8) -> np.ndarray:
    """Canonical correlations of target and visible pixels of a linear hierarchy, descending.

    They are exact: cosines of the angles between the two row spaces, no samples. Corollary of the
    closed form, ours: as many are 1 as there are shared latents, all others are 0, since the two
    sides share c without noise.

    Raises:
        GraphError: as :meth:`mae_lib.theory.graph.HierGraph.query`; an empty side.
    """
    query = graph.query(target, visible)
    if not query.target or not query.visible:
        raise GraphError("target and visible must hold a pixel each, got an empty side")
    rows = coefficients(graph, rng)
    bases = [_basis(np.vstack([rows[name] for name in graph.pixels if name in side]), tolerance)
             for side in query]
    return np.linalg.svd(bases[0] @ bases[1].T, compute_uv=False)


def _basis(rows: np.ndarray, tolerance: float) -> np.ndarray:
    """Orthonormal rows that span the same space."""
    _, sizes, directions = np.linalg.svd(rows, full_matrices=False)
    return directions[sizes > tolerance * sizes[0]]
