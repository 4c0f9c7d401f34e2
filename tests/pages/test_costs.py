"""Times come from the committed benchmark alone, and only where it is about the same model."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_plan import PARAMETERS

from mae_lib import runs
from mae_lib.ledger.experiments import verdicts_of
from mae_lib.ledger.outcomes import COLUMNS
from mae_lib.measurements import measurements
from mae_lib.pages import costs
from mae_lib.studies import Plan, Setting

PLAN = Plan.of(PARAMETERS)
ROUNDS = {4: [4.0, 5.0, 6.0, 4.4], 8: [2.0, 2.2, 3.1, 2.3], 16: [1.0, 1.5, 1.4, 1.2]}


@pytest.fixture
def benchmark(tmp_path, monkeypatch):
    """Writes a benchmark's results and makes them the committed ones."""
    monkeypatch.setattr(costs, "RESULTS", tmp_path)
    monkeypatch.setattr(runs, "find", lambda key, **_: None)

    def write(rounds, preset="laptop"):
        rows = [{"level": level, costs.SECONDS: values} for level, values in rounds.items()]
        (tmp_path / "masking_cost.json").write_text(json.dumps(
            {"provenance": {"preset": preset}, "ratios": rows, "coupled patches": rows}))
    return write


@pytest.fixture
def timed(tmp_path, benchmark):
    """The same of methods."""
    def write(rounds, preset="laptop"):
        rows = [{"name": name, costs.SECONDS: values} for name, values in rounds.items()]
        (tmp_path / "methods.json").write_text(json.dumps(
            {"provenance": {"preset": preset}, "methods": rows}))
    return write


def seconds(plan: Plan = PLAN) -> pd.DataFrame:
    table = measurements(plan, [])
    return table[table.outcome == "seconds"]


def test_the_ledger_gets_every_round_of_every_patch_once_for_each_data_set(benchmark):
    benchmark(ROUNDS)
    for dataset in PLAN.datasets:
        rows = seconds()[lambda t, name=dataset: t.dataset == name]
        assert set(rows.series) == {"coupled"}
        found = {level: part.sort_values("seed").value.tolist()
                 for level, part in rows.groupby("level")}
        assert found == ROUNDS


@pytest.mark.parametrize(("rounds", "word"), [
    (ROUNDS, "supported"), ({16: ROUNDS[4], 4: ROUNDS[16]}, "not supported"),
    ({4: [1.0, 1.1, 0.9, 1.0], 16: [0.96, 1.06, 0.85, 0.97]}, "supported (negligible)"),
    ({4: [4.0, 5.0], 16: [1.0, 1.5]}, "not tested")])
def test_whether_larger_patches_are_faster_is_decided_by_the_rounds(benchmark, rounds, word):
    benchmark(rounds)
    verdict = verdicts_of(pd.DataFrame(seconds(), columns=list(COLUMNS)), "menagerie")["K-C1"]
    assert verdict.word == word
    if len(rounds) == 3:
        saved = 1 - np.divide(ROUNDS[16], ROUNDS[4])
        assert verdict.effect.n == 4 and verdict.effect.mean == pytest.approx(saved.mean())


STEPS = {"mae": [1.0, 1.1, 1.2], "mae tokens": [2.4, 2.62, 2.88], "simmim": [9.0, 9.0, 9.0],
         "mae, decoder of one block": [.5, .5, .6]}


@pytest.mark.parametrize(("tokens", "word", "shallow"), [
    (1.0, "supported", "supported"), (0.88, "supported (negligible)", "supported"),
    (0.7, "not supported", "supported"), (0.35, "not supported", "not supported")])
def test_whether_dropping_halves_the_time_is_decided_by_the_rounds(timed, tokens, word, shallow):
    timed(STEPS | {"mae tokens": [tokens * s for s in STEPS["mae tokens"]]})
    held = seconds(replace(PLAN, method_datasets=("menagerie",)))
    held = held[held.series != "coupled"]
    verdict = verdicts_of(pd.DataFrame(held, columns=list(COLUMNS)), "menagerie")["S-12"]
    assert (verdict.word, verdict.beside["with a decoder of one block"].word) == (word, shallow)
    expected = tokens * np.divide(STEPS["mae tokens"], STEPS["mae"]) / 2 - 1
    assert verdict.effect.mean == pytest.approx(expected.mean())
    assert set(held.dataset) == {"menagerie"} and len(held) == 9


def test_times_of_another_model_or_none_at_all_are_not_there(benchmark):
    assert seconds().empty
    benchmark(ROUNDS, preset="toy")
    assert seconds().empty
    for name in ("masking_cost", "methods"):  # so that a chapter is stale once they are there
        assert costs.RESULTS / f"{name}.json" in runs._read


def test_multiples_are_paired_by_round(benchmark):
    benchmark({0.1: [2.0, 4.0, 8.0], 0.9: [1.0, 1.0, 4.0]})
    found = costs.multiples(costs.step_seconds("ratios", "laptop"), 0.9, 0.1)
    low, high = stats.t.interval(0.95, 2, loc=5 / 12, scale=stats.sem([0.5, 0.25, 0.5]))
    assert found == pytest.approx((5 / 12, low, high))
    table = costs.cost_of_ratios([0.9, 0.1, 0.5], "laptop").set_index("ratio")
    assert list(table.index) == [0.1, 0.5, 0.9] and table.columns[-1].endswith("timed")
    assert (table.loc[0.1, ["encoder", "encoder of ViT-B/16", "whole model"]] == 1).all()
    # Section 3.6: 19 + 1 tokens against 176 + 1 in ViT-B/16, 1.71 G against 15.6 G.
    assert table.loc[0.9, "encoder of ViT-B/16"] == pytest.approx(1.706 / 15.61, rel=1e-3)
    assert table.iloc[1, -1] == "–" and table.loc[0.9].iloc[-1].startswith("0.42 [")


def test_costs_are_times_the_references(timed):
    timed(STEPS)
    usual = Setting(preset="laptop", views=640)
    rows = {"MAE": usual, "tokens": replace(usual, method="mae tokens"),
            "one": replace(usual, decoder_depth=1), "blocks": replace(usual, sampling="block"),
            "long": replace(usual, views=1280), "wide": replace(usual, decoder_width=96)}
    table = costs.cost_table(rows, "MAE").set_index("pretraining")
    step = table["step (million)"]
    assert step["blocks"] == step["long"] == step["MAE"] < step["wide"] < step["tokens"]
    assert table["step, times"].to_dict() == pytest.approx((step / step["MAE"]).to_dict())
    assert (table["whole training, times"] / table["step, times"]).to_dict() == pytest.approx(
        dict.fromkeys(rows, 1) | {"long": 2})
    texts = table["step, timed"].to_dict()
    mean = np.divide(STEPS["mae tokens"], STEPS["mae"]).mean()
    assert texts["tokens"].startswith(f"{mean:.2f} [") and texts["one"].startswith("0.48 [")
    assert texts["long"].startswith("1.00 [") and texts["blocks"] == texts["wide"] == "–"


def test_without_a_benchmark_costs_are_counted_alone(timed):
    timed(STEPS, preset="toy")
    table = costs.cost_table({"MAE": Setting(preset="laptop")}, "MAE")
    assert table["step, timed"].tolist() == ["–"]


def test_the_committed_benchmark_is_about_the_published_models():
    timed = costs.step_seconds("coupled patches", "laptop")
    assert set(timed) == {4, 8, 16} and {len(values) for values in timed.values()} == {15}
    assert min(map(min, timed.values())) > 0
    assert set(costs.step_seconds("ratios", "laptop")) == {0.1, 0.25, 0.5, 0.75, 0.9}
    methods = costs.method_seconds("laptop")
    assert set(costs.TIMED) <= set(methods) and {len(values) for values in methods.values()} == {15}
