"""The closed form of Algorithm 1 for thousands of masks at once, one bit a mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mae_lib.theory.graph import GraphError, HierGraph
from mae_lib.theory.levels import heights

SETS = ("c", "selected", "shared")


@dataclass(frozen=True, eq=False)
class LocatedMany:
    """What each of ``masks`` masks locates; ``words[name]`` is uint64 ``[latents, masks / 64]``.

    Memory: 3 bits a latent and mask.
    """

    graph: HierGraph
    masks: int
    words: dict[str, np.ndarray]

    @property
    def c(self) -> np.ndarray:
        """bool ``[masks, latents]``, latents in the order of the graph."""
        return self.members("c")

    @property
    def selected(self) -> np.ndarray:
        """As ``c``, of what Algorithm 1 collects before pruning."""
        return self.members("selected")

    @property
    def shared(self) -> np.ndarray:
        """As ``c``, of all common ancestors."""
        return self.members("shared")

    def members(self, of: str = "c") -> np.ndarray:
        """bool ``[masks, latents]`` of one of the sets ``"c"``, ``"selected"``, ``"shared"``.

        Raises:
            ValueError: another set.
        """
        return self._bits(self._words(of)).T.astype(bool)

    def counts(self, of: str = "c") -> np.ndarray:
        """int ``[masks, 1 + greatest height]``: how many latents of each height are in the set."""
        words = self._words(of)
        of_name = heights(self.graph)
        tall = np.array([of_name[name] or 0 for name in self.graph.latents], int)
        found = np.zeros((self.masks, 1 + tall.max(initial=0)), int)
        for height in np.unique(tall):
            found[:, height] = self._bits(words[tall == height]).sum(0, dtype=int)
        return found

    def _words(self, of: str) -> np.ndarray:
        if of not in SETS:
            raise ValueError(f"of must be one of {', '.join(SETS)}, got {of!r}")
        return self.words[of]

    def _bits(self, words: np.ndarray) -> np.ndarray:
        return np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1, count=self.masks,
                             bitorder="little")


def locate_many(graph: HierGraph, masks: np.ndarray, visible: np.ndarray | None = None, *,
                units: np.ndarray | None = None, block: int = 2048) -> LocatedMany:
    """:func:`mae_lib.theory.search.locate` for many masks, in O(masks * edges / 64) words.

    Args:
        masks: bool ``[B, pixels]`` in the order of ``graph.pixels``, True for target pixels; with
            ``units``, ``[B, units]``.
        visible: pixels (or units) that are seen, of the same shape; all others if None.
        units: int ``[pixels]``, the masking unit that each pixel belongs to.
        block: masks that are worked on together; more only take more memory.

    Raises:
        TypeError: masks that are not boolean, units that are not integers.
        ValueError: shapes that do not fit, a unit that is not there, a block below 1.
        GraphError: a pixel that is both target and visible.
    """
    masks = _boolean(masks, "masks", None)
    visible = None if visible is None else _boolean(visible, "visible", masks.shape)
    units = _checked_units(graph, masks, units)
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    block = -(-block // 64) * 64
    if visible is not None and (masks & visible).any():
        raise GraphError("masks and visible must not overlap, but do in mask "
                         f"{(masks & visible).any(1).argmax()}")
    plan = _Plan(graph)
    parts = []
    for start in range(0, len(masks), block):
        chosen = slice(start, start + block)
        target = _pack(masks[chosen], units)
        seen = ~target if visible is None else _pack(visible[chosen], units)
        parts.append(plan.locate(target, seen))
    empty = np.zeros((len(graph.latents), 0), np.uint64)
    words = {name: np.concatenate([part[i] for part in parts] or [empty], axis=1)
             for i, name in enumerate(SETS)}
    return LocatedMany(graph, len(masks), words)


class _Plan:
    """The latents by rounds in which all their children are done, with the lists of children."""

    def __init__(self, graph: HierGraph):
        self.latents, self.nodes = len(graph.latents), len(graph.nodes)
        ranks = np.zeros(self.nodes, int)
        for i in reversed(graph.order):
            if graph.children[i]:
                ranks[i] = 1 + max(ranks[j] for j in graph.children[i])
        by_rank = np.argsort(ranks[:self.latents], kind="stable")
        firsts = np.flatnonzero(np.diff(ranks[by_rank], prepend=-1))
        self.rounds = []
        for nodes in np.split(by_rank, firsts[1:]):
            if len(nodes) and graph.children[nodes[0]]:
                lists = [graph.children[i] for i in nodes]
                starts = np.cumsum([0, *map(len, lists[:-1])])
                self.rounds.append((nodes, np.concatenate(lists), starts))

    def locate(self, target: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, ...]:
        """c, selected and shared ``[latents, words]`` from words of the pixels."""
        t, v = (np.concatenate([np.zeros((self.latents, pixels.shape[1]), np.uint64), pixels])
                for pixels in (target, visible))
        c, selected = (np.zeros((self.latents, target.shape[1]), np.uint64) for _ in range(2))
        join = np.bitwise_or.reduceat
        for nodes, children, starts in self.rounds:
            below_t, below_v = t[children], v[children]
            t[nodes], v[nodes] = join(below_t, starts), join(below_v, starts)
            both = t[nodes] & v[nodes]
            c[nodes] = both & ~join(below_t & below_v, starts)
            selected[nodes] = both & join(below_t & ~below_v, starts)
        return c, selected, t[:self.latents] & v[:self.latents]


def _pack(masks: np.ndarray, units: np.ndarray | None) -> np.ndarray:
    """uint64 ``[pixels, words]`` from bool ``[B, pixels]`` or ``[B, units]``."""
    short = -len(masks) % 64
    bytes_ = np.packbits(np.pad(masks, ((0, short), (0, 0))), axis=0, bitorder="little")
    words = np.ascontiguousarray(bytes_.T).view(np.uint64)
    return words if units is None else words[units]


def _boolean(masks: np.ndarray, name: str, shape: tuple | None) -> np.ndarray:
    masks = np.asarray(masks)
    if masks.dtype != bool:
        raise TypeError(f"{name} must be boolean, got {masks.dtype}")
    if masks.ndim != 2 or shape not in (None, masks.shape):
        wanted = "[masks, pixels]" if shape is None else list(shape)
        raise ValueError(f"{name} must have shape {wanted}, got {list(masks.shape)}")
    return masks


def _checked_units(graph: HierGraph, masks: np.ndarray, units: np.ndarray | None
                   ) -> np.ndarray | None:
    pixels = len(graph.pixels)
    if units is None:
        if masks.shape[1] != pixels:
            raise ValueError(f"masks must have a column for each of {pixels} pixels, "
                             f"got {masks.shape[1]}")
        return None
    units = np.asarray(units)
    if not np.issubdtype(units.dtype, np.integer):
        raise TypeError(f"units must be integers, got {units.dtype}")
    if units.shape != (pixels,):
        raise ValueError(f"units must name one unit for each of {pixels} pixels, "
                         f"got shape {list(units.shape)}")
    if pixels and not 0 <= units.min() <= units.max() < masks.shape[1]:
        raise ValueError(f"units must lie in 0..{masks.shape[1] - 1}, the columns of masks, "
                         f"got {units.min()} to {units.max()}")
    return units
