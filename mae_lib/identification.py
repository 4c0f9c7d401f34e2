"""The identifiability experiment, each case and seed found or computed, and its tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from mae_lib import runs, studies
from mae_lib.ledger.statistics import t_interval
from mae_lib.theory.identifiability.cases import CASES, as_expected, run

SCORES = {"code > c": "code → c", "c > code": "c → code", "code > s_m": "code → s_m",
          "code > s_mc": "code → s_mc", "c > s_mc": "c → s_mc", "leak": "s_mc adds",
          "variance": "variance"}


@dataclass(frozen=True)
class Trial:
    """One training: a case of :data:`mae_lib.theory.identifiability.cases.CASES` and a seed."""

    case: str
    seed: int
    steps: int

    def __post_init__(self) -> None:
        if self.case not in CASES:
            raise ValueError(f"case must be one of {', '.join(CASES)}, got {self.case!r}")


class _Identifiability:
    """A study as in :mod:`mae_lib.studies`: look a trial up, or train and score it."""

    kind = "identifiability"

    def key(self, trial: Trial) -> runs.Key:
        return runs.Key(self.kind, {"case": trial.case, "steps": trial.steps}, trial.seed,
                        ("mae_lib.theory.identifiability.cases",), libraries=("scikit-learn",))

    def __call__(self, trial: Trial, *, if_stale: str = "show") -> runs.Result:
        return runs.find_or_compute(self.key(trial), lambda: run(trial.case, trial.seed,
                                                                 trial.steps), if_stale=if_stale)


IDENTIFIABILITY = _Identifiability()


def experiment(cases: Iterable[str], seeds: Iterable[int], steps: int, *, workers: int = 1,
               if_stale: str = "show") -> studies.Sweep:
    """Every case with every seed; what is missing is trained, with a progress bar.

    Raises:
        ValueError: an unknown case.
    """
    seeds = list(seeds)
    trials = [Trial(case, seed, steps) for case in cases for seed in seeds]
    return studies.sweep(IDENTIFIABILITY, trials, workers=workers, if_stale=if_stale)


def scores(measured: studies.Sweep) -> pd.DataFrame:
    """One row a trial: ``case``, ``seed`` and each score."""
    rows = [{"case": trial.case, "seed": trial.seed, **result.value}
            for trial, result in zip(measured.settings, measured.results, strict=True)]
    return pd.DataFrame(rows)


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """One row a case: each score's mean and, over two seeds or more, its 95 % t interval."""
    rows = []
    for case, part in found.groupby("case", sort=False):
        shown = {name: _text(part[score]) for score, name in SCORES.items()}
        rows.append({"case": case, **shown})
    return pd.DataFrame(rows)


def expectations(found: pd.DataFrame) -> pd.DataFrame:
    """One row a case and bound: what the theory expects, the mean found, in how many seeds it held.
    """
    rows = []
    for case, part in found.groupby("case", sort=False):
        held = pd.DataFrame([as_expected(case, row) for row in part.to_dict("records")])
        for score, (sign, bound) in CASES[case].expected.items():
            rows.append({"case": case, "quantity": SCORES[score], "expected": f"{sign} {bound:g}",
                         "found": part[score].mean(),
                         "as expected": f"{held[score].sum()} of {len(held)} seeds"})
    return pd.DataFrame(rows)


def _text(values: pd.Series) -> str:
    if len(values) < 2:
        return f"{values.mean():.2f}"
    found = t_interval(values)
    return f"{found.mean:.2f} ± {found.high - found.mean:.2f}"
