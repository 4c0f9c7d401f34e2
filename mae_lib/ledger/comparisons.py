"""The commonest kind of rule: outcomes compared between the levels of one series."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations

import pandas as pd

from mae_lib.ledger.guards import guarded
from mae_lib.ledger.outcomes import NoVerdict, Outcomes
from mae_lib.ledger.verdicts import (
    NOT_SUPPORTED,
    Verdict,
    bottom,
    effect,
    equivalent,
    jointly,
    not_worse,
    ordered,
    peak,
    trend,
    weakest,
)

Shape = Callable[[pd.DataFrame, float], Verdict]  # of a table [seeds, levels], and the SESOI
Test = Callable[[Outcomes, tuple[float, ...]], Verdict]  # with the SESOIs of the claim


def up(table: pd.DataFrame, sesoi: float) -> Verdict:
    """Each column exceeds the one before it."""
    return ordered(table, list(table.columns), sesoi)


def tendency(table: pd.DataFrame, sesoi: float) -> Verdict:
    """Values tend to rise over the columns."""
    return trend(table, list(table.columns), sesoi)


def top(best: float) -> Shape:
    """One level exceeds each of the others."""
    return lambda table, sesoi: peak(table, best, sesoi)


def lowest(worst: float | str) -> Shape:
    """One level is below each of the others."""
    return lambda table, sesoi: bottom(table, worst, sesoi)


def alike(table: pd.DataFrame, margin: float) -> Verdict:
    """Any two columns differ by less than the margin."""
    pairs = {f"{a} = {b}": effect(table[b] - table[a]) for a, b in combinations(table.columns, 2)}
    return replace(weakest({name: equivalent(e, margin) for name, e in pairs.items()}),
                   parts=pairs)


def not_below(table: pd.DataFrame, margin: float) -> Verdict:
    """The second of two columns does not fall short of the first by the margin."""
    a, b = table.columns
    found = effect(table[b] - table[a])
    return replace(not_worse(found, margin), parts={f"{a} ≤ {b}": found})


SEPARATE = (tendency, alike, not_below)  # no intersection-union tests of differences


@dataclass(frozen=True)
class Comparison:
    """A test of outcomes over the levels of a series, in which all outcomes have to agree.

    ``shape`` is what is expected of the columns, in the order of ``levels``. The claim's SESOIs are
    those of the outcomes in turn, or one for all; ``least`` has those that the claim leaves open.
    """

    outcomes: tuple[str, ...]
    series: str
    levels: Sequence[float]
    shape: Shape = up
    least: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
        numbers = sesoi * len(self.outcomes) if len(sesoi) == 1 else sesoi
        margins = dict(zip(self.outcomes, numbers, strict=True)) | self.least
        cells = {level: (self.series, level) for level in self.levels}
        parts = {name: partial(guarded, found, name, cells,
                               lambda table, least=margins[name]: self.shape(table, least))
                 for name in self.outcomes}
        if self.shape in SEPARATE:
            return together(parts, weakest)
        return together(parts, partial(jointly, sesoi=margins))


def together(parts: Mapping[str, Callable[[], Verdict]],
             join: Callable[[Mapping[str, Verdict]], Verdict] = weakest,
             spare: Sequence[str] = ()) -> Verdict:
    """One verdict of parts that are all needed, but for ``spare`` ones that may be missing.

    If a needed part cannot be had the others can only refute.

    Raises:
        NoVerdict: that of the first part that is missing.
    """
    judged, missing = {}, {}
    for name, part in parts.items():
        try:
            judged[name] = part()
        except NoVerdict as why:
            missing[name] = why
    needed = [why for name, why in missing.items() if name not in spare]
    if not judged:
        raise next(iter(missing.values()))
    verdict = join(judged) if len(judged) > 1 else next(iter(judged.values()))
    if needed and verdict.word != NOT_SUPPORTED:
        raise needed[0]
    caveats = [v.caveat for v in judged.values()]
    caveats += [f"without {name}: {why}" for name, why in missing.items()]
    return replace(verdict, caveat="; ".join(dict.fromkeys(filter(None, caveats))))
