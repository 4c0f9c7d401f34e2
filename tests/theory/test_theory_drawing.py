import itertools

import matplotlib.pyplot as plt
import pytest
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle

from mae_lib.theory.drawing import HIDDEN, draw, information_graph, legend, positions
from mae_lib.theory.families import FIGURE4_MASKS, figure2, figure4
from mae_lib.theory.graph import HierGraph
from mae_lib.theory.search import locate


@pytest.fixture
def ax():
    fig, ax = plt.subplots()
    yield ax
    plt.close(fig)


def at(ax, graph, name, kind) -> list:
    """Shapes of one kind around a node."""
    place = ax.transData.transform(positions(graph)[name])
    return [shape for shape in ax.patches if isinstance(shape, kind)
            and shape.contains_point(place)]


def test_edges_are_straight_unless_a_node_stands_in_their_way(ax):
    graph = HierGraph([("z1", "z2"), ("z2", "z3"), ("z1", "z3"), ("z3", "x")], ["x"])
    draw(graph, ax)
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    bends = {edge: arrow.get_connectionstyle().rad
             for edge, arrow in zip(graph.edges, arrows, strict=True)}
    assert {edge for edge, bend in bends.items() if bend} == {("z1", "z3")}


@pytest.mark.parametrize("graph", [figure2(), figure4(), figure4("crossed")])
def test_causes_stand_above_their_effects_and_no_two_nodes_touch(graph):
    places = positions(graph)
    assert [places[pixel] for pixel in graph.pixels] == [(i, 0) for i in range(len(graph.pixels))]
    assert all(places[cause][1] > places[effect][1] for cause, effect in graph.edges)
    for (x, y), (u, v) in itertools.combinations(places.values(), 2):
        assert abs(x - u) > 0.75 or y != v


def test_barren_latents_find_a_place_and_names_are_not_typeset(ax):
    graph = HierGraph([("$z^$", "x 1"), ("alone", "barren")], ["x 1"])
    draw(graph, ax)
    ax.figure.canvas.draw()
    assert {text.get_text() for text in ax.texts} == {"$z^$", "x 1", "alone", "barren"}


def test_pixels_are_filled_outlined_or_striped(ax):
    graph = figure4()
    draw(graph, ax, graph.query(["x1"], ["x2"]))
    hidden, seen, ignored = (at(ax, graph, name, Rectangle)[0] for name in ("x1", "x2", "x3"))
    assert plt.matplotlib.colors.to_hex(hidden.get_facecolor()) == HIDDEN
    assert (hidden.get_hatch(), seen.get_hatch(), ignored.get_hatch()) == (None, None, "////")


def test_what_is_located_is_marked(ax):
    """c has two rings, what else is shared a dashed one, what is private has dots."""
    graph = figure4()
    found = locate(graph, FIGURE4_MASKS["conservative"])
    draw(graph, ax, graph.query(FIGURE4_MASKS["conservative"]), found)
    rings = {name: at(ax, graph, name, Circle) for name in graph.latents}
    assert {name for name, shapes in rings.items() if len(shapes) == 2} == found.c == {"z3"}
    assert {n for n, shapes in rings.items() if shapes[0].get_linestyle() in ("--", "dashed")
            } == {"z1"} == found.shared - found.c
    assert {n for n, shapes in rings.items() if shapes[0].get_hatch()} == {"z4"}


def test_no_two_looks_differ_by_colour_alone():
    looks = legend(ignored=True)
    assert [look.get_label() for look in looks][-1] == "ignored pixel"
    shown = {(look.get_hatch(), look.get_linestyle(), look.get_linewidth(),
              sum(look.get_facecolor()[:3]) < 1) for look in looks}
    assert len(shown) == len(looks) == len(legend()) + 1


def test_figure_3_has_its_five_variables_and_one_dashed_line(ax):
    information_graph(ax)
    assert [text.get_text() for text in ax.texts] == [
        "$s_m$", "$c$", "$s_{m^c}$", "$x_m$", "$x_{m^c}$"]
    dashed = [patch.get_linestyle() in ("--", "dashed") for patch in ax.patches
              if isinstance(patch, FancyArrowPatch)]
    assert sorted(dashed) == [False] * 4 + [True]
