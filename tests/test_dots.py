"""Points row by row: each number at its own place on its own scale, names that can be read."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("agg")

from mae_lib import figures  # noqa: E402

LONG = "C-MAE, BYOL, without mask tokens"
OURS = {"MAE": 20.0, "R-MAE": 14.0, LONG: 30.0}


def frame(measures=("fine-tuned (%)",), paper=None) -> pd.DataFrame:
    rows = [{"row": name, "measure": measure, "value": value + i, "low": value + i - 2,
             "high": value + i + 1} | ({} if paper is None else {"paper": paper.get(name)})
            for i, measure in enumerate(measures) for name, value in OURS.items()]
    return pd.DataFrame(rows)


def drawn(fig) -> list:
    """Lay out as when drawn, and return the visible axes."""
    fig.draw_without_rendering()  # a closed figure has a canvas that draws nothing
    return [ax for ax in fig.axes if ax.get_visible()]


def points(ax) -> dict[float, float]:
    """Where the markers stand: ``{row: value}``."""
    line, = [line for line in ax.lines if line.get_marker() not in ("None", "")]
    return dict(zip(line.get_ydata(), line.get_xdata(), strict=True))


def bars(ax) -> list[list[float]]:
    return [list(part[:, 0]) for part in ax.collections[0].get_segments()]


def place(ax, value: float) -> float:
    """On the picture, in pixels from the left."""
    return ax.transData.transform((value, 0))[0]


def test_every_row_stands_on_its_line_from_the_top_in_every_panel():
    first, second = drawn(figures.dots(frame(["a", "b"]), "measure"))
    assert [first.get_xlabel(), second.get_xlabel()] == ["a", "b"]
    assert points(first) == {0: 20, 1: 14, 2: 30} and points(second) == {0: 21, 1: 15, 2: 31}
    assert bars(first) == [[18, 21], [12, 15], [28, 31]]
    assert first.get_ylim() == second.get_ylim() == (2.5, -0.5)
    names = [t.get_text().replace("\n", " ") for t in first.get_yticklabels()]
    assert names == list(OURS)


def test_a_row_that_a_panel_lacks_keeps_its_line():
    both = frame(["a", "b"])
    some = both[(both.measure == "a") | (both.row != "R-MAE")]
    assert list(points(drawn(figures.dots(some, "measure"))[1])) == [0, 2]


PAPER = {"MAE": 83.1, "R-MAE": 82.7}


def test_the_papers_numbers_are_hollow_on_a_scale_of_their_own():
    ours, above = drawn(figures.dots(frame(paper=PAPER), "measure"))
    assert {round(y): x for y, x in points(above).items()} == {0: 83.1, 1: 82.7}
    assert ours.get_xlim() != above.get_xlim()
    assert {line.get_markerfacecolor() for line in above.lines} == {"white"}
    legend, = ours.figure.legends
    assert [t.get_text() for t in legend.texts] == ["ours, scale below", "paper, scale above"]


@pytest.mark.parametrize("paper", [PAPER, {"MAE": 80.0, "R-MAE": 90.0}, {"MAE": 50.0},
                                   {"MAE": 5.0, "R-MAE": 4.0, LONG: 5.1}])
def test_the_reference_of_both_stands_on_one_line_and_nothing_is_cut(paper):
    ours, above = drawn(figures.dots(frame(paper=paper), "measure", reference="MAE"))
    dotted, = [line for line in ours.lines if line.get_linestyle() == ":"]
    assert list(dotted.get_xdata()) == [20, 20]
    assert place(ours, 20) == pytest.approx(place(above, paper["MAE"]), abs=0.01)
    box = ours.get_window_extent()
    ends = [place(ours, x) for bar in bars(ours) for x in bar]
    ends += [place(above, x) for x in paper.values()]
    assert min(ends) > box.x0 + 5 and max(ends) < box.x1 - 5


def test_a_reference_without_a_printed_number_leaves_the_papers_scale_alone():
    _, free = drawn(figures.dots(frame(paper=PAPER), "measure"))
    _, held = drawn(figures.dots(frame(paper=PAPER), "measure", reference=LONG))
    assert held.get_xlim() == free.get_xlim()


def test_a_panel_without_printed_numbers_has_one_scale():
    both = frame(["a", "b"], PAPER)
    both.loc[both.measure == "b", "paper"] = None
    assert len(drawn(figures.dots(both, "measure"))) == 3
    nothing = figures.dots(frame(paper={}), "measure", reference="MAE")
    assert len(drawn(nothing)) == 1 and not nothing.legends


def test_one_run_without_interval_is_a_dot_alone():
    bare = frame().assign(low=np.nan, high=np.nan)
    ax, = drawn(figures.dots(bare, "measure"))
    assert points(ax) == {0: 20, 1: 14, 2: 30} and ax.get_xlim()[0] < 14 < 30 < ax.get_xlim()[1]


def labels(axis, side: int) -> list:
    """Numbers or names along an axis that are within its view."""
    low, high = sorted(axis.get_view_interval())
    return [t for t in axis.get_ticklabels() if low <= t.get_position()[side] <= high]


@pytest.mark.parametrize("count", [1, 4])
def test_names_and_numbers_lie_inside_the_picture_and_do_not_meet(count):
    names = ["linear probe (%)", "linear probe, mean token (%)", "fine-tuned (%)", "few labels (%)"]
    fig = figures.dots(frame(names[:count], PAPER), "measure", reference="MAE")
    axes = drawn(fig)
    assert fig.get_figwidth() * 100 == 700
    below = [ax.xaxis.label for ax in axes if ax.get_xlabel()]
    groups = [below] + [labels(ax.xaxis, 0) for ax in axes] + [labels(ax.yaxis, 1) for ax in axes]
    assert len(below) == count and all(len(some) >= 2 for some in groups[1:2 * count + 1])
    for texts in groups:
        boxes = [t.get_window_extent() for t in texts]
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
        assert all(fig.bbox.x0 <= b.x0 and b.x1 <= fig.bbox.x1 for b in boxes)
        assert all(fig.bbox.y0 <= b.y0 and b.y1 <= fig.bbox.y1 for b in boxes)
    assert min(t.get_fontsize() for texts in groups for t in texts) >= 10


@pytest.mark.parametrize(("wrong", "got"), [
    (frame()[:0], "no rows"), (frame().drop(columns=["low", "row"]), "no low, row")])
def test_a_frame_without_rows_or_columns_is_refused(wrong, got):
    with pytest.raises(ValueError, match=f"row, measure, value, low and high, got {got}"):
        figures.dots(wrong, "measure")
