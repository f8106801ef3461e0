"""JSON patch (RFC 6902: add, remove, replace, test) and merge patch (RFC 7386), on copies."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

T = TypeVar("T")


class PatchError(Exception):
    """The patch doesn't fit the object."""


def copied(value: T) -> T:
    """A copy of a piece of JSON, at a fifth of what `copy.deepcopy` costs: it is most of what the fakes do."""
    made: Any = value
    if isinstance(value, dict):
        made = {name: copied(item) for name, item in value.items()}
    elif isinstance(value, list):
        made = [copied(item) for item in value]
    return cast("T", made)


def json_patch(target: Any, operations: Sequence[Mapping[str, Any]]) -> Any:
    root = {"": copied(target)}
    for operation in operations:
        *way, last = ["", *_parts(operation["path"])]
        parent: Any = root
        for part in way:
            parent = _step(parent, part)
        match operation["op"]:
            case "test":
                if _step(parent, last) != operation["value"]:
                    raise PatchError(f"testing value {operation['path']} failed")
            case "add" if isinstance(parent, list):
                parent.insert(len(parent) if last == "-" else _index(parent, last, len(parent)), operation["value"])
            case "add" if isinstance(parent, dict):
                parent[last] = copied(operation["value"])
            case "replace":
                _step(parent, last)
                parent[_index(parent, last, len(parent) - 1) if isinstance(parent, list) else last] = operation["value"]
            case "remove":
                _step(parent, last)
                del parent[_index(parent, last, len(parent) - 1) if isinstance(parent, list) else last]
            case other:
                raise PatchError(f"can't {other} at {operation['path']}")
    return root[""]


def merge_patch(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copied(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def _parts(pointer: str) -> list[str]:
    if not pointer:
        return []
    if not pointer.startswith("/"):
        raise PatchError(f"not a pointer: {pointer}")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def _step(parent: Any, part: str) -> Any:
    if isinstance(parent, dict) and part in parent:
        return parent[part]
    if isinstance(parent, list):
        return parent[_index(parent, part, len(parent) - 1)]
    raise PatchError(f"no {part}")


def _index(parent: Sequence[Any], part: str, limit: int) -> int:
    if not part.isdigit() or int(part) > limit:
        raise PatchError(f"no index {part} in a list of {len(parent)}")
    return int(part)
