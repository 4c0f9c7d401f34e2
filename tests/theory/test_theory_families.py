import networkx as nx
import numpy as np
import pytest

from mae_lib.theory.families import (
    FIGURE4_MASKS,
    figure2,
    figure4,
    pyramid,
    quadtree,
    random_dag,
    random_layered,
    tree,
)
from mae_lib.theory.levels import heights
from mae_lib.theory.search import locate


@pytest.mark.parametrize(("branching", "height"), [(2, 1), (2, 4), (3, 3), (4, 2)])
def test_a_tree_is_networkxs_balanced_tree(branching, height):
    expected = nx.balanced_tree(branching, height, create_using=nx.DiGraph)
    graph = tree(branching, height)
    assert nx.is_isomorphic(graph.to_networkx(), expected)
    assert graph.pixels == tuple(f"x{i}" for i in range(branching**height))


def test_a_quadtree_owns_squares():
    graph = quadtree(8)
    assert graph.pixels[:2] == ("x0,0", "x0,1") and len(graph.latents) == 16 + 4 + 1
    twin = graph.to_networkx()
    for height in (1, 2, 3):
        for row, column in np.ndindex(8 >> height, 8 >> height):
            below = nx.descendants(twin, f"z{height}:{row},{column}") & set(graph.pixels)
            assert below == {f"x{i},{j}" for i in range(row << height, (row + 1) << height)
                             for j in range(column << height, (column + 1) << height)}


@pytest.mark.parametrize(("window", "diameters"), [(2, [1, 3]), (3, [2, 6]), (4, [3, 9])])
def test_footprints_of_a_pyramid_grow_as_its_windows_say(window, diameters):
    graph = pyramid(32, window)
    twin = graph.to_networkx()
    for height, diameter in enumerate(diameters, 1):
        below = nx.descendants(twin, f"z{height}:3,3") & set(graph.pixels)
        places = np.array([list(map(int, name[1:].split(","))) for name in below])
        assert np.ptp(places, axis=0).tolist() == [diameter, diameter]
        assert len(below) == (diameter + 1) ** 2


@pytest.mark.parametrize("side", [2, 5, 12])
def test_a_pyramid_of_any_side_ends_in_one_latent_above_every_pixel(side):
    graph = pyramid(side, 3)
    roots = [name for name, parents in zip(graph.nodes, graph.parents, strict=True) if not parents]
    assert len(roots) == 1
    assert nx.descendants(graph.to_networkx(), roots[0]) >= set(graph.pixels)


def test_layered_graphs_have_their_layers_as_heights_and_the_parents_asked_for():
    graph = random_layered(np.random.default_rng(0), [2, 5, 9, 30], parents=3)
    assert sorted(map(len, graph.parents))[2:] == [2] * 5 + [3] * 39
    twin = graph.to_networkx()
    assert all(heights(graph)[name] in (None, int(name[1]), 0) for name in twin)
    assert all(int(a[1]) == (int(b[1]) if b[0] == "z" else 0) + 1 for a, b in graph.edges)


@pytest.mark.parametrize(("density", "edges"), [(0.0, 0), (1.0, 4 * 3 // 2 + 4 * 5)])
def test_a_random_dag_has_the_density_asked_for(density, edges):
    graph = random_dag(np.random.default_rng(0), 4, 5, density)
    assert (len(graph.latents), len(graph.pixels), len(graph.edges)) == (4, 5, edges)


def test_the_figures_have_the_papers_nodes():
    assert (len(figure2().latents), len(figure2().pixels)) == (10, 11)
    for edges in ("trees", "crossed"):
        graph = figure4(edges)
        assert set(graph.latents) == {f"z{i}" for i in range(1, 7)} and len(graph.pixels) == 6


def test_figure_4_finds_what_the_paper_says():
    graph = figure4()
    found = {panel: locate(graph, mask).c for panel, mask in FIGURE4_MASKS.items()}
    assert found == {"conservative": {"z3"}, "aggressive": {"z6"}, "between": {"z1", "z2"}}
    assert locate(graph, FIGURE4_MASKS["conservative"]).selected == {"z1", "z3"}


@pytest.mark.parametrize(("call", "message"), [
    (lambda: tree(1, 3), "branching must be at least 2"),
    (lambda: tree(2, 0), "height at least 1"),
    (lambda: quadtree(6), "side must be a power of two from 2 on, got 6"),
    (lambda: pyramid(8, 1), "window at least the stride"),
    (lambda: pyramid(1), "side and stride must be at least 2"),
    (lambda: random_layered(np.random.default_rng(0), [3]), "at least two layers"),
    (lambda: random_dag(np.random.default_rng(0), 2, 2, 1.5), "density must lie in"),
    (lambda: figure4("guess"), "edges must be trees or crossed, got 'guess'"),
])
def test_bad_sizes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
