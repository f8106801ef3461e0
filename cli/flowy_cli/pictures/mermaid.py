"""A graph in Mermaid's language, which GitHub, GitLab and many editors draw in Markdown."""

from collections.abc import Iterator

from flowy_cli.pictures.execution import Standing
from flowy_cli.pictures.nodes import Flow, Graph, Node, Shape
from flowy_cli.pictures.words import one_line, shortened

_REASON_COLUMNS = 48

# Colours that can be read on a light and on a dark page; Mermaid has no other way to say both.
_CLASSES = {
    Standing.SUCCEEDED: "stroke:#2da44e",
    Standing.FAILED: "stroke:#e5534b,stroke-width:3px",
    Standing.TIMED_OUT: "stroke:#e5534b,stroke-width:3px",
    Standing.CANCELLED: "stroke:#848d97",
    Standing.RUNNING: "stroke:#4493f8,stroke-dasharray:6 3",
    Standing.WAITING: "stroke:#d29922,stroke-dasharray:6 3",
    Standing.CALLED: "stroke:#848d97,stroke-dasharray:2 4",
}


def mermaid(graph: Graph) -> str:
    """The picture as a Mermaid flow chart."""
    lines = ["flowchart TB", *(f"  {line}" for line in _content(graph))]
    used = {node.standing for node in graph.everything() if node.standing is not None and node.shape is not Shape.POINT}
    for standing, looks in _CLASSES.items():
        if standing in used:
            ids = [n.id for n in graph.everything() if n.standing is standing and n.shape is not Shape.POINT]
            name = standing.replace("-", "_")
            lines += [f"  classDef {name} {looks}", f"  class {','.join(ids)} {name}"]
    return "\n".join(lines) + "\n"


def _content(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        if node.inner is not None:
            yield f"subgraph {node.id} [{_text(node)}]"
            for line in _content(node.inner):
                yield f"  {line}"
            yield "end"
        elif node.shape is Shape.POINT:
            yield f"{node.id}{{{{{_text(node)}}}}}"
        elif node.shape is Shape.ELLIPSE:
            yield f"{node.id}([{_text(node)}])"
        else:
            yield f"{node.id}[{_text(node)}]"
    for arrow in graph.arrows:
        yield f"{arrow.source} {'-->' if arrow.flow is Flow.RESULT else '-.->'} {arrow.target}"


def _text(node: Node) -> str:
    lines = [one_line(node.label), node.detail, shortened(node.reason, _REASON_COLUMNS)]
    return '"' + "<br/>".join(_escaped(line) for line in lines if line) + '"'


def _escaped(text: str) -> str:
    """Every character that means something in Mermaid or in HTML, as its code."""
    return "".join(c if c.isalnum() or c in " -_.,:…" else f"#{ord(c)};" for c in text)
