"""Heat maps: what stands in a cell, where groups part, and that all of it can be read."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

matplotlib.use("agg")

from mae_lib import figures  # noqa: E402


def drawn(fig):
    """Draw, and return the panels without the scale."""
    fig.draw_without_rendering()
    return [ax for ax in fig.axes if ax.images]


def luminance(colour) -> float:
    """By the definition of WCAG 2, one channel at a time."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def frame(values, rows=None, columns=None):
    return pd.DataFrame(np.asarray(values, float), rows, columns)


def test_every_number_stands_in_its_cell_and_more_is_brighter():
    values = frame([[0.1, 0.5], [0.25, 1.0]], ["a", "b"], ["c", "d"])
    ax, = drawn(figures.heat_maps({"one": values}, "score"))
    texts = {t.get_position(): t.get_text() for t in ax.texts}
    assert texts == {(0, 0): "0.10", (1, 0): "0.50", (0, 1): "0.25", (1, 1): "1.00"}
    colours = ax.images[0].cmap(ax.images[0].norm([0.1, 0.25, 0.5, 1.0]))
    shades = [luminance(c) for c in colours]
    assert shades == sorted(shades) and len(set(shades)) == 4
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
    assert ax.get_title() == "one"


def test_numbers_can_be_read_on_every_colour():
    values = np.linspace(-0.5, 1.5, 101)
    ax, = drawn(figures.heat_maps({"all": frame([values[:51], values[50:]])}, "score"))
    image = ax.images[0]
    for text in ax.texts:
        x, y = map(int, text.get_position())
        pair = sorted([luminance(text.get_color()),
                       luminance(image.cmap(image.norm(image.get_array()[y, x]))[:3])])
        assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5
    assert min(t.get_fontsize() for t in ax.texts) >= 10


def test_nothing_is_minus_zero():
    ax, = drawn(figures.heat_maps({"one": frame([[-0.001, -0.02, 0.0]])}, "score"))
    assert [t.get_text() for t in ax.texts] == ["0.00", "-0.02", "0.00"]


@pytest.mark.parametrize("square", [True, False])
@pytest.mark.parametrize("count", [2, 8])
def test_names_below_the_columns_do_not_run_into_each_other(count, square):
    names = [f"model {i}" for i in range(count)]
    wide = frame(np.eye(count), names, names)
    fig = figures.heat_maps({"one": wide, "two": wide}, "score", square=square)
    for ax in drawn(fig):
        boxes = [t.get_window_extent() for t in ax.get_xticklabels()]
        assert all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:], strict=False))


def test_what_is_missing_is_grey_and_has_no_number():
    ax, = drawn(figures.heat_maps({"one": frame([[np.nan, 0.5]])}, "score"))
    assert [t.get_text() for t in ax.texts] == ["0.50"]
    image = ax.images[0]
    grey = image.cmap(np.ma.masked_invalid([np.nan]))[0]
    assert grey[0] == grey[1] == grey[2]
    assert not any(np.allclose(grey, image.cmap(v)) for v in np.linspace(0, 1, 257))


@pytest.fixture
def grouped():
    names = pd.MultiIndex.from_tuples([("x", 1), ("x", 2), ("y", 1), ("z", 1), ("z", 2)])
    return frame(np.eye(5), names, names)


def test_lines_part_the_groups_and_the_first_name_tells_which(grouped):
    ax, = drawn(figures.heat_maps({"one": grouped}, "score"))
    assert [t.get_text() for t in ax.get_yticklabels()] == ["x: 1", "2", "y: 1", "z: 1", "2"]
    across = {line.get_ydata()[0] for line in ax.lines if len(set(line.get_ydata())) == 1}
    assert across == {1.5, 2.5}


def test_without_numbers_groups_alone_are_named_in_their_middle(grouped):
    one, two = drawn(figures.heat_maps({"one": grouped, "two": grouped}, "score", digits=None,
                                       square=True))
    assert not one.texts and two.get_aspect() == 1
    assert [t.get_text() for t in one.get_xticklabels()] == ["x", "y", "z"]
    assert list(one.get_xticks()) == [0.5, 2, 3.5]


def test_rows_are_equally_high_in_panels_of_different_length():
    panels = {"long": frame(np.eye(8)), "short": frame(np.eye(8)[:2])}
    long, short = (ax.get_window_extent() for ax in drawn(figures.heat_maps(panels, "score")))
    assert long.height / 8 == pytest.approx(short.height / 2, rel=0.02)
    assert long.y0 > short.y1 and min(long.height / 8, short.height / 2) >= 20


@pytest.mark.parametrize("panels", [{}, {"none": frame(np.empty((0, 2)))}])
def test_panels_without_cells_are_refused(panels):
    with pytest.raises(ValueError, match="panels must hold frames with cells"):
        figures.heat_maps(panels, "score")
