"""Which ready attempts start now."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from flowy.wire.messages import AnsweredCall
from flowy_operator.core.admission import Admission, admit, due_retries
from flowy_operator.core.history import Fact, RetryScheduled, TaskScheduled
from flowy_operator.core.observe import Launching
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import State
from tests.builders import (
    DIGEST,
    at,
    call,
    calls,
    completed,
    empty_state,
    failed,
    followed,
    retry,
    scheduled,
    state_of,
    task_spec,
    timed_out,
    waiting,
    workflow_spec,
)

ALLOWED, SUSPENDED = Launching
THREE = workflow_spec(parallelism=3)
DELAYED = workflow_spec(task_spec(retry=retry(delays_s=(5, 0, 7))), parallelism=3)


def first(key: str) -> TaskScheduled:
    return TaskScheduled(task=key, digest=DIGEST, line=1)


def open_tasks(count: int) -> State:
    return state_of(*(scheduled(f"task-{n}") for n in range(count)))


RETRYING = state_of(scheduled(), failed(final=False), waiting(attempt=2, until=7))
FULL = state_of(*(scheduled(f"task-{n}") for n in range(1, 4)), after=RETRYING)

CASES: dict[str, tuple[WorkflowSpec, State, Sequence[AnsweredCall], float, Launching, list[Fact], int]] = {
    "D24: three of four start": (
        THREE,
        empty_state(),
        calls(4),
        0,
        ALLOWED,
        [first("task-0"), first("task-1"), first("task-2")],
        1,
    ),
    "D24: the fourth when there is room": (
        THREE,
        state_of(completed(), after=open_tasks(3)),
        calls(1, first=3),
        1,
        ALLOWED,
        [first("task-3")],
        0,
    ),
    "N19: nothing starts while three are open": (THREE, open_tasks(3), calls(8, first=3), 0, ALLOWED, [], 8),
    "N21: without parallelism all hundred start": (
        workflow_spec(),
        empty_state(),
        calls(100),
        0,
        ALLOWED,
        [first(f"task-{n}") for n in range(100)],
        0,
    ),
    "parallelism was lowered below what is open": (
        workflow_spec(parallelism=1),
        open_tasks(3),
        calls(1, first=3),
        0,
        ALLOWED,
        [],
        1,
    ),
    "N16: the first attempt in 5 s, as an absolute time": (
        DELAYED,
        empty_state(),
        [call("task-0", line=4)],
        10,
        ALLOWED,
        [waiting(until=15)],
        0,
    ),
    "what only waits takes no room": (
        DELAYED,
        empty_state(),
        calls(4),
        0,
        ALLOWED,
        [waiting(f"task-{n}", until=5) for n in range(4)],
        0,
    ),
    "a retry that is due starts": (THREE, RETRYING, [], 7, ALLOWED, [scheduled(attempt=2)], 0),
    "a retry that isn't due doesn't": (THREE, RETRYING, [], 6.999, ALLOWED, [], 0),
    "a retry that waits leaves its room to others": (
        workflow_spec(parallelism=1),
        RETRYING,
        calls(1, first=1),
        6,
        ALLOWED,
        [first("task-1")],
        0,
    ),
    "a retry that is due goes before new calls": (
        workflow_spec(parallelism=1),
        RETRYING,
        calls(1, first=1),
        7,
        ALLOWED,
        [scheduled(attempt=2)],
        1,
    ),
    "a retry that is due is held back too": (THREE, FULL, calls(2, first=4), 7, ALLOWED, [], 3),
    "suspended, nothing starts": (THREE, RETRYING, calls(2, first=1), 7, SUSPENDED, [], 3),
    "nothing is ready": (THREE, empty_state(), [], 0, ALLOWED, [], 0),
}


@pytest.mark.parametrize(
    ("spec", "state", "listed", "now", "launching", "facts", "held_back"), CASES.values(), ids=CASES
)
def test_admit(
    spec: WorkflowSpec,
    state: State,
    listed: Sequence[AnsweredCall],
    now: float,
    launching: Launching,
    facts: list[Fact],
    held_back: int,
) -> None:
    admission = admit(spec, state, listed, at(now), launching)
    assert _without_lines(admission.facts) == _without_lines(facts)
    assert admission.held_back == held_back


def _without_lines(facts: Sequence[Fact]) -> list[Fact]:
    """Tables don't repeat the line of each call; `test_a_call_keeps_its_line` has it."""
    return [replace(fact, line=None) if isinstance(fact, TaskScheduled | RetryScheduled) else fact for fact in facts]


def test_a_call_keeps_its_line() -> None:
    (fact,) = admit(THREE, empty_state(), [call("task-0", line=7)], at(0), ALLOWED).facts
    assert fact == TaskScheduled(task="task-0", digest=DIGEST, line=7)
    (fact,) = admit(DELAYED, empty_state(), [call("task-0", line=7)], at(0), ALLOWED).facts
    assert isinstance(fact, RetryScheduled)
    assert fact.line == 7


def test_due_retries_stand_in_the_order_of_their_calls() -> None:
    state = state_of(
        scheduled("a-0"),
        scheduled("b-0"),
        timed_out("b-0", final=False),
        waiting("b-0", attempt=2, until=5),
        timed_out("a-0", final=False),
        waiting("a-0", attempt=2, until=6),
    )
    assert [task.key for task in due_retries(state, at(5))] == ["b-0"]
    assert [task.key for task in due_retries(state, at(6))] == ["a-0", "b-0"]


def test_what_was_admitted_is_not_admitted_again() -> None:
    admission = admit(THREE, RETRYING, calls(2, first=1), at(7), ALLOWED)
    after = followed(RETRYING, admission.facts, at(7))
    assert admit(THREE, after, [], at(7), ALLOWED) == Admission([], 0)
