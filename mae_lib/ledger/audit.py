"""Arithmetic on the printed numbers of Kong et al.: what they can and cannot mean. No run needed.

Image noise is the error of an accuracy because its test set is finite; how much another training
run would differ is printed nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import combinations

import numpy as np
import pandas as pd

from mae_lib.ledger import paper
from mae_lib.ledger.verdicts import Effect, Verdict, exact

# Images of the test sets, as their authors give them; of ObjectNet those of classes in common.
IMAGES = {"IN1K": 50_000, "IN-v2": 10_000, "OJN": 18_574, "IN-R": 30_000, "IN-A": 7_500,
          "IN-S": 50_889}
CONFLICTS = (1280, 1200)  # cue-conflict images: all, and those whose cues differ
RESOLVED = 1.96
HALF = Fraction(1, 2)


def verdicts() -> dict[str, Verdict]:
    """K-B5, Table 2 counts images of one set; K-D7, one model has one precision."""
    return dict(_verdicts())


def findings() -> pd.DataFrame:
    """What the printed numbers show, one row a finding.

    Columns: ``finding``; ``numbers``, recomputed; ``holds``, whether the numbers say it; and
    ``meaning``, what follows for a reader.
    """
    rows = [finding() for finding in FINDINGS]
    return pd.DataFrame(rows, columns=["finding", "numbers", "holds", "meaning"])


def is_count(printed: float, n: int, digits: int) -> bool:
    """Whether a share printed with so many digits can be k/n for a whole k (the GRIM test).

    A half of the last digit may have been rounded either way.
    """
    value, step = Fraction(str(printed)), Fraction(1, 10**digits)
    k = round(value * n)
    return any(abs(Fraction(j, n) - value) <= HALF * step for j in (k - 1, k, k + 1))


def noise_z(a: float, b: float, n: int) -> float:
    """Difference of two accuracies (%) on ``n`` images over its standard error (pooled)."""
    p = (a + b) / 200
    return float((a - b) / 100 / np.sqrt(2 * p * (1 - p) / n))


def nearest(values: Sequence[float], others: Sequence, value: float):
    """The level whose value is nearest to ``value``."""
    return min(zip(others, values, strict=True), key=lambda pair: abs(pair[1] - value))[0]


def logit_residuals(x: Iterable[float], y: Iterable[float]) -> np.ndarray:
    """What is left of the log odds of ``y`` (%) after a line over those of ``x`` (%)."""
    x, y = (np.log(np.asarray(v, float) / (100 - np.asarray(v, float))) for v in (x, y))
    return y - np.polyval(np.polyfit(x, y, 1), x)


@cache
def _verdicts() -> dict[str, Verdict]:
    bias = paper.table("S000.T2")["shape bias"]
    misfits = min(sum(not is_count(v, n, 4) for v in bias) for n in CONFLICTS)
    gaps = _gaps()
    two = exact(sum(gap != 0 for gap in gaps.values()), len(gaps))
    share = {"values that no whole number of images gives": Effect(-misfits / len(bias))}
    return {"K-B5": replace(exact(misfits, len(bias)), p=float("nan"), parts=share),
            "K-D7": replace(two, p=float("nan"), effect=Effect(-max(gaps.values())),
                            parts={name: Effect(-gap) for name, gap in gaps.items()})}


def _ratios() -> pd.DataFrame:
    return paper.series("S000.T1", "ratio_series").set_index("mask ratio")[list(IMAGES)]


def _units() -> pd.DataFrame:
    return paper.series("S000.T1", "mask_unit_series").set_index("mask unit")[list(IMAGES)]


def _patches() -> pd.DataFrame:
    return paper.table("S000.T4").set_index("patch size")[list(IMAGES)]


def _columns() -> dict[str, pd.Series]:
    """Every printed column over the five ratios."""
    tables = [_ratios(), paper.table("S000.T2").set_index("mask ratio"),
              paper.table("S000.T3").set_index("mask ratio")[["AP box", "AP mask"]]]
    return {name: table[name] for table in tables for name in table}


def _gaps() -> dict[str, float]:
    """Table 3 less Table 5 where both speak of ratio .75 and patch 16."""
    first = paper.table("S000.T3").set_index("mask ratio").loc[0.75]
    second = paper.table("S000.T5").set_index("patch size").loc[16]
    return {name: round(float(abs(first[name] - second[name])), 2)
            for name in ("AP box", "AP mask")}


def _sizes() -> tuple:
    units, patches = _units()["IN1K"].tolist(), _patches()["IN1K"].tolist()
    holds = units == sorted(units) and max(patches) == patches[1]
    return ("Section 3.3 says that accuracy rises up to patch size 16 and falls clearly at 32.",
            f"Table 1, masking unit 8, 16, 32: {_list(units)}; Table 4, patch: {_list(patches)}",
            holds, "Untrue of the table that the sentence points to, true of Table 4 only.")


def _resemblance() -> tuple:
    near = {name: nearest(c.drop(0.9), c.drop(0.9).index, c[0.9]) for name, c in _columns().items()}
    return ("The contributions say that .9 resembles .1.",
            "nearest to .9: " + ", ".join(f"{name} {ratio:g}" for name, ratio in near.items()),
            0.1 not in near.values(), "No printed column has .1 as the nearest ratio. What the "
            "numbers do say is weaker: .9 is worse than .75.")


def _best() -> tuple:
    others = {name: c.drop(0.75).max() for name, c in _columns().items() if name != "shape bias"}
    z = {(name, ratio): noise_z(c[0.75], value, IMAGES[name]) for name, c in _ratios().items()
         for ratio, value in c.drop(0.75).items()}
    least = min(z, key=z.get)
    holds = all(_columns()[name][0.75] > value for name, value in others.items())
    return (".75 beats every other ratio in all columns of Tables 1 and 3.",
            f"smallest difference over its image noise: {z[least]:.1f} ({least[0]}, against "
            f"{least[1]:g})", holds and z[least] > RESOLVED,
            "Not an accident of the test images; nothing is known about other training runs.")


def _unresolved() -> tuple:
    found = [f"{name}, {where} {a:g} and {b:g} ({abs(z):.1f})"
             for where, table in {"ratio": _ratios(), "unit": _units(), "patch": _patches()}.items()
             for name, c in table.items() for a, b in combinations(c.index, 2)
             if abs(z := noise_z(c[a], c[b], IMAGES[name])) < RESOLVED]
    return ("Some printed differences are smaller than the noise of the test images.",
            "; ".join(found), bool(found), "No order can be read from these pairs.")


def _beyond() -> tuple:
    table = _ratios()
    left = {name: logit_residuals(table["IN1K"], table[name]) for name in table if name != "IN1K"}
    shown = [f"{name} {_list(left[name], '+.2f')}" for name in ("IN-R", "IN-A", "IN-S")]
    holds = (all(left[name][4] < -0.1 for name in ("IN-R", "IN-A", "IN-S"))
             and all(np.abs(left[name]).max() < 0.03 for name in ("IN-v2", "OJN")))
    return ("On IN-R, IN-A and Sketch ratio .9 loses more than its accuracy predicts; IN-v2 and "
            "ObjectNet add nothing to it.",
            "residual logits over the ratios: " + "; ".join(shown), holds,
            "That too high a ratio costs robustness is the better half of the claim; .75 does not "
            "stand out from .25 and .5.")


def _shape_counts() -> tuple:
    bias = paper.table("S000.T2")["shape bias"].tolist()
    fits = {n: [v for v in bias if is_count(v, n, 4)] for n in CONFLICTS}
    none = not any(all(is_count(v, n, 4) for v in bias) for n in range(1, 1300))
    return ("Appendix C.6 words Table 2 as a share of all cue-conflict images.",
            "; ".join(f"k/{n} gives only {_list(v, '.4f')}" for n, v in fits.items())
            + "; no number of images below 1,300 gives all five" * none,
            none, "The numbers fit a share of decisive answers, that is shape bias, or a mean over "
            "classes.")


def _plateau() -> tuple:
    bias = paper.table("S000.T2").set_index("mask ratio")["shape bias"]
    middle = bias[[0.25, 0.5, 0.75]]
    spread, error = middle.max() - middle.min(), np.sqrt(middle.mean() * (1 - middle.mean()) / 600)
    return ("Shape bias at .25, .5 and .75 is one plateau.",
            f"range {spread:.4f}; standard error of one value about {error:.3f} at 600 decisive "
            "images", spread < RESOLVED * error * np.sqrt(2),
            "Inside the plateau shape bias does not follow accuracy.")


def _one_model() -> tuple:
    gaps = _gaps()
    return ("Tables 3 and 5 both have a model of ratio .75 and patch 16.",
            ", ".join(f"{name} differs by {gap:.2f}" for name, gap in gaps.items()),
            min(gaps.values()) > 1, "The detectors were trained differently, in a way that is not "
            "described: the tables must not be merged.")


def _seen_alike() -> tuple:
    first = _ratios()["IN1K"][0.75] - _ratios()["IN1K"][0.9]
    second = _patches()["IN1K"][16] - _patches()["IN1K"][32]
    return ("Figure 8 calls .75 and .9 alike, Figure 10 patches 16 and 32.",
            f"linear probes differ by {first:.1f} and {second:.1f} points", min(first, second) > 3,
            "The maps and the probes cannot both describe how well classes can be separated.")


def _sketch() -> tuple:
    row = _units().loc[32]
    rest = pd.concat([_ratios(), _units().drop(32), _patches()])
    return ("With unit 32 Sketch is above ImageNet-R.",
            f"{row['IN-S']:.2f} against {row['IN-R']:.2f}; in no other row",
            bool(row["IN-S"] > row["IN-R"] and (rest["IN-S"] < rest["IN-R"]).all()),
            "Published networks do not do this; the row is best treated as unverified.")


def _hard_counts() -> tuple:
    values = sorted({*_ratios()["IN-A"], *_units()["IN-A"], *_patches()["IN-A"]})
    fits = [is_count(v / 100, IMAGES["IN-A"], 4) for v in values]
    return ("ImageNet-A percentages are counts of its 7,500 images.",
            f"{sum(fits)} of {len(fits)} printed values can be k/7500", all(fits),
            "The whole set was scored.")


FINDINGS: tuple[Callable[[], tuple], ...] = (
    _sizes, _resemblance, _best, _unresolved, _beyond, _shape_counts, _plateau, _one_model,
    _seen_alike, _sketch, _hard_counts)


def _list(values: Iterable[float], form: str = ".2f") -> str:
    return ", ".join(format(v, form) for v in values)
