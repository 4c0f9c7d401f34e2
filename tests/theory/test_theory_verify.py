import networkx as nx
import numpy as np
import pytest
from random_graphs import law, random_case

from mae_lib.theory.graph import GraphError, HierGraph
from mae_lib.theory.linear import coefficients
from mae_lib.theory.search import algorithm2, locate
from mae_lib.theory.verify import _Facts, brute_force_minimal, valid_sets, verify_theorem1

SKIP_DIAMOND = HierGraph([("z1", "z2"), ("z1", "x1"), ("z1", "x2"), ("z2", "x1"), ("z2", "x2")],
                         ["x1", "x2"])


def thousands(count: int, **sizes):
    rng = np.random.default_rng(11)
    return (random_case(rng, **sizes) for _ in range(count))


def report(case, found, **changes):
    parts = {"c": found.c, "s_m": found.s_m, "s_mc": found.s_mc} | changes
    return verify_theorem1(*case, **parts)


@law
def test_theorem_1_holds_for_what_the_search_finds(case):
    found = locate(*case)
    checked = report(case, found)
    assert checked.ok and checked.nonredundant_mc


@law
def test_our_s_mc_does_for_the_visible_side_what_s_m_does_for_the_hidden_one(case):
    """So it is independent of c, too."""
    graph, target, visible = case
    found = locate(*case)
    assert verify_theorem1(graph, visible, target, found.c, found.s_mc, found.s_m).ok


@law
def test_all_that_algorithm_2_lists_follows_from_c_and_our_s_mc(case):
    graph, _, visible = case
    found = locate(*case)
    listed = algorithm2(graph, visible, found.c)
    facts = _Facts(graph, frozenset(), invertible=True)
    assert facts.follow(found.c, found.s_mc, listed.latent, listed.exogenous)


@law
def test_it_holds_for_the_papers_s_mc_as_well(case):
    found = locate(*case)
    assert report(case, found, s_mc=algorithm2(case[0], case[2], found.c)).ok


@law
def test_without_invertibility_the_unpruned_set_is_the_right_one(case):
    found = locate(*case)
    assert report(case, found, c=found.selected, semantics="markov").ok


def test_p4_without_invertibility_c_may_fail_to_separate():
    case = SKIP_DIAMOND, ["x1"], ["x2"]
    found = locate(*case)
    assert found.c == {"z2"} and report(case, found).ok
    checked = report(case, found, semantics="markov")
    assert not checked.markov and not checked.forward_m and not checked.ok


@law
def test_a_wrong_c_is_refused(case):
    """Without one of its members, or with any latent more, c is no longer the smallest set."""
    graph = case[0]
    found = locate(*case)
    for name in graph.latents:
        wrong = found.c ^ {name}
        assert not report(case, found, c=wrong).ok


@law
def test_a_wrong_s_m_is_refused(case):
    graph = case[0]
    found = locate(*case)
    for name in graph.nodes:
        assert not report(case, found, s_m=found.s_m ^ {name}).ok


@law
def test_a_wrong_s_mc_is_refused(case):
    """Less of it does not generate the visible side; more is not known there, or follows from c."""
    graph = case[0]
    found = locate(*case)
    for name in graph.nodes:
        checked = report(case, found, s_mc=found.s_mc ^ {name})
        assert not checked.nonredundant_mc if name in found.shared else not checked.ok


@law
def test_independence_agrees_with_d_separation(case):
    """In the graph that has a node for every exogenous variable, given nothing."""
    graph = case[0]
    found, rng = locate(*case), np.random.default_rng(0)
    s_m = found.s_m | set(rng.choice(graph.nodes, 1).tolist())
    twin = nx.relabel_nodes(graph.to_networkx(), {name: ("node", name) for name in graph.nodes})
    twin.add_edges_from((("noise", name), ("node", name)) for name in graph.nodes)
    other = {("node", z) for z in found.c} | {("noise", v) for v in found.s_mc}
    noise = {("noise", v) for v in s_m}
    expected = not other or (not noise & other and nx.is_d_separator(twin, noise, other, set()))
    assert report(case, found, s_m=s_m).independent == expected


def test_proposition_2_the_valid_sets_lie_between_c_and_all_that_is_shared():
    for case in thousands(300, latents=5, pixels=5):
        found = locate(*case)
        expected = {s for s in _subsets(found.shared - found.c, found.c)}
        assert set(valid_sets(*case)) == expected


def _subsets(free, fixed):
    free = sorted(free)
    return [fixed | {z for k, z in enumerate(free) if bits >> k & 1}
            for bits in range(2 ** len(free))]


def test_c_is_the_one_smallest_set_whatever_the_dimensions():
    rng = np.random.default_rng(3)
    for case in thousands(400, latents=6, pixels=6):
        dimensions = {z: float(d) for z, d in zip(case[0].latents, rng.uniform(0.1, 9, 9),
                                                  strict=False)}
        assert brute_force_minimal(*case, dimensions) == [locate(*case).c]


def test_linear_modules_meet_both_conditions():
    """Random invertible linear modules: equal row spaces, orthogonal coefficients."""
    rng = np.random.default_rng(5)
    for graph, target, visible in thousands(300):
        rows, found = coefficients(graph, rng), locate(graph, target, visible)
        own = dict(zip(graph.nodes, np.eye(len(graph.nodes)), strict=True))
        c = [row for z in found.c for row in rows[z]]
        for pixels, private in ((target, found.s_m), (visible, found.s_mc)):
            parts = [*c, *(own[v] for v in private)]
            whole = [row for p in pixels for row in rows[p]]
            assert len({_rank(graph, m) for m in (parts, whole, parts + whole)}) == 1
        assert not np.any([[row[graph.number[v]] for v in found.s_m] for row in c])


def _rank(graph, rows) -> int:
    return np.linalg.matrix_rank(np.reshape(rows, (-1, len(graph.nodes))), tol=1e-8) if rows else 0


def test_p7_c_has_more_coordinates_than_there_are_sources():
    """Two members that share a cause hold it twice."""
    edges = [("z1", "a"), ("z1", "b"), ("a", "x1"), ("a", "x2"), ("b", "x3"), ("b", "x4")]
    graph = HierGraph(edges, ["x1", "x2", "x3", "x4"])
    rows, found = coefficients(graph, np.random.default_rng(0)), locate(graph, ["x1", "x3"])
    c = np.vstack([rows[z] for z in sorted(found.c)])
    assert len(c) == 4 and _rank(graph, list(c)) == 3 == len(found.shared)


def test_p6_without_noise_c_is_not_the_smallest_set():
    graph = HierGraph([("z1", "z2"), ("z2", "x1"), ("z2", "x2")], ["x1", "x2"])
    assert locate(graph, ["x1"]).c == {"z2"}
    smallest = brute_force_minimal(graph, ["x1"], None, {"z1": 1, "z2": 2}, noiseless=["z2"])
    assert smallest == [frozenset(["z1"])]
    assert len(brute_force_minimal(graph, ["x1"], None, noiseless=["z2"])) == 2
    found = locate(graph, ["x1"])
    checked = verify_theorem1(graph, ["x1"], ["x2"], ["z1"], found.s_m, found.s_mc,
                              noiseless=["z2"])
    assert checked.ok


def test_closures_agree_with_a_slow_loop():
    rng = np.random.default_rng(9)
    for graph, target, _ in thousands(500):
        noise = {name for name in graph.nodes if rng.random() < 0.4}
        invertible = bool(rng.integers(2))
        known, found = set(target), set(noise)
        for _ in range(2 * len(graph.nodes) + 2):
            for name in graph.nodes:
                causes = {a for a, b in graph.edges if b == name}
                if causes <= known and name in found:
                    known.add(name)
                if invertible and name in known:
                    known |= causes
                    found.add(name)
        numbers, exogenous = _Facts(graph, frozenset(), invertible).closure(target, noise)
        assert {graph.nodes[i] for i in numbers} == known
        assert {graph.nodes[i] for i in exogenous} == found


def test_a_graph_too_large_for_brute_force_is_refused_with_its_size():
    graph = HierGraph([], ["x"], [f"z{i}" for i in range(10)])
    with pytest.raises(GraphError, match="at most 9 latents for brute force, got 10"):
        brute_force_minimal(graph, ["x"])


@pytest.mark.parametrize(("changes", "message"), [
    ({"semantics": "bayes"}, "semantics must be one of invertible, markov, got 'bayes'"),
    ({"c": ["x1"]}, "c must hold latents of the graph, got 'x1'"),
    ({"s_m": ["q"]}, "s_m must hold nodes of the graph, got 'q'"),
    ({"noiseless": ["q"]}, "noiseless must hold nodes of the graph"),
])
def test_bad_input_gets_a_sentence(changes, message):
    with pytest.raises(ValueError, match=message):
        report((SKIP_DIAMOND, ["x1"], None), locate(SKIP_DIAMOND, ["x1"]), **changes)
