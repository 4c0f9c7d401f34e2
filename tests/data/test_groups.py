import numpy as np
import pytest

from mae_lib.data.groups import menagerie_groups, pixel_kinds
from mae_lib.data.menagerie import draw, picture_graph


def test_a_patch_belongs_to_what_most_of_its_pixels_show():
    kinds = pixel_kinds(draw("train", 40))
    groups, parents = menagerie_groups("train", 40, tile=None)
    assert groups.dtype == parents.dtype == np.uint8 and groups.shape == (40, 64)
    for n, patch in np.ndindex(40, 64):
        row, column = divmod(patch, 8)
        inside = kinds[n, 4 * row:4 * row + 4, 4 * column:4 * column + 4]
        assert groups[n, patch] == np.bincount(inside.ravel()).argmax()
    assert np.array_equal(parents, groups > 1)


def test_parts_are_those_of_the_graph_of_the_picture():
    pictures = draw("train", 20)
    groups, _ = menagerie_groups("train", 20, tile=None)
    for marks, row in zip(pictures.parts, groups, strict=True):
        graph = picture_graph(marks, 4)
        for patch, group in enumerate(row.tolist()):
            cause = "background" if group < 2 else f"object 0 part {group - 2}"
            assert graph.has_edge(cause, "patch {} {}".format(*divmod(patch, 8)))


def test_sky_and_ground_are_told_apart_where_the_painter_does():
    colours = {"sky": [[2 / 3, 1, 1]] * 2, "ground": [0, 1, 1], "noise": 0.0, "ambient": 1.0,
               "parts": np.zeros(8, bool)}
    found = draw("train", 30, fixed=colours, clutter=0)
    red, _, blue = found.images.astype(float).transpose(1, 0, 2, 3)
    share, kinds = red / (red + blue), pixel_kinds(found)
    clear = np.abs(share - 0.5) > 0.3
    assert clear.mean() > 0.95 and set(np.unique(kinds)) == {0, 1}
    assert np.array_equal(kinds[clear], (share > 0.5)[clear])


@pytest.mark.parametrize("tile", [1, 2, 4])
def test_tiles_cut_the_landscape_and_leave_the_parts_whole(tile):
    plain, cut = menagerie_groups("train", 30, tile=None), menagerie_groups("train", 30, tile=tile)
    count = (8 // tile) ** 2
    row, column = np.divmod(np.arange(64), 8)
    place = row // tile * (8 // tile) + column // tile
    landscape = plain.groups < 2
    assert np.array_equal(cut.groups[~landscape], plain.groups[~landscape] + 2 * count - 2)
    expected = plain.groups.astype(int) * count + place
    assert np.array_equal(cut.groups[landscape], expected[landscape])
    assert np.array_equal(cut.parents, np.minimum(plain.groups, 2))
    assert cut.groups.max() < 2 * count + 8


def test_a_low_group_lies_in_one_high_group():
    for tile in (None, 2):
        groups, parents = menagerie_groups("train", 50, tile=tile)
        for group in np.unique(groups):
            assert len(np.unique(parents[groups == group])) == 1


def test_groups_do_not_depend_on_how_many_are_asked_for(monkeypatch):
    whole = menagerie_groups("test", 12).groups
    monkeypatch.setattr("mae_lib.data.groups.CHUNK", 5)
    assert np.array_equal(menagerie_groups("test", 12).groups, whole)
    assert np.array_equal(menagerie_groups("test", 4, start=8).groups, whole[8:])


def test_sides_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="patch must divide the side 32, got 5"):
        menagerie_groups("train", 2, patch=5)
    with pytest.raises(ValueError, match="tile must divide the 8 patches a side or be None, got 3"):
        menagerie_groups("train", 2, tile=3)
    with pytest.raises(ValueError, match="tile must leave at most 124 tiles, got 256"):
        menagerie_groups("train", 2, size=64, tile=1)
