"""One piece of a pod laid over another."""

import copy
from typing import Any

import pytest

from flowy_operator.core.merge import lay_over

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "maps by key": ({"a": {"x": 1, "y": 1}}, {"a": {"y": 2}, "b": 3}, {"a": {"x": 1, "y": 2}, "b": 3}),
    "the upper value counts": ({"a": {"x": 1}}, {"a": 1}, {"a": 1}),
    "null stays, and means not set": ({"a": {"x": 1}}, {"a": None}, {"a": None}),
    "a list without a merge key is replaced": ({"args": ["a"]}, {"args": ["b"]}, {"args": ["b"]}),
    "containers by name, in their place, new ones behind": (
        {"containers": [{"name": "main", "image": "a"}, {"name": "log"}]},
        {"containers": [{"name": "new"}, {"name": "main", "args": []}]},
        {"containers": [{"name": "main", "image": "a", "args": []}, {"name": "log"}, {"name": "new"}]},
    ),
    "init containers keep their order": (
        {"initContainers": [{"name": "b"}, {"name": "a"}]},
        {"initContainers": [{"name": "a", "image": "x"}, {"name": "c"}]},
        {"initContainers": [{"name": "b"}, {"name": "a", "image": "x"}, {"name": "c"}]},
    ),
    "a variable has one source": (
        {"env": [{"name": "A", "valueFrom": {}}, {"name": "B", "value": "1"}]},
        {"env": [{"name": "A", "value": "2"}]},
        {"env": [{"name": "A", "value": "2"}, {"name": "B", "value": "1"}]},
    ),
    "a volume has one source": (
        {"volumes": [{"name": "v", "emptyDir": {}}]},
        {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]},
        {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]},
    ),
    "a path has one mount": (
        {"volumeMounts": [{"name": "v", "mountPath": "/m", "subPath": "s"}]},
        {"volumeMounts": [{"name": "w", "mountPath": "/m"}, {"name": "w", "mountPath": "/n"}]},
        {"volumeMounts": [{"name": "w", "mountPath": "/m"}, {"name": "w", "mountPath": "/n"}]},
    ),
    "text is no list": ({"env": "x"}, {"env": [{"name": "A"}]}, {"env": [{"name": "A"}]}),
    "items without a name stay beside each other": (
        {"env": [{"value": "1"}]},
        {"env": [{"value": "2"}]},
        {"env": [{"value": "1"}, {"value": "2"}]},
    ),
    "items of odd types are passed on, for the API server to refuse": (
        {"ports": [1, {"containerPort": []}]},
        {"ports": ["a", {"containerPort": {}}, {"containerPort": 80}]},
        {"ports": [1, {"containerPort": []}, "a", {"containerPort": {}}, {"containerPort": 80}]},
    ),
}


@pytest.mark.parametrize(("base", "top", "expected"), CASES.values(), ids=CASES)
def test_lay_over(base: dict[str, Any], top: dict[str, Any], expected: dict[str, Any]) -> None:
    before = copy.deepcopy((base, top))
    assert lay_over(base, top) == expected
    assert (base, top) == before, "what was given is left as it was"


@pytest.mark.parametrize(("base", "top", "expected"), CASES.values(), ids=CASES)
def test_over_nothing_and_under_nothing_is_the_thing_itself(
    base: dict[str, Any], top: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert lay_over({}, base) == lay_over(base, {}) == base
