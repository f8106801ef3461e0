"""A folded history, its events, and the trace of a replay -> the calls of a run with all their attempts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flowy.wire.keys import task_of
from flowy.wire.messages import Trace, TracedCall
from flowy_cli.pictures.execution import Attempt, Call, Execution, Kind, Standing
from flowy_operator.core.history import (
    CancelReason,
    Event,
    TaskCancelled,
    TaskCompleted,
    TaskDisrupted,
    TaskFailed,
    TaskScheduled,
    TaskTimedOut,
)
from flowy_operator.core.sentences import attempt_sentence
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import Final, Launch, Phase, State, Task

Child = Callable[[str], Execution | None]
"""The run of the child of this name, if it is at hand."""

_Outcome = TaskCompleted | TaskFailed | TaskTimedOut | TaskCancelled | TaskDisrupted


def calls_of(
    spec: WorkflowSpec,
    state: State,
    events: Sequence[Event],
    trace: Trace | None,
    arguments: Mapping[str, str],
    values: Mapping[str, str],
    child: Child,
) -> tuple[Call, ...]:
    """All calls, in the order of the code as far as its trace goes, then in that of their recording."""
    outcomes = _outcomes(events)
    launches: dict[str, list[Launch]] = {}
    for launch in state.launches.values():
        launches.setdefault(launch.task, []).append(launch)
    traced = {} if trace is None else {call.key: call for call in trace.calls}
    found = []
    for key in dict.fromkeys([*traced, *state.tasks]):
        kind = _kind(spec, key)
        task = state.tasks.get(key)
        attempts = [
            _attempt(launch, outcomes.get((key, launch.attempt, launch.number)), kind, child)
            for launch in launches.get(key, ())
        ]
        found.append(_call(key, kind, task, traced.get(key), attempts, arguments.get(key), values))
    return tuple(found)


def _kind(spec: WorkflowSpec, key: str) -> Kind:
    task = spec.tasks.get(task_of(key))
    return Kind.WORKFLOW if task is not None and task.workflow is not None else Kind.ACTIVITY


def _call(
    key: str,
    kind: Kind,
    task: Task | None,
    traced: TracedCall | None,
    attempts: Sequence[Attempt],
    arguments: str | None,
    values: Mapping[str, str],
) -> Call:
    line = traced.line if traced is not None else None if task is None else task.line
    takes, looks = ((), 0) if traced is None else (traced.takes, traced.looks)
    if task is None:
        return Call(
            key=key, task=task_of(key), kind=kind, standing=Standing.CALLED, line=line, takes=takes, looks=looks
        )
    final = task.final
    return Call(
        key=key,
        task=task.name,
        kind=kind,
        standing=_standing_of(task),
        line=line,
        takes=takes,
        looks=looks,
        attempts=attempts,
        scheduled_at=task.first_scheduled_at,
        finished_at=task.finished_at,
        due_at=task.due_at,
        arguments=arguments,
        result=_result(final, values),
        reason="" if final is None else _reason(final),
    )


def _standing_of(task: Task) -> Standing:
    if task.final is not None:
        return _standing(task.final)
    return Standing.RUNNING if task.phase is Phase.OPEN else Standing.WAITING


def _standing(fact: _Outcome) -> Standing:
    match fact:
        case TaskCompleted():
            return Standing.SUCCEEDED
        case TaskFailed():
            return Standing.FAILED
        case TaskTimedOut():
            return Standing.TIMED_OUT
        case TaskCancelled():
            return Standing.CANCELLED
        case TaskDisrupted():
            return Standing.DISRUPTED


def _reason(fact: _Outcome) -> str:
    match fact:
        case TaskCompleted():
            return ""
        case TaskFailed(error=failure):
            code = f" (exit code {failure.exit_code})" if failure.exit_code else ""
            return f"{failure.type}: {failure.message}{code}"
        case TaskTimedOut():
            return attempt_sentence(fact)
        case TaskCancelled(reason=reason):
            return _CANCELLED[reason]
        case TaskDisrupted(reason=why, message=message):
            return f"{why}: {message}" if message else why


_CANCELLED = {
    CancelReason.WORKFLOW_ENDED: "the workflow had ended",
    CancelReason.DELETED: "somebody deleted it",
    CancelReason.CHILD_STOPPED: "somebody stopped its child",
    CancelReason.STOP_REQUESTED: "a stop was requested",
    CancelReason.ABANDONED: "the workflow ended and left it running",
}


def _result(final: Final | None, values: Mapping[str, str]) -> str | None:
    if not isinstance(final, TaskCompleted):
        return None
    return final.result if final.result_ref is None else values.get(final.result_ref.name)


@dataclass(frozen=True, slots=True)
class _Ended:
    fact: _Outcome
    at: datetime


def _outcomes(events: Iterable[Event]) -> dict[tuple[str, int, int], _Ended]:
    """How each launch ended, by task, attempt and launch."""
    current: dict[str, int] = {}
    found: dict[tuple[str, int, int], _Ended] = {}
    for event in events:
        match event.fact:
            case TaskScheduled(task=task):
                current[task] = 0
            case TaskDisrupted(task=task, attempt=attempt, launch=launch) as fact:
                found[task, attempt, launch] = _Ended(fact, event.time)
                current[task] = launch + 1
            case TaskCompleted() | TaskFailed() | TaskTimedOut() | TaskCancelled() as fact:
                found[fact.task, fact.attempt, current.get(fact.task, 0)] = _Ended(fact, event.time)
            case _:
                pass
    return found


def _attempt(launch: Launch, ended: _Ended | None, kind: Kind, child: Child) -> Attempt:
    run = child(launch.job) if kind is Kind.WORKFLOW else None
    started_at = (
        ended.fact.started_at if ended is not None and isinstance(ended.fact, TaskCompleted | TaskFailed) else None
    )
    if started_at is None and run is not None:
        started_at = run.started_at
    return Attempt(
        number=launch.attempt,
        launch=launch.number,
        standing=Standing.RUNNING if ended is None else _standing(ended.fact),
        scheduled_at=launch.scheduled_at,
        # Kubernetes tells it in whole seconds: often before the Job was made.
        started_at=None if started_at is None else max(started_at, launch.scheduled_at),
        ended_at=None if ended is None else max(ended.at, launch.scheduled_at),
        reason="" if ended is None else _reason(ended.fact),
        name=launch.job,
        node=ended.fact.node if ended is not None and isinstance(ended.fact, TaskCompleted) else None,
        child=run,
    )
