"""Parts of a recording on disk: whole or not there, after a kill or damage, and locked."""

import errno
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mae_lib.data.atari.parts import INDEX, Parts, lock


def part(k: int) -> dict[str, np.ndarray]:
    drawn = np.random.default_rng(k)
    return {"frames": drawn.integers(0, 256, (4, 3, 5, 6), dtype=np.uint8),
            "starts": drawn.random(4) < 0.5, "rewards": np.array([k, -1, 0, 2], np.int32)}


def filled(folder, count: int = 4) -> Parts:
    with lock(folder):
        parts = Parts(folder)
        for k in range(count):
            parts.append(part(k))
    return parts


def numbers(parts: Parts, count: int = 99) -> list[int]:
    """Which parts are read; every one of them must be whole."""
    found = list(parts.read(count))
    for k, one in enumerate(found):
        assert one.keys() == part(k).keys()
        assert all(np.array_equal(one[name], array) and one[name].dtype == array.dtype
                   for name, array in part(k).items())
    return list(range(len(found)))


def leftovers(folder) -> list[str]:
    return sorted(path.name for path in folder.glob("*.part"))


def test_what_was_written_is_read_in_order(tmp_path):
    filled(tmp_path)
    assert numbers(Parts(tmp_path)) == [0, 1, 2, 3] and leftovers(tmp_path) == []


@pytest.mark.parametrize("wanted", [0, 1, 3, 4, 9])
def test_no_more_parts_are_read_than_wanted(tmp_path, wanted):
    filled(tmp_path)
    assert len(numbers(Parts(tmp_path), wanted)) == min(wanted, 4)


def test_the_same_parts_are_the_same_bytes_at_another_time(tmp_path, monkeypatch):
    filled(tmp_path / "now")
    monkeypatch.setattr("time.time", lambda: 2e9)
    filled(tmp_path / "then")
    names = [f"{k:05}.npz" for k in range(4)]
    assert [(tmp_path / "now" / n).read_bytes() for n in names] == [
        (tmp_path / "then" / n).read_bytes() for n in names]


DAMAGES = {
    "missing": lambda file: file.unlink(),
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "flipped": lambda file: file.write_bytes(file.read_bytes()[:60] + b"\xff" * 4
                                             + file.read_bytes()[64:]),
    "another": lambda file: file.write_bytes(file.with_name("00000.npz").read_bytes()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_part_ends_what_is_read_and_is_written_again(tmp_path, damage):
    filled(tmp_path)
    DAMAGES[damage](tmp_path / "00002.npz")
    parts = Parts(tmp_path)
    assert numbers(parts) == [0, 1]
    parts.append(part(2))
    assert numbers(Parts(tmp_path)) == [0, 1, 2]


@pytest.mark.parametrize("text", ["", "{", "{}", "[1, 2]", "null", '["00"]', "\xff"])
def test_a_damaged_index_means_to_begin_anew(tmp_path, text):
    filled(tmp_path)
    (tmp_path / INDEX).write_bytes(text.encode("latin-1"))
    parts = Parts(tmp_path)
    assert numbers(parts) == []
    parts.append(part(0))
    assert numbers(Parts(tmp_path)) == [0]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from test_atari_parts import filled
calls = 0
def deadly(*arguments, plain=getattr(os, sys.argv[2])):
    global calls
    calls += 1
    if calls == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(*arguments)
setattr(os, sys.argv[2], deadly)
filled(Path(sys.argv[1]), 2)
"""


@pytest.mark.parametrize("call, number, left", [("fsync", 1, 0), ("replace", 2, 0), ("fsync", 3, 1),
                                                ("replace", 4, 1)])
def test_a_kill_leaves_the_parts_before(tmp_path, call, number, left):
    command = [sys.executable, "-c", KILLED, tmp_path, call, str(number), Path(__file__).parent]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    assert len(numbers(parts := Parts(tmp_path))) == left
    for k in range(left, 3):
        parts.append(part(k))
    assert numbers(Parts(tmp_path)) == [0, 1, 2] and leftovers(tmp_path) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_one_sentence_and_costs_no_part(tmp_path, monkeypatch, call):
    parts = filled(tmp_path, 2)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as disk:
        disk.setattr(f"os.{call}", full)
        with pytest.raises(OSError, match=r"could not be written to .*No space.*MAE_LIB_DATA"):
            parts.append(part(2))
    assert leftovers(tmp_path) == [] and numbers(Parts(tmp_path)) == [0, 1]
    parts.append(part(2))
    assert numbers(Parts(tmp_path)) == [0, 1, 2]


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"could not be written to .*MAE_LIB_DATA"):
        filled(tmp_path / "file" / "breakout")


def test_one_process_at_a_time_holds_a_recording(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    with lock(tmp_path), open(tmp_path / ".lock") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with open(tmp_path / ".lock") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_where_there_are_no_locks_it_goes_on_without(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    filled(tmp_path, 1)
    assert numbers(Parts(tmp_path)) == [0]
