"""Several outcomes as one score of how high, or how low, the level of a representation is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import pandas as pd

from mae_lib.ledger.comparisons import together, top
from mae_lib.ledger.guards import FACTORS, SHIFTED, beats_untrained
from mae_lib.ledger.outcomes import COUPLED, RATIO, UNIT, NoVerdict, Outcomes, shared
from mae_lib.ledger.verdicts import NOT_TESTED, VOID, Verdict, extremes_below_best, jointly

RATIOS = (0.1, 0.25, 0.5, 0.75, 0.9)
UNITS = (4.0, 8.0, 16.0)
# The members of the scores; those that need a shift or a conflict set may be missing.
HIGH = {"probe": ("linear",), "neighbours": ("knn",), "shifted sets": SHIFTED,
        "shape bias": ("shape bias",)}
LOW = {"factors": FACTORS}


def high_level(found: Outcomes, series: str, levels: Sequence[float]) -> tuple[pd.DataFrame, str]:
    """The score of high-level content, ``[seeds, levels]``, and what is missing from it.

    Every outcome is standardised over all runs of the table: less its mean, over its standard
    deviation (over levels and seeds together). The score is the mean of four members: linear probe,
    nearest neighbours, the shifted test sets (the mean of those that were measured), shape bias.

    Raises:
        NoVerdict: no linear probe, no member beside it, too few runs in common, or a probe that
            training does not help.
    """
    beats_untrained(found, "linear", {level: (series, level) for level in levels})
    return _score(found, HIGH, series, levels, needed="probe", least=2)


def low_level(found: Outcomes, series: str, levels: Sequence[float]) -> tuple[pd.DataFrame, str]:
    """The score of low-level content: R2 of position, scale and colour, standardised, their mean.

    Raises:
        NoVerdict: none of them was measured, or too few runs.
    """
    return _score(found, LOW, series, levels, needed="factors", least=1)


def extreme_ratios(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """K-X2: the scores of .1 and .9 are below the best between them, and in low-level content above
    the lowest between them; both are needed."""
    least, = sesoi
    return together({"high-level": partial(high_at_ends, found, least),
                     "low-level": partial(low_at_ends, found, least)},
                    partial(jointly, sesoi={"high-level": least, "low-level": least}))


def high_at_ends(found: Outcomes, least: float) -> Verdict:
    """The first half of K-X2."""
    score, missing = high_level(found, RATIO, RATIOS)
    return _noted(extremes_below_best(score, least), missing)


def low_at_ends(found: Outcomes, least: float) -> Verdict:
    """The second half of K-X2: low-level content is lowest between the extremes."""
    score, missing = low_level(found, RATIO, RATIOS)
    verdict = extremes_below_best(-score, least)
    parts = {name.replace("<", "above").replace("best", "lowest"): e
             for name, e in verdict.parts.items()}
    return _noted(replace(verdict, parts=parts), missing)


def middle_patch(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """K-X3: the middle of three sizes has the best score, as a masking unit and as a patch."""
    least, = sesoi
    return together({"masking unit": partial(middle_is_best, found, UNIT, least),
                     "coupled patch": partial(middle_is_best, found, COUPLED, least)},
                    partial(jointly, sesoi={"masking unit": least, "coupled patch": least}))


def middle_is_best(found: Outcomes, series: str, least: float) -> Verdict:
    """One half of K-X3."""
    score, missing = high_level(found, series, UNITS)
    return _noted(top(UNITS[1])(score, least), missing)


def standardised(table: pd.DataFrame) -> pd.DataFrame:
    """Less its mean and over its standard deviation, over all cells together.

    Raises:
        NoVerdict: all cells hold the same value.
    """
    values = table.to_numpy()
    if not values.std():
        raise NoVerdict(VOID, "all runs have the same value, so that nothing can be standardised")
    return (table - values.mean()) / values.std(ddof=1)


def _score(found: Outcomes, members: Mapping[str, Sequence[str]], series: str,
           levels: Sequence[float], *, needed: str, least: int) -> tuple[pd.DataFrame, str]:
    measured = {outcome: all(found.values(outcome, series, level) for level in levels)
                for outcomes in members.values() for outcome in outcomes}
    there = {name: [o for o in outcomes if measured[o]] for name, outcomes in members.items()}
    there = {name: outcomes for name, outcomes in there.items() if outcomes}
    if needed not in there or len(there) < least:
        lacking = ", ".join(repr(o) for o, is_there in measured.items() if not is_there)
        raise NoVerdict(NOT_TESTED, f"too little to make a score of: no measurement of {lacking}")
    seeds = _common_seeds(found, there, series, levels)
    scores = [_mean([_table(found, o, series, levels, seeds) for o in outcomes])
              for outcomes in there.values()]
    return _mean(scores), ", ".join(o for o, is_there in measured.items() if not is_there)


def _common_seeds(found: Outcomes, there: Mapping[str, Sequence[str]], series: str,
                  levels: Sequence[float]) -> pd.Index:
    return shared({(o, level): found.runs(o, (series, level))
                   for outcomes in there.values() for o in outcomes for level in levels}).index


def _table(found: Outcomes, outcome: str, series: str, levels: Sequence[float],
           seeds: pd.Index) -> pd.DataFrame:
    table = found.table(outcome, {level: (series, level) for level in levels})
    return standardised(table.loc[seeds])


def _mean(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return sum(tables[1:], tables[0]) / len(tables)


def _noted(verdict: Verdict, missing: str) -> Verdict:
    return replace(verdict, caveat=f"left out of the score: {missing}") if missing else verdict
