"""Synthetic measurements with a known truth, as the rules of the ledger get them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

RATIOS, UNITS = (0.1, 0.25, 0.5, 0.75, 0.9), (4, 8, 16)
SHIFTED = ("fresh draw", "odd pose", "renditions", "filtered", "sketch")
Truth = Mapping[tuple[str, str], Mapping]  # {(outcome, series): {level: mean}}


def over(levels, *values) -> dict:
    return dict(zip(levels, values, strict=True))


def papers_world() -> dict:
    """Means under which nearly every claim of Kong et al. is true."""
    ratio = {"ssim": (.3, .35, .4, .5, .45), "fsimc": (.5, .55, .6, .7, .65),
             "psnr": (24, 23, 22, 20, 21), "linear": (47, 53, 60, 67, 63),
             "linear mean": (48, 54, 61, 68, 64), "knn": (37, 43, 50, 57, 53),
             "lift": (1, 1.2, 1.4, 1.6, 1.3), "background": (.5, .45, .4, .35, .45),
             "recall": (.5, .6, .7, .8, .55), "distance": (.2, .27, .34, .4, .4),
             "entropy mean": (.8,) * 5, "entropy head 0": (.7,) * 5,
             "purity": (.4, .5, .6, .7, .7), "separability": (.5, .6, .7, .8, .8),
             "shape bias": (.13, .25, .25, .25, .2), "coverage": (.5,) * 5,
             "box ap": (30, 32, 35, 40, 37), "mask ap": (28, 30, 32, 36, 34),
             "position": (.9, .7, .6, .6, .9), "scale": (.9, .7, .6, .6, .9),
             "colour": (.9, .7, .6, .6, .9), "macs": (15.6, 13, 9, 5, 1.7),
             "error near": (.5,) * 5, "error far": (.8,) * 5, "gradient locality": (.2,) * 5}
    ratio |= {f"{name} hidden": ratio[name] for name in ("ssim", "fsimc", "psnr")}
    units = {"ssim": (.5, .6, .7), "fsimc": (.7, .75, .8), "psnr": (20, 18, 16),
             "linear": (67, 70, 73), "knn": (57, 60, 63), "lift": (1.4, 1.6, 1.3),
             "recall": (.6, .7, .6), "purity": (.5, .6, .7), "separability": (.6, .7, .8)}
    units |= {name: (40, 43, 46) for name in SHIFTED}
    patches = {"ssim": (.5, .52, .25), "fsimc": (.7, .72, .45), "psnr": (20, 19.6, 25),
               "ssim floored": (.1, .2, .3), "fsimc floored": (.1, .2, .3),
               "psnr floored": (9, 7, 5), "linear": (62, 67, 55), "knn": (52, 57, 45),
               "purity": (.5, .7, .7), "separability": (.6, .8, .8), "box ap": (38, 35, 31),
               "mask ap": (36, 33, 29), "seconds": (40, 25, 18), "macs": (9, 3, 1)}
    patches |= {name: (40, 45, 34) for name in SHIFTED} | {"filtered": (40, 40, 34)}
    truth = {(name, "ratio"): over(RATIOS, *v) for name, v in ratio.items()}
    truth |= {(name, "unit"): over(UNITS, *v) for name, v in units.items()}
    truth |= {(name, "coupled"): over(UNITS, *v) for name, v in patches.items()}
    truth |= {(name, "ratio"): over(RATIOS, *_shifted(ratio["linear"])) for name in SHIFTED}
    truth |= {("linear", "margin"): {1: 70, 2: 70}, ("linear", "guided"): {
        "whole": 70, "split": 71, "anti": 60, "shuffled": 66}}
    poor = {"linear": 20, "linear mean": 20, "knn": 20, "purity": .2, "separability": .3,
            "box ap": 3, "mask ap": 3, "position": .1, "scale": .1, "colour": .1, "coverage": .2}
    poor |= dict.fromkeys(SHIFTED, 12)
    return truth | {(name, "untrained"): {0: value} for name, value in poor.items()}


def _shifted(accuracy) -> np.ndarray:
    """Accuracies on a shifted set; .75 lies above the line, both extremes below."""
    logit = np.log(np.array(accuracy) / (100 - np.array(accuracy)))
    return 100 / (1 + np.exp(-(0.9 * logit - 1 + np.array([-.15, 0, 0, .3, -.15]))))


def mirrored(truth: Truth) -> dict:
    """The other way round: within a series the largest mean becomes the smallest."""
    return {key: {level: max(held.values()) + min(held.values()) - v for level, v in held.items()}
            for key, held in truth.items()}


def flat(truth: Truth) -> dict:
    """No level differs from another."""
    return {key: dict.fromkeys(held, float(np.mean(list(held.values()))))
            for key, held in truth.items()}


def measured(truth: Truth, noise: float = 0.01, seeds: int = 5, draw: int = 0,
             dataset: str = "menagerie") -> pd.DataFrame:
    """The tidy frame of a truth; ``noise`` is in units of a series' range (of .1 of its mean if it
    has none)."""
    rng, rows = np.random.default_rng(draw), []
    for (outcome, series), held in truth.items():
        values = np.array(list(held.values()), float)
        scale = np.ptp(values) or 0.1 * abs(values.mean())
        for level, mean in held.items():
            rows += [{"dataset": dataset, "series": series, "level": level, "seed": seed,
                      "outcome": outcome, "value": mean + noise * scale * rng.standard_normal()}
                     for seed in range(seeds)]
    return pd.DataFrame(rows)
