"""How deep nodes stand, and what a layout is told of long arrows.

Graphviz makes a node of its own wherever an arrow passes a rank. A chain of a hundred tasks that all take the result of the
first took it 20 s, and one of two hundred minutes. Of places a long arrow says only that its target is below its source, and
a short one can say that as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from graphlib import TopologicalSorter

from flowy_cli.pictures.nodes import Arrow, Flow, Graph, Node

_SHORT = 2
"""Ranks. Those arrows are laid out as they are: what passes one rank pulls its ends together, and costs little."""


def ranks_of(graph: Graph) -> Mapping[str, int]:
    """The rank of each node, from 0: below all that is above it, and above what is below it as closely as a first node may."""
    heights = {node.id: _height(node) for node in graph.nodes}
    above: dict[str, list[str]] = {node.id: [] for node in graph.nodes}
    below: dict[str, list[str]] = {node.id: [] for node in graph.nodes}
    for arrow in graph.arrows:
        above[arrow.target].append(arrow.source)
        below[arrow.source].append(arrow.target)
    ranks: dict[str, int] = {}
    for id_ in TopologicalSorter(above).static_order():
        ranks[id_] = max((ranks[source] + heights[source] for source in above[id_]), default=0)
    for id_, targets in below.items():
        if targets and not above[id_]:
            ranks[id_] = min(ranks[target] for target in targets) - heights[id_]
    return ranks


def _height(node: Node) -> int:
    return 1 if node.inner is None else _ranks_in(node.inner)


def _ranks_in(graph: Graph) -> int:
    ranks = ranks_of(graph)
    return max(ranks[node.id] + _height(node) for node in graph.nodes)


def passed(graph: Graph) -> int:
    """How many ranks all arrows pass together, those of inner graphs among them."""
    ranks = ranks_of(graph)
    own = sum(ranks[arrow.target] - ranks[arrow.source] - 1 for arrow in graph.arrows)
    return own + sum(passed(node.inner) for node in graph.nodes if node.inner is not None)


def shortened(graph: Graph) -> Sequence[Arrow]:
    """Short arrows that put each node of the graph, those inside others aside, below all that is above it."""
    ranks = ranks_of(graph)
    nearest: dict[str, str] = {}
    for arrow in graph.arrows:
        known = nearest.get(arrow.target)
        if known is None or ranks[known] < ranks[arrow.source]:
            nearest[arrow.target] = arrow.source
    kept: list[Arrow] = []
    long: list[Arrow] = []
    for arrow in graph.arrows:
        is_short = ranks[arrow.target] - ranks[arrow.source] <= _SHORT or nearest[arrow.target] == arrow.source
        (kept if is_short else long).append(arrow)
    return list(dict.fromkeys([*kept, *_stand_ins(long, ranks, nearest)]))


def _stand_ins(arrows: Sequence[Arrow], ranks: Mapping[str, int], nearest: Mapping[str, str]) -> Iterator[Arrow]:
    """For each arrow one to a node above its target, by the nearest nodes, that is below its source as closely as can be."""
    passed_from: dict[str, set[str]] = {}
    for arrow in arrows:
        seen = passed_from.setdefault(arrow.source, set())
        node = arrow.target
        above = nearest.get(node)
        while node not in seen and above is not None and ranks[above] > ranks[arrow.source]:
            seen.add(node)
            node, above = above, nearest.get(above)
        if node not in seen and above != arrow.source:
            seen.add(node)
            yield Arrow(arrow.source, node, Flow.ORDER)
