"""A graph as SVG."""

from collections.abc import Mapping, Sequence
from textwrap import wrap

from flowy_cli.pictures.execution import Standing
from flowy_cli.pictures.layout import HEADER_PX, LINE_PX, Box, Curve, Layout, layout_of
from flowy_cli.pictures.nodes import Graph, Node, Shape
from flowy_cli.pictures.svg import Element, element, picture, written
from flowy_cli.pictures.words import shortened

STYLE_GRAPH = """
.graph text{font:11px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:var(--soft);text-anchor:middle}
.graph .label{font-size:13px;font-weight:600;fill:var(--ink)}.graph .reason{fill:var(--bad)}
.graph .inner text{text-anchor:start}
.graph .shape{stroke-width:1.5;stroke:var(--off);fill:var(--off-fill)}.graph .inner>.shape{fill-opacity:.35}
.graph .succeeded .shape{stroke:var(--ok);fill:var(--ok-fill)}
.graph .failed .shape,.graph .timed-out .shape{stroke:var(--bad);fill:var(--bad-fill);stroke-width:2.2}
.graph .running .shape{stroke:var(--run);fill:var(--run-fill);stroke-dasharray:6 3}
.graph .waiting .shape{stroke:var(--late);fill:var(--late-fill);stroke-dasharray:6 3}
.graph .called .shape{stroke-dasharray:1.5 3.5;stroke-linecap:round;fill:none}
.graph .point .shape{fill:var(--panel);stroke-width:1}.graph .point.running .shape{fill:var(--run-fill)}
.graph .arrow{fill:none;stroke:var(--soft);stroke-width:1.3}.graph .order{stroke-dasharray:4 4;stroke:var(--off)}
.graph .tip{fill:var(--soft);stroke:none}.graph .straight{fill:var(--soft);stroke-width:1}
.graph .badge{fill:var(--page);stroke:var(--late);stroke-width:1.2}.graph .badge-text{fill:var(--late);font-weight:600}
.graph .inner .badge-text{text-anchor:middle}
.graph .page{fill:var(--page)}
"""

_LABEL_COLUMNS = 52  # keys are shorter
_REASON_COLUMNS = 66  # in two lines, or a few more where a word is long
_MARGIN = 20.0


def lines_of(node: Node) -> list[str]:
    """The lines in a node; a long reason is shortened here, and whole in its title."""
    if node.shape is Shape.POINT:
        return [node.label]
    head = [text for text in (shortened(node.label, _LABEL_COLUMNS), node.detail) if text]
    return head + wrap(shortened(node.reason, _REASON_COLUMNS), _REASON_COLUMNS // 2)


def graph_svg(graph: Graph, title: str) -> str:
    """The picture as one SVG that stands alone, for light and dark. Raises LayoutMissing."""
    drawing, width, height = graph_element(graph)
    root = picture(width, height, title, STYLE_GRAPH)
    root.append(drawing)
    drawing.insert(0, element("rect", None, class_="page", width=width, height=height))
    return written(root)


def graph_element(graph: Graph) -> tuple[Element, float, float]:
    """The picture as a group, its width and its height. Raises LayoutMissing."""
    lines = {node.id: lines_of(node) for node in graph.everything()}
    layout = layout_of(graph, lines)
    width, height = layout.width + 2 * _MARGIN, layout.height + 2 * _MARGIN
    root = element("g", None, class_="graph")
    inside = element("g", root, transform=f"translate({_MARGIN:.0f} {_MARGIN:.0f})")
    _draw(graph, layout, lines, inside)
    for curve in layout.curves:
        _arrow(curve, inside)
    return root, width, height


def _draw(graph: Graph, layout: Layout, lines: Mapping[str, Sequence[str]], parent: Element) -> None:
    for node in graph.nodes:
        _node(node, layout.boxes[node.id], lines[node.id], parent)
        if node.inner is not None:
            _draw(node.inner, layout, lines, parent)


def _node(node: Node, box: Box, lines: Sequence[str], parent: Element) -> None:
    kinds = ["node", node.shape, *([] if node.standing is None else [node.standing])]
    kinds += ["inner"] if node.inner is not None else []
    keys = " ".join(f"{node.workflow}/{call.key}" for call in node.calls)
    group = element("g", parent, class_=" ".join(kinds), id=node.id, data_calls=keys or None)
    element(
        "title", group, "\n".join(text for text in (node.label, node.detail, node.reason) if text) or "the code waits"
    )
    if node.shape is Shape.POINT:
        element("rect", group, class_="shape", x=box.left, y=box.top, width=box.width, height=box.height, rx=10)
        element("text", group, node.label, x=box.x, y=box.y + 4)
        return
    if len(node.calls) > 1:
        for n in (2, 1):
            _shape(node, Box(box.x + 4 * n, box.y - 4 * n, box.width, box.height), group)
    _shape(node, box, group)
    _text(node, box, lines, group)
    if node.calls and node.calls[0].tries > 1:
        _badge(node, box, f"↻{node.calls[0].tries}", group)


def _shape(node: Node, box: Box, group: Element) -> None:
    if node.shape is Shape.ELLIPSE:
        element("ellipse", group, class_="shape", cx=box.x, cy=box.y, rx=box.width / 2, ry=box.height / 2)
    else:
        element("rect", group, class_="shape", x=box.left, y=box.top, width=box.width, height=box.height, rx=6)


def _text(node: Node, box: Box, lines: Sequence[str], group: Element) -> None:
    if node.inner is not None:
        x, y, step = box.left + 12, box.top + 19, HEADER_PX - 2
    else:
        x, y, step = box.x, box.y - (len(lines) - 1) * LINE_PX / 2 + 4, LINE_PX
    for n, line in enumerate(lines):
        is_reason = n > (1 if node.detail else 0)
        kind = "label" if n == 0 else "reason" if is_reason and node.standing in _RED else None
        element("text", group, line, class_=kind, x=float(x), y=float(y + n * step))


_RED = {Standing.FAILED, Standing.TIMED_OUT}


def _badge(node: Node, box: Box, text: str, group: Element) -> None:
    """At the upper right, on the edge of the shape."""
    if node.shape is Shape.ELLIPSE:
        x, y = box.x + box.width * 0.36, box.top + box.height * 0.14
    else:
        x, y = box.left + box.width - 22, box.top
    element("rect", group, class_="badge", x=x - 14, y=y - 9, width=28, height=17, rx=8.5)
    element("text", group, text, class_="badge-text", x=x, y=y + 4)


def _arrow(curve: Curve, parent: Element) -> None:
    first, *rest = curve.points
    steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in rest)
    kind = "arrow order" if curve.dashed else "arrow"
    ends = {"data_from": curve.source, "data_to": curve.target}
    (x, y), (bx, by) = curve.tip, curve.points[-1]
    dx, dy = x - bx, y - by
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    dx, dy = dx / length * 3.2, dy / length * 3.2
    points = f"{x:.1f},{y:.1f} {bx - dy:.1f},{by + dx:.1f} {bx + dy:.1f},{by - dx:.1f}"
    if len(rest) == 1:
        # Line and tip as one element: there are thousands, and a browser takes its time for each.
        d = f"M{first[0]:.1f},{first[1]:.1f}L{steps}M{points}z"
        element("path", parent, class_=f"{kind} straight", d=d, **ends)
        return
    element("path", parent, class_=kind, d=f"M{first[0]:.1f},{first[1]:.1f}C{steps}", **ends)
    element("polygon", parent, class_="tip", points=points, **ends)
