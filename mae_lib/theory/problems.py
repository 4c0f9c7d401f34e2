"""Problems of Algorithms 1 and 2 as printed: their smallest cases, and how often they come up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from mae_lib.theory.families import random_dag, random_layered
from mae_lib.theory.graph import HierGraph, Node
from mae_lib.theory.search import algorithm2, locate, rounds_as_printed
from mae_lib.theory.verify import Report, verify_theorem1


class Case(NamedTuple):
    """A hierarchy and the pixels that are hidden; the others are visible."""

    graph: HierGraph
    target: tuple


def _case(edges: str, target: str) -> Case:
    pairs = [tuple(edge.split(">")) for edge in edges.split()]
    pixels = sorted({effect for _, effect in pairs if effect.startswith("x")})
    return Case(HierGraph(pairs, pixels), tuple(target.split()))


# Fewest nodes, then fewest edges; in P6 z2 has no exogenous variable.
SMALLEST = {
    "P1": _case("z1>x1", ""),
    "P2": _case("z1>x1 z1>x2 z2>x1 z2>x2", "x1"),
    "P3": _case("z1>z2 z1>x1 z2>x1 z2>x2", "x2"),
    "P4": _case("z1>z2 z1>x1 z1>x2 z2>x1 z2>x2", "x1"),
    "P6": _case("z1>z2 z2>x1 z2>x2", "x1"),
    "P7": _case("z1>z2 z1>z3 z2>z3 z3>x1 z3>x2", "x1"),
}

CONDITIONS = {
    "forward_m": "c and s_m determine the hidden part",
    "inverse_m": "the hidden part determines c and s_m",
    "forward_mc": "c and s_mc determine the visible part",
    "inverse_mc": "the visible part determines c and s_mc",
    "independent": "s_m is independent of c and s_mc",
    "minimal": "no member of c can be spared",
    "nonredundant_mc": "no member of s_mc follows from c and the rest of s_mc",
    "markov": "c separates hidden from visible pixels",
}


def problems(graph: HierGraph, target: Iterable[Node],
             visible: Iterable[Node] | None = None) -> frozenset[str]:
    """Which of the problems P1, P2, P3, P4 and P7 a query runs into.

    P1: the printed Algorithm 2 does not end. P2: its s_mc lists members of c; P3: functions of c.
    P4: c does not separate the two sides. P7: c has more coordinates than sources.

    Raises:
        GraphError: as :func:`mae_lib.theory.search.locate`.
    """
    query = graph.query(target, visible)
    found = locate(graph, *query)
    listed = algorithm2(graph, query.visible, found.c)
    report = verify_theorem1(graph, *query, found.c, found.s_m, found.s_mc)
    known = graph.ancestors(found.c)
    size = dimensions(graph)
    happens = {"P1": not _ends(graph, query.visible, found.c), "P2": listed.latent & found.c,
               "P3": (listed.exogenous | listed.latent - found.c) & known,
               "P4": found.c and not report.markov,
               "P7": sum(size[name] for name in found.c) > len(found.shared)}
    return frozenset(name for name, occurs in happens.items() if occurs)


def dimensions(graph: HierGraph) -> dict[Node, int]:
    """Coordinates of each node: all that its parents have, and one of its own.

    An invertible module can do with no fewer.
    """
    size: dict[Node, int] = {}
    for i in graph.order:
        size[graph.nodes[i]] = 1 + sum(size[graph.nodes[j]] for j in graph.parents[i])
    return size


def random_queries(graphs: int, seed: int) -> Iterator[tuple[str, HierGraph, list[Node]]]:
    """Name of the family, graph and hidden pixels: ``graphs`` of each of three families."""
    rng = np.random.default_rng(seed)
    for _ in range(graphs):
        widths = [*rng.integers(1, 5, 2).tolist(), int(rng.integers(2, 9))]
        families = {"trees": random_layered(rng, widths, 1),
                    "layers, two parents": random_layered(rng, widths, 2),
                    "any edges": random_dag(rng, sum(widths[:2]), widths[2],
                                            rng.uniform(0.2, 0.6))}
        for name, graph in families.items():
            hidden = rng.random(len(graph.pixels)) < rng.random()
            yield name, graph, [p for p, h in zip(graph.pixels, hidden, strict=True) if h]


def shares(graphs: int, seed: int) -> pd.DataFrame:
    """Share of random queries that run into each problem: a row a problem, a column a family.

    Raises:
        ValueError: no graphs.
    """
    _check(graphs)
    rows = [{"family": family, **dict.fromkeys(problems(graph, target), True)}
            for family, graph, target in random_queries(graphs, seed)]
    table = pd.DataFrame(rows, columns=["family", "P1", "P2", "P3", "P4", "P7"]).set_index("family")
    return table.notna().groupby("family", sort=False).mean().T


def conditions(graphs: int, seed: int) -> pd.DataFrame:
    """Share of random queries for which each condition holds, for three answers to the query.

    A row a condition of :class:`mae_lib.theory.verify.Report`; a column for c with either s_mc, and
    for what Algorithm 1 has selected before it prunes.

    Raises:
        ValueError: no graphs.
    """
    _check(graphs)
    rows = [(answer, *(getattr(report, name) for name in CONDITIONS))
            for _, graph, target in random_queries(graphs, seed)
            for answer, report in _reports(graph, target)]
    table = pd.DataFrame(rows, columns=["answer", *CONDITIONS])
    return table.groupby("answer", sort=False).mean().T.rename(CONDITIONS)


def _reports(graph: HierGraph, target: Iterable[Node]) -> Iterator[tuple[str, Report]]:
    query = graph.query(target)
    found = locate(graph, *query)
    answers = {"c, our s_mc": (found.c, found.s_mc),
               "c, Algorithm 2's s_mc": (found.c, algorithm2(graph, query.visible, found.c)),
               "selected, our s_mc": (found.selected, found.s_mc)}
    for name, (c, s_mc) in answers.items():
        yield name, verify_theorem1(graph, *query, c, found.s_m, s_mc)


def _ends(graph: HierGraph, visible: frozenset, c: frozenset) -> bool:
    """The printed Algorithm 2 either takes one round a pixel or goes on for ever."""
    try:
        rounds_as_printed(graph, visible, c, len(visible) + 1)
    except RuntimeError:
        return False
    return True


def _check(graphs: int) -> None:
    if graphs < 1:
        raise ValueError(f"graphs must be at least 1, got {graphs}")
