"""How a workflow ends, and what becomes of the tasks that it leaves behind."""

from collections.abc import Sequence
from typing import Any

import pytest

from flowy.wire.messages import Answer, AnsweredWait, Outcome
from flowy_operator.core.conditions import Reason
from flowy_operator.core.ending import after_the_code, end_without_code, workflow_deadline
from flowy_operator.core.history import CancelReason, Fact, Restarted, StopMode, StopRequested, TaskScheduled
from flowy_operator.core.observe import Launching
from flowy_operator.core.spec import OnEnd
from flowy_operator.core.state import State
from flowy_operator.core.verdict import End, Verdict
from tests.builders import (
    START,
    at,
    cancelled,
    completed,
    held_back,
    scheduled,
    state_of,
    waiting,
    workflow_spec,
)

ALLOWED, SUSPENDED = Launching
CANCEL, TERMINATE = (StopRequested(mode=mode) for mode in StopMode)
RETURNED = Answer(outcome=Outcome.COMPLETED, result="7")
RESTARTED = Answer(outcome=Outcome.RESTARTED, restart='{"args":[2],"kwargs":{}}')
DONE = End(reason=Reason.COMPLETED, result="7")
SOME_OPEN = state_of(scheduled("task-0"), waiting("task-1", until=5), waiting("task-2", until=50))
ENDED, STOPPED, ABANDONED = CancelReason.WORKFLOW_ENDED, CancelReason.STOP_REQUESTED, CancelReason.ABANDONED


def open_tasks(count: int) -> State:
    return state_of(*(scheduled(f"task-{n}") for n in range(count)))


def ended(key: str, reason: CancelReason = ENDED) -> Fact:
    return cancelled(key, reason=reason)


def all_ended(reason: CancelReason) -> list[Fact]:
    return [ended(f"task-{n}", reason) for n in range(3)]


WAITS = [AnsweredWait(key=f"task-{n}", line=None) for n in range(3)]

LEFT_BEHIND: dict[str, tuple[OnEnd, Answer, Verdict]] = {
    "Cancel": (OnEnd.CANCEL, RETURNED, Verdict(facts=all_ended(ENDED), end=DONE)),
    "Abandon": (OnEnd.ABANDON, RETURNED, Verdict(facts=all_ended(ABANDONED), end=DONE)),
    "Wait: the retry that is due is scheduled": (
        OnEnd.WAIT,
        RETURNED,
        Verdict(facts=[TaskScheduled(task="task-1")], waiting_on=WAITS, finishing=True),
    ),
    "Wait: a new run waits too": (
        OnEnd.WAIT,
        RESTARTED,
        Verdict(facts=[TaskScheduled(task="task-1")], waiting_on=WAITS, finishing=True),
    ),
    "Abandon at a restart": (
        OnEnd.ABANDON,
        RESTARTED,
        Verdict(facts=[*all_ended(ABANDONED), Restarted(run=2, input='{"args":[2],"kwargs":{}}')]),
    ),
}


@pytest.mark.parametrize(("on_end", "answer", "expected"), LEFT_BEHIND.values(), ids=LEFT_BEHIND)
def test_what_still_runs_at_the_end(on_end: OnEnd, answer: Answer, expected: Verdict) -> None:
    assert after_the_code(workflow_spec(on_end=on_end), SOME_OPEN, answer, at(5), ALLOWED) == expected


def test_while_suspended_the_end_waits_and_no_retry_starts() -> None:
    verdict = after_the_code(workflow_spec(on_end=OnEnd.WAIT), SOME_OPEN, RETURNED, at(5), SUSPENDED)
    assert (list(verdict.facts), verdict.held_back, verdict.finishing) == ([], 1, True)


def test_with_nothing_open_wait_waits_for_nothing() -> None:
    state = state_of(scheduled(), completed())
    assert after_the_code(workflow_spec(on_end=OnEnd.WAIT), state, RETURNED, at(5), ALLOWED) == Verdict(
        facts=[], end=DONE
    )


def failed_with(kind: str) -> Answer:
    return Answer(outcome=Outcome.FAILED, error={"type": kind, "message": "m"})


TOLD = state_of(scheduled(), CANCEL, cancelled(reason=STOPPED))
UNTOLD = state_of(scheduled(), completed())

REASONS: dict[str, tuple[dict[str, Any], State, Answer, Reason | None]] = {
    "returned after a stop": ({}, TOLD, RETURNED, Reason.COMPLETED),
    "cancelled by the stop": ({}, TOLD, failed_with("TaskCancelled"), Reason.CANCELLED),
    "failed after a stop": ({}, TOLD, failed_with("KeyError"), Reason.FAILED),
    "cancelled without a stop": ({}, UNTOLD, failed_with("TaskCancelled"), Reason.FAILED),
    "restarts after a stop": ({}, TOLD, RESTARTED, Reason.CANCELLED),
    "restarts as the stop comes": ({"stop": StopMode.CANCEL}, UNTOLD, RESTARTED, None),
    "restarts as the stop comes, and has seen no outcome": (
        {"stop": StopMode.CANCEL},
        state_of(scheduled()),
        RESTARTED,
        Reason.CANCELLED,
    ),
}


@pytest.mark.parametrize(("spec", "state", "answer", "expected"), REASONS.values(), ids=REASONS)
def test_the_reason_of_the_end(spec: dict[str, Any], state: State, answer: Answer, expected: Reason | None) -> None:
    end = after_the_code(workflow_spec(**spec), state, answer, at(5), ALLOWED).end
    assert (None if end is None else end.reason) == expected


CLEANING = state_of(CANCEL, held_back(), scheduled("task-1"))

WITHOUT_CODE: dict[str, tuple[dict[str, Any], State, float, tuple[list[Fact], Reason] | None]] = {
    "no reason to": ({"workflow_timeout_s": 60}, SOME_OPEN, 59, None),
    "terminated": ({"stop": StopMode.TERMINATE}, SOME_OPEN, 1, ([TERMINATE, *all_ended(STOPPED)], Reason.TERMINATED)),
    "terminated, whatever onEnd says": (
        {"stop": StopMode.TERMINATE, "on_end": OnEnd.ABANDON},
        SOME_OPEN,
        1,
        ([TERMINATE, *all_ended(STOPPED)], Reason.TERMINATED),
    ),
    "timed out, whatever onEnd says": (
        {"workflow_timeout_s": 60, "on_end": OnEnd.WAIT},
        SOME_OPEN,
        60,
        (all_ended(ENDED), Reason.TIMED_OUT),
    ),
    "the grace period lasts": ({"cancel_timeout_s": 30, "stop": StopMode.CANCEL}, CLEANING, 29.9, None),
    "the grace period is over": (
        {"cancel_timeout_s": 30, "stop": StopMode.CANCEL},
        CLEANING,
        30,
        ([ended("task-1", STOPPED)], Reason.TERMINATED),
    ),
    "terminated in the clean-up": (
        {"stop": StopMode.TERMINATE},
        CLEANING,
        1,
        ([TERMINATE, ended("task-1", STOPPED)], Reason.TERMINATED),
    ),
}


@pytest.mark.parametrize(("spec", "state", "now", "expected"), WITHOUT_CODE.values(), ids=WITHOUT_CODE)
def test_an_end_without_the_code(
    spec: dict[str, Any], state: State, now: float, expected: tuple[list[Fact], Reason] | None
) -> None:
    verdict = end_without_code(workflow_spec(**spec), state, START, at(now))
    if expected is None:
        assert verdict is None
        return
    assert verdict is not None
    assert verdict.end is not None
    assert (list(verdict.facts), verdict.end.reason) == expected


def test_the_workflow_has_a_deadline_if_the_spec_says_so() -> None:
    assert workflow_deadline(workflow_spec(), START) is None
    assert workflow_deadline(workflow_spec(workflow_timeout_s=60), START) == at(60)


UNFINISHED = {
    "nothing open": (0, ""),
    "one": (1, "; unfinished: task-0"),
    "as many as are named": (10, "; unfinished: " + ", ".join(f"task-{n}" for n in range(10))),
    "more": (11, "; unfinished: " + ", ".join(f"task-{n}" for n in range(10)) + " and more"),
}


@pytest.mark.parametrize(("count", "words"), UNFINISHED.values(), ids=UNFINISHED)
def test_the_workflows_own_timeout_ends_it(count: int, words: str) -> None:
    spec = workflow_spec(workflow_timeout_s=60)
    verdict = end_without_code(spec, open_tasks(count), START, at(60))
    facts: Sequence[Fact] = [ended(f"task-{n}") for n in range(count)]
    message = f"the workflow was still open after 60 s (timeouts.workflowSeconds){words}"
    error = {"type": "WorkflowTimedOut", "message": message}
    assert verdict == Verdict(facts=facts, end=End(reason=Reason.TIMED_OUT, error=error))
