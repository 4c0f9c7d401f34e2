import hashlib
import re

import pandas as pd
import pytest
import yaml

from mae_lib.ledger import paper
from mae_lib.ledger.claims import FILE, claims, claims_about, digest, parse


def test_table_1_of_kong_et_al_as_printed():
    table = paper.table("S000.T1")
    assert list(table.columns) == ["mask ratio", "patch size", "IN1K", "IN-v2", "OJN", "IN-R",
                                   "IN-A", "IN-S"]
    assert table["IN1K"].tolist() == [47.45, 53.58, 60.07, 67.41, 62.97, 62.57, 68.96, 73.31]
    assert table.attrs["source"] == "Kong et al. 2023, Table 1"
    assert "linear-probe top-1" in table.attrs["quantity"]
    assert any("Never key this table" in remark for remark in table.attrs["remarks"])


def test_the_two_series_of_table_1_do_not_share_a_model():
    ratios = paper.series("S000.T1", "ratio_series")
    units = paper.series("S000.T1", "mask_unit_series")
    assert ratios["mask ratio"].tolist() == [0.1, 0.25, 0.5, 0.75, 0.9]
    assert set(ratios["ViT patch"]) == {16} and set(ratios["mask unit"]) == {16}
    assert units["mask unit"].tolist() == [8, 16, 32] and set(units["ViT patch"]) == {8}
    assert units["IN1K"].tolist() == [62.57, 68.96, 73.31]


@pytest.mark.parametrize("name", [n for n in paper.names() if n.count(".") == 1
                                  and not n.endswith(("scalars", "figures_without_numbers"))])
def test_every_table_is_rectangular_and_has_a_source(name):
    table = paper.table(name)
    assert isinstance(table, pd.DataFrame) and len(table) and table.columns.is_unique
    assert re.match(r"(Kong|Kim)", table.attrs["source"])
    assert not re.search(r"S00\d", " ".join(table.attrs["remarks"]))


def test_the_printed_digits_of_every_checked_table_are_in_it():
    entries = yaml.safe_load(FILE.with_name("paper_tables.yaml").read_text())["tables"]
    for entry in (e for e in entries if "check" in e):
        printed = {float(n) for line in entry["check"] for n in re.findall(r"\d+\.?\d*", line)}
        held = {float(v) for row in entry["rows"] for v in row
                if isinstance(v, int | float) and not isinstance(v, bool)}
        assert printed <= held | {entry.get("supervised_200ep")}, entry["id"]


def test_dashes_are_missing_values():
    psnr = paper.table("S004.T1")["PSNR"]
    assert psnr.isna().sum() == 6 and psnr.max() == 23.7


def test_scalars_and_remarks():
    assert paper.scalars("S000")["pretrain_epochs"] == 800
    assert paper.remarks("S000.T4") == []
    assert "after He et al. Table 1(f)" in paper.source("S003.mask_sampling")


@pytest.mark.parametrize(("call", "message"), [
    (lambda: paper.table("S000.T9"), "name must be one of S000.T1"),
    (lambda: paper.table("S000.scalars"), "with rows"),
    (lambda: paper.series("S000.T1", "other"), "group must be one of ratio_series"),
    (lambda: paper.series("S000.T2", "ratio_series"), "group must be one of none"),
    (lambda: paper.scalars("S001"), "name must be one of")])
def test_unknown_names_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_claims_come_in_the_order_asked_for():
    first, second = claims(["K-R4", "K-R1"])
    assert (first.id, second.id) == ("K-R4", "K-R1")
    assert second.place == "Kong et al. 2023, Fig 5 row 1"
    assert second.tests == ("ORD", "TREND") and second.sesoi == ".01"
    assert second.audit == "no_numbers" and second.published == ""


def test_no_number_of_figure_5_is_printed():
    found = claims_about("S000 Fig 5")
    assert [c.id for c in found] == [f"K-R{i}" for i in range(1, 8)]
    assert {c.audit for c in found} == {"no_numbers"}
    assert claims_about("S000 Fig 55") == []


def test_an_unknown_claim_is_refused():
    with pytest.raises(ValueError, match="got K-R99"):
        claims(["K-R1", "K-R99"])


def test_the_digest_is_that_of_the_file():
    assert digest() == hashlib.sha256(FILE.read_bytes()).hexdigest()


@pytest.mark.parametrize(("change", "message"), [
    ({}, "unique, got K-R1 twice"), ({"id": "N", "tests": ["GUESS"]}, "tests of N must be among"),
    ({"id": "N", "published_ref": "S000.T9"}, "published_ref of N must name printed tables")])
def test_a_ledger_that_contradicts_itself_is_refused(change, message):
    entries = yaml.safe_load(FILE.read_text())["claims"]
    template = next(e for e in entries if e["id"] == "K-R1")
    with pytest.raises(ValueError, match=message):
        parse([*entries, {**template, **change}])
