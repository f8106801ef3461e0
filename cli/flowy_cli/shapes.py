"""What is taken for granted of an object: the types of the fields that are read, and that times are times.

One in a file is whatever somebody has written or edited; one in a cluster has passed a CRD, which may be another version's.
Whether a spec can be run is asked elsewhere (`adapters/crd/spec.py`), and a history is checked by those who read it: this is
for all the rest, so that nobody has to doubt each field. It loads nothing: the CRD's own models take longer than most commands.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union

from flowy_cli.run import instant
from flowy_operator.core.key import OBJECT_NAME


class Misshapen(ValueError):
    """A field isn't of its type; `str()` says which, and what it is."""


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of such things."""

    item: "Shape"


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with any fields, all of them such things."""

    value: "Shape"


class Time:
    """Text that is an instant."""


Shape = Union[type, ListOf, MapOf, Mapping[str, "Shape"]]  # noqa: UP007 - a forward reference
"""A type; an object with these fields, each of which may be missing, and any others."""

_ERROR: Shape = {
    "type": str, "message": str, "task": str, "attempt": int, "timer": str, "reason": str, "exitCode": int,
    "details": str, "line": int, "traceback": str,
}  # fmt: skip
_METADATA: Shape = {
    "name": str, "generateName": str, "namespace": str, "uid": str, "creationTimestamp": Time, "generation": int,
    "labels": MapOf(str), "annotations": MapOf(str), "ownerReferences": ListOf(dict),
}  # fmt: skip
_CODE: Shape = {"entrypoint": str, "source": str}
_SPEC: Shape = {
    "code": _CODE,
    "definitionRef": {"name": str, "entrypoint": str},
    "input": {"args": list, "kwargs": dict, "json": str},
    "tasks": ListOf({"name": str, "activity": dict, "workflow": dict}),
}
_STATUS: Shape = {
    "conditions": ListOf(
        {"type": str, "status": str, "reason": str, "message": str, "lastTransitionTime": Time},
    ),
    "startTime": Time,
    "completionTime": Time,
    "progress": {"scheduled": int, "running": int, "succeeded": int, "failed": int, "summary": str},
    "waitingOn": ListOf({"task": str, "line": int, "since": Time, "reason": str}),
    "result": str,
    "error": _ERROR,
    "ignoredErrors": ListOf(_ERROR),
    "run": int,
    "code": MapOf(str),
    "definitionDigest": str,
    "historyStart": int,
    "launchedThrough": int,
    "decidedThrough": int,
    "historyDigest": str,
    "history": ListOf(dict),
}

OBJECT: Shape = {"kind": str, "apiVersion": str, "metadata": _METADATA}
_KINDS: Mapping[str, Shape] = {
    "Workflow": {"spec": _SPEC, "status": _STATUS},
    "WorkflowDefinition": {"spec": {"code": _CODE}},
    "HistoryPage": {
        "spec": {
            "workflowUID": str, "run": int, "first": int, "last": int, "digestBefore": str, "digestAfter": str,
            "events": str,
        },
    },
    "Pod": {"status": {"phase": str}},
}  # fmt: skip

_PLACED = ("name", "namespace", "uid", "creationTimestamp")
_NAME = re.compile(OBJECT_NAME)


def shaped(item: Mapping[str, Any], kind: str | None) -> dict[str, Any]:
    """The object without fields that are null, as the API server would keep it; of a kind that isn't known here, its metadata.

    Raises Misshapen.
    """
    found: dict[str, Any] = _fitted(item, OBJECT, "")
    return found if kind is None else _fitted(found, _KINDS.get(kind, {}), "")


def placed(found: Mapping[str, Any]) -> None:
    """Check that a shaped object has what each has that is in a cluster, and a name that can be one. Raises Misshapen."""
    metadata = found.get("metadata", {})
    missing = next((field for field in _PLACED if not metadata.get(field)), None)
    if missing is not None:
        raise Misshapen(f"metadata.{missing} is missing")
    for field in ("name", "namespace"):
        if not _NAME.fullmatch(metadata[field]):
            raise Misshapen(f"metadata.{field} is no name")


def _fitted(value: Any, shape: Shape, at: str) -> Any:
    match shape:
        case Mapping():
            fields = _checked(value, dict, at)
            within = f"{at}." if at else ""
            return {
                name: _fitted(inner, shape[name], f"{within}{name}") if name in shape else inner
                for name, inner in fields.items()
                if inner is not None or name not in shape
            }
        case ListOf(item):
            return [_fitted(inner, item, f"{at}[{n}]") for n, inner in enumerate(_checked(value, list, at))]
        case MapOf(inner):
            return {
                _checked(name, str, f"a name in {at}"): _fitted(each, inner, f"{at}.{name}")
                for name, each in _checked(value, dict, at).items()
            }
        case _ if shape is Time:
            try:
                instant(_checked(value, str, at))
            except ValueError as error:
                raise Misshapen(f"{at} is no time: {error}") from error
            return value
        case _:
            return _checked(value, shape, at)


_WORDS: Mapping[type, str] = {
    str: "text",
    int: "a whole number",
    dict: "an object",
    list: "a list",
    bool: "true or false",
}


def _checked(value: Any, kind: type, at: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        found = _WORDS.get(type(value), "null" if value is None else "a number")
        raise Misshapen(f"{at} is {found}, not {_WORDS[kind]}")
    return value
