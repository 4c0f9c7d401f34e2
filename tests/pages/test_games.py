"""Chances that a mask hides something, against drawn masks; films of what moves."""

import numpy as np
import pytest
import torch

from mae_lib.data.atari import components
from mae_lib.evaluation.small_objects import unseen_pixels
from mae_lib.models.masks import random_mask
from mae_lib.pages import games
from mae_lib.studies.worlds import EDGES

RATIO = 0.75


@pytest.fixture(scope="module")
def pong():
    return games.watch("pong", 120)


def planted(*boxes) -> np.ndarray:
    """One frame with a moving rectangle each: top, left, height, width."""
    moves = np.zeros((len(boxes), 64, 64), bool)
    for frame, (top, left, height, width) in zip(moves, boxes, strict=True):
        frame[top:top + height, left:left + width] = True
    return moves


def test_as_many_tokens_see_an_object_as_the_grid_says():
    found = components(planted((3, 3, 1, 1), (9, 9, 1, 1), (7, 7, 2, 2), (0, 0, 64, 64)))
    assert games.witnesses(found, stem=False).tolist() == [1, 1, 4, 64]
    # Of a side: pixel 3 is seen by tokens 0 and 1, pixel 9 by 0, 1 and 2, 7 and 8 by 0 and 1.
    assert games.witnesses(found, stem=True).tolist() == [4, 9, 4, 64]


@pytest.mark.parametrize("stem", [False, True])
def test_the_chance_that_an_object_is_unseen_is_that_of_drawn_masks(stem):
    boxes = ((3, 3, 1, 1), (20, 21, 2, 2), (30, 8, 5, 3), (9, 40, 1, 17))
    moves, found = planted(*boxes), components(planted(*boxes))
    chance = [games._unseen(k, RATIO) for k in games.witnesses(found, stem)]
    mask = random_mask(4000, (8, 8), RATIO, generator=torch.Generator().manual_seed(0))
    unseen = unseen_pixels(mask, (8, 8), 8, stem=stem).numpy()
    for shape, expected in zip(moves, chance, strict=True):
        drawn = unseen[:, shape].all(1).mean()
        assert drawn == pytest.approx(expected, abs=4 * (expected / 4000) ** 0.5 + 1e-3)


def test_pixels_of_a_frame_are_all_counted():
    table = games.of_a_pixel(RATIO)
    tokens, share, hidden = (table[column].tolist() for column in table)
    assert tokens == [1, 2, 3, 4, 6, 9] and sum(share) == pytest.approx(100)
    assert share[0] == pytest.approx(100 * 4 / 64**2)  # the corners
    # methods.md, section 6.1
    assert hidden[0] == 0.75
    assert (hidden[3], hidden[5]) == pytest.approx((0.306, 0.0609), abs=5e-4)


def test_sizes_are_shares_of_all_objects(pong):
    row, = games.sizes({"pong": pong}).to_dict("records")
    assert row.pop("game") == "Pong"
    assert row.pop("objects a frame") == pytest.approx(len(pong.found.area) / 120)
    assert sum(row.values()) == pytest.approx(100)
    assert row["1 to 3 px, %"] == pytest.approx(100 * (pong.found.area < 4).mean())


def test_objects_are_gathered_by_size(pong):
    table = games.of_objects({"pong": pong}, RATIO)
    assert set(table.by) == set(games.KINDS) and set(table.area) <= set(EDGES)
    least = table[(table.by == "masked patches") & (table.area == 1)].value.item()
    chosen = pong.found.area < 4
    count = [len({(y // 8, x // 8) for y, x in zip(*np.nonzero(
        pong.found.labels[frame] == number), strict=True)})
        for frame in range(120) for number in range(1, 1 + (pong.found.frame == frame).sum())]
    assert least == pytest.approx(np.mean([games._unseen(k, RATIO)
                                           for k in np.array(count)[chosen]]))
    wide = table.pivot(index="area", columns="by", values="value")
    assert (wide["masked features"] <= wide["masked patches"]).all()
    assert wide["masked features"][1] < wide["masked patches"][1]


def test_films_show_frames_and_what_moves_in_them(pong):
    clips = games.films({"pong": pong}, 10, 6)
    assert list(clips) == ["Pong", "Pong: what moves"]
    whole, dimmed = clips.values()
    assert whole.shape == dimmed.shape == (3, 6, 64, 64) and whole.dtype == np.uint8
    assert np.array_equal(whole[:, 2], pong.recording.frames[12])
    there = pong.moves[12]
    assert np.array_equal(dimmed[:, 2][:, there], whole[:, 2][:, there])
    assert (dimmed[:, 2][:, ~there] <= 0.36 * whole[:, 2][:, ~there] + 1).all()
