"""Retry policy: what follows a failed attempt of a task.

Pure, and the only retry rule: the local engine and the operator both call it. Durations are seconds. A disruption
(eviction, node loss) is no failure of the attempt and never comes here; `MAX_LAUNCHES` alone bounds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

MAX_LAUNCHES = 20  # of one attempt: an activity that drags its node down must not go on for ever


class RetryWhen(StrEnum):
    """What an attempt may have ended by, as `retry.when` names it. The values are part of the API."""

    TIMEOUT = "Timeout"  # StartToClose: it ran, and too long
    SCHEDULE_TO_START = "ScheduleToStart"  # a value of its own: waiting again in the same queue seldom helps
    ERROR = "Error"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySpec:
    """The task's retry fields. `delays_s[n - 1]` precedes attempt n, the first one too; the last value repeats."""

    max_attempts: int = 3
    when: Sequence[RetryWhen] = (RetryWhen.TIMEOUT,)
    delays_s: Sequence[int] = (0,)

    def __post_init__(self) -> None:
        """Refuse what has no meaning, with ValueError; the CRD says the same earlier."""
        if self.max_attempts < 1:
            raise ValueError(f"retry.maxAttempts is {self.max_attempts}: at least 1, the first attempt counts")
        if not self.delays_s:
            raise ValueError("retry.delaysSeconds is empty: leave it out, or give at least one delay")


@dataclass(frozen=True, slots=True)
class RetryAfter:
    delay_s: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    reason: Literal["AttemptsExhausted", "NotRetryable"]


def delay_before(spec: RetrySpec, attempt: int) -> int:
    """Seconds to wait before attempt number `attempt` (from 1)."""
    return spec.delays_s[min(attempt, len(spec.delays_s)) - 1]


def after_failure(spec: RetrySpec, attempt: int, failure: RetryWhen) -> RetryAfter | GiveUp:
    """Decide whether a task whose attempt number `attempt` ended in `failure` is tried again."""
    if failure not in spec.when:
        return GiveUp("NotRetryable")
    if attempt >= spec.max_attempts:
        return GiveUp("AttemptsExhausted")
    return RetryAfter(delay_before(spec, attempt + 1))
