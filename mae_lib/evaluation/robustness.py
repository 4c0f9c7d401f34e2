"""Scores on shifted test sets: which answers count, and what accuracy alone would predict."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import logit

RULES = ("restricted", "full", "projected")


class VariantResult(NamedTuple):
    """Shares in [0, 1] of the ``n`` images whose label is first, or among the first five, and
    ``correct [n]``, bool, of the first."""

    top1: float
    top5: float
    correct: np.ndarray
    n: int


def score_variant(logits: np.ndarray, targets: Sequence[Collection[int]],
                  allowed: Collection[int] | None = None, rule: str = "restricted", *,
                  groups: Sequence[Collection[int]] | None = None) -> VariantResult:
    """Score a K-way classifier on a set that has only some of its classes.

    Args:
        logits: ``[N, K]``.
        targets: N sets of class indices, any of which is right (ObjectNet has labels that stand
            for several classes of ImageNet).
        allowed: the classes of the set; all K if None.
        rule: ``"restricted"``: the best of ``allowed`` is the answer (Hendrycks et al.);
            ``"full"``: the best of all K is, and wrong outside a target; ``"projected"``: the best
            of ``groups``, each with its largest logit, as restricted for the first answer but not
            for the first five.
        groups: of ``"projected"``: disjoint sets of classes, each target one of them.

    Equal logits: the smaller index, or the earlier group, comes first.

    Raises:
        ValueError: logits not ``[N, K]`` or not finite, an unknown rule, an empty target, one with
            a class that is not allowed, groups that are missing or do not fit.
    """
    logits = _checked(logits, len(targets))
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
    truth = _membership(targets, logits.shape[1], "targets")
    inside = np.ones(logits.shape[1], bool)
    if allowed is not None:
        inside = _membership([allowed], logits.shape[1], "allowed")[0]
    if (truth & ~inside).any():
        bad = np.flatnonzero((truth & ~inside).any(0))
        raise ValueError(f"targets must lie in allowed, got class {bad[0]}")
    if rule == "projected":
        logits, truth = _project(logits, truth, groups)
    elif rule == "restricted":
        logits, truth = logits[:, inside], truth[:, inside]
    rank = _rank(logits, truth)
    return VariantResult(float(np.mean(rank == 0)), float(np.mean(rank < 5)), rank == 0, len(rank))


def effective_robustness(inside: Sequence[float], outside: Sequence[float],
                         reference: tuple[Sequence[float], Sequence[float]] | None = None
                         ) -> np.ndarray:
    """How far the accuracy on a shifted set exceeds what the ordinary accuracy predicts.

    Residuals, in logits, from the least-squares line of logit(outside) over logit(inside) (after
    Taori et al. 2020).

    Args:
        inside, outside: accuracies in (0, 1) on the ordinary and on the shifted set, one a setting.
        reference: accuracies that the line is fitted to instead, as a pair like the two above.

    Raises:
        ValueError: unequal lengths; an accuracy of 0, 1 or beyond, which has no logit; fewer than
            three settings, or equal ordinary accuracies: no line.
    """
    x, y = _logits(inside, outside)
    fit_x, fit_y = (x, y) if reference is None else _logits(*reference)
    if len(fit_x) < 3 or np.ptp(fit_x) == 0:
        raise ValueError(f"inside must hold at least 3 accuracies that differ, got {len(fit_x)} "
                         f"with {len(np.unique(fit_x))} values")
    slope, height = np.polyfit(fit_x, fit_y, 1)
    return y - (slope * x + height)


def _checked(logits: np.ndarray, count: int) -> np.ndarray:
    logits = np.asarray(logits)
    if logits.ndim != 2 or len(logits) != count or 0 in logits.shape:
        raise ValueError(f"logits must have shape [{count},K], one row a target and at least one, "
                         f"got {list(logits.shape)}")
    if not np.isfinite(logits).all():
        raise ValueError("logits must be finite, got NaN or infinity")
    return logits


def _membership(sets: Sequence[Collection[int]], classes: int, name: str) -> np.ndarray:
    """Bool ``[len(sets), classes]``."""
    member = np.zeros((len(sets), classes), bool)
    for row, one in zip(member, sets, strict=True):
        indices = np.fromiter(map(int, one), int)
        if not len(indices) or indices.min() < 0 or indices.max() >= classes:
            raise ValueError(f"{name} must be sets of classes in 0..{classes - 1}, not empty, "
                             f"got {sorted(indices.tolist())}")
        row[indices] = True
    return member


def _project(logits: np.ndarray, truth: np.ndarray,
             groups: Sequence[Collection[int]] | None) -> tuple[np.ndarray, np.ndarray]:
    """Largest logit ``[N, G]`` and truth of every group."""
    if not groups:
        raise ValueError(f"groups must be given for the rule 'projected', got {groups}")
    member = _membership(groups, logits.shape[1], "groups")
    if (member.sum(0) > 1).any():
        raise ValueError(f"groups must be disjoint, got class {member.sum(0).argmax()} in two")
    owner = member.argmax(0)[truth.argmax(1)]  # the group of each target's first class
    fits = (member[owner] == truth).all(1)
    if not fits.all():
        raise ValueError(f"each target must be one of groups, "
                         f"got {np.flatnonzero(truth[~fits][0]).tolist()}")
    right = owner[:, None] == np.arange(len(member))
    return np.stack([logits[:, row].max(1) for row in member], axis=1), right


def _rank(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Place of the best right answer ``[N]``, 0 for the first; no sorting of 1000 columns."""
    best = np.where(truth, logits, -np.inf).max(1, keepdims=True)
    first = (truth & (logits == best)).argmax(1)[:, None]
    before = np.arange(logits.shape[1]) < first
    return ((logits > best) | ((logits == best) & before)).sum(1)


def _logits(inside: Sequence[float], outside: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(inside, float), np.asarray(outside, float)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"inside and outside must hold one accuracy a setting, "
                         f"got shapes {list(x.shape)} and {list(y.shape)}")
    for name, values in (("inside", x), ("outside", y)):
        if not ((values > 0) & (values < 1)).all():
            raise ValueError(f"{name} must lie in (0, 1), got values from {values.min():g} to "
                             f"{values.max():g}")
    return logit(x), logit(y)
