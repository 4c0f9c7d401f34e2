import networkx as nx
import numpy as np
import pytest
from random_graphs import law

from mae_lib.theory.graph import GraphError, HierGraph
from mae_lib.theory.search import locate


@law
def test_order_and_ancestors_agree_with_networkx(case):
    graph, target, _ = case
    twin = graph.to_networkx()
    place = {graph.nodes[i]: k for k, i in enumerate(graph.order)}
    assert sorted(graph.order) == list(range(len(graph.nodes)))
    assert all(place[a] < place[b] for a, b in graph.edges)
    expected = set(target).union(*(nx.ancestors(twin, name) for name in target))
    assert graph.ancestors(target) == expected


@law
def test_a_graph_goes_through_networkx_and_comes_back(case):
    graph = case[0]
    again = HierGraph.from_networkx(graph.to_networkx(), graph.pixels)
    assert set(again.edges) == set(graph.edges) and again.pixels == graph.pixels
    assert set(again.latents) == set(graph.latents)
    assert HierGraph.from_networkx(graph.to_networkx()).pixels == graph.pixels


@law
def test_results_do_not_depend_on_orders_or_on_doubled_edges(case):
    graph, target, visible = case
    rng = np.random.default_rng(0)
    shuffled = HierGraph([graph.edges[i] for i in rng.permutation(len(graph.edges))] * 2,
                         graph.pixels[::-1], graph.latents[::-1])
    assert locate(shuffled, sorted(target), visible) == locate(graph, target, visible)


@law
def test_results_follow_a_renaming(case):
    graph, target, visible = case
    renamed = HierGraph([((a, 1), (b, 1)) for a, b in graph.edges],
                        [(p, 1) for p in graph.pixels], [(z, 1) for z in graph.latents])
    found = locate(renamed, [(p, 1) for p in target], [(p, 1) for p in visible])
    assert {name for name, _ in found.c} == locate(graph, target, visible).c


def test_latents_come_from_the_edges_if_none_are_given():
    graph = HierGraph([("b", "x"), ("a", "b")], ["x", "lonely"])
    assert graph.latents == ("b", "a") and graph.nodes == ("b", "a", "x", "lonely")
    assert "2 latents, 2 pixels, 2 edges" in repr(graph)


@pytest.mark.parametrize("graph", [
    HierGraph([], []), HierGraph([], ["x"]), HierGraph([], [], ["z"]),
    HierGraph([("a", "b")], ["x", "y"]), HierGraph([("a", "x"), ("b", "y")], ["x", "y"]),
])
def test_empty_barren_isolated_and_disconnected_graphs_are_fine(graph):
    assert locate(graph, graph.pixels[:1]).c == frozenset()


@pytest.mark.parametrize(("arguments", "message"), [
    (([("a", "b"), ("b", "c"), ("c", "b")], []), "cycle, got one through '[bc]'"),
    (([("a", "a")], []), "cycle, got one through 'a'"),
    (([("x", "a")], ["x"]), "a pixel must have no child, got 'x' -> 'a'"),
    (([("x", "y")], ["x", "y"]), "a pixel must have no child"),
    (([], ["x"], ["x"]), "a latent or a pixel, got both for 'x'"),
    (([], ["x", "y", "x"]), "a pixel must be named once, got 'x' twice"),
    (([], [], ["z", "z"]), "a latent must be named once, got 'z' twice"),
    (([("a", "x")], ["x"], []), "edges must join known nodes, got 'a' in 'a' -> 'x'"),
    (([("a", "q")], ["x"], ["a"]), "edges must join known nodes, got 'q'"),
    ((["abc"], ["x"]), "edges must be pairs"),
    (([None], ["x"]), "edges must be pairs"),
])
def test_bad_graphs_are_refused_by_name(arguments, message):
    with pytest.raises(GraphError, match=message):
        HierGraph(*arguments)


@pytest.mark.parametrize(("query", "message"), [
    ((["y"],), "names must be nodes of the graph, got 'y'"),
    ((["z"],), "target must hold pixels only, got the latent 'z'"),
    ((["x1"], ["z"]), "visible must hold pixels only"),
    ((["x1", "x2"], ["x2"]), "must not overlap, got 'x2' in both"),
    (("x1",), "target must be a collection of pixel names, got 'x1'"),
])
def test_bad_queries_are_refused_by_name(query, message):
    with pytest.raises(GraphError, match=message):
        HierGraph([("z", "x1"), ("z", "x2")], ["x1", "x2"]).query(*query)


@pytest.mark.parametrize(("graph", "pixels", "message"), [
    (nx.Graph([("a", "x")]), ["x"], "graph must be directed"),
    (nx.DiGraph([("a", "x")]), None, "pixels must be given or carry kind"),
    (nx.DiGraph([("a", "x")]), ["y"], "pixels must be nodes of the graph, got 'y'"),
])
def test_networkx_graphs_without_pixels_are_refused(graph, pixels, message):
    with pytest.raises(GraphError, match=message):
        HierGraph.from_networkx(graph, pixels)


def test_a_pixel_mask_is_in_the_order_of_the_pixels():
    graph = HierGraph([], ["b", "a", "c"])
    assert graph.pixel_mask(["a", "c"]).tolist() == [False, True, True]
