"""When a status says what a decision would say."""

from typing import Any

import pytest

from flowy.wire.messages import AnsweredWait
from flowy_operator.core.decided import recorded_waits
from flowy_operator.core.history import StopMode, StopRequested
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import State
from flowy_operator.core.status import SHOWN_WAITS, Standing, status_fields
from tests.builders import at, completed, scheduled, state_of, view, workflow_spec

CODE = {"digest": "abc", "python": "3.11", "flowy": "1"}
SPEC = workflow_spec()
OPEN = state_of(scheduled("task-0"), scheduled("task-1"), 1.0, completed("task-1"))
WAITS = [AnsweredWait(key="task-0", line=3)]


def status(state: State = OPEN, waits: list[AnsweredWait] = WAITS, *, decided: bool = True, **fields: Any) -> Any:
    standing = Standing(generation=1, started_at=at(0), waiting_on=waits, code=CODE, decided=decided)
    return {**status_fields({}, state, standing, view(), at(2)), **fields}


def test_what_was_decided_is_read_back() -> None:
    assert recorded_waits(status(), SPEC, OPEN, CODE) == WAITS
    without_line = [AnsweredWait(key="task-0", line=None)]
    assert recorded_waits(status(waits=without_line), SPEC, OPEN, CODE) == without_line


MANY = state_of(*(scheduled(f"task-{n}") for n in range(SHOWN_WAITS)))

ASKED: dict[str, tuple[Any, WorkflowSpec, State]] = {
    "a new run": ({}, SPEC, state_of()),
    "an older operator wrote it": (status(decided=False), SPEC, OPEN),
    "something has happened since": (status(), SPEC, state_of(completed("task-0"), after=OPEN)),
    "other code, or another version": (status(code={**CODE, "flowy": "2"}), SPEC, OPEN),
    "a stop is asked for": (status(), workflow_spec(stop=StopMode.CANCEL), OPEN),
    "a stop is on record": (
        status(state := state_of(StopRequested(mode=StopMode.CANCEL), after=OPEN)),
        SPEC,
        state,
    ),
    "more waits than the status names": (
        status(MANY, [AnsweredWait(key=key, line=None) for key in MANY.tasks]),
        SPEC,
        MANY,
    ),
    "nothing is waited for": (status(waits=[]), SPEC, OPEN),
    "what it waits for has ended, by hand": (status(waitingOn=[{"task": "task-1"}]), SPEC, OPEN),
    "what it waits for is unknown, by hand": (status(waitingOn=[{"task": "task-7"}]), SPEC, OPEN),
    "waits of another shape, by hand": (status(waitingOn=["task-0"]), SPEC, OPEN),
}


@pytest.mark.parametrize(("found", "spec", "state"), ASKED.values(), ids=ASKED)
def test_else_the_code_is_asked(found: Any, spec: WorkflowSpec, state: State) -> None:
    assert recorded_waits(found, spec, state, CODE) is None
