import numpy as np
import pytest

from mae_lib.theory.batch import locate_many
from mae_lib.theory.families import pyramid, quadtree
from mae_lib.theory.levels import heights
from mae_lib.theory.masks import ignore_boundary, lowest_shared, unit_masks


@pytest.mark.parametrize(("unit", "ratio"), [(1, 0.1), (2, 0.75), (4, 0.9), (16, 0.5)])
def test_aligned_units_are_hidden_as_a_whole_and_as_many_as_asked(unit, ratio):
    masks = unit_masks(np.random.default_rng(0), 30, 16, unit, ratio)
    blocks = masks.reshape(30, 16 // unit, unit, 16 // unit, unit)
    assert (blocks.all((2, 4)) == blocks.any((2, 4))).all()
    across = (16 // unit) ** 2
    assert (blocks.any((2, 4)).sum((1, 2)) == round(ratio * across)).all()


def test_shifted_units_are_squares_that_the_border_cuts():
    masks = unit_masks(np.random.default_rng(1), 200, 16, 4, 0.5, offset=True)
    starts = np.zeros(4)
    for mask in masks:
        change = np.flatnonzero((mask[1:] != mask[:-1]).any(1)) + 1
        assert len(set(change % 4)) <= 1
        starts[change[:1] % 4] += 1
    assert (starts > 20).all()  # every offset occurs
    assert masks.mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("distance", [0, 1, 3])
def test_what_is_near_a_visible_pixel_is_ignored(distance):
    hidden = unit_masks(np.random.default_rng(2), 3, 12, 2, 0.8)
    target, visible = ignore_boundary(hidden, distance)
    assert (visible == ~hidden).all()
    for b, i, j in np.ndindex(hidden.shape):
        rows, columns = (slice(max(k - distance, 0), k + distance + 1) for k in (i, j))
        assert target[b, i, j] == (hidden[b, i, j] and not visible[b, rows, columns].any())


def footprint_diameters(graph, side):
    """The larger side, less one, of the square of pixels below each latent."""
    below = [np.zeros((0, 2), int)] * len(graph.nodes)
    for i in reversed(graph.order):
        if i >= len(graph.latents):
            below[i] = np.array([divmod(i - len(graph.latents), side)])
        else:
            below[i] = np.unique(np.concatenate([below[j] for j in graph.children[i]]), axis=0)
    return np.array([np.ptp(below[i], axis=0).max() for i in range(len(graph.latents))])


@pytest.mark.parametrize("window", [2, 3, 4])
@pytest.mark.parametrize("distance", [1, 2, 3, 7])
def test_the_margin_lemma(window, distance):
    """No latent with a footprint of at most that diameter is shared, whatever the mask."""
    graph = quadtree(16) if window == 2 else pyramid(16, window)
    small = footprint_diameters(graph, 16) <= distance
    rng = np.random.default_rng(3)
    for unit, ratio, offset in [(1, 0.98, False), (2, 0.9, True), (4, 0.75, True), (8, 0.5, False)]:
        hidden = unit_masks(rng, 50, 16, unit, ratio, offset=offset)
        target, visible = (m.reshape(50, -1) for m in ignore_boundary(hidden, distance))
        assert not locate_many(graph, target, visible).shared[:, small].any()


def test_without_a_margin_small_footprints_are_shared():
    graph, hidden = quadtree(16), unit_masks(np.random.default_rng(4), 5, 16, 1, 0.75)
    small = footprint_diameters(graph, 16) <= 1
    assert locate_many(graph, hidden.reshape(5, -1)).shared[:, small].any()


@pytest.mark.parametrize("window", [2, 3, 4])
@pytest.mark.parametrize("distance", [0, 1, 2, 3, 7, 15])
def test_the_lowest_height_left_by_a_margin_is_that_of_the_least_wide_footprint(window, distance):
    graph = pyramid(16, window)
    tall = [heights(graph)[name] for name in graph.latents]
    wide = footprint_diameters(graph, 16) > distance
    expected = min((h for h, w in zip(tall, wide, strict=True) if w), default=None)
    assert lowest_shared(graph, 16, distance) == expected


@pytest.mark.parametrize(("window", "distance", "height"), [(2, 0, 1), (2, 1, 2), (2, 3, 3),
                                                            (2, 7, 4), (3, 2, 2), (4, 3, 2)])
def test_margins_lift_quadtrees_and_pyramids(window, distance, height):
    assert lowest_shared(pyramid(32, window), 32, distance) == height


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda r: unit_masks(r, 1, 8, 2, -0.1), ValueError, r"ratio must lie in \[0, 1\], got -0.1"),
    (lambda r: unit_masks(r, 1, 8, 3, 0.5), ValueError, "unit must divide the side 8, got 3"),
    (lambda r: ignore_boundary(np.zeros((2, 2)), 1), TypeError, "hidden must be boolean"),
    (lambda r: ignore_boundary(np.zeros(2, bool), 1), ValueError, "two axes or more"),
    (lambda r: ignore_boundary(np.zeros((2, 2), bool), -1), ValueError, "not be negative"),
    (lambda r: lowest_shared(quadtree(4), 8, 1), ValueError, "side must fit 16 pixels, got 8"),
])
def test_bad_input_gets_a_sentence(call, error, message):
    with pytest.raises(error, match=message):
        call(np.random.default_rng(0))
