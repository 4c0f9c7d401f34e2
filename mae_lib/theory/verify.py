"""Whether given c, s_m and s_mc do what Theorem 1 of Kong et al. says, without searching for them.

What one set of variables determines is computed by forward and backward substitution; nothing
here calls :mod:`mae_lib.theory.search`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, combinations

import networkx as nx

from mae_lib.theory.graph import GraphError, HierGraph, Node, Query
from mae_lib.theory.search import SpouseSet

SEMANTICS = ("invertible", "markov")
MOST_LATENTS = 9  # 512 sets to try


@dataclass(frozen=True)
class Report:
    """Which conditions of Theorem 1 hold.

    ``forward_m``: c and s_m determine the target; ``inverse_m``: the target determines them.
    ``forward_mc``, ``inverse_mc``: the same of the visible side. ``independent``: s_m says nothing
    about c and s_mc. ``minimal``: no member of c can be spared. Beyond the theorem,
    ``nonredundant_mc``: no member of s_mc follows from the others and c; ``markov``: target and
    visible pixels are d-separated by c.
    """

    forward_m: bool
    inverse_m: bool
    forward_mc: bool
    inverse_mc: bool
    independent: bool
    minimal: bool
    nonredundant_mc: bool
    markov: bool
    semantics: str

    @property
    def ok(self) -> bool:
        """Theorem 1's conditions; without invertibility, that c separates and generates x_m."""
        if self.semantics == "markov":
            return self.forward_m and self.markov
        return (self.forward_m and self.inverse_m and self.forward_mc and self.inverse_mc
                and self.independent and self.minimal)


def verify_theorem1(graph: HierGraph, target: Iterable[Node], visible: Iterable[Node] | None,
                    c: Iterable[Node], s_m: Iterable[Node], s_mc: Iterable[Node] | SpouseSet,
                    semantics: str = "invertible", noiseless: Iterable[Node] = ()) -> Report:
    """Check the conditions of Theorem 1 one by one.

    Args:
        c: latents.
        s_m, s_mc: nodes whose exogenous variables are meant; ``s_mc`` may also hold whole latents,
            as Algorithm 2 returns them.
        semantics: ``"invertible"``: a node determines its parents and its own exogenous variable
            (the paper's assumption); ``"markov"``: it does not. Then hand over what Algorithm 1
            has *selected* as c.
        noiseless: nodes without an exogenous variable.

    Raises:
        GraphError: names that are not in the graph, or not of the kind that is meant.
        ValueError: unknown semantics.
    """
    if semantics not in SEMANTICS:
        raise ValueError(f"semantics must be one of {', '.join(SEMANTICS)}, got {semantics!r}")
    query = graph.query(target, visible)
    private, latent = s_mc if isinstance(s_mc, SpouseSet) else (s_mc, ())
    c, s_m, private, latent, noiseless = map(frozenset, (c, s_m, private, latent, noiseless))
    _check(graph, {"c": c, "s_mc": latent}, {"s_m": s_m, "s_mc": private, "noiseless": noiseless})
    facts = _Facts(graph, noiseless, semantics == "invertible")
    return Report(
        forward_m=facts.follow(c, s_m, query.target),
        inverse_m=facts.follow(query.target, (), c, s_m),
        forward_mc=facts.follow(c | latent, private, query.visible),
        inverse_mc=facts.follow(query.visible, (), c | latent, private),
        independent=_independent(graph, s_m, c | latent, private),
        minimal=not any(_valid(facts, query, c - {spared}) for spared in c),
        nonredundant_mc=_nonredundant(facts, c, latent, private),
        markov=separates(graph, c, *query), semantics=semantics)


def brute_force_minimal(graph: HierGraph, target: Iterable[Node],
                        visible: Iterable[Node] | None = None,
                        dimensions: Mapping[Node, float] | None = None,
                        noiseless: Iterable[Node] = ()) -> list[frozenset]:
    """All sets of latents of least total dimension that meet Theorem 1, by trying every set.

    Args:
        dimensions: of each latent, positive; all 1 if None.

    Raises:
        GraphError: a graph with more latents than can be tried; as :func:`verify_theorem1`.
    """
    if len(graph.latents) > MOST_LATENTS:
        raise GraphError(f"graph must have at most {MOST_LATENTS} latents for brute force, "
                         f"got {len(graph.latents)}")
    valid = valid_sets(graph, target, visible, noiseless)
    sizes = [sum(1 if dimensions is None else dimensions[name] for name in s) for s in valid]
    return [s for s, size in zip(valid, sizes, strict=True) if size == min(sizes)]


def valid_sets(graph: HierGraph, target: Iterable[Node], visible: Iterable[Node] | None = None,
               noiseless: Iterable[Node] = ()) -> list[frozenset]:
    """Every set of latents for which some s_m and s_mc meet conditions 1 and 2 of Theorem 1."""
    query = graph.query(target, visible)
    facts = _Facts(graph, frozenset(noiseless), invertible=True)
    subsets = chain.from_iterable(combinations(graph.latents, n)
                                  for n in range(len(graph.latents) + 1))
    return [frozenset(s) for s in subsets if _valid(facts, query, s)]


def separates(graph: HierGraph, c: Iterable[Node], target: Iterable[Node],
              visible: Iterable[Node] | None = None) -> bool:
    """Whether c d-separates target from visible pixels; needs no invertibility.

    Raises:
        GraphError: as :meth:`mae_lib.theory.graph.HierGraph.query`.
    """
    query = graph.query(target, visible)
    if not (query.target and query.visible):
        return True
    return nx.is_d_separator(graph.to_networkx(), set(query.target), set(query.visible), set(c))


class _Facts:
    """What follows from what in a graph."""

    def __init__(self, graph: HierGraph, noiseless: frozenset, invertible: bool):
        self.graph, self.noiseless, self.invertible = graph, noiseless, invertible

    def closure(self, nodes: Iterable[Node], exogenous: Iterable[Node] = ()
                ) -> tuple[set[int], set[int]]:
        """Numbers of the nodes, and of the exogenous variables, that these determine."""
        number, parents, children = self.graph.number, self.graph.parents, self.graph.children
        known: set[int] = set()
        noise = {number[name] for name in chain(exogenous, self.noiseless)}
        waiting = [number[name] for name in nodes]
        waiting += [i for i in noise if not parents[i]]
        while waiting:
            i = waiting.pop()
            if i in known:
                continue
            known.add(i)
            fresh = children[i]
            if self.invertible:
                waiting += parents[i]
                noise.add(i)
            waiting += [j for j in fresh if j in noise and known.issuperset(parents[j])]
        return known, noise

    def follow(self, nodes: Iterable[Node], exogenous: Iterable[Node], wanted: Iterable[Node],
               wanted_noise: Iterable[Node] = ()) -> bool:
        """Whether the first two determine the last two."""
        known, noise = self.closure(nodes, exogenous)
        number = self.graph.number
        return (known.issuperset(number[name] for name in wanted)
                and noise.issuperset(number[name] for name in wanted_noise))


def _valid(facts: _Facts, query: Query, c: Iterable[Node]) -> bool:
    """Conditions 1 and 2 with the best choice of s_m and s_mc.

    That is all that the target determines and the visible side has no part in, and everything that
    the visible side determines.
    """
    if not (facts.follow(query.target, (), c) and facts.follow(query.visible, (), c)):
        return False
    names = facts.graph.nodes
    _, noise = facts.closure(query.target)
    seen = facts.graph.ancestors(query.visible)
    return facts.follow(c, [names[i] for i in noise if names[i] not in seen], query.target)


def _independent(graph: HierGraph, s_m: frozenset, nodes: frozenset, private: frozenset) -> bool:
    """An exogenous variable reaches just the node it belongs to and what descends from that."""
    return not s_m & private and not s_m & graph.ancestors(nodes)


def _nonredundant(facts: _Facts, c: frozenset, latent: frozenset, private: frozenset) -> bool:
    return not c & latent and not any(
        facts.follow(c | latent, private - {name}, (), [name]) for name in private
    ) and not any(facts.follow(c | latent - {name}, private, [name]) for name in latent)


def _check(graph: HierGraph, latents: Mapping[str, frozenset], nodes: Mapping[str, frozenset]
           ) -> None:
    for names, known, kind in ((latents, graph.latents, "latents"), (nodes, graph.nodes, "nodes")):
        for argument, members in names.items():
            if unknown := sorted(map(repr, members.difference(known))):
                raise GraphError(f"{argument} must hold {kind} of the graph, got {unknown[0]}")
