"""When a stop reaches the code, what may start meanwhile, and how the code learns of it."""

from typing import Any

import pytest

from flowy_operator.core.conditions import Blocker, Reason, Stall
from flowy_operator.core.history import CancelReason, Fact, Restarted, StopMode, StopRequested
from flowy_operator.core.observe import Launching
from flowy_operator.core.state import State
from flowy_operator.core.stop import cancel_deadline, comes_first, launching, pass_on, requested
from flowy_operator.core.verdict import End, Verdict
from tests.builders import (
    at,
    call,
    cancelled,
    empty_state,
    followed,
    held_back,
    scheduled,
    state_of,
    waiting,
    workflow_spec,
)

ALLOWED, SUSPENDED = Launching
CANCEL, TERMINATE = (StopRequested(mode=mode) for mode in StopMode)
ASKED = {"stop": StopMode.CANCEL}
REQUESTED = state_of(scheduled(), 4, CANCEL)
PASSED_ON = state_of(cancelled(reason=CancelReason.STOP_REQUESTED), after=REQUESTED)

STEPS: dict[str, tuple[dict[str, Any], State, Launching, bool]] = {
    "no stop": ({}, empty_state(), ALLOWED, False),
    "suspended": ({"suspend": True}, empty_state(), SUSPENDED, False),
    "asked for": (ASKED, empty_state(), SUSPENDED, True),
    "on record, but the code doesn't know": (ASKED, REQUESTED, SUSPENDED, True),
    "passed on: the clean-up runs": (ASKED, PASSED_ON, ALLOWED, False),
    "passed on while suspended": (ASKED | {"suspend": True}, PASSED_ON, ALLOWED, False),
    "taken back by force: what is on record counts": ({}, REQUESTED, SUSPENDED, True),
}


@pytest.mark.parametrize(("spec", "state", "allowed", "pending"), STEPS.values(), ids=STEPS)
def test_the_steps_of_a_stop(spec: dict[str, Any], state: State, allowed: Launching, *, pending: bool) -> None:
    assert launching(workflow_spec(**spec), state) is allowed
    assert comes_first(workflow_spec(**spec), state, Verdict()) == pending


BEFORE: dict[str, tuple[Verdict, bool]] = {
    "a barrier": (Verdict(), True),
    "new calls": (Verdict(facts=[scheduled("task-1")]), True),
    "a stall": (Verdict(stall=Stall(Blocker.NON_DETERMINISM, "")), True),
    "an end that is held for open tasks": (Verdict(finishing=True), True),
    "an end": (Verdict(end=End(reason=Reason.FAILED)), False),
    "a new run": (Verdict(facts=[Restarted(run=2, input="{}")]), False),
}


@pytest.mark.parametrize(("verdict", "expected"), BEFORE.values(), ids=BEFORE)
def test_what_a_stop_comes_before(verdict: Verdict, *, expected: bool) -> None:
    assert comes_first(workflow_spec(**ASKED), empty_state(), verdict) == expected


REQUESTS: dict[str, tuple[StopMode | None, State, list[Fact]]] = {
    "none": (None, empty_state(), []),
    "the first": (StopMode.CANCEL, empty_state(), [CANCEL]),
    "known": (StopMode.CANCEL, REQUESTED, []),
    "more than before": (StopMode.TERMINATE, REQUESTED, [TERMINATE]),
}


@pytest.mark.parametrize(("mode", "state", "expected"), REQUESTS.values(), ids=REQUESTS)
def test_a_stop_is_recorded_once(mode: StopMode | None, state: State, expected: list[Fact]) -> None:
    assert requested(workflow_spec(stop=mode), state) == expected


def test_all_that_is_open_or_held_back_is_cancelled() -> None:
    state = state_of(scheduled("a-0"), waiting("a-1", until=50), scheduled("a-2"), cancelled("a-2"))
    facts = pass_on(workflow_spec(**ASKED), state, [call("b-0"), call("b-1")])
    reason = CancelReason.STOP_REQUESTED
    assert facts == [
        CANCEL,
        cancelled("a-0", reason=reason),
        cancelled("a-1", reason=reason),
        held_back("b-0"),
        held_back("b-1"),
    ]
    after = followed(state, facts, at(5))
    assert not list(after.unfinished())
    assert launching(workflow_spec(**ASKED), after) is ALLOWED


def test_the_grace_period_counts_from_the_request() -> None:
    spec = workflow_spec(**ASKED, cancel_timeout_s=30)
    assert cancel_deadline(spec, empty_state()) is None
    assert cancel_deadline(spec, PASSED_ON) == at(34)
