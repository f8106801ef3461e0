"""From the resource's JSON to the inner spec: what is laid under what, and every sentence about what can't be run."""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowy.policy.retry import Backoff, RetrySpec, RetryWhen
from flowy.policy.timeout import TimeoutSpec
from flowy_operator.adapters.crd.spec import InvalidSpec, workflow_spec
from flowy_operator.core.history import StopMode
from flowy_operator.core.spec import Activity, OnEnd, OnParentEnd, SubWorkflow, TaskSpec, WorkflowSpec


def body(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "talk-42"}, "spec": {"code": {"source": "def f(): ..."}, **spec}}


def task(name: str = "embed", **fields: Any) -> dict[str, Any]:
    return {"name": name, "activity": {"image": "ffmpeg:9"}, **fields}


def child(name: str = "process", **fields: Any) -> dict[str, Any]:
    return {"name": name, "workflow": {"entrypoint": "process"}, **fields}


def test_what_is_absent_takes_the_defaults_of_the_inner_spec() -> None:
    assert workflow_spec(body()) == WorkflowSpec(source="def f(): ...")


def test_a_sub_workflow_has_timeouts_and_retry_of_its_own() -> None:
    spec = workflow_spec(
        body(
            tasks=[
                child("plain"),
                child(
                    "full",
                    onParentEnd="Abandon",
                    timeouts={"startToCloseSeconds": 7, "scheduleToCloseSeconds": 9},
                    retry={"maxAttempts": 2, "when": ["Error"]},
                ),
            ],
            defaults={
                "timeouts": {"startToCloseSeconds": 1, "scheduleToStartSeconds": 1},
                "retry": {"maxAttempts": 100},
            },
        )
    )
    assert list(spec.tasks.values()) == [
        TaskSpec(name="plain", workflow=SubWorkflow(entrypoint="process")),
        TaskSpec(
            name="full",
            workflow=SubWorkflow(entrypoint="process", on_parent_end=OnParentEnd.ABANDON),
            timeouts=TimeoutSpec(start_to_close_s=7, schedule_to_close_s=9),
            retry=RetrySpec(max_attempts=2, when=(RetryWhen.ERROR,)),
        ),
    ]


def test_a_child_inherits_what_is_not_its_own_exactly_as_it_stands() -> None:
    kept = {
        "tasks": [task(activity={"image": "a", "template": {"spec": {"unheardOf": [{"a": None}]}}}, soon=1), child()],
        "defaults": {"timeouts": {"startToCloseSeconds": 5}},
        "jobs": {"keepFailedSeconds": 5},
        "parallelism": 5,
        "fieldOfALaterVersion": {"a": [1]},
    }
    own = {"input": {"json": "{}"}, "suspend": True, "stop": "Cancel", "ttlSecondsAfterFinished": 5}
    spec = workflow_spec(body(**kept, **own, timeouts={"workflowSeconds": 5, "decisionSeconds": 6}))
    assert spec.inherited == kept | {"timeouts": {"decisionSeconds": 6}}
    assert workflow_spec(body(**kept, timeouts={"workflowSeconds": 5})).inherited == kept
    assert workflow_spec(body(tasks=[task()], parallelism=5)).inherited == {}


def test_every_field_arrives() -> None:
    env = [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}, "unknownHere": 1}]
    template = {"spec": {"nodeSelector": {"disk": "ssd"}, "containers": [{"name": "main", "workingDir": "/media"}]}}
    default_template = {"metadata": {"labels": {"team": "media"}}}
    spec = workflow_spec(
        body(
            code={"entrypoint": "video", "source": "def video(embed): ..."},
            input={"args": [1, None, "ä"], "kwargs": {"b": {"c": 2.5}}},
            tasks=[
                {
                    "name": "embed",
                    "activity": {
                        "image": "ffmpeg:9",
                        "command": ["/bin/embed"],
                        "args": ["$(FLOWY_ARG_0)"],
                        "env": env,
                        "resources": {"limits": {"memory": "1Gi"}},
                        "template": template,
                    },
                    "timeouts": {"scheduleToStartSeconds": 1, "startToCloseSeconds": 2, "scheduleToCloseSeconds": 3},
                    "retry": {"maxAttempts": 5, "when": ["Error", "ScheduleToStart"], "delaysSeconds": [0, 7]},
                }
            ],
            defaults={"template": default_template},
            parallelism=7,
            timeouts={"workflowSeconds": 11, "decisionSeconds": 12, "cancelSeconds": 16},
            onEnd="Abandon",
            jobs={"keepSucceededSeconds": 13, "keepFailedSeconds": 14},
            ttlSecondsAfterFinished=15,
            suspend=True,
            stop="Terminate",
        )
    )
    assert spec == WorkflowSpec(
        source="def video(embed): ...",
        entrypoint="video",
        input='{"args":[1,null,"ä"],"kwargs":{"b":{"c":2.5}}}',
        tasks={
            "embed": TaskSpec(
                name="embed",
                activity=Activity(
                    image="ffmpeg:9",
                    command=["/bin/embed"],
                    args=["$(FLOWY_ARG_0)"],
                    env=env,
                    resources={"limits": {"memory": "1Gi"}},
                    template=template,
                ),
                timeouts=TimeoutSpec(schedule_to_start_s=1, start_to_close_s=2, schedule_to_close_s=3),
                retry=RetrySpec(max_attempts=5, when=(RetryWhen.ERROR, RetryWhen.SCHEDULE_TO_START), delays_s=(0, 7)),
            )
        },
        default_template=default_template,
        parallelism=7,
        workflow_timeout_s=11,
        decision_timeout_s=12,
        keep_succeeded_s=13,
        keep_failed_s=14,
        ttl_s=15,
        suspend=True,
        cancel_timeout_s=16,
        on_end=OnEnd.ABANDON,
        stop=StopMode.TERMINATE,
    )


TIMEOUT_LAYERS: Mapping[str, tuple[Any, Any, TimeoutSpec]] = {
    "nothing set": (None, None, TimeoutSpec()),
    "the default where the task says nothing": ({"startToCloseSeconds": 5}, None, TimeoutSpec(start_to_close_s=5)),
    "the task over the default": (
        {"startToCloseSeconds": 5},
        {"startToCloseSeconds": 6},
        TimeoutSpec(start_to_close_s=6),
    ),
    "field by field": (
        {"startToCloseSeconds": 5, "scheduleToStartSeconds": 1},
        {"startToCloseSeconds": 6, "scheduleToCloseSeconds": 9},
        TimeoutSpec(schedule_to_start_s=1, start_to_close_s=6, schedule_to_close_s=9),
    ),
    "an equal limit over all attempts is enough": (
        {"startToCloseSeconds": 5},
        {"scheduleToCloseSeconds": 5},
        TimeoutSpec(start_to_close_s=5, schedule_to_close_s=5),
    ),
    "null is nothing": ({"startToCloseSeconds": 5}, {"startToCloseSeconds": None}, TimeoutSpec(start_to_close_s=5)),
}


@pytest.mark.parametrize(("default", "own", "expected"), TIMEOUT_LAYERS.values(), ids=TIMEOUT_LAYERS)
def test_timeouts_are_laid_over_the_defaults(default: Any, own: Any, expected: TimeoutSpec) -> None:
    spec = workflow_spec(body(tasks=[task(timeouts=own)], defaults={"timeouts": default}))
    assert spec.tasks["embed"].timeouts == expected


RETRY_LAYERS: Mapping[str, tuple[Any, Any, RetrySpec]] = {
    "nothing set": (None, None, RetrySpec()),
    "the default where the task says nothing": ({"maxAttempts": 5}, None, RetrySpec(max_attempts=5)),
    "field by field": (
        {"maxAttempts": 5, "delaysSeconds": [1, 2], "when": ["Error"]},
        {"maxAttempts": 2, "delaysSeconds": [0]},
        RetrySpec(max_attempts=2, delays_s=(0,), when=(RetryWhen.ERROR,)),
    ),
    "a back-off, its absent fields filled in": (
        None,
        {"backoff": {"initialSeconds": 10}},
        RetrySpec(backoff=Backoff(initial_s=10, multiplier=2, max_s=600, jitter_percent=20)),
    ),
    "a back-off whose first wait is longer than the usual cap": (
        None,
        {"backoff": {"initialSeconds": 700}},
        RetrySpec(backoff=Backoff(initial_s=700, max_s=700)),
    ),
    "all fields of a back-off": (
        {"backoff": {"initialSeconds": 1, "multiplier": 3, "maxSeconds": 9, "jitterPercent": 0}},
        {"maxAttempts": 7},
        RetrySpec(max_attempts=7, backoff=Backoff(initial_s=1, multiplier=3, max_s=9, jitter_percent=0)),
    ),
    "the task's back-off drops the default's delays": (
        {"delaysSeconds": [5], "maxAttempts": 9},
        {"backoff": {"initialSeconds": 1}},
        RetrySpec(max_attempts=9, backoff=Backoff(initial_s=1)),
    ),
    "the task's delays drop the default's back-off": (
        {"backoff": {"initialSeconds": 1}},
        {"delaysSeconds": [5]},
        RetrySpec(delays_s=(5,)),
    ),
    "the task's back-off replaces the default's whole": (
        {"backoff": {"initialSeconds": 1, "multiplier": 5}},
        {"backoff": {"initialSeconds": 2}},
        RetrySpec(backoff=Backoff(initial_s=2)),
    ),
    "what is never retried": (
        {"nonRetryableExitCodes": [2, 64], "nonRetryableErrors": ["OOMKilled"]},
        {"nonRetryableExitCodes": [1]},
        RetrySpec(non_retryable_exit_codes=(1,), non_retryable_errors=("OOMKilled",)),
    ),
    "an empty list of causes is a choice, not an absence": ({"when": ["Error"]}, {"when": []}, RetrySpec(when=())),
}


@pytest.mark.parametrize(("default", "own", "expected"), RETRY_LAYERS.values(), ids=RETRY_LAYERS)
def test_retry_is_laid_over_the_defaults(default: Any, own: Any, expected: RetrySpec) -> None:
    spec = workflow_spec(body(tasks=[task(retry=own)], defaults={"retry": default}))
    assert spec.tasks["embed"].retry == expected


EXACT = '{ "args": [1.0, 1e2, 18446744073709551617] }'
INPUTS: Mapping[str, tuple[Any, str]] = {
    "absent": (None, '{"args":[],"kwargs":{}}'),
    "empty": ({}, '{"args":[],"kwargs":{}}'),
    "args alone": ({"args": [1]}, '{"args":[1],"kwargs":{}}'),
    "kwargs alone": ({"kwargs": {"a": None}}, '{"args":[],"kwargs":{"a":null}}'),
    "order and characters kept": ({"kwargs": {"z": "ü", "a": "\x00"}}, '{"args":[],"kwargs":{"z":"ü","a":"\\u0000"}}'),
    "text exactly": ({"json": EXACT}, EXACT),
    "text of nothing": ({"json": "{}"}, "{}"),
}


@pytest.mark.parametrize(("given_input", "expected"), INPUTS.values(), ids=INPUTS)
def test_the_input_is_json_text(given_input: Any, expected: str) -> None:
    assert workflow_spec(body(input=given_input)).input == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
def test_any_argument_is_read_back_as_it_was(value: object) -> None:
    spec = workflow_spec(body(input={"args": [value]}))
    assert json.loads(spec.input) == {"args": [value], "kwargs": {}}


IMAGES: Mapping[str, tuple[Any, Any]] = {
    "of the activity": ({"image": "a"}, None),
    "of the activity's template": ({"template": {"spec": {"containers": [{"name": "main", "image": "a"}]}}}, None),
    "of the default template": ({}, {"spec": {"containers": [{"name": "other"}, {"name": "main", "image": "a"}]}}),
}


@pytest.mark.parametrize(("activity", "default"), IMAGES.values(), ids=IMAGES)
def test_the_image_may_come_from(activity: Any, default: Any) -> None:
    spec = workflow_spec(body(tasks=[{"name": "embed", "activity": activity}], defaults={"template": default}))
    assert spec.tasks["embed"].activity is not None
    assert spec.tasks["embed"].activity.template == activity.get("template", {})
    assert spec.default_template == (default or {})


def test_tasks_keep_the_order_of_the_spec() -> None:
    names = ["zulu", "alpha", "mike"]
    assert list(workflow_spec(body(tasks=[task(name) for name in names])).tasks) == names


def test_what_a_newer_crd_knows_is_ignored() -> None:
    assert workflow_spec(body(signals=[], tasks=[task(priority=3)])) == workflow_spec(body(tasks=[task()]))


def test_what_was_handed_over_stays_as_it_was() -> None:
    given_body = body(tasks=[task(retry={"when": []})], defaults={"retry": {"maxAttempts": 2}}, input={"args": [[1]]})
    before = copy.deepcopy(given_body)
    workflow_spec(given_body)
    assert given_body == before


MAIN_UNCLEAR = "has no image: give image, or a template with an image for the container named main"
SHORT_CLOSE = "(spec.defaults.timeouts laid under it): it spans all attempts"

REFUSED: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "no spec": ({"metadata": {"name": "a"}}, "spec: is missing"),
    "a spec that is none": ({"spec": []}, "spec: must be an object"),
    "a name too long for Jobs": ({"metadata": {"name": "a" * 53}}, "metadata.name: has 53 characters: at most 52"),
    "no code": ({"spec": {}}, "spec: has neither code nor definitionRef: give one of the two"),
    "no source": (body(code={}), "spec.code.source: is missing"),
    "an empty source": (body(code={"source": ""}), "spec.code.source: is too short: at least 1 characters"),
    "a huge source": (body(code={"source": "x" * 262_145}), "spec.code.source: is too long: at most 262144 characters"),
    "source of another type": (body(code={"source": 1}), "spec.code.source: must be a string"),
    "an entrypoint that is a path": (
        body(code={"source": "x", "entrypoint": "video.main"}),
        "spec.code.entrypoint: is 'video.main': must match ^[A-Za-z_][A-Za-z0-9_]*$",
    ),
    "args as text": (body(input={"args": "a"}), "spec.input.args: must be a list"),
    "kwargs as list": (body(input={"kwargs": []}), "spec.input.kwargs: must be an object"),
    "an argument too deep": (
        body(input={"args": [json.loads("[" * 250 + "]" * 250)]}),
        f"spec.input.args[0]{'[0]' * 198}: more than 200 levels; pass a flatter structure",
    ),
    "json beside args": (
        body(input={"args": [], "json": "{}"}),
        "spec.input.json: stands beside args or kwargs: give either json or args and kwargs",
    ),
    "json beside kwargs": (
        body(input={"kwargs": {}, "json": "{}"}),
        "spec.input.json: stands beside args or kwargs: give either json or args and kwargs",
    ),
    "json that is none": (
        body(input={"json": "{args: 1}"}),
        "spec.input.json: is no JSON text: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
    ),
    "json with NaN": (
        body(input={"json": '{"args": [NaN]}'}),
        "spec.input.json: is no JSON text: NaN is no JSON number",
    ),
    "json of another kind": (
        body(input={"json": "[1]"}),
        'spec.input.json: must be a JSON object: {"args": [...], "kwargs": {...}}',
    ),
    "json with another field": (
        body(input={"json": '{"args": [], "arg": 1}'}),
        "spec.input.json: has the field 'arg': only args and kwargs have a meaning",
    ),
    "json with args of another kind": (body(input={"json": '{"args": {}}'}), "spec.input.json: args must be a list"),
    "json with kwargs of another kind": (
        body(input={"json": '{"kwargs": []}'}),
        "spec.input.json: kwargs must be an object",
    ),
    "json with half a character": (
        body(input={"json": '{"args": ["\\ud800"]}'}),
        "spec.input.json.args[0]: a lone surrogate; pass valid Unicode text",
    ),
    "json too deep to walk": (
        body(input={"json": '{"args": ' + "[" * 250 + "]" * 250 + "}"}),
        f"spec.input.json.args{'[0]' * 199}: more than 200 levels; pass a flatter structure",
    ),
    "json too deep to read": (
        body(input={"json": '{"args": ' + "[" * 100_000 + "]" * 100_000 + "}"}),
        "spec.input.json: has more than 200 levels",
    ),
    "a task that is nothing": (
        body(tasks=[{"name": "a"}]),
        "spec.tasks[0]: has neither activity nor workflow: give exactly one of the two",
    ),
    "a task that is both": (
        body(tasks=[task(workflow={"entrypoint": "f"})]),
        "spec.tasks[0]: has both activity and workflow: give exactly one of the two",
    ),
    "a workflow of a factory and a definition": (
        body(tasks=[{"name": "a", "workflow": {"entrypoint": "f", "definitionRef": {"name": "b"}}}]),
        "spec.tasks[0].workflow: needs exactly one of entrypoint and definitionRef",
    ),
    "a workflow without entrypoint": (
        body(tasks=[{"name": "a", "workflow": {}}]),
        "spec.tasks[0].workflow: needs exactly one of entrypoint and definitionRef",
    ),
    "onParentEnd of an activity": (
        body(tasks=[task(onParentEnd="Cancel")]),
        "spec.tasks[0].onParentEnd: has a meaning for a workflow only: leave it out",
    ),
    "an unknown onParentEnd": (
        body(tasks=[child(onParentEnd="Kill")]),
        "spec.tasks[0].onParentEnd: is 'Kill': must be 'Terminate', 'Cancel' or 'Abandon'",
    ),
    "a timer that a workflow doesn't have": (
        body(tasks=[child(timeouts={"scheduleToStartSeconds": 5})]),
        "spec.tasks[0].timeouts.scheduleToStartSeconds: has no meaning for a workflow: it starts when it is created",
    ),
    "a task without name": (body(tasks=[{"activity": {}}]), "spec.tasks[0].name: is missing"),
    "a name that is no name": (
        body(tasks=[task("a"), task("b-c")]),
        "spec.tasks[1].name: is 'b-c': must match ^[A-Za-z_][A-Za-z0-9_]*$",
    ),
    "a name that ends in a line break": (
        body(tasks=[task("a\n")]),
        "spec.tasks[0].name: is 'a\\n': must match ^[A-Za-z_][A-Za-z0-9_]*$",
    ),
    "a name that is too long": (body(tasks=[task("a" * 41)]), "spec.tasks[0].name: is too long: at most 40 characters"),
    "an empty name": (body(tasks=[task("")]), "spec.tasks[0].name: is too short: at least 1 characters"),
    "a keyword": (body(tasks=[task("class")]), "spec.tasks[0].name: is 'class', a Python keyword: choose another name"),
    "a name twice": (
        body(tasks=[task("a"), task("b"), task("a")]),
        "spec.tasks[2].name: is 'a' a second time: each task needs a name of its own",
    ),
    "too many tasks": (
        body(tasks=[task(f"t{n}") for n in range(257)]),
        "spec.tasks: has 257 items: at most 256",
    ),
    "no image": (body(tasks=[{"name": "a", "activity": {}}]), f"spec.tasks[0].activity: {MAIN_UNCLEAR}"),
    "an image for another container": (
        body(tasks=[{"name": "a", "activity": {"template": {"spec": {"containers": [{"name": "x", "image": "y"}]}}}}]),
        f"spec.tasks[0].activity: {MAIN_UNCLEAR}",
    ),
    "a template without spec": (
        body(tasks=[{"name": "a", "activity": {"template": {"metadata": {}}}}]),
        f"spec.tasks[0].activity: {MAIN_UNCLEAR}",
    ),
    "containers of another kind": (
        body(tasks=[task(activity={"template": {"spec": {"containers": {}}}})]),
        "spec.tasks[0].activity.template.spec.containers: must be a list",
    ),
    "a variable that is a number": (
        body(tasks=[task(activity={"image": "a", "env": [{"name": "A", "value": 1}]})]),
        "spec.tasks[0].activity.env[0].value: must be a string",
    ),
    "a timeout of nothing": (
        body(tasks=[task(timeouts={"startToCloseSeconds": 0})]),
        "spec.tasks[0].timeouts.startToCloseSeconds: is 0: at least 1",
    ),
    "a timeout of a fraction": (
        body(tasks=[task(timeouts={"startToCloseSeconds": 1.5})]),
        "spec.tasks[0].timeouts.startToCloseSeconds: must be an integer",
    ),
    "a timeout of true": (
        body(defaults={"timeouts": {"startToCloseSeconds": True}}),
        "spec.defaults.timeouts.startToCloseSeconds: must be an integer",
    ),
    "all attempts shorter than one": (
        body(tasks=[task(timeouts={"startToCloseSeconds": 9, "scheduleToCloseSeconds": 8})]),
        f"spec.tasks[0].timeouts.scheduleToCloseSeconds: is 8, less than startToCloseSeconds, which is 9 {SHORT_CLOSE}",
    ),
    "all attempts shorter than the queue": (
        body(tasks=[task(timeouts={"scheduleToStartSeconds": 9, "scheduleToCloseSeconds": 8})]),
        f"spec.tasks[0].timeouts.scheduleToCloseSeconds: is 8, less than scheduleToStartSeconds, which is 9 {SHORT_CLOSE}",
    ),
    "all attempts shorter than the default of one": (
        body(tasks=[task(timeouts={"scheduleToCloseSeconds": 8})], defaults={"timeouts": {"startToCloseSeconds": 9}}),
        f"spec.tasks[0].timeouts.scheduleToCloseSeconds: is 8, less than startToCloseSeconds, which is 9 {SHORT_CLOSE}",
    ),
    "no attempt": (body(tasks=[task(retry={"maxAttempts": 0})]), "spec.tasks[0].retry.maxAttempts: is 0: at least 1"),
    "too many attempts": (
        body(defaults={"retry": {"maxAttempts": 101}}),
        "spec.defaults.retry.maxAttempts: is 101: at most 100",
    ),
    "no delay in the list": (
        body(tasks=[task(retry={"delaysSeconds": []})]),
        "spec.tasks[0].retry.delaysSeconds: has 0 items: at least 1",
    ),
    "a delay into the past": (
        body(tasks=[task(retry={"delaysSeconds": [0, -1]})]),
        "spec.tasks[0].retry.delaysSeconds[1]: is -1: at least 0",
    ),
    "an unknown cause": (
        body(tasks=[task(retry={"when": ["Timeouts"]})]),
        "spec.tasks[0].retry.when[0]: is 'Timeouts': must be 'Timeout', 'ScheduleToStart' or 'Error'",
    ),
    "delays and back-off": (
        body(tasks=[task(retry={"delaysSeconds": [0], "backoff": {"initialSeconds": 1}})]),
        "spec.tasks[0].retry.backoff: stands beside delaysSeconds: give one of the two",
    ),
    "delays and back-off by default": (
        body(tasks=[task()], defaults={"retry": {"delaysSeconds": [0], "backoff": {"initialSeconds": 1}}}),
        "spec.defaults.retry.backoff: stands beside delaysSeconds: give one of the two",
    ),
    "a cap below the first wait": (
        body(tasks=[task(retry={"backoff": {"initialSeconds": 9, "maxSeconds": 8}})]),
        "spec.tasks[0].retry.backoff.maxSeconds: is 8, less than initialSeconds (9)",
    ),
    "a cap below the first wait by default": (
        body(tasks=[task()], defaults={"retry": {"backoff": {"initialSeconds": 9, "maxSeconds": 8}}}),
        "spec.defaults.retry.backoff.maxSeconds: is 8, less than initialSeconds (9)",
    ),
    "a back-off without a first wait": (
        body(tasks=[task(retry={"backoff": {}})]),
        "spec.tasks[0].retry.backoff.initialSeconds: is missing",
    ),
    "a multiplier of eleven": (
        body(tasks=[task(retry={"backoff": {"initialSeconds": 1, "multiplier": 11}})]),
        "spec.tasks[0].retry.backoff.multiplier: is 11: at most 10",
    ),
    "an exit code of success": (
        body(tasks=[task(retry={"nonRetryableExitCodes": [0]})]),
        "spec.tasks[0].retry.nonRetryableExitCodes[0]: is 0: at least 1",
    ),
    "an exit code that no program has": (
        body(tasks=[task(retry={"nonRetryableExitCodes": [256]})]),
        "spec.tasks[0].retry.nonRetryableExitCodes[0]: is 256: at most 255",
    ),
    "an error without a name": (
        body(tasks=[task(retry={"nonRetryableErrors": [""]})]),
        "spec.tasks[0].retry.nonRetryableErrors[0]: is too short: at least 1 characters",
    ),
    "no parallelism": (body(parallelism=0), "spec.parallelism: is 0: at least 1"),
    "no time for the workflow": (
        body(timeouts={"workflowSeconds": 0}),
        "spec.timeouts.workflowSeconds: is 0: at least 1",
    ),
    "no time for a decision": (
        body(timeouts={"decisionSeconds": 0}),
        "spec.timeouts.decisionSeconds: is 0: at least 1",
    ),
    "no time for Jobs to stay": (body(jobs={"keepFailedSeconds": 0}), "spec.jobs.keepFailedSeconds: is 0: at least 1"),
    "no time to stay": (body(ttlSecondsAfterFinished=0), "spec.ttlSecondsAfterFinished: is 0: at least 1"),
    "a stop that isn't one": (body(stop="Halt"), "spec.stop: is 'Halt': must be 'Cancel' or 'Terminate'"),
    "an end that isn't one": (body(onEnd="Keep"), "spec.onEnd: is 'Keep': must be 'Cancel', 'Wait' or 'Abandon'"),
    "no time to clean up": (body(timeouts={"cancelSeconds": 0}), "spec.timeouts.cancelSeconds: is 0: at least 1"),
    "suspend as text": (body(suspend="yes"), "spec.suspend: must be true or false"),
}


@pytest.mark.parametrize(("given_body", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_run_is_refused_with_path_and_reason(given_body: Mapping[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec, match=f"^{re.escape(message)}$") as refusal:
        workflow_spec(given_body)
    assert message == f"{refusal.value.path}: {refusal.value.reason}"


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3),
    max_leaves=8,
)
PLACES: Sequence[Sequence[str | int]] = (
    ("spec",),
    ("spec", "code"),
    ("spec", "code", "source"),
    ("spec", "input"),
    ("spec", "input", "json"),
    ("spec", "tasks"),
    ("spec", "tasks", 0),
    ("spec", "tasks", 0, "name"),
    ("spec", "tasks", 0, "activity"),
    ("spec", "tasks", 0, "activity", "env"),
    ("spec", "tasks", 0, "activity", "template"),
    ("spec", "tasks", 0, "activity", "template", "spec"),
    ("spec", "tasks", 0, "activity", "template", "spec", "containers"),
    ("spec", "tasks", 0, "timeouts"),
    ("spec", "tasks", 0, "retry"),
    ("spec", "tasks", 0, "retry", "delaysSeconds"),
    ("spec", "defaults"),
    ("spec", "defaults", "template"),
    ("spec", "jobs"),
)


@given(st.sampled_from(PLACES), JSON)
def test_no_garbage_does_worse_than_a_refusal(place: Sequence[str | int], garbage: Any) -> None:
    whole = body(
        input={},
        tasks=[task(activity={"image": "a", "template": {"spec": {"containers": []}}}, timeouts={}, retry={})],
        defaults={},
    )
    inner: Any = whole
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = garbage
    try:
        workflow_spec(whole)
    except InvalidSpec as refusal:
        assert refusal.path.startswith("spec")  # noqa: PT017 - a spec that can be run is as good
