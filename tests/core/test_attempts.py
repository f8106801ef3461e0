"""Whether what a pod says still counts."""

import pytest

from flowy_operator.core.attempts import Abandoned, Counts, Over, Unknown, standing
from flowy_operator.core.history import CancelReason, Fact, Restarted
from flowy_operator.core.state import State
from tests.builders import cancelled, completed, disrupted, failed, launch_of, scheduled, state_of, timed_out, waiting

FIRST = state_of(scheduled())
JOB = launch_of(FIRST).job

# What follows the first launch, and what its pod is told from then on.
LATER: dict[str, tuple[list[Fact], str]] = {
    "completed": ([completed()], "task-0 has ended: completed"),
    "failed for good": ([failed()], "task-0 has ended: failed"),
    "timed out for good": ([timed_out()], "task-0 has ended: timed out (StartToClose)"),
    "cancelled": ([cancelled(reason=CancelReason.DELETED)], "task-0 has ended: cancelled (Deleted)"),
    "its next attempt runs": (
        [timed_out(final=False), scheduled(attempt=2)],
        "attempt 1 of task-0 has ended; attempt 2 follows it",
    ),
    "its next attempt waits": (
        [failed(final=False), waiting(attempt=2, until=60)],
        "attempt 1 of task-0 has ended; attempt 2 follows it",
    ),
    "it was disrupted": (
        [disrupted()],
        "this launch of attempt 1 of task-0 was disrupted, and another has taken its place",
    ),
}


def test_who_was_left_behind_is_not_told_to_stop() -> None:
    state = state_of(cancelled(reason=CancelReason.ABANDONED), after=FIRST)
    assert isinstance(standing(state, JOB), Abandoned)


def test_what_is_left_of_an_older_run_is_not_told_to_stop_and_not_listened_to() -> None:
    state = state_of(completed(), Restarted(run=2, input='{"args":[],"kwargs":{}}'), after=FIRST)
    assert standing(state, JOB, 1) == Abandoned("it belongs to run 1, and the workflow was restarted")
    assert isinstance(standing(state, JOB), Unknown), "what its Job says isn't known yet"
    assert isinstance(standing(state, "another", 2), Unknown)


def test_the_current_launch_counts() -> None:
    assert standing(FIRST, JOB) == Counts(FIRST.tasks["task-0"], JOB)


@pytest.mark.parametrize(("facts", "why"), LATER.values(), ids=LATER)
def test_an_earlier_launch_is_over(facts: list[Fact], why: str) -> None:
    assert standing(state_of(*facts, after=FIRST), JOB) == Over(why)


CURRENT: dict[str, State] = {
    "the next attempt": state_of(timed_out(final=False), scheduled(attempt=2), after=FIRST),
    "the next launch": state_of(disrupted(), after=FIRST),
}


@pytest.mark.parametrize("state", CURRENT.values(), ids=CURRENT)
def test_only_the_last_one_counts(state: State) -> None:
    found = {name: type(standing(state, name)) for name in state.launches}
    assert found == {JOB: Over, launch_of(state).job: Counts}


def test_what_the_history_does_not_have_is_not_over() -> None:
    assert isinstance(standing(FIRST, "another"), Unknown)
