"""Cases for the operator as a whole: a Workflow, what its containers do, and what is done to the objects around it."""

from typing import Any

from hypothesis import strategies as st

from flowy_operator.core.history import FailureClass
from tests.fuzz.schema import fitting, schema_of
from tests.fuzz.texts import json_values, numbers, octets, texts, times

Case = dict[str, Any]

PROGRAMS = (
    "def f(a):\n    return lambda *args, **kwargs: a(1)",
    "def f(a, b):\n    return lambda *args, **kwargs: [b(a(n)) for n in range(3)]",
    "from flowy import restart\ndef f(a):\n    return lambda n=2: restart(n - 1) if n and a() is None else a(n)",
    "def f(a, b):\n    def w(*args):\n        try:\n            return a(*args)\n        except Exception as e:\n            return b(str(e))\n    return w",
    "def f(a):\n    return lambda: 1 / 0",
    "def f(a):\n    raise SystemExit('evil')",
    "def f(a):\n    return lambda *args, **kwargs: (args, kwargs)",
    "def f(",
    "a = b = 1",
    "class F:\n    def __init__(self, a): self.a = a\n    def __call__(self, *x): return self.a(x)",
)
"""All but the last few call tasks `a` and `b`."""

_HINTS = {
    "source": st.sampled_from(PROGRAMS) | texts.filter(bool),
    "name": st.sampled_from(["a", "b", "f", "c"]),
    "entrypoint": st.sampled_from(["f", "F", "g"]),
    "json": st.sampled_from(['{"args": [1]}', '{"kwargs": {"x": 1}}', "[]", "{}"]) | texts.map(lambda t: t.ljust(2)),
}

_SPEC = schema_of("workflows", "spec")
_STATUS = schema_of("workflows", "status")
_TASKS = [{"name": name, "activity": {"image": "busybox"}} for name in ("a", "b")]


@st.composite
def specs(draw: st.DrawFn) -> Case:
    """Mostly one that runs, with some of its fields made anew."""
    if draw(st.integers(0, 4)) == 0:
        found: Case = draw(fitting(_SPEC, _HINTS))
        return found
    spec: Case = {"code": {"source": draw(st.sampled_from(PROGRAMS))}, "tasks": [dict(task) for task in _TASKS]}
    for name in draw(st.lists(st.sampled_from(sorted(_SPEC["properties"])), max_size=2, unique=True)):
        if name not in {"code", "definitionRef"}:
            spec[name] = draw(fitting(_SPEC["properties"][name], _HINTS))
    if draw(st.booleans()):
        task = _SPEC["properties"]["tasks"]["items"]["properties"]
        name = draw(st.sampled_from(sorted(task.keys() - {"name", "workflow"})))
        spec["tasks"] = [*_TASKS[1:], {**_TASKS[0], name: draw(fitting(task[name], _HINTS))}]
    return spec


# -- events and status ------------------------------------------------------------------------------------------------

_keys = st.sampled_from(["a-0", "a-1", "b-0", "b-1", "a-9999999", "evil-0", "a", "-", ""]) | texts
_FIELDS = {
    "id": st.integers(0, 9) | numbers,
    "time": times,
    "type": st.sampled_from(
        [
            "TaskScheduled", "RetryScheduled", "TaskCompleted", "TaskDisrupted", "TaskFailed", "TaskTimedOut",
            "TaskCancelled", "StopRequested", "Restarted", "Evil",
        ]
    ),
    "task": _keys,
    "attempt": st.integers(-1, 3) | numbers,
    "launch": st.integers(-1, 3) | numbers,
    "digest": st.sampled_from(["0123456789abcdef", ""]) | texts,
    "line": st.integers(0, 5) | numbers,
    "at": times,
    "result": st.sampled_from(["null", "1", "{"]) | texts,
    "resultRef": st.fixed_dictionaries({"name": texts, "digest": texts, "bytes": numbers}) | json_values,
    "startedAt": times,
    "node": texts,
    "error": st.fixed_dictionaries(
        {"type": texts, "message": texts}, optional={"exitCode": numbers, "details": texts}
    ) | json_values,
    "class": st.sampled_from([*FailureClass, "Evil"]),
    "final": st.booleans(),
    "progress": texts,
    "timer": st.sampled_from(["StartToClose", "Heartbeat", "Evil"]),
    "message": texts,
    "reason": st.sampled_from(["WorkflowEnded", "Deleted", "Evil"]) | texts,
    "mode": st.sampled_from(["Cancel", "Terminate", "Evil"]),
    "run": st.integers(0, 3) | numbers,
    "input": st.sampled_from(['{"args": [], "kwargs": {}}', "null"]) | texts,
}  # fmt: skip

events = (
    st.fixed_dictionaries(
        {name: _FIELDS[name] for name in ("id", "time", "type", "task")},
        optional={name: value for name, value in _FIELDS.items() if name not in {"id", "time", "type", "task"}},
    )
    | st.dictionaries(texts, json_values, max_size=3)
)  # fmt: skip


def _of_type(name: str, required: str, optional: str) -> st.SearchStrategy[Case]:
    return st.fixed_dictionaries(
        {"type": st.just(name), **{field: _FIELDS[field] for field in required.split()}},
        optional={field: _FIELDS[field] for field in optional.split()},
    )


likely = st.one_of(
    _of_type("TaskScheduled", "task", "attempt digest line"),
    _of_type("TaskScheduled", "task digest line", ""),
    _of_type("RetryScheduled", "task attempt at", "digest line"),
    _of_type("TaskCompleted", "task", "attempt result startedAt node"),
    _of_type("TaskDisrupted", "task launch reason", "attempt message progress"),
    _of_type("TaskFailed", "task error", "attempt class startedAt final progress"),
    _of_type("TaskTimedOut", "task timer", "attempt final message progress"),
    _of_type("TaskCancelled", "task reason", "attempt digest line"),
    _of_type("StopRequested", "mode", ""),
    _of_type("Restarted", "run input", ""),
)
"""Events that are well-formed, but for their ids and times: what they make together is anybody's guess."""

statuses = fitting(
    _STATUS,
    {
        "history": st.lists(events, max_size=4),
        "reason": st.sampled_from(["Running", "Completed", "Stalled", "Failed", "HistoryInvalid", "evil"]),
        "type": st.sampled_from(["Succeeded", "Stalled", "Reconciling", "evil"]),
    },
)


# -- what others may do to objects ------------------------------------------------------------------------------------

_owners = st.lists(
    st.fixed_dictionaries(
        {
            "apiVersion": st.sampled_from(["flowy.dev/v1alpha1", "batch/v1", "v1"]),
            "kind": st.sampled_from(["Workflow", "Job", "Pod"]),
            "name": st.sampled_from(["w", "good", "gone"]),
            "uid": st.sampled_from(["$w", "$good", "$job", "none"]),
        },
        optional={"controller": st.booleans()},
    ),
    max_size=2,
)
_labels = st.fixed_dictionaries(
    {"app.kubernetes.io/managed-by": st.just("flowy")},
    optional={
        "flowy.dev/workflow": st.sampled_from(["w", "good", "", "gone"]),
        "flowy.dev/workflow-uid": st.sampled_from(["$w", "$good", "none", ""]),
        "flowy.dev/task": st.sampled_from(["a", "a-0", ""]),
        "flowy.dev/attempt": st.sampled_from(["1", "0", "-1", "9" * 63, "x", ""]),
        "flowy.dev/run": st.sampled_from(
            ["1", "2", "0", "-1", "9" * 63, "x", "\u0661", ""]
        ),  # the second to last a digit, of another script
        "batch.kubernetes.io/job-name": st.sampled_from(["$job", "none", ""]),
    },
)
_annotations = st.fixed_dictionaries(
    {},
    optional={
        name: texts | st.sampled_from(["a-0", "b-0", "1", "$w"])
        for name in (
            "flowy.dev/task",
            "flowy.dev/input",
            "flowy.dev/input-configmap",
            "flowy.dev/depth",
            "flowy.dev/definition",
            "flowy.dev/suspended-by-parent",
            "flowy.dev/bytes",
        )
    },
)
_metadata = st.fixed_dictionaries(
    {"labels": _labels},
    optional={"ownerReferences": _owners, "annotations": _annotations, "finalizers": st.just(["evil.dev/kept"])},
)
_state = st.fixed_dictionaries(
    {},
    optional={
        "waiting": st.fixed_dictionaries({}, optional={"reason": texts, "message": texts}),
        "running": st.fixed_dictionaries({}, optional={"startedAt": times}),
        "terminated": st.fixed_dictionaries(
            {"exitCode": numbers},
            optional={
                "reason": texts | st.sampled_from(["OOMKilled", "Completed", "ContainerStatusUnknown"]),
                "message": texts,
                "startedAt": times,
                "finishedAt": times,
                "signal": numbers,
            },
        ),
    },
)
_containers = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["main", "sidecar"]) | texts},
        optional={"state": _state, "lastState": _state, "image": texts, "restartCount": numbers},
    ),
    max_size=2,
)
pod_statuses = st.fixed_dictionaries(
    {},
    optional={
        "phase": st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown", "Evil"]),
        "reason": texts | st.sampled_from(["Evicted", "NodeLost", "OutOfcpu", "Shutdown"]),
        "message": texts,
        "startTime": times,
        "conditions": st.lists(
            st.fixed_dictionaries(
                {
                    "type": st.sampled_from(["DisruptionTarget", "PodScheduled", "Ready"]),
                    "status": st.sampled_from(["True", "False"]),
                },
                optional={"reason": texts, "message": texts, "lastTransitionTime": times},
            ),
            max_size=2,
        ),
        "containerStatuses": _containers,
        "initContainerStatuses": _containers,
    },
)
job_statuses = st.fixed_dictionaries(
    {},
    optional={
        "conditions": st.lists(
            st.fixed_dictionaries(
                {
                    "type": st.sampled_from(["Complete", "Failed", "Suspended", "FailureTarget"]),
                    "status": st.sampled_from(["True", "False", "Unknown"]),
                },
                optional={"reason": texts, "message": texts, "lastTransitionTime": times},
            ),
            max_size=2,
        ),
        "startTime": times,
        "active": numbers,
    },
)
"""An API server keeps the shape of these; only Workflows may be of any that their schema allows."""

_page = schema_of("historypages", "spec")
_objects = st.one_of(
    st.fixed_dictionaries({"kind": st.just("pods"), "metadata": _metadata, "status": pod_statuses}),
    st.fixed_dictionaries({"kind": st.just("jobs"), "metadata": _metadata, "status": job_statuses}),
    st.fixed_dictionaries(
        {
            "kind": st.just("configmaps"),
            "metadata": _metadata,
            "binaryData": st.dictionaries(st.sampled_from(["value", "input.json", "x"]), st.just("ew=="), max_size=2),
            "data": st.dictionaries(st.sampled_from(["value", "input.json", "y"]), texts, max_size=2),
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("historypages"),
            "metadata": _metadata,
            "spec": fitting(_page, {"workflowUID": st.sampled_from(["$w", "none"])}),
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("workflowdefinitions"),
            "metadata": _metadata,
            "spec": fitting(schema_of("workflowdefinitions", "spec"), _HINTS),
        }
    ),
    st.fixed_dictionaries({"kind": st.just("workflows"), "metadata": _metadata, "spec": specs(), "status": statuses}),
)

_steps = st.one_of(
    st.fixed_dictionaries({"do": st.just("wait"), "seconds": st.sampled_from([0.01, 0.5, 2, 30])}),
    st.fixed_dictionaries(
        {
            "do": st.just("create"),
            "object": _objects,
            "name": st.sampled_from(["evil-1", "evil-2", "$job", "$page", "$input", "video-v1"]),
        }
    ),
    st.fixed_dictionaries({"do": st.just("status"), "fields": statuses}),
    st.fixed_dictionaries({"do": st.just("replace-status"), "fields": statuses}),
    st.fixed_dictionaries(
        {"do": st.just("event"), "at": st.integers(0, 6), "fields": st.fixed_dictionaries({}, optional=_FIELDS)}
    ),
    st.fixed_dictionaries({"do": st.just("drop-event"), "at": st.integers(0, 6)}),
    st.fixed_dictionaries(
        {"do": st.just("history"), "events": st.lists(likely, max_size=5), "keeps": st.integers(0, 4)},
        optional={
            "run": st.integers(1, 3),
            "launchedThrough": st.integers(0, 9) | numbers.filter(lambda n: 0 <= n < 2**31),
            "decidedThrough": st.integers(0, 9) | numbers.filter(lambda n: 0 <= n < 2**31),
        },
    ),
    st.fixed_dictionaries({"do": st.just("spec"), "fields": specs()}),
    st.fixed_dictionaries({"do": st.just("pod-status"), "fields": pod_statuses}),
    st.fixed_dictionaries({"do": st.just("job-status"), "fields": job_statuses}),
    st.fixed_dictionaries({"do": st.just("metadata"), "of": st.sampled_from(["pods", "jobs"]), "fields": _metadata}),
    st.fixed_dictionaries(
        {"do": st.just("delete"), "of": st.sampled_from(["pods", "jobs", "configmaps", "historypages", "workflows"])}
    ),
    st.just({"do": "restart"}),
)

_acts = st.fixed_dictionaries(
    {},
    optional={
        "message": texts | st.sampled_from(["1", '"evil"', '{"error": {"type": "evil", "message": "x"}}']),
        "exit_code": st.sampled_from([0, 1, 1, 137, 255, 2**31 - 1]),
        "log": octets,
        "disruption": st.just("DisruptionTarget") | texts.filter(bool),
        "lasts_s": st.sampled_from([0.0, 1.0, 50.0]),
        "pending_s": st.sampled_from([0.0, 3.0]),
        "unmounted": texts,
    },
)

clusters = st.fixed_dictionaries(
    {"spec": specs(), "acts": st.lists(_acts, max_size=3), "steps": st.lists(_steps, max_size=6)},
    optional={"metadata": _metadata},
)
"""`$w` and `$good` stand for uids, `$job` for the newest Job's name or uid, `$page` for a page's name."""
