"""Rules about how outcomes go together: over settings, over test sets, over masking ratios."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from mae_lib.ledger.composites import RATIOS, UNITS
from mae_lib.ledger.guards import FACTORS, PRECISIONS, SEPARATION, SHIFTED, beats_untrained
from mae_lib.ledger.outcomes import COUPLED, LEAST, RATIO, UNIT, Cell, NoVerdict, Outcomes, shared
from mae_lib.ledger.verdicts import (
    NOT_TESTED,
    VOID,
    Effect,
    Verdict,
    all_of,
    effect,
    equivalent,
    nearest,
)

SETTINGS: tuple[Cell, ...] = (*((RATIO, r) for r in RATIOS), *((UNIT, u) for u in UNITS[1:]),
                              *((COUPLED, p) for p in UNITS[1:]))
LEAST_SETTINGS = 8
# Contrasts over the five ratios: mean change for each step from .1 to .75, and the step to .9.
STEPS = {"0.1 to 0.75": (-0.3, -0.1, 0.1, 0.3, 0), "0.75 to 0.9": (0, 0, 0, -1, 1)}
# What .9 may resemble .1 in; negative MSE is PSNR once more.
RESEMBLING = ("linear", *SHIFTED, "shape bias", *PRECISIONS, "knn", "ssim", "fsimc", "psnr",
              "lift", "recall", "distance", *SEPARATION, *FACTORS)


def metrics_disagree(found: Outcomes, sesoi: tuple[float, ...], structural: str = "ssim"
                     ) -> Verdict:
    """K-R10: over settings, structural and pixel metrics rank models the other way round."""
    least, = sesoi
    return all_of({f"−τ({structural}, psnr)": negated(taus(found, structural, "psnr"))}, least)


def structure_probes_better(found: Outcomes, sesoi: tuple[float, ...], structural: str = "ssim"
                            ) -> Verdict:
    """K-R11: over settings, accuracy rises with the structural metric and falls with PSNR."""
    least, = sesoi
    beats_untrained(found, "linear", {r: (RATIO, r) for r in RATIOS})
    return all_of({f"τ({structural}, linear)": taus(found, structural, "linear"),
                   "−τ(psnr, linear)": negated(taus(found, "psnr", "linear"))}, least)


def taus(found: Outcomes, a: str, b: str) -> Effect:
    """Kendall's tau of two outcomes over the settings of all three series, one value a seed.

    Raises:
        NoVerdict: fewer than eight settings, or outcomes that are constant over them.
    """
    cells = [cell for cell in SETTINGS
             if min(len(found.values(o, *cell)) for o in (a, b)) >= LEAST]
    if len(cells) < LEAST_SETTINGS:
        raise NoVerdict(NOT_TESTED, f"needs eight settings with {a!r} and {b!r} of three training "
                                    f"runs, has {len(cells)}")
    both = shared({(o, *cell): found.runs(o, cell) for o in (a, b) for cell in cells})
    values = [stats.kendalltau(row[:len(cells)], row[len(cells):]).statistic
              for row in both.to_numpy()]
    if np.isnan(values).any():
        raise NoVerdict(VOID, f"{a!r} or {b!r} is the same in all settings")
    return effect(values)


def same_signs_hidden(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """K-R12: what the unmasked read-out does over the ratios, predictions of hidden patches do too.

    For each metric two contrasts: the mean change for a step of the ratio from .1 to .75, and the
    step to .9. Those that the unmasked read-out decides (a one-sided limit excludes 0) must have
    the same sign where each patch is predicted while hidden.

    Raises:
        NoVerdict: void if the unmasked read-out decides none of them.
    """
    parts, sesois, open_ = {}, {}, []
    for metric, least in {"ssim": sesoi[0], "fsimc": 0.005, "psnr": 0.25}.items():
        plain, hidden = (found.table(name, {r: (RATIO, r) for r in RATIOS})
                         for name in (metric, f"{metric} hidden"))
        for step, weights in STEPS.items():
            before = effect(plain.to_numpy() @ weights)
            if before.limit(-1) <= 0 <= before.limit(+1):
                open_.append(f"{metric}, {step}")
                continue
            sign = np.sign(before.mean)
            name = f"{metric}, {step}, {'rising' if sign > 0 else 'falling'}"
            parts[name], sesois[name] = effect(sign * (hidden.to_numpy() @ weights)), least
    if not parts:
        raise NoVerdict(VOID, "the unmasked read-out shows no direction that could be the same")
    caveat = f"no direction in the unmasked read-out: {'; '.join(open_)}" if open_ else ""
    return replace(all_of(parts, sesois), caveat=caveat)


def robust_beyond_accuracy(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """K-V11: .75 lies higher above the line through the logits than .1, and than .9.

    For each seed and shifted set a line of the logit of its accuracy over that of the plain test
    set is fitted through the five ratios; the residuals are averaged over the sets.

    Raises:
        NoVerdict: fewer than two shifted sets, or an accuracy of 0 or 100.
    """
    cells = {r: (RATIO, r) for r in RATIOS}
    there = [o for o in SHIFTED if all(found.values(o, *cell) for cell in cells.values())]
    if len(there) < 2:
        raise NoVerdict(NOT_TESTED, f"needs two shifted test sets at every ratio, has {len(there)}")
    beats_untrained(found, "linear", cells)
    tables = {o: found.table(o, cells) for o in ("linear", *there)}
    seeds = shared({o: table[RATIOS[0]].to_dict() for o, table in tables.items()}).index
    rows = {o: logits(table.loc[seeds]) for o, table in tables.items()}
    mean = sum(residuals(rows["linear"], rows[o]) for o in there) / len(there)
    missing = ", ".join(o for o in SHIFTED if o not in there)
    verdict = all_of({f"{end:g} < 0.75": effect(mean[0.75] - mean[end]) for end in (0.1, 0.9)},
                     sesoi[0])
    return replace(verdict, caveat=f"without {missing}" if missing else "")


def logits(percent: pd.DataFrame) -> pd.DataFrame:
    """Log odds of accuracies in percent.

    Raises:
        NoVerdict: void, where one is 0 or 100.
    """
    if ((percent <= 0) | (percent >= 100)).any(axis=None):
        raise NoVerdict(VOID, "an accuracy of 0 or 100 % has no logit")
    return np.log(percent / (100 - percent))


def residuals(x: pd.DataFrame, y: pd.DataFrame) -> pd.DataFrame:
    """What is left of ``y`` after a line over ``x``, fitted for each row, ``[seeds, levels]``."""
    dx, dy = x.sub(x.mean(axis=1), axis=0), y.sub(y.mean(axis=1), axis=0)
    spread = (dx**2).sum(axis=1)
    if (spread == 0).any():
        raise NoVerdict(VOID, "all settings have the same accuracy, so that there is no line")
    return dy.sub(dx.mul((dx * dy).sum(axis=1) / spread, axis=0))


def extremes_resemble(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """K-X1: of the other four ratios, .1 is the nearest to .9 more often than by chance.

    One trial is one outcome of one seed; similarity of the models themselves (CKA) is one outcome
    more. Outcomes of one seed are not independent, so the test is too sure of itself. The claim has
    no smallest effect: it counts as one of interest if .1 is the nearest in most trials.

    Raises:
        NoVerdict: fewer than three outcomes at all five ratios.
    """
    found_by = {name: nearest_ratios(table) for name, table in resembling(found).items()}
    if len(found_by) < 3:
        raise NoVerdict(NOT_TESTED, f"needs three outcomes at every ratio, has {len(found_by)}")
    trials = pd.concat(found_by)
    verdict = nearest(int((trials == RATIOS[0]).sum()), len(trials), 1 / (len(RATIOS) - 1))
    counts = ", ".join(f"{ratio:g} in {int((trials == ratio).sum())}" for ratio in RATIOS[:-1])
    return replace(verdict, caveat=f"nearest to 0.9: {counts} of {len(trials)} "
                                   f"({len(found_by)} outcomes)")


def resembling(found: Outcomes) -> dict[str, pd.DataFrame]:
    """Distances from .9, ``[seeds, the other four ratios]``, of every outcome that has them."""
    tables = {}
    for outcome in RESEMBLING:
        with suppress(NoVerdict):
            table = found.table(outcome, {r: (RATIO, r) for r in RATIOS})
            tables[outcome] = table[list(RATIOS[:-1])].sub(table[RATIOS[-1]], axis=0).abs()
    with suppress(NoVerdict):
        tables["cka"] = 1 - shared({r: found.runs(f"cka to {r:g}", (RATIO, RATIOS[-1]))
                                    for r in RATIOS[:-1]})
    return tables


def nearest_ratios(distances: pd.DataFrame) -> pd.Series:
    """The ratio at the least distance, for each row; of equal ones the largest."""
    return distances[sorted(distances, reverse=True)].idxmin(axis=1)


def same_as_lowest(outcome: str, margin: float) -> Callable[..., Verdict]:
    """The other reading of K-X1: .9 and .1 differ by less than a margin in one outcome."""
    def test(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
        table = found.table(outcome, {r: (RATIO, r) for r in (RATIOS[0], RATIOS[-1])})
        return equivalent(effect(table[RATIOS[-1]] - table[RATIOS[0]]), margin)
    return test


def negated(found: Effect) -> Effect:
    return replace(found, mean=-found.mean)
