import itertools

import pytest
from random_graphs import law

from mae_lib.theory.graph import HierGraph
from mae_lib.theory.problems import (
    CONDITIONS,
    SMALLEST,
    conditions,
    dimensions,
    problems,
    random_queries,
    shares,
)
from mae_lib.theory.search import algorithm2, locate
from mae_lib.theory.verify import brute_force_minimal, verify_theorem1

SHOWN = sorted(set(SMALLEST) - {"P6"})


def size(graph) -> tuple[int, int]:
    return len(graph.nodes), len(graph.edges)


def every_graph(nodes: int, most_edges: int):
    """All of that many nodes, z's before x's in any causal order, with up to so many edges."""
    for n in range(1, nodes):
        latents, pixels = ([f"{kind}{i}" for i in range(k)] for kind, k in
                           (("z", n), ("x", nodes - n)))
        pairs = [(a, b) for i, a in enumerate(latents) for b in latents[i + 1:] + pixels]
        for k in range(min(len(pairs), most_edges) + 1):
            for edges in itertools.combinations(pairs, k):
                yield HierGraph(edges, pixels, latents)


def smaller_graphs(than):
    nodes, edges = size(than)
    yield from itertools.chain(*(every_graph(n, n * n) for n in range(2, nodes)),
                               every_graph(nodes, edges - 1))


def queries(graph):
    for roles in itertools.product("tvi", repeat=len(graph.pixels)):
        yield [{p for p, role in zip(graph.pixels, roles, strict=True) if role == kind}
               for kind in "tv"]


@pytest.mark.parametrize("name", SHOWN)
def test_the_case_has_its_problem_and_no_smaller_graph_has(name):
    case = SMALLEST[name]
    assert name in problems(*case)
    assert not any(name in problems(graph, *query) for graph in smaller_graphs(case.graph)
                   for query in queries(graph))


def test_p6_no_smaller_graph_has_a_latent_that_only_copies_its_parents():
    """A root without noise would be a constant: those are left out."""
    case = SMALLEST["P6"]
    assert len(brute_force_minimal(*case, noiseless=["z2"])) == 2
    for graph in smaller_graphs(case.graph):
        for target, visible in queries(graph):
            copies = [z for z in graph.latents if graph.parents[graph.number[z]]]
            assert not copies or brute_force_minimal(
                graph, target, visible, noiseless=copies) == [locate(graph, target, visible).c]


@law
def test_p4_and_p3_agree_with_the_verifier(case):
    found, happens = locate(*case), problems(*case)
    listed = algorithm2(case[0], case[2], found.c)
    ours, theirs = (verify_theorem1(*case, found.c, found.s_m, s) for s in (found.s_mc, listed))
    assert ("P4" in happens) == (not ours.markov)
    if happens & {"P2", "P3"}:
        assert not theirs.nonredundant_mc


@law
def test_a_node_has_a_coordinate_for_every_road_that_leads_to_it(case):
    graph = case[0]
    roads = {name: 0 for name in graph.nodes}
    waiting = [*graph.nodes]
    while waiting:
        name = waiting.pop()
        roads[name] += 1
        waiting += [b for a, b in graph.edges if a == name]
    assert dimensions(graph) == roads


def test_shares_count_what_happens_in_each_family():
    table = shares(40, 3)
    drawn = [(family, problems(graph, target)) for family, graph, target in random_queries(40, 3)]
    assert list(table.columns) == ["trees", "layers, two parents", "any edges"]
    for family in table:
        hits = [name for other, found in drawn if other == family for name in found]
        assert table[family].to_dict() == {p: hits.count(p) / 40 for p in table.index}
    assert (table.loc["P1"] > 0).all() and table.loc["P2", "trees"] == 0


def test_conditions_hold_for_c_with_either_s_mc_and_not_for_the_unpruned_set():
    table = conditions(40, 3)
    names = list(CONDITIONS.values())
    assert list(table.index) == names
    assert (table.loc[names[:6], ["c, our s_mc", "c, Algorithm 2's s_mc"]] == 1).all(axis=None)
    unpruned = table["selected, our s_mc"]
    assert unpruned[names[7]] == 1 and unpruned[names[5]] < 1


@pytest.mark.parametrize("count", [shares, conditions])
def test_no_graphs_are_refused(count):
    with pytest.raises(ValueError, match="graphs must be at least 1, got 0"):
        count(0, 0)
