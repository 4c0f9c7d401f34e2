"""Hierarchies to try the theory on: trees, image pyramids, random graphs, the paper's figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mae_lib.theory.graph import HierGraph


def tree(branching: int, height: int) -> HierGraph:
    """A balanced tree over ``branching ** height`` pixels ``x0, x1, ...``; latents ``z<h>:<i>``.

    Raises:
        ValueError: branching below 2 or height below 1.
    """
    if branching < 2 or height < 1:
        raise ValueError("branching must be at least 2 and height at least 1, "
                         f"got {branching} and {height}")
    sizes = [branching ** (height - h) for h in range(height + 1)]
    edges = [(_name(h, i // branching), _name(h - 1, i))
             for h in range(1, height + 1) for i in range(sizes[h - 1])]
    return HierGraph(edges, [_name(0, i) for i in range(sizes[0])])


def quadtree(side: int) -> HierGraph:
    """A tree over ``side x side`` pixels in which each latent owns a square of four.

    Pixels ``x<row>,<column>`` in row-major order, latents ``z<height>:<row>,<column>``.

    Raises:
        ValueError: a side that is no power of two from 2 on.
    """
    if side < 2 or side & (side - 1):
        raise ValueError(f"side must be a power of two from 2 on, got {side}")
    return pyramid(side, window=2)


def pyramid(side: int, window: int = 3, stride: int = 2) -> HierGraph:
    """Layers of latents that each look at ``window x window`` of the layer below, up to one.

    With a window larger than the stride neighbouring latents share children. Windows are centred
    on their stride and cut at the border; names as in :func:`quadtree`.

    Raises:
        ValueError: a side below 2, a stride below 2, a window smaller than the stride.
    """
    if side < 2 or stride < 2 or window < stride:
        raise ValueError("side and stride must be at least 2 and window at least the stride, "
                         f"got side {side}, window {window}, stride {stride}")
    edges, height, size = [], 0, side
    while size > 1:
        above = -(-size // stride)
        spans = [_span(i, window, stride, size) for i in range(above)]
        edges += [(_name(height + 1, i, j), _name(height, r, c))
                  for i in range(above) for j in range(above) for r in spans[i] for c in spans[j]]
        height, size = height + 1, above
    return HierGraph(edges, [_name(0, r, c) for r in range(side) for c in range(side)])


def random_layered(rng: np.random.Generator, widths: Sequence[int], parents: int = 2) -> HierGraph:
    """Layers of these widths, pixels last; each node has up to ``parents`` parents one layer up.

    Raises:
        ValueError: fewer than two layers, an empty layer, no parents.
    """
    if len(widths) < 2 or min(widths) < 1 or parents < 1:
        raise ValueError("widths must name at least two layers of one node or more and parents "
                         f"must be at least 1, got {list(widths)} and {parents}")
    top, edges = len(widths) - 1, []
    for depth in range(1, len(widths)):
        height = top - depth
        for i in range(widths[depth]):
            chosen = rng.choice(widths[depth - 1], min(parents, widths[depth - 1]), replace=False)
            edges += [(_name(height + 1, int(j)), _name(height, i)) for j in chosen]
    latents = [_name(top - d, i) for d in range(top) for i in range(widths[d])]
    return HierGraph(edges, [_name(0, i) for i in range(widths[-1])], latents)


def random_dag(rng: np.random.Generator, latents: int, pixels: int, density: float = 0.4
               ) -> HierGraph:
    """Every pair that may be joined is, with probability ``density``; edges may skip layers.

    Raises:
        ValueError: a density outside [0, 1].
    """
    if not 0 <= density <= 1:
        raise ValueError(f"density must lie in [0, 1], got {density}")
    names = [f"z{i}" for i in range(latents)]
    leaves = [f"x{i}" for i in range(pixels)]
    nodes = names + leaves
    edges = [(a, b) for i, a in enumerate(names) for b in nodes[i + 1:] if rng.random() < density]
    return HierGraph(edges, leaves, names)


def figure2() -> HierGraph:
    """A graph with the nodes of Kong et al.'s Figure 2; most of its edges are our guess."""
    children = {"z1": "z3 z4", "z2": "z4 z5", "z3": "z6 z7", "z4": "z7 z8 z9", "z5": "z9 z10",
                "z6": "x1 x2 x3", "z7": "x4 x5", "z8": "x6", "z9": "x7 x8", "z10": "x9 x10 x11"}
    return _drawn(children, 11)


def figure4(edges: str = "trees") -> HierGraph:
    """A graph with the nodes of Kong et al.'s Figure 4; its edges are our reconstruction.

    Args:
        edges: ``"trees"``, two trees, which fit all that the text says; ``"crossed"``, with latents
            that share children.

    Raises:
        ValueError: another word.
    """
    below = {"z3": "x1 x2", "z4": "x3", "z5": "x4", "z6": "x5 x6"}
    if edges == "trees":
        return _drawn({"z1": "z3 z4", "z2": "z5 z6", **below}, 6)
    if edges == "crossed":
        return _drawn({"z1": "z3 z4 z5", "z2": "z4 z5 z6", **below}, 6)
    raise ValueError(f"edges must be trees or crossed, got {edges!r}")


# The masks of Figure 4: for each panel the pixels that are hidden, reconstructed from the text.
FIGURE4_MASKS = {"conservative": ("x2", "x3"), "aggressive": ("x1", "x2", "x3", "x4", "x5"),
                 "between": ("x1", "x2", "x5", "x6")}


def _drawn(children: dict[str, str], pixels: int) -> HierGraph:
    edges = [(cause, effect) for cause, below in children.items() for effect in below.split()]
    return HierGraph(edges, [f"x{i}" for i in range(1, pixels + 1)])


def _name(height: int, *place: int) -> str:
    where = ",".join(map(str, place))
    return f"z{height}:{where}" if height else f"x{where}"


def _span(i: int, window: int, stride: int, size: int) -> range:
    start = i * stride - (window - stride) // 2
    return range(max(start, 0), min(start + window, size))
