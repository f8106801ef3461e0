"""The CRD as the API server enforces it: every refusal with its message, what may change, what people see."""

import copy
import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import cluster
from tests.e2e.kube import Kube

pytestmark = pytest.mark.cluster

CRD = Path(__file__).parents[3] / "crds/workflows.flowy.dev.yaml"
KIND = "workflows.flowy.dev"

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def kube() -> Iterator[Kube]:
    kube = Kube(cluster.up(), f"crd-{uuid.uuid4().hex[:6]}")
    kube.run("apply", "--server-side", "--force-conflicts", "-f", str(CRD))
    kube.run("wait", "--for=condition=Established", "--timeout=30s", f"crd/{KIND}")
    kube.run("create", "namespace", kube.namespace)
    yield kube
    kube.run("delete", "namespace", kube.namespace, "--wait=false")


def task(name: str = "embed", **fields: Any) -> Manifest:
    return {"name": name, "activity": {"image": "ffmpeg:9"}, **fields}


def child(name: str = "process", **fields: Any) -> Manifest:
    return {"name": name, "workflow": {"entrypoint": "process"}, **fields}


def workflow(name: str = "talk", **spec: Any) -> Manifest:
    return {
        "apiVersion": "flowy.dev/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name},
        "spec": {"code": {"source": "def f(embed): ..."}, **spec},
    }


def create(kube: Kube, manifest: Manifest) -> str:
    """Create under a name of its own, and return that name."""
    name = f"w-{uuid.uuid4().hex[:8]}"
    # Not apply: it drops nulls in objects.
    kube.run("create", "-f", "-", stdin=json.dumps({**manifest, "metadata": {"name": name}}))
    return name


def patch(kube: Kube, name: str, *operations: Manifest, check: bool = True, subresource: str = "") -> str:
    """Apply a JSON patch and return what kubectl says on stderr."""
    words = ["patch", KIND, name, "--type=json", f"--patch={json.dumps(operations)}"]
    return kube.run(*words, *([f"--subresource={subresource}"] if subresource else []), check=check).stderr


def test_the_crd_is_established_and_its_schema_has_no_complaint(kube: Kube) -> None:
    status = kube.get("crd", KIND)["status"]
    conditions = {condition["type"]: condition["status"] for condition in status["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert status["storedVersions"] == ["v1alpha1"]


CLOSE = "scheduleToCloseSeconds spans all attempts: make it at least {}, or leave one of them out"
LAID = (
    "spec.tasks: Invalid value: with spec.defaults.timeouts laid under it, scheduleToCloseSeconds is less than"
    " {} in {}: scheduleToCloseSeconds spans all attempts, set both in the task"
)
EITHER = "a task is either an activity or a workflow: give exactly one of the two"
IMAGE = "give activity.image, or a template with an image for the container named main"
TEMPLATE = {"spec": {"containers": [{"name": "main", "image": "a"}]}}
EMBED = "spec.tasks[0]"

REFUSED: Mapping[str, tuple[Manifest, str]] = {
    "no spec": ({**workflow(), "spec": None}, "spec: Required value"),
    "no code": ({**workflow(), "spec": {"tasks": []}}, "spec: Invalid value: give either code or definitionRef"),
    "no source": (workflow(code={}), "spec.code.source: Required value"),
    "an empty source": (
        workflow(code={"source": ""}),
        "spec.code.source in body should be at least 1 chars long",
    ),
    "a huge source": (
        workflow(code={"source": "x" * 262_145}),
        "spec.code.source: Too long: may not be more than 262144 bytes",
    ),
    "an entrypoint that is a path": (
        workflow(code={"source": "x", "entrypoint": "video.main"}),
        "spec.code.entrypoint in body should match '^[A-Za-z_][A-Za-z0-9_]*$'",
    ),
    "a name too long for Jobs": (
        {**workflow(), "metadata": {"name": "a" * 53}},
        "metadata.name: Invalid value: the name is too long: at most 52 characters, since the names of its Jobs are made from it",
    ),
    "json beside args": (
        workflow(input={"args": [], "json": "{}"}),
        "spec.input.json: Invalid value: give either json or args and kwargs, not both",
    ),
    "json beside kwargs": (
        workflow(input={"kwargs": {}, "json": "{}"}),
        "spec.input.json: Invalid value: give either json or args and kwargs, not both",
    ),
    "json as an object": (workflow(input={"json": {}}), "spec.input.json in body must be of type string"),
    "args as text": (workflow(input={"args": "a"}), "spec.input.args in body must be of type array"),
    "kwargs as list": (workflow(input={"kwargs": []}), "spec.input.kwargs in body must be of type object"),
    "an unknown field": (workflow(inputs={}), 'unknown field "spec.inputs"'),
    "a task without name": (workflow(tasks=[{"activity": {"image": "a"}}]), f"{EMBED}.name: Required value"),
    "a task that is nothing": (workflow(tasks=[{"name": "a"}]), f"{EMBED}.activity: Required value: {EITHER}"),
    "a task that is both": (
        workflow(tasks=[task(workflow={"entrypoint": "f"})]),
        f"{EMBED}.activity: Required value: {EITHER}",
    ),
    "a workflow without entrypoint": (
        workflow(tasks=[{"name": "a", "workflow": {}}]),
        f"{EMBED}.workflow: Invalid value: give either entrypoint or definitionRef: exactly one of the two",
    ),
    "a workflow's entrypoint that is a path": (
        workflow(tasks=[{"name": "a", "workflow": {"entrypoint": "a.b"}}]),
        f"{EMBED}.workflow.entrypoint in body should match '^[A-Za-z_][A-Za-z0-9_]*$'",
    ),
    "onParentEnd of an activity": (
        workflow(tasks=[task(onParentEnd="Cancel")]),
        f"{EMBED}.onParentEnd: Invalid value: onParentEnd has a meaning for a workflow only: an activity goes by spec.onEnd",
    ),
    "an unknown onParentEnd": (
        workflow(tasks=[child(onParentEnd="Kill")]),
        f'{EMBED}.onParentEnd: Unsupported value: "Kill": supported values: "Terminate", "Cancel", "Abandon"',
    ),
    "a timer that a workflow doesn't have": (
        workflow(tasks=[child(timeouts={"scheduleToStartSeconds": 5})]),
        f"{EMBED}.timeouts.scheduleToStartSeconds: Invalid value: scheduleToStartSeconds has no meaning for a workflow",
    ),
    "a name that is no name": (
        workflow(tasks=[task("b-c")]),
        f"{EMBED}.name: Invalid value: \"b-c\": {EMBED}.name in body should match '^[A-Za-z_][A-Za-z0-9_]*$'",
    ),
    "a name that ends in a line break": (workflow(tasks=[task("a\n")]), f"{EMBED}.name in body should match"),
    "a name that is too long": (
        workflow(tasks=[task("a" * 41)]),
        f"{EMBED}.name: Too long: may not be more than 40 bytes",
    ),
    "a keyword": (
        workflow(tasks=[task("class")]),
        f'{EMBED}.name: Invalid value: "class": a Python keyword can\'t be the name of a task, since it names a parameter',
    ),
    "a keyword in capitals": (workflow(tasks=[task("None")]), f'{EMBED}.name: Invalid value: "None": a Python keyword'),
    "a name twice": (
        workflow(tasks=[task("a"), task("b"), task("a")]),
        'spec.tasks[2]: Duplicate value: {"name":"a"}',
    ),
    "too many tasks": (
        workflow(tasks=[task(f"t{n}") for n in range(257)]),
        "spec.tasks: Too many: 257: must have at most 256 items",
    ),
    "no image": (
        workflow(tasks=[{"name": "a", "activity": {}}, task("b"), {"name": "c", "activity": {"command": ["x"]}}]),
        f'spec.tasks: Required value: no image for the container of ["a", "c"]: {IMAGE}',
    ),
    "containers in the wrong place": (
        workflow(tasks=[task(activity={"image": "a", "template": {"containers": []}})]),
        f'unknown field "{EMBED}.activity.template.containers"',
    ),
    "resources in the wrong place": (
        workflow(tasks=[task(activity={"image": "a", "resources": {"cpu": 1}})]),
        f'unknown field "{EMBED}.activity.resources.cpu"',
    ),
    "a variable that is a number": (
        workflow(tasks=[task(activity={"image": "a", "env": [{"name": "A", "value": 1}]})]),
        f"{EMBED}.activity.env[0].value in body must be of type string",
    ),
    "a command as text": (
        workflow(tasks=[task(activity={"image": "a", "command": "run"})]),
        f"{EMBED}.activity.command in body must be of type array",
    ),
    "a timeout of nothing": (
        workflow(tasks=[task(timeouts={"startToCloseSeconds": 0})]),
        f"{EMBED}.timeouts.startToCloseSeconds in body should be greater than or equal to 1",
    ),
    "a timeout with unit": (
        workflow(tasks=[task(timeouts={"startToCloseSeconds": "10m"})]),
        f"{EMBED}.timeouts.startToCloseSeconds in body must be of type integer",
    ),
    "a queue timeout of nothing": (
        workflow(defaults={"timeouts": {"scheduleToStartSeconds": 0}}),
        "spec.defaults.timeouts.scheduleToStartSeconds in body should be greater than or equal to 1",
    ),
    "a total timeout of nothing": (
        workflow(defaults={"timeouts": {"scheduleToCloseSeconds": 0}}),
        "spec.defaults.timeouts.scheduleToCloseSeconds in body should be greater than or equal to 1",
    ),
    "a timeout of ages": (
        workflow(tasks=[task(timeouts={"startToCloseSeconds": 316_224_001})]),
        f"{EMBED}.timeouts.startToCloseSeconds in body should be less than or equal to 316224000",
    ),
    "all attempts shorter than one": (
        workflow(tasks=[task(timeouts={"startToCloseSeconds": 9, "scheduleToCloseSeconds": 8})]),
        f"{EMBED}.timeouts.scheduleToCloseSeconds: Invalid value: {CLOSE.format('startToCloseSeconds')}",
    ),
    "all attempts shorter than the queue": (
        workflow(defaults={"timeouts": {"scheduleToStartSeconds": 9, "scheduleToCloseSeconds": 8}}),
        f"spec.defaults.timeouts.scheduleToCloseSeconds: Invalid value: {CLOSE.format('scheduleToStartSeconds')}",
    ),
    "all attempts shorter than the default of one": (
        workflow(
            tasks=[task("a", timeouts={"scheduleToCloseSeconds": 8}), task("b")],
            defaults={"timeouts": {"startToCloseSeconds": 9}},
        ),
        LAID.format("startToCloseSeconds", '["a"]'),
    ),
    "the default of all attempts shorter than the queue": (
        workflow(
            tasks=[task("a"), task("b", timeouts={"scheduleToStartSeconds": 9})],
            defaults={"timeouts": {"scheduleToCloseSeconds": 8}},
        ),
        LAID.format("scheduleToStartSeconds", '["b"]'),
    ),
    "no attempt": (
        workflow(tasks=[task(retry={"maxAttempts": 0})]),
        f"{EMBED}.retry.maxAttempts in body should be greater than or equal to 1",
    ),
    "too many attempts": (
        workflow(defaults={"retry": {"maxAttempts": 101}}),
        "spec.defaults.retry.maxAttempts in body should be less than or equal to 100",
    ),
    "an unknown cause": (
        workflow(tasks=[task(retry={"when": ["Timeouts"]})]),
        f'{EMBED}.retry.when[0]: Unsupported value: "Timeouts": supported values: "Timeout", "ScheduleToStart", "Error"',
    ),
    "a cause twice": (
        workflow(tasks=[task(retry={"when": ["Error", "Error"]})]),
        f'{EMBED}.retry.when[1]: Duplicate value: "Error"',
    ),
    "no delay in the list": (
        workflow(tasks=[task(retry={"delaysSeconds": []})]),
        f"{EMBED}.retry.delaysSeconds in body should have at least 1 items",
    ),
    "a delay into the past": (
        workflow(tasks=[task(retry={"delaysSeconds": [0, -1]})]),
        f"{EMBED}.retry.delaysSeconds[1] in body should be greater than or equal to 0",
    ),
    "delays and back-off": (
        workflow(tasks=[task(retry={"delaysSeconds": [0], "backoff": {"initialSeconds": 1}})]),
        "give either delaysSeconds (each wait by itself) or backoff (waits that grow), not both",
    ),
    "a cap below the first wait": (
        workflow(defaults={"retry": {"backoff": {"initialSeconds": 9, "maxSeconds": 8}}}),
        "maxSeconds is less than initialSeconds",
    ),
    "a back-off without a first wait": (
        workflow(tasks=[task(retry={"backoff": {}})]),
        f"{EMBED}.retry.backoff.initialSeconds: Required value",
    ),
    "a multiplier of eleven": (
        workflow(tasks=[task(retry={"backoff": {"initialSeconds": 1, "multiplier": 11}})]),
        f"{EMBED}.retry.backoff.multiplier in body should be less than or equal to 10",
    ),
    "more jitter than there is": (
        workflow(tasks=[task(retry={"backoff": {"initialSeconds": 1, "jitterPercent": 101}})]),
        f"{EMBED}.retry.backoff.jitterPercent in body should be less than or equal to 100",
    ),
    "an exit code of success": (
        workflow(tasks=[task(retry={"nonRetryableExitCodes": [0]})]),
        f"{EMBED}.retry.nonRetryableExitCodes[0] in body should be greater than or equal to 1",
    ),
    "an error named twice": (
        workflow(tasks=[task(retry={"nonRetryableErrors": ["A", "A"]})]),
        f'{EMBED}.retry.nonRetryableErrors[1]: Duplicate value: "A"',
    ),
    "no parallelism": (workflow(parallelism=0), "spec.parallelism in body should be greater than or equal to 1"),
    "no time for the workflow": (
        workflow(timeouts={"workflowSeconds": 0}),
        "spec.timeouts.workflowSeconds in body should be greater than or equal to 1",
    ),
    "no time for a decision": (
        workflow(timeouts={"decisionSeconds": 0}),
        "spec.timeouts.decisionSeconds in body should be greater than or equal to 1",
    ),
    "no time for successes to stay": (
        workflow(jobs={"keepSucceededSeconds": 0}),
        "spec.jobs.keepSucceededSeconds in body should be greater than or equal to 1",
    ),
    "no time for failures to stay": (
        workflow(jobs={"keepFailedSeconds": 0}),
        "spec.jobs.keepFailedSeconds in body should be greater than or equal to 1",
    ),
    "no time to stay": (
        workflow(ttlSecondsAfterFinished=0),
        "spec.ttlSecondsAfterFinished in body should be greater than or equal to 1",
    ),
    "a stop that isn't one": (workflow(stop="Halt"), 'spec.stop: Unsupported value: "Halt"'),
    "an end that isn't one": (workflow(onEnd="Keep"), 'spec.onEnd: Unsupported value: "Keep"'),
    "no time to clean up": (
        workflow(timeouts={"cancelSeconds": 0}),
        "spec.timeouts.cancelSeconds in body should be greater than or equal to 1",
    ),
    "suspend as text": (workflow(suspend="yes"), "spec.suspend in body must be of type boolean"),
}


@pytest.mark.parametrize(("manifest", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_manifest_is_refused_with_a_message_that_names_the_field(
    kube: Kube, manifest: Manifest, message: str
) -> None:
    assert message in kube.refusal(manifest)


# Equal limits, times from two places, each bound's own end: what is just allowed.
ACCEPTED: Mapping[str, Manifest] = {
    "code alone": workflow(),
    "no tasks": workflow(tasks=[]),
    "a name as long as may be": {**workflow(), "metadata": {"name": "a" * 52}},
    "soft keywords and near misses": workflow(tasks=[task(name) for name in ("match", "none", "_", "Class", "a" * 40)]),
    "equal limits": workflow(
        tasks=[task(timeouts={"scheduleToStartSeconds": 5, "startToCloseSeconds": 5, "scheduleToCloseSeconds": 5})]
    ),
    "a task that overrides both of a pair": workflow(
        tasks=[task(timeouts={"startToCloseSeconds": 1, "scheduleToCloseSeconds": 2})],
        defaults={"timeouts": {"startToCloseSeconds": 8, "scheduleToCloseSeconds": 9}},
    ),
    "a workflow task with everything": workflow(
        tasks=[child(onParentEnd="Abandon", timeouts={"startToCloseSeconds": 9}, retry={"maxAttempts": 2})]
    ),
    "defaults that a workflow task could not have": workflow(
        tasks=[child(timeouts={"scheduleToCloseSeconds": 5})],
        defaults={"timeouts": {"scheduleToStartSeconds": 9, "startToCloseSeconds": 9}},
    ),
    "the image in the activity's template": workflow(tasks=[{"name": "a", "activity": {"template": TEMPLATE}}]),
    "the image in the defaults": workflow(tasks=[{"name": "a", "activity": {}}], defaults={"template": TEMPLATE}),
    "retry after nothing": workflow(tasks=[task(retry={"when": [], "maxAttempts": 100, "delaysSeconds": [0]})]),
    "a back-off over delays by default": workflow(
        tasks=[task(retry={"backoff": {"initialSeconds": 700, "multiplier": 10, "jitterPercent": 100}})],
        defaults={"retry": {"delaysSeconds": [1]}},
    ),
    "a back-off whose cap is its first wait": workflow(
        tasks=[task(retry={"backoff": {"initialSeconds": 9, "maxSeconds": 9, "multiplier": 1}})]
    ),
    "as many that are never retried as may be": workflow(
        tasks=[
            task(
                retry={
                    "nonRetryableExitCodes": list(range(1, 256)),
                    "nonRetryableErrors": [f"{n:04}".ljust(1024, "x") for n in range(100)],
                }
            )
        ]
    ),
    "as many tasks as may be": workflow(tasks=[task(f"t{n}") for n in range(256)]),
    "any pod": workflow(
        tasks=[task(activity={"template": {"spec": {"unheardOf": [{"a": None}], "containers": None}}})]
    ),
    "json": workflow(input={"json": '{"args": [1.0]}'}),
}


@pytest.mark.parametrize("manifest", ACCEPTED.values(), ids=ACCEPTED)
def test_good_manifest_is_accepted(kube: Kube, manifest: Manifest) -> None:
    kube.run("create", "--dry-run=server", "-f", "-", stdin=json.dumps(manifest))


FULL = workflow(
    code={"source": "def f(embed): ...", "entrypoint": "f"},
    input={"args": [1, None, {"a": None, "deep": [{"b": 1.5}]}], "kwargs": {"k": {"l": None}, "n": None}},
    tasks=[
        {
            "name": "embed",
            "activity": {
                "image": "a",
                "env": [
                    {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "B", "value": "$(A)"},
                ],
                "resources": {"requests": {"cpu": 0.5}},
                "template": {
                    "metadata": {"creationTimestamp": None, "labels": {"a": "b"}},
                    "spec": {
                        "nodeSelector": {"disk": "ssd"},
                        "volumes": [{"name": "v", "emptyDir": None}],
                        "containers": [{"name": "main", "workingDir": "/a", "ports": [{"containerPort": 1}]}],
                    },
                },
            },
            "timeouts": {"startToCloseSeconds": 5},
            "retry": {"when": ["Timeout", "Error"]},
        },
        task("encode"),
    ],
    defaults={"retry": {"maxAttempts": 2}},
    parallelism=3,
    timeouts={"workflowSeconds": 60, "cancelSeconds": 60},
    onEnd="Wait",
    jobs={"keepFailedSeconds": 60},
    ttlSecondsAfterFinished=60,
    suspend=False,
)


@pytest.fixture(scope="module")
def full(kube: Kube) -> str:
    """The name of a workflow with every field, nulls in each free place; tests leave its fixed fields as they are."""
    return create(kube, FULL)


def fixed(field: str) -> str:
    return (
        f"spec.{field}: Forbidden: spec.{field} can't be changed, what has run depends on it: create a new Workflow"
        " (suspend, stop, parallelism and ttlSecondsAfterFinished may be changed)"
    )


ACTIVITY = "/spec/tasks/0/activity"


def moved(place: str, old: str, new: str) -> Manifest:
    return {"op": "move", "from": f"{place}/{old}", "path": f"{place}/{new}"}


CHANGES: Mapping[str, tuple[str, Manifest]] = {
    "source": ("code", {"op": "replace", "path": "/spec/code/source", "value": "x"}),
    "entrypoint goes": ("code", {"op": "remove", "path": "/spec/code/entrypoint"}),
    "input goes": ("input", {"op": "remove", "path": "/spec/input"}),
    "args go": ("input", {"op": "remove", "path": "/spec/input/args"}),
    "an argument": ("input", {"op": "replace", "path": "/spec/input/args/0", "value": 2}),
    "a null argument": ("input", {"op": "replace", "path": "/spec/input/args/1", "value": 2}),
    "deep in an argument": ("input", {"op": "replace", "path": "/spec/input/args/2/deep/0/b", "value": 2.5}),
    "a null deep in an argument": ("input", {"op": "replace", "path": "/spec/input/args/2/a", "value": 1}),
    "one argument more": ("input", {"op": "add", "path": "/spec/input/args/-", "value": None}),
    "a keyword argument": ("input", {"op": "replace", "path": "/spec/input/kwargs/k", "value": 1}),
    "a keyword argument's name": ("input", moved("/spec/input/kwargs", "k", "m")),
    "a null keyword argument's name": ("input", moved("/spec/input/kwargs", "n", "m")),
    "a name deep in a keyword argument": ("input", moved("/spec/input/kwargs/k", "l", "m")),
    "a name deep in an argument": ("input", moved("/spec/input/args/2", "a", "b")),
    "a keyword argument more": ("input", {"op": "add", "path": "/spec/input/kwargs/z", "value": None}),
    "a keyword argument less": ("input", {"op": "remove", "path": "/spec/input/kwargs/n"}),
    "tasks go": ("tasks", {"op": "remove", "path": "/spec/tasks"}),
    "a task more": ("tasks", {"op": "add", "path": "/spec/tasks/-", "value": task("more")}),
    "a task less": ("tasks", {"op": "remove", "path": "/spec/tasks/1"}),
    "a task's name": ("tasks", {"op": "replace", "path": "/spec/tasks/1/name", "value": "code"}),
    "an image": ("tasks", {"op": "replace", "path": "/spec/tasks/1/activity/image", "value": "b"}),
    "a command comes": ("tasks", {"op": "add", "path": f"{ACTIVITY}/command", "value": ["x"]}),
    "a variable's value": ("tasks", {"op": "replace", "path": f"{ACTIVITY}/env/1/value", "value": "x"}),
    "a variable's source": (
        "tasks",
        {"op": "replace", "path": f"{ACTIVITY}/env/0/valueFrom/fieldRef/fieldPath", "value": "metadata.uid"},
    ),
    "the order of variables": ("tasks", {"op": "move", "from": f"{ACTIVITY}/env/1", "path": f"{ACTIVITY}/env/0"}),
    "resources": ("tasks", {"op": "replace", "path": f"{ACTIVITY}/resources/requests/cpu", "value": 1}),
    "a resource's name": ("tasks", moved(f"{ACTIVITY}/resources/requests", "cpu", "memory")),
    "a kind of limit": ("tasks", moved(f"{ACTIVITY}/resources", "requests", "limits")),
    "the kind of a variable's source": ("tasks", moved(f"{ACTIVITY}/env/0/valueFrom", "fieldRef", "secretKeyRef")),
    "labels become annotations": ("tasks", moved(f"{ACTIVITY}/template/metadata", "labels", "annotations")),
    "one field of the pod for another": ("tasks", moved(f"{ACTIVITY}/template/spec", "nodeSelector", "affinity")),
    "one field of the container for another": (
        "tasks",
        moved(f"{ACTIVITY}/template/spec/containers/0", "workingDir", "tty"),
    ),
    "a label": ("tasks", {"op": "replace", "path": f"{ACTIVITY}/template/metadata/labels/a", "value": "c"}),
    "a field of the pod": (
        "tasks",
        {"op": "replace", "path": f"{ACTIVITY}/template/spec/nodeSelector/disk", "value": "hdd"},
    ),
    "a field of the pod comes": (
        "tasks",
        {"op": "add", "path": f"{ACTIVITY}/template/spec/hostNetwork", "value": True},
    ),
    "a volume": ("tasks", {"op": "replace", "path": f"{ACTIVITY}/template/spec/volumes/0/emptyDir", "value": {}}),
    "a field of the container": (
        "tasks",
        {"op": "replace", "path": f"{ACTIVITY}/template/spec/containers/0/workingDir", "value": "/b"},
    ),
    "deep in a field of the container": (
        "tasks",
        {"op": "replace", "path": f"{ACTIVITY}/template/spec/containers/0/ports/0/containerPort", "value": 2},
    ),
    "a timeout": ("tasks", {"op": "replace", "path": "/spec/tasks/0/timeouts/startToCloseSeconds", "value": 6}),
    "a retry rule": ("tasks", {"op": "replace", "path": "/spec/tasks/0/retry/when", "value": ["Error"]}),
    "defaults": ("defaults", {"op": "replace", "path": "/spec/defaults/retry/maxAttempts", "value": 3}),
    "defaults go": ("defaults", {"op": "remove", "path": "/spec/defaults"}),
    "the workflow's timeout": ("timeouts", {"op": "replace", "path": "/spec/timeouts/workflowSeconds", "value": 61}),
    "a decision's timeout comes": ("timeouts", {"op": "add", "path": "/spec/timeouts/decisionSeconds", "value": 9}),
    "timeouts go": ("timeouts", {"op": "remove", "path": "/spec/timeouts"}),
    "the time to clean up goes": ("timeouts", {"op": "remove", "path": "/spec/timeouts/cancelSeconds"}),
    "what becomes of open tasks": ("onEnd", {"op": "replace", "path": "/spec/onEnd", "value": "Cancel"}),
    "how long Jobs stay": ("jobs", {"op": "replace", "path": "/spec/jobs/keepFailedSeconds", "value": 61}),
    "jobs go": ("jobs", {"op": "remove", "path": "/spec/jobs"}),
}


@pytest.mark.parametrize(("field", "operation"), CHANGES.values(), ids=CHANGES)
def test_fixed_field_stays(kube: Kube, full: str, field: str, operation: Manifest) -> None:
    assert fixed(field) in patch(kube, full, operation, check=False)


ADDITIONS: Mapping[str, Any] = {
    "input": {"args": []},
    "tasks": [task()],
    "defaults": {},
    "timeouts": {},
    "onEnd": "Wait",
    "jobs": {},
}


@pytest.mark.parametrize(("field", "value"), ADDITIONS.items(), ids=ADDITIONS)
def test_fixed_field_that_was_absent_stays_absent(kube: Kube, field: str, value: Any) -> None:
    name = create(kube, workflow())
    assert fixed(field) in patch(kube, name, {"op": "add", "path": f"/spec/{field}", "value": value}, check=False)


FREE: Mapping[str, Sequence[Any]] = {
    "suspend": (True, False),
    "parallelism": (1, 10_000),
    "ttlSecondsAfterFinished": (1, 9),
}


@pytest.mark.parametrize(("field", "given"), FREE.items(), ids=FREE)
@pytest.mark.parametrize("before", [workflow(), FULL], ids=["absent before", "beside all others, with nulls"])
def test_changeable_field_comes_changes_and_goes(
    kube: Kube, before: Manifest, field: str, given: Sequence[Any]
) -> None:
    name = create(kube, before)
    for value in given:
        patch(kube, name, {"op": "add", "path": f"/spec/{field}", "value": value})
        assert kube.get(KIND, name)["spec"][field] == value
    patch(kube, name, {"op": "remove", "path": f"/spec/{field}"})
    assert field not in kube.get(KIND, name)["spec"]


STOPS: Mapping[str, tuple[str, Manifest, bool]] = {
    "taken back": ("Cancel", {"op": "remove", "path": "/spec/stop"}, False),
    "more than before": ("Cancel", {"op": "replace", "path": "/spec/stop", "value": "Terminate"}, True),
    "the same again": ("Cancel", {"op": "replace", "path": "/spec/stop", "value": "Cancel"}, True),
    "terminated, and taken back": ("Terminate", {"op": "remove", "path": "/spec/stop"}, False),
    "less than before": ("Terminate", {"op": "replace", "path": "/spec/stop", "value": "Cancel"}, False),
}


@pytest.mark.parametrize(("mode", "change", "taken"), STOPS.values(), ids=STOPS)
def test_a_stop_can_be_set_and_not_be_taken_back(kube: Kube, mode: str, change: Manifest, *, taken: bool) -> None:
    name = create(kube, FULL)
    patch(kube, name, {"op": "add", "path": "/spec/stop", "value": mode})
    words = patch(kube, name, change, check=taken)
    refusal = (
        "spec.stop: Forbidden: spec.stop can't be taken back, tasks may have been cancelled already;"
        " it may only become Terminate"
    )
    assert (refusal in words) == (not taken)


def test_rules_stay_cheap_enough_for_the_largest_workflow(kube: Kube) -> None:
    big = task(
        timeouts={"startToCloseSeconds": 5},
        retry={"delaysSeconds": [0] * 100},
        activity={"image": "a", "env": [{"name": f"A{n}", "value": "x"} for n in range(16)]},
    )
    name = create(
        kube,
        workflow(
            code={"source": "x" * 200_000},
            input={"json": json.dumps({"args": ["x" * 700_000]})},
            tasks=[{**big, "name": f"t{n}"} for n in range(200)]
            + [child(f"c{n}", timeouts=big["timeouts"]) for n in range(56)],
            defaults={"timeouts": {"scheduleToCloseSeconds": 5, "scheduleToStartSeconds": 5}},
        ),
    )
    patch(kube, name, {"op": "add", "path": "/spec/suspend", "value": True})
    set_status(kube, name, STATUS)


def test_labels_and_annotations_are_nobody_elses_business(kube: Kube, full: str) -> None:
    kube.run("label", KIND, full, "team=media")
    kube.run("annotate", KIND, full, "note=x")


CONDITION = {
    "type": "Succeeded",
    "status": "Unknown",
    "reason": "Running",
    "message": "",
    "lastTransitionTime": "2026-11-24T10:00:00Z",
    "observedGeneration": 1,
}
ERROR = {
    "type": "ValueError",
    "message": "no such file",
    "task": "embed-0",
    "attempt": 3,
    "timer": "StartToClose",
    "exitCode": 137,
    "details": '{"bytes": 1.0}',
    "line": 7,
    "traceback": "line 7, in f\n    embed(x)",
}
STATUS = {
    "observedGeneration": 1,
    "conditions": [CONDITION],
    "startTime": "2026-11-24T10:00:00Z",
    "completionTime": "2026-11-24T10:00:00.123456Z",
    "progress": {"scheduled": 9, "running": 2, "succeeded": 6, "failed": 1, "summary": "7/9"},
    "waitingOn": [
        {"task": "encode-1", "line": 5, "since": "2026-11-24T10:00:00Z", "reason": "Pod: 0/3 nodes available"}
    ],
    "result": "[1.0]",
    "error": ERROR,
    "ignoredErrors": [ERROR, {"type": "Error", "message": ""}],
    "run": 1,
    "code": {"digest": "sha256:" + "0" * 64, "python": "3.13", "flowy": "0.1.0"},
    "definitionDigest": "sha256:" + "1" * 64,
    "historyStart": 1,
    "historyDigest": "0123456789abcdef",
    "history": [
        {"id": 1, "type": "TaskScheduled", "task": "embed-0", "error": {"details": [None, {"x": 1}]}, "last": None}
    ],
}


def set_status(kube: Kube, name: str, status: Manifest) -> None:
    patch(kube, name, {"op": "add", "path": "/status", "value": status}, subresource="status")


def test_the_status_keeps_every_field_and_counts_no_generation(kube: Kube) -> None:
    name = create(kube, FULL)
    set_status(kube, name, STATUS)
    after = kube.get(KIND, name)
    assert after["status"] == STATUS
    assert after["metadata"]["generation"] == 1
    patch(kube, name, {"op": "add", "path": "/status/history/-", "value": {"id": 2}}, subresource="status")
    assert len(kube.get(KIND, name)["status"]["history"]) == 2


def test_a_change_of_the_spec_counts_a_generation_and_leaves_the_status(kube: Kube) -> None:
    name = create(kube, workflow())
    set_status(kube, name, STATUS)
    patch(kube, name, {"op": "add", "path": "/spec/suspend", "value": True})
    after = kube.get(KIND, name)
    assert after["metadata"]["generation"] == 2
    assert after["status"] == STATUS


def test_a_spec_write_cannot_set_the_status_nor_a_status_write_the_spec(kube: Kube) -> None:
    name = create(kube, {**workflow(), "status": STATUS})
    assert "status" not in kube.get(KIND, name)
    patch(kube, name, {"op": "add", "path": "/status", "value": STATUS})
    assert "status" not in kube.get(KIND, name)
    patch(kube, name, {"op": "add", "path": "/spec/suspend", "value": True}, subresource="status")
    assert "suspend" not in kube.get(KIND, name)["spec"]


BAD_STATUS: Mapping[str, tuple[Manifest, str]] = {
    "a condition of a fourth state": (
        {"conditions": [{**CONDITION, "status": "Maybe"}]},
        'status.conditions[0].status: Unsupported value: "Maybe"',
    ),
    "one condition twice": ({"conditions": [CONDITION, CONDITION]}, "status.conditions[1]: Duplicate value"),
    "a digest of another kind": (
        {"historyDigest": "xyz"},
        "status.historyDigest: Invalid value: \"xyz\": historyDigest in body should match '^[0-9a-f]{16}$'",
    ),
    "a time that is none": (
        {"startTime": "today"},
        'status.startTime: Invalid value: "today": startTime in body must be of type date-time',
    ),
}


@pytest.mark.parametrize(("status", "message"), BAD_STATUS.values(), ids=BAD_STATUS)
def test_bad_status_is_refused(kube: Kube, full: str, status: Manifest, message: str) -> None:
    operation = {"op": "add", "path": "/status", "value": status}
    assert message in patch(kube, full, operation, check=False, subresource="status")


def test_free_data_survives_and_numbers_follow_the_api_servers_rules(kube: Kube) -> None:
    given = {
        "args": [{"a": [None, {"": "é", "nul": "\0"}], "one": 1.0, "small": 0.1}, [[]], "x"],
        "kwargs": {"deep": {"er": None}},
    }
    name = create(kube, workflow(input=copy.deepcopy(given)))
    after = kube.get(KIND, name)["spec"]["input"]
    assert after == given
    assert isinstance(after["args"][0]["one"], int)


def test_json_text_survives_exactly(kube: Kube) -> None:
    text = '{ "args": [1.0, 18446744073709551617, 1e400], "kwargs": {"é": null} }'
    assert kube.get(KIND, create(kube, workflow(input={"json": text})))["spec"]["input"]["json"] == text


def test_unknown_fields_of_the_pod_survive(kube: Kube, full: str) -> None:
    assert kube.get(KIND, full)["spec"]["tasks"][0]["activity"] == FULL["spec"]["tasks"][0]["activity"]


def table(text: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]


def test_kubectl_get_shows_status_and_progress(kube: Kube) -> None:
    name = create(kube, workflow())
    set_status(kube, name, STATUS)
    head, row = table(kube.run("get", KIND, name).stdout)
    assert head == ["NAME", "STATUS", "PROGRESS", "RUNNING", "AGE"]
    assert row[:-1] == [name, "Running", "7/9", "2"]
    head, row = table(kube.run("get", KIND, name, "-o", "wide").stdout)
    assert head == ["NAME", "STATUS", "PROGRESS", "RUNNING", "WAITING", "DEFINITION", "AGE"]
    assert row[:-1] == [name, "Running", "7/9", "2", "encode-1"]


def test_short_name_and_category_find_it(kube: Kube, full: str) -> None:
    assert kube.run("get", "fwf", full, "-o", "name").stdout.strip() == f"workflow.flowy.dev/{full}"
    assert f"workflow.flowy.dev/{full}" in kube.run("get", "flowy", "-o", "name").stdout.split()


def test_kubectl_explain_shows_the_descriptions(kube: Kube) -> None:
    tasks = kube.run("explain", f"{KIND}.spec.tasks").stdout
    assert "The tasks, by the names of the factory's parameters." in " ".join(tasks.split())
    retry = " ".join(kube.run("explain", f"{KIND}.spec.tasks.retry").stdout.split())
    assert "Attempts in all, the first one counts. Absent: that of spec.defaults.retry, else 3." in retry


def test_kubectl_wait_sees_the_end(kube: Kube) -> None:
    name = create(kube, workflow())
    set_status(
        kube, name, {"observedGeneration": 1, "conditions": [{**CONDITION, "status": "True", "reason": "Completed"}]}
    )
    kube.run("wait", "--for=condition=Succeeded", "--timeout=5s", f"{KIND}/{name}")
