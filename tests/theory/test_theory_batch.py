import numpy as np
import pytest
from random_graphs import random_case

from mae_lib.theory.batch import locate_many
from mae_lib.theory.families import pyramid, quadtree
from mae_lib.theory.graph import GraphError, HierGraph
from mae_lib.theory.levels import heights
from mae_lib.theory.search import locate


def one_by_one(graph, target, visible, of):
    """The sets of ``locate``, mask by mask, as rows of booleans."""
    rows = []
    for t, v in zip(target, visible, strict=True):
        names = [[p for p, chosen in zip(graph.pixels, row, strict=True) if chosen]
                 for row in (t, v)]
        members = getattr(locate(graph, *names), of)
        rows.append([z in members for z in graph.latents])
    return np.array(rows, bool).reshape(len(target), len(graph.latents))


@pytest.mark.parametrize("masks", [0, 1, 63, 64, 65, 100])
@pytest.mark.parametrize("block", [1, 64, 4096])
def test_many_masks_give_what_each_gives(masks, block):
    rng = np.random.default_rng(masks)
    for _ in range(20):
        graph = random_case(rng)[0]
        target = rng.random((masks, len(graph.pixels))) < 0.5
        seen = ~target & (rng.random(target.shape) < 0.8)
        found = locate_many(graph, target, seen, block=block)
        full = locate_many(graph, target, block=block)
        for of in ("c", "selected", "shared"):
            assert (getattr(found, of) == one_by_one(graph, target, seen, of)).all()
            assert (getattr(full, of) == one_by_one(graph, target, ~target, of)).all()


def test_masks_of_units_are_masks_of_their_pixels():
    rng, graph = np.random.default_rng(0), quadtree(8)
    for visible in (None, "some"):
        units = rng.integers(0, 5, 64)
        masks = rng.random((70, 5)) < 0.5
        seen = None if visible is None else ~masks & (rng.random((70, 5)) < 0.7)
        found = locate_many(graph, masks, seen, units=units)
        fine = locate_many(graph, masks[:, units], None if seen is None else seen[:, units])
        assert all((found.words[of] == fine.words[of]).all() for of in found.words)


@pytest.mark.parametrize("window", [2, 3, 4])
def test_on_pyramids_it_is_max_pooling(window):
    """Whether some pixel below is hidden, and some is seen, are two max-poolings."""
    rng, side, graph = np.random.default_rng(1), 16, pyramid(16, window)
    target = rng.random((9, side, side)) < 0.6
    found = locate_many(graph, target.reshape(9, -1))
    shared = dict(zip(graph.latents, found.shared.T, strict=True))
    maps = [target, ~target]
    for height in range(1, 5):
        maps = [_pool(m, window) for m in maps]
        for row, column in np.ndindex(*maps[0].shape[1:]):
            both = maps[0][:, row, column] & maps[1][:, row, column]
            assert (shared[f"z{height}:{row},{column}"] == both).all()


def _pool(maps: np.ndarray, window: int) -> np.ndarray:
    """Max-pooling with stride 2 of a padded map, window by window."""
    side, pad = maps.shape[1], (window - 2) // 2
    padded = np.pad(maps, ((0, 0), (pad, window), (pad, window)))
    return np.array([[padded[:, i:i + window, j:j + window].any((1, 2))
                      for j in range(0, side, 2)] for i in range(0, side, 2)]).transpose(2, 0, 1)


def test_counts_are_those_of_the_members():
    rng, graph = np.random.default_rng(2), quadtree(8)
    found = locate_many(graph, rng.random((40, 64)) < 0.7)
    tall = np.array([heights(graph)[z] for z in graph.latents])
    for of in ("c", "selected", "shared"):
        expected = [[(tall[row] == h).sum() for h in range(4)] for row in found.members(of)]
        assert found.counts(of).tolist() == expected


def test_an_empty_graph_and_barren_latents_locate_nothing():
    assert locate_many(HierGraph([], []), np.zeros((3, 0), bool)).c.shape == (3, 0)
    barren = HierGraph([("a", "b")], ["x"])
    found = locate_many(barren, np.ones((2, 1), bool))
    assert not found.c.any() and found.counts().tolist() == [[0], [0]]


PIXELS = np.zeros((2, 16), bool)


@pytest.mark.parametrize(("masks", "keywords", "error", "message"), [
    (PIXELS.astype(int), {}, TypeError, "masks must be boolean, got int64"),
    (PIXELS[:, :3], {}, ValueError, "a column for each of 16 pixels, got 3"),
    (PIXELS[0], {}, ValueError, r"masks must have shape \[masks, pixels\], got \[16\]"),
    (PIXELS, {"visible": PIXELS[:1]}, ValueError, r"visible must have shape \[2, 16\]"),
    (~PIXELS, {"visible": ~PIXELS}, GraphError, "must not overlap, but do in mask 0"),
    (PIXELS, {"units": np.zeros(16)}, TypeError, "units must be integers"),
    (PIXELS, {"units": np.zeros(3, int)}, ValueError, "one unit for each of 16 pixels"),
    (PIXELS[:, :2], {"units": np.full(16, 2)}, ValueError, r"units must lie in 0\.\.1"),
    (PIXELS, {"block": 0}, ValueError, "block must be at least 1, got 0"),
])
def test_masks_that_do_not_fit_are_refused(masks, keywords, error, message):
    with pytest.raises(error, match=message):
        locate_many(quadtree(4), masks, **keywords)


def test_an_unknown_set_is_refused():
    with pytest.raises(ValueError, match="of must be one of c, selected, shared, got 's_m'"):
        locate_many(quadtree(4), PIXELS).counts("s_m")
