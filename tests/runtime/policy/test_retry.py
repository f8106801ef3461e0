"""Which attempt follows a failed one, and after how long."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowy.policy.retry import GiveUp, RetryAfter, RetrySpec, RetryWhen, after_failure, delay_before
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
    assert after_failure(spec, attempt, failure) == expected


DELAYS = {
    "N16: #1 in 5 s": ((5, 0, 7), 1, 5),
    "N16: #2 at once": ((5, 0, 7), 2, 0),
    "N16: #3 in 7 s": ((5, 0, 7), 3, 7),
    "the last one repeats": ((5, 0, 7), 4, 7),
    "one delay is for all": ((2,), 100, 2),
}


@pytest.mark.parametrize(("delays_s", "attempt", "expected"), DELAYS.values(), ids=DELAYS)
def test_delay_before(delays_s: tuple[int, ...], attempt: int, expected: int) -> None:
    assert delay_before(retry(delays_s=delays_s), attempt) == expected


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
        outcome = after_failure(spec, attempt, failure)
        if isinstance(outcome, GiveUp):
            assert attempt <= spec.max_attempts
            return
        assert outcome.delay_s in spec.delays_s
    pytest.fail("a hundred failures are more than any spec allows")
