"""How high in the hierarchy the located latents stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from mae_lib.theory.graph import HierGraph, Node


def heights(graph: HierGraph, how: str = "longest") -> dict[Node, int | None]:
    """Height of each node: 0 for pixels, 1 more than a child's above them, None without pixels.

    Args:
        how: over children that have pixels below them, ``"longest"`` takes the greatest height
            and ``"shortest"`` the least.

    Raises:
        ValueError: another word.
    """
    if how not in ("longest", "shortest"):
        raise ValueError(f"how must be longest or shortest, got {how!r}")
    pick = max if how == "longest" else min
    found: list[int | None] = [None] * len(graph.nodes)
    for i in reversed(graph.order):
        below = [found[j] for j in graph.children[i] if found[j] is not None]
        if i >= len(graph.latents):
            found[i] = 0
        elif below:
            found[i] = 1 + pick(below)
    return dict(zip(graph.nodes, found, strict=True))


@dataclass(frozen=True)
class LevelStats:
    """Levels of the sets that many masks locate.

    ``pooled``: sum of all heights over the number of all members; ``per_mask``: mean over masks of
    the mean height, empty sets left out; ``empty``: share of masks that locate nothing; ``size``:
    mean number of members; ``rate[h]``: share of the latents of height h that are located, NaN
    where there is none. ``pooled`` and ``per_mask`` are NaN if every set is empty.
    """

    pooled: float
    per_mask: float
    empty: float
    size: float
    rate: np.ndarray


def level_stats(counts: np.ndarray, nodes: np.ndarray) -> LevelStats:
    """Statistics of located heights (spec: pooled mean height is the headline).

    Args:
        counts: int ``[masks, 1 + H]``, located latents of each height for each mask, as
            :meth:`mae_lib.theory.batch.LocatedMany.counts` gives.
        nodes: int ``[1 + H]``, how many latents of each height there are.

    Raises:
        ValueError: no masks, or shapes that do not fit.
    """
    counts, nodes = np.asarray(counts), np.asarray(nodes)
    if counts.ndim != 2 or not len(counts) or counts.shape[1:] != nodes.shape:
        raise ValueError("counts must be [masks, heights] of at least one mask and nodes "
                         f"[heights], got {list(counts.shape)} and {list(nodes.shape)}")
    tall = np.arange(counts.shape[1])
    sizes, sums = counts.sum(1), counts @ tall
    full = sizes > 0
    rate = np.divide(counts.mean(0), nodes, out=np.full(len(nodes), np.nan), where=nodes > 0)
    return LevelStats(
        pooled=float(sums.sum() / sizes.sum()) if full.any() else np.nan,
        per_mask=float((sums[full] / sizes[full]).mean()) if full.any() else np.nan,
        empty=float(1 - full.mean()), size=float(sizes.mean()), rate=rate)


def nodes_by_height(graph: HierGraph) -> np.ndarray:
    """int ``[1 + H]``: how many latents of each height there are; barren ones count for height 0.
    """
    tall = heights(graph)
    return np.bincount([tall[name] or 0 for name in graph.latents], minlength=1)


def mean_height(graph: HierGraph, names: Iterable[Node]) -> float | None:
    """Mean height of a set of latents, None of an empty one."""
    tall = heights(graph)
    found = [tall[name] for name in names]
    return float(np.mean(found)) if found else None


def locatable(graph: HierGraph, units: Mapping[Node, Node] | None = None) -> frozenset:
    """Latents that are in c for some mask that hides or shows every pixel.

    The overlap lemma, ours: join two children of a latent that have a pixel below them in common
    (or, with ``units``, pixels of one masking unit); the latent can be located just if its
    children with pixels stay in two groups or more.

    Args:
        units: the masking unit of each pixel; its own if None.

    Raises:
        ValueError: a pixel without a unit.
    """
    below = units_below(graph, units)
    return frozenset(name for name, children in zip(graph.latents, graph.children, strict=False)
                     if _groups([below[j] for j in children if below[j]]) > 1)


def units_below(graph: HierGraph, units: Mapping[Node, Node] | None = None) -> list[frozenset]:
    """For each node, by number, the masking units of the pixels that it is or has below it.

    Raises:
        ValueError: a pixel without a unit.
    """
    if units is not None and (lost := [p for p in graph.pixels if p not in units]):
        raise ValueError(f"units must name a unit for every pixel, got none for {lost[0]!r}")
    below: list[frozenset] = [frozenset()] * len(graph.nodes)
    for i in reversed(graph.order):
        if i >= len(graph.latents):
            name = graph.nodes[i]
            below[i] = frozenset([name if units is None else units[name]])
        else:
            below[i] = frozenset().union(*(below[j] for j in graph.children[i]))
    return below


def _groups(sets: list[frozenset]) -> int:
    """Connected components of sets that are joined by what they have in common."""
    groups: list[frozenset] = []
    for members in sets:
        apart = [group for group in groups if group.isdisjoint(members)]
        groups = [*apart, members.union(*(g for g in groups if not g.isdisjoint(members)))]
    return len(groups)
