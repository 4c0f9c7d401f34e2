import io
import re
import xml.etree.ElementTree as ElementTree
from base64 import b64decode
from html import unescape

import matplotlib
import matplotlib.image
import numpy as np
import pandas as pd
import pytest

matplotlib.use("agg")

from mae_lib import figures  # noqa: E402


@pytest.fixture
def frame():
    rows = [{"ratio": r, "metric": m, "value": v, "low": v - 0.1, "high": v + 0.1, "data": d}
            for m in ("SSIM", "PSNR (dB)", "MSE") for d in ("one", "two")
            for r, v in ((0.9, 0.3), (0.1, 0.5), (0.5, 0.7))]
    return pd.DataFrame(rows)


def drawn(fig):
    """Draw, so that layout and text are exercised, and return the visible axes."""
    fig.draw_without_rendering()
    return [ax for ax in fig.axes if ax.get_visible()]


def test_curves_have_a_panel_a_metric_and_points_in_order(frame):
    fig = figures.ratio_curves(frame, "ratio", "value", "metric", by="data",
                               paper={"SSIM": pd.Series([0.2, 0.4], index=[0.1, 0.9])},
                               floors={"SSIM": {"patch mean 4": 0.1}}, xlabel="masking ratio")
    panels = drawn(fig)
    assert [ax.get_title() for ax in panels] == ["SSIM", "PSNR (dB)", "MSE"]
    line = panels[0].lines[0]
    assert line.get_xdata().tolist() == [0, 1, 2] and line.get_ydata().tolist() == [0.5, 0.7, 0.3]
    assert [t.get_text() for t in panels[0].get_xticklabels()] == ["0.1", "0.5", "0.9"]
    labels = [t.get_text() for t in fig.legends[0].texts]
    assert labels == ["one", "two", "paper"]


def test_lines_differ_in_marker_as_well_as_in_colour(frame):
    panel = drawn(figures.ratio_curves(frame, "ratio", "value", "metric", by="data"))[0]
    assert len({line.get_marker() for line in panel.lines}) == 2


def test_a_line_looks_the_same_in_every_panel_also_where_another_is_missing(frame):
    some = frame[(frame.metric == "SSIM") | (frame.data == "two")]
    first, second, _ = drawn(figures.ratio_curves(some, "ratio", "value", "metric", by="data"))
    line, = second.lines
    assert (line.get_color(), line.get_marker()) == (first.lines[1].get_color(),
                                                     first.lines[1].get_marker())


def test_type_is_at_least_ten_points_at_700_pixels(frame):
    fig = figures.ratio_curves(frame, "ratio", "value", "metric", floors={"MSE": {"floor": 0.1}})
    drawn(fig)
    assert fig.get_figwidth() * 100 == 700
    sizes = [t.get_fontsize() for t in fig.findobj(matplotlib.text.Text) if t.get_text()]
    assert min(sizes) >= 10


def test_a_reconstruction_grid_names_its_rows_and_columns():
    images = np.random.default_rng(0).random((4, 3, 8, 8))
    axes = drawn(figures.reconstruction_grid({"original": images, "ratio .75": images}, "abcd"))
    assert len(axes) == 8
    assert [axes[0].get_ylabel(), axes[4].get_ylabel()] == ["original", "ratio .75"]
    assert [ax.get_title() for ax in axes[:4]] == list("abcd")
    assert np.allclose(axes[5].images[0].get_array(), np.moveaxis(images[1], 0, -1))


def test_masked_patches_are_grey():
    image = np.zeros((3, 8, 8))
    axes = drawn(figures.mask_panel(image, {"unit 4": np.array([1, 0, 0, 1])}, 4))
    shown = axes[1].images[0].get_array()
    assert (shown[:4, :4] == 0.55).all() and (shown[:4, 4:] == 0).all()


def test_a_table_is_readable_without_its_looks():
    frame = pd.DataFrame({"ratio": [0.1, 0.75], "ours": [0.6412, np.nan], "n": [2, 3],
                          "note": ["<b>", "-"]})
    html = figures.table(frame, "Linear probe & more", digits={"ratio": 2, "ours": 3},
                         units={"ours": "%"})
    root = ElementTree.fromstring(html)
    assert root.get("class") == "data" and root.find("caption").text == "Linear probe & more"
    heads = root.findall("thead/tr/th")
    assert [h.text for h in heads] == ["ratio", "ours (%)", "n", "note"]
    assert {h.get("scope") for h in heads} == {"col"}
    rows = [[c.text for c in row] for row in root.findall("tbody/tr")]
    assert rows == [["0.10", "0.641", "2", "<b>"], ["0.75", "–", "3", "-"]]
    assert root.find("tbody/tr/th").get("scope") == "row"
    assert "style" not in html and "color" not in html and "prose" not in html


def test_sentences_in_a_table_are_marked_and_truth_is_said_in_words():
    long = "a sentence that is longer than any number with its interval"
    frame = pd.DataFrame({"x": [1, 2], "said": [long, "-"], "holds": [True, False]})
    root = ElementTree.fromstring(figures.table(frame, "c"))
    cells = [[(c.text, c.get("class")) for c in row.findall("td")]
             for row in root.findall("tbody/tr")]
    assert cells == [[(long, "prose"), ("yes", None)], [("-", "prose"), ("no", None)]]


def test_no_line_breaks_inside_an_interval():
    frame = pd.DataFrame({"row": ["a [b, c, d]"], "ours": ["1.2 [-0.5, 2.9]"]})
    root = ElementTree.fromstring(figures.table(frame, "c"))
    row, = root.findall("tbody/tr")
    assert [c.text for c in row] == ["a [b, c, d]", "1.2 [-0.5,\N{NO-BREAK SPACE}2.9]"]


def test_the_style_does_not_leak(frame):
    before = matplotlib.rcParams["font.size"]
    figures.ratio_curves(frame, "ratio", "value", "metric")
    assert matplotlib.rcParams["font.size"] == before
    assert not matplotlib.pyplot.get_fignums()


@pytest.fixture
def looked_at():
    """Two images, maps of two models over 4 x 4 cells, masks, tokens."""
    rng = np.random.default_rng(0)
    maps = {".1": np.where(rng.random((2, 4, 4)) > 0.5, rng.random((2, 4, 4)) + 0.1, 0),
            ".75": np.zeros((2, 4, 4))}
    masks = np.zeros((2, 16, 16), bool)
    masks[:, 4:12, 4:12] = True
    return rng.random((2, 3, 16, 16)), maps, masks, np.array([0, 6])


def test_attention_colours_the_cells_that_get_some_and_no_other(looked_at):
    images, maps, masks, tokens = looked_at
    axes = drawn(figures.attention_grid(images, maps, masks, tokens))
    assert [ax.get_title() for ax in axes[:3]] == ["image", ".1", ".75"] and len(axes) == 6
    assert np.allclose(axes[3].images[0].get_array(), np.moveaxis(images[1], 0, -1))
    for i, ax in enumerate((axes[1], axes[4])):
        shown = ax.images[0].get_array()
        coloured = (np.ptp(shown, -1) > 1e-9).reshape(4, 4, 4, 4).all((1, 3))
        assert np.array_equal(coloured, maps[".1"][i] > 0)
    assert np.ptp(axes[5].images[0].get_array(), -1).max() < 1e-9


def test_more_attention_is_brighter():
    maps = {"a": np.linspace(0.1, 1, 16).reshape(1, 4, 4)}
    ax = drawn(figures.attention_grid(np.full((1, 3, 4, 4), 0.5), maps))[1]
    light = ax.images[0].get_array() @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(light.ravel()) > 0).all()


def test_the_token_that_looks_has_a_square_and_the_object_an_outline(looked_at):
    images, maps, masks, tokens = looked_at
    axes = drawn(figures.attention_grid(images, maps, masks, tokens))
    assert [len(ax.patches) for ax in axes] == [0, 1, 1] * 2
    square = axes[4].patches[0]
    assert (square.get_x(), square.get_y()) == (7.5, 3.5) and square.get_width() == 4
    outline = np.concatenate([path.vertices for path in axes[4].collections[0].get_paths()])
    assert outline.min() == pytest.approx(3.5, abs=0.01)
    assert outline.max() == pytest.approx(11.5, abs=0.01)


def test_sixteen_classes_differ_in_marker_and_filling_alone():
    labels = np.repeat(np.arange(16), 3)
    xy = np.random.default_rng(0).random((48, 2))
    fig = figures.embedding_panels({"one": (xy, labels), "none": (xy[:0], labels[:0])},
                                   [f"class {i}" for i in range(16)])
    first, second = drawn(fig)
    looks = {(line.get_marker(), line.get_markerfacecolor() == "white") for line in first.lines}
    assert len(looks) == 16 and [t.get_text() for t in second.texts] == ["not tested"]
    assert np.allclose(first.lines[5].get_xydata(), xy[labels == 5])


def test_the_legend_names_the_classes_that_are_shown_in_the_marker_of_every_panel():
    one, other = np.array([7, 7, 2]), np.array([9, 2])
    fig = figures.embedding_panels({"a": (np.zeros((3, 2)), one), "b": (np.ones((2, 2)), other)},
                                   list("abcdefghij"))
    legend = fig.legends[0]
    assert [t.get_text() for t in legend.texts] == ["c", "h", "j"]
    marker = {t.get_text(): line.get_marker()
              for t, line in zip(legend.texts, legend.legend_handles, strict=True)}
    a, b = drawn(fig)
    assert [line.get_marker() for line in a.lines] == [marker["c"], marker["h"]]
    assert [line.get_marker() for line in b.lines] == [marker["c"], marker["j"]]


def test_a_slider_holds_every_frame_exactly_and_asks_nobody_for_anything():
    rng = np.random.default_rng(0)
    frames = {f".{i}": rng.integers(0, 256, (3, 5, 7)) / 255 for i in (1, 5, 9)}
    html = figures.slider(frames, "ratio", 'pictures & "quotes"')
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)" alt="([^"]+)"', html)
    assert [unescape(alt) for _, alt in pictures] == [
        f'pictures & "quotes"; ratio {value}' for value in frames]
    for (data, _), image in zip(pictures, frames.values(), strict=True):
        found = matplotlib.image.imread(io.BytesIO(b64decode(data)), format="png")[..., :3]
        assert np.allclose(found, np.moveaxis(image, 0, -1), atol=1e-6)
    assert not re.search(r"https?:|@import|url\(", html)


def test_figures_in_a_slider_start_where_they_are_told(looked_at):
    images, maps, *_ = looked_at
    grid = figures.attention_grid(images, maps)
    html = figures.slider({"a": grid, "b": grid, "c": grid}, "model", "maps", start="b")
    assert html.count("<img") == 3 and 'max="2"' in html and 'value="1"' in html
    assert ">b</output>" in html


IMAGES = np.zeros((2, 3, 4, 4))
MAPS = {"a": np.zeros((2, 2, 2))}
FRAMES = {"a": IMAGES[0], "b": IMAGES[1]}


@pytest.mark.parametrize(("call", "message"), [
    (lambda: figures.reconstruction_grid({}), "rows must hold equally many"),
    (lambda: figures.reconstruction_grid({"a": IMAGES, "b": IMAGES[:1]}), "rows must hold equally"),
    (lambda: figures.reconstruction_grid({"a": IMAGES}, ["x"]), "columns must name 2"),
    (lambda: figures.ratio_curves(pd.DataFrame({"x": [1]}), "x", "y", "p"), "got no 'y'"),
    (lambda: figures.ratio_curves(pd.DataFrame(columns=list("xyp")), "x", "y", "p"), "have rows"),
    (lambda: figures.attention_grid(IMAGES, {}), "must not be empty, got 2 images and 0 maps"),
    (lambda: figures.attention_grid(IMAGES[:1], MAPS), "maps must be one an image, 1, got 2"),
    (lambda: figures.attention_grid(IMAGES, MAPS, IMAGES[:1, 0]), "masks must be one an image"),
    (lambda: figures.attention_grid(IMAGES, MAPS, None, [1]), "tokens must be one an image"),
    (lambda: figures.embedding_panels({}, "ab"), "maps must not be empty"),
    (lambda: figures.embedding_panels({"a": (np.zeros((17, 2)), range(17))}, "a" * 17),
     "show at most 16 classes, got 1 maps and 17"),
    (lambda: figures.embedding_panels({"m": (IMAGES[0, 0], [0])}, "a"), "map 'm' must have"),
    (lambda: figures.slider({}, "x", "y"), "at least one picture, got none"),
    (lambda: figures.slider(FRAMES, "", "y"), "label and alt must say"),
    (lambda: figures.slider(FRAMES, "x", "y", start="c"), "start must be one of a, b, got 'c'"),
    (lambda: figures.slider(FRAMES | {"b": IMAGES[0, :, :2]}, "x", "y"), "all be of one size"),
    (lambda: figures.slider({"a": IMAGES, "b": IMAGES}, "x", "y"), "got an array of shape"),
    (lambda: figures.table(pd.DataFrame({"a": [1]}), ""), "must have a caption"),
    (lambda: figures.table(pd.DataFrame(), "c"), "must have a caption and rows")])
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_single_picture_needs_no_slider():
    alone = figures.slider({"a": IMAGES[0]}, "x", "y")
    assert alone.count("<img") == 1 and "<input" not in alone and "<script" not in alone
