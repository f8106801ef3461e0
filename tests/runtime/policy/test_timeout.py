"""Which timer fires next."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowy.policy.timeout import Deadline, TimeoutSpec, Timer, next_deadline, schedule_to_close
from tests.builders import at, timeouts

TO_START, RUN, CLOSE, HEARTBEAT = Timer

# spec, first scheduled, scheduled, started -> timer and its instant
CASES: dict[str, tuple[TimeoutSpec, float, float, float | None, tuple[Timer, float] | None]] = {
    "before the start nobody beats": (timeouts(beat=7), 0, 0, None, None),
    "silence counts from the start": (timeouts(run=12, beat=7), 0, 0, 5, (HEARTBEAT, 12)),
    "silence past the end of the run is the run's end": (timeouts(run=7, beat=9), 0, 0, 5, (RUN, 12)),
    "at one instant the run's end comes before silence": (timeouts(run=7, beat=7), 0, 0, 5, (RUN, 12)),
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
    "by a node's clock that is behind, it started when it was scheduled": (timeouts(run=12), 0, 30, 4, (RUN, 42)),
    "silence, too, counts from then": (timeouts(beat=7), 0, 30, 4, (HEARTBEAT, 37)),
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


HEARD: dict[str, tuple[float | None, float]] = {
    "never": (None, 12),
    "before the start, for instance since the operator runs": (2, 12),
    "at the start": (5, 12),
    "once": (8.5, 15.5),
    "by an operator that has only just begun to listen": (1000, 1007),
}


@pytest.mark.parametrize(("heard", "due"), HEARD.values(), ids=HEARD)
def test_silence_counts_from_what_was_heard_last(heard: float | None, due: float) -> None:
    found = next_deadline(
        timeouts(beat=7),
        first_scheduled_at=at(0),
        scheduled_at=at(0),
        started_at=at(5),
        heard_at=None if heard is None else at(heard),
    )
    assert found == Deadline(HEARTBEAT, at(due))


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
