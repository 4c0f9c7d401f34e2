"""Figures and tables of the chapters on the theory say what the search says."""

import numpy as np
import pandas as pd
import pytest

from mae_lib.pages import hierarchy
from mae_lib.theory.families import FIGURE4_MASKS, figure2, figure4


def test_steps_are_those_of_the_worked_example():
    table = hierarchy.steps(figure4(), FIGURE4_MASKS["conservative"])
    assert table["from pixel"].tolist() == ["x2", "x3", "x3"]
    assert table["shared: selected"].tolist() == ["z3", "–", "z1"]
    assert table["private: climb on"].tolist() == ["–", "z4", "–"]


def test_searches_are_one_row_a_mask():
    table = hierarchy.searches(figure4(), FIGURE4_MASKS).set_index("mask")
    assert table.c.to_dict() == {"conservative": "z3", "aggressive": "z6", "between": "z1, z2"}
    assert table["mean height"].tolist() == [1, 1, 2]


def test_names_come_in_a_readers_order():
    assert hierarchy.named({"x10", "x2", "z1"}) == "x2, z1, x10" and hierarchy.named([]) == "–"


def test_drawings_have_a_panel_for_each_graph_and_a_key():
    graph = figure4()
    figure = hierarchy.drawings({"a": (graph, ["x1"]), "b": (graph, None), "c": (graph, [])},
                                columns=2)
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title() for ax in shown] == ["a", "b", "c"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "in c" in labels and "hidden pixel" in labels
    assert {t.get_text() for t in shown[0].texts} == {*graph.latents, *graph.pixels}


@pytest.mark.parametrize(("graph", "size"), [(figure4(), 18), (figure2(), 11)])
def test_names_grow_with_their_nodes_and_stay_inside(graph, size):
    figure = hierarchy.drawings({"": (graph, None)})
    figure.canvas.draw()
    ax, = figure.axes
    (left, _), (right, _) = ax.transData.transform([(0, 0), (0.6, 0)])
    assert {round(text.get_fontsize()) for text in ax.texts} == {size}
    assert max(text.get_window_extent().width for text in ax.texts) < right - left


@pytest.mark.parametrize("name", ["$c$", "$x_m$", "$s_{m^c}$"])
def test_figure_3_names_its_variables(name):
    assert name in {t.get_text() for t in hierarchy.information_figure().axes[0].texts}


def test_curves_are_means_over_groups():
    found = pd.DataFrame([{"pair": "any", "distance": d, "group": g, "correlation": d + g / 10,
                           "information": np.nan if g else 1.0} for d in (1, 2) for g in range(3)])
    curves = hierarchy.dependence_curves({"set": found})
    assert curves.value.tolist() == pytest.approx([1.1, 2.1])
    assert set(curves.panel) == {"set: correlation"} and (curves.low < curves.value).all()
