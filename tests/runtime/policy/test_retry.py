"""Which attempt follows a failed one, and after how long."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowy.policy.retry import (
    MAX_LAUNCHES,
    Backoff,
    GiveUp,
    RetryAfter,
    RetrySpec,
    RetryWhen,
    after_failure,
    delay_before,
    ended_by,
    pause_before_launch,
)
from flowy.policy.timeout import Timer
from tests.builders import retry

DEFAULT = RetrySpec()
ALL = tuple(RetryWhen)
TIMEOUT, SCHEDULE_TO_START, ERROR = RetryWhen
NOT_RETRYABLE, EXHAUSTED = GiveUp("NotRetryable"), GiveUp("AttemptsExhausted")

CASES: dict[str, tuple[RetrySpec, int, RetryWhen, RetryAfter | GiveUp]] = {
    "D14: by default a timeout is tried again at once": (DEFAULT, 1, TIMEOUT, RetryAfter(0)),
    "D15: by default the third timeout is the last": (DEFAULT, 3, TIMEOUT, EXHAUSTED),
    "F24: by default an error is final": (DEFAULT, 1, ERROR, NOT_RETRYABLE),
    "F24b: by default waiting too long for a start is final": (DEFAULT, 1, SCHEDULE_TO_START, NOT_RETRYABLE),
    "errors are retried if asked for": (retry(when=ALL), 1, ERROR, RetryAfter(0)),
    "late starts are retried if asked for": (retry(when=ALL), 2, SCHEDULE_TO_START, RetryAfter(0)),
    "nothing is retried if nothing is named": (retry(when=()), 1, TIMEOUT, NOT_RETRYABLE),
    "N16: the second attempt comes after the second delay": (retry(delays_s=(5, 0, 7)), 1, TIMEOUT, RetryAfter(0)),
    "N16: the third attempt comes after the third delay": (retry(delays_s=(5, 0, 7)), 2, TIMEOUT, RetryAfter(7)),
    "N17: the last delay repeats": (retry(100, delays_s=(0,)), 5, TIMEOUT, RetryAfter(0)),
    "one attempt allows no second": (retry(1), 1, TIMEOUT, EXHAUSTED),
    "more attempts than allowed were made": (retry(2), 5, TIMEOUT, EXHAUSTED),
    "what is not retryable says so even when attempts are exhausted": (retry(1), 1, ERROR, NOT_RETRYABLE),
}


@pytest.mark.parametrize(("spec", "attempt", "failure", "expected"), CASES.values(), ids=CASES)
def test_after_failure(spec: RetrySpec, attempt: int, failure: RetryWhen, expected: RetryAfter | GiveUp) -> None:
    assert after_failure(spec, attempt, failure, seed="s") == expected


DELAYS = {
    "N16: #1 in 5 s": ((5, 0, 7), 1, 5),
    "N16: #2 at once": ((5, 0, 7), 2, 0),
    "N16: #3 in 7 s": ((5, 0, 7), 3, 7),
    "the last one repeats": ((5, 0, 7), 4, 7),
    "one delay is for all": ((2,), 100, 2),
}


@pytest.mark.parametrize(("delays_s", "attempt", "expected"), DELAYS.values(), ids=DELAYS)
def test_delay_before(delays_s: tuple[int, ...], attempt: int, expected: int) -> None:
    assert delay_before(retry(delays_s=delays_s), attempt, "s") == expected


PICKY = RetrySpec(when=ALL, non_retryable_exit_codes=(2, 64), non_retryable_errors=("NoSuchFilm", "OOMKilled"))

# exit code, type of the error, whether another attempt follows
ERRORS: dict[str, tuple[int | None, str | None, bool]] = {
    "an error like any other": (1, "Error", True),
    "an exit code that is listed": (64, "Error", False),
    "a type that is listed": (1, "NoSuchFilm", False),
    "one of Kubernetes' types": (137, "OOMKilled", False),
    "names are whole and exact": (1, "NoSuchFil", True),
    "names are told apart by case": (1, "oomkilled", True),
    "a failure without an exit code": (None, "LaunchLost", True),
    "a success that could not be read": (0, "ResultInvalid", True),
}


@pytest.mark.parametrize(("exit_code", "kind", "retried"), ERRORS.values(), ids=ERRORS)
def test_errors_that_are_listed_are_final(exit_code: int | None, kind: str | None, retried: bool) -> None:
    found = after_failure(PICKY, 1, ERROR, seed="s", exit_code=exit_code, error_type=kind)
    assert found == (RetryAfter(0) if retried else NOT_RETRYABLE)


def test_a_timeout_is_no_error_that_could_be_listed() -> None:
    assert after_failure(PICKY, 1, TIMEOUT, seed="s") == RetryAfter(0)


EVEN = Backoff(initial_s=10, jitter_percent=0)

BACKOFFS: dict[str, tuple[Backoff, list[float]]] = {
    "the first attempt starts at once, then each wait is twice the one before": (EVEN, [0, 10, 20, 40, 80]),
    "no wait is longer than the cap": (
        Backoff(initial_s=10, multiplier=3, max_s=100, jitter_percent=0),
        [0, 10, 30, 90, 100, 100],
    ),
    "a multiplier of 1 keeps them equal": (Backoff(initial_s=7, multiplier=1, jitter_percent=0), [0, 7, 7, 7]),
    "the cap may be the initial wait": (Backoff(initial_s=600, jitter_percent=0), [0, 600, 600]),
}


@pytest.mark.parametrize(("backoff", "expected"), BACKOFFS.values(), ids=BACKOFFS)
def test_a_backoff_grows_up_to_its_cap(backoff: Backoff, expected: list[float]) -> None:
    spec = RetrySpec(max_attempts=100, backoff=backoff)
    assert [delay_before(spec, n, "seed") for n in range(1, len(expected) + 1)] == expected


def test_the_hundredth_wait_of_the_steepest_backoff_is_the_cap() -> None:
    spec = RetrySpec(max_attempts=100, backoff=Backoff(initial_s=1, multiplier=10, max_s=600, jitter_percent=0))
    assert delay_before(spec, 100, "seed") == 600


PINNED = [9.32, 17.853, 24.479]


def test_jitter_is_pinned() -> None:
    """Recorded once: what a seed gives must not change with a version, or a repeated decision would differ."""
    spec = RetrySpec(backoff=Backoff(initial_s=10, jitter_percent=50))
    assert [delay_before(spec, n, "uid/1/task-0") for n in (2, 3, 4)] == PINNED
    assert [delay_before(spec, n, "uid/2/task-0") for n in (2, 3, 4)] != PINNED
    assert [delay_before(spec, n, "uid/1/task-1") for n in (2, 3, 4)] != PINNED


@settings(deadline=None)
@given(
    st.integers(1, 1000),
    st.integers(1, 10),
    st.integers(0, 10_000),
    st.integers(0, 100),
    st.integers(2, 100),
    st.text(max_size=20),
)
def test_jitter_only_shortens(
    initial_s: int, multiplier: int, more_s: int, percent: int, attempt: int, seed: str
) -> None:
    backoff = Backoff(initial_s=initial_s, multiplier=multiplier, max_s=initial_s + more_s, jitter_percent=percent)
    even_s = min(initial_s * multiplier ** (attempt - 2), initial_s + more_s)
    found_s = delay_before(RetrySpec(backoff=backoff), attempt, seed)
    assert even_s * (100 - percent) / 100 <= found_s <= even_s
    assert found_s == delay_before(RetrySpec(backoff=backoff), attempt, seed)
    assert round(found_s * 1000) / 1000 == found_s, "as fine as the history's times"


def test_the_first_launches_follow_at_once_and_all_together_outlast_a_reboot() -> None:
    pauses = [pause_before_launch(number) for number in range(MAX_LAUNCHES)]
    assert pauses[:9] == [0, 0, 0, 0, 5, 10, 20, 40, 60]
    assert set(pauses[9:]) == {60}
    assert 10 * 60 <= sum(pauses) <= 20 * 60


def test_jitter_uses_all_of_its_range() -> None:
    spec = RetrySpec(backoff=Backoff(initial_s=100, jitter_percent=100))
    found = [delay_before(spec, 2, f"uid/1/task-{n}") for n in range(400)]
    assert min(found) < 2
    assert max(found) > 98
    assert 45 < sum(found) / len(found) < 55


BACKOFFS_REFUSED = {
    "no initial wait": ({"initial_s": 0}, "retry.backoff.initialSeconds is 0"),
    "waits that shrink": ({"initial_s": 1, "multiplier": 0}, "retry.backoff.multiplier is 0"),
    "a cap below the first wait": (
        {"initial_s": 601},
        r"retry.backoff.maxSeconds is 600, less than initialSeconds \(601",
    ),
    "more jitter than there is": ({"initial_s": 1, "jitter_percent": 101}, "retry.backoff.jitterPercent is 101"),
    "less jitter than none": ({"initial_s": 1, "jitter_percent": -1}, "retry.backoff.jitterPercent is -1"),
}


@pytest.mark.parametrize(("fields", "message"), BACKOFFS_REFUSED.values(), ids=BACKOFFS_REFUSED)
def test_a_backoff_without_a_meaning_is_refused(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Backoff(**fields)


REFUSED = {
    "N18: no attempts": ({"max_attempts": 0}, "retry.maxAttempts is 0"),
    "N18: a negative number of attempts": ({"max_attempts": -1}, "retry.maxAttempts is -1"),
    "N18: no delays": ({"delays_s": ()}, "retry.delaysSeconds is empty"),
}


@pytest.mark.parametrize(("fields", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_without_a_meaning_are_refused(fields: dict[str, int | tuple[int, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RetrySpec(**fields)  # type: ignore[arg-type]


@settings(deadline=None)
@given(
    st.builds(
        RetrySpec,
        max_attempts=st.integers(1, 100),
        when=st.sets(st.sampled_from(RetryWhen)).map(tuple),
        delays_s=st.lists(st.integers(0, 100), min_size=1).map(tuple),
    ),
    st.lists(st.sampled_from(RetryWhen), min_size=100, max_size=100),
)
def test_every_run_of_failures_ends(spec: RetrySpec, failures: list[RetryWhen]) -> None:
    for attempt, failure in enumerate(failures, 1):
        outcome = after_failure(spec, attempt, failure, seed="s")
        if isinstance(outcome, GiveUp):
            assert attempt <= spec.max_attempts
            return
        assert outcome.delay_s in spec.delays_s
    pytest.fail("a hundred failures are more than any spec allows")


def test_the_timer_of_all_attempts_together_is_never_followed_by_another() -> None:
    assert {timer: ended_by(timer) for timer in Timer} == {
        Timer.SCHEDULE_TO_START: RetryWhen.SCHEDULE_TO_START,
        Timer.START_TO_CLOSE: RetryWhen.TIMEOUT,
        Timer.SCHEDULE_TO_CLOSE: None,
        Timer.HEARTBEAT: RetryWhen.TIMEOUT,
    }
