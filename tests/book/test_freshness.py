"""A chapter is run again when something that it depends on changed, and only then."""

import json
import os

import pytest

from mae_lib.book import probe

USES_MODULE_AND_FILE = """\
import sys, types
runs = types.SimpleNamespace(files_read=lambda: ["data.json"], hardware=lambda: "an abacus")
sys.modules["mae_lib.runs"] = runs
import helper
print(helper.value, seed)"""


@pytest.fixture
def executed(book, mae_book):
    """Two chapters, of which one uses a module and a data file, both run."""
    book.write("book/helper.py", "value = 41  # a comment\n")
    book.write("data.json", "{}")
    book.chapter("user", USES_MODULE_AND_FILE)
    book.chapter("plain_one", "print(seed)")
    # Files written within the run's first instant must not count as edited during the run.
    for path in (book.root / "book").iterdir():
        os.utime(path, (1, 1))
    code, _, stderr = mae_book("run")
    assert (code, stderr) == (0, "")
    return book


def states(mae_book) -> dict[str, str]:
    _, stdout, _ = mae_book("list")
    return dict(line.split(maxsplit=1) for line in stdout.splitlines())


def test_each_cause_is_named_and_only_its_chapter_is_stale(executed, mae_book, monkeypatch):
    fresh = {"plain_one": "fresh", "user": "fresh"}
    assert states(mae_book) == fresh
    assert mae_book("run")[:2] == (0, "nothing to run: tier laptop is up to date\n")

    helper = executed.write("book/helper.py", '"""Now with words."""\n\nvalue = 41\n')
    assert states(mae_book) == fresh
    helper.write_text("value = 42\n")
    assert states(mae_book) == {**fresh, "user": "stale: book/helper.py changed"}
    helper.write_text("value = 41\n")

    executed.write("data.json", "[]")
    assert states(mae_book) == {**fresh, "user": "stale: data.json changed"}
    (executed.root / "data.json").unlink()
    assert states(mae_book) == {**fresh, "user": "stale: data.json is gone"}
    executed.write("data.json", "{}")

    executed.write("params/laptop/user.yaml", "seed: 5\n")
    assert states(mae_book) == {**fresh, "user": "stale: parameter seed is 5, was 0"}
    executed.write("params/laptop/user.yaml", "")

    with monkeypatch.context() as patch:
        patch.setattr(probe, "versions", lambda modules: {"python": "9.9"})
        assert "stale: python is 9.9, was 3." in states(mae_book)["user"]
    assert states(mae_book) == fresh

    page = executed.root / "book/plain_one.md"
    page.write_text(page.read_text() + "\nMore.\n")
    assert states(mae_book) == {**fresh, "plain_one": "stale: its text changed"}
    assert mae_book("list", "--check")[0] == 1
    code, stdout, _ = mae_book("run")
    assert code == 0 and "[1/1] book/plain_one.md" in stdout and "user" not in stdout
    assert mae_book("list", "--check")[0] == 0


def test_what_ran_is_written_down(executed):
    nb = json.loads(executed.executed("user").read_text())
    record = nb["metadata"]["companion"]
    assert record["made_from"]["parameters"] == {"seed": 0}
    assert list(record["made_from"]["modules"]) == ["book/helper.py"]
    assert list(record["made_from"]["files"]) == ["data.json"]
    assert record["tier"] == "laptop" and record["peak_mb"] > 10 and record["seconds"] > 0
    assert record["device"] == "an abacus" and record["commit"]
    assert [len(cell.get("outputs", [])) for cell in nb["cells"] if "outputs" in cell][-1] == 1
    assert "probe" not in json.dumps(nb["cells"])
    assert len(nb["metadata"]["source_map"]) == len(nb["cells"])


def test_a_damaged_executed_notebook_is_missing(executed, mae_book):
    path = executed.executed("user")
    path.write_text(path.read_text()[:-100])
    assert states(mae_book)["user"] == "missing"
    nb = json.loads(executed.executed("plain_one").read_text())
    nb["metadata"]["companion"]["key"] = "0"
    executed.executed("plain_one").write_text(json.dumps(nb))
    assert states(mae_book)["plain_one"] == "stale: its record is damaged"
