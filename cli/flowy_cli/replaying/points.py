"""The decisions of a run, found again in its history: what was known at each, and what was recorded upon it.

A history doesn't say when the code ran. It shows when that made a difference: where calls stand on record for the first
time, all outcomes before them were known. So there is a decision at the start, one before each such block, and one at the
end. What the operator has decided in between without a new call, is not told apart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from flowy_operator.core.history import (
    CancelReason,
    Event,
    RetryScheduled,
    TaskCancelled,
    TaskCompleted,
    TaskFailed,
    TaskScheduled,
    TaskTimedOut,
)

_AFTER_THE_END = (CancelReason.WORKFLOW_ENDED, CancelReason.ABANDONED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One decision: it knew the first `known` of the events that the code has seen; `news` are the outcomes since the one before.

    `recorded` are the first records of calls that follow it, before any further outcome. `at` is the id of the last event
    that was known, and `time` when that was; 0 and None at the start of a history.
    """

    number: int
    known: int
    at: int
    time: datetime | None
    news: Sequence[Event]
    recorded: Sequence[Event]
    is_last: bool = False


def points_of(events: Sequence[Event]) -> list[Point]:
    """The decisions over what the code has seen (`seen_by_code`) of one run, in their order."""
    found = list(_points(events))
    found[-1] = replace(found[-1], is_last=True)
    return found


def _points(events: Sequence[Event]) -> Iterator[Point]:
    number, ahead, before = 1, 0, 0
    while True:
        known = ahead
        while known < len(events) and not is_new_call(events[known]):
            known += 1
        called = known
        while called < len(events) and not is_outcome(events[called]):
            called += 1
        # Held back when a stop came: calls of this decision, and outcomes that the next one knows.
        while called < len(events) and is_new_call(events[called]) and is_outcome(events[called]):
            called += 1
        news = [event for event in events[before:known] if is_outcome(event)]
        if number == 1 or news or known < len(events):
            last = events[known - 1] if known else None
            yield Point(
                number=number,
                known=known,
                at=0 if last is None else last.id,
                time=None if last is None else last.time,
                news=news,
                recorded=[event for event in events[known:called] if is_new_call(event)],
            )
            number += 1
        if known == len(events):
            return
        ahead, before = called, known


def seen_by_code(events: Sequence[Event]) -> Sequence[Event]:
    """The events without the cancellations at their end, which followed from the code's own end."""
    end = len(events)
    while end and isinstance(fact := events[end - 1].fact, TaskCancelled) and fact.reason in _AFTER_THE_END:
        end -= 1
    return events[:end]


def is_new_call(event: Event) -> bool:
    """Whether a call stands here on record for the first time."""
    match event.fact:
        case TaskScheduled(digest=str()) | RetryScheduled(digest=str()) | TaskCancelled(digest=str()):
            return True
        case _:
            return False


def is_outcome(event: Event) -> bool:
    """Whether the code can see it: the final outcome of a task."""
    match event.fact:
        case TaskCompleted() | TaskCancelled() | TaskFailed(final=True) | TaskTimedOut(final=True):
            return True
        case _:
            return False
