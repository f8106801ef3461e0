"""Fields that a kind doesn't have, as the API server's strict validation sees them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowy_operator.adapters.crd.unknown import unknown_fields

ROOT = Path(__file__).parents[3]

TASK: Mapping[str, Any] = {"name": "a", "activity": {"image": "i"}}

ROWS: Mapping[str, tuple[Mapping[str, Any], Sequence[str]]] = {
    "all is known": ({"parallelism": 3, "tasks": [TASK]}, []),
    "a typo": ({"paralelism": 3}, ["spec.paralelism is unknown: do you mean parallelism?"]),
    "deep in a list": (
        {"tasks": [TASK, {**TASK, "retry": {"max": 3}}]},
        [
            "spec.tasks[1].retry.max is unknown: there are maxAttempts, when, delaysSeconds, backoff, ",
        ],
    ),
    "several": ({"tasks": [{**TASK, "retries": {}}], "code": {"src": ""}}, ["spec.tasks[0].retries", "spec.code.src"]),
    "a template holds whatever Pods hold": (
        {"defaults": {"template": {"spec": {"anything": 1}, "metadata": {"labels": {"a": "b"}}}}},
        [],
    ),
    "an input holds whatever code takes": ({"input": {"args": [{"a": {"b": 1}}], "kwargs": {"c": {"d": 1}}}}, []),
    "what is no object at all": ({"tasks": 5, "code": [1]}, []),
}


@pytest.mark.parametrize(("spec", "expected"), ROWS.values(), ids=ROWS)
def test_table(spec: Mapping[str, Any], expected: Sequence[str]) -> None:
    told = [str(unknown) for unknown in unknown_fields({"kind": "Workflow", "spec": spec})]
    assert len(told) == len(expected)
    assert all(any(one.startswith(words) for one in told) for words in expected), told


def test_what_stands_beside_the_spec_is_looked_at_too() -> None:
    """The usual slip: two spaces too few."""
    body = {
        "apiVersion": "flowy.dev/v1alpha1",
        "kind": "Workflow",
        "metadata": {},
        "status": {},
        "spec": {},
        "parallelism": 3,
    }
    assert [str(unknown) for unknown in unknown_fields(body)] == [
        "parallelism is unknown: there are apiVersion, kind, metadata, spec, status"
    ]


def test_a_definition_has_fewer_fields() -> None:
    body = {"kind": "WorkflowDefinition", "spec": {"input": {}, "onEnd": "Wait"}}
    assert [unknown.path for unknown in unknown_fields(body)] == [("spec", "input")]


def test_other_kinds_are_nobodys_business_here() -> None:
    assert list(unknown_fields({"kind": "ConfigMap", "spec": {"a": 1}})) == []


def test_every_example_is_known() -> None:
    found = [
        item
        for path in sorted((ROOT / "examples").rglob("*.yaml"))
        for item in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]
    assert len(found) > 5
    assert [str(unknown) for item in found for unknown in unknown_fields(item)] == []
