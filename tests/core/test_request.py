"""What the decider is asked."""

from typing import Any

import pytest

from flowy.policy.timeout import Timer
from flowy.wire.messages import Record, RecordState, encode_request
from flowy_operator.core.history import (
    Fact,
    Failure,
    Restarted,
    TaskCompleted,
    TaskFailed,
)
from flowy_operator.core.request import Records, decision_request, value_refs
from flowy_operator.core.values import reference
from tests.builders import (
    DIGEST,
    START,
    UID,
    at,
    cancelled,
    completed,
    disrupted,
    failed,
    followed,
    scheduled,
    state_of,
    task_spec,
    timed_out,
    waiting,
    workflow_spec,
)

SPEC = workflow_spec(task_spec(), task_spec("red"), input='{"args":[1],"kwargs":{}}', entrypoint="f")
RESTART_INPUT = '{"args":[2],"kwargs":{}}'


def record(state: RecordState, **fields: Any) -> Record:
    return Record(key="task-0", state=state, digest=DIGEST, **fields)


def final(state: RecordState, **fields: Any) -> Record:
    return record(state, rank=0, finished_at=at(3).timestamp(), **fields)


FULL_FAILURE = Failure(type="Oom", message="m", exit_code=137, details='{"k":1.0}')

RECORDS: dict[str, tuple[list[Fact | float], Record]] = {
    "open": ([scheduled()], record(RecordState.RUNNING)),
    "N16: waiting for its first attempt": ([waiting(until=5)], record(RecordState.RUNNING)),
    "D14: between two attempts": (
        [scheduled(), timed_out(final=False), waiting(attempt=2, until=5)],
        record(RecordState.RUNNING),
    ),
    "F25: between two launches": ([scheduled(), disrupted()], record(RecordState.RUNNING)),
    "completed": (
        [scheduled(), 3, completed(result='{"a":1.0}')],
        final(RecordState.COMPLETED, value='{"a":1.0}'),
    ),
    "F24: failed": (
        [scheduled(), 3, TaskFailed(task="task-0", error=FULL_FAILURE, final=True)],
        final(
            RecordState.FAILED,
            error={
                "type": "Oom",
                "message": "m",
                "attempt": 1,
                "exitCode": 137,
                "details": {"k": 1.0},
                "task": "task-0",
            },
        ),
    ),
    "failed, with nothing but words": (
        [scheduled(), 3, failed()],
        final(RecordState.FAILED, error={"type": "Error", "message": "no", "attempt": 1, "task": "task-0"}),
    ),
    "failed, with details that are false": (
        [scheduled(), 3, TaskFailed(task="task-0", error=Failure(type="E", message="", details="0"), final=True)],
        final(RecordState.FAILED, error={"type": "E", "message": "", "attempt": 1, "details": 0, "task": "task-0"}),
    ),
    "D15: timed out for good": (
        [scheduled(), timed_out(final=False), scheduled(attempt=2), 3, timed_out(attempt=2)],
        final(
            RecordState.TIMED_OUT,
            error={
                "type": "TaskTimedOut",
                "message": "task-0 timed out (StartToClose)",
                "task": "task-0",
                "attempt": 2,
                "timer": "StartToClose",
            },
        ),
    ),
    "F26: timed out for all attempts": (
        [scheduled(), 3, timed_out(timer=Timer.SCHEDULE_TO_CLOSE)],
        final(
            RecordState.TIMED_OUT,
            error={
                "type": "TaskTimedOut",
                "message": "task-0 timed out (ScheduleToClose)",
                "task": "task-0",
                "attempt": 1,
                "timer": "ScheduleToClose",
            },
        ),
    ),
    "F24b: a late start, and what kept it": (
        [scheduled(), 3, timed_out(timer=Timer.SCHEDULE_TO_START, message="image can't be pulled: nope:1")],
        final(
            RecordState.TIMED_OUT,
            error={
                "type": "TaskTimedOut",
                "message": "task-0 timed out (ScheduleToStart): image can't be pulled: nope:1",
                "task": "task-0",
                "attempt": 1,
                "timer": "ScheduleToStart",
            },
        ),
    ),
    "F26: timed out while the second attempt waits: one was made": (
        [
            scheduled(),
            failed(final=False),
            waiting(attempt=2, until=9),
            3,
            timed_out(attempt=2, timer=Timer.SCHEDULE_TO_CLOSE),
        ],
        final(
            RecordState.TIMED_OUT,
            error={
                "type": "TaskTimedOut",
                "message": "task-0 timed out (ScheduleToClose)",
                "task": "task-0",
                "attempt": 1,
                "timer": "ScheduleToClose",
            },
        ),
    ),
    "N26: cancelled": (
        [scheduled(), 3, cancelled()],
        final(
            RecordState.CANCELLED,
            error={
                "type": "TaskCancelled",
                "message": "task-0 was cancelled: Deleted",
                "reason": "Deleted",
                "task": "task-0",
                "attempt": 1,
            },
        ),
    ),
}


@pytest.mark.parametrize(("facts", "expected"), RECORDS.values(), ids=RECORDS)
def test_the_decider_sees_a_task_so(facts: list[Fact | float], expected: Record) -> None:
    request = decision_request(SPEC, state_of(*facts), [])
    assert request.records == [expected]
    assert encode_request(request)


def test_a_long_result_stands_in_the_request_like_any_other() -> None:
    ref = reference("talk-task-0", "[1.0]")
    state = state_of(scheduled(), 3, TaskCompleted(task="task-0", result_ref=ref), scheduled("red-0"))
    assert value_refs(state) == [ref]
    request = decision_request(SPEC, state, [], {"talk-task-0": "[1.0]"})
    assert request.records[0] == final(RecordState.COMPLETED, value="[1.0]")


def test_values_of_an_earlier_run_are_not_asked_for() -> None:
    before: list[Fact] = [scheduled(), TaskCompleted(task="task-0", result_ref=reference("a", "1"))]
    assert value_refs(state_of(*before, Restarted(run=2, input=RESTART_INPUT))) == []


def test_the_decider_sees_nothing_else() -> None:
    request = decision_request(SPEC, state_of(scheduled("red-0"), scheduled("task-0")), ["red-0"])
    assert (request.source, request.entrypoint, request.tasks) == (SPEC.source, "f", ("task", "red"))
    assert (request.input, request.seed, request.started_at) == (SPEC.input, f"{UID}/1", START.timestamp())
    assert [r.key for r in request.records] == ["red-0", "task-0"]
    assert request.wanted == ("red-0",)


def test_after_a_restart_the_input_and_the_seed_are_new() -> None:
    request = decision_request(SPEC, state_of(5, Restarted(run=2, input=RESTART_INPUT)), [])
    assert (request.input, request.seed, request.started_at) == (RESTART_INPUT, f"{UID}/2", at(5).timestamp())
    assert request.records == []


def test_records_are_made_once_and_are_those_of_the_state_at_hand() -> None:
    ref = reference("talk-task-1", "[1.0]")
    one = state_of(scheduled(), scheduled("task-1"), completed("task-0", "1"))
    other = state_of(scheduled(), scheduled("task-1"), completed("task-0", "2"))
    longer = followed(one, [TaskCompleted(task="task-1", result_ref=ref)], at(6))
    again = followed(longer, [Restarted(run=2, input=RESTART_INPUT), scheduled()], at(7))
    records = Records()
    for state, text in [
        (one, ""),
        (other, ""),
        (one, ""),
        (longer, "[1.0]"),
        (longer, "[2.0]"),
        (again, ""),
        (one, ""),
    ]:
        values = {"talk-task-1": text}
        kept = decision_request(SPEC, state, [], values, records)
        assert kept == decision_request(SPEC, state, [], values)
    assert kept.records[0] is decision_request(SPEC, one, [], {}, records).records[0]
