"""An execution as a graph.

Calls of the same kind that nobody can tell apart by what goes in and out are stacked, if there are many of them.
"""

from collections.abc import Mapping, Sequence

from flowy_cli.pictures.barriers import order_of
from flowy_cli.pictures.execution import Call, Execution, Kind, Standing
from flowy_cli.pictures.nodes import Arrow, Flow, Graph, Node, Shape
from flowy_cli.pictures.stacks import stacks_of
from flowy_cli.pictures.words import spoken
from flowy_cli.tables import took

STACKED = 8
"""More calls than these that look the same become one node: nobody reads the ninth."""


def graph_of(execution: Execution, *, stacked: int = STACKED) -> Graph:
    """The graph of an execution. More than `stacked` calls that look the same are one node."""
    return _graph(execution, "n", stacked)


def _graph(execution: Execution, prefix: str, stacked: int) -> Graph:
    order = order_of(execution)
    barriers = [f"{prefix}w{n}" for n in range(len(order.barriers))]
    places = {call.key: f"{prefix}{n}" for n, call in enumerate(execution.calls)}

    def place(point: str | int) -> str:
        return barriers[point] if isinstance(point, int) else places[point]

    arrows = [Arrow(places[key], places[call.key], Flow.RESULT) for call in execution.calls for key in call.takes]
    taken = {(arrow.source, arrow.target) for arrow in arrows}
    for n, barrier in enumerate(order.barriers):
        points: list[str | int] = [*barrier.keys, *([] if barrier.before is None else [barrier.before])]
        arrows += [Arrow(place(point), barriers[n], Flow.ORDER) for point in points]
    after = [Arrow(place(point), places[key], Flow.ORDER) for key, point in order.after.items()]
    arrows += [arrow for arrow in after if (arrow.source, arrow.target) not in taken]

    nodes = [
        Node(id=barriers[n], shape=Shape.POINT, label=f"line {barrier.line}" if barrier.line else "wait")
        for n, barrier in enumerate(order.barriers)
    ]
    nodes += [_node(call, places[call.key], execution, stacked) for call in execution.calls]
    waiting = _waiting(execution, places, f"{prefix}w")
    if waiting is not None:
        nodes.append(waiting[0])
        arrows += waiting[1]
    return _stacked(Graph(nodes, arrows), stacked)


def _node(call: Call, place: str, execution: Execution, stacked: int) -> Node:
    inner = None if call.child is None or not call.child.calls else _graph(call.child, f"{place}_", stacked)
    return Node(
        id=place,
        shape=Shape.BOX if call.kind is Kind.WORKFLOW else Shape.ELLIPSE,
        label=call.key,
        detail=_detail(call, execution),
        reason=call.reason,
        standing=call.standing,
        calls=(call,),
        inner=inner,
        namespace=execution.namespace,
        workflow=execution.name,
    )


def _detail(call: Call, execution: Execution) -> str:
    """How long it took and how often it was tried; in words what is no success."""
    words = [] if call.standing is Standing.SUCCEEDED else [spoken(call.standing)]
    if call.scheduled_at is not None:
        words.append(took((call.finished_at or execution.until) - call.scheduled_at))
    if call.tries > 1:
        words.append(f"{call.tries} attempts")
    disruptions = sum(1 for attempt in call.attempts if attempt.standing is Standing.DISRUPTED)
    if disruptions:
        words.append(f"{disruptions} disruption{'s' if disruptions > 1 else ''}")
    return ", ".join(words)


def _waiting(execution: Execution, places: Mapping[str, str], id_: str) -> tuple[Node, list[Arrow]] | None:
    """The barrier that an open run stands at."""
    if execution.standing.is_over or not execution.waiting_on:
        return None
    lines = [line for line in execution.waiting_on.values() if line is not None]
    # A code that has returned waits for its result, at no line of its own.
    place = "the result" if execution.returned or not lines else f"line {lines[0]}"
    node = Node(id=id_, shape=Shape.POINT, label=f"{place} waits", standing=Standing.RUNNING)
    return node, [Arrow(places[key], id_, Flow.ORDER) for key in execution.waiting_on if key in places]


def _stacked(graph: Graph, stacked: int) -> Graph:
    """Put together what can't be told apart and is more than `stacked`."""
    found = stacks_of(graph, stacked)
    if not found:
        return graph
    place = {id_: stack[0] for stack in found for id_ in stack}
    size = {stack[0]: len(stack) for stack in found}
    members = {stack[0]: stack for stack in found}
    by_id = {node.id: node for node in graph.nodes}
    nodes = []
    for node in graph.nodes:
        if node.id in size:
            nodes.append(_stack([by_id[id_] for id_ in members[node.id]]))
        elif node.id not in place:
            nodes.append(node)
    arrows = dict.fromkeys(
        Arrow(place.get(arrow.source, arrow.source), place.get(arrow.target, arrow.target), arrow.flow)
        for arrow in graph.arrows
    )
    return Graph(nodes, list(arrows))


def _stack(nodes: Sequence[Node]) -> Node:
    first = nodes[0]
    calls = [call for node in nodes for call in node.calls]
    standing = calls[0].standing
    words = [] if standing is Standing.SUCCEEDED else [spoken(standing)]
    times = [call.finished_at - call.scheduled_at for call in calls if call.finished_at and call.scheduled_at]
    if times:
        shortest, longest = took(min(times)), took(max(times))
        words.append(shortest if shortest == longest else f"{shortest} to {longest}")
    if calls[0].tries > 1:
        words.append(f"{calls[0].tries} attempts each")
    return Node(
        id=first.id,
        shape=first.shape,
        label=f"{len(calls):,} {calls[0].task}",
        detail=", ".join(words),
        reason=first.reason if len({node.reason for node in nodes}) == 1 else "",
        standing=first.standing,
        calls=calls,
        namespace=first.namespace,
        workflow=first.workflow,
    )
