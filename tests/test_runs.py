"""A result is found under what determines it, and says when that has changed."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mae_lib import runs, store

MODULES = ("mae_lib.models.masks",)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("MAE_LIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MAE_LIB_PUBLISHED", str(tmp_path / "published"))
    monkeypatch.delenv("MAE_LIB_FRESH_SINCE", raising=False)
    return tmp_path


def key(seed=0, modules=MODULES, data=None, **settings):
    return runs.Key("kind", settings, seed, modules, data=data or {})


def value():
    return {"a": 1, "x": np.arange(3), "weights": {"w": torch.ones(2)}}


def never():
    raise AssertionError("computed again")


def test_a_result_is_computed_once_and_then_found():
    assert runs.find_or_compute(key(), value).where == "computed"
    found = runs.find_or_compute(key(), never)
    assert found.where == "cache" and found.value["a"] == 1 and not found.stale
    assert (found.value["x"] == np.arange(3)).all() and (found.value["weights"]["w"] == 1).all()
    assert {"kind", "settings", "seed", "seconds", "hardware", "commit", "created"} <= set(
        found.provenance)


@pytest.mark.parametrize("other", [key(seed=1), key(ratio=0.5), runs.Key("other", {}, 0, MODULES)])
def test_another_seed_setting_or_kind_is_another_result(other):
    assert other.name != key().name


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.floats(allow_nan=False) |
                       st.lists(st.booleans())))
def test_the_identity_does_not_depend_on_the_order_of_settings(settings):
    turned = dict(reversed(settings.items()))
    if any(isinstance(v, float) and v in (float("inf"), -float("inf")) for v in settings.values()):
        return
    assert runs.canonical(settings) == runs.canonical(turned)


def test_equal_numbers_and_tuples_have_one_spelling():
    assert runs.canonical({"a": 1.0, "b": (1, 2)}) == runs.canonical({"b": [1, 2.0], "a": 1})
    assert runs.canonical({"a": np.float64(0.1)}) == runs.canonical({"a": 0.1})


def test_changed_code_data_or_library_makes_a_result_stale_and_says_which(monkeypatch):
    runs.find_or_compute(key(data={"train": "1"}), value)
    monkeypatch.setattr(runs, "import_closure", lambda module: {"mae_lib.models.masks": "other"})
    monkeypatch.setattr(runs, "_version", lambda name: "99.0" if name == "torch" else "1.0")
    found = runs.find_or_compute(key(data={"train": "2"}), never, if_stale="show")
    text = " | ".join(found.stale)
    assert "mae_lib.models.masks has changed" in text and "data: train has changed" in text
    assert "99.0 now" in text


def test_a_stale_result_is_computed_again_when_asked_for(monkeypatch):
    runs.find_or_compute(key(), value)
    monkeypatch.setattr(runs, "import_closure", lambda module: {"mae_lib.models.masks": "other"})
    again = runs.find_or_compute(key(), lambda: {"a": 2})
    assert again.where == "computed" and again.value == {"a": 2}


def test_published_results_come_first_and_are_never_written(folders):
    runs.find_or_compute(key(), value)
    runs.publish()
    runs.find_or_compute(key(ratio=0.5), value)
    assert runs.find_or_compute(key(), never).where == "published"
    assert len(list((folders / "published").rglob("*.json"))) == 1


def test_a_fresh_result_of_the_reader_goes_before_a_stale_published_one(monkeypatch):
    runs.find_or_compute(key(), value)
    runs.publish()
    monkeypatch.setattr(runs, "import_closure", lambda module: {"mae_lib.models.masks": "other"})
    assert runs.find(key(), if_stale="show").stale
    runs.find_or_compute(key(), lambda: {"a": 2})
    found = runs.find(key(), if_stale="show")
    assert found.where == "cache" and not found.stale


@pytest.mark.parametrize("suffix", [".json", ".npz", ".safetensors"])
def test_a_damaged_result_is_noted_and_computed_again(folders, suffix):
    runs.find_or_compute(key(), value)
    file = (folders / "cache" / key().name).with_suffix(suffix)
    file.write_bytes(file.read_bytes()[:-9])
    again = runs.find_or_compute(key(), value)
    assert again.where == "computed" and "computed again" in again.notes[0]
    assert runs.find_or_compute(key(), never).where == "cache"


def test_a_full_disk_loses_no_computed_value(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = runs.find_or_compute(key(), value)
    assert result.value["a"] == 1 and "could not be written" in result.notes[0]


def test_two_processes_that_want_one_result_compute_it_once(folders):
    code = f"""
import time
from pathlib import Path
from mae_lib import runs
def compute():
    with open({str(folders / "count")!r}, "a") as file:
        file.write("x")
    time.sleep(1)
    return {{"a": 1}}
runs.find_or_compute(runs.Key("kind", {{}}, 0, ("mae_lib.models.masks",)), compute)
"""
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert (folders / "count").read_text() == "x"


def test_publish_refuses_more_than_fits_and_copies_nothing(folders, monkeypatch):
    runs.find_or_compute(key(), value)
    monkeypatch.setattr(runs, "PUBLISHED_LIMIT", 10)
    with pytest.raises(ValueError, match="must stay below"):
        runs.publish()
    assert not (folders / "published").exists()


def test_results_older_than_asked_for_are_ignored(monkeypatch):
    runs.find_or_compute(key(), value)
    runs.publish()
    monkeypatch.setenv("MAE_LIB_FRESH_SINCE", "9999999999")
    assert runs.find(key()) is None
    monkeypatch.setenv("MAE_LIB_FRESH_SINCE", "0")
    assert runs.find(key()).where == "cache"


def test_published_files_that_were_read_are_listed(folders, monkeypatch):
    monkeypatch.setattr(runs, "ROOT", folders)
    runs.find_or_compute(key(), value)
    runs.publish()
    runs.find(key())
    assert f"published/{key().name}.json" in runs.files_read()


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match="if_stale must be 'recompute' or 'show', got 'hide'"):
        runs.find_or_compute(key(), value, if_stale="hide")


def test_the_store_is_read_without_what_it_does_not_hold(folders):
    runs.find_or_compute(key(), lambda: {"a": [1, None, "b"]})
    assert store.read(folders / "cache" / key().name)[1:] == ({}, {})
