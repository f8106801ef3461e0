"""A running attempt that falls silent, and what it has reported until then."""

from dataclasses import replace
from typing import Any

import pytest

from flowy.policy.retry import RetryWhen
from flowy.policy.timeout import Deadline, Timer
from flowy_operator.core.attempts import Beat
from flowy_operator.core.history import CancelReason, Fact, Failure, TaskCancelled, TaskCompleted, TaskFailed
from flowy_operator.core.observe import Launching, View, deadline, observe
from flowy_operator.core.request import decision_request
from flowy_operator.core.state import State
from tests.builders import (
    at,
    completed,
    disrupted,
    failed,
    job_record,
    launch_of,
    pod_record,
    retry,
    scheduled,
    state_of,
    task_spec,
    timed_out,
    timeouts,
    view,
    workflow_spec,
)

FIRST = state_of(scheduled())
JOB = launch_of(FIRST).job
SILENT = Timer.HEARTBEAT


def seen(
    *,
    beat: float | None = None,
    first: float = 2,
    details: str | None = None,
    since: float | None = 0,
    phase: str = "Running",
    **pod: Any,
) -> View:
    """The launch's Job and pod, which started at 1; its last heartbeat and its first; since when the operator listens."""
    given = {"started_at": at(1)} | pod
    base = view(job_record(JOB), pod_record(JOB, phase, **given))
    beats = {} if beat is None else {JOB: Beat(at(beat), details, first_at=at(first))}
    return replace(base, beats=beats, listening_since=None if since is None else at(since))


ENDED: dict[str, Any] = {"finished_at": at(3), "exit_code": 1, "message": "no"}
ERROR = Failure(type="Error", message="no", exit_code=1)

NOTHING = (
    "no heartbeat has come since 2026-01-02T03:04:05.000Z: see whether it sends any, and whether pods reach the gateway at the"
    " operator's --gateway-url"
)

# The view, the instant, and the facts of a task that must be heard every 10 s and has one attempt.
CASES: dict[str, tuple[View, float, list[Fact]]] = {
    "heard in time": (seen(beat=5), 14, []),
    "never heard, in time": (seen(), 10, []),
    "never heard": (seen(), 11, [timed_out(timer=SILENT, message=NOTHING)]),
    "not heard yet": (
        replace(seen(), beats={JOB: Beat(at(0), heard=False)}),
        11,
        [timed_out(timer=SILENT, message=NOTHING)],
    ),
    "silent for long": (seen(beat=5), 15, [timed_out(timer=SILENT)]),
    "with what it said last": (
        seen(beat=5, details='{"frame":7}'),
        15,
        [replace(timed_out(timer=SILENT), progress='{"frame":7}')],
    ),
    "silent while nobody listened": (seen(beat=5, since=1000), 1009, []),
    "silent since somebody listens": (seen(beat=5, since=1000), 1010, [timed_out(timer=SILENT)]),
    "not started: nobody expects to hear of it": (seen(started_at=None), 1000, []),
    "nobody says that it started, but it was heard": (seen(beat=5, started_at=None), 15, [timed_out(timer=SILENT)]),
    "nobody says that it started, and it is still heard": (seen(beat=5, started_at=None), 14, []),
    "its container has ended, the pod has not": (seen(finished_at=at(3)), 1000, []),
    "an outcome counts though it was silent": (
        seen(phase="Succeeded", finished_at=at(3), exit_code=0, message="7"),
        1000,
        [TaskCompleted(task="task-0", result="7", started_at=at(1))],
    ),
    "a failure tells what was done": (
        seen(beat=2, details="7", phase="Failed", **ENDED),
        4,
        [TaskFailed(task="task-0", error=ERROR, started_at=at(1), final=True, progress="7")],
    ),
    "a disruption tells what was done": (
        seen(beat=2, details="7", phase="Failed", disruption="Evicted", **ENDED),
        4,
        [replace(disrupted(), progress="7")],
    ),
    "a cancellation has no next attempt to tell": (
        replace(seen(beat=2, details="7"), gone=[JOB]),
        4,
        [TaskCancelled(task="task-0", reason=CancelReason.DELETED)],
    ),
}


@pytest.mark.parametrize(("seen", "now", "expected"), CASES.values(), ids=CASES)
def test_silence(seen: View, now: float, expected: list[Fact]) -> None:
    spec = workflow_spec(task_spec(timeouts=timeouts(beat=10), retry=retry(1)))
    assert observe(spec, FIRST, seen, at(now), Launching.ALLOWED) == expected


def test_silence_is_retried_as_a_timeout() -> None:
    spec = workflow_spec(task_spec(timeouts=timeouts(beat=10), retry=retry(2, when=[RetryWhen.TIMEOUT])))
    facts = observe(spec, FIRST, seen(beat=5, details="7"), at(15), Launching.ALLOWED)
    assert facts == [replace(timed_out(timer=SILENT, final=False), progress="7"), scheduled(attempt=2)]


def test_who_is_heard_has_started() -> None:
    """The kubelet's word comes later, and from a node that is lost not at all."""
    spec = task_spec(timeouts=timeouts(start=20, run=30))
    waits, heard, told = (
        deadline(spec, FIRST.tasks["task-0"], found)
        for found in (
            seen(started_at=None),
            seen(started_at=None, beat=9, first=5),
            seen(started_at=at(4), beat=9, first=5),
        )
    )
    assert waits == Deadline(Timer.SCHEDULE_TO_START, at(20))
    assert heard == Deadline(Timer.START_TO_CLOSE, at(35))
    assert told == Deadline(Timer.START_TO_CLOSE, at(34))


def test_a_heartbeat_moves_the_deadline() -> None:
    spec = task_spec(timeouts=timeouts(beat=10))
    due = [deadline(spec, FIRST.tasks["task-0"], seen(beat=beat)) for beat in (None, 2, 4.5)]
    assert [found and found.at for found in due] == [at(11), at(12), at(14.5)]


# What an attempt or launch left, as the next one finds it.
LEFT: dict[str, tuple[State, str | None]] = {
    "nothing yet": (FIRST, None),
    "a timeout": (state_of(replace(timed_out(final=False), progress="1"), scheduled(attempt=2), after=FIRST), "1"),
    "a failure": (state_of(replace(failed(final=False), progress="1"), scheduled(attempt=2), after=FIRST), "1"),
    "a disruption": (state_of(replace(disrupted(), progress="1"), after=FIRST), "1"),
    "the newest counts": (
        state_of(replace(disrupted(), progress="1"), replace(disrupted(launch=1), progress="2"), after=FIRST),
        "2",
    ),
    "who says nothing takes nothing away": (
        state_of(replace(disrupted(), progress="1"), disrupted(launch=1), after=FIRST),
        "1",
    ),
    "another task's is its own": (
        state_of(scheduled("task-1"), replace(disrupted("task-1"), progress="1"), after=FIRST),
        None,
    ),
}


@pytest.mark.parametrize(("state", "left"), LEFT.values(), ids=LEFT)
def test_what_was_reported_is_kept_for_the_next(state: State, left: str | None) -> None:
    assert state.tasks["task-0"].progress == left


DETAILS: dict[str, tuple[list[Fact], object]] = {
    "of the attempt that timed out": ([replace(timed_out(), progress='{"n":1.0}')], {"n": 1.0}),
    "of one before it": ([replace(disrupted(), progress="[2]"), timed_out()], [2]),
    "none": ([timed_out()], None),
}


@pytest.mark.parametrize(("facts", "details"), DETAILS.values(), ids=DETAILS)
def test_the_code_sees_what_was_reported_last(facts: list[Fact], details: object) -> None:
    (record,) = decision_request(workflow_spec(), state_of(*facts, after=FIRST), ()).records
    assert (record.error or {}).get("details") == details


def test_a_result_needs_no_details() -> None:
    state = state_of(replace(disrupted(), progress="1"), completed(result="2"), after=FIRST)
    (record,) = decision_request(workflow_spec(), state, ()).records
    assert (record.value, record.error) == ("2", None)
