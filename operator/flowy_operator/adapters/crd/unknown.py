"""Fields of a manifest that our kinds don't have.

The API server drops them, and kubectl asks it to refuse them instead: a typo in the name of an optional field would
change what runs without a word. So does whoever reads a manifest from a file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from flowy_operator.adapters.crd.kinds import WORKFLOW, WORKFLOW_DEFINITION, Kind
from flowy_operator.adapters.crd.schema import Node, structural


@dataclass(frozen=True, slots=True)
class UnknownField:
    """Where it stands, by names and places of lists, and the names that its object has."""

    path: Sequence[str | int]
    known: Sequence[str]

    def __str__(self) -> str:
        """A sentence that says what may be meant."""
        first, *rest = self.path
        where = f"{first}" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in rest)
        similar = get_close_matches(str(self.path[-1]), self.known, 1)
        meant = f"do you mean {similar[0]}?" if similar else f"there are {', '.join(self.known)}"
        return f"{where} is unknown: {meant}"


def unknown_fields(body: Mapping[str, Any]) -> Iterator[UnknownField]:
    """All fields of the object and of its spec that its kind doesn't have. Of other kinds nothing is said.

    Its metadata are Kubernetes' own, and its status is whatever another version has written.
    """
    shape = _shapes().get(str(body.get("kind")))
    if shape is not None:
        yield from _unknown(body, shape, ())


@cache
def _shapes() -> Mapping[str, Node]:
    return {kind.name: _shape(kind) for kind in (WORKFLOW, WORKFLOW_DEFINITION)}


def _shape(kind: Kind) -> Node:
    fields = structural(kind.shape)["properties"]
    beside = dict.fromkeys(("apiVersion", "kind", "metadata", *fields), _ANYTHING)
    return {"properties": {**beside, "spec": fields["spec"]}}


_ANYTHING: Node = {}


def _unknown(value: object, node: Node, path: Sequence[str | int]) -> Iterator[UnknownField]:
    known = node.get("properties")
    if isinstance(value, Mapping) and known:
        for name, child in value.items():
            if name in known:
                yield from _unknown(child, known[name], (*path, name))
            else:
                yield UnknownField((*path, str(name)), tuple(known))
    elif isinstance(value, list) and "items" in node:
        for n, child in enumerate(value):
            yield from _unknown(child, node["items"], (*path, n))
