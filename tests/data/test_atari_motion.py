"""The background, what differs from it, and connected components, against slow loops."""

import numpy as np
import pytest

from mae_lib.data.atari import background, components, moving

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 256, (9, 3, 6, 7), dtype=np.uint8)


def flood(mask: np.ndarray, corners: bool) -> np.ndarray:
    """Area of the component of every pixel of one frame, found by walking from pixel to pixel."""
    areas = np.zeros(mask.shape, int)
    steps = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)
             if (corners or abs(y) + abs(x) == 1) and (y or x)]
    waiting = set(zip(*np.nonzero(mask), strict=True))
    while waiting:
        edge = [waiting.pop()]
        reached = list(edge)
        while edge:
            y, x = edge.pop()
            near = {(y + dy, x + dx) for dy, dx in steps} & waiting
            waiting -= near
            edge += near
            reached += near
        areas[tuple(np.transpose(reached))] = len(reached)
    return areas


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.35, 0.6, 1.0])
def test_components_are_what_a_flood_reaches(corners, share):
    mask = RNG.random((12, 11, 13)) < share
    found = components(mask, corners)
    expected = np.stack([flood(picture, corners) for picture in mask])
    assert np.array_equal(found.areas, expected)
    assert np.array_equal(found.labels > 0, mask)
    for i in range(len(mask)):
        own = found.area[found.frame == i]
        assert own.tolist() == [(found.labels[i] == 1 + k).sum() for k in range(len(own))]
        assert sorted(own) == sorted(expected[i][found.labels[i] == 1 + k][0]
                                     for k in range(len(own)))
    assert found.area.sum() == mask.sum() and (np.diff(found.frame) >= 0).all()


def test_what_touches_at_a_corner_or_in_the_next_frame():
    mask = np.zeros((2, 4, 4), bool)
    mask[0, 0, 0] = mask[0, 1, 1] = mask[1, 1, 1] = True
    assert components(mask).area.tolist() == [2, 1]
    assert components(mask, corners=False).area.tolist() == [1, 1, 1]
    assert components(mask, corners=False).frame.tolist() == [0, 0, 1]


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_the_background_is_the_median_or_the_lower_of_the_middle_two(count):
    expected = np.sort(FRAMES[:count], axis=0)[(count - 1) // 2]
    assert np.array_equal(background(FRAMES[:count]), expected)
    if count % 2:
        assert np.array_equal(background(FRAMES[:count]), np.median(FRAMES[:count], axis=0))


@pytest.mark.parametrize("threshold", [0, 1, 100, 254])
def test_a_pixel_moves_where_one_channel_differs_by_more_than_the_threshold(threshold):
    behind = background(FRAMES)
    found = moving(FRAMES, threshold=threshold)
    for i, y, x in np.ndindex(found.shape):
        differs = [abs(int(a) - int(b)) > threshold
                   for a, b in zip(FRAMES[i, :, y, x], behind[:, y, x], strict=True)]
        assert found[i, y, x] == any(differs)


def test_a_ball_before_a_striped_wall_is_found_where_it_is(monkeypatch):
    monkeypatch.setattr("mae_lib.data.atari.motion.CHUNK", 4)  # more than one
    wall = RNG.integers(0, 256, (3, 20, 20), dtype=np.uint8)
    frames, truth = np.repeat(wall[None], 9, 0), np.zeros((9, 20, 20), bool)
    for t in range(9):
        truth[t, 2 * t:2 * t + 2, 2 * t:2 * t + 2] = True  # never twice at a place
    frames = np.where(truth[:, None], frames + np.uint8(1), frames)
    assert np.array_equal(background(frames), wall)
    assert np.array_equal(moving(frames), truth)
    assert components(moving(frames)).area.tolist() == [4] * 9


def test_a_background_of_other_frames_may_be_given():
    other = np.zeros((3, 6, 7), np.uint8)
    assert np.array_equal(moving(FRAMES, other, 5), (FRAMES > 5).any(1))


@pytest.mark.parametrize("frames, error, message", [
    (FRAMES / 255, TypeError, "frames must be uint8, got float64"),
    (FRAMES[0], ValueError, r"frames must have shape \[N,3,H,W\] .* got \[3, 6, 7\]"),
    (FRAMES[:, :2], ValueError, r"frames must have shape \[N,3,H,W\] .* got \[9, 2, 6, 7\]"),
    (FRAMES[:0], ValueError, r"at least one frame, got \[0, 3, 6, 7\]")])
@pytest.mark.parametrize("function", [background, moving])
def test_frames_that_are_none_are_refused(function, frames, error, message):
    with pytest.raises(error, match=message):
        function(frames)


@pytest.mark.parametrize("behind", [FRAMES[0, :, :5], FRAMES[0] / 255])
def test_a_background_that_does_not_fit_is_refused(behind):
    with pytest.raises(ValueError, match=r"behind must be uint8 of shape \[3, 6, 7\], got"):
        moving(FRAMES, behind)


@pytest.mark.parametrize("threshold", [-1, 255])
def test_a_threshold_that_finds_all_or_nothing_is_refused(threshold):
    with pytest.raises(ValueError, match=rf"threshold must lie in 0\.\.254, got {threshold}"):
        moving(FRAMES, threshold=threshold)


@pytest.mark.parametrize("mask", [np.ones((2, 3, 3), np.uint8), np.ones((3, 3), bool)])
def test_a_mask_that_is_none_is_refused(mask):
    with pytest.raises(ValueError, match=r"mask must be bool of shape \[N,H,W\], got"):
        components(mask)
