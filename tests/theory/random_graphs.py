"""Small random hierarchies with a query, for property tests."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mae_lib.theory.graph import HierGraph

ODD_NAMES = ["z 1", "ü", "", "x->y", "0", "None", "é:z"]


def random_case(rng: np.random.Generator, latents: int = 7, pixels: int = 7):
    """A graph of one of several families, and a query in which pixels may be ignored."""
    n, m = int(rng.integers(0, latents + 1)), int(rng.integers(1, pixels + 1))
    names = [f"z{i}" for i in range(n)]
    if rng.random() < 0.1:
        names[:len(ODD_NAMES)] = ODD_NAMES[:n]
    leaves = [f"p{i}" for i in range(m)]
    family = rng.integers(4)
    edges = _edges(rng, names, leaves, family)
    edges = [edges[i] for i in rng.permutation(len(edges))]
    graph = HierGraph(edges, rng.permutation(leaves).tolist(), rng.permutation(names).tolist())
    roles = rng.choice(3, m, p=[0.45, 0.45, 0.1] if rng.random() < 0.5 else [0.5, 0.5, 0])
    chosen = [{p for p, role in zip(leaves, roles, strict=True) if role == k} for k in (0, 1)]
    return graph, *chosen


def _edges(rng, names, leaves, family) -> list:
    """Trees, layers without skips, dense graphs with skips, sparse ones that fall apart."""
    everything, n = names + leaves, len(names)
    if family == 0:
        return [(names[rng.integers(min(i, n))], child) for i, child in enumerate(everything)
                if i and n]
    if family == 1:
        layer = np.sort(rng.integers(0, 3, n)).tolist() + [3] * len(leaves)
        return [(a, b) for i, a in enumerate(names) for j, b in enumerate(everything)
                if layer[j] == layer[i] + 1 and rng.random() < 0.6]
    density = 0.5 if family == 2 else 0.2
    return [(a, b) for i, a in enumerate(names) for b in everything[i + 1:]
            if rng.random() < density]


def law(test):
    """Hold ``test(case)`` against hundreds of graphs; hypothesis reports the seed of a bad one."""
    seeds = st.integers(0, 2**32 - 1)
    cases = seeds.map(lambda seed: random_case(np.random.default_rng(seed)))
    return settings(max_examples=400)(given(cases)(test))
