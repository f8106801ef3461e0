"""Where nodes and arrows of a graph stand: Graphviz's `dot` engine, as a library in this process (pygraphviz).

It is given sizes and numbers and never a text of the run, and what it draws isn't used: only its places are.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowy_cli.pictures.dot import first_inside, last_inside
from flowy_cli.pictures.nodes import Arrow, Graph, Node, Shape
from flowy_cli.pictures.spans import passed, shortened
from flowy_cli.pictures.words import columns

Point = tuple[float, float]

LABEL_PX = 13
SMALL_PX = 11
LINE_PX = 16
_LABEL_COLUMN_PX = 7.4
_SMALL_COLUMN_PX = 6.1
_POINT_PX = 20

HEADER_PX = 18
"""Of one line above what is inside a box."""

MANY = 300
"""Nodes above which crossings are looked for only briefly and arrows are straight lines from node to node, which nobody
routes: who looks at so many at once sees neither."""

_PASSED = 600
"""Ranks that arrows may pass together for the same: to route them around so many nodes takes half a second, and grows fast."""

_TIP_PX = 5.0

_EDGE = re.compile(r"e,([-0-9.e+]+),([-0-9.e+]+)")


class LayoutMissing(Exception):
    """Graphviz isn't installed; `str()` says how it is."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, by its middle."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> float:
        return self.x - self.width / 2

    @property
    def top(self) -> float:
        return self.y - self.height / 2


@dataclass(frozen=True, slots=True)
class Curve:
    """An arrow from node to node: a straight line (2 points) or a cubic Bézier curve (1 + 3n), and its tip."""

    source: str
    target: str
    dashed: bool
    points: Sequence[Point]
    tip: Point


@dataclass(frozen=True, slots=True)
class Layout:
    """In pixels, from the upper left corner down. A box that has something inside is in `boxes` with all of that."""

    width: float
    height: float
    boxes: Mapping[str, Box]
    curves: Sequence[Curve]


def size_of(node: Node, lines: Sequence[str]) -> tuple[float, float]:
    """Width and height of a node with these lines, the first one larger, in pixels."""
    if node.shape is Shape.POINT:
        return columns(lines[0]) * _SMALL_COLUMN_PX + 20, _POINT_PX
    width = max(
        [columns(lines[0]) * _LABEL_COLUMN_PX, *(columns(line) * _SMALL_COLUMN_PX for line in lines[1:])], default=0
    )
    height = len(lines) * LINE_PX + 14
    # Text in an ellipse needs room at the corners of its rectangle.
    return (width * 1.24 + 30, height + 10) if node.shape is Shape.ELLIPSE else (width + 26, height)


def layout_of(graph: Graph, lines_of: Mapping[str, Sequence[str]]) -> Layout:
    """Place the graph, whose nodes have these lines of text. Raises LayoutMissing."""
    try:
        import pygraphviz  # noqa: PLC0415 - 60 ms, for pictures only
    except ImportError as error:
        raise LayoutMissing(
            "a picture with places needs Graphviz, which this brings along: pip install 'pygraphviz>=2.0.4' "
            "(graph -o text, dot and mermaid, and timelines, do without)"
        ) from error
    are_routed = sum(1 for _ in graph.everything()) <= MANY and passed(graph) <= _PASSED
    hasty = [] if are_routed else ["mclimit=0.01", "nslimit=0.02", "nslimit1=0.02", "splines=none"]
    text = "\n".join(
        [
            "digraph {",
            " ".join(["compound=true ranksep=0.42 nodesep=0.22 pad=0", *hasty]),
            'node [fixedsize=true label="" shape=box] edge [arrowsize=0.5]',
            *_content(graph, lines_of, _all_arrows if are_routed else shortened),
            "}",
        ]
    )
    drawn = pygraphviz.AGraph(text).draw(format="json0", prog="dot", args="-q")
    return _read(json.loads(drawn), graph, are_routed=are_routed)


def _all_arrows(graph: Graph) -> Sequence[Arrow]:
    return graph.arrows


def _content(
    graph: Graph, lines_of: Mapping[str, Sequence[str]], arrows_of: Callable[[Graph], Sequence[Arrow]]
) -> Iterator[str]:
    for node in graph.nodes:
        width, height = size_of(node, lines_of[node.id])
        if node.inner is None:
            shape = " shape=ellipse" if node.shape is Shape.ELLIPSE else ""
            yield f"{node.id} [width={width / 72:.3f} height={height / 72:.3f}{shape}]"
        else:
            yield f"subgraph cluster_{node.id} {{ margin=14"
            cell = f'<td width="{width:.0f}" height="{len(lines_of[node.id]) * HEADER_PX}"></td>'
            yield f'label=<<table border="0" cellborder="0" cellspacing="0"><tr>{cell}</tr></table>>'
            yield from _content(node.inner, lines_of, arrows_of)
            yield "}"
    by_id = {node.id: node for node in graph.nodes}
    for n, arrow in enumerate(arrows_of(graph)):
        source, target = by_id[arrow.source], by_id[arrow.target]
        frames = [f"ltail=cluster_{source.id}"] if source.inner is not None else []
        frames += [f"lhead=cluster_{target.id}"] if target.inner is not None else []
        yield f"{last_inside(source).id} -> {first_inside(target).id} [id={graph.nodes[0].id}_{n} {' '.join(frames)}]"


def _read(drawn: Mapping[str, Any], graph: Graph, *, are_routed: bool) -> Layout:
    _, _, width, height = map(float, drawn["bb"].split(","))
    boxes: dict[str, Box] = {}
    for item in drawn.get("objects", ()):
        name = str(item["name"])
        if name.startswith("cluster_"):
            left, bottom, right, top = map(float, item["bb"].split(","))
            box = Box((left + right) / 2, height - (top + bottom) / 2, right - left, top - bottom)
            boxes[name.removeprefix("cluster_")] = box
        else:
            x, y = map(float, item["pos"].split(","))
            boxes[name] = Box(x, height - y, float(item["width"]) * 72, float(item["height"]) * 72)
    routes = {str(edge["id"]): str(edge["pos"]) for edge in drawn.get("edges", ()) if are_routed}
    curves = list(_curves(graph, routes, height) if are_routed else _lines(graph, boxes))
    widest = max((x for curve in curves for x, _ in curve.points), default=0.0)
    return Layout(max(width, widest), height, boxes, curves)


def _lines(graph: Graph, boxes: Mapping[str, Box]) -> Iterator[Curve]:
    """Arrows along the straight lines between the middles of their nodes, each from edge to edge; some in a bow."""
    shapes = {node.id: node.shape for node in graph.nodes}
    for arrow in graph.arrows:
        source, target = boxes[arrow.source], boxes[arrow.target]
        dx, dy = target.x - source.x, target.y - source.y
        is_dashed = arrow.flow == "order"
        if abs(dx) < source.width / 2 and dy > _COLUMN * (source.height + target.height):
            yield Curve(arrow.source, arrow.target, is_dashed, *_bow(source, target))
            continue
        length = (dx * dx + dy * dy) ** 0.5
        begin = _edge(shapes[arrow.source], source, dx, dy)
        end = _edge(shapes[arrow.target], target, -dx, -dy)
        back = _TIP_PX / length
        base = (end[0] - dx * back, end[1] - dy * back)
        yield Curve(arrow.source, arrow.target, is_dashed, (begin, base), end)
    for node in graph.nodes:
        if node.inner is not None:
            yield from _lines(node.inner, boxes)


_COLUMN = 1.5
"""Of their heights together: so far below each other two nodes may have others between them."""


_WIDEST_PX = 400.0


def _bow(source: Box, target: Box) -> tuple[Sequence[Point], Point]:
    """From right side to right side around what stands between: a line down the column would run through all of that."""
    begin = (source.x + source.width / 2, source.y)
    tip = (target.x + target.width / 2, target.y)
    base = (tip[0] + _TIP_PX, tip[1])
    out = max(begin[0], base[0]) + 24 + min((target.y - source.y) / 12, _WIDEST_PX)
    return (begin, (out, begin[1]), (out, base[1]), base), tip


def _edge(shape: Shape, box: Box, dx: float, dy: float) -> Point:
    """Where a ray from the middle leaves a node."""
    across, along = abs(dx) * 2 / box.width, abs(dy) * 2 / box.height
    times = (across * across + along * along) ** 0.5 if shape is Shape.ELLIPSE else max(across, along)
    return box.x + dx / times, box.y + dy / times


def _curves(graph: Graph, routes: Mapping[str, str], height: float) -> Iterator[Curve]:
    for n, arrow in enumerate(graph.arrows):
        route = routes[f"{graph.nodes[0].id}_{n}"]
        end = _EDGE.search(route)
        points = [_point(word, height) for word in route.split() if not word.startswith(("e,", "s,"))]
        tip = points[-1] if end is None else (float(end[1]), height - float(end[2]))
        yield Curve(arrow.source, arrow.target, arrow.flow == "order", points, tip)
    for node in graph.nodes:
        if node.inner is not None:
            yield from _curves(node.inner, routes, height)


def _point(word: str, height: float) -> Point:
    x, y = word.split(",")
    return float(x), height - float(y)
