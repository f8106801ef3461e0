"""What a history means."""

import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowy.policy.timeout import Timer
from flowy_operator.core.history import (
    CancelReason,
    Event,
    Fact,
    HistoryInvalid,
    Restarted,
    StopMode,
    StopRequested,
    event_json,
    parse_history,
)
from flowy_operator.core.state import LaunchEnd, Phase, State, Stop, apply, place
from tests.builders import (
    DIGEST,
    START,
    at,
    cancelled,
    completed,
    disrupted,
    empty_state,
    events_of,
    failed,
    followed,
    held_back,
    launch_of,
    scheduled,
    state_of,
    timed_out,
    waiting,
)
from tests.core.strategies import FEW, histories

CANCEL, TERMINATE = (StopRequested(mode=mode) for mode in StopMode)
RESTART = Restarted(run=2, input='{"args":[2],"kwargs":{}}')
CLOSE = Timer.SCHEDULE_TO_CLOSE

PHASES: dict[str, tuple[list[Fact], Phase, int]] = {
    "scheduled": ([scheduled()], Phase.OPEN, 1),
    "N16: the first attempt is delayed": ([waiting(until=5)], Phase.WAITING, 1),
    "N16: the delayed attempt is scheduled": ([waiting(until=5), scheduled()], Phase.OPEN, 1),
    "completed": ([scheduled(), completed()], Phase.FINAL, 1),
    "failed for good": ([scheduled(), failed()], Phase.FINAL, 1),
    "cancelled": ([scheduled(), cancelled()], Phase.FINAL, 1),
    "cancelled while it waits": ([waiting(until=5), cancelled()], Phase.FINAL, 1),
    "F26: the last timer fires while it waits": ([waiting(until=5), timed_out(timer=CLOSE)], Phase.FINAL, 1),
    "failed, how it goes on comes next": ([scheduled(), failed(final=False)], Phase.RETRYING, 1),
    "D14: timed out and scheduled again": ([scheduled(), timed_out(final=False), scheduled(attempt=2)], Phase.OPEN, 2),
    "N16: timed out, the next one waits": (
        [scheduled(), timed_out(final=False), waiting(attempt=2, until=7)],
        Phase.WAITING,
        2,
    ),
    "F25: disrupted, launched again": ([scheduled(), disrupted()], Phase.OPEN, 1),
    "cancelled while it was held back": ([held_back()], Phase.FINAL, 1),
}


@pytest.mark.parametrize(("facts", "phase", "attempt"), PHASES.values(), ids=PHASES)
def test_how_far_a_task_is(facts: list[Fact], phase: Phase, attempt: int) -> None:
    task = state_of(*facts).tasks["task-0"]
    assert (task.phase, task.attempt, task.digest) == (phase, attempt, DIGEST)
    assert (task.final is not None) == (task.rank is not None) == (task.finished_at is not None)
    assert (task.final is not None) == (phase is Phase.FINAL)


CONTRADICTIONS: dict[str, tuple[list[Fact], str]] = {
    "an outcome of a task that isn't there": ([completed()], "the task is not open"),
    "a second outcome": ([scheduled(), completed(), failed()], "the task is not open"),
    "a second disruption of one launch": (
        [scheduled(), disrupted(), disrupted()],
        "that launch is not the current one",
    ),
    "a disruption after the end": ([scheduled(), completed(), disrupted()], "the task is not open"),
    "F27: an outcome of an attempt before": (
        [scheduled(), timed_out(final=False), scheduled(attempt=2), completed()],
        "that attempt is not the current one",
    ),
    "an outcome of an attempt to come": ([scheduled(), completed(attempt=2)], "that attempt is not the current one"),
    "a failure while it waits": ([waiting(until=5), failed(final=False)], "that attempt is not the current one"),
    "a result while it waits": ([waiting(until=5), completed()], "no attempt of the task was open"),
    "a final failure while it waits": ([waiting(until=5), failed()], "no attempt of the task was open"),
    "a result between two attempts": (
        [scheduled(), failed(final=False), completed()],
        "no attempt of the task was open",
    ),
    "a cancellation of another attempt while it waits": (
        [waiting(until=5), cancelled(attempt=7)],
        "that attempt is not the current one",
    ),
    "a timeout of another attempt while it waits": (
        [scheduled(), failed(final=False), waiting(attempt=2, until=5), timed_out(timer=CLOSE)],
        "that attempt is not the current one",
    ),
    "scheduled twice": ([scheduled(), scheduled()], "no retry was due"),
    "scheduled after the end": ([scheduled(), completed(), scheduled(attempt=2)], "no retry was due"),
    "an attempt left out": ([scheduled(), failed(final=False), scheduled(attempt=3)], "no retry was due"),
    "a wait after a wait": ([waiting(until=5), waiting(attempt=2, until=6)], "no retry was due"),
    "another attempt than the one that waited": ([waiting(until=5), scheduled(attempt=2)], "attempt 1 was waiting"),
    "begins with its second attempt": ([scheduled(attempt=2)], "the first attempt of a task carries its digest"),
    "a key without a number": ([scheduled("task")], "'task' is no task key"),
    "a key with a leading zero": ([scheduled("task-00")], "'task-00' is no task key"),
    "a key with a foreign digit": ([scheduled("task-٣")], "'task-٣' is no task key"),
    "a restart with a task open": ([scheduled(), RESTART], "tasks of the old run are still open"),
    "a restart with a task waiting": ([waiting(until=5), RESTART], "tasks of the old run are still open"),
    "a restart after a stop": ([CANCEL, RESTART], "a stop was requested, after which no new run begins"),
    "the same stop again": ([CANCEL, CANCEL], "a stop by Cancel was requested before"),
    "a stop that is taken back": ([TERMINATE, CANCEL], "a stop by Terminate was requested before"),
    "held back, but on record": ([scheduled(), held_back()], "only a call that is on no record yet"),
    "held back, and cancelled twice": ([held_back(), held_back()], "only a call that is on no record yet"),
    "held back, of no task": ([held_back("task")], "'task' is no task key"),
    "held back at its second attempt": ([held_back(attempt=2)], "its attempt isn't the first"),
    "the same run again": ([RESTART, RESTART], "run 2 is the current one"),
}


@pytest.mark.parametrize(("facts", "message"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_what_cannot_follow_is_refused(facts: list[Fact], message: str) -> None:
    with pytest.raises(HistoryInvalid, match=f"event {len(facts)} .* contradicts the events before it: {message}"):
        state_of(*facts)


def test_the_finish_order_is_that_of_the_final_events() -> None:
    state = state_of(scheduled("a-0"), scheduled("b-0"), scheduled("c-0"), completed("b-0"), failed("a-0", final=False))
    assert [(t.key, t.rank) for t in state.tasks.values()] == [("a-0", None), ("b-0", 0), ("c-0", None)]
    state = state_of(completed("c-0"), scheduled("a-0", attempt=2), cancelled("a-0", attempt=2), after=state)
    assert [(t.key, t.rank) for t in state.tasks.values()] == [("a-0", 2), ("b-0", 0), ("c-0", 1)]
    assert state.finished == 3


def test_each_launch_has_a_job_of_its_own() -> None:
    state = state_of(
        scheduled(), 1, disrupted(), 2, timed_out(final=False), 3, scheduled(attempt=2), 4, completed(attempt=2)
    )
    launches = list(state.launches.values())
    assert len({launch.job for launch in launches}) == len(launches)
    assert [(x.attempt, x.number, x.scheduled_at, x.ended_at, x.end) for x in launches] == [
        (1, 0, at(0), at(1), LaunchEnd.FAILED),
        (1, 1, at(1), at(2), LaunchEnd.STOPPED),
        (2, 0, at(3), at(4), LaunchEnd.SUCCEEDED),
    ]
    assert state.tasks["task-0"].first_scheduled_at == at(0)


def test_a_stop_is_passed_on_by_the_first_cancellation() -> None:
    state = state_of(scheduled("a-0"), scheduled("b-0"), 3, cancelled("b-0"))
    assert state.stop is None
    state = state_of(4, CANCEL, after=state)
    assert state.stop == Stop(mode=StopMode.CANCEL, at=at(4))
    state = state_of(5, cancelled("a-0", reason=CancelReason.STOP_REQUESTED), after=state)
    assert state.stop == Stop(mode=StopMode.CANCEL, at=at(4), passed_on=True)
    state = state_of(6, TERMINATE, after=state)
    assert state.stop == Stop(mode=StopMode.TERMINATE, at=at(6))


def test_a_call_that_was_held_back_has_an_outcome_and_no_job() -> None:
    state = state_of(3, held_back("a-0"), held_back("a-1"))
    assert [(t.key, t.rank, t.launch, t.first_scheduled_at) for t in state.tasks.values()] == [
        ("a-0", 0, None, at(3)),
        ("a-1", 1, None, at(3)),
    ]
    assert (state.finished, dict(state.launches)) == (2, {})


def test_an_abandoned_launch_is_told_apart() -> None:
    state = state_of(scheduled(), 1, cancelled(reason=CancelReason.ABANDONED))
    assert [launch.end for launch in state.launches.values()] == [LaunchEnd.ABANDONED]


def test_a_wait_has_no_launch() -> None:
    state = state_of(scheduled(), failed(final=False), waiting(attempt=2, until=7))
    task = state.tasks["task-0"]
    assert (task.launch, task.due_at) == (None, at(7))
    state = state_of(7, scheduled(attempt=2), after=state)
    assert state.tasks["task-0"].due_at is None
    assert launch_of(state).scheduled_at == at(7)


def test_a_restart_begins_anew_and_keeps_nothing_but_the_ids() -> None:
    state = state_of(scheduled(), 1, completed(), 2, RESTART)
    assert (state.run, state.input, state.started_at) == (2, RESTART.input, at(2))
    assert (dict(state.tasks), state.finished, dict(state.launches)) == ({}, 0, {})
    assert (state.first, state.events) == (3, 3)
    again = state_of(scheduled(), after=state)
    assert launch_of(again).job != launch_of(state_of(scheduled())).job, "the same call in another run is another Job"
    assert launch_of(again).run == 2


def test_who_applies_nothing_keeps_the_state() -> None:
    state = state_of(scheduled())
    assert apply(state, []) is state


def test_a_state_is_left_as_it_was() -> None:
    state = state_of(scheduled())
    apply(state, events_of(completed(), after=state))
    assert state.tasks["task-0"].phase is Phase.OPEN
    assert launch_of(state).ended_at is None


def test_events_are_placed_after_those_that_are_there() -> None:
    state = state_of(scheduled("a-0"), scheduled("b-0"))
    (first, second) = place(state, [completed("a-0"), completed("b-0")], at(1))
    assert (first.id, second.id) == (3, 4)
    assert first.time == second.time == at(1)


def test_time_stands_still_while_the_clock_is_behind() -> None:
    state = state_of(10, scheduled())
    (event,) = place(state, [completed()], at(-3600))
    assert event.time == at(10)


@pytest.mark.parametrize("state", [empty_state(), state_of(scheduled("a-0"))], ids=["first", "later"])
def test_an_event_is_the_same_when_it_is_read_again(state: State) -> None:
    events = place(state, [scheduled()], START + timedelta(microseconds=1999))
    assert events[0].time == START + timedelta(microseconds=1000)


@FEW
@given(histories(), st.lists(st.integers(0, 15), max_size=5))
def test_a_history_folds_the_same_in_pieces(events: list[Event], cuts: list[int]) -> None:
    whole = apply(empty_state(), events)
    pieces = empty_state()
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(events)], strict=True):
        pieces = apply(pieces, events[start:end])
    assert pieces == whole
    assert list(pieces.tasks) == list(whole.tasks)


@FEW
@given(histories())
def test_a_history_folds_the_same_when_read_again(events: list[Event]) -> None:
    again = parse_history([event_json(event) for event in events])
    assert apply(empty_state(), again) == apply(empty_state(), events)


@FEW
@given(histories())
def test_what_every_state_is_like(events: list[Event]) -> None:
    state = apply(empty_state(), events)
    final = [task for task in state.tasks.values() if task.phase is Phase.FINAL]
    assert sorted(task.rank for task in final if task.rank is not None) == list(range(state.finished))
    assert all(
        (task.launch is not None) == (task.phase is Phase.OPEN)
        for task in state.unfinished()
        if task.phase is not Phase.RETRYING
    )
    current = {task.launch.job for task in state.open() if task.launch is not None}
    assert {launch.job for launch in state.launches.values() if launch.ended_at is None} == current
    assert all(name == launch.job for name, launch in state.launches.items())


def test_ten_thousand_events_fold() -> None:
    order = list(range(5000))
    random.Random(1).shuffle(order)
    state = followed(empty_state(), [scheduled(f"task-{n}") for n in range(5000)], at(0))
    state = followed(state, [completed(f"task-{n}") for n in order], at(1))
    assert (state.events, state.finished, len(state.launches)) == (10_000, 5000, 5000)


# facts, how the attempt before ended, reasons of disruptions, attempts made
PASTS: dict[str, tuple[list[Fact], Fact | None, list[str], int]] = {
    "nothing went wrong": ([scheduled()], None, [], 1),
    "no attempt was made yet": ([waiting(until=5)], None, [], 0),
    "an attempt failed and another waits": (
        [scheduled(), failed(final=False), waiting(attempt=2, until=7)],
        failed(final=False),
        [],
        1,
    ),
    "the last failure counts": (
        [
            scheduled(),
            failed(final=False),
            scheduled(attempt=2),
            timed_out(attempt=2, final=False),
            scheduled(attempt=3),
        ],
        timed_out(attempt=2, final=False),
        [],
        3,
    ),
    "disrupted": ([scheduled(), disrupted(), disrupted(launch=1, reason="NodeLost")], None, ["Evicted", "NodeLost"], 1),
    "the next attempt begins anew": (
        [scheduled(), disrupted(), failed(final=False), scheduled(attempt=2)],
        failed(final=False),
        [],
        2,
    ),
    "what is final keeps only its outcome": (
        [scheduled(), failed(final=False), scheduled(attempt=2), disrupted(attempt=2), completed(attempt=2)],
        None,
        [],
        2,
    ),
    "ended while it waited": (
        [scheduled(), failed(final=False), waiting(attempt=2, until=7), timed_out(attempt=2, timer=CLOSE)],
        None,
        [],
        1,
    ),
}


@pytest.mark.parametrize(("facts", "failure", "reasons", "made"), PASTS.values(), ids=PASTS)
def test_what_went_wrong_before_is_known(
    facts: list[Fact], failure: Fact | None, reasons: list[str], made: int
) -> None:
    task = state_of(*facts).tasks["task-0"]
    assert (task.last_failure, list(task.disrupted_by), task.attempts_made) == (failure, reasons, made)


def test_later_launches_of_a_disrupted_attempt_are_held_and_their_timers_with_them() -> None:
    state = state_of(scheduled(), *(disrupted(launch=n) for n in range(3)))
    assert (launch_of(state).scheduled_at, launch_of(state).held_until) == (START, None)
    state = state_of(7, disrupted(launch=3), after=state)
    assert (launch_of(state).scheduled_at, launch_of(state).held_until) == (at(12), at(12))
    state = state_of(20, failed(final=False), scheduled(attempt=2), after=state)
    assert (launch_of(state).scheduled_at, launch_of(state).held_until) == (at(20), None)
