"""Results are found under what determines them, and computed when something of that has changed."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

from mae_lib import runs, store
from mae_lib.sources import import_closure

VALUE = {"mean": 0.5, "whole": 2.0, "pair": (1, 2), "losses": np.arange(3.0),
         "weights": {"a": torch.ones(2).half(), "b/c": torch.zeros(1)}, "one": torch.eye(2)}


class Computed:
    """A computation that counts how often it ran."""

    def __init__(self, value=None):
        self.value, self.times = VALUE if value is None else value, 0

    def __call__(self) -> dict:
        self.times += 1
        return self.value


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A tiny package in the place of ours: module a imports module b."""
    package = tmp_path / "code" / "mae_lib"
    package.mkdir(parents=True)
    (package / "a.py").write_text("from mae_lib import b\n\n\ndef f():\n    return b.N\n")
    (package / "b.py").write_text("N = 1\n")
    monkeypatch.setattr(runs, "import_closure", partial(import_closure, package=package))
    return package


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """(published, cache), both empty."""
    for name in ("published", "cache"):
        monkeypatch.setenv(f"MAE_LIB_{name.upper()}", str(tmp_path / name))
    monkeypatch.delenv("MAE_LIB_FRESH_SINCE", raising=False)
    monkeypatch.setattr(runs, "_read", set())
    return tmp_path / "published", tmp_path / "cache"


@pytest.fixture
def key(package, folders):
    return runs.Key("toy", {"ratio": 0.75, "unit": 4}, 0, ("mae_lib.a",),
                    data={"train": "fingerprint"})


def changed(key: runs.Key, **changes) -> runs.Key:
    return runs.Key(**{**vars(key), **changes})


# What determines a result

def test_kind_settings_and_seed_name_a_result(key):
    others = [changed(key, kind="other"), changed(key, seed=1),
              changed(key, settings={"ratio": 0.5, "unit": 4}),
              changed(key, settings={"ratio": 0.75}),
              changed(key, settings={"ratio": 0.75, "unit": 4, "target": None})]
    assert len({k.name for k in [key, *others]}) == len(others) + 1
    assert changed(key, modules=(), data={}).name == key.name


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3)
                    | st.floats(allow_nan=False, allow_infinity=False),
                    lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=8)


def respelled(value):
    """The same value with dicts the other way round, tuples for lists, floats for integers."""
    if isinstance(value, dict):
        return {k: respelled(v) for k, v in reversed(value.items())}
    if isinstance(value, list):
        return tuple(map(respelled, value))
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return float(value)
    return value


@given(JSON)
def test_equal_values_have_one_spelling(value):
    assert runs.canonical(respelled(value)) == runs.canonical(value)


@given(JSON, JSON)
def test_other_values_have_another_spelling(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    if not same and respelled(one) != respelled(other):
        assert runs.canonical(one) != runs.canonical(other)


def test_numpy_numbers_are_numbers():
    numbers = {"a": np.int64(3), "b": np.float32(0.5), "c": np.bool_(True)}
    assert runs.canonical(numbers) == '{"a":3,"b":0.5,"c":true}'


def test_a_setting_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        runs.canonical({"lr": float("nan")})


# Found or computed

def test_a_result_is_computed_once_and_found_whole(key, folders):
    compute = Computed()
    first = runs.find_or_compute(key, compute)
    again = runs.find_or_compute(key, compute)
    assert (first.where, again.where, compute.times) == ("computed", "cache", 1)
    assert list(folders[1].glob("*/*.json")) == [folders[1] / f"{key.name}.json"]
    for result in (first, again):
        value = result.value
        assert value["mean"] == 0.5 and value["whole"] == 2 and value["pair"] == [1, 2]
        assert np.array_equal(value["losses"], VALUE["losses"])
        assert {k: v.dtype for k, v in value["weights"].items()} == {
            "a": torch.float16, "b/c": torch.float32}
        assert torch.equal(value["one"], torch.eye(2)) and value.keys() == VALUE.keys()
        assert not result.stale and not result.notes


def test_a_result_says_where_it_came_from(key):
    runs.find_or_compute(key, Computed())
    origin = runs.find(key).provenance
    assert {n: origin[n] for n in key.identity} == key.identity
    assert origin["freshness"].keys() == {"mae_lib.a", "mae_lib.b", "data: train", "torch",
                                          "numpy"}
    assert origin["hardware"] and origin["commit"] and origin["seconds"] >= 0
    assert abs(time.time() - np.datetime64(origin["created"][:19]).astype(int)) < 600


def test_of_its_own_module_only_the_source_counts_not_what_it_imports(key, package):
    own = changed(key, modules=("mae_lib.b",), own=("mae_lib.a",))
    assert own.freshness().keys() >= {"mae_lib.a", "mae_lib.b"}
    alone = changed(key, modules=(), own=("mae_lib.a",))
    assert "mae_lib.b" not in alone.freshness()
    runs.find_or_compute(alone, Computed())
    (package / "b.py").write_text("N = 2\n")
    assert not runs.find(alone).stale
    (package / "a.py").write_text("def f():\n    return 3\n")
    assert runs.find(alone, if_stale="show").stale == ["mae_lib.a has changed"]


def test_numpy_settings_do_not_lose_what_was_computed(key):
    key = changed(key, settings={"ratio": np.float32(0.5), "units": (4, 8)}, seed=np.int64(3))
    compute = Computed()
    runs.find_or_compute(key, compute)
    plain = changed(key, settings={"units": [4, 8], "ratio": 0.5}, seed=3)
    assert runs.find_or_compute(plain, compute).where == "cache" and compute.times == 1


def test_an_unknown_if_stale_is_refused_before_anything_is_computed(key):
    compute = Computed()
    with pytest.raises(ValueError, match="if_stale must be 'recompute' or 'show', got 'ignore'"):
        runs.find_or_compute(key, compute, if_stale="ignore")
    assert compute.times == 0


def test_a_computation_that_fails_leaves_nothing_and_gives_the_lock_back(key, folders):
    with pytest.raises(ZeroDivisionError):
        runs.find_or_compute(key, lambda: {"value": 1 / 0})
    assert not list(folders[1].glob("*/*.json"))
    assert runs.find_or_compute(key, Computed()).where == "computed"


# Stale, with the reason

def test_a_changed_module_makes_a_result_stale_not_lost(key, package):
    runs.find_or_compute(key, Computed())
    (package / "b.py").write_text("N = 2\n")
    shown = runs.find_or_compute(key, Computed(), if_stale="show")
    assert shown.stale == ["mae_lib.b has changed"] and shown.value["mean"] == 0.5
    assert runs.find(key, if_stale="recompute") is None
    compute = Computed()
    assert runs.find_or_compute(key, compute).where == "computed" and compute.times == 1
    assert runs.find_or_compute(key, compute).where == "cache"


def test_comments_and_docstrings_change_nothing(key, package):
    runs.find_or_compute(key, Computed())
    (package / "b.py").write_text('"""What N is."""\n\n# one\nN = 1\n')
    assert runs.find(key).stale == []


def test_a_module_that_is_ignored_changes_nothing(key, package):
    key = changed(key, ignore=("mae_lib.b",))
    runs.find_or_compute(key, Computed())
    (package / "b.py").write_text("N = 2\n")
    assert runs.find(key).stale == []


def test_a_module_that_is_imported_since_then_is_named(key, package):
    runs.find_or_compute(key, Computed())
    (package / "c.py").write_text("")
    (package / "b.py").write_text("from mae_lib import c\nN = 1\n")
    assert runs.find(key).stale == ["mae_lib.b has changed", "mae_lib.c has changed"]


def test_library_and_data_that_changed_are_named(key, monkeypatch):
    version = {"torch": "2.9.1", "numpy": "2.4.0", "piq": "0.8.0"}
    monkeypatch.setattr("importlib.metadata.version", version.__getitem__)
    key = changed(key, libraries=("piq",))
    runs.find_or_compute(key, Computed())
    version |= {"torch": "2.13.0", "numpy": "2.4.9", "piq": "0.9.0"}
    stale = runs.find(changed(key, data={"train": "another"})).stale
    assert stale == ["data: train has changed", "piq 0.8 then, 0.9 now",
                     "torch 2.9 then, 2.13 now"]


def test_a_library_that_is_gone_is_named(key):
    runs.find_or_compute(changed(key, libraries=("pytest",)), Computed())
    stale = runs.find(changed(key, libraries=("no-such-library",))).stale
    assert "no-such-library absent then, absent now" in stale and len(stale) == 2


# Published results and the cache

@pytest.fixture
def published(key, folders):
    """The result is published, and the cache is empty."""
    runs.find_or_compute(key, Computed())
    runs.publish()
    shutil.rmtree(folders[1])
    return key


def content(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_published_results_come_before_the_cache(published, folders):
    assert runs.find_or_compute(published, Computed()).where == "published"
    assert not folders[1].exists()
    shutil.copytree(folders[0], folders[1])
    assert runs.find(published).where == "published"


def test_a_fresh_cache_comes_before_a_stale_published_result(published, package, folders):
    before = content(folders[0])
    (package / "b.py").write_text("N = 2\n")
    assert runs.find_or_compute(published, Computed(), if_stale="show").where == "published"
    assert runs.find_or_compute(published, Computed()).where == "computed"
    for if_stale in ("show", "recompute"):
        found = runs.find_or_compute(published, Computed(), if_stale=if_stale)
        assert found.where == "cache" and not found.stale
    assert content(folders[0]) == before  # never written to by a computation


def test_publishing_copies_the_kinds_that_were_asked_for(key, folders):
    for kind in ("one", "two", "three"):
        runs.find_or_compute(changed(key, kind=kind), Computed())
    assert len(runs.publish(kind for kind in ("one", "two"))) == 2
    assert {f.parent.name for f in folders[0].rglob("*.json")} == {"one", "two"}
    assert {f.suffix for f in folders[0].rglob("*.*")} == {".json", ".npz", ".safetensors"}
    assert runs.find(changed(key, kind="one")).where == "published"


def test_publishing_can_choose_single_results(key):
    other = changed(key, seed=1)
    for one in (key, other):
        runs.find_or_compute(one, Computed())
    assert [record.stem for record in runs.publish([other.name])] == [other.name.split("/")[1]]
    assert (runs.find(key).where, runs.find(other).where) == ("cache", "published")


def test_publishing_above_the_limit_copies_nothing(published, folders, monkeypatch):
    before = content(folders[0])
    monkeypatch.setattr(runs, "PUBLISHED_LIMIT", sum(map(len, before.values())) + 1000)
    runs.find_or_compute(published, Computed())
    runs.publish()  # what is replaced does not count twice
    runs.find_or_compute(changed(published, seed=1), Computed())
    with pytest.raises(ValueError, match=r"must stay below 0 MB, got 0\.0 MB"):
        runs.publish()
    assert content(folders[0]) == before


def test_a_damaged_result_is_not_published(key, folders):
    runs.find_or_compute(key, Computed())
    (folders[1] / key.name).with_suffix(".npz").write_bytes(b"")
    with pytest.raises(store.Damaged, match="is damaged"):
        runs.publish()
    assert content(folders[0]) == {}


def test_files_read_are_the_published_ones_below_the_checkout(published, tmp_path, monkeypatch):
    assert runs.files_read() == []
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    runs.find(published)
    other = changed(published, seed=1)
    runs.find_or_compute(other, Computed())
    name = f"published/{published.name}"
    looked_for = f"published/{other.name}.json"  # it may be published later
    assert set(runs.files_read()) == {f"{name}.json", f"{name}.npz", f"{name}.safetensors",
                                      looked_for}
    monkeypatch.setattr(runs, "ROOT", tmp_path / "elsewhere")
    assert runs.files_read() == []


def test_fresh_since_looks_at_nothing_older(published, monkeypatch):
    compute = Computed()
    monkeypatch.setenv("MAE_LIB_FRESH_SINCE", str(int(time.time())))
    assert runs.find(published) is None
    assert runs.find_or_compute(published, compute).where == "computed"
    assert runs.find_or_compute(published, compute).where == "cache"
    monkeypatch.setenv("MAE_LIB_FRESH_SINCE", str(time.time() + 60))
    assert runs.find_or_compute(published, compute).where == "computed" and compute.times == 2


def test_the_folders_have_places_of_their_own(monkeypatch):
    monkeypatch.delenv("MAE_LIB_PUBLISHED", raising=False)
    monkeypatch.delenv("MAE_LIB_CACHE", raising=False)
    assert runs.published_folder() == runs.ROOT / "book" / "published"
    assert runs.cache_folder() == runs.ROOT / ".cache" / "mae_lib"
    monkeypatch.setattr(runs, "ROOT", Path("/nowhere"))
    assert runs.cache_folder() == Path.home() / ".cache" / "mae_lib"


# Damage

@pytest.mark.parametrize("suffix", [".json", ".npz", ".safetensors"])
@pytest.mark.parametrize("where", ["published", "cache"])
def test_a_damaged_result_is_noted_and_computed_again(published, folders, suffix, where):
    if where == "cache":
        folders[0].rename(folders[1])
    file = (folders[where == "cache"] / published.name).with_suffix(suffix)
    file.write_bytes(file.read_bytes()[:-5])
    compute = Computed()
    result = runs.find_or_compute(published, compute)
    assert result.where == "computed" and compute.times == 1
    assert len(result.notes) == 1 and result.notes[0].endswith("; computed again")
    assert f"{file} is damaged" in result.notes[0]
    found = runs.find_or_compute(published, compute)
    assert found.where == "cache" and np.array_equal(found.value["losses"], VALUE["losses"])


def test_a_result_under_another_ones_name_is_not_used(key, folders):
    runs.find_or_compute(key, Computed())
    other = changed(key, seed=1)
    for file in store.files(folders[1] / key.name):
        shutil.copy(file, (folders[1] / other.name).with_suffix(file.suffix))
    result = runs.find_or_compute(other, Computed())
    assert result.where == "computed" and "is another result under this name" in result.notes[0]


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("name", ["replace", "fsync"])
def test_a_full_disk_loses_neither_the_value_nor_the_older_one(key, package, folders, monkeypatch,
                                                              name):
    runs.find_or_compute(key, Computed())
    (package / "b.py").write_text("N = 2\n")
    with monkeypatch.context() as full:
        full.setattr(os, name, no_space)
        result = runs.find_or_compute(key, Computed({"mean": 7.5}))
    assert result.value == {"mean": 7.5} and result.where == "computed"
    assert "No space left on device" in result.notes[0] and "MAE_LIB_CACHE" in result.notes[0]
    older = runs.find(key, if_stale="show")
    assert older.value["mean"] == 0.5 and older.stale == ["mae_lib.b has changed"]
    assert not list(folders[1].rglob("*.part*"))


def test_a_cache_that_cannot_be_made_costs_a_note(key, folders):
    folders[1].write_text("a file where the folder should be")
    result = runs.find_or_compute(key, Computed())
    assert result.value["mean"] == 0.5 and "could not be written" in result.notes[0]


# Two processes

AT_ONCE = """
import sys, time
from pathlib import Path
from mae_lib import runs

def compute():
    with open(sys.argv[1], "a") as counter:
        counter.write("x")
    time.sleep(0.3)
    return {"value": 1}

key = runs.Key("toy", {}, 0, ("mae_lib.sources",))
Path(sys.argv[2]).touch()
while not Path(sys.argv[3]).exists():
    time.sleep(0.01)
print(runs.find_or_compute(key, compute).where)
"""


def test_two_processes_that_want_one_result_compute_it_once(folders, tmp_path):
    counter, ready = tmp_path / "counter", [tmp_path / "ready 0", tmp_path / "ready 1"]
    both = [subprocess.Popen([sys.executable, "-c", AT_ONCE, counter, mine, other], text=True,
                             stdout=subprocess.PIPE)
            for mine, other in (ready, ready[::-1])]
    said = sorted(process.communicate(timeout=120)[0].strip() for process in both)
    assert said == ["cache", "computed"] and counter.read_text() == "x"


# Provenance

def test_the_commit_is_that_of_our_checkout_only(tmp_path, monkeypatch):
    runs.commit.cache_clear()
    monkeypatch.setattr(runs, "ROOT", tmp_path)  # installed, maybe in someone's own repository
    assert runs.commit() == runs.__version__
    runs.commit.cache_clear()


def test_the_accelerator_is_named_though_torch_was_imported_later(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    before = runs.hardware()
    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Abacus 9")
    assert runs.hardware() == f"{before}, Abacus 9"
