"""Which timer fires next."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowy.policy.timeout import Deadline, TimeoutSpec, Timer, next_deadline, schedule_to_close
from tests.builders import at, timeouts

TO_START, RUN, CLOSE = Timer

# spec, first scheduled, scheduled, started -> timer and its instant
CASES: dict[str, tuple[TimeoutSpec, float, float, float | None, tuple[Timer, float] | None]] = {
    "without timeouts nothing fires": (timeouts(), 0, 0, None, None),
    "without timeouts nothing fires while it runs": (timeouts(), 0, 0, 1, None),
    "before the start the start is awaited": (timeouts(start=11, run=12), 0, 0, None, (TO_START, 11)),
    "after the start the end is awaited": (timeouts(start=11, run=12), 0, 0, 5, (RUN, 17)),
    "a start after its time counts as a start": (timeouts(start=11), 0, 0, 50, None),
    "before the start the run has no end": (timeouts(run=12), 0, 0, None, None),
    "schedule-to-start counts from this attempt": (timeouts(start=11), 0, 100, None, (TO_START, 111)),
    "schedule-to-close counts from the first attempt": (timeouts(close=13), 0, 10, None, (CLOSE, 13)),
    "the earlier one counts": (timeouts(start=11, close=13), 0, 0, None, (TO_START, 11)),
    "the earlier one counts while it runs": (timeouts(run=12, close=13), 0, 0, 5, (CLOSE, 13)),
    "at one instant the widest wins": (timeouts(start=13, close=13), 0, 0, None, (CLOSE, 13)),
    "at one instant the widest wins while it runs": (timeouts(run=8, close=13), 0, 0, 5, (CLOSE, 13)),
}


@pytest.mark.parametrize(("spec", "first", "scheduled", "started", "expected"), CASES.values(), ids=CASES)
def test_next_deadline(
    spec: TimeoutSpec, first: float, scheduled: float, started: float | None, expected: tuple[Timer, float] | None
) -> None:
    found = next_deadline(
        spec,
        first_scheduled_at=at(first),
        scheduled_at=at(scheduled),
        started_at=None if started is None else at(started),
    )
    assert found == (None if expected is None else Deadline(expected[0], at(expected[1])))


def test_schedule_to_close_is_known_without_an_attempt() -> None:
    assert schedule_to_close(timeouts(close=13), at(2)) == Deadline(CLOSE, at(15))
    assert schedule_to_close(timeouts(start=11, run=12), at(2)) is None


@settings(deadline=None)
@given(
    st.builds(
        TimeoutSpec,
        schedule_to_start_s=st.none() | st.integers(1, 100),
        start_to_close_s=st.none() | st.integers(1, 100),
        schedule_to_close_s=st.none() | st.integers(1, 100),
    ),
    st.integers(0, 100),
    st.none() | st.integers(0, 100),
)
def test_nothing_fires_after_schedule_to_close(spec: TimeoutSpec, scheduled: int, started: int | None) -> None:
    found = next_deadline(
        spec,
        first_scheduled_at=at(0),
        scheduled_at=at(scheduled),
        started_at=None if started is None else at(scheduled + started),
    )
    end = schedule_to_close(spec, at(0))
    if end is not None:
        assert found is not None
        assert found.at <= end.at
