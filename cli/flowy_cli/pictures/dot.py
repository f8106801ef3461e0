"""A graph in the language of Graphviz, for whoever wants to lay it out or style it himself."""

from collections.abc import Iterator

from flowy_cli.pictures.execution import Standing
from flowy_cli.pictures.nodes import Arrow, Flow, Graph, Node, Shape
from flowy_cli.pictures.words import shortened, visible

_COLOURS = {
    Standing.SUCCEEDED: "#1a7f37",
    Standing.FAILED: "#cf222e",
    Standing.TIMED_OUT: "#cf222e",
    Standing.CANCELLED: "#6e7781",
    Standing.RUNNING: "#0969da",
    Standing.WAITING: "#9a6700",
    Standing.CALLED: "#6e7781",
}

_REASON_COLUMNS = 48


def dot(graph: Graph, title: str) -> str:
    """The picture in dot. Its layout is by `dot -Tsvg`, or any program that reads this language."""
    lines = [
        "digraph {",
        f"  label={_quoted(title)} labelloc=t compound=true rankdir=TB",
        '  fontname="Helvetica" node [fontname="Helvetica" fontsize=11] edge [color="#57606a" arrowsize=0.7]',
        *(f"  {line}" for line in _content(graph)),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _content(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        if node.inner is None:
            yield f"{node.id} [{_looks(node)}]"
        else:
            yield f"subgraph cluster_{node.id} {{"
            yield f"  label={_text(node)} style=rounded color={_quoted(_colour(node))}"
            for line in _content(node.inner):
                yield f"  {line}"
            yield "}"
    by_id = {node.id: node for node in graph.nodes}
    for arrow in graph.arrows:
        yield _arrow(arrow, by_id[arrow.source], by_id[arrow.target])


def _arrow(arrow: Arrow, source: Node, target: Node) -> str:
    """Graphviz knows no arrows between clusters: they go between nodes inside, and end at the frames."""
    looks = ["style=dashed"] if arrow.flow is Flow.ORDER else []
    if source.inner is not None:
        looks.append(f"ltail=cluster_{source.id}")
    if target.inner is not None:
        looks.append(f"lhead=cluster_{target.id}")
    ends = f"{last_inside(source).id} -> {first_inside(target).id}"
    return f"{ends} [{' '.join(looks)}]" if looks else ends


def first_inside(node: Node) -> Node:
    """The innermost node at the beginning of a node: where arrows into it end."""
    return node if node.inner is None else first_inside(node.inner.nodes[0])


def last_inside(node: Node) -> Node:
    """The innermost node at the end of a node: where arrows out of it begin."""
    return node if node.inner is None else last_inside(node.inner.nodes[-1])


def _looks(node: Node) -> str:
    if node.shape is Shape.POINT:
        colour = _colour(node)
        return f'shape=point width=0.1 color="{colour}" xlabel={_quoted(node.label)} tooltip="the code waits"'
    style = "dotted" if node.standing is Standing.CALLED else "dashed" if not _is_over(node) else "solid"
    shape = "ellipse" if node.shape is Shape.ELLIPSE else "box"
    return f"shape={shape} style={style} color={_quoted(_colour(node))} label={_text(node)}"


def _is_over(node: Node) -> bool:
    return node.standing is not None and node.standing.is_over


def _colour(node: Node) -> str:
    return "#57606a" if node.standing is None else _COLOURS[node.standing]


def _text(node: Node) -> str:
    lines = [node.label, node.detail, shortened(node.reason, _REASON_COLUMNS)]
    return "<" + "<br/>".join(_html(line) for line in lines if line) + ">"


def _html(text: str) -> str:
    return visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _quoted(text: str) -> str:
    return '"' + visible(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'
