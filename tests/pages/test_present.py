"""What chapters share in showing: nothing is mixed up on the way from results to a page."""

import numpy as np
import pandas as pd
import pytest
from painted import both_series, painted, sweep

from mae_lib.book.parameters import read_flat
from mae_lib.ledger import paper
from mae_lib.pages import present
from mae_lib.runs import ROOT
from mae_lib.studies import Plan


def test_what_is_out_of_date_is_said_with_its_reason():
    fresh = sweep(both_series()[:2], painted)
    assert present.state(fresh) == "2 results (2 cache), 1.00 hours of computing"
    old = sweep(both_series()[:1], painted, ["source of scores changed"])
    assert present.state(fresh, old) == ("3 results (3 cache), 1.50 hours of computing; "
                                         "1 out of date: source of scores changed")


def summary(**columns) -> pd.DataFrame:
    return pd.DataFrame({"dataset": "Menagerie", "metric": "SSIM", "low": 0.0, "high": 1.0,
                         "preset": "toy"} | columns)


@pytest.fixture
def floor():
    return summary(protocol=[f"floor: patch mean {p}" for p in (4, 8, 16)], value=[.5, .3, .1])


def test_each_row_loses_the_floor_of_its_own_patch(floor):
    found = summary(protocol="unmasked", patch=[np.nan, 8, 16], value=[.6, .6, .6])
    above = present.above_floor(found, floor)
    assert above.value.tolist() == pytest.approx([.1, .3, .5])
    assert above.low.tolist() == pytest.approx([-.5, -.3, -.1])
    units = summary(protocol="unmasked", unit=[4, 8], value=[.6, .7])
    assert present.above_floor(units, floor).value.tolist() == pytest.approx([.1, .2])


def test_floors_stand_at_their_size(floor):
    line = present.floor_line(floor, [4, 16])
    assert line[["size", "value"]].to_numpy().tolist() == [[4, .5], [16, .1]]


def test_two_series_side_by_side_share_one_axis():
    table = present.side_by_side(summary(unit=[4, 8], value=[1., 2.]),
                                 summary(unit=[4, 8], value=[1., 3.]))
    assert table.pivot(index="size", columns="changed", values="value").loc[8].to_dict() == {
        "mask alone": 3, "patch and mask": 2}


def test_a_dotted_line_is_the_first_row_of_its_panel():
    table = pd.DataFrame({"panel": ["a", "a", "b"], "value": [1., 2., 3.]})
    assert present.reference_lines(raw_pixels=table, untrained=table[2:]) == {
        "a": {"raw pixels": 1}, "b": {"raw pixels": 3, "untrained": 3}}


@pytest.mark.parametrize("tier, scale, sentence", [
    ("laptop", 2, "Our units of 4, 8, 16 pixels stand for the paper's 8, 16, 32."),
    ("gpu", 2, "Our units of 4, 8, 16 pixels stand for the paper's 8, 16, 32."), ("paper", 1, "")])
def test_sizes_are_the_papers_at_its_own_scale_only(tier, scale, sentence):
    plan = Plan.of(read_flat(ROOT / "params" / f"{tier}.yaml", ROOT))
    assert present.scale(plan) == scale
    assert present.stand_for("units", plan.units, scale) == sentence
    printed = paper.series("S000.T1", "mask_unit_series")["mask unit"]
    assert [unit // scale for unit in printed] == list(plan.units)
