"""Instants of a history that is in the future: what becomes of them, and that the history itself stays."""

from datetime import timedelta

import pytest

from flowy_operator.core.history import Fact, StopMode, StopRequested
from flowy_operator.core.setback import TOLERANCE, set_back
from flowy_operator.core.state import State
from tests.builders import at, completed, disrupted, failed, scheduled, state_of, waiting

DAY = 86_400.0
NOW = at(100)


def test_a_history_of_the_past_is_left_alone() -> None:
    state = state_of(scheduled(), 100 + TOLERANCE.total_seconds(), completed())
    assert set_back(state, NOW) is state


STATES: dict[str, list[Fact | float]] = {
    "open": [DAY, scheduled()],
    "waiting": [DAY, scheduled(), failed(final=False), waiting(attempt=2, until=DAY + 30)],
    "held": [DAY, scheduled(), *(disrupted(launch=launch) for launch in range(4))],
    "over": [DAY, scheduled(), completed()],
    "some before that": [50, scheduled("task-0"), DAY, scheduled("task-1"), completed("task-1")],
    "stopped": [DAY, scheduled(), StopRequested(mode=StopMode.CANCEL)],
    "stopped before that": [50, scheduled(), StopRequested(mode=StopMode.CANCEL), DAY, completed()],
}


def instants(state: State) -> list[float]:
    """All that something is due by, in seconds after NOW."""
    found = [task.first_scheduled_at for task in state.pending.values()]
    found += [task.due_at for task in state.pending.values() if task.due_at is not None]
    for launch in state.launches.values():
        known = (launch.scheduled_at, launch.held_until) if launch.ended_at is None else (launch.ended_at,)
        found += [instant for instant in known if instant is not None]
    found += [] if state.stop is None else [state.stop.at]
    return [(instant - NOW).total_seconds() for instant in found]


@pytest.mark.parametrize("facts", STATES.values(), ids=STATES)
def test_nothing_is_due_later_than_it_was_to_be(facts: list[Fact | float]) -> None:
    state = state_of(*facts)
    found = set_back(state, NOW)
    assert max(instants(found)) <= 30
    assert (found.chain, found.outcomes, found.last_time) == (state.chain, state.outcomes, state.last_time)
    assert list(found.tasks) == list(state.tasks)
    for task in found.tasks.values():
        assert (
            task.launch is None
            or found.launches[task.launch.job].ended_at is not None
            or (found.launches[task.launch.job] == task.launch)
        )


@pytest.mark.parametrize("facts", STATES.values(), ids=STATES)
def test_it_is_done_once(facts: list[Fact | float]) -> None:
    """Else what is due would move on with the clock."""
    once = set_back(state_of(*facts), NOW)
    assert instants(set_back(once, NOW + timedelta(seconds=20))) == instants(once)


def test_a_delay_keeps_its_length() -> None:
    found = set_back(state_of(*STATES["waiting"]), NOW)
    assert found.pending["task-0"].due_at == at(130)


def test_a_pause_before_a_launch_keeps_its_length() -> None:
    state = state_of(*STATES["held"])
    launch, found = state.pending["task-0"].launch, set_back(state, NOW).pending["task-0"].launch
    assert launch is not None
    assert launch.held_until is not None
    assert found is not None
    assert found.held_until == found.scheduled_at == NOW + (launch.held_until - at(DAY))
