"""Stored records become the tidy table that the ledger reads, and nothing is lost on the way."""

import numpy as np
import pytest
from test_plan import PARAMETERS

from mae_lib import runs, studies
from mae_lib.evaluation.records import EvalRecord, not_tested, to_value
from mae_lib.ledger.experiments import RULES
from mae_lib.measurements import OUTCOMES, Place, judged, measurements, series_of
from mae_lib.studies import Plan, program

PLAN = Plan.of(PARAMETERS | {
    "filter_images": 8, "filter_epochs": 1, "conflict_images": 8, "train_scenes": 8,
    "test_scenes": 8, "detector_epochs": 1, "detector_seeds": [0], "ratios": [0.1, 0.25, 0.75],
    "method_datasets": ["menagerie"], "method_seeds": [0], "method_views": 3200,
    "few_counts": [1, 8], "photograph_crops": 2, "occlusion_ratios": [0.25, 0.75],
    "finetune_epochs": 1, "few_label_epochs": 1})


def value_of(setting, place: Place) -> float:
    """Something different for every run and place, to be recognised later."""
    return float(hash((setting, place.protocols[0], place.metric, place.split)) % 1000) / 1000


def record(setting, place: Place, value: float, protocol: str = "") -> EvalRecord:
    described = studies.settings.without_seed(setting)
    metric = place.metric.format(last=1 if setting.preset == "toy" else 3)
    return EvalRecord(described, setting.seed, setting.dataset, place.split,
                      protocol or place.protocols[0], metric, value, 1)


@pytest.fixture
def stored(monkeypatch):
    """Every study of the plan has a result, which no file holds."""
    values = {}
    for study, places in OUTCOMES.items():
        for setting in program(PLAN)[study]:
            found = [record(setting, place, value_of(setting, place))
                     for place in places.values()]
            values[PLAN.key(study, setting).name] = to_value(found)
    for setting in program(PLAN)[studies.FLOORS]:
        found = [record(setting, Place((f"floor: patch mean {p}",), m), p + len(m))
                 for p in (4, 8, 16) for m in ("ssim", "fsimc", "psnr", "mse")]
        values[PLAN.key(studies.FLOORS, setting).name] = to_value(found)
    monkeypatch.setattr(runs, "find", lambda key, **_: (
        runs.Result(values[key.name], {}, "cache") if key.name in values else None))
    return values


def test_every_run_has_a_place_and_the_usual_one_several():
    places = series_of(PLAN)
    assert set(places) == {*program(PLAN)[studies.PRETRAINING], *PLAN.untrained}
    usual, = [s for s in PLAN.ratio_series if (s.ratio, s.seed, s.dataset) == (.75, 0, "menagerie")]
    assert places[usual] == [("ratio", 0.75), ("unit", 4), ("coupled", 4),
                             ("equal tokens", 0.75), ("method", "MAE"), ("method", "MAE: mask")]


def test_each_outcome_is_the_record_it_names_in_the_ledgers_unit(stored):
    columns = ["dataset", "series", "level", "seed", "outcome"]
    found = measurements(PLAN).groupby(columns).value.apply(list).to_dict()
    runs_of, where = program(PLAN), series_of(PLAN)
    for study, places in OUTCOMES.items():
        for setting in runs_of[study]:
            for name, place in places.items():
                if study is studies.LOCALITY and "share" in name:
                    continue
                for series, level in where[setting]:
                    values = found[setting.dataset, series, level, setting.seed, name]
                    assert values == [place.factor * value_of(setting, place)]


def test_a_floor_is_that_of_the_runs_own_patch(stored):
    table = measurements(PLAN, [studies.RECONSTRUCTION])
    for setting in PLAN.coupled_series:
        patch = setting.patch or 4
        rows = table[(table.series == "coupled") & (table.level == patch)
                     & (table.seed == setting.seed) & (table.dataset == setting.dataset)]
        found = rows.set_index("outcome").value
        assert found["ssim floored"] == pytest.approx(found["ssim"] - (patch + 4))
        assert found["neg mse floored"] == pytest.approx(found["neg mse"] + patch + 3)


def test_gradient_locality_is_near_less_far_beyond_their_areas(stored):
    table = measurements(PLAN, [studies.LOCALITY])
    setting = PLAN.core[0]
    near, near_area, far, far_area = (
        value_of(setting, Place(("own masks",), name)) for name in (
            "gradient share, near", "area share, near", "gradient share, far", "area share, far"))
    row = table[(table.outcome == "gradient locality") & (table.seed == setting.seed)
                & (table.dataset == setting.dataset) & (table.level == setting.ratio)]
    assert row.value.tolist()[0] == pytest.approx((near - near_area) - (far - far_area))
    assert not any("share" in name for name in table.outcome.unique())


def test_what_was_not_tested_or_not_computed_is_not_there(stored):
    setting = PLAN.core[0]
    key = PLAN.key(studies.LATENTS, setting).name
    first, second = OUTCOMES[studies.LATENTS]["position"].protocols
    about = {"setting": {}, "seed": setting.seed, "dataset": setting.dataset, "split": "test"}
    place = Place((second,), "position")
    stored[key] = to_value([not_tested("unknown", **about, protocol=first, metric="position"),
                            record(setting, place, 0.5)])
    stored.pop(PLAN.key(studies.ATTENTION, setting).name)
    table = measurements(PLAN)
    mine = table[(table.dataset == setting.dataset) & (table.seed == setting.seed)
                 & (table.series == "ratio") & (table.level == setting.ratio)]
    found = mine.set_index("outcome").value
    assert found["position"] == 0.5 and "scale" not in found and "lift" not in found


def test_similarities_are_those_of_the_smallest_unit(stored):
    for setting in program(PLAN)[studies.CROSS_CKA]:
        found = [EvalRecord({"ratio": a, "unit": unit}, setting.seed, setting.dataset, "test",
                            "similarity of models, mean token, levelled", f"cka to {b}", value, 8)
                 for a, b, unit, value in ((.1, ".75", 4, .1), (.1, "0.75", 4, .7),
                                           (.75, "0.1", 4, .7), (.75, "0.1", 8, .2))]
        stored[PLAN.key(studies.CROSS_CKA, setting).name] = to_value(found)
    table = measurements(PLAN, [studies.CROSS_CKA])
    rows = table[table.outcome.str.startswith("cka")]
    assert set(zip(rows.level, rows.outcome, rows.value, strict=True)) == {
        (.1, "cka to 0.75", .7), (.75, "cka to 0.1", .7)}
    assert len(rows) == 2 * len(program(PLAN)[studies.CROSS_CKA])


def test_every_claim_about_networks_gets_a_verdict_on_each_set(stored):
    verdicts = judged(measurements(PLAN))
    assert list(verdicts) == ["Menagerie", "Fashion-MNIST"]
    assert all(set(found) == set(RULES) for found in verdicts.values())
    assert np.isfinite(measurements(PLAN).value).all()
