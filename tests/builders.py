"""Builders of what the decision core works on: a test names what it is about, the rest is filled in.

Instants are seconds after `START`. A history is a list of facts, with the instant before a fact where time goes on.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from flowy.policy.retry import RetrySpec, RetryWhen
from flowy.policy.timeout import TimeoutSpec, Timer
from flowy.wire.messages import Answer, AnsweredCall, AnsweredWait, Outcome
from flowy_operator.core.history import (
    CancelReason,
    Event,
    Fact,
    Failure,
    RetryScheduled,
    TaskCancelled,
    TaskCompleted,
    TaskDisrupted,
    TaskFailed,
    TaskScheduled,
    TaskTimedOut,
)
from flowy_operator.core.job import Owner
from flowy_operator.core.observe import View
from flowy_operator.core.records import JobRecord, PodRecord
from flowy_operator.core.spec import Activity, TaskSpec, WorkflowSpec
from flowy_operator.core.state import Launch, State, apply, place

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UID = "5a1e7a0c-4c2e-4f0e-9d7c-1d2b3c4d5e6f"
OWNER = Owner(namespace="media", name="talk-42", uid=UID)
DIGEST = "0123456789abcdef"


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


# -- specs ----------------------------------------------------------------------------------------------------------


def retry(
    max_attempts: int = 3,
    *,
    when: Sequence[RetryWhen] = (RetryWhen.TIMEOUT,),
    delays_s: Sequence[int] = (0,),
    **fields: Any,
) -> RetrySpec:
    return RetrySpec(max_attempts=max_attempts, when=when, delays_s=delays_s, **fields)


def timeouts(
    *, start: int | None = None, run: int | None = None, close: int | None = None, beat: int | None = None
) -> TimeoutSpec:
    """`start` is schedule-to-start, `run` start-to-close, `close` schedule-to-close, `beat` heartbeat."""
    return TimeoutSpec(schedule_to_start_s=start, start_to_close_s=run, schedule_to_close_s=close, heartbeat_s=beat)


def task_spec(
    name: str = "task",
    *,
    activity: Activity | None = None,
    timeouts: TimeoutSpec | None = None,
    retry: RetrySpec | None = None,
) -> TaskSpec:
    return TaskSpec(
        name=name,
        activity=activity or Activity(image="busybox:1"),
        timeouts=timeouts or TimeoutSpec(),
        retry=retry or RetrySpec(),
    )


def workflow_spec(*tasks: TaskSpec, **fields: Any) -> WorkflowSpec:
    """A workflow of these tasks; of one named `task` if none is given."""
    return WorkflowSpec(source="def f(): ...", tasks={t.name: t for t in tasks or [task_spec()]}, **fields)


# -- facts and states -------------------------------------------------------------------------------------------------


def scheduled(task: str = "task-0", attempt: int = 1) -> TaskScheduled:
    return TaskScheduled(task=task, attempt=attempt, digest=DIGEST if attempt == 1 else None)


def waiting(task: str = "task-0", attempt: int = 1, *, until: float) -> RetryScheduled:
    return RetryScheduled(task=task, attempt=attempt, at=at(until), digest=DIGEST if attempt == 1 else None)


def completed(task: str = "task-0", result: str = "null", attempt: int = 1) -> TaskCompleted:
    return TaskCompleted(task=task, attempt=attempt, result=result)


def failed(task: str = "task-0", message: str = "no", attempt: int = 1, *, final: bool = True) -> TaskFailed:
    return TaskFailed(task=task, attempt=attempt, error=Failure(type="Error", message=message), final=final)


def timed_out(
    task: str = "task-0",
    timer: Timer = Timer.START_TO_CLOSE,
    attempt: int = 1,
    *,
    final: bool = True,
    message: str | None = None,
) -> TaskTimedOut:
    return TaskTimedOut(task=task, attempt=attempt, timer=timer, final=final, message=message)


def cancelled(task: str = "task-0", attempt: int = 1, reason: CancelReason = CancelReason.DELETED) -> TaskCancelled:
    return TaskCancelled(task=task, attempt=attempt, reason=reason)


def held_back(task: str = "task-0", attempt: int = 1) -> TaskCancelled:
    """The only record of a call that a stop found held back."""
    return TaskCancelled(task=task, attempt=attempt, reason=CancelReason.STOP_REQUESTED, digest=DIGEST, line=1)


def disrupted(task: str = "task-0", launch: int = 0, attempt: int = 1, reason: str = "Evicted") -> TaskDisrupted:
    return TaskDisrupted(task=task, attempt=attempt, launch=launch, reason=reason)


def empty_state() -> State:
    return State(workflow=OWNER.name, uid=UID, started_at=START)


def events_of(*steps: Fact | float, after: State | None = None) -> list[Event]:
    """Events of these facts; a number sets the time of what follows it."""
    state = after or empty_state()
    first, time = state.events, state.last_time or START
    events: list[Event] = []
    for step in steps:
        if isinstance(step, (int, float)):
            time = at(step)
        else:
            events.append(Event(first + len(events) + 1, time, step))
    return events


def state_of(*steps: Fact | float, after: State | None = None) -> State:
    return apply(after or empty_state(), events_of(*steps, after=after))


def followed(state: State, facts: Iterable[Fact], now: datetime) -> State:
    """The state after facts that were found at `now`."""
    return apply(state, place(state, facts, now))


def launch_of(state: State, task: str = "task-0") -> Launch:
    """The current launch of a task."""
    launch = state.tasks[task].launch
    assert launch is not None
    return launch


# -- records ----------------------------------------------------------------------------------------------------------


def job_record(name: str = "job", **fields: Any) -> JobRecord:
    given: dict[str, Any] = {
        "namespace": OWNER.namespace,
        "uid": f"{name}-uid",
        "resource_version": 1,
        "workflow": OWNER.name,
        "owner_uid": UID,
        "created_at": START,
    }
    return JobRecord(name=name, **(given | fields))


def pod_record(job: str = "job", phase: str = "Running", **fields: Any) -> PodRecord:
    given: dict[str, Any] = {
        "namespace": OWNER.namespace,
        "name": f"{job}-abcde",
        "uid": f"{job}-pod-uid",
        "resource_version": 1,
        "workflow": OWNER.name,
        "job_uid": f"{job}-uid",
        "phase": phase,
    }
    return PodRecord(job=job, **(given | fields))


def view(
    *records: JobRecord | PodRecord,
    gone: Sequence[str] = (),
    refused: Mapping[str, str] | None = None,
    notes: Mapping[str, str] | None = None,
    obstacles: Mapping[str, str] | None = None,
) -> View:
    return View(
        jobs={r.name: r for r in records if isinstance(r, JobRecord)},
        pods={r.job: r for r in records if isinstance(r, PodRecord) and r.job is not None},
        gone=gone,
        refused=refused or {},
        notes=notes or {},
        obstacles=obstacles or {},
    )


# -- answers ----------------------------------------------------------------------------------------------------------


def call(key: str, arguments: str = '{"args":[],"kwargs":{}}', line: int | None = 1) -> AnsweredCall:
    return AnsweredCall(key=key, task=key.rpartition("-")[0], arguments=arguments, digest=DIGEST, line=line)


def calls(count: int, task: str = "task", first: int = 0) -> list[AnsweredCall]:
    return [call(f"{task}-{n}") for n in range(first, first + count)]


def suspended(*scheduled: AnsweredCall, waiting_on: Sequence[str] = ()) -> Answer:
    return Answer(
        outcome=Outcome.SUSPENDED,
        scheduled=scheduled,
        waiting_on=[AnsweredWait(key=key, line=3) for key in waiting_on],
    )
