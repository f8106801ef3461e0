"""A graph as lines of text: one a call, in the order of the code, with what it needed."""

from collections.abc import Iterator, Sequence

from flowy_cli.pictures.nodes import Flow, Graph, Node, Shape
from flowy_cli.pictures.words import NOTHING, SIGNS, columns, one_line, shortened

_LEAST_REASON = 20
_NAMED = 6  # of what a call needed; the rest is counted


def graph_text(graph: Graph, width: int) -> str:
    """The graph in lines of at most `width` columns, but for names that are longer.

    `←` names the results that went into a call, `⇠` what the code looked at before.
    """
    rows = list(_rows(graph, ""))
    if not rows:
        return NOTHING
    widest = max((columns(name) for name, *_ in rows), default=0)
    widest_detail = max((columns(detail) for _, detail, *_ in rows), default=0)
    lines = []
    for name, detail, needs, reason in rows:
        line = f"{name}{' ' * (widest - columns(name))}  {detail}{' ' * (widest_detail - columns(detail))}  {needs}"
        lines.append(line.rstrip())
        if reason:
            indent = " " * (len(name) - len(name.lstrip()) + 2)
            lines.append(f"{indent}{shortened(reason, max(width - len(indent), _LEAST_REASON))}")
    return "\n".join(lines) + "\n"


def _rows(graph: Graph, indent: str) -> Iterator[tuple[str, str, str, str]]:
    by_id = {node.id: node for node in graph.nodes}
    takes: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for arrow in graph.arrows:
        ends = takes if arrow.flow is Flow.RESULT else after
        ends.setdefault(arrow.target, []).append(arrow.source)
    for node in graph.nodes:
        if node.shape is Shape.POINT and node.standing is None:
            continue  # who comes after it names what it gathers
        needs = []
        if node.id in takes:
            needs.append(f"← {_named([by_id[id_].label for id_ in takes[node.id]])}")
        if node.id in after:
            needs.append(f"⇠ {_named(list(_seen(after[node.id], by_id, after)))}")
        sign = "┄" if node.standing is None or node.shape is Shape.POINT else SIGNS[node.standing]
        yield f"{indent}{sign} {one_line(node.label)}", node.detail, "  ".join(needs), node.reason
        if node.inner is not None:
            yield from _rows(node.inner, f"{indent}  ")


def _named(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _NAMED:,} more" if len(labels) > _NAMED else ""
    return ", ".join(map(one_line, labels[:_NAMED])) + more


def _seen(ids: list[str], by_id: dict[str, Node], after: dict[str, list[str]]) -> Iterator[str]:
    """The labels of what was looked at, through barriers."""
    for id_ in ids:
        node = by_id[id_]
        if node.shape is not Shape.POINT:
            yield node.label
        else:
            yield from _seen(after.get(id_, []), by_id, after)
