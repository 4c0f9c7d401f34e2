import xml.etree.ElementTree as ElementTree

import matplotlib
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
    fig.canvas.draw()
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
    assert "style" not in html and "color" not in html


def test_the_style_does_not_leak(frame):
    before = matplotlib.rcParams["font.size"]
    figures.ratio_curves(frame, "ratio", "value", "metric")
    assert matplotlib.rcParams["font.size"] == before
    assert not matplotlib.pyplot.get_fignums()


IMAGES = np.zeros((2, 3, 4, 4))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: figures.reconstruction_grid({}), "rows must hold equally many"),
    (lambda: figures.reconstruction_grid({"a": IMAGES, "b": IMAGES[:1]}), "rows must hold equally"),
    (lambda: figures.reconstruction_grid({"a": IMAGES}, ["x"]), "columns must name 2"),
    (lambda: figures.ratio_curves(pd.DataFrame({"x": [1]}), "x", "y", "p"), "got no 'y'"),
    (lambda: figures.ratio_curves(pd.DataFrame(columns=list("xyp")), "x", "y", "p"), "have rows"),
    (lambda: figures.table(pd.DataFrame({"a": [1]}), ""), "must have a caption"),
    (lambda: figures.table(pd.DataFrame(), "c"), "must have a caption and rows")])
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
