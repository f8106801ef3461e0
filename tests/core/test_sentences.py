"""Failures in words."""

import pytest

from flowy.policy.timeout import Timer
from flowy_operator.core.history import Failure, TaskFailed, TaskTimedOut
from flowy_operator.core.sentences import (
    SHOWN_CHARS,
    attempt_sentence,
    attempts,
    duration,
    failure_sentence,
    line,
    reasons,
)
from tests.builders import retry, task_spec, timed_out

FAILURES: dict[str, tuple[Failure, str]] = {
    "type and message": (Failure(type="NoSuchFilm", message="film 7"), "NoSuchFilm: film 7"),
    "an exit code": (Failure(type="Error", message="no", exit_code=3), "Error: no (exit code 3)"),
    "an exit code that the message tells": (
        Failure(type="Error", message="exit code 3, and no message", exit_code=3),
        "Error: exit code 3, and no message",
    ),
    "the exit code of a success tells nothing": (
        Failure(type="ResultInvalid", message="m", exit_code=0),
        "ResultInvalid: m",
    ),
    "several lines": (Failure(type="Error", message="a\n  b\n"), "Error: a b"),
}


@pytest.mark.parametrize(("failure", "words"), FAILURES.values(), ids=FAILURES)
def test_a_failure_in_words(failure: Failure, words: str) -> None:
    assert failure_sentence(failure) == words


ENDS: dict[str, tuple[TaskFailed | TaskTimedOut, str]] = {
    "failed": (
        TaskFailed(task="a-0", attempt=2, error=Failure(type="Error", message="no", exit_code=1)),
        "attempt 2 failed: Error: no (exit code 1)",
    ),
    "timed out": (timed_out(attempt=2), "attempt 2 timed out (StartToClose)"),
    "timed out, and why": (
        timed_out(timer=Timer.SCHEDULE_TO_START, message="Unschedulable: no room"),
        "attempt 1 timed out (ScheduleToStart): Unschedulable: no room",
    ),
}


@pytest.mark.parametrize(("fact", "words"), ENDS.values(), ids=ENDS)
def test_an_attempt_in_words(fact: TaskFailed | TaskTimedOut, words: str) -> None:
    assert attempt_sentence(fact) == words


COUNTS = {
    "the last of them": (3, 3, "attempt 3 of 3"),
    "one, and none follows": (1, 3, "attempt 1 of 3, not retried"),
    "the only one": (1, 1, "attempt 1 of 1"),
    "none": (0, 2, "no attempt of 2 made"),
}


@pytest.mark.parametrize(("made", "allowed", "words"), COUNTS.values(), ids=COUNTS)
def test_attempts_are_counted(made: int, allowed: int, words: str) -> None:
    assert attempts(task_spec(retry=retry(allowed)), made) == words


def test_a_task_that_is_not_in_the_spec_has_no_number_of_attempts() -> None:
    assert attempts(None, 2) == "attempt 2"


def test_reasons_are_counted_the_most_frequent_first() -> None:
    assert reasons(["NodeLost", "Evicted", "Evicted"]) == "Evicted (2), NodeLost (1)"


def test_a_long_text_is_marked_where_it_is_cut() -> None:
    assert line("x" * SHOWN_CHARS) == "x" * SHOWN_CHARS
    assert line("x" * (SHOWN_CHARS + 1)) == "x" * (SHOWN_CHARS - 1) + "…"


TIMES = {
    0: "0 s",
    59: "59 s",
    60: "1 min",
    200: "3 min 20 s",
    3600: "1 h",
    3659: "1 h",
    7500: "2 h 5 min",
    273_600: "3 d 4 h",
}


@pytest.mark.parametrize(("seconds", "words"), TIMES.items())
def test_a_time_in_its_two_largest_units(seconds: int, words: str) -> None:
    assert duration(seconds) == words
