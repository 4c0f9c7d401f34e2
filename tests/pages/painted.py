"""Results of networks whose pictures are of one grey each, so that a mix-up shows."""

from dataclasses import replace

import numpy as np

from mae_lib import runs
from mae_lib.studies import Setting, Sweep

RATIOS, SIZES, COUNT = (0.9, 0.1), (8, 4), 3


def setting(dataset="menagerie", **fields) -> Setting:
    return Setting(dataset=dataset, preset="toy", **fields)


def sweep(settings, value, stale=()) -> Sweep:
    return Sweep(settings, [runs.Result(value(s), {"seconds": 1800}, "cache", list(stale))
                            for s in settings])


def painted(s: Setting) -> dict:
    """Originals of one grey a data set, read-outs of one grey a model."""
    grey = {"menagerie": 51, "fashion_mnist": 102}[s.dataset]
    own = grey + int(100 * s.ratio) + 5 * s.unit + 10 * s.seed
    originals = np.full((COUNT, 3, 4, 4), grey, np.uint8)
    return {"originals": originals, "read_outs": np.full_like(originals, own)}


def both_series() -> list[Setting]:
    """Two data sets, ratios at one unit, then units at one ratio, two seeds."""
    plain = [setting(d, ratio=r, unit=u) for d in ("menagerie", "fashion_mnist")
             for r, u in [(r, 4) for r in RATIOS] + [(0.9, 8)]]
    return [replace(s, seed=seed) for s in plain for seed in (0, 1)]
