"""One launch of an attempt, as the engine and whoever does the work share it, and how it may end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Completed:
    """`result` is JSON text."""

    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """What an attempt says of its failure. `details` is JSON text, `traceback` is for whoever runs it, not for the code."""

    type: str
    message: str
    exit_code: int | None = None
    details: str | None = None
    retryable: bool = True
    could_run: bool = True
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The time of a sub-workflow's own was over."""


Outcome = Completed | Failed | TimedOut


class Launch:
    """One attempt at work. The engine reads what the worker writes: `started_at`, and the last heartbeat in `beat`.

    `previous` is the details that an attempt before this one left, as JSON text.
    """

    __slots__ = (
        "_lock",
        "_now",
        "_stop",
        "arguments",
        "attempt",
        "beat",
        "call",
        "counts",
        "deadline",
        "previous",
        "started_at",
        "task",
        "tells_start",
        "why_over",
        "work",
        "workflow",
    )

    def __init__(
        self,
        *,
        call: Any,
        workflow: str,
        task: str,
        attempt: int,
        work: Any,
        arguments: str,
        previous: str | None,
        deadline: datetime | None,
        tells_start: bool,
        now: Callable[[], datetime],
    ) -> None:
        self.call = call
        self.workflow = workflow
        self.task = task
        self.attempt = attempt
        self.work = work
        self.arguments = arguments
        self.previous = previous
        self.deadline = deadline
        self.tells_start = tells_start
        self.started_at: datetime | None = None
        self.beat: tuple[datetime, str | None] | None = None
        self.counts = True
        self.why_over = ""
        self._stop: Callable[[], None] | None = None
        self._lock = Lock()
        self._now = now

    @property
    def details(self) -> str | None:
        """The details of the last heartbeat that had any."""
        return None if self.beat is None else self.beat[1]

    def beats(self, details: str | None) -> bool:
        """Take a heartbeat, from any thread; False if the attempt no longer counts."""
        if self.counts:
            self.beat = (self._now(), self.details if details is None else details)
        return self.counts

    def stops_by(self, stop: Callable[[], None] | None) -> None:
        """Say how to stop it, from now on. Called at once if nobody wants it any more."""
        with self._lock:
            self._stop = stop
            is_late = not self.counts
        if is_late and stop is not None:
            stop()

    def revoke(self, why: str) -> None:
        """It no longer counts: stop it, if there is a way."""
        with self._lock:
            self.counts = False
            self.why_over = why
            stop = self._stop
        if stop is not None:
            stop()


@dataclass(frozen=True, slots=True)
class Started:
    launch: Launch


@dataclass(frozen=True, slots=True)
class Ended:
    launch: Launch
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class StopAsked:
    """Somebody wants the run to end. The first time its code may clean up."""


Report = Started | Ended | StopAsked


class Executor(Protocol):
    """Where the work is done, and whose clock counts. Called by the engine's thread alone, but for `ask_to_stop`."""

    def now(self) -> datetime:
        """Aware UTC; it never goes back."""

    def launch(self, launch: Launch) -> None:
        """Begin as soon as a worker is free; launches begin in their order."""

    def withdraw(self, launch: Launch) -> None:
        """Nobody wants this launch any more; it is revoked already. A report of it that comes all the same is ignored."""

    def reports(self, until: datetime | None) -> Sequence[Report]:
        """Wait until there is something to tell, in its order, or until this time."""

    def ask_to_stop(self) -> None:
        """Have `reports` give a `StopAsked`. From any thread, or a signal handler."""

    def stop_is_asked(self) -> bool:
        """Whether a `StopAsked` waits for `reports`."""

    def close(self) -> None:
        """No further launches. What was not withdrawn runs on."""
