"""A hierarchy of latent variables with pixels at its foot (Kong et al., section 2.1)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

import networkx as nx
import numpy as np

Node = Hashable


class GraphError(ValueError):
    """A graph, or a query on it, that the theory does not speak of; the message names the node."""


class Query(NamedTuple):
    """Two disjoint sets of pixels: to be reconstructed, and seen. Other pixels are ignored."""

    target: frozenset
    visible: frozenset


class HierGraph:
    """A directed acyclic graph of latents and pixels; edges go from cause to effect.

    Nodes are hashable names. ``nodes`` holds the latents, then the pixels, each in the order given
    (latents that only edges name in the order of the edges); a node's place there is its number.
    ``parents[i]`` and ``children[i]`` are lists of numbers, ``order`` lists all numbers with every
    parent before its children. Equal edges count once.

    Args:
        edges: pairs ``(cause, effect)``.
        pixels: names of the pixels.
        latents: names of the latents; every other name in the edges if None.

    Raises:
        GraphError: a directed cycle, a pixel with a child, a name that is twice a pixel, twice a
            latent or both, an edge that names an unknown node.
    """

    def __init__(self, edges: Iterable[tuple[Node, Node]], pixels: Iterable[Node],
                 latents: Iterable[Node] | None = None):
        edges = list(dict.fromkeys(_pair(edge) for edge in edges))
        self.pixels = _distinct(pixels, "pixel")
        known = frozenset(self.pixels)
        if latents is None:
            latents = dict.fromkeys(name for edge in edges for name in edge if name not in known)
        self.latents = _distinct(latents, "latent")
        if both := known.intersection(self.latents):
            raise GraphError(f"a node must be a latent or a pixel, got both for {_one(both)!r}")
        self.nodes = self.latents + self.pixels
        self.number = {name: i for i, name in enumerate(self.nodes)}
        self.parents: list[list[int]] = [[] for _ in self.nodes]
        self.children: list[list[int]] = [[] for _ in self.nodes]
        for cause, effect in edges:
            self._connect(cause, effect)
        self.order = self._sorted()

    def _connect(self, cause: Node, effect: Node) -> None:
        try:
            i, j = self.number[cause], self.number[effect]
        except KeyError as error:
            raise GraphError(f"edges must join known nodes, got {error.args[0]!r} in "
                             f"{cause!r} -> {effect!r}") from None
        if i >= len(self.latents):
            raise GraphError(f"a pixel must have no child, got {cause!r} -> {effect!r}")
        self.children[i].append(j)
        self.parents[j].append(i)

    def _sorted(self) -> list[int]:
        """Kahn's algorithm: all nodes, causes before effects."""
        missing = [len(parents) for parents in self.parents]
        order = [i for i, count in enumerate(missing) if not count]
        for i in order:  # grows while it is walked over
            for j in self.children[i]:
                missing[j] -= 1
                if not missing[j]:
                    order.append(j)
        if len(order) < len(self.nodes):
            raise GraphError("edges must not form a directed cycle, got one through "
                             f"{self._on_cycle(missing)!r}")
        return order

    def _on_cycle(self, missing: list[int]) -> Node:
        """Walk up among nodes that wait for a parent: what comes twice lies on a cycle."""
        i, seen = next(i for i, count in enumerate(missing) if count), set()
        while i not in seen:
            seen.add(i)
            i = next(j for j in self.parents[i] if missing[j])
        return self.nodes[i]

    @classmethod
    def from_networkx(cls, graph: nx.DiGraph, pixels: Iterable[Node] | None = None) -> HierGraph:
        """A networkx graph; pixels are given, or carry ``kind="pixel"``.

        Raises:
            GraphError: as the class; also an undirected graph, no pixels named at all, a pixel
                that is not in the graph.
        """
        if not graph.is_directed():
            raise GraphError("graph must be directed, got an undirected one")
        if pixels is None:
            pixels = [name for name, kind in graph.nodes(data="kind") if kind == "pixel"]
            if not pixels and len(graph):
                raise GraphError('pixels must be given or carry kind="pixel", got neither')
        pixels = list(pixels)
        if unknown := [name for name in pixels if name not in graph]:
            raise GraphError(f"pixels must be nodes of the graph, got {unknown[0]!r}")
        known = set(pixels)
        return cls(graph.edges(), pixels, [name for name in graph if name not in known])

    def to_networkx(self) -> nx.DiGraph:
        """The same as a networkx graph whose nodes carry ``kind``: ``"latent"`` or ``"pixel"``."""
        graph = nx.DiGraph()
        graph.add_nodes_from(self.latents, kind="latent")
        graph.add_nodes_from(self.pixels, kind="pixel")
        graph.add_edges_from(self.edges)
        return graph

    @property
    def edges(self) -> list[tuple[Node, Node]]:
        """Pairs of names, by the number of the cause."""
        return [(self.nodes[i], self.nodes[j])
                for i, children in enumerate(self.children) for j in children]

    def ancestors(self, names: Iterable[Node]) -> frozenset:
        """An*(names): these nodes and all their ancestors."""
        reached = {self._number(name) for name in names}
        waiting = list(reached)
        while waiting:
            fresh = set(self.parents[waiting.pop()]) - reached
            reached |= fresh
            waiting += fresh
        return frozenset(self.nodes[i] for i in reached)

    def query(self, target: Iterable[Node], visible: Iterable[Node] | None = None) -> Query:
        """Check a query; without ``visible``, every other pixel is seen.

        Raises:
            GraphError: a name that is no pixel of this graph, or a pixel on both sides.
        """
        target = self._pixels(target, "target")
        if visible is None:
            return Query(target, frozenset(self.pixels) - target)
        visible = self._pixels(visible, "visible")
        if both := target & visible:
            raise GraphError(f"target and visible must not overlap, got {_one(both)!r} in both")
        return Query(target, visible)

    def pixel_mask(self, names: Iterable[Node]) -> np.ndarray:
        """bool ``[pixels]``, in the order of ``pixels``: which of them are named."""
        chosen = self._pixels(names, "names")
        return np.fromiter((name in chosen for name in self.pixels), bool, len(self.pixels))

    def _pixels(self, names: Iterable[Node], argument: str) -> frozenset:
        if isinstance(names, str):  # else its letters would be taken for names
            raise GraphError(f"{argument} must be a collection of pixel names, got {names!r}")
        chosen = frozenset(names)
        for name in chosen:
            if self._number(name) < len(self.latents):
                raise GraphError(f"{argument} must hold pixels only, got the latent {name!r}")
        return chosen

    def _number(self, name: Node) -> int:
        try:
            return self.number[name]
        except KeyError:
            raise GraphError(f"names must be nodes of the graph, got {name!r}") from None

    def __repr__(self) -> str:
        return (f"HierGraph({len(self.latents)} latents, {len(self.pixels)} pixels, "
                f"{sum(map(len, self.children))} edges)")


def _pair(edge) -> tuple[Node, Node]:
    try:
        cause, effect = edge
    except (TypeError, ValueError):
        raise GraphError(f"edges must be pairs (cause, effect), got {edge!r}") from None
    return cause, effect


def _distinct(names: Iterable[Node], kind: str) -> tuple:
    names = tuple(names)
    if len(set(names)) < len(names):
        seen = set()
        twice = next(name for name in names if name in seen or seen.add(name))
        raise GraphError(f"a {kind} must be named once, got {twice!r} twice")
    return names


def _one(names: Iterable[Node]) -> Node:
    """The same one of several names on every run, so that a message does not change."""
    return min(names, key=repr)
