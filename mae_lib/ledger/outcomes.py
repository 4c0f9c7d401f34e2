"""What was measured on one data set, by training run, as the rules of the ledger ask for it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mae_lib.ledger.verdicts import NOT_TESTED, Verdict

COLUMNS = ("dataset", "series", "level", "seed", "outcome", "value")
RATIO, UNIT, COUPLED = "ratio", "unit", "coupled"
MARGIN, SCATTERED = "margin", "scattered"
GUIDED, UNTRAINED = "guided", "untrained"
METHOD = "method"  # whose levels are the rows of Kong and Zhang's tables
EQUAL_TOKENS, LONGER, NORMALISED = "equal tokens", "longer", "normalised"
LEAST = 3  # training runs, for any verdict
USUAL = 0.75
Cell = tuple[str, float | str]  # series and level


class NoVerdict(Exception):
    """Why a rule cannot give a verdict; ``word`` is ``"not tested"`` or ``"void"``."""

    def __init__(self, word: str, reason: str):
        super().__init__(reason)
        self.word = word

    @property
    def verdict(self) -> Verdict:
        return Verdict(self.word, reason=str(self))


@dataclass(frozen=True)
class Outcomes:
    """One data set's measurements, ``{(outcome, series, level): {seed: value}}``.

    With ``arm``, a control such as ``"equal tokens"``, its runs stand in for those of the ratio
    series.
    """

    dataset: str
    cells: Mapping[tuple[str, str, float | str], Mapping[int, float]]
    arm: str = ""

    @classmethod
    def of(cls, frame: pd.DataFrame, dataset: str) -> Outcomes:
        """The measurements of one data set out of a tidy frame; rows without a value are missing.

        Args:
            frame: columns ``dataset``, ``series``, ``level``, ``seed``, ``outcome``, ``value``.

        Raises:
            ValueError: a missing column, an infinite value, one run's outcome twice.
        """
        if absent := [name for name in COLUMNS if name not in frame]:
            raise ValueError(f"outcomes must have columns {', '.join(COLUMNS)}, "
                             f"got no {absent[0]!r}")
        cells: dict = {}
        for row in frame[(frame.dataset == dataset) & frame.value.notna()].itertuples():
            level = row.level if isinstance(row.level, str) else float(row.level)
            held = cells.setdefault((row.outcome, row.series, level), {})
            if row.seed in held or not np.isfinite(row.value):
                what = "twice" if row.seed in held else str(row.value)
                raise ValueError(f"outcomes must hold one finite value a run, got {row.outcome!r} "
                                 f"of {row.series} {level}, seed {row.seed}: {what}")
            held[row.seed] = float(row.value)
        return cls(dataset, cells)

    def with_arm(self, arm: str) -> Outcomes:
        """The same, where rules about masking ratios see the runs of a control."""
        return replace(self, arm=arm)

    def values(self, outcome: str, series: str, level: float | str) -> Mapping[int, float]:
        """By seed; empty if it was not measured."""
        if self.arm and series == RATIO:
            series = self.arm
        return self.cells.get((outcome, series, level), {})

    def table(self, outcome: str, cells: Mapping[float | str, Cell]) -> pd.DataFrame:
        """``[seeds, labels]`` of the seeds that all cells share.

        Args:
            cells: ``{label: (series, level)}``.

        Raises:
            NoVerdict: a cell without runs, or fewer than three seeds in common.
        """
        return shared({label: self.runs(outcome, cell) for label, cell in cells.items()})

    def runs(self, outcome: str, cell: Cell) -> Mapping[int, float]:
        """One cell by seed.

        Raises:
            NoVerdict: it holds no run.
        """
        held = self.values(outcome, *cell)
        if not held:
            raise NoVerdict(NOT_TESTED, f"no measurement of {outcome!r} {self._at(outcome, cell)}")
        return held

    def outcomes(self) -> set[str]:
        """Names of all that was measured."""
        return {outcome for outcome, _, _ in self.cells}

    def levels(self, outcome: str, series: str) -> list:
        """Levels of a series at which an outcome was measured, in ascending order."""
        return sorted(level for name, s, level in self.cells if (name, s) == (outcome, series))

    def untrained(self, outcome: str) -> pd.Series:
        """The control with initial weights by seed; empty if there is none."""
        rows = [(seed, value) for (name, series, _), held in self.cells.items()
                if (name, series) == (outcome, UNTRAINED) for seed, value in held.items()]
        return pd.DataFrame(rows, columns=["seed", "value"]).groupby("seed").value.mean()

    def _at(self, outcome: str, cell: Cell) -> str:
        series, level = cell
        if outcome not in self.outcomes():
            return "on this data set"
        return f"in the series {series!r}" if not any(
            (name, s) == (outcome, series) for name, s, _ in self.cells) else (
            f"at {named(series)} {level if isinstance(level, str) else format(level, 'g')}")


def shared(columns: Mapping[Hashable, Mapping[int, float]]) -> pd.DataFrame:
    """Columns by seed as one table ``[seeds, columns]`` of the seeds that all of them have.

    Raises:
        NoVerdict: fewer than three such seeds.
    """
    seeds = sorted(set.intersection(*(set(held) for held in columns.values())))
    if len(seeds) < LEAST:
        raise NoVerdict(NOT_TESTED, f"needs three training runs, has {len(seeds)}")
    values = np.array([[held[seed] for held in columns.values()] for seed in seeds])
    return pd.DataFrame(values, seeds, pd.Index(list(columns), tupleize_cols=False))


def named(series: str) -> str:
    """What is varied in a series, for a reader."""
    return {RATIO: "masking ratio", UNIT: "masking unit", COUPLED: "coupled patch"}.get(
        series, series)
