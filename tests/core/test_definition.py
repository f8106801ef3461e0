"""What a Workflow and the definition that it names come to."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from flowy_operator.core.conditions import Blocker, Stall
from flowy_operator.core.definition import Definition, Reference, resolve
from flowy_operator.core.history import StopMode
from flowy_operator.core.spec import OnEnd, WorkflowSpec
from tests.builders import scheduled, state_of, task_spec, workflow_spec

SPEC = workflow_spec(task_spec("step"), parallelism=5, workflow_timeout_s=100, ttl_s=60, on_end=OnEnd.WAIT)
DEFINITION = Definition(namespace="ns", name="video-v1", resource_version=7, digest="sha256:aa", spec=SPEC)

LAYERS: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing of its own": ({}, {}),
    "its input": ({"input": "{}"}, {"input": "{}"}),
    "its factory": ({"entrypoint": "other"}, {"entrypoint": "other"}),
    "its bounds": (
        {"parallelism": 2, "workflow_timeout_s": 7, "ttl_s": 8},
        {"parallelism": 2, "workflow_timeout_s": 7, "ttl_s": 8},
    ),
    "its switches": ({"suspend": True, "stop": StopMode.CANCEL}, {"suspend": True, "stop": StopMode.CANCEL}),
}


@pytest.mark.parametrize(("own", "changed"), LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("recorded", [None, "sha256:aa"], ids=["before the first decision", "after it"])
def test_what_the_workflow_says_lies_over_the_definition(
    own: dict[str, Any], changed: dict[str, Any], recorded: str | None
) -> None:
    spec = resolve(Reference(name="video-v1", own=own), DEFINITION, "ns", recorded)
    assert spec == replace(SPEC, definition="video-v1", definition_digest="sha256:aa", **changed)


STALLS: Mapping[str, tuple[Definition | None, str | None, Blocker, str]] = {
    "not there": (
        None,
        None,
        Blocker.DEFINITION_NOT_FOUND,
        "there is no WorkflowDefinition 'video-v1' in the namespace 'ns': create it, and the run goes on by itself",
    ),
    "not there any more": (None, "sha256:aa", Blocker.DEFINITION_NOT_FOUND, "there is no WorkflowDefinition"),
    "other content than at the first decision": (
        DEFINITION,
        "sha256:bb",
        Blocker.DEFINITION_CHANGED,
        "the WorkflowDefinition 'video-v1' was made again with other content (sha256:aa) than this run, or the one that called it, began with",
    ),
    "content that can't be run": (
        replace(DEFINITION, spec="spec.code: is missing"),
        None,
        Blocker.INVALID_SPEC,
        "the WorkflowDefinition 'video-v1' can't be run: spec.code: is missing",
    ),
    "other content that can't be run either": (
        replace(DEFINITION, spec="spec.code: is missing"),
        "sha256:bb",
        Blocker.DEFINITION_CHANGED,
        "the WorkflowDefinition 'video-v1' was made again",
    ),
}


@pytest.mark.parametrize(("definition", "recorded", "reason", "message"), STALLS.values(), ids=STALLS)
def test_stalls(definition: Definition | None, recorded: str | None, reason: Blocker, message: str) -> None:
    found = resolve(Reference(name="video-v1"), definition, "ns", recorded)
    assert isinstance(found, Stall)
    assert found.reason is reason
    assert found.message.startswith(message)


def test_alone_it_knows_its_own_fields_and_the_names_of_its_tasks() -> None:
    reference = Reference(name="video-v1", own={"ttl_s": 9, "stop": StopMode.TERMINATE})
    assert reference.alone() == WorkflowSpec(source="", ttl_s=9, stop=StopMode.TERMINATE)
    assert set(reference.alone(state_of(scheduled("a-0"), scheduled("b-0"), scheduled("b-1"))).tasks) == {"a", "b"}


@pytest.mark.parametrize("stop", [None, *StopMode], ids=str)
def test_it_is_stopped_by_its_own_word(stop: StopMode | None) -> None:
    assert Reference(name="a", own={} if stop is None else {"stop": stop}).stop is stop


@pytest.mark.parametrize(
    ("own", "expected"), [({}, False), ({"suspend": False}, False), ({"suspend": True}, True)], ids=str
)
def test_it_is_suspended_by_its_own_word(own: dict[str, Any], *, expected: bool) -> None:
    assert Reference(name="a", own=own).suspend is expected


def test_closed_it_keeps_how_long_things_stay() -> None:
    reference = Reference(name="a", own={"input": "x" * 1000, "ttl_s": 5})
    assert reference.closed() == Reference(name="a", own={"ttl_s": 5})
