"""The whole of a tier: what has been computed, what runs now, what is left; and computing it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from mae_lib import runs
from mae_lib.studies import PRETRAINING, Plan, Setting, Study, program
from mae_lib.studies.pretraining import checkpoint_folder
from mae_lib.training.distributed import joined

ALIVE = 180  # seconds since the last checkpoint: they are written every minute


@dataclass(frozen=True)
class Line:
    """One kind of measurement: numbers of results, and core seconds spent and left.

    ``left`` is None while none of the kind is done, so that nothing is known of its time.
    """

    kind: str
    done: int
    running: int
    missing: int
    spent: float
    left: float | None


def status(plan: Plan) -> list[Line]:
    """How far a tier has come, one line a kind, in the order in which they are computed."""
    return [_line(plan, study, settings) for study, settings in program(plan).items()]


def table(lines: list[Line], workers: int) -> str:
    """The lines for a terminal, with hours that ``workers`` processes need for the rest."""
    rows = [{"kind": x.kind, "done": x.done, "running": x.running, "left": x.missing,
             "core hours spent": f"{x.spent / 3600:.2f}",
             "core hours left": "?" if x.left is None else f"{x.left / 3600:.2f}"} for x in lines]
    unknown = sorted(x.kind for x in lines if x.left is None)
    hours = sum(x.left or 0 for x in lines) / 3600 / workers
    total = f"about {hours:.1f} hours left with {workers} processes"
    return (pd.DataFrame(rows).to_string(index=False) + f"\n{total}"
            + (f", not counting {', '.join(unknown)}" if unknown else ""))


def compute(plan: Plan, *, report: Callable[[str], object] = print) -> None:
    """Everything of a tier that is missing, trainings first. It may be stopped and started again.

    Started by torchrun, all processes of the job compute each result together.
    """
    with joined() as here:
        for study, settings in program(plan).items():
            found = plan.sweep(study, settings)
            if here.first:
                report(f"{study.kind}: {len(found.results)} results")


def _line(plan: Plan, study: Study, settings: list[Setting]) -> Line:
    found = {s: runs.find(plan.key(study, s), if_stale=plan.if_stale) for s in settings}
    done = [result.provenance["seconds"] for result in found.values() if result]
    missing = [setting for setting, result in found.items() if result is None]
    running = [s for s in missing if study is PRETRAINING and _alive(s)]
    mean = sum(done) / len(done) if done else None
    left = 0.0 if not missing else None if mean is None else mean * len(missing)
    return Line(study.kind, len(done), len(running), len(missing) - len(running), sum(done), left)


def _alive(setting: Setting) -> bool:
    """Whether somebody has written a checkpoint of this run just now."""
    times = [file.stat().st_mtime for file in checkpoint_folder(setting).glob("*")]
    return bool(times) and time.time() - max(times) < ALIVE
