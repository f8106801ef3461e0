"""What the decider is asked: the request that a history implies."""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from flowy.policy.timeout import Timer
from flowy.wire.messages import ErrorObject, Record, RecordState, Request
from flowy_operator.core.history import TaskCancelled, TaskCompleted, TaskFailed, TaskTimedOut
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import Final, State, Task
from flowy_operator.core.values import ValueRef


def value_refs(state: State) -> list[ValueRef]:
    """The values of this run that a request needs and the history only refers to."""
    return [
        final.result_ref
        for task in state.tasks.values()
        if isinstance(final := task.final, TaskCompleted) and final.result_ref is not None
    ]


class Records:
    """The records of one workflow's tasks. Those of tasks that have ended are made once.

    A chain of n steps asks n times, each time about all before: made anew, they were most of what its late steps cost. Those
    with a value that the history only refers to aren't kept, since it may be long.
    """

    def __init__(self) -> None:
        self._made: dict[str, tuple[Task, Record]] = {}

    def of(self, state: State, values: Mapping[str, str]) -> list[Record]:
        """One a task, in the order of the tasks. `values` as for `decision_request`."""
        if len(self._made) > state.finished:  # of the run before
            self._made.clear()
        made = self._made.get
        return [
            # By identity: what another history has by this key is another task.
            known[1] if (known := made(key)) is not None and known[0] is task else self._make(task, values)
            for key, task in state.tasks.items()
        ]

    def _make(self, task: Task, values: Mapping[str, str]) -> Record:
        record, final = _record(task, values), task.final
        if final is not None and (not isinstance(final, TaskCompleted) or final.result_ref is None):
            self._made[task.key] = task, record
        return record


def decision_request(
    spec: WorkflowSpec,
    state: State,
    wanted: Sequence[str],
    values: Mapping[str, str] = MappingProxyType({}),
    records: Records | None = None,
) -> Request:
    """What the decider is asked. Attempts, nodes and the times between stay here: code must not see them.

    `values` has the texts of all `value_refs`, by their names. `records` are those of this workflow's request before.
    """
    return Request(
        source=spec.source,
        entrypoint=spec.entrypoint,
        tasks=tuple(spec.tasks),
        input=state.input if state.input is not None else spec.input,
        records=(Records() if records is None else records).of(state, values),
        seed=f"{state.uid}/{state.run}",
        started_at=state.started_at.timestamp(),
        wanted=tuple(wanted),
    )


def _record(task: Task, values: Mapping[str, str]) -> Record:
    final = task.final
    if final is None:
        return Record(key=task.key, state=RecordState.RUNNING, digest=task.digest, line=task.line)
    state, value, error = _outcome(task, final, values)
    return Record(
        key=task.key,
        state=state,
        digest=task.digest,
        line=task.line,
        value=value,
        error=error,
        rank=task.rank,
        finished_at=None if task.finished_at is None else task.finished_at.timestamp(),
    )


def _outcome(task: Task, final: Final, values: Mapping[str, str]) -> tuple[RecordState, str | None, ErrorObject | None]:
    attempts = task.attempts_made
    match final:
        case TaskCompleted(result=result, result_ref=ref):
            return RecordState.COMPLETED, result if ref is None else values[ref.name], None
        case TaskFailed(error=failure):
            details = None if failure.details is None else json.loads(failure.details)
            found = {
                "type": failure.type,
                "message": failure.message,
                "attempt": attempts,
                "exitCode": failure.exit_code,
                "details": details,
            }
            return RecordState.FAILED, None, _present(found) | {"task": final.task}
        case TaskTimedOut(timer=timer, message=cause):
            return RecordState.TIMED_OUT, None, timeout_error(final.task, attempts, timer, cause, task.progress)
        case TaskCancelled(reason=reason):
            message = f"{final.task} was cancelled: {reason}"
            cancelled = {"type": "TaskCancelled", "message": message, "reason": str(reason)}
            return RecordState.CANCELLED, None, cancelled | {"task": final.task, "attempt": attempts}


def timeout_error(task: str, attempt: int, timer: Timer, cause: str | None, progress: str | None) -> ErrorObject:
    """The error object of a task that timed out: `cause` says why, `progress` is what its last heartbeat told."""
    message = f"{task} timed out ({timer})" + (f": {cause}" if cause else "")
    error = {"type": "TaskTimedOut", "message": message, "task": task, "attempt": attempt, "timer": str(timer)}
    return error | _present({"details": None if progress is None else json.loads(progress)})


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
