import itertools

import networkx as nx
import numpy as np
import pytest
from random_graphs import law, random_case

from mae_lib.theory.graph import GraphError, HierGraph
from mae_lib.theory.problems import SMALLEST
from mae_lib.theory.search import (
    algorithm2,
    climb,
    locate,
    locate_literal,
    prune,
    rounds_as_printed,
)


def thousands(count: int = 4000, **sizes):
    rng = np.random.default_rng(7)
    return (random_case(rng, **sizes) for _ in range(count))


def by_definition(graph, target, visible):
    """Shared causes, and those of them without a shared child, from networkx's reachability."""
    twin = graph.to_networkx()
    below = {z: nx.descendants(twin, z) for z in graph.latents}
    shared = {z for z in graph.latents if below[z] & target and below[z] & visible}
    return shared, {z for z in shared if not shared & set(twin.successors(z))}


@law
def test_c_and_shared_agree_with_their_definition(case):
    found = locate(*case)
    assert (found.shared, found.c) == by_definition(*case)


def test_the_closed_form_agrees_with_the_papers_loops():
    nonempty = 0
    for case in thousands():
        found = locate(*case)
        assert found == locate_literal(*case)
        nonempty += bool(found.c)
    assert nonempty > 1000


def test_it_also_agrees_on_larger_graphs():
    for case in thousands(100, latents=30, pixels=40):
        assert locate(*case) == locate_literal(*case)


@law
def test_proposition_1(case):
    graph, target, visible = case
    found = locate(*case)
    above_target, above_visible = graph.ancestors(target), graph.ancestors(visible)
    assert found.s_m == above_target - above_visible
    assert found.s_mc == above_visible - above_target
    assert found.selected == found.shared & {a for a, b in graph.edges if b in found.s_m}


@law
def test_corollary_1_c_is_the_same_for_the_complement(case):
    graph, target, visible = case
    one, other = locate(graph, target, visible), locate(graph, visible, target)
    assert one.c == other.c and one.shared == other.shared
    assert (one.s_m, one.s_mc) == (other.s_mc, other.s_m)


def test_what_is_selected_is_not_symmetric():
    assert any(locate(g, t, v).selected != locate(g, v, t).selected for g, t, v in thousands(200))


@law
def test_corollary_2_c_is_an_antichain_below_everything_shared(case):
    graph = case[0]
    found = locate(*case)
    assert bool(found.c) == bool(found.shared)
    assert found.shared <= graph.ancestors(found.c)
    for a, b in itertools.permutations(found.c, 2):
        assert a not in graph.ancestors([b])


@law
def test_corollary_3_the_three_sides_are_disjoint(case):
    found = locate(*case)
    assert not found.s_m & found.shared and not found.s_mc & found.shared
    assert not found.s_m & found.s_mc and case[1] <= found.s_m and case[2] <= found.s_mc


@law
def test_corollary_4_barren_latents_change_nothing(case):
    graph, target, visible = case
    edges = graph.edges + [(z, "barren") for z in graph.latents[:2]]
    larger = HierGraph(edges, graph.pixels, (*graph.latents, "barren"))
    assert locate(larger, target, visible) == locate(graph, target, visible)


@law
def test_corollary_5_ignoring_a_pixel_shrinks_what_is_shared(case):
    graph, target, visible = case
    before = locate(*case)
    for pixel in sorted(target | visible):
        after = locate(graph, target - {pixel}, visible - {pixel})
        assert after.shared <= before.shared
        assert after.c <= graph.ancestors(before.c)


@law
def test_corollary_6_on_trees_each_child_is_wholly_on_one_side(case):
    graph = case[0]
    if any(len(parents) > 1 for parents in graph.parents):
        return
    target, visible = case[1], case[2] | (set(graph.pixels) - case[1])
    twin = graph.to_networkx()
    for z in graph.latents:
        below = [({child} | nx.descendants(twin, child)) & set(graph.pixels)
                 for child in twin.successors(z)]
        kinds = [{p in target for p in pixels} for pixels in below if pixels]
        expected = all(len(k) == 1 for k in kinds) and len(set().union(*kinds)) == 2
        assert (z in locate(graph, target, visible).c) == expected


@law
def test_pruning_does_not_depend_on_its_order(case):
    """The paper removes members while it walks over them: any order ends at the same set."""
    graph = case[0]
    selected = locate(*case).selected
    for seed in range(5):
        left = np.random.default_rng(seed).permutation(sorted(selected)).tolist()
        for name in list(left):
            if any(name in graph.ancestors([other]) - {other} for other in left):
                left.remove(name)
        assert prune(graph, selected) == set(left)


@law
def test_each_step_of_the_climb_starts_from_the_private_parents_of_the_last(case):
    graph, target, visible = case
    seen = graph.ancestors(visible)
    for before, after in itertools.pairwise(climb(*case)):
        if after.pixel == before.pixel:
            assert after.front == before.parents - seen
        else:
            assert before.parents <= seen and after.front == {after.pixel}


def misread(graph, target, visible, reading):
    """Algorithm 1 with one of its sentences read otherwise."""
    above = [graph.ancestors([p]) for p in sorted(visible)]
    seen = frozenset.intersection(*above) if reading == "all" and above else (
        graph.ancestors(visible))
    selected, s_m = set(), set()
    for pixel in sorted(target):
        front = {pixel}
        while front:
            s_m |= front
            parents = {a for a, b in graph.edges if b in front}
            selected |= parents & seen
            front = parents - seen
            if reading == "stop at the first" and parents & seen:
                break
    if reading == "unpruned":
        return selected
    if reading == "prune the lower":
        return {z for z in selected if not (graph.ancestors([z]) - {z}) & selected}
    return prune(graph, selected)


@pytest.mark.parametrize(("reading", "least"),
                         [("all", 0.15), ("stop at the first", 0.003), ("unpruned", 0.05),
                          ("prune the lower", 0.05)])
def test_misreadings_of_the_algorithm_give_other_answers(reading, least):
    wrong = [locate(*case).c != misread(*case, reading) for case in thousands(1000)]
    assert np.mean(wrong) > least
    assert all(locate(*case).c == misread(*case, "as meant") for case in thousands(300))


@law
def test_algorithm_2_lists_at_least_what_is_the_visible_sides_own(case):
    graph, _, visible = case
    found = locate(*case)
    listed = algorithm2(graph, visible, found.c)
    assert found.s_mc <= listed.exogenous
    assert listed.exogenous | listed.latent <= graph.ancestors(visible)


def test_p1_the_printed_algorithm_2_does_not_end():
    graph = HierGraph([("z", "x")], ["x"])
    with pytest.raises(RuntimeError, match=r"has not after 50 rounds \(pixel 'x'\)"):
        rounds_as_printed(graph, ["x"], [], 50)
    assert rounds_as_printed(HierGraph([], ["x"]), ["x"], []) == 1


@law
def test_p1_happens_just_when_a_visible_pixel_has_a_parent_outside_c(case):
    graph, _, visible = case
    c = locate(*case).c
    endless = any(b in visible and a not in c for a, b in graph.edges)
    if endless:
        with pytest.raises(RuntimeError):
            rounds_as_printed(graph, visible, c, 200)
    else:
        assert rounds_as_printed(graph, visible, c, 200) == len(visible)


def test_p2_s_mc_may_contain_members_of_c():
    graph = HierGraph([("z1", "x1"), ("z1", "x2"), ("z2", "x2"), ("z2", "x3")], ["x1", "x2", "x3"])
    found = locate(graph, ["x1", "x3"], ["x2"])
    assert found.c == {"z1", "z2"} == algorithm2(graph, ["x2"], found.c).latent


def test_p3_s_mc_may_contain_functions_of_c():
    graph, target = SMALLEST["P3"]
    found = locate(graph, target)
    assert found.c == {"z2"} and "z1" in algorithm2(graph, ["x1"], found.c).exogenous


def test_c_must_hold_latents():
    graph = HierGraph([("z", "x")], ["x"])
    with pytest.raises(GraphError, match="c must hold latents of the graph, got 'x'"):
        algorithm2(graph, ["x"], ["x"])
