"""Retry policy: what follows a failed attempt of a task.

Pure, and the only retry rule: the local engine and the operator both call it. Durations are seconds. A disruption
(eviction, node loss) is no failure of the attempt and never comes here; `MAX_LAUNCHES` alone bounds it.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from flowy.policy.timeout import Timer

LONGEST_WAIT_S = (
    600  # of a back-off that names no other: long enough for most outages, short enough to notice their end
)

MAX_LAUNCHES = 20  # of one attempt: an activity that drags its node down must not go on for ever


_LAUNCHES_AT_ONCE = 4
_FIRST_PAUSE_S = 5
_LONGEST_PAUSE_S = 60


class RetryWhen(StrEnum):
    """What an attempt may have ended by, as `retry.when` names it. The values are part of the API."""

    TIMEOUT = "Timeout"  # StartToClose, Heartbeat: it ran, too long or too quietly
    SCHEDULE_TO_START = "ScheduleToStart"  # a value of its own: waiting again in the same queue seldom helps
    ERROR = "Error"


def ended_by(timer: Timer) -> RetryWhen | None:
    """What `retry.when` calls an end by this timer. None for the one that spans all attempts: nothing follows it."""
    match timer:
        case Timer.SCHEDULE_TO_CLOSE:
            return None
        case Timer.SCHEDULE_TO_START:
            return RetryWhen.SCHEDULE_TO_START
        case Timer.START_TO_CLOSE | Timer.HEARTBEAT:
            return RetryWhen.TIMEOUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits that grow: `initial_s` before the second attempt, `multiplier` times as long before each further one.

    Never more than `max_s`. Jitter takes up to `jitter_percent` away, so that many tasks that failed together don't come
    back together; it only ever shortens a wait, so that `max_s` stays a promise.
    """

    initial_s: int
    multiplier: int = 2
    max_s: int = LONGEST_WAIT_S
    jitter_percent: int = 20

    def __post_init__(self) -> None:
        """Refuse what has no meaning, with ValueError; the CRD says the same earlier."""
        if self.initial_s < 1:
            raise ValueError(f"retry.backoff.initialSeconds is {self.initial_s}: at least 1")
        if self.multiplier < 1:
            raise ValueError(
                f"retry.backoff.multiplier is {self.multiplier}: at least 1, which lets all waits be equal"
            )
        if self.max_s < self.initial_s:
            raise ValueError(f"retry.backoff.maxSeconds is {self.max_s}, less than initialSeconds ({self.initial_s})")
        if not 0 <= self.jitter_percent <= _HUNDRED:
            raise ValueError(f"retry.backoff.jitterPercent is {self.jitter_percent}: 0 to 100")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySpec:
    """The task's retry fields. `delays_s[n - 1]` precedes attempt n, the first one too; the last value repeats.

    With `backoff` set, `delays_s` says nothing. The two `non_retryable` fields make an error final that `when` would retry.
    """

    max_attempts: int = 3
    when: Sequence[RetryWhen] = (RetryWhen.TIMEOUT,)
    delays_s: Sequence[int] = (0,)
    backoff: Backoff | None = None
    non_retryable_exit_codes: Collection[int] = ()
    non_retryable_errors: Collection[str] = ()

    def __post_init__(self) -> None:
        """Refuse what has no meaning, with ValueError; the CRD says the same earlier."""
        if self.max_attempts < 1:
            raise ValueError(f"retry.maxAttempts is {self.max_attempts}: at least 1, the first attempt counts")
        if not self.delays_s:
            raise ValueError("retry.delaysSeconds is empty: leave it out, or give at least one delay")


@dataclass(frozen=True, slots=True)
class RetryAfter:
    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    reason: Literal["AttemptsExhausted", "NotRetryable"]


_HUNDRED = 100
_DRAWN_BITS = 32


def delay_before(spec: RetrySpec, attempt: int, seed: str) -> float:
    """Seconds to wait before attempt number `attempt` (from 1), in whole milliseconds.

    `seed` names the task (uid, run, key). Jitter is hashed from it: drawn at random, a decision repeated after a crash
    would give another time than the one that may be on record.
    """
    if spec.backoff is None:
        return spec.delays_s[min(attempt, len(spec.delays_s)) - 1]
    if attempt == 1:
        return 0
    back = spec.backoff
    wait_ms: int = 1000 * min(back.initial_s * back.multiplier ** (attempt - 2), back.max_s)
    drawn = int.from_bytes(hashlib.sha256(f"{seed}/{attempt}".encode()).digest()[: _DRAWN_BITS // 8])
    return (wait_ms - (wait_ms * back.jitter_percent * drawn // _HUNDRED >> _DRAWN_BITS)) / 1000


def pause_before_launch(number: int) -> int:
    """Seconds between the disruption of a launch and the attempt's launch number `number` (from 0).

    None for the first ones, since a lost node or an eviction is over once it has happened. Later ones are apart, so that all
    `MAX_LAUNCHES` take a quarter of an hour: a node that comes up without its devices, or that is short of memory, refuses
    pods for minutes, within seconds each, and must not use up a run of days.
    """
    if number < _LAUNCHES_AT_ONCE:
        return 0
    return int(min(_FIRST_PAUSE_S * 2 ** (number - _LAUNCHES_AT_ONCE), _LONGEST_PAUSE_S))


def after_failure(
    spec: RetrySpec,
    attempt: int,
    failure: RetryWhen,
    *,
    seed: str,
    exit_code: int | None = None,
    error_type: str | None = None,
) -> RetryAfter | GiveUp:
    """Decide whether a task whose attempt number `attempt` ended in `failure` is tried again.

    `exit_code` and `error_type` are of an error; a timeout has neither. `seed` as for `delay_before`.
    """
    if failure not in spec.when:
        return GiveUp("NotRetryable")
    if exit_code in spec.non_retryable_exit_codes or error_type in spec.non_retryable_errors:
        return GiveUp("NotRetryable")
    if attempt >= spec.max_attempts:
        return GiveUp("AttemptsExhausted")
    return RetryAfter(delay_before(spec, attempt + 1, seed))
