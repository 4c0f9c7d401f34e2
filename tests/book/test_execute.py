"""What goes wrong in a chapter is reported with chapter, line and cell; the others still run."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from mae_lib.book import lock, runner


@pytest.mark.parametrize(
    "cells, sentence",
    [
        (
            ["a = 1", "b = 2\nraise ValueError('ratio must lie in [0, 1), got 1.2')", "c = 3"],
            "book/x.md:24: cell 3 of 4: ValueError: ratio must lie in [0, 1), got 1.2",
        ),
        (["import time\ntime.sleep(60)"], "book/x.md:17: cell 2 of 2: took longer than --timeout"),
        (
            ["import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"],
            "book/x.md:17: cell 2 of 2: its process died (killed, or out of memory)",
        ),
        (
            ["import sys\nsys.exit(0)", "c = 3"],
            "book/x.md:17: cell 2 of 3: ended the chapter early (a call of exit?)",
        ),
        (["a = (1"], "book/x.md:17: cell 2 of 2: SyntaxError"),
    ],
    ids=["error", "timeout", "killed", "exit", "syntax"],
)
def test_the_failing_cell_is_named_and_the_last_good_run_is_kept(book, mae_book, cells, sentence):
    book.chapter("x", *cells)
    good = book.executed("x")
    good.parent.mkdir(parents=True)
    good.write_text("an earlier run")
    code, _, stderr = mae_book("run", "--timeout", "3")
    assert code == 1
    assert f"[1/1] FAILED {sentence}" in stderr
    assert good.read_text() == "an earlier run"
    assert good.with_suffix(".failed.ipynb").exists()
    assert not good.with_suffix(".part.ipynb").exists()


def test_the_other_chapters_still_run(book, mae_book):
    book.chapter("bad", "1 / 0")
    book.chapter("good", "print(seed)")
    code, stdout, stderr = mae_book("run", "-j", "2")
    assert code == 1
    assert "book/good.md" in stdout and "ZeroDivisionError" in stderr
    assert mae_book("list")[1].splitlines() == ["bad   missing", "good  fresh"]


def test_a_chapter_that_gathers_runs_after_the_others(book, mae_book):
    path = book.chapter("a", "print(open('made').read())")
    path.write_text(path.read_text().replace("kernelspec:", "gathers: true\nkernelspec:", 1))
    book.chapter("b", "import time; time.sleep(1); open('made', 'w').write('by b')")
    code, stdout, _ = mae_book("run", "-j", "2")
    assert code == 0, "a read what b writes"
    assert stdout.index("book/b.md") < stdout.index("book/a.md")


def test_two_runs_differ_in_date_and_seconds_only_and_bars_are_dropped(book, mae_book):
    bar = "import sys; print('\\r 50%|#  | 1/2\\r100%|##| 2/2', file=sys.stderr)"
    book.chapter("x", "print(seed)", bar, parameters="seed = 0\nsteps = 1")
    book.write("params/laptop/x.yaml", "steps: 2\n")
    texts = []
    for _ in range(2):
        assert mae_book("run", "--force")[0] == 0
        nb = json.loads(book.executed("x").read_text())
        for name in ("date", "seconds", "peak_mb"):
            del nb["metadata"]["companion"][name]
        texts.append(nb)
    assert texts[0] == texts[1]
    injected = [c for c in nb["cells"] if "injected-parameters" in c["metadata"].get("tags", [])]
    assert "steps = 2" in "".join(injected[0]["source"])
    assert "remove-cell" not in injected[0]["metadata"]["tags"]
    assert nb["cells"][-1]["outputs"] == []


def test_an_injected_cell_that_only_repeats_the_defaults_is_not_shown(book, mae_book):
    book.chapter("x", "print(seed)")
    assert mae_book("run")[0] == 0
    cells = json.loads(book.executed("x").read_text())["cells"]
    tags = [tag for cell in cells for tag in cell["metadata"].get("tags", [])]
    assert tags == ["parameters", "injected-parameters", "remove-cell"]


def test_a_long_chapter_says_which_cell_runs(book, mae_book, monkeypatch):
    monkeypatch.setattr(runner, "_NEWS_EVERY", 1.2)
    book.chapter("x", "import time\ntime.sleep(2)")
    assert "      book/x.md  0 min  cell 2 of 2\n" in mae_book("run")[1]


def start_mae_book(book, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "mae_lib.cli", *arguments]
    return subprocess.Popen(command, cwd=book.root, stderr=subprocess.PIPE, text=True)


def wait_for(path, process):
    """Until `path` appears, or the process ends."""
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)


HANGS = """\
import os, pathlib, subprocess, time
worker = subprocess.Popen(["sleep", "60"])
pathlib.Path("pids.tmp").write_text(f"{os.getpid()} {worker.pid}")
os.rename("pids.tmp", "pids")
time.sleep(60)"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminate"])
def test_an_interrupt_ends_all_with_130_and_meanwhile_others_are_refused(book, mae_book, number):
    pid_file = book.root / "book/pids"
    book.chapter("x", HANGS)
    with start_mae_book(book, "run") as process:
        wait_for(pid_file, process)
        code, _, stderr = mae_book("run")
        assert code == 1
        assert f"another mae-book (process {process.pid}) is at work in" in stderr
        process.send_signal(number)
        assert process.wait(timeout=20) == 130
        assert "interrupted: chapters that had ended are kept" in process.stderr.read()
    pids = [int(pid) for pid in pid_file.read_text().split()]
    until = time.monotonic() + 10  # what was killed takes a moment to be gone
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, pids))
    with lock.only_builder(book.root):  # the lock ended with its holder
        pass


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:  # ended, but not yet collected by its parent
        return file.read().split()[2] != "Z"
