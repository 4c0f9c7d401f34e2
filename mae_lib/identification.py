"""The identifiability experiment, each case and seed found or computed, and its tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from mae_lib import figures, runs, studies
from mae_lib.ledger.statistics import t_interval
from mae_lib.theory.identifiability.cases import CASES, run
from mae_lib.theory.identifiability.rules import RULES, Rule

SCORES = {"code > c": "code → c", "c > code": "c → code", "code > s_m": "code → s_m",
          "code > s_mc": "code → s_mc", "c > s_mc": "c → s_mc", "leak": "s_mc adds",
          "variance": "variance"}
# Only the world of a latent graph draws on these; no other case is stale when they change.
HIERARCHY = ("mae_lib.theory.families", "mae_lib.theory.graph", "mae_lib.theory.search",
             "mae_lib.theory.identifiability.graph_world")


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
        ignored = () if CASES[trial.case].world == "graph" else HIERARCHY
        return runs.Key(self.kind, {"case": trial.case, "steps": trial.steps}, trial.seed,
                        ("mae_lib.theory.identifiability.cases",), ignored, ("scikit-learn",))

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


def summary(found: pd.DataFrame, of: Iterable[str] = tuple(SCORES)) -> pd.DataFrame:
    """One row a case: each score's mean and, over two seeds or more, its 95 % t interval."""
    rows = [{"case": case, **{SCORES[score]: _text(part[score]) for score in of}}
            for case, part in found.groupby("case", sort=False)]
    return pd.DataFrame(rows)


def chart(found: pd.DataFrame) -> Figure:
    """R2 from code to c and back, a row for each case; every seed thin, the mean thick."""
    cases = list(dict.fromkeys(found["case"]))
    with figures.style():
        size = figures.WIDTH, 0.9 + 0.27 * len(cases)
        fig, axes = plt.subplots(1, 2, sharey=True, figsize=size)
        for ax, score, colour, marker in zip(axes, ("code > c", "c > code"), figures.COLOURS,
                                             figures.MARKERS, strict=False):
            place = [cases.index(case) for case in found["case"]]
            means = [found[found["case"] == case][score].mean() for case in cases]
            ax.plot(found[score], place, "|", color="#555555", markersize=11)
            ax.plot(means, range(len(cases)), marker, color=colour)
            ax.set(title=SCORES[score], xlabel="R²", xlim=(min(-0.05, found[score].min()), 1.08))
        axes[0].set_yticks(range(len(cases)), cases)
        axes[0].invert_yaxis()
    plt.close(fig)
    return fig


def expectations(found: pd.DataFrame) -> pd.DataFrame:
    """One row a case: what the theory expects, and in how many seeds all of it held."""
    table, rows = found.set_index(["case", "seed"]), []
    for case, part in found.groupby("case", sort=False):
        held = {words(case, rule): values.map(rule.holds) for rule in RULES[case]
                if len(values := _values(table, case, rule))}
        missed = [str(seed) for seed, good in pd.DataFrame(held).all(axis=1).items() if not good]
        kept = [f"{len(part) - len(missed)} of {len(part)}"]
        kept += [f"not seed {', '.join(missed)}"] if missed else []
        rows.append({"case": case, "expected": _joined(held), "as expected": _joined(kept)})
    return pd.DataFrame(rows)


def words(case: str, rule: Rule) -> str:
    """A rule as a reader sees it: ``"code → c > 0.95"``."""
    return f"{_subject(case, rule)} {rule.sign} {rule.bound:g}"


def _subject(case: str, rule: Rule) -> str:
    if rule.less is None:
        return SCORES[rule.score]
    other, score = rule.less
    return f"{SCORES[rule.score]} − {SCORES[score] if other == case else f'that of “{other}”'}"


def _values(table: pd.DataFrame, case: str, rule: Rule) -> pd.Series:
    """What a rule bounds, by seed; empty if the other case was not run."""
    own = table.loc[case, rule.score]
    if rule.less is None:
        return own
    other, score = rule.less
    return own - table.loc[other, score] if other in table.index else own[:0]


def _text(values: pd.Series) -> str:
    """``"0.99 ± 0.01"``, and never a minus before zero."""
    if len(values) < 2:
        return f"{values.mean():z.2f}"
    found = t_interval(values)
    return _joined([f"{found.mean:z.2f} ± {found.high - found.mean:.2f}"])


def _joined(phrases: Iterable[str]) -> str:
    """Phrases in which no line is to be broken."""
    return "; ".join(phrase.replace(" ", "\N{NO-BREAK SPACE}") for phrase in phrases)
