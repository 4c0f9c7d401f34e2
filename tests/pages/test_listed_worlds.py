"""What the chapter on graphs of masks shows: worlds that can be listed."""

import numpy as np
import pytest

from mae_lib.ledger import mask_graphs
from mae_lib.pages import listed_worlds
from mae_lib.theory.mask_graphs import mask_graph
from mae_lib.theory.toy_worlds import noisy_prototypes


def test_adjacency_is_sorted_and_named():
    world = noisy_prototypes(((0, 0, 0), (1, 1, 0)))
    known, unknown = (listed_worlds.adjacency(mask_graph(world, 1, positions=p))
                      for p in (True, False))
    assert known.index.nlevels == 2 and known.shape == (12, 12)
    blocks = known.to_numpy().reshape(3, 4, 3, 4).transpose(0, 2, 1, 3)
    assert all((blocks[a, b] == 0).all() == (a != b) for a in range(3) for b in range(3))
    assert unknown.index.tolist() == ["00", "01", "10", "11"]
    graph = mask_graph(world, 1, positions=False)
    names = ["".join(map(str, view)) for view in graph.views]
    assert unknown.loc["01", "11"] == graph.adjacency[names.index("01"), names.index("11")]


def test_tables_on_the_toy_world_hold_what_they_say():
    world = noisy_prototypes()
    table = listed_worlds.bounds(world, positions=True)
    assert (table["loss of MAE"] >= table["bound by Theorem 3.2"]).all()
    assert (table["bound by Theorem 3.2"] >= table["and by 3.3"] - 1e-9).all()
    assert table.unexplained.to_numpy() == pytest.approx(
        1 - table["and by 3.3"] / table["loss of MAE"])
    errors = listed_worlds.errors(world, positions=False)
    assert (errors.error <= errors["bound by the graph"]).all()
    assert (errors["loss of U-MAE"] >= errors["its floor"]).all()
    assert (listed_worlds.room(20, 0)["least"] >= 0).all()
    curves = listed_worlds.sharing_curves(mask_graphs.sharing(world)).set_index(["line", "ratio"])
    assert curves.value["other class", 0.5] == pytest.approx(.1745, abs=1e-4)
    spectra = listed_worlds.spectra(world, [2], 5)
    first = spectra[(spectra["rank"] == 1)]
    assert first.value.to_numpy() == pytest.approx(np.ones(2)) and len(spectra) == 10
    assert listed_worlds.prototypes(3, 2) == [[0, 0, 0], [1, 1, 0]]
    with pytest.raises(ValueError, match=r"telling must lie in 1\.\.3, got 4"):
        listed_worlds.prototypes(3, 4)
