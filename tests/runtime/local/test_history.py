"""A local run's history is one that the operator could have written: its own reader takes it, and a replay of it agrees."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pytest

from flowy import first, wait
from flowy.activity import heartbeat
from flowy.errors import TaskError
from flowy.local import LocalWorkflow
from flowy.local.engine import MAX_DEPTH
from flowy.local.plan import DEFAULT_PARALLELISM, OnEnd, Plan, Question
from flowy.wire import values
from flowy_operator.core import child, spec
from flowy_operator.core.history import StopMode, event_json, parse_history, parse_time
from flowy_operator.core.request import decision_request
from flowy_operator.core.spec import TaskSpec, WorkflowSpec
from flowy_operator.core.state import State, apply
from tests.runtime.local import functions as f


def _failing(times: int) -> Any:
    left: Iterator[int] = iter(range(times))

    def activity(x: int) -> int:
        heartbeat({"x": x})
        if next(left, None) is not None:
            raise TaskError("no", "Odd", [1])
        return x

    return activity


RETRY = {"retry": {"when": ["Error", "Timeout"], "delaysSeconds": [0, 3, 0], "maxAttempts": 3}}
SLOW = {"timeouts": {"startToCloseSeconds": 5, "scheduleToCloseSeconds": 60}}


def _runs() -> Iterator[tuple[str, LocalWorkflow, tuple[object, ...]]]:
    """Runs of all kinds: a name, the workflow, its input."""
    virtual: Mapping[str, Any] = {"clock": "virtual"}
    both: Mapping[str, Any] = {"step": f.increment, "add": f.add}
    yield "restarts", LocalWorkflow(f.map_sum, activities=both, **virtual), (8,)
    yield "retries", LocalWorkflow(f.one, activities={"step": _failing(2)}, tasks={"step": RETRY}, **virtual), (1,)
    yield "a failure", LocalWorkflow(f.one, activities={"step": f.fail_with_details}, **virtual), (1,)
    late: Mapping[str, Any] = {"durations": {"step": 9}, "tasks": {"step": SLOW}}
    yield "timeouts", LocalWorkflow(f.one, activities={"step": _failing(0)}, **late, **virtual), (1,)
    first = LocalWorkflow(f.fastest, activities={"square": f.square}, durations={"square": lambda x: x}, **virtual)
    yield "cancelled at the end", first, ()
    inner = LocalWorkflow(f.one, activities={"step": f.increment})
    yield "a child", LocalWorkflow(f.one, workflows={"step": inner}, **virtual), (1,)
    first_delay = {"retry": {"delaysSeconds": [4]}}
    delayed = LocalWorkflow(f.one, activities={"step": f.increment}, tasks={"step": first_delay}, **virtual)
    yield "a first delay", delayed, (1,)
    left = LocalWorkflow(f.one, activities={"step": f.increment}, durations={"step": 99}, **virtual)
    closing = {"timeouts": {"startToCloseSeconds": 5}, "retry": {"maxAttempts": 2}}
    yield (
        "a child that is left",
        LocalWorkflow(f.one, workflows={"step": left}, tasks={"step": closing}, **virtual),
        (1,),
    )
    yield "a stop", _stopped(once=True), (1,)
    yield "a stop for good", _stopped(once=False), (1,)
    yield "in real time", LocalWorkflow(f.sum_of_squares, activities={"square": f.square, "add": f.add}), (2, 10)


def _stopped(*, once: bool) -> LocalWorkflow:
    """One that is stopped by its only task; two more calls are held back."""

    def stop(_: int) -> None:
        for _ in range(1 if once else 2):
            workflow.stop()

    def factory(step: Any) -> Any:
        def workflow(x: int) -> Any:
            return [step(x), step(x), step(x)]

        return workflow

    workflow = LocalWorkflow(factory, activities={"step": stop}, parallelism=1, durations={"step": 9}, clock="virtual")
    return workflow


RUNS = {name: run for name, *run in _runs()}


def _spec_of(plan: Plan) -> WorkflowSpec:
    tasks = {n: TaskSpec(name=n, timeouts=t.timeouts, retry=t.retry) for n, t in plan.tasks.items()}
    return WorkflowSpec(source="", tasks=tasks)


@pytest.mark.parametrize(("workflow", "args"), RUNS.values(), ids=RUNS)
def test_the_operator_reads_it(workflow: LocalWorkflow, args: tuple[object, ...]) -> None:
    error: TaskError | None = None
    try:
        result = workflow.run(*args)
    except TaskError as raised:
        error, result = raised, None
    trace = workflow.trace
    assert trace is not None
    for below in _below(trace):
        its = parse_history(below["history"])
        apply(State(workflow="below", uid="uid", started_at=parse_time(below["startTime"])), its)
    events = parse_history(trace["history"])
    assert [event_json(event) for event in events] == trace["history"]
    state = apply(State(workflow="local", uid="uid", started_at=parse_time(trace["startTime"])), events)
    assert state.run == len(trace["runs"])
    assert not state.pending
    # What the operator would ask its decider, the local code answers with the same end.
    asked = decision_request(_spec_of(workflow.plan()), state, ())
    question = Question(input=state.input or _input(args), records=asked.records, seed="", started_at=asked.started_at)
    answer = workflow.plan().code.decide(question).answer
    if error is None:
        assert answer.result is not None
        assert values.decode(answer.result) == result
    elif error.type == "WorkflowTerminated":  # not by the code
        assert state.stop is not None
        assert state.stop.mode is StopMode.TERMINATE
    else:
        assert answer.error is not None
        for field in ("type", "message", "task", "attempt", "timer", "details"):
            assert answer.error.get(field) == getattr(error, field)


def _below(trace: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for run in trace["runs"]:
        for node in run["nodes"]:
            for below in node.get("children", ()):
                yield below
                yield from _below(below)


def _input(args: tuple[object, ...]) -> str:
    return f'{{"args":{list(args)},"kwargs":{{}}}}'


def test_what_both_sides_must_say_alike() -> None:
    assert (MAX_DEPTH, DEFAULT_PARALLELISM) == (child.MAX_DEPTH, spec.DEFAULT_PARALLELISM)
    assert list(OnEnd) == [str(value) for value in spec.OnEnd]
    assert Plan.__dataclass_fields__["cancel_timeout_s"].default == WorkflowSpec(source="").cancel_timeout_s


# -- the trace ---------------------------------------------------------------------------------------------------------


def _trace(factory: Any, **settings: Any) -> Mapping[str, Any]:
    workflow = LocalWorkflow(factory, clock="virtual", **settings)
    workflow.run()
    assert workflow.trace is not None
    return workflow.trace


def test_nodes_tell_of_attempts_and_times() -> None:
    workflow = LocalWorkflow(
        f.one, activities={"step": _failing(1)}, tasks={"step": RETRY}, clock="virtual", durations={"step": 2}
    )
    workflow.run(1)
    assert workflow.trace is not None
    (node,) = workflow.trace["runs"][0]["nodes"]
    assert (node["key"], node["task"], node["kind"], node["outcome"]) == ("step-0", "step", "activity", "completed")
    assert node["line"] == f.one.__code__.co_firstlineno + 2
    times = [
        [datetime.fromisoformat(a[t]).second for t in ("scheduled", "started", "finished")] for a in node["attempts"]
    ]
    assert times == [[0, 0, 2], [5, 5, 7]]
    assert [a["outcome"] for a in node["attempts"]] == ["failed", "completed"]
    assert (workflow.trace["seconds"], workflow.trace["outcome"], workflow.trace["result"]) == (7, "completed", "1")


EDGES: Mapping[str, tuple[Any, Mapping[str, Any], list[list[str]]]] = {
    "v13 no edge without a result": (lambda task: lambda: task(1), {}, []),
    "v15 from a result to the call that got it": (
        lambda task: lambda: task([task(1), task(2), {"k": task(3)}]),
        {},
        [["task-0", "task-3"], ["task-1", "task-3"], ["task-2", "task-3"]],
    ),
    "twice in the arguments is one edge": (lambda task: lambda: _twice(task, task(1)), {}, [["task-0", "task-1"]]),
    "v14 of two errors the one that finished first": (
        lambda task: lambda: _both(task, task(-1), task(-2)),
        {"task": lambda x: 5 + x},
        [["task-1", "task-2"]],
    ),
    "errors are handed on": (
        lambda task: lambda: _caught(task(task([task(-1), task(-2)]))),
        {"task": lambda x: 5 + x},
        [["task-1", "task-2"], ["task-2", "task-3"]],
    ),
    "whoever wins a race": (
        lambda task: lambda: task(first(task(1), task(2))),
        {"task": lambda x: {1: 9, 2: 3}.get(x, 0)},
        [["task-1", "task-2"]],
    ),
}


def _twice(task: Any, result: Any) -> Any:
    return task([result, result])


def _both(task: Any, *results: Any) -> str:
    for result in results:
        _caught(result)
    return _caught(task(list(results)))


def _caught(result: Any) -> str:
    try:
        wait(result)
    except TaskError as error:
        return str(error.task)
    return "none"


def _picky(x: Any) -> Any:
    if isinstance(x, int) and x < 0:
        raise ValueError("negative")
    return 2


@pytest.mark.parametrize(("factory", "durations", "edges"), EDGES.values(), ids=EDGES)
def test_edges_lead_from_a_result_to_the_call_that_got_it(
    factory: Any, durations: Mapping[str, Any], edges: list[list[str]]
) -> None:
    trace = _trace(factory, activities={"task": _picky}, durations=durations)
    (run,) = trace["runs"]
    assert run["edges"] == edges
    known = [node["key"] for node in run["nodes"]]
    assert all(key in known for edge in edges for key in edge)


def test_calls_that_were_never_scheduled_are_marked() -> None:
    trace = _trace(EDGES["errors are handed on"][0], activities={"task": _picky}, durations={"task": lambda x: 5 + x})
    outcomes = {node["key"]: node["outcome"] for node in trace["runs"][0]["nodes"]}
    assert outcomes == {"task-0": "cancelled", "task-1": "failed", "task-2": "notScheduled", "task-3": "notScheduled"}


def _looks(task: Any) -> Any:
    def workflow() -> Any:
        a, b = task(1), task(2)
        if b == 2:
            c = task([a])
        return [c, task(4)] if a else b

    return workflow


def test_what_the_code_looked_at_before_it_called() -> None:
    (run,) = _trace(_looks, activities={"task": _picky}, durations={})["runs"]
    assert [(look["key"], look["line"] is not None) for look in run["looks"]] == [("task-1", True), ("task-0", True)]
    assert [(node["key"], node["looks"]) for node in run["nodes"]] == [
        ("task-0", 0),
        ("task-1", 0),
        ("task-2", 1),
        ("task-3", 2),
    ]
    assert run["returned"] == ["task-2", "task-3"]


def test_a_run_that_is_ended_from_outside_shows_its_arrows_too() -> None:
    local = LocalWorkflow(
        lambda task: lambda: task(task(1)),
        activities={"task": _picky},
        clock="virtual",
        durations={"task": 5},
        timeouts={"workflowSeconds": 7},
    )
    with pytest.raises(TaskError):
        local.run()
    assert local.trace is not None
    (run,) = local.trace["runs"]
    assert run["edges"] == [["task-0", "task-1"]]
