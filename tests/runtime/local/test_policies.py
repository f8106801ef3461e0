"""Retries, timers, caps, stops and ends of the local engine, in virtual time."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest

from flowy import TaskCancelled, TaskError, TaskTimedOut, finish_order, first, restart, wait
from flowy.activity import TaskFailure, heartbeat, progress
from flowy.local import LocalWorkflow, WorkflowWarning
from tests.runtime.local import functions as f


def _virtual(factory: Any, *, durations: Any = None, tasks: Any = None, **settings: Any) -> LocalWorkflow:
    return LocalWorkflow(factory, clock="virtual", durations=durations, tasks=tasks, **settings)


def _one(function: Any, *, durations: Any = 0.0, **fields: Any) -> LocalWorkflow:
    """A workflow of one call of `step`, with these settings."""
    return _virtual(f.one, activities={"step": function}, durations={"step": durations}, tasks={"step": fields})


def _node(workflow: LocalWorkflow, key: str = "step-0") -> Mapping[str, Any]:
    assert workflow.trace is not None
    node: Mapping[str, Any] = next(n for n in workflow.trace["runs"][-1]["nodes"] if n["key"] == key)
    return node


def _seconds(workflow: LocalWorkflow) -> float:
    assert workflow.trace is not None
    seconds: float = workflow.trace["seconds"]
    return seconds


def _error(workflow: LocalWorkflow, *args: object) -> TaskError:
    with pytest.raises(TaskError) as caught:
        workflow.run(*args)
    return caught.value


def _after(failures: int, raised: Exception) -> Callable[[Any], Any]:
    """An activity that fails so often."""
    left: Iterator[int] = iter(range(failures))

    def activity(x: Any) -> Any:
        if next(left, None) is not None:
            raise raised
        return x

    return activity


def test_d14_d15_a_timeout_is_retried_twice_by_default() -> None:
    workflow = _one(f.increment, durations=60, timeouts={"startToCloseSeconds": 10})
    error = _error(workflow, 1)
    assert (error.type, error.timer, error.attempt) == ("TaskTimedOut", "StartToClose", 3)
    assert error.message == "step-0 timed out (StartToClose)"
    assert _seconds(workflow) == 30
    assert [a["outcome"] for a in _node(workflow)["attempts"]] == ["timedOut"] * 3


def test_f24_an_error_is_final_by_default() -> None:
    workflow = _one(_after(1, ValueError("no")))
    assert _error(workflow, 1).attempt == 1


def test_n16_delays_before_each_attempt() -> None:
    retry = {"delaysSeconds": [5, 0, 7], "when": ["Error"]}
    workflow = _one(_after(2, ValueError("no")), retry=retry)
    assert workflow.run(1) == 1
    assert [a["scheduled"][17:23] for a in _node(workflow)["attempts"]] == ["05.000", "05.000", "12.000"]


def test_n17_the_last_delay_repeats() -> None:
    retry = {"maxAttempts": 100, "delaysSeconds": [0], "when": ["Error"]}
    workflow = _one(_after(50, ValueError("no")), retry=retry)
    assert workflow.run(1) == 1
    assert len(_node(workflow)["attempts"]) == 51


def test_backoff_grows() -> None:
    backoff = {"initialSeconds": 10, "jitterPercent": 0, "maxSeconds": 30}
    workflow = _one(_after(3, ValueError("no")), retry={"maxAttempts": 4, "when": ["Error"], "backoff": backoff})
    assert workflow.run(1) == 1
    assert _seconds(workflow) == 10 + 20 + 30


def test_a_failure_that_says_so_is_not_retried() -> None:
    failure = TaskFailure("NoFilm", "nothing there", {"k": 1}, retryable=False)
    error = _error(_one(_after(1, failure), retry={"when": ["Error"]}), 1)
    assert (error.type, error.message, error.details, error.attempt) == ("NoFilm", "nothing there", {"k": 1}, 1)


def test_types_that_are_not_retried() -> None:
    retry = {"when": ["Error"], "nonRetryableErrors": ["ValueError"]}
    assert _error(_one(_after(1, ValueError("no")), retry=retry), 1).attempt == 1
    assert _one(_after(1, KeyError("no")), retry=retry).run(1) == 1


def test_f24b_f26_timers_of_waiting_and_of_all_attempts() -> None:
    tasks = {"step": {"timeouts": {"scheduleToStartSeconds": 5}}}
    twice = lambda step: lambda: [step(1), step(2)]  # noqa: E731
    queued = _virtual(twice, activities={"step": f.increment}, durations={"step": 20}, tasks=tasks, workers=1)
    error = _error(queued)
    assert (error.task, error.timer, error.attempt) == ("step-1", "ScheduleToStart", 1)
    assert _seconds(queued) == 5
    retry = {"when": ["Error"], "delaysSeconds": [0, 60], "maxAttempts": 9}
    closing = _one(_after(9, ValueError("no")), retry=retry, timeouts={"scheduleToCloseSeconds": 100})
    error = _error(closing, 1)
    assert (error.timer, error.attempt) == ("ScheduleToClose", 2)
    assert error.message == "step-0 timed out (ScheduleToClose): attempt 2 failed: ValueError: no"
    assert _seconds(closing) == 100


def test_f27_a_late_result_is_ignored() -> None:
    seconds = iter([60, 3])
    workflow = _one(f.increment, durations=lambda _: next(seconds), timeouts={"startToCloseSeconds": 10})
    assert workflow.run(1) == 2
    assert [a["outcome"] for a in _node(workflow)["attempts"]] == ["timedOut", "completed"]
    assert _seconds(workflow) == 13


def test_an_outcome_that_is_there_counts_before_a_timer_of_the_same_instant() -> None:
    assert _one(f.increment, durations=10, timeouts={"startToCloseSeconds": 10}).run(1) == 2


def test_silence_ends_an_attempt_and_the_next_goes_on_from_its_progress() -> None:
    seconds = iter([60, 60, 1])
    seen = []

    def activity(x: int) -> int:
        seen.append(progress())
        heartbeat((progress() or 0) + x)
        return x

    workflow = _one(activity, durations=lambda _: next(seconds), timeouts={"heartbeatSeconds": 10})
    assert workflow.run(4) == 4
    assert seen == [None, 4, 8]
    assert _seconds(workflow) == 21


def test_details_of_the_last_heartbeat_are_in_the_error() -> None:
    error = _error(
        _one(heartbeat, durations=60, timeouts={"heartbeatSeconds": 10}, retry={"maxAttempts": 1}), {"at": 3}
    )
    assert (error.timer, error.details) == ("Heartbeat", {"at": 3})


def test_d24_parallelism_caps_open_tasks_and_a_waiting_one_is_not_open() -> None:
    order: list[int] = []

    def note(x: int) -> int:
        order.append(x)
        if x == 0 and order.count(0) == 1:
            raise ValueError("once")
        return x

    tasks = {"step": {"retry": {"when": ["Error"], "delaysSeconds": [0, 5]}}}
    all_of = lambda step: lambda n: [step(x) for x in range(n)]  # noqa: E731
    workflow = _virtual(all_of, activities={"step": note}, durations={"step": 2}, tasks=tasks, parallelism=2)
    assert workflow.run(6) == [0, 1, 2, 3, 4, 5]
    assert order == [0, 1, 2, 3, 4, 5, 0]
    assert _seconds(workflow) == 2 + 5 + 2


def test_a_due_retry_comes_before_new_calls() -> None:
    order: list[int] = []
    fails = _after(1, ValueError("once"))

    def note(x: int) -> int:
        order.append(x)
        return int(fails(x)) if x == 0 else x

    tasks = {"step": {"retry": {"when": ["Error"], "delaysSeconds": [0, 1]}}}
    all_of = lambda step: lambda n: [step(x) for x in range(n)]  # noqa: E731
    workflow = _virtual(all_of, activities={"step": note}, durations={"step": 2}, tasks=tasks, parallelism=1)
    workflow.run(4)
    assert order == [0, 1, 0, 2, 3]


@pytest.mark.parametrize(
    ("on_end", "seconds", "outcome"),
    [("Cancel", 1, "cancelled"), ("Wait", 9, "completed"), ("Abandon", 1, "cancelled")],
)
def test_tasks_that_are_open_at_the_end(on_end: Any, seconds: float, outcome: str) -> None:
    def factory(step: Any, slow: Any) -> Any:
        def workflow() -> Any:
            slow()
            return step()

        return workflow

    activities = {"step": lambda: 1, "slow": lambda: 2}
    workflow = _virtual(factory, activities=activities, durations={"step": 1, "slow": 9}, on_end=on_end)
    assert workflow.run() == 1
    assert (_seconds(workflow), _node(workflow, "slow-0")["outcome"]) == (seconds, outcome)


def test_n01_calls_just_before_the_end_are_not_launched() -> None:
    called: list[int] = []

    def factory(step: Any) -> Any:
        def workflow() -> int:
            step(1)
            return 42

        return workflow

    assert _virtual(factory, activities={"step": called.append}).run() == 42
    assert called == []


def test_errors_that_nobody_looked_at_are_told() -> None:
    def factory(step: Any) -> Any:
        def workflow() -> Any:
            bad = step(1)
            with suppress(TaskError):
                wait(step(2))
            return first(bad, 5)

        return workflow

    workflow = _virtual(factory, activities={"step": f.fail})
    with pytest.warns(WorkflowWarning, match="nobody looked at the error of step-0: LookupError: err!"):
        assert workflow.run() == 5


def test_a_change_in_place_is_told() -> None:
    def factory(step: Any, store: Any) -> Any:
        def workflow() -> Any:
            rows = step()
            rows.append(9)
            return store(rows)

        return workflow

    workflow = _virtual(factory, activities={"step": lambda: [1], "store": len})
    with pytest.warns(WorkflowWarning, match="changed in place"):
        assert workflow.run() == 1


def test_the_workflows_own_time() -> None:
    workflow = _virtual(
        f.one, activities={"step": f.increment}, durations={"step": 99}, timeouts={"workflowSeconds": 7}
    )
    error = _error(workflow, 1)
    assert error.type == "WorkflowTimedOut"
    assert "still open after 7 s (timeouts.workflowSeconds); unfinished: step-0" in error.message
    assert _seconds(workflow) == 7


def test_d17_a_childs_time_is_the_start_to_close_of_its_parents_attempt() -> None:
    child = _virtual(f.one, activities={"step": f.increment}, durations={"step": 99})
    tasks = {"step": {"timeouts": {"startToCloseSeconds": 11}, "retry": {"maxAttempts": 2}}}
    workflow = LocalWorkflow(f.one, workflows={"step": child}, clock="virtual", tasks=tasks)
    error = _error(workflow, 1)
    assert (error.type, error.timer, error.attempt) == ("TaskTimedOut", "StartToClose", 2)
    assert _seconds(workflow) == 22
    assert [c["outcome"] for c in _node(workflow)["children"]] == ["terminated", "terminated"]


def test_a_childs_own_time_too() -> None:
    child = LocalWorkflow(
        f.one,
        activities={"step": f.increment},
        clock="virtual",
        durations={"step": 99},
        timeouts={"workflowSeconds": 3},
    )
    error = _error(LocalWorkflow(f.one, workflows={"step": child}, clock="virtual"), 1)
    assert (error.type, error.timer, error.attempt) == ("TaskTimedOut", "StartToClose", 3)


def test_a_workflow_that_calls_itself_without_end_is_refused() -> None:
    whole = LocalWorkflow(f.one, activities={"step": f.increment}, clock="virtual")
    for _ in range(33):
        whole = LocalWorkflow(f.one, workflows={"step": whole}, clock="virtual")
    error = _error(whole, 1)
    assert (error.type, error.task) == ("LaunchRefused", "step-0")
    assert "33 Workflows deep, at most 32" in error.message


# -- stops -------------------------------------------------------------------------------------------------------------


def _saga(book: Any, undo: Any, stopper: Any) -> Any:
    def workflow() -> Any:
        stopper()
        try:
            wait([book(1), book(2), book(3)])
        except TaskCancelled as stopped:
            return [stopped.reason, stopped.task, undo()]
        return None

    return workflow


def _stopped(times: int, **settings: Any) -> LocalWorkflow:
    def stop() -> None:
        for _ in range(times):
            workflow.stop()

    activities: Mapping[str, Any] = {"book": f.increment, "undo": lambda: "undone", "stopper": stop}
    durations = {"book": 50, "undo": 5, "stopper": 0}
    workflow = LocalWorkflow(_saga, activities=activities, clock="virtual", durations=durations, **settings)
    return workflow


def test_a_stop_cancels_what_is_open_or_held_back_and_the_code_cleans_up() -> None:
    workflow = _stopped(1, parallelism=2)
    assert workflow.run() == ["StopRequested", "book-0", "undone"]
    assert _seconds(workflow) == 5
    assert workflow.trace is not None
    cancelled = [e for e in workflow.trace["history"] if e["type"] == "TaskCancelled"]
    assert [e["task"] for e in cancelled][-2:] == ["book-1", "book-2"]
    assert "digest" in cancelled[-1]


def test_the_second_stop_ends_at_once() -> None:
    error = _error(_stopped(2))
    assert error.type == "WorkflowTerminated"
    assert "it was stopped twice" in error.message


def test_a_clean_up_that_takes_too_long_is_ended() -> None:
    workflow = _stopped(1, timeouts={"cancelSeconds": 4})
    assert _error(workflow).type == "WorkflowTerminated"
    assert _seconds(workflow) == 4


def test_after_a_stop_no_new_run_begins() -> None:
    def factory(step: Any) -> Any:
        def workflow() -> Any:
            with suppress(TaskError):
                wait(step())
            return restart()

        return workflow

    def stop() -> None:
        workflow.stop()

    workflow = _virtual(factory, activities={"step": stop}, durations={"step": 3})
    assert _error(workflow).type == "WorkflowCancelled"


def test_a_restart_begins_anew_and_its_open_tasks_end() -> None:
    def factory(step: Any) -> Any:
        def workflow(again: int = 2) -> Any:
            order = list(finish_order(step(1), step(2)))
            return restart(again - 1) if again else order

        return workflow

    workflow = _virtual(factory, activities={"step": f.increment}, durations={"step": lambda x: 5 - x})
    assert workflow.run() == [3, 2]
    assert workflow.trace is not None
    assert [run["run"] for run in workflow.trace["runs"]] == [1, 2, 3]
    assert [e["input"] for e in workflow.trace["history"] if e["type"] == "Restarted"] == [
        '{"args":[1],"kwargs":{}}',
        '{"args":[0],"kwargs":{}}',
    ]


def test_code_that_is_not_deterministic_ends_with_what_differs() -> None:
    count = iter(range(100))

    def factory(step: Any) -> Any:
        def workflow() -> Any:
            return step(step(next(count)), next(count))

        return workflow

    error = _error(_virtual(factory, activities={"step": f.increment}))
    assert error.type == "NonDeterminism"
    assert "step-0 is not the recorded call" in error.message


def test_a_time_out_can_be_caught_in_the_code() -> None:
    def factory(step: Any) -> Any:
        def workflow() -> Any:
            try:
                wait(step(1))
            except TaskTimedOut as error:
                return error.timer
            return None

        return workflow

    tasks = {"step": {"timeouts": {"startToCloseSeconds": 1}, "retry": {"maxAttempts": 1}}}
    assert (
        _virtual(factory, activities={"step": f.increment}, durations={"step": 2}, tasks=tasks).run() == "StartToClose"
    )


SETTINGS: Mapping[str, tuple[Any, str]] = {
    "n18 no attempts": ({"retry": {"maxAttempts": 0}}, "maxAttempts is 0"),
    "n18 no delays": ({"retry": {"delaysSeconds": []}}, "delaysSeconds is empty"),
    "an unknown field": ({"retry": {"max": 1}}, r"tasks\['step'\].retry.max is unknown"),
    "an unknown part": ({"retries": {}}, r"tasks\['step'\].retries is unknown"),
    "no whole seconds": ({"timeouts": {"startToCloseSeconds": 0.5}}, "startToCloseSeconds is 0.5"),
    "no mapping": ({"timeouts": 5}, "timeouts is no mapping"),
    "a timeout of the whole": (
        {"timeouts": {"workflowSeconds": 5}},
        r"tasks\['step'\].timeouts.workflowSeconds is a timeout of the whole workflow: it goes into the keyword timeouts",
    ),
    "an unknown cause": ({"retry": {"when": ["Never"]}}, "has 'Never'"),
    "a text for a list": ({"retry": {"when": "Error"}}, "when is no list"),
    "two answers": ({"retry": {"delaysSeconds": [1], "backoff": {"initialSeconds": 1}}}, "beside delaysSeconds"),
    "a back-off without a beginning": ({"retry": {"backoff": {}}}, "initialSeconds is missing"),
    "a back-off that shrinks": (
        {"retry": {"backoff": {"initialSeconds": 9, "maxSeconds": 3}}},
        "less than initialSeconds",
    ),
}


@pytest.mark.parametrize(("given", "said"), SETTINGS.values(), ids=SETTINGS)
def test_settings_that_mean_nothing(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _one(f.increment, **given)


def test_a_timeout_of_a_task_is_none_of_the_whole() -> None:
    with pytest.raises(
        ValueError, match=r"timeouts.startToCloseSeconds is a timeout of a task: it goes into what is set"
    ):
        LocalWorkflow(f.one, activities={"step": f.increment}, timeouts={"startToCloseSeconds": 5})


def test_timers_of_containers_are_none_of_a_workflow() -> None:
    child = LocalWorkflow(f.one, activities={"step": f.increment})
    with pytest.raises(ValueError, match="heartbeatSeconds has no meaning for a workflow"):
        LocalWorkflow(f.one, workflows={"step": child}, tasks={"step": {"timeouts": {"heartbeatSeconds": 1}}})


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "5"])
def test_durations_are_seconds(seconds: Any) -> None:
    with pytest.raises(ValueError, match="seconds, 0 or more"):
        _one(f.increment, durations=seconds).run(1)


def test_a_stop_that_finds_the_code_at_its_end() -> None:
    """The outcome that ends it is there at the same instant: then there is nothing left to stop."""

    def factory(step: Any) -> Any:
        def workflow() -> Any:
            return [step(1), step(2)]

        return workflow

    def last(x: int) -> int:
        if x == 2:
            workflow.stop()
        return x

    workflow = _virtual(factory, activities={"step": last}, workers=1, on_end="Wait")
    error = _error(workflow)
    assert (error.type, error.task) == ("TaskCancelled", "step-1")


def test_a_run_that_restarts_without_waiting_is_told_by_its_end() -> None:
    def factory(step: Any) -> Any:
        def workflow(n: int = 0) -> Any:
            if n == 1:
                wait(step())
            return restart(n + 1)

        return workflow

    def stop() -> int:
        workflow.stop()
        return 1

    workflow = _virtual(factory, activities={"step": stop}, durations={"step": 3})
    assert _error(workflow).type in {"WorkflowCancelled", "TaskCancelled"}
