"""The patched world: one clock, one generator, and no way to tell a patched class from the original."""

import datetime as dt
import os
import random
import time
import uuid
from typing import Any

import pytest

from flowy.replay.determinism import Clock, deterministic

AT = 1_700_000_000.25


def test_every_clock_shows_the_same_instant() -> None:
    clock = Clock(AT)
    with deterministic(clock, "seed"):
        assert time.time() == time.monotonic() == time.perf_counter() == AT
        assert time.time_ns() == time.monotonic_ns() == time.perf_counter_ns() == 1_700_000_000_250_000_000
        assert dt.datetime.now(dt.UTC).timestamp() == AT
        assert dt.datetime.utcnow().isoformat() == "2023-11-14T22:13:20.250000"  # noqa: DTZ003 - what is tested
        assert dt.datetime.now() == dt.datetime.today() == dt.datetime.fromtimestamp(AT)  # noqa: DTZ002, DTZ005, DTZ006 - what is tested
        assert dt.date.today() == dt.date.fromtimestamp(AT)  # noqa: DTZ011, DTZ012 - what is tested
        assert time.gmtime() == time.gmtime(AT)
        assert time.localtime() == time.localtime(AT)
        assert time.ctime() == time.ctime(AT) == time.asctime()
        assert time.asctime(time.gmtime(0)) == "Thu Jan  1 00:00:00 1970"
        assert time.strftime("%Y") == time.strftime("%Y", time.localtime(AT))
        clock.observe(AT + 1)
        assert time.time() == AT + 1
    assert time.time() > AT + 1


def test_the_clock_never_goes_back() -> None:
    clock = Clock(10.0)
    for instant in (None, 5.0, 12.0, 11.0):
        clock.observe(instant)
    assert clock.now() == 12.0


def test_patched_dates_are_dates() -> None:
    original = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
    with deterministic(Clock(AT), "seed"):
        assert isinstance(original, dt.datetime)
        assert isinstance(original, dt.date)
        assert issubclass(dt.datetime, dt.date)
        assert not isinstance(dt.date(2024, 1, 2), dt.datetime)
        assert dt.datetime(2024, 1, 2, tzinfo=dt.UTC) == original
        assert dt.datetime.__name__ == "datetime"
        assert dt.datetime.now(dt.UTC) + dt.timedelta(1) > original - dt.timedelta(9999)


def drawn() -> list[Any]:
    return [
        random.random(),
        random.randrange(10**9),
        random.choice("abcdef"),
        random.Random().random(),
        random.SystemRandom().random(),
        uuid.uuid4(),
        uuid.uuid1(),
        os.urandom(8),
    ]


def test_one_generator_seeded_by_the_run() -> None:
    with deterministic(Clock(AT), "a"):
        one, more = drawn(), drawn()
    with deterministic(Clock(AT), "a"):
        again = drawn()
    with deterministic(Clock(AT), "b"):
        other = drawn()
    assert one == again
    assert not any(left == right for left, right in zip(one, more, strict=True))
    assert one[0] != other[0]
    assert one[5].version == 4


def test_a_seeded_generator_is_untouched() -> None:
    expected = random.Random(5).random()
    with deterministic(Clock(AT), "a"):
        assert random.Random(5).random() == expected


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_undone(fails: bool) -> None:
    before = (time.time, dt.datetime, random.Random, os.urandom, random.getstate())
    with pytest.raises(ZeroDivisionError) if fails else deterministic(Clock(1.0), "x"), deterministic(Clock(2.0), "y"):
        random.random()
        if fails:
            raise ZeroDivisionError
    assert (time.time, dt.datetime, random.Random, os.urandom, random.getstate()) == before
