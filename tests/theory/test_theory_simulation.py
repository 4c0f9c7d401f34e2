import numpy as np
import pytest

from mae_lib.theory import simulation
from mae_lib.theory.families import pyramid, quadtree, tree
from mae_lib.theory.masks import ignore_boundary, unit_masks
from mae_lib.theory.search import locate
from mae_lib.theory.simulation import simulate


@pytest.mark.parametrize("of", ["c", "selected", "shared"])
@pytest.mark.parametrize(("unit", "shifted", "margin"),
                         [(1, False, 0), (2, True, 1), (4, False, 2)])
def test_counts_are_those_of_each_mask(unit, shifted, margin, of):
    graph = pyramid(8, 3)
    counts = simulate(graph, np.random.default_rng(0), 20, 0.7, unit, shifted=shifted,
                      margin=margin, of=of)
    hidden = unit_masks(np.random.default_rng(0), 20, 8, unit, 0.7, offset=shifted)
    for row, target, visible in zip(counts, *ignore_boundary(hidden, margin), strict=True):
        sides = [[p for p, chosen in zip(graph.pixels, m.ravel(), strict=True) if chosen]
                 for m in (target, visible)]
        found = [int(name[1]) for name in getattr(locate(graph, *sides), of)]
        assert row.tolist() == np.bincount(found, minlength=4).tolist()


def test_blocks_only_save_memory(monkeypatch):
    graph, rng = quadtree(8), np.random.default_rng(0)
    parts = [simulate(graph, rng, masks, 0.5) for masks in (7, 7, 6)]
    monkeypatch.setattr(simulation, "BLOCK", 7)
    counts = simulate(graph, np.random.default_rng(0), 20, 0.5)
    assert (counts == np.concatenate(parts)).all() and counts.shape == (20, 4)


@pytest.mark.parametrize(("graph", "masks", "message"), [
    (tree(2, 3), 5, "a square of pixels .* got 8 pixels and 5"),
    (quadtree(4), 0, "masks must be at least 1, got 16 pixels and 0"),
])
def test_bad_input_gets_a_sentence(graph, masks, message):
    with pytest.raises(ValueError, match=message):
        simulate(graph, np.random.default_rng(0), masks, 0.5)
