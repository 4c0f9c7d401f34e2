"""Results on disk are whole or noticed; nothing is unpickled."""

import errno
import json
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from mae_lib import store

ARRAYS = {"x": np.arange(5.0), "items/0": np.array([1, 2])}
TENSORS = {"w/a": torch.ones(3, dtype=torch.float16)}


@pytest.fixture
def path(tmp_path):
    store.write(tmp_path / "kind" / "id", {"value": {"a": 1}}, ARRAYS, TENSORS)
    return tmp_path / "kind" / "id"


def test_what_was_written_is_read(path):
    record, arrays, tensors = store.read(path)
    assert record["value"] == {"a": 1}
    assert all((arrays[k] == v).all() for k, v in ARRAYS.items()) and arrays.keys() == ARRAYS.keys()
    assert (tensors["w/a"] == 1).all() and tensors["w/a"].dtype == torch.float16


def test_a_missing_result_is_none(tmp_path):
    assert store.read(tmp_path / "none") is None


@pytest.mark.parametrize("suffix", [".json", ".npz", ".safetensors"])
def test_a_truncated_file_is_noticed(path, suffix):
    file = path.with_suffix(suffix)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(store.Damaged, match=suffix):
        store.read(path)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_missing_sibling_is_noticed(path, suffix):
    path.with_suffix(suffix).unlink()
    with pytest.raises(store.Damaged, match="missing"):
        store.read(path)


def test_an_edited_number_is_noticed(path):
    file = path.with_suffix(".json")
    file.write_text(file.read_text().replace('"a": 1', '"a": 2'))
    with pytest.raises(store.Damaged, match="checksum"):
        store.read(path)


def test_a_pickle_with_the_right_checksum_is_refused_and_not_run(path, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    with open(path.with_suffix(".npz"), "wb") as file:
        np.savez(file, x=np.array([Evil()], dtype=object))
    record = json.loads(path.with_suffix(".json").read_text())
    record.pop("checksum")
    record["sha256"]["arrays"] = store.sha256(path.with_suffix(".npz"))
    record["checksum"] = store._checksum(record)
    path.with_suffix(".json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="[Oo]bject arrays"):
        store.read(path)
    assert not (tmp_path / "ran").exists()
    assert pickle  # the attack needs no import of ours


def test_a_full_disk_gives_a_sentence_and_leaves_the_older_result(path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="could not be written.*No space.*MAE_LIB_CACHE"):
        store.write(path, {"value": {"a": 3}}, ARRAYS, {})
    assert store.read(path)[0]["value"] == {"a": 1}
    assert not list(path.parent.glob(".*part"))


def test_a_kill_before_the_last_rename_leaves_the_older_result(path):
    code = f"""
import os, signal, sys
import numpy as np
from pathlib import Path
from mae_lib import store
rename = os.replace
def dying(source, target):
    if str(target).endswith(".json"):
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)
os.replace = dying
store.write(Path({str(path)!r}), {{"value": {{"a": 9}}}}, {{}}, {{}})
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert store.read(path)[0]["value"] == {"a": 1}
