"""One recorded call of a local run: how far it is, and what replay is told of it."""

from datetime import datetime
from enum import Enum, auto
from typing import TYPE_CHECKING

from flowy.errors import ErrorObject
from flowy.local.launch import Failed, Launch
from flowy.local.plan import TaskPlan
from flowy.policy.timeout import Deadline, Timer, next_deadline, schedule_to_close
from flowy.wire import values
from flowy.wire.messages import AnsweredCall, Record, RecordState

if TYPE_CHECKING:
    from flowy.local.attempts import Attempts
    from flowy.local.execution import Execution


class Phase(Enum):
    """How far a call is."""

    NEW = auto()
    WAITING = auto()  # the next attempt isn't due yet, or has no room
    OPEN = auto()
    FINAL = auto()


class Call:
    """A call that was recorded; changes as its attempts do."""

    __slots__ = (
        "answered",
        "attempt",
        "attempts",
        "attempts_made",
        "child",
        "due_at",
        "first_scheduled_at",
        "last_failure",
        "launch",
        "phase",
        "plan",
        "progress",
        "record",
        "scheduled_at",
    )

    def __init__(self, attempts: "Attempts", answered: AnsweredCall, plan: TaskPlan, now: datetime) -> None:
        self.attempts = attempts
        self.answered = answered
        self.plan = plan
        self.phase = Phase.NEW
        self.attempt = 1
        self.attempts_made = 0
        self.first_scheduled_at = self.scheduled_at = now
        self.due_at: datetime | None = None
        self.launch: Launch | None = None  # the current one, of an activity
        self.child: Execution | None = None  # the current one, of a sub-workflow
        self.progress: str | None = None
        self.last_failure: str | None = None
        self.record = Record(key=self.key, state=RecordState.RUNNING, digest=answered.digest, line=answered.line)

    @property
    def key(self) -> str:
        return self.answered.key

    @property
    def execution(self) -> "Execution":
        """The workflow that it is a call of."""
        return self.attempts.execution

    @property
    def started_at(self) -> datetime | None:
        if self.child is not None:
            return self.scheduled_at
        return None if self.launch is None else self.launch.started_at

    def close(self, state: RecordState, rank: int, at: datetime, value: str | None, error: ErrorObject | None) -> None:
        """The final outcome, as the code will see it."""
        self.phase = Phase.FINAL
        self.launch = self.child = None
        self.record = Record(
            key=self.key,
            state=state,
            digest=self.answered.digest,
            line=self.answered.line,
            value=value,
            error=error,
            rank=rank,
            finished_at=at.timestamp(),
        )

    def deadline(self) -> Deadline | None:
        """The timer that fires next."""
        if self.phase is not Phase.OPEN:
            return self.closes()
        beat = None if self.launch is None else self.launch.beat
        return next_deadline(
            self.plan.timeouts,
            first_scheduled_at=self.first_scheduled_at,
            scheduled_at=self.scheduled_at,
            started_at=self.started_at,
            heard_at=None if beat is None else beat[0],
        )

    def closes(self) -> Deadline | None:
        """When the time of all attempts together is over."""
        return schedule_to_close(self.plan.timeouts, self.first_scheduled_at)

    def cause_of(self, timer: Timer) -> str | None:
        """What is known of why it wasn't done in time."""
        return self.last_failure if timer is Timer.SCHEDULE_TO_CLOSE else None


def error_of_failure(call: Call, failed: Failed) -> ErrorObject:
    """The error object that the code sees of an attempt that failed for good."""
    error: dict[str, object] = {
        "type": failed.type,
        "message": failed.message,
        "task": call.key,
        "attempt": call.attempts_made,
    }
    if failed.exit_code is not None:
        error["exitCode"] = failed.exit_code
    if failed.details is not None:
        error["details"] = values.decode(failed.details)
    return error


def error_of_timeout(call: Call, timer: Timer, cause: str | None) -> ErrorObject:
    """The error object that the code sees of a timer that fired for good."""
    error: dict[str, object] = {
        "type": "TaskTimedOut",
        "message": f"{call.key} timed out ({timer})" + (f": {cause}" if cause else ""),
        "task": call.key,
        "attempt": call.attempts_made,
        "timer": str(timer),
    }
    if call.progress is not None:
        error["details"] = values.decode(call.progress)
    return error


def error_of_cancelling(call: Call, reason: str) -> ErrorObject:
    """The error object that the code sees of a task that was cancelled."""
    message = f"{call.key} was cancelled: {reason}"
    return {
        "type": "TaskCancelled",
        "message": message,
        "task": call.key,
        "attempt": call.attempts_made,
        "reason": reason,
    }
