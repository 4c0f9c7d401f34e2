"""Means over runs or images, with the intervals that SciPy gives."""

import numpy as np
import pytest
from scipy import stats

from mae_lib.evaluation.records import EvalRecord, not_tested
from mae_lib.ledger.summary import only, ordering, summarise, with_interval


def record(seed: int, value: float, *, items=None, ratio=0.5, split="test",
           metric="psnr") -> EvalRecord:
    return EvalRecord({"ratio": ratio}, seed, "pictures", split, "unmasked", metric, value,
                      1 if items is None else len(items), items)


def test_over_runs_the_interval_is_students():
    values = [20.0, 21.5, 22.0]
    row, = summarise(record(seed, value) for seed, value in enumerate(values)).itertuples()
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (row.value, row.low, row.high) == pytest.approx((np.mean(values), low, high))
    assert row.over == "runs" and row.seeds == 3


def test_over_the_images_of_one_run_it_is_the_normal_one():
    items = np.random.default_rng(0).normal(20, 3, 400)
    row, = summarise([record(0, items.mean(), items=items)]).itertuples()
    low, high = stats.norm.interval(0.95, items.mean(), stats.sem(items))
    assert (row.low, row.high) == pytest.approx((low, high)) and row.over == "images"


def test_over_the_images_of_one_run_accuracies_have_wilsons():
    items = np.repeat([1.0, 0.0], [70, 30])
    row, = summarise([record(0, 0.7, items=items, metric="accuracy")]).itertuples()
    found = stats.binomtest(70, 100).proportion_ci(method="wilson")
    assert (row.low, row.high) == pytest.approx((found.low, found.high), abs=1e-9)


def test_settings_are_kept_apart_and_what_was_not_tested_is_left_out():
    missing = not_tested("no data", setting={"ratio": 0.9}, seed=0, dataset="pictures",
                         split="test", protocol="unmasked", metric="psnr")
    table = summarise([record(0, 22, ratio=0.75), record(0, 20, ratio=0.1), missing])
    assert ordering(table, "ratio") == "0.1 < 0.75"
    assert only(table, ratio=[0.1, 0.9]).value.tolist() == [20]


def test_two_splits_are_not_two_runs():
    with pytest.raises(ValueError, match="one value a seed, got 2 of 'psnr' .*'odd', 'test'"):
        summarise([record(0, 20), record(0, 21, split="odd")])


def test_a_mean_without_an_interval_stands_alone():
    table = summarise([record(0, 20.126), record(0, 0.5, ratio=0.1), record(1, 0.7, ratio=0.1)])
    assert with_interval(table).tolist() == ["20.13", "0.60 [-0.67, 1.87]"]
