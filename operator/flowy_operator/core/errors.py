"""What a reconcile can't answer on the spot.

OperatorError
├── RetryLater        try the same key again after a while; nothing is wrong with the workflow
│   └── Conflict      the object changed under us: read it again, plan again
└── DecisionStalled   the decider gave no usable answer; a person may have to look, and it is tried again
"""

from datetime import datetime
from enum import StrEnum


class OperatorError(Exception):
    """The root of what this package raises on purpose."""


class RetryLater(OperatorError):
    """The cluster said "not now". `after_s` is its wish in seconds, None leaves it to the queue's back-off.

    `wake_at` is when a pass is due all the same, for the clock's sake: a back-off must not make a timer late.
    """

    def __init__(self, message: str, after_s: float | None = None, *, wake_at: datetime | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s
        self.wake_at = wake_at


class Conflict(RetryLater):
    """A conditional write was refused because somebody else wrote first."""


class StallReason(StrEnum):
    """Why a decision gave no usable answer. The values are reasons of the condition `Stalled`, hence never renamed."""

    TIMEOUT = "DecisionTimeout"  # wall clock or CPU
    MEMORY = "DecisionMemory"
    FORBIDDEN = "ForbiddenCall"
    CRASHED = "DeciderCrashed"
    TOO_LARGE = "AnswerTooLarge"
    MALFORMED = "AnswerMalformed"
    UNAVAILABLE = "DeciderUnavailable"


class DecisionStalled(OperatorError):
    """One decision ended without an answer that may be believed. `str()` is a sentence for the workflow's author."""

    def __init__(self, reason: StallReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
