"""Verdicts on the claims that can be decided on graphs, by enumeration or exact formulas."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mae_lib.ledger.verdicts import (
    Effect,
    Verdict,
    all_of,
    difference,
    effect,
    exact,
    extremes_below_best,
    trend,
    weakest,
)
from mae_lib.theory.batch import locate_many
from mae_lib.theory.estimates import HEIGHT, expectations
from mae_lib.theory.families import figure4, pyramid, random_dag, tree
from mae_lib.theory.graph import HierGraph
from mae_lib.theory.levels import heights, level_stats, nodes_by_height
from mae_lib.theory.masks import unit_masks
from mae_lib.theory.rates import tree_rates
from mae_lib.theory.search import locate
from mae_lib.theory.verify import MOST_LATENTS, brute_force_minimal, verify_theorem1

SMALL = {"figure 4, two trees": figure4(), "figure 4, crossed": figure4("crossed"),
         "binary tree": tree(2, 3), "ternary tree": tree(3, 2)}


def every_mask(pixels: int) -> np.ndarray:
    """bool ``[2 ** pixels, pixels]``."""
    return np.array(list(itertools.product([False, True], repeat=pixels)))


def smallest_set(graphs: int, masks: int, seed: int) -> Verdict:
    """K-T1: the search returns the one smallest set that meets Theorem 1.

    On random graphs of up to 12 latents the verifier checks the conditions; on those that are
    small enough every set of latents is tried, with random and with equal dimensions.
    """
    rng = np.random.default_rng(seed)
    wrong, tried, other, brute = 0, 0, 0, 0
    for _ in range(graphs):
        graph = random_dag(rng, int(rng.integers(1, 13)), int(rng.integers(2, 9)),
                           rng.uniform(0.15, 0.6))
        for hidden in rng.random((masks, len(graph.pixels))) < rng.random((masks, 1)):
            target = _named(graph, hidden)
            found = locate(graph, target)
            report = verify_theorem1(graph, target, None, found.c, found.s_m, found.s_mc)
            wrong, tried = wrong + (not report.ok), tried + 1
        if len(graph.latents) <= MOST_LATENTS - 2:  # one mask a graph: every set is tried
            dimensions = dict(zip(graph.latents, rng.uniform(0.1, 9, 12), strict=False))
            for sizes in (dimensions, None):
                smallest = brute_force_minimal(graph, target, None, sizes)
                other, brute = other + (smallest != [found.c]), brute + 1
    return weakest({"conditions": exact(wrong, tried), "smallest": exact(other, max(brute, 1))})


def code_is_c(found: pd.DataFrame) -> Verdict:
    """K-T2: after training the code is a function of c, c one of the code, and nothing else is.

    Args:
        found: the experiment's scores, one row a case and seed, from
            :func:`mae_lib.identification.scores`.
    """
    parts = {}
    by_case = {case: rows.set_index("seed") for case, rows in found.groupby("case")}
    for case in ("squared error", "squared error, linear world", "squared error, latent graph"):
        rows = by_case[case]
        bounds = {"c from code": rows["code > c"] - 0.95, "code from c": rows["c > code"] - 0.95,
                  "nothing from s_mc": 0.02 - rows["leak"]}
        parts |= {f"{case}: {name}": effect(d) for name, d in bounds.items()}
    gain = by_case["squared error"]["code > c"] - by_case["no training"]["code > c"]
    return weakest({"bounds": all_of(parts, 0), "more than an untrained encoder":
                    difference(effect(gain), 0.05)})


def one_pixel(hidden: bool) -> Verdict:
    """K-T3 (one pixel hidden) and K-T4 (one pixel visible): c then holds a low latent.

    The masks of Figure 4 are lost; on small graphs every most conservative, or most aggressive,
    mask takes their place. A violation is a mask whose c holds latents of the top layer only.
    """
    parts = {}
    for name, graph in SMALL.items():
        masks = np.eye(len(graph.pixels), dtype=bool)
        counts = locate_many(graph, masks if hidden else ~masks).counts()
        parts[name] = exact(int(_top_only(graph, counts).sum()), len(counts))
    return weakest(parts)


def some_mask_is_high() -> Verdict:
    """K-T5: some mask that hides part of the pixels locates latents of the top layer only."""
    none = 0
    for graph in SMALL.values():
        masks = every_mask(len(graph.pixels))[1:-1]
        none += not _top_only(graph, locate_many(graph, masks).counts()).any()
    return exact(none, len(SMALL))


def level_against_ratio(ratios: Sequence[float], graphs: int, seed: int) -> dict[str, Verdict]:
    """K-T6: the expected level of c is an inverted U in the masking ratio; one verdict a family.

    Trees by their closed form; random graphs by all their masks; overlapping pyramids by the
    masks of a simulation, which all give the same level.
    """
    found = {}
    for name, shape in {"binary tree, 8 pixels": (2, 3), "binary tree, 1024 pixels": (2, 10),
                        "quadtree, 1024 pixels": (4, 5)}.items():
        curve = [_level(tree_rates(*shape, 0, r)) for r in ratios]
        found[name] = _ends_below(dict(zip(ratios, curve, strict=True)))
    rng = np.random.default_rng(seed)
    rows = [_levels_by_count(random_dag(rng, 8, 8, rng.uniform(0.2, 0.5))) for _ in range(graphs)]
    table = pd.DataFrame([row for row in rows if row is not None])
    found[f"{len(table)} random graphs"] = extremes_below_best(table, 0)
    side, graph = 16, pyramid(16, 4)
    levels = {}
    for ratio in ratios:
        masks = unit_masks(rng, 200, side, 1, ratio).reshape(200, -1)
        levels[ratio] = level_stats(locate_many(graph, masks).counts(),
                                    nodes_by_height(graph)).pooled
    found["overlapping pyramid"] = _ends_below(levels)
    return found


def level_against_unit(ratio: float) -> dict[str, Verdict]:
    """K-T7: the same against the side of the masking unit, on aligned quadtrees (closed form)."""
    found = {}
    for side in (8, 16):
        height = side.bit_length() - 1
        curve = {2**k: _level(tree_rates(4, height, k, ratio, exact=True))
                 for k in range(4)}
        kept = {unit: level for unit, level in curve.items() if level == level}
        verdict = _ends_below(kept)
        found[f"{side} x {side} pixels, units {min(kept)} to {max(kept)}"] = verdict
    return found


def chosen_against_random(branching: int = 2, height: int = 3) -> Verdict:
    """K-T8: the chance that c is one given high latent, for masks chosen from the tree and others.

    A chosen mask hides one child of the latent and all below it. Others are all masks that hide
    half of the pixels.
    """
    graph = tree(branching, height)
    masks = every_mask(len(graph.pixels))
    masks = masks[masks.sum(1) == len(graph.pixels) // 2]
    found, parts = locate_many(graph, masks).c, {}
    tall = heights(graph)
    for i, name in enumerate(graph.latents):
        if tall[name] < 2:
            continue
        child = graph.nodes[graph.children[i][0]]
        below = [p for p in graph.pixels if child in graph.ancestors([p])]
        chosen = float(locate(graph, below).c == {name})
        alone = float((found[:, i] & (found.sum(1) == 1)).mean())
        parts[f"{name} (height {tall[name]}): {chosen:g} against {alone:.3f}"] = (
            Effect(chosen - alone))
    return all_of(parts, 0.05)


def pixels_depend(found: Mapping[str, pd.DataFrame], sesoi: float = 0.05) -> dict[str, Verdict]:
    """K-T10: dependence falls with distance, and is larger within an object than across its border.

    Distances at which some group of images has no such pair are left out.

    Args:
        found: :func:`mae_lib.data.dependence.dependence` by data set.

    Raises:
        ValueError: fewer than three distances are left, too few for a trend.
    """
    verdicts = {}
    for name, rows in found.items():
        for kind, part in rows[rows.pair != "between"].groupby("pair", sort=False):
            table = part.pivot(index="group", columns="distance", values="correlation")
            falling = sorted(table.dropna(axis=1).columns, reverse=True)
            if len(falling) < 3:
                raise ValueError("distances must hold three at which every group of images has "
                                 f"pairs ({name}, {kind}), got {falling[::-1]}")
            verdicts[f"{name}, falling with distance ({kind})"] = trend(table[falling], falling,
                                                                        sesoi)
        if "within" in set(rows.pair):
            wide = rows.pivot(index="group", columns=["pair", "distance"], values="correlation")
            gap = (wide["within"] - wide["between"]).dropna(axis=1).mean(axis=1)
            verdicts[f"{name}, within less between"] = difference(effect(gap), sesoi)
    return verdicts


def _level(rates: pd.DataFrame) -> float:
    """Expected pooled height of c; NaN where nothing is ever located."""
    return float(expectations(rates).set_index("quantity").value[HEIGHT])


def _named(graph: HierGraph, hidden: np.ndarray) -> list:
    return [p for p, h in zip(graph.pixels, hidden, strict=True) if h]


def _top_only(graph: HierGraph, counts: np.ndarray) -> np.ndarray:
    """Masks whose c is not empty and holds latents of the greatest height only."""
    return (counts[:, -1] > 0) & (counts[:, :-1].sum(1) == 0)


def _ends_below(curve: Mapping[float, float]) -> Verdict:
    """The better of the two ends against the best level between them, without sampling error."""
    levels = list(curve.values())
    best = max(levels[1:-1])
    ends = {f"{end:g} < best between": Effect(best - curve[end])
            for end in (min(curve), max(curve))}
    return all_of(ends, 0)


def _levels_by_count(graph: HierGraph) -> dict[int, float] | None:
    """Pooled height of c for each number of hidden pixels; None if c is always empty for one."""
    masks = every_mask(len(graph.pixels))
    counts, hidden = locate_many(graph, masks).counts(), masks.sum(1)
    tall, found = np.arange(counts.shape[1]), {}
    for k in range(1, len(graph.pixels)):
        part = counts[hidden == k]
        if not part.sum():
            return None
        found[k] = float((part @ tall).sum() / part.sum())
    return found
