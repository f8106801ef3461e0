"""Definitions and the Workflows that name one, as the API server takes and refuses them."""

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.cluster import cluster
from tests.e2e.kube import Kube, install_crds

pytestmark = pytest.mark.cluster

KIND = "workflowdefinitions.flowy.dev"
WORKFLOWS = "workflows.flowy.dev"

Manifest = dict[str, Any]

CODE = {"source": "def f(embed): ..."}


@pytest.fixture(scope="module")
def kube() -> Iterator[Kube]:
    kube = Kube(cluster.up(), f"definitions-{uuid.uuid4().hex[:6]}")
    install_crds(kube.kubeconfig)
    kube.run("create", "namespace", kube.namespace)
    yield kube
    kube.run("delete", "namespace", kube.namespace, "--wait=false")


def task(name: str = "embed", **fields: Any) -> Manifest:
    return {"name": name, "activity": {"image": "ffmpeg:9"}, **fields}


def manifest(kind: str, **spec: Any) -> Manifest:
    """One of either kind, with a name of its own; fields that are None are left out."""
    fields = {name: value for name, value in spec.items() if value is not None}
    name = f"d-{uuid.uuid4().hex[:8]}"
    return {"apiVersion": "flowy.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": fields}


def definition(**spec: Any) -> Manifest:
    return manifest("WorkflowDefinition", **{"code": CODE, **spec})


def workflow(**spec: Any) -> Manifest:
    """A Workflow that refers to a definition."""
    return manifest("Workflow", **{"definitionRef": {"name": "video-v4"}, **spec})


def create(kube: Kube, body: Manifest) -> str:
    kube.run("create", "-f", "-", stdin=json.dumps(body))
    name: str = body["metadata"]["name"]
    return name


def patch(kube: Kube, kind: str, name: str, *operations: Manifest) -> str:
    """Apply a JSON patch and return what kubectl says on stderr."""
    return kube.run("patch", kind, name, "--type=json", f"--patch={json.dumps(operations)}", check=False).stderr


def test_both_are_established_and_their_schemas_have_no_complaint(kube: Kube) -> None:
    for kind in (KIND, WORKFLOWS):
        status = kube.get("crd", kind)["status"]
        conditions = {condition["type"]: condition["status"] for condition in status["conditions"]}
        assert conditions == {"NamesAccepted": "True", "Established": "True"}


EITHER = "spec: Invalid value: give either code or definitionRef: exactly one of the two says what to run"


def business(field: str) -> str:
    return (
        f"spec.{field}: Forbidden: spec.{field} is the definition's business, leave it out (beside definitionRef stand only"
        " input, parallelism, timeouts.workflowSeconds, ttlSecondsAfterFinished, suspend and stop)"
    )


REFUSED: Mapping[str, tuple[Manifest, str]] = {
    "neither code nor definitionRef": (workflow(definitionRef=None), EITHER),
    "both": (workflow(code=CODE), EITHER),
    "a reference without a name": (workflow(definitionRef={}), "spec.definitionRef.name: Required value"),
    "a reference that is a name": (
        workflow(definitionRef="video"),
        "spec.definitionRef in body must be of type object",
    ),
    "a name that no object can have": (
        workflow(definitionRef={"name": "Video_4"}),
        "spec.definitionRef.name in body should match '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$'",
    ),
    "an entrypoint that is a path": (
        workflow(definitionRef={"name": "video", "entrypoint": "a.b"}),
        "spec.definitionRef.entrypoint in body should match '^[A-Za-z_][A-Za-z0-9_]*$'",
    ),
    "a definition of another namespace": (
        workflow(definitionRef={"name": "video", "namespace": "other"}),
        'unknown field "spec.definitionRef.namespace"',
    ),
    "tasks of its own": (workflow(tasks=[task()]), business("tasks")),
    "no tasks, said aloud": (workflow(tasks=[]), business("tasks")),
    "defaults of its own": (workflow(defaults={}), business("defaults")),
    "keep times of its own": (workflow(jobs={"keepFailedSeconds": 5}), business("jobs")),
    "an end of its own": (workflow(onEnd="Wait"), business("onEnd")),
    "a time to clean up of its own": (
        workflow(timeouts={"cancelSeconds": 5}),
        business("timeouts.cancelSeconds"),
    ),
    "a decision's timeout of its own": (
        workflow(timeouts={"decisionSeconds": 5}),
        business("timeouts.decisionSeconds"),
    ),
    "a task of a factory and of a definition": (
        definition(tasks=[{"name": "a", "workflow": {"entrypoint": "f", "definitionRef": {"name": "a"}}}]),
        "spec.tasks[0].workflow: Invalid value: give either entrypoint or definitionRef: exactly one of the two",
    ),
    "a task of a definition without a name": (
        definition(tasks=[{"name": "a", "workflow": {"definitionRef": {}}}]),
        "spec.tasks[0].workflow.definitionRef.name: Required value",
    ),
    "a definition without code": (definition(code=None), "spec.code: Required value"),
    "a definition without source": (definition(code={}), "spec.code.source: Required value"),
    "a definition with an input": (definition(input={"args": []}), 'unknown field "spec.input"'),
    "a suspended definition": (definition(suspend=True), 'unknown field "spec.suspend"'),
    "a definition of a definition": (definition(definitionRef={"name": "a"}), 'unknown field "spec.definitionRef"'),
    "a definition's task without image": (
        definition(tasks=[{"name": "embed", "activity": {}}]),
        'no image for the container of ["embed"]: give activity.image',
    ),
    "a definition's task named by a keyword": (
        definition(tasks=[task("class")]),
        'spec.tasks[0].name: Invalid value: "class": a Python keyword',
    ),
    "a definition's task twice": (definition(tasks=[task(), task()]), "spec.tasks[1]: Duplicate value"),
    "a definition's timeouts that don't fit": (
        definition(
            tasks=[task(timeouts={"startToCloseSeconds": 9})], defaults={"timeouts": {"scheduleToCloseSeconds": 8}}
        ),
        'scheduleToCloseSeconds is less than startToCloseSeconds in ["embed"]',
    ),
}


@pytest.mark.parametrize(("body", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(kube: Kube, body: Manifest, message: str) -> None:
    assert message in kube.refusal(body)


OWN = {
    "input": {"args": [1]},
    "parallelism": 3,
    "timeouts": {"workflowSeconds": 60},
    "ttlSecondsAfterFinished": 60,
    "suspend": False,
    "stop": "Cancel",
}

TAKEN: Mapping[str, Manifest] = {
    "a reference alone": workflow(),
    "with all that a Workflow says itself": workflow(**OWN),
    "with timeouts that say nothing": workflow(timeouts={}),
    "another factory": workflow(definitionRef={"name": "video-v4", "entrypoint": "process"}),
    "a name with dots": workflow(definitionRef={"name": "video-v4.2"}),
    "tasks that are definitions": definition(
        tasks=[
            {"name": "a", "workflow": {"definitionRef": {"name": "b-v1"}}},
            {"name": "c", "workflow": {"definitionRef": {"name": "b-v1", "entrypoint": "d"}}, "onParentEnd": "Cancel"},
        ]
    ),
    "a definition of code alone": definition(),
    "a definition with everything": definition(
        code={**CODE, "entrypoint": "f"},
        tasks=[task(timeouts={"startToCloseSeconds": 5}, retry={"maxAttempts": 2})],
        defaults={"template": {"spec": {"nodeSelector": {"disk": "ssd"}}}},
        parallelism=5,
        timeouts={"workflowSeconds": 60, "decisionSeconds": 5},
        jobs={"keepFailedSeconds": 60},
        onEnd="Abandon",
        ttlSecondsAfterFinished=60,
    ),
}


@pytest.mark.parametrize("body", TAKEN.values(), ids=TAKEN)
def test_taken_as_it_is(kube: Kube, body: Manifest) -> None:
    kind = KIND if body["kind"] == "WorkflowDefinition" else WORKFLOWS
    assert kube.get(kind, create(kube, body))["spec"] == body["spec"]


# What may change.

FULL = definition(
    code={**CODE, "entrypoint": "f"},
    tasks=[
        task(
            activity={
                "image": "a",
                "env": [{"name": "A", "value": "1"}],
                "template": {"spec": {"nodeSelector": {"disk": "ssd"}, "containers": [{"name": "main", "tty": True}]}},
            }
        )
    ],
    defaults={"retry": {"maxAttempts": 2}},
    parallelism=5,
    ttlSecondsAfterFinished=60,
)
ACTIVITY = "/spec/tasks/0/activity"
CHANGES: Mapping[str, Manifest] = {
    "the source": {"op": "replace", "path": "/spec/code/source", "value": "x"},
    "the entrypoint goes": {"op": "remove", "path": "/spec/code/entrypoint"},
    "an image": {"op": "replace", "path": f"{ACTIVITY}/image", "value": "b"},
    "a variable": {"op": "replace", "path": f"{ACTIVITY}/env/0/value", "value": "2"},
    "deep in a template": {"op": "replace", "path": f"{ACTIVITY}/template/spec/nodeSelector/disk", "value": "hdd"},
    "a field of a template for another": {
        "op": "move",
        "from": f"{ACTIVITY}/template/spec/containers/0/tty",
        "path": f"{ACTIVITY}/template/spec/containers/0/stdin",
    },
    "a task more": {"op": "add", "path": "/spec/tasks/-", "value": task("more")},
    "tasks go": {"op": "remove", "path": "/spec/tasks"},
    "defaults": {"op": "replace", "path": "/spec/defaults/retry/maxAttempts", "value": 3},
    "timeouts come": {"op": "add", "path": "/spec/timeouts", "value": {"workflowSeconds": 5}},
    "parallelism": {"op": "replace", "path": "/spec/parallelism", "value": 6},
    "the time to live goes": {"op": "remove", "path": "/spec/ttlSecondsAfterFinished"},
}
FIXED = (
    "spec: Forbidden: a WorkflowDefinition can't be changed, what its Workflows have run depends on it: create another one"
    " under a name of its own, such as video-v2"
)


@pytest.fixture(scope="module")
def full(kube: Kube) -> str:
    return create(kube, FULL)


@pytest.mark.parametrize("operation", CHANGES.values(), ids=CHANGES)
def test_a_definition_stays_as_it_is(kube: Kube, full: str, operation: Manifest) -> None:
    assert FIXED in patch(kube, KIND, full, operation)


def test_a_definition_may_be_labelled_and_applied_again(kube: Kube, full: str) -> None:
    kube.run("label", KIND, full, "team=media")
    kube.apply(kube.get(KIND, full))


def test_a_reference_stays_and_what_is_beside_it_may_change(kube: Kube) -> None:
    name = create(kube, workflow())
    other = {"op": "replace", "path": "/spec/definitionRef/name", "value": "video-v5"}
    assert "spec.definitionRef: Forbidden: spec.definitionRef can't be changed" in patch(kube, WORKFLOWS, name, other)
    code: list[Manifest] = [
        {"op": "remove", "path": "/spec/definitionRef"},
        {"op": "add", "path": "/spec/code", "value": CODE},
    ]
    assert "spec.definitionRef can't be changed" in patch(kube, WORKFLOWS, name, *code)
    for field, value in (("parallelism", 2), ("ttlSecondsAfterFinished", 5), ("suspend", True), ("stop", "Cancel")):
        assert patch(kube, WORKFLOWS, name, {"op": "add", "path": f"/spec/{field}", "value": value}) == ""


def test_rules_stay_cheap_enough_for_the_largest_definition(kube: Kube) -> None:
    activity = {"image": "a", "env": [{"name": f"A{n}", "value": "x"} for n in range(16)]}
    tasks = [task(f"t{n}", activity=activity, timeouts={"startToCloseSeconds": 5}) for n in range(256)]
    defaults = {"timeouts": {"scheduleToCloseSeconds": 5, "scheduleToStartSeconds": 5}}
    name = create(kube, definition(code={"source": "x" * 262_144}, tasks=tasks, defaults=defaults))
    kube.run("label", KIND, name, "team=media")


# What people see.


def test_workflows_are_found_by_their_definition(kube: Kube) -> None:
    mine = {create(kube, workflow(definitionRef={"name": "selected"})) for _ in range(2)}
    create(kube, workflow(definitionRef={"name": "selected-too"}))
    words = ["get", WORKFLOWS, "--field-selector", "spec.definitionRef.name=selected", "-o", "name"]
    assert kube.run(*words).stdout.split() == sorted(f"workflow.flowy.dev/{name}" for name in mine)


def test_kubectl_get_shows_the_entrypoint_and_the_definition(kube: Kube, full: str) -> None:
    head, row = (line.split() for line in kube.run("get", KIND, full).stdout.splitlines())
    assert head == ["NAME", "ENTRYPOINT", "AGE"]
    assert row[:2] == [full, "f"]
    name = create(kube, workflow())
    head, row = (line.split() for line in kube.run("get", WORKFLOWS, name, "-o", "wide").stdout.splitlines())
    assert "DEFINITION" in head
    assert "video-v4" in row


def test_short_name_and_category_find_it(kube: Kube, full: str) -> None:
    assert kube.run("get", "fwd", full, "-o", "name").stdout.strip() == f"workflowdefinition.flowy.dev/{full}"
    assert f"workflowdefinition.flowy.dev/{full}" in kube.run("get", "flowy", "-o", "name").stdout.split()


def test_kubectl_explain_tells_what_it_is_for(kube: Kube) -> None:
    told = " ".join(kube.run("explain", f"{KIND}.spec").stdout.split())
    assert "It can't be changed: other content is another definition." in told
