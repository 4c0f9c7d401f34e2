"""Results on disk: whole or not at all, and nothing is ever unpickled."""

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
from safetensors import SafetensorError

from mae_lib import store

ARRAYS = {"file": np.arange(6.0).reshape(2, 3), "items/0": np.array([True, False])}
TENSORS = {"weights/w": torch.arange(4).half(), "b": torch.tensor(2.5)}


@pytest.fixture
def path(tmp_path):
    """A result that is whole."""
    path = tmp_path / "kind" / "0123456789abcdef"
    store.write(path, {"seed": 1, "text": "é"}, ARRAYS, TENSORS)
    return path


def same_as_written(path) -> bool:
    record, arrays, tensors = store.read(path)
    return (record["seed"] == 1 and arrays.keys() == ARRAYS.keys()
            and all(np.array_equal(arrays[k], ARRAYS[k]) for k in ARRAYS)
            and all(torch.equal(tensors[k], TENSORS[k]) for k in TENSORS))


def leftovers(path) -> list:
    return [file.name for file in path.parent.iterdir() if ".part" in file.name]


def test_what_is_written_is_read_again(path):
    assert same_as_written(path) and leftovers(path) == []
    assert [f.suffix for f in store.files(path)] == [".json", ".npz", ".safetensors"]
    assert store.read(path.with_name("absent")) is None


def test_numpy_itself_reads_the_arrays(path):
    with np.load(path.with_suffix(".npz")) as archive:
        assert np.array_equal(archive["items/0"], ARRAYS["items/0"])


def test_a_record_alone_has_no_siblings(tmp_path):
    store.write(tmp_path / "a", {"value": 1}, {}, {})
    assert store.files(tmp_path / "a") == [tmp_path / "a.json"]
    assert store.read(tmp_path / "a")[1:] == ({}, {})


@pytest.mark.parametrize("suffix", [".json", ".npz", ".safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "edited", "appended"])
def test_damage_is_noticed_and_the_file_named(path, suffix, damage):
    file = path.with_suffix(suffix)
    content = file.read_bytes()
    middle = content.replace(b'"seed": 1', b'"seed": 2') if suffix == ".json" else (
        content[:40] + bytes([content[40] ^ 1]) + content[41:])
    file.write_bytes({"truncated": content[:-9], "empty": b"", "edited": middle,
                      "appended": content + b"x"}[damage])
    with pytest.raises(store.Damaged, match=f"{file.name} is damaged"):
        store.read(path)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_missing_sibling_is_named(path, suffix):
    path.with_suffix(suffix).unlink()
    with pytest.raises(store.Damaged, match=f"{path.name}{suffix} is missing"):
        store.read(path)


@pytest.mark.parametrize("text", ["[]", '"text"', "{}", '{"checksum": 1}', "null", "\xff",
                                  '{"checksum": "", "sha256": []}'])
def test_json_that_is_no_record_is_damaged(tmp_path, text):
    (tmp_path / "a.json").write_text(text, encoding="latin-1")
    with pytest.raises(store.Damaged, match="is damaged"):
        store.read(tmp_path / "a")


class Trap:
    """Unpickling this makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("disguise", ["pickle", "npz of objects", "npy of objects"])
def test_nothing_is_unpickled_though_the_checksums_are_right(path, tmp_path, disguise):
    file, trap = path.with_suffix(".npz"), np.array([Trap(tmp_path / "sprung")], object)
    with open(file, "wb") as out:
        if disguise == "pickle":
            pickle.dump(trap, out)
        elif disguise == "npz of objects":
            np.savez(out, a=trap)
        else:
            np.save(out, trap)
    record = json.loads(path.with_suffix(".json").read_text())
    del record["checksum"]
    record["sha256"]["arrays"] = store.sha256(file)
    store._save_record(path.with_suffix(".json"), record)
    with pytest.raises(store.Damaged, match="holds no plain arrays"):
        store.read(path)
    assert not (tmp_path / "sprung").exists()


def test_objects_are_not_written_and_leave_the_older_result(path):
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        store.write(path, {}, {"a": np.array([{}], object)}, {})
    assert same_as_written(path) and leftovers(path) == []


def test_infinite_results_are_kept(tmp_path):
    store.write(tmp_path / "a", {"value": [float("nan"), float("inf")]}, {}, {})
    assert str(store.read(tmp_path / "a")[0]["value"]) == "[nan, inf]"


def test_tensors_that_share_memory_or_are_views_are_stored(tmp_path):
    table = torch.arange(12.0).reshape(3, 4)
    tensors = {"tied": table, "again": table, "column": table[:, 1], "turned": table.T}
    store.write(tmp_path / "a", {}, {}, tensors)
    assert all(torch.equal(t, tensors[k]) for k, t in store.read(tmp_path / "a")[2].items())


def test_same_result_same_bytes(path, tmp_path):
    later = tmp_path / "later"
    with pytest.MonkeyPatch.context() as clock:
        clock.setattr("time.time", lambda: 2e9)
        store.write(later, {"seed": 1, "text": "é"}, ARRAYS, TENSORS)
    assert [f.read_bytes() for f in store.files(later)] == [
        f.read_bytes() for f in store.files(path)]


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def no_space_for_tensors(*_, **__):
    raise SafetensorError("I/O error: No space left on device")


@pytest.mark.parametrize("where, name, failure", [
    ("os", "replace", no_space), ("os", "fsync", no_space),
    ("numpy.lib.format", "write_array", no_space),
    ("pathlib.Path", "write_text", no_space), ("pathlib.Path", "mkdir", no_space),
    ("safetensors.torch", "save_file", no_space_for_tensors)])
def test_a_full_disk_is_one_sentence_and_leaves_the_older_result(path, monkeypatch, where, name,
                                                                failure):
    with monkeypatch.context() as full:
        full.setattr(f"{where}.{name}", failure)
        with pytest.raises(OSError, match=r"could not be written .*No space left.*MAE_LIB_CACHE"):
            store.write(path, {"seed": 2}, {"file": np.ones(3)}, {"b": torch.ones(2)})
    assert leftovers(path) == []
    assert same_as_written(path)


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from mae_lib import store
arrays, tensors = {"a": np.random.default_rng(0).random(10_000)}, {}
if sys.argv[2] == "tensors":
    import torch
    arrays, tensors = {}, {"a": torch.rand(10_000)}
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    store.write(Path(sys.argv[1]), {"seed": 2}, arrays, tensors)
except OSError as error:
    print(error)
"""


def python(code: str, *arguments) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], timeout=120,
                          capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", ["arrays", "tensors"])
def test_a_real_limit_on_the_size_of_files_is_survived(path, kind):
    pytest.importorskip("resource")
    ended = python(LIMITED, path, kind)
    assert ended.returncode == 0 and "could not be written" in ended.stdout, ended.stderr
    assert same_as_written(path) and leftovers(path) == []


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from mae_lib import store
calls, module, name = 0, *sys.argv[2].split(".")
def deadly(*arguments, plain=getattr({"os": os, "store": store}[module], name)):
    global calls
    calls += 1
    if calls == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(*arguments)
setattr({"os": os, "store": store}[module], name, deadly)
store.write(Path(sys.argv[1]), {"seed": 2}, {"a": np.ones(3)}, {})
"""


@pytest.mark.parametrize("moment", ["os.fsync 1", "os.fsync 2", "os.replace 1", "os.replace 2",
                                    "store.sha256 1"])
@pytest.mark.parametrize("older", [False, True])
def test_a_kill_at_any_moment_leaves_no_half_result(tmp_path, moment, older):
    path = tmp_path / "result"
    if older:
        store.write(path, {"seed": 1}, {"a": np.zeros(3)}, {})
    assert python(KILLED, path, *moment.split()).returncode == -signal.SIGKILL
    if older and moment == "os.replace 2":  # between the two moves
        with pytest.raises(store.Damaged):
            store.read(path)
    elif older:
        assert store.read(path)[0]["seed"] == 1
    else:
        assert store.read(path) is None
    store.write(path, {"seed": 3}, {}, {})
    assert store.read(path)[0]["seed"] == 3 and leftovers(path) == []


def test_a_folder_that_cannot_be_written_to_is_no_reason_not_to_compute(tmp_path):
    (tmp_path / "file").write_text("")
    with store.lock(tmp_path / "file" / "kind" / "result"):
        pass
    with pytest.raises(OSError, match="could not be written"):
        store.write(tmp_path / "file" / "kind" / "result", {}, {}, {})
