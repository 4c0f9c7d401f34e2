import matplotlib.pyplot as plt
import pytest
from matplotlib.patches import FancyArrowPatch

from mae_lib.theory.drawing import draw
from mae_lib.theory.graph import HierGraph


@pytest.fixture
def ax():
    fig, ax = plt.subplots()
    yield ax
    plt.close(fig)


def test_edges_are_straight_unless_a_node_stands_in_their_way(ax):
    graph = HierGraph([("z1", "z2"), ("z2", "z3"), ("z1", "z3"), ("z3", "x")], ["x"])
    draw(graph, ax)
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    bends = {edge: arrow.get_connectionstyle().rad
             for edge, arrow in zip(graph.edges, arrows, strict=True)}
    assert {edge for edge, bend in bends.items() if bend} == {("z1", "z3")}
