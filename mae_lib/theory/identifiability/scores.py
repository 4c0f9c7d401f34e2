"""How well one set of variables is a function of another, on samples that were held out."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

from mae_lib.theory.identifiability.estimators import Estimator
from mae_lib.theory.identifiability.worlds import World

POINTS = 800  # to fit on; as many again are held out, half to choose with and half to report
WIDTHS, RIDGES = (0.3, 1.0, 3.0), (1e-4, 1e-2, 1.0)  # kernel widths times the usual distance


def explained(x: np.ndarray, y: np.ndarray) -> float:
    """R2 of RBF kernel ridge from ``x [2 * POINTS, a]`` to ``y [2 * POINTS, b]``.

    Fitted on the first half; width and ridge chosen on the third quarter, reported on the last.
    """
    x, y = StandardScaler().fit_transform(x), StandardScaler().fit_transform(y)
    fit, choose, report = np.split(np.arange(len(x)), [len(x) // 2, 3 * len(x) // 4])
    scale = 1 / (2 * x.shape[1])  # of standardised inputs: half the mean squared distance
    models = [KernelRidge(kernel="rbf", gamma=scale / width**2, alpha=ridge).fit(x[fit], y[fit])
              for width, ridge in itertools.product(WIDTHS, RIDGES)]
    best = max(models, key=lambda model: r2_score(y[choose], model.predict(x[choose])))
    return float(r2_score(y[report], best.predict(x[report])))


def whitened(code: np.ndarray) -> np.ndarray:
    """The code in its principal directions at unit variance, those without variance dropped.

    Otherwise a leak in directions of little variance would go unseen.
    """
    centred = code - code.mean(0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    kept = sizes > 1e-3 * sizes[0]
    return centred @ directions[kept].T / sizes[kept] * np.sqrt(len(code))


def scores(estimator: Estimator, world: World, seed: int) -> dict[str, float]:
    """R2 between the code and the true latents, and how much of x_m's variance comes out.

    ``code > c``: is c a function of the code; ``c > code``: is the code one of c; ``code > s_m``,
    ``code > s_mc`` beside ``c > s_mc``; ``leak``: what s_mc adds to ``c > code``.
    """
    rng = torch.Generator().manual_seed(seed)
    sample = world(2 * POINTS, rng)
    with torch.no_grad():
        code = estimator.encode(sample.x_mc)
        output = estimator.decode(code, rng)
    white = whitened(code.double().numpy())
    c, s_m, s_mc = (part.double().numpy() for part in sample[:3])
    alone = explained(c, white)
    return {"code > c": explained(white, c), "c > code": alone,
            "code > s_m": explained(white, s_m), "code > s_mc": explained(white, s_mc),
            "c > s_mc": explained(c, s_mc),
            "leak": explained(np.hstack([c, s_mc]), white) - alone,
            "variance": float(output.var(0).sum() / sample.x_m.var(0).sum())}
