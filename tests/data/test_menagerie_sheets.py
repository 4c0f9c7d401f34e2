"""The figures that show the set."""

import numpy as np
import pytest

from mae_lib.data.menagerie import LATENTS, draw
from mae_lib.data.menagerie.sheets import (
    colour_masks,
    contact_sheet,
    frames,
    graph_figure,
    latent_table,
)


def test_contact_sheet_shows_every_pixel_in_its_place():
    rows = {name: draw(name, 3, 16).images for name in ("train", "val")}
    fig = contact_sheet(rows, ["a", "b", "c"])
    sheet = np.asarray(fig.axes[0].images[0].get_array())
    assert sheet.shape == (33, 50, 3)
    assert np.array_equal(sheet[17:, 34:], np.moveaxis(rows["val"][2], 0, -1))
    assert [label.get_text() for label in fig.axes[0].get_yticklabels()] == ["train", "val"]


@pytest.mark.parametrize(("lengths", "columns", "message"), [
    ((2, 3), [], "rows must hold images of one shape"),
    ((), [], "rows must hold images of one shape"),
    ((2, 2), ["a"], "columns must name 2 images, got 1"),
])
def test_bad_sheets_get_one_sentence(lengths, columns, message):
    rows = {str(i): np.zeros((n, 3, 16, 16), np.uint8) for i, n in enumerate(lengths)}
    with pytest.raises(ValueError, match=message):
        contact_sheet(rows, columns)


def test_masks_get_one_colour_a_number():
    shown = colour_masks(np.array([[0, 1], [2, 9]]))
    assert shown.shape == (3, 2, 2) and shown.dtype == np.uint8
    assert len({tuple(colour) for colour in shown.reshape(3, -1).T}) == 3  # 9 starts over at 1


def test_frames_are_those_of_the_clip():
    clip = np.arange(2 * 3 * 4).reshape(3, 2, 2, 2)
    assert np.array_equal(frames(clip)[1], clip[:, 1])


def test_latent_table_lists_every_latent_once():
    assert len(latent_table()) == len(LATENTS) and latent_table()["latent"].is_unique


def test_graph_figure_draws_every_patch_and_name():
    drawn = draw("train", 1, 32, fixed={"class": 13})
    ax = graph_figure(drawn.images[0], drawn.parts[0], 13, 8).axes[0]
    assert len(ax.images) == 16
    assert {"image", "background", "mushroom"} <= {text.get_text() for text in ax.texts}
