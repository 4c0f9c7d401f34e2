"""What the theory expects of each case, as bounds.

No result depends on this file: a bound may be discussed without training anything again.
"""

from __future__ import annotations

import operator
from typing import NamedTuple

Place = tuple[str, str]  # a case and one of its scores
HOLDS = {">": operator.gt, "<": operator.lt, "within": lambda value, bound: abs(value) < bound}


class Rule(NamedTuple):
    """A bound on a score or, with ``less``, on how far it lies above another score or case."""

    score: str
    sign: str
    bound: float
    less: Place | None = None

    def holds(self, value: float) -> bool:
        return bool(HOLDS[self.sign](value, self.bound))


def _beyond_c(case: str, sign: str, bound: float) -> Rule:
    """On what the code tells of s_mc, over what c itself tells of it."""
    return Rule("code > s_mc", sign, bound, (case, "c > s_mc"))


def _one_to_one(least: float) -> tuple[Rule, ...]:
    return Rule("code > c", ">", least), Rule("c > code", ">", least)


def _identified(case: str) -> tuple[Rule, ...]:
    return (*_one_to_one(0.95), Rule("code > s_m", "<", 0.05), _beyond_c(case, "within", 0.06))


def _leaks(case: str) -> tuple[Rule, ...]:
    return (Rule("code > c", ">", 0.95), Rule("c > code", "<", 0.9), _beyond_c(case, ">", 0.15))


# Set from one prototype run, seed 1, before the five seeds of the book were run.
RULES: dict[str, tuple[Rule, ...]] = {
    "no training": (Rule("code > c", "<", 0.85),),
    **{case: _identified(case) for case in (
        "squared error", "energy", "squared error, linear world", "squared error, latent graph")},
    "energy, invertible": _one_to_one(0.9),
    "code too small": (Rule("code > c", "<", 0.75), Rule("c > code", ">", 0.9)),
    **{case: _leaks(case) for case in ("code too large", "code too large, energy")},
    "mean zero": (Rule("variance", "<", 1e-3),),
    "mean zero, energy": (Rule("code > c", ">", 0.88),
                          Rule("code > c", ">", 0.1, ("mean zero", "code > c"))),
    **{case: _one_to_one(0.95) for case in (
        "biased sign", "s_m depends on c", "decoder sees the magnitude")},
    "s_m depends on s_mc": (Rule("code > c", "<", 0.95), Rule("c > code", "<", 0.95)),
    "s_m depends on s_mc, energy, large": (Rule("code > s_mc", ">", 0.9),),
    "decoder sees a projection": (Rule("code > c", "<", 0.85),),
    "half of c": (Rule("code > c", "<", 0.65),),
}
