"""A latent hierarchy as a world: what one of its masks hides, shows, and shares."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from mae_lib.theory.graph import HierGraph, Node
from mae_lib.theory.identifiability.worlds import Sample, World, mixing
from mae_lib.theory.search import locate


def graph_world(graph: HierGraph, target: Iterable[Node], seed: int) -> World:
    """Every node an invertible function of its parents and one exogenous variable of its own.

    ``x_m`` holds the pixels of ``target``, ``x_mc`` all others; c, s_m and s_mc are those that
    :func:`mae_lib.theory.search.locate` finds, s_m and s_mc as exogenous variables.
    """
    query, rng = graph.query(target), torch.Generator().manual_seed(seed)
    found = locate(graph, *query)
    sizes: dict[int, int] = {}
    for i in graph.order:
        sizes[i] = 1 + sum(sizes[j] for j in graph.parents[i])
    modules = {i: mixing(size, 2, rng) for i, size in sizes.items()}

    def sample(n: int, draw: torch.Generator) -> Sample:
        noise = torch.randn(len(graph.nodes), n, 1, generator=draw)
        values: dict[int, Tensor] = {}
        for i in graph.order:
            values[i] = modules[i](torch.cat([*(values[j] for j in graph.parents[i]), noise[i]], 1))

        def joined(names, source) -> Tensor:
            return torch.cat([source[graph.number[name]] for name in sorted(names)], 1)

        return Sample(joined(found.c, values), joined(found.s_m, noise), joined(found.s_mc, noise),
                      joined(query.target, values), joined(query.visible, values))

    return sample
