"""The history in a status, folded: upon what is known of it already, upon the pages before it, or from its beginning.

A history only grows. What was read before must stand there unchanged, and the digest beside it must fit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flowy_operator.core.history import (
    Event,
    HistoryInvalid,
    Restarted,
    event_line,
    in_milliseconds,
    is_newer,
    parse_time,
)
from flowy_operator.core.pages import PageInvalid, Tail, base_of, parse_tail
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import State, apply


@dataclass(frozen=True, slots=True)
class Folded:
    """A history that was read to its end, and the part of it that stands in the status."""

    state: State
    tail: Tail


@dataclass(frozen=True, slots=True)
class Unread:
    """A history whose beginning lies in pages that nobody has read yet. `empty` is the state before its first event."""

    empty: State
    run: int
    first: int
    events: Sequence[Event]
    digest: str


def fold(status: Mapping[str, Any], known: Folded | None, *, workflow: str, uid: str, now: datetime) -> Folded | Unread:
    """The history of a status, folded upon what is `known` of it. Raises HistoryInvalid."""
    first, events = parse_tail(status)
    digest = status.get("historyDigest", "")
    is_continued = known is not None and known.tail.first <= first <= known.tail.end <= first + len(events)
    # Before the first event is on record, when the run began is not either.
    if known is not None and known.state.events and is_continued:
        return _continued(known, first, events, digest)
    # As fine as it will be read again: code that looks at the clock must always see the same.
    started_at = parse_time(status["startTime"]) if "startTime" in status else in_milliseconds(now)
    empty = State(workflow=workflow, uid=uid, started_at=started_at)
    # Between a restart and its cut the tail begins in the old run.
    restarted = next((event.fact.run for event in events if isinstance(event.fact, Restarted)), None)
    run = status.get("run", 1) if restarted is None else restarted - 1
    unread = Unread(empty, run, first, events, digest)
    before = base_of(empty, first, events[0] if events else None)
    return unread if before is None else completed(unread, before)


def completed(unread: Unread, before: State) -> Folded:
    """The events of the status upon the state before them. Raises HistoryInvalid."""
    state = apply(before, unread.events)
    _check_digest(state, unread.digest)
    return Folded(state, Tail(unread.first, (), before.chain).followed_by(unread.events))


def history_message(error: Exception) -> str:
    """Why a history can't be gone on with, and what to do."""
    if is_newer(error):
        then = "if a newer version of Flowy has written it, update the operator, else put it back as it was to go on"
        return f"{error}; {then}"
    what = "the page back with its spec, labels and owner" if isinstance(error, PageInvalid) else "status.history back"
    return f"{error}; put {what} as it was to go on"


def check_tasks(spec: WorkflowSpec, state: State) -> None:
    """Raise HistoryInvalid if the history has a task that the spec hasn't."""
    unknown = next((task.key for task in state.tasks.values() if task.name not in spec.tasks), None)
    if unknown is not None:
        raise HistoryInvalid(f"the history has the task {unknown!r}, and spec.tasks has none of this name")


def _continued(known: Folded, first: int, events: Sequence[Event], digest: str) -> Folded:
    """What is known, and the events that are new. Raises HistoryInvalid if what is known has changed."""
    old = known.tail.end - first
    if tuple(map(event_line, events[:old])) != known.tail.lines[first - known.tail.first :]:
        raise HistoryInvalid("status.history was changed by somebody: events that were read before are others now")
    state = apply(known.state, events[old:])
    _check_digest(state, digest)
    tail = known.tail.followed_by(events[old:])
    return Folded(state, tail.cut(first, state.first))


def _check_digest(state: State, digest: str) -> None:
    if state.chain.digest != digest:
        raise HistoryInvalid("status.history was changed by somebody: it doesn't fit status.historyDigest")
