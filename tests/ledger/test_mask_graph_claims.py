"""The claims on graphs of masks, which are decided in worlds that can be listed."""

import numpy as np
import pandas as pd
import pytest

from mae_lib.ledger import mask_graphs
from mae_lib.theory.alignment import Chain


def test_both_theorems_hold_in_every_world():
    for verdict in (mask_graphs.bounds_hold(60, 1), mask_graphs.error_and_floor_hold(60, 1)):
        assert verdict.word == "supported"
        assert all("120 trials" in part for part in verdict.parts)


def test_a_single_failure_refutes_a_theorem(monkeypatch):
    true = list(mask_graphs.cases(5, 1))
    graph, losses, down = true[0]
    wrong = Chain(**vars(losses) | {"loss": losses.first_bound - 1e-6})
    low = type(down)(**vars(down) | {"loss": down.floor - 1e-6})
    monkeypatch.setattr(mask_graphs, "cases", lambda *_: [(graph, wrong, low), *true[1:]])
    first, second = mask_graphs.bounds_hold(5, 1), mask_graphs.error_and_floor_hold(5, 1)
    assert first.word == second.word == "not supported"
    assert first.parts["theorem 3.2: 10 trials"].mean == pytest.approx(-0.1)
    assert first.parts["theorem 3.3: 10 trials"].mean == 0
    assert second.parts["loss above its floor: 10 trials"].mean == pytest.approx(-0.1)


def test_worlds_are_of_many_kinds():
    found = [(len(graph.world.images), graph.targets.shape[1], graph.view_labels.shape[1],
              losses.epsilon > 0) for graph, losses, _ in mask_graphs.cases(60, 0)]
    kinds = list(zip(*found, strict=True))
    assert [len(set(kind)) > 1 for kind in kinds] == [True] * 4
    assert len(found) == 120


def test_in_the_toy_world_sharing_across_classes_falls_and_within_rises_only_at_first():
    table = mask_graphs.sharing().set_index("ratio")
    assert table.across.is_monotonic_decreasing and table.alpha.is_monotonic_increasing
    assert 0 < table.within.idxmax() < 0.5
    parts = mask_graphs.sharing_grows(0.02)
    assert [v.word for v in parts.values()] == ["not supported", "supported"]
    assert parts["toy world, label error"].effect.mean == pytest.approx(
        table.alpha[1] - 2 * table.alpha[0.5] + table.alpha[0])


def test_the_tables_columns_are_numbers():
    table = mask_graphs.sharing(positions=False)
    assert isinstance(table, pd.DataFrame) and np.isfinite(table.drop(columns="looseness")).all(
        axis=None)
    assert table.looseness.isna().sum() == 1 and (table.looseness.dropna() >= 0.5).all()
