"""From paired differences to a verdict, by a rule that was fixed before the first result.

An effect is the mean over seeds of a signed difference, positive in the claimed direction. With
its two one-sided 95 % limits and the smallest effect of interest (SESOI) it is

* ``supported`` if the lower limit is above 0 and the mean reaches the SESOI,
* ``supported (negligible)`` if the lower limit is above 0 and the mean does not,
* ``not supported`` if the upper limit is below the SESOI,
* ``inconclusive`` otherwise.

A claim of several parts is supported if all of them are, and not supported if one of them is not
at a level divided by their number (an intersection-union test).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy import stats

ALPHA = 0.05
SUPPORTED, NEGLIGIBLE = "supported", "supported (negligible)"
NOT_SUPPORTED, INCONCLUSIVE = "not supported", "inconclusive"
VOID, NOT_TESTED = "void", "not tested"


@dataclass(frozen=True)
class Effect:
    """Mean and standard deviation over ``n`` seeds of a difference; ``n`` = 0 says it is exact.

    Exact are differences that were enumerated rather than sampled: they have no spread. ``limits``
    are one-sided 95 % limits that do not come from Student's t, such as those of a share.
    """

    mean: float
    deviation: float = 0.0
    n: int = 0
    limits: tuple[float, float] | None = None

    def limit(self, side: int, alpha: float = ALPHA) -> float:
        """The one-sided lower (side -1) or upper (+1) confidence limit, by Student's t."""
        if self.limits is not None:
            return self.limits[side > 0]
        if not self.deviation:
            return self.mean
        return self.mean + side * stats.t.ppf(1 - alpha, self.n - 1) * self._error

    def p(self, against: float = 0.0) -> float:
        """One-sided p-value of "not above ``against``"."""
        if not self.deviation:
            return float(self.mean <= against)
        return float(stats.t.sf((self.mean - against) / self._error, self.n - 1))

    @property
    def _error(self) -> float:
        return self.deviation / np.sqrt(self.n)


@dataclass(frozen=True)
class Verdict:
    """A verdict and what it rests on.

    ``effect`` is the weakest part's, ``p`` that of the whole, ``parts`` all of them by name,
    ``reversed`` whether every part is significantly negative, ``reason`` why there is no result.
    ``beside`` are other readings of the claim, which do not decide; ``unadjusted`` is the word
    before the correction for several claims of one family, if that changed it; ``caveat`` says what
    was left out.
    """

    word: str
    effect: Effect | None = None
    p: float = float("nan")
    parts: Mapping[str, Effect] = field(default_factory=dict)
    reversed: bool = False
    reason: str = ""
    beside: Mapping[str, Verdict] = field(default_factory=dict)
    unadjusted: str = ""
    caveat: str = ""


def effect(differences: Sequence[float]) -> Effect:
    """The effect of paired differences ``[seeds]``.

    Raises:
        ValueError: fewer than two seeds, NaN or infinity.
    """
    values = np.asarray(differences, float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"differences must hold at least 2 seeds, got shape {list(values.shape)}")
    if not np.isfinite(values).all():
        raise ValueError("differences must be finite, got NaN or infinity")
    return Effect(float(values.mean()), float(values.std(ddof=1)), len(values))


def difference(found: Effect, sesoi: float) -> Verdict:
    """DIFF: one quantity is larger than another."""
    return all_of({"difference": found}, sesoi)


def all_of(parts: Mapping[str, Effect], sesoi: float | Mapping[str, float]) -> Verdict:
    """IUT: each of these effects is positive.

    Args:
        sesoi: of all parts, or by name of the part.

    Raises:
        ValueError: no parts, or a negative SESOI.
    """
    each = [sesoi[name] if isinstance(sesoi, Mapping) else sesoi for name in parts]
    if not parts or min(each) < 0:
        raise ValueError(f"parts must be given and sesoi must not be negative, "
                         f"got {len(parts)} parts and {sesoi}")
    effects = list(parts.values())
    weakest = min(parts, key=lambda name: parts[name].mean / (  # in units of its own SESOI
        isinstance(sesoi, Mapping) and sesoi[name] or 1))
    limits = [e.limit(+1, ALPHA / len(effects)) for e in effects]
    if all(e.limit(-1) > 0 for e in effects):
        enough = all(e.mean >= least for e, least in zip(effects, each, strict=True))
        word = SUPPORTED if enough else NEGLIGIBLE
    else:  # at a SESOI of 0, 0 is excluded too
        excluded = any(high < least or high <= 0 for high, least in zip(limits, each, strict=True))
        word = NOT_SUPPORTED if excluded else INCONCLUSIVE
    return Verdict(word, parts[weakest], max(e.p() for e in effects), dict(parts),
                   word == NOT_SUPPORTED and bool(max(limits) < 0))


def equivalent(found: Effect, margin: float) -> Verdict:
    """EQ: two quantities differ by less than ``margin`` (two one-sided tests)."""
    low, high = found.limit(-1), found.limit(+1)
    p = max(found.p(-margin), Effect(-found.mean, found.deviation, found.n).p(-margin))
    inside, outside = -margin < low and high < margin, low > margin or high < -margin
    word = SUPPORTED if inside else NOT_SUPPORTED if outside else INCONCLUSIVE
    return Verdict(word, found, p, {"difference": found})


def not_worse(found: Effect, margin: float) -> Verdict:
    """NI: a quantity falls short of another by less than ``margin``."""
    inside, outside = found.limit(-1) > -margin, found.limit(+1) < -margin
    word = SUPPORTED if inside else NOT_SUPPORTED if outside else INCONCLUSIVE
    return Verdict(word, found, found.p(-margin), {"difference": found})


def nearest(hits: int, trials: int, chance: float, majority: float = 0.5) -> Verdict:
    """RANK: one level is the nearest of several more often than by chance (exact binomial).

    The effect is the share of hits less chance, with Clopper and Pearson's limits. It is of
    interest where the level is the nearest in most trials.

    Raises:
        ValueError: no trials, or more hits than trials.
    """
    if not 0 <= hits <= trials or trials < 1:
        raise ValueError(f"hits must lie in 0..trials with trials >= 1, got {hits} of {trials}")
    test = stats.binomtest(hits, trials, chance, alternative="greater")
    low, high = stats.binomtest(hits, trials).proportion_ci(1 - 2 * ALPHA)
    found = Effect(hits / trials - chance, n=trials, limits=(low - chance, high - chance))
    verdict = all_of({f"{hits} of {trials}": found}, majority - chance)
    return replace(verdict, p=float(test.pvalue))


def exact(violations: int, trials: int) -> Verdict:
    """EXACT: an identity has no exception; the p-value is the rule of three's bound on its rate.

    Raises:
        ValueError: no trials, or more violations than trials.
    """
    if not 0 <= violations <= trials or trials < 1:
        raise ValueError(f"violations must lie in 0..trials with trials >= 1, "
                         f"got {violations} of {trials}")
    found = Effect(-violations / trials)
    word = NOT_SUPPORTED if violations else SUPPORTED
    return Verdict(word, found, min(1.0, 3 / trials), {f"{trials} trials": found})


def ordered(table: pd.DataFrame, levels: Sequence, sesoi: float) -> Verdict:
    """ORD: each of these levels exceeds the one before it; ``table`` is ``[seeds, levels]``."""
    return all_of(_contrasts(table, itertools.pairwise(levels)), sesoi)


def peak(table: pd.DataFrame, best, sesoi: float) -> Verdict:
    """PEAK: one level exceeds each of the others."""
    return all_of(_contrasts(table, [(x, best) for x in table.columns if x != best]), sesoi)


def bottom(table: pd.DataFrame, worst, sesoi: float) -> Verdict:
    """PEAK (min): one level is below each of the others."""
    return all_of(_contrasts(table, [(worst, x) for x in table.columns if x != worst]), sesoi)


def extremes(table: pd.DataFrame, sesoi: float) -> Verdict:
    """EXT, strong: the first and the last level are below each level between them."""
    first, *interior, last = table.columns
    return all_of(_contrasts(table, itertools.product([first, last], interior)), sesoi)


def extremes_below_best(table: pd.DataFrame, sesoi: float) -> Verdict:
    """EXT, weak: first and last level are below the best level between them.

    Which one is best is decided for each seed by the other seeds.
    """
    _contrasts(table, [])
    first, *interior, last = table.columns
    best = [table[interior].drop(index=seed).mean().idxmax() for seed in table.index]
    picked = np.array([table.loc[seed, level]
                       for seed, level in zip(table.index, best, strict=True)])
    return all_of({f"{end} < best": effect(picked - table[end]) for end in (first, last)}, sesoi)


def trend(table: pd.DataFrame, levels: Sequence, sesoi: float) -> Verdict:
    """TREND: values tend to rise over the levels (Page's test); the effect is last less first."""
    contrast = _contrasts(table, [(levels[0], levels[-1])])
    p = float(stats.page_trend_test(table[list(levels)].to_numpy()).pvalue)
    found = next(iter(contrast.values()))
    if p < ALPHA and found.mean > 0:
        word = SUPPORTED if found.mean >= sesoi else NEGLIGIBLE
    else:
        word = NOT_SUPPORTED if found.limit(+1) < sesoi else INCONCLUSIVE
    return Verdict(word, found, p, contrast, word == NOT_SUPPORTED and found.limit(+1) < 0)


def jointly(verdicts: Mapping[str, Verdict], sesoi: Mapping[str, float]) -> Verdict:
    """Several intersection-union tests as one, each with its own SESOI."""
    if len(verdicts) == 1:
        return next(iter(verdicts.values()))
    parts = {f"{name}: {part}": (e, sesoi[name]) for name, v in verdicts.items()
             for part, e in v.parts.items()}
    return all_of({name: e for name, (e, _) in parts.items()},
                  {name: least for name, (_, least) in parts.items()})


def weakest(verdicts: Mapping[str, Verdict]) -> Verdict:
    """One verdict of several that a claim needs all of: the least favourable of them."""
    ranks = [NOT_SUPPORTED, VOID, NOT_TESTED, INCONCLUSIVE, NEGLIGIBLE, SUPPORTED]
    worst = min(verdicts.values(), key=lambda v: ranks.index(v.word))
    parts = {f"{name}: {part}": e for name, v in verdicts.items() for part, e in v.parts.items()}
    p = max((v.p for v in verdicts.values() if v.p == v.p), default=float("nan"))
    return Verdict(worst.word, worst.effect, p, parts, all(v.reversed for v in verdicts.values()),
                   worst.reason)


def holm(pvalues: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values within a family; NaN (not tested) stays out of it."""
    tested = {name: p for name, p in pvalues.items() if p == p}
    adjusted, floor = {}, 0.0
    for rank, (name, p) in enumerate(sorted(tested.items(), key=lambda item: item[1])):
        floor = max(floor, min(1.0, p * (len(tested) - rank)))
        adjusted[name] = floor
    return {name: adjusted.get(name, float("nan")) for name in pvalues}


def adjusted(verdicts: Mapping[str, Verdict], families: Mapping[str, str]) -> dict[str, Verdict]:
    """Verdicts after Holm's correction within each family of claims.

    What was supported and is not after the correction becomes inconclusive, and keeps its first
    word as ``unadjusted``. Verdicts without p-value, tested or not, stay out of it.

    Args:
        families: the family of each claim.
    """
    members: dict[str, dict[str, float]] = {}
    for name, verdict in verdicts.items():
        members.setdefault(families[name], {})[name] = verdict.p
    p = {name: value for family in members.values() for name, value in holm(family).items()}
    return {name: _corrected(verdict, p[name]) for name, verdict in verdicts.items()}


def _corrected(verdict: Verdict, p: float) -> Verdict:
    if verdict.word not in (SUPPORTED, NEGLIGIBLE) or not p >= ALPHA:
        return verdict
    return replace(verdict, word=INCONCLUSIVE, unadjusted=verdict.word)


def _contrasts(table: pd.DataFrame, pairs) -> dict[str, Effect]:
    """Effects of ``b - a`` over paired seeds.

    Raises:
        ValueError: a level that is not there, a missing value: seeds must be the same throughout.
    """
    if table.isna().any(axis=None):
        raise ValueError("table must hold every level for the same seeds, got missing values")
    pairs = list(pairs)
    if unknown := [x for pair in pairs for x in pair if x not in table.columns]:
        raise ValueError(f"levels must be columns of the table, got {unknown[0]!r}")
    return {f"{a} < {b}": effect(table[b].to_numpy() - table[a].to_numpy()) for a, b in pairs}
