"""Which latents a mask lets a masked autoencoder learn (Kong et al., Algorithms 1 and 2).

:func:`locate` is a closed form of ours, one sweep over the graph; :func:`locate_literal` are the
loops of the paper with their ambiguities settled. They agree on every graph that was tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from mae_lib.theory.graph import GraphError, HierGraph, Node


@dataclass(frozen=True)
class Located:
    """What target and visible pixels share, as sets of node names.

    ``c``: the smallest set of latents that carries all of it (Theorem 1). ``selected``: what
    Algorithm 1 collects before it prunes. ``shared``: all common ancestors. ``s_m`` and ``s_mc``
    name nodes whose *exogenous* variables belong to the target's, and the visible pixels', side
    alone; for ``s_mc`` this is the variant without redundancy, see :func:`algorithm2` for the
    paper's.
    """

    c: frozenset
    selected: frozenset
    shared: frozenset
    s_m: frozenset
    s_mc: frozenset


def locate(graph: HierGraph, target: Iterable[Node],
           visible: Iterable[Node] | None = None) -> Located:
    """Closed form of Algorithm 1 in O(nodes + edges), ours.

    A latent is shared if it has a target and a visible pixel below it, and
    it is in c if moreover no child of it has both.

    Args:
        target: pixels to be reconstructed.
        visible: pixels that are seen; all others if None. Pixels in neither
            set are ignored.

    Raises:
        GraphError: names that are no pixels of the graph, a pixel on both sides.
    """
    below = sides_below(graph, *graph.query(target, visible))
    names, children = graph.nodes, graph.children
    sides = dict(zip(names, below, strict=True))
    shared = [i for i in range(len(graph.latents)) if below[i] == BOTH]
    return Located(
        c=frozenset(names[i] for i in shared
                    if all(below[j] != BOTH for j in children[i])),
        selected=frozenset(names[i] for i in shared
                           if any(below[j] == TARGET for j in children[i])),
        shared=frozenset(names[i] for i in shared),
        s_m=frozenset(name for name in names if sides[name] == TARGET),
        s_mc=frozenset(name for name in names if sides[name] == VISIBLE))


TARGET, VISIBLE, BOTH = 1, 2, 3


def sides_below(graph: HierGraph, target: Iterable[Node],
                visible: Iterable[Node]) -> list[int]:
    """Which kinds of pixels each node is or has below it; 0 for none."""
    sides = [0] * len(graph.nodes)
    for name in target:
        sides[graph.number[name]] = TARGET
    for name in visible:
        sides[graph.number[name]] = VISIBLE
    parents = graph.parents
    for i in reversed(graph.order):
        if side := sides[i]:
            for j in parents[i]:
                sides[j] |= side
    return sides


class Step(NamedTuple):
    """One round of Algorithm 1's climb from one target pixel.

    ``front``: nodes whose exogenous variables join s_m in this round; ``parents``: all of theirs;
    ``found``: those parents that are ancestors of a visible pixel, where the climb stops.
    """

    pixel: Node
    front: frozenset
    parents: frozenset
    found: frozenset


def climb(graph: HierGraph, target: Iterable[Node],
          visible: Iterable[Node] | None = None) -> Iterator[Step]:
    """Algorithm 1's loops, from each target pixel up to shared nodes.

    Raises:
        GraphError: as :func:`locate`.
    """
    query = graph.query(target, visible)
    above_visible = graph.ancestors(query.visible)
    for pixel in (name for name in graph.pixels if name in query.target):
        front = frozenset([pixel])
        while front:
            parents = frozenset().union(*(parents_of(graph, n) for n in front))
            yield Step(pixel, front, parents, parents & above_visible)
            front = parents - above_visible


def prune(graph: HierGraph, selected: Iterable[Node]) -> frozenset:
    """Algorithm 1's last loop: drop latents above other selected ones."""
    selected = frozenset(selected)
    return frozenset(name for name in selected if not any(
        name in graph.ancestors([other]) for other in selected - {name}))


def locate_literal(graph: HierGraph, target: Iterable[Node],
                   visible: Iterable[Node] | None = None) -> Located:
    """Algorithm 1 as printed: climb, collect, prune. For teaching and tests; slow.

    Raises:
        GraphError: as :func:`locate`.
    """
    query = graph.query(target, visible)
    selected, s_m = set(), set()
    for step in climb(graph, *query):
        s_m |= step.front
        selected |= step.found
    hidden_side, visible_side = graph.ancestors(query.target), graph.ancestors(query.visible)
    return Located(prune(graph, selected), frozenset(selected), hidden_side & visible_side,
                   frozenset(s_m), visible_side - hidden_side)


class SpouseSet(NamedTuple):
    """Algorithm 2's s_mc: nodes whose exogenous variables it holds, and latents held whole."""

    exogenous: frozenset
    latent: frozenset


class Round(NamedTuple):
    """One round of Algorithm 2's climb from one visible pixel.

    ``front``: nodes whose exogenous variables join s_mc; ``spouses``: latents that join it whole,
    since they have a child here together with a member of c.
    """

    pixel: Node
    front: frozenset
    spouses: frozenset


def algorithm2(graph: HierGraph, visible: Iterable[Node], c: Iterable[Node]) -> SpouseSet:
    """The paper's s_mc, with the set of next nodes emptied in every round.

    Raises:
        GraphError: names that are not in the graph.
    """
    exogenous, latent = set(), set()
    for _, front, spouses in rounds(graph, visible, c):
        exogenous |= front
        latent |= spouses
    return SpouseSet(frozenset(exogenous), frozenset(latent))


def rounds_as_printed(graph: HierGraph, visible: Iterable[Node], c: Iterable[Node],
                      most: int = 1000) -> int:
    """How many rounds Algorithm 2 takes as it is printed, where nothing empties the next nodes.

    Raises:
        GraphError: names that are not in the graph.
        RuntimeError: it has not ended after ``most`` rounds.
    """
    count = 0
    for count, (pixel, *_) in enumerate(rounds(graph, visible, c, forget=False), 1):
        if count == most:
            raise RuntimeError("Algorithm 2 as printed must end, but has not after "
                               f"{most} rounds (pixel {pixel!r})")
    return count


def rounds(graph: HierGraph, visible: Iterable[Node], c: Iterable[Node],
           *, forget: bool = True) -> Iterator[Round]:
    """Algorithm 2's loops, round by round.

    Args:
        forget: empty the set of next nodes in every round. In print that
            line is missing.

    Raises:
        GraphError: names that are not in the graph.
    """
    query, c = graph.query((), visible), frozenset(c)
    if unknown := sorted(map(repr, c.difference(graph.latents))):
        raise GraphError(f"c must hold latents of the graph, got {unknown[0]}")
    for pixel in (name for name in graph.pixels if name in query.visible):
        front, following = frozenset([pixel]), set()
        while front:
            if forget:
                following = set()
            spouses = set()
            for name in front:
                parents = parents_of(graph, name)
                for known in parents & c:
                    spouses |= parents - {known}
                following |= parents - c
            yield Round(pixel, front, frozenset(spouses))
            front = frozenset(following)


def parents_of(graph: HierGraph, name: Node) -> frozenset:
    """The names of a node's parents."""
    return frozenset(graph.nodes[i] for i in graph.parents[graph.number[name]])
