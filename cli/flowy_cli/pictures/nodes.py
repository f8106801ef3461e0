"""What a graph is made of: nodes and arrows, before anybody says where they stand or how they look.

An ellipse is an activity, a box a sub-workflow with the graph of its run inside, a point a barrier of the code.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from flowy_cli.pictures.execution import Call, Standing


class Shape(StrEnum):
    ELLIPSE = "ellipse"  # an activity
    BOX = "box"  # a sub-workflow
    POINT = "point"  # a barrier


class Flow(StrEnum):
    """Why an arrow is there."""

    RESULT = "result"  # the result of the one stands in the arguments of the other
    ORDER = "order"  # the code had looked at the outcome of the one before it called the other


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """`id` is unique in the whole picture and safe in any format; texts aren't. `calls` are those that it stands for.

    `standing` is None for a barrier that has been passed.
    """

    id: str
    shape: Shape
    label: str
    detail: str = ""
    reason: str = ""
    standing: Standing | None = None
    calls: Sequence[Call] = ()
    inner: "Graph | None" = None
    namespace: str = ""
    workflow: str = ""


@dataclass(frozen=True, slots=True)
class Arrow:
    source: str
    target: str
    flow: Flow


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in the order of the code, arrows between them; none goes from or into another graph."""

    nodes: Sequence[Node]
    arrows: Sequence[Arrow]

    def everything(self) -> Iterable[Node]:
        """All nodes, those inside others after them."""
        for node in self.nodes:
            yield node
            if node.inner is not None:
                yield from node.inner.everything()
