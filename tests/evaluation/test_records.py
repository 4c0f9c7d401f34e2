import json
from dataclasses import replace

import numpy as np
import pytest

from mae_lib.evaluation.records import (
    EvalRecord,
    frame,
    from_value,
    not_tested,
    paired_items,
    records_of,
    to_value,
)

WHERE = {"setting": {"ratio": 0.75, "unit": 4}, "seed": 1, "dataset": "noise", "split": "test",
         "protocol": "unmasked"}


@pytest.fixture
def records():
    values = {"ssim": np.array([0.5, 0.7], np.float32), "mse": np.array([0.1, 0.3])}
    return [*records_of(values, **WHERE), not_tested("no data", metric="fsimc", **WHERE)]


def test_records_survive_storage(records):
    value = to_value(records)
    rows = json.loads(json.dumps(value["records"]))
    back = from_value({**value, "records": rows})
    assert [r.to_dict() for r in back] == [r.to_dict() for r in records]
    assert np.array_equal(back[0].items, records[0].items) and back[2].items is None


def test_the_value_is_the_mean_of_the_items(records):
    assert records[0].value == pytest.approx(0.6) and records[0].n == 2
    assert records[2].value is None and records[2].status == "not tested"


def test_settings_become_columns(records):
    table = frame(records)
    assert list(table["ratio"]) == [0.75] * 3 and "setting" not in table and "items" not in table
    assert np.isnan(table["value"][2])


def test_pairs_need_the_same_items(records):
    other = replace(records[0], setting={"ratio": 0.1}, seed=2)
    a, b = paired_items(records[0], other)
    assert np.array_equal(a, b)
    for change in ({"dataset": "other"}, {"split": "train"}, {"metric": "mse"},
                   {"n": 1, "items": np.zeros(1)}):
        with pytest.raises(ValueError, match="paired records must have the same"):
            paired_items(records[0], replace(other, **change))
    with pytest.raises(ValueError, match="must hold items"):
        paired_items(records[0], replace(other, items=None))


@pytest.mark.parametrize(("change", "message"), [
    ({"status": "maybe"}, "status must be"), ({"value": None}, "value must be None exactly"),
    ({"status": "not tested"}, "value must be None exactly"),
    ({"status": "not tested", "value": None}, "reason must say why"),
    ({"items": np.zeros(3)}, r"items must have shape \[2\]"),
    ({"value": float("nan")}, "must be finite")])
def test_contradictory_records_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        EvalRecord(**{**WHERE, "metric": "ssim", "value": 0.5, "n": 2, **change})
