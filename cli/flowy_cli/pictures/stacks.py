"""Which calls of a graph look the same: same task, same standing, and arrows from and to what looks the same.

Colours are refined until they don't change any more, as in every partition refinement: at first the colour is what the
node is by itself, then what it is beside the colours around it. Nodes of one colour are never above each other.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence

from flowy_cli.pictures.nodes import Graph, Node

_End = tuple[str, str]  # why an arrow is there, and the node at its other end

_ROUNDS = 64
"""A long chain needs a round for each of its links, and nothing in it is ever stacked: then each node stays alone."""


def stacks_of(graph: Graph, more_than: int) -> list[Sequence[str]]:
    """The ids of nodes that look the same, where they are more than so many."""
    above: dict[str, list[_End]] = defaultdict(list)
    below: dict[str, list[_End]] = defaultdict(list)
    for arrow in graph.arrows:
        below[arrow.source].append((arrow.flow, arrow.target))
        above[arrow.target].append((arrow.flow, arrow.source))
    colours = _numbered({node.id: _own(node) for node in graph.nodes})
    for _ in range(_ROUNDS):
        refined = _numbered(
            {id_: (colour, _seen(above[id_], colours), _seen(below[id_], colours)) for id_, colour in colours.items()}
        )
        is_stable = len(set(refined.values())) == len(set(colours.values()))
        colours = refined
        if is_stable:
            return [ids for ids in _classes(colours).values() if len(ids) > more_than]
    return []


def _own(node: Node) -> Hashable:
    if not node.calls:
        return node.id
    call = node.calls[0]
    return call.task, call.standing, call.tries, len(call.attempts)


def _seen(ends: Iterable[_End], colours: Mapping[str, int]) -> frozenset[tuple[str, int]]:
    return frozenset((flow, colours[id_]) for flow, id_ in ends)


def _numbered(colours: Mapping[str, Hashable]) -> dict[str, int]:
    numbers: dict[Hashable, int] = {}
    return {id_: numbers.setdefault(colour, len(numbers)) for id_, colour in colours.items()}


def _classes(colours: Mapping[str, int]) -> Mapping[int, Sequence[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for id_, colour in colours.items():
        found[colour].append(id_)
    return found
