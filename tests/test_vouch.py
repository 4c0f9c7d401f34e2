"""Vouching: only what comes out the same to the last bit counts as unchanged."""

import json

import pytest

from mae_lib import runs, store, studies
from mae_lib.verify import verify
from mae_lib.vouch import vouch

PLAIN = studies.Setting("menagerie", preset="toy", views=96, lr=1e-3, train_images=96)
MODULE = "mae_lib.training.pretrain"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MAE_LIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MAE_LIB_PUBLISHED", str(tmp_path / "published"))
    studies.PRETRAINING(PLAIN)
    studies.RECONSTRUCTION(PLAIN, test_images=16, shown=1)
    runs.publish()
    monkeypatch.setenv("MAE_LIB_CACHE", str(tmp_path / "empty"))
    return runs.published_folder()


def alter(folder, change, kinds=("pretraining", "reconstruction")):
    """Rewrite the records of these kinds, checksums and all."""
    for kind in kinds:
        for file in folder.glob(f"{kind}/*.json"):
            record, arrays, tensors = store.read(file.with_suffix(""))
            record.pop("sha256")
            change(record, arrays)
            store.write(file.with_suffix(""), record, arrays, tensors)


def age(record, _):
    record["freshness"][MODULE] = "an older source"


def reasons() -> list[str]:
    return runs.find(studies.PRETRAINING.key(PLAIN)).stale


def vouched(why="a line was moved"):
    lines = []
    return vouch(why, report=lines.append), lines


def test_a_change_that_changes_no_number_makes_results_fresh_again(folder):
    alter(folder, age)
    assert reasons() == [f"{MODULE} has changed"]
    good, lines = vouched()
    assert good and lines[-1] == "2 results were out of date, now vouched for", lines
    assert reasons() == [] and verify(report=lines.append)
    change, = runs.vouched()
    assert (change["module"], change["before"]) == (MODULE, "an older source")
    assert change["why"] == "a line was moved" and "equal to the last bit" in change["evidence"]


def test_changes_are_followed_one_after_the_other(folder):
    now = studies.PRETRAINING.key(PLAIN).freshness()[MODULE]
    alter(folder, age)
    steps = [("an older source", "b"), ("b", "c"), ("c", "b"), ("c", now)]
    changes = [{"module": MODULE, "before": a, "after": b} for a, b in steps]
    file = folder / "source_changes.json"
    file.write_text(json.dumps(changes[:3]))  # round in a circle
    assert reasons() == [f"{MODULE} has changed"]
    file.write_text(json.dumps([*changes[:2], changes[3]]))
    assert reasons() == []
    file.write_text(json.dumps([{**c, "module": "mae_lib.models.masks"} for c in changes]))
    assert reasons() == [f"{MODULE} has changed"]


def test_a_number_that_changed_is_not_vouched_for(folder):
    def one_bit(record, arrays):
        age(record, arrays)
        arrays["losses"][1] *= 1 + 2**-22

    alter(folder, one_bit, ["pretraining"])
    good, lines = vouched()
    assert not good and any("differs in losses" in line for line in lines)
    assert reasons() == [f"{MODULE} has changed"] and runs.vouched() == []


def test_data_and_libraries_cannot_be_vouched_for(folder):
    alter(folder, lambda record, _: record["freshness"].update(torch="1.0"))
    good, lines = vouched()
    assert not good and any(line.startswith("FAILED") and "torch" in line for line in lines)
    assert runs.vouched() == []


def test_nothing_stale_needs_nothing(folder):
    good, lines = vouched()
    assert good and lines[-1] == "0 results were out of date" and runs.vouched() == []


def test_a_reason_must_be_given(folder):
    with pytest.raises(ValueError, match="why must say what was changed"):
        vouch(" ")
