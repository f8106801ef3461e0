"""Timeout policy: which timer of a task's attempt fires next, and when.

Pure: instants come in, an instant goes out. The vocabulary is Temporal's: schedule-to-start and start-to-close belong to
one attempt, schedule-to-close spans all of them, delays included, heartbeat is the longest silence of a running one.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Timer(StrEnum):
    """Which timer fired. The values are history, hence never renamed."""

    SCHEDULE_TO_START = "ScheduleToStart"
    START_TO_CLOSE = "StartToClose"
    SCHEDULE_TO_CLOSE = "ScheduleToClose"
    HEARTBEAT = "Heartbeat"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutSpec:
    """The task's timeouts in seconds; None never fires."""

    schedule_to_start_s: int | None = None
    start_to_close_s: int | None = None
    schedule_to_close_s: int | None = None
    heartbeat_s: int | None = None


@dataclass(frozen=True, slots=True)
class Deadline:
    timer: Timer
    at: datetime


def schedule_to_close(spec: TimeoutSpec, first_scheduled_at: datetime) -> Deadline | None:
    """The instant that ends all attempts together."""
    if spec.schedule_to_close_s is None:
        return None
    return Deadline(Timer.SCHEDULE_TO_CLOSE, first_scheduled_at + timedelta(seconds=spec.schedule_to_close_s))


def next_deadline(
    spec: TimeoutSpec,
    *,
    first_scheduled_at: datetime,
    scheduled_at: datetime,
    started_at: datetime | None,
    heard_at: datetime | None = None,
) -> Deadline | None:
    """The timer that fires next for an attempt scheduled at `scheduled_at` and, if it runs, started at `started_at`.

    `heard_at` is the last heartbeat, or since when one could have been heard: whoever listens since a moment ago knows
    nothing of the silence before. None if neither is after the start. At one instant the widest wins: after ScheduleToClose nothing is retried, so its name is the one that explains.
    """
    due = [schedule_to_close(spec, first_scheduled_at)]
    if started_at is None:
        if spec.schedule_to_start_s is not None:
            due.append(Deadline(Timer.SCHEDULE_TO_START, scheduled_at + timedelta(seconds=spec.schedule_to_start_s)))
    else:
        # It is a node that says when it started, by its own clock. Were that behind, each attempt would be over at once.
        started_at = max(started_at, scheduled_at)
        if spec.start_to_close_s is not None:
            due.append(Deadline(Timer.START_TO_CLOSE, started_at + timedelta(seconds=spec.start_to_close_s)))
        if spec.heartbeat_s is not None:
            silent_since = started_at if heard_at is None else max(started_at, heard_at)
            due.append(Deadline(Timer.HEARTBEAT, silent_since + timedelta(seconds=spec.heartbeat_s)))
    return min((d for d in due if d is not None), key=lambda d: d.at, default=None)
