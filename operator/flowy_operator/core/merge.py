"""Laying one piece of a pod over another, as `kubectl patch` would: maps by key, known lists by their items' name."""

from collections.abc import Mapping, Sequence
from typing import Any

# The merge keys of core/v1 (patchMergeKey in its Go types) for the lists that a pod template may hold.
_MERGE_KEYS: Mapping[str, str] = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "ports": "containerPort",
    "topologySpreadConstraints": "topologyKey",
}

_WHOLE = {"env", "volumes", "volumeMounts"}
"""Lists whose items replace each other whole: a variable or volume has one source, a path one mount (kubectl's
`retainKeys`). Two of them merged into one would be refused, or mount another place."""


def lay_over(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """A new map: `base` with `top` laid over it. Where both have a list without a merge key, the upper one counts."""
    merged = dict(base)
    for name, value in top.items():
        below: Any = merged.get(name)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[name] = lay_over(below, value)
        elif name in _MERGE_KEYS and _is_list(value) and _is_list(below):
            merged[name] = _lay_list(name, below, value)
        else:
            merged[name] = value
    return merged


def _lay_list(name: str, base: Sequence[Any], top: Sequence[Any]) -> list[Any]:
    """Items with the same key merge in their place, new ones follow: order matters for env and initContainers."""
    key = _MERGE_KEYS[name]
    merged = list(base)
    places = {item[key]: n for n, item in enumerate(merged) if _has(item, key)}
    for item in top:
        at = places.get(item[key]) if _has(item, key) else None
        if at is None:
            merged.append(item)
        elif name in _WHOLE:
            merged[at] = item
        else:
            merged[at] = lay_over(merged[at], item)
    return merged


def _has(item: object, key: str) -> bool:
    """Whether an item can be told from others. What can't is passed on: the API server says what is wrong with it."""
    return isinstance(item, Mapping) and isinstance(item.get(key), str | int)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
