"""What is done, running and left of a tier, and that computing it can be resumed."""

from dataclasses import replace

import pytest

from mae_lib import progress, runs, studies
from mae_lib.studies import Plan
from mae_lib.studies.pretraining import checkpoint_folder

pytestmark = pytest.mark.usefixtures("own_results")

PLAN = Plan.of({"datasets": ["menagerie"], "seeds": [0], "preset": "toy", "views": 64, "batch": 32,
                "lr": 1e-3, "ratios": [0.5, 0.75], "units": [4], "unit_ratio": 0.75,
                "train_images": 64, "test_images": 4, "shown": 1, "if_stale": "recompute"})


@pytest.fixture(autouse=True)
def trainings(monkeypatch):
    asked = {studies.PRETRAINING: PLAN.core, studies.FLOORS: PLAN.core[:1]}
    monkeypatch.setattr(progress, "program", lambda plan: asked)


def counts() -> dict[str, tuple]:
    return {line.kind: (line.done, line.running, line.missing) for line in progress.status(PLAN)}


def test_what_was_computed_counts_as_done_and_the_rest_is_estimated_from_it():
    assert counts() == {"pretraining": (0, 0, 2), "floors": (0, 0, 1)}
    assert all(line.left is None for line in progress.status(PLAN))
    spent = studies.PRETRAINING(PLAN.core[0]).provenance["seconds"]
    line = progress.status(PLAN)[0]
    assert (line.done, line.missing, line.spent) == (1, 1, spent)
    assert line.left == pytest.approx(spent)


def test_a_run_that_writes_checkpoints_is_running(monkeypatch):
    folder = checkpoint_folder(PLAN.core[1])
    folder.mkdir(parents=True)
    (folder / "step-1.json").write_text("{}")
    assert counts()["pretraining"] == (0, 1, 1)
    monkeypatch.setattr(progress, "ALIVE", -1)
    assert counts()["pretraining"] == (0, 0, 2)


def test_computing_goes_on_where_it_was_and_ends_with_nothing_left():
    first = studies.PRETRAINING(PLAN.core[0]).provenance["created"]
    lines = []
    progress.compute(PLAN, report=lines.append)
    assert lines == ["pretraining: 2 results", "floors: 1 results"]
    assert counts() == {"pretraining": (2, 0, 0), "floors": (1, 0, 0)}
    assert runs.find(studies.PRETRAINING.key(PLAN.core[0])).provenance["created"] == first


def test_the_table_says_what_is_not_known():
    text = progress.table(progress.status(PLAN), workers=2)
    assert "with 2 processes, not counting floors, pretraining" in text
    done = [replace(line, left=3600.0) for line in progress.status(PLAN)]
    assert progress.table(done, workers=2).endswith("about 1.0 hours left with 2 processes")
