"""Definitions and references as JSON, and what is made of them."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowy_operator.adapters.crd import schema
from flowy_operator.adapters.crd.definition import content_digest, parse_definition
from flowy_operator.adapters.crd.kinds import WORKFLOW, WORKFLOW_DEFINITION
from flowy_operator.adapters.crd.rules import OF_THE_DEFINITION, OWN_FIELDS
from flowy_operator.adapters.crd.spec import InvalidSpec, definition_spec, spec_or_reference, workflow_spec
from flowy_operator.core.definition import Reference
from flowy_operator.core.history import StopMode
from flowy_operator.core.spec import SubWorkflow, WorkflowSpec

CODE = {"source": "def f(embed): ...", "entrypoint": "f"}
TASKS = [{"name": "embed", "activity": {"image": "ffmpeg:9"}}]
CONTENT: dict[str, Any] = {
    "code": CODE,
    "tasks": TASKS,
    "defaults": {"template": {"spec": {"nodeSelector": {"disk": "ssd"}}}, "timeouts": {"startToCloseSeconds": 5}},
    "parallelism": 3,
    "timeouts": {"workflowSeconds": 60, "decisionSeconds": 5},
    "jobs": {"keepSucceededSeconds": 1, "keepFailedSeconds": 2},
    "onEnd": "Wait",
    "ttlSecondsAfterFinished": 9,
}


def definition(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "video-v1", "namespace": "ns", "resourceVersion": "7"}, "spec": CONTENT | spec}


def workflow(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "talk-42"}, "spec": {"definitionRef": {"name": "video-v1"}, **spec}}


# -- definitions -------------------------------------------------------------------------------------------------------


def test_a_definition_gives_what_the_same_spec_of_a_workflow_would() -> None:
    assert definition_spec(definition()) == workflow_spec({"metadata": {"name": "talk-42"}, "spec": CONTENT})


def test_a_definitions_record() -> None:
    record = parse_definition(definition())
    assert record is not None
    assert (record.namespace, record.name, record.resource_version) == ("ns", "video-v1", 7)
    assert record.digest == content_digest(CONTENT)
    assert record.spec == definition_spec(definition())


UNFIT: Mapping[str, tuple[dict[str, Any], str]] = {
    "no spec": ({"spec": None}, "spec: must be an object"),
    "no code": ({"spec": {}}, "spec.code: is missing"),
    "no source": ({"spec": {"code": {}}}, "spec.code.source: is missing"),
    "a task without image": (
        {"spec": {"code": CODE, "tasks": [{"name": "embed", "activity": {}}]}},
        "spec.tasks[0].activity: has no image: give image, or a template with an image for the container named main",
    ),
}


@pytest.mark.parametrize(("fields", "why"), UNFIT.values(), ids=UNFIT)
def test_a_definition_that_cannot_be_run_says_why(fields: dict[str, Any], why: str) -> None:
    record = parse_definition(definition() | fields)
    assert record is not None
    assert record.spec == why


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        [],
        {},
        {"name": "a"},
        {"name": 1, "namespace": "ns", "resourceVersion": "1"},
        {"name": "a", "namespace": "b"},
    ],
    ids=str,
)
def test_an_object_of_odd_shape_gives_no_record(metadata: Any) -> None:
    assert parse_definition({"metadata": metadata, "spec": CONTENT}) is None


def test_the_digest_is_of_the_content_alone() -> None:
    other = {"spec": CONTENT, "metadata": definition()["metadata"] | {"labels": {"a": "b"}, "resourceVersion": "8"}}
    first, second = parse_definition(definition()), parse_definition(other)
    assert first is not None
    assert second is not None
    assert first.digest == second.digest


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(JSON, JSON)
def test_contents_that_differ_have_digests_that_differ(first: Any, second: Any) -> None:
    # As text, since 1 and true are equal here and aren't in JSON.
    if json.dumps(first, sort_keys=True) != json.dumps(second, sort_keys=True):
        assert content_digest(first) != content_digest(second)


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=5))
def test_the_order_of_fields_is_no_content(content: dict[str, Any]) -> None:
    assert content_digest(content) == content_digest(dict(reversed(content.items())))


# -- references --------------------------------------------------------------------------------------------------------

OWN: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, {}),
    "an input": ({"input": {"args": [1]}}, {"input": '{"args":[1],"kwargs":{}}'}),
    "an exact input": ({"input": {"json": '{ "args": [1.0] }'}}, {"input": '{ "args": [1.0] }'}),
    "bounds": (
        {"parallelism": 2, "timeouts": {"workflowSeconds": 5}, "ttlSecondsAfterFinished": 6},
        {"parallelism": 2, "workflow_timeout_s": 5, "ttl_s": 6},
    ),
    "suspended": ({"suspend": True}, {"suspend": True}),
    "let go": ({"suspend": False}, {"suspend": False}),
    "stopped": ({"stop": "Terminate"}, {"stop": StopMode.TERMINATE}),
    "another factory": (
        {"definitionRef": {"name": "video-v1", "entrypoint": "process"}},
        {"entrypoint": "process"},
    ),
    "nulls": ({"code": None, "tasks": None, "timeouts": {"decisionSeconds": None}}, {}),
}


@pytest.mark.parametrize(("spec", "own"), OWN.values(), ids=OWN)
def test_a_reference_holds_what_the_workflow_says_itself(spec: dict[str, Any], own: dict[str, Any]) -> None:
    body = workflow(**spec)
    body["spec"] = {name: value for name, value in body["spec"].items() if value is not None}
    assert spec_or_reference(body) == Reference(name="video-v1", own=own)


TASKS_OF_WORKFLOWS: Mapping[str, tuple[dict[str, Any], SubWorkflow]] = {
    "another factory": ({"entrypoint": "f"}, SubWorkflow(entrypoint="f")),
    "a definition": ({"definitionRef": {"name": "b-v1"}}, SubWorkflow(definition="b-v1")),
    "a definition's other factory": (
        {"definitionRef": {"name": "b-v1", "entrypoint": "f"}},
        SubWorkflow(definition="b-v1", entrypoint="f"),
    ),
}


@pytest.mark.parametrize(("given", "expected"), TASKS_OF_WORKFLOWS.values(), ids=TASKS_OF_WORKFLOWS)
def test_a_task_may_be_a_workflow_of_a_definition(given: dict[str, Any], expected: SubWorkflow) -> None:
    spec = definition_spec(definition(tasks=[{"name": "a", "workflow": given}]))
    assert spec.tasks["a"].workflow == expected


def test_a_workflow_with_code_is_no_reference() -> None:
    assert isinstance(spec_or_reference({"metadata": {"name": "a"}, "spec": CONTENT}), WorkflowSpec)


BESIDE = (
    "stands beside definitionRef: leave one of them out (beside it stand only input, parallelism,"
    " timeouts.workflowSeconds, ttlSecondsAfterFinished, suspend and stop)"
)
REFUSED: Mapping[str, tuple[dict[str, Any], str]] = {
    "code": ({"code": CODE}, f"spec.code: {BESIDE}"),
    "tasks": ({"tasks": TASKS}, f"spec.tasks: {BESIDE}"),
    "no tasks": ({"tasks": []}, f"spec.tasks: {BESIDE}"),
    "defaults": ({"defaults": {}}, f"spec.defaults: {BESIDE}"),
    "jobs": ({"jobs": {}}, f"spec.jobs: {BESIDE}"),
    "onEnd": ({"onEnd": "Wait"}, f"spec.onEnd: {BESIDE}"),
    "a decision's timeout": ({"timeouts": {"decisionSeconds": 5}}, f"spec.timeouts.decisionSeconds: {BESIDE}"),
    "a time to clean up": ({"timeouts": {"cancelSeconds": 5}}, f"spec.timeouts.cancelSeconds: {BESIDE}"),
    "no name": ({"definitionRef": {}}, "spec.definitionRef.name: is missing"),
    "a name that is none": ({"definitionRef": {"name": "A"}}, "spec.definitionRef.name: is 'A': must match"),
    "an entrypoint that is a path": (
        {"definitionRef": {"name": "a", "entrypoint": "a.b"}},
        "spec.definitionRef.entrypoint: is 'a.b': must match",
    ),
    "a bad input": ({"input": {"json": "[]"}}, "spec.input.json: must be a JSON object"),
}


@pytest.mark.parametrize(("spec", "message"), REFUSED.values(), ids=REFUSED)
def test_what_an_older_crd_let_through_is_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec) as error:
        spec_or_reference(workflow(**spec))
    assert str(error.value).startswith(message)


def test_the_name_of_a_workflow_of_a_definition_is_bounded_too() -> None:
    body = workflow() | {"metadata": {"name": "a" * 53}}
    with pytest.raises(InvalidSpec, match=r"metadata\.name: has 53 characters"):
        spec_or_reference(body)


# -- the schema --------------------------------------------------------------------------------------------------------


def bare(node: Any) -> Any:
    """A piece of a schema without its words for people."""
    if isinstance(node, dict):
        return {name: bare(value) for name, value in node.items() if name not in {"description", "absent"}}
    return node


def test_a_definitions_fields_are_those_of_a_workflow_with_the_same_bounds_and_rules() -> None:
    ours, theirs = (schema.structural(kind.shape)["properties"]["spec"] for kind in (WORKFLOW_DEFINITION, WORKFLOW))
    fields = theirs["properties"].keys() - {"definitionRef", "input", "suspend", "stop"}
    assert ours["properties"].keys() == fields
    for name in fields:
        assert bare(ours["properties"][name]) == bare(theirs["properties"][name]), name
    assert ours["required"] == ["code"]
    rules = [rule for rule in ours["x-kubernetes-validations"] if rule not in theirs["x-kubernetes-validations"]]
    assert [rule["rule"] for rule in rules] == ["self == oldSelf"]


def test_every_field_is_either_a_workflows_own_or_the_definitions() -> None:
    shape = schema.structural(WORKFLOW.shape)["properties"]["spec"]["properties"]
    fields = {name for name in shape if name != "timeouts"} | {f"timeouts.{n}" for n in shape["timeouts"]["properties"]}
    own = set(re.split(", | and ", OWN_FIELDS))
    assert own.isdisjoint(OF_THE_DEFINITION)
    assert own | set(OF_THE_DEFINITION) == fields - {"code", "definitionRef"}


def test_a_definition_has_no_status() -> None:
    [version] = schema.crd(WORKFLOW_DEFINITION)["spec"]["versions"]
    assert "subresources" not in version
    assert "selectableFields" not in version


def test_workflows_are_selected_by_their_definition() -> None:
    [version] = schema.crd(WORKFLOW)["spec"]["versions"]
    assert version["selectableFields"] == [{"jsonPath": ".spec.definitionRef.name"}]
