"""An execution along the clock: a row a call, its attempts as spans of waiting and running.

How these are drawn is in `timeline_svg.py` and `timeline_text.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from flowy_cli.pictures.critical import critical_path
from flowy_cli.pictures.execution import Attempt, Call, Execution, Kind, Standing
from flowy_cli.pictures.words import spoken
from flowy_cli.tables import took


class Phase(StrEnum):
    """What a span of a row is. The values are names of colours."""

    QUEUED = "queued"  # its Job is there, its container isn't running yet
    RAN = "ran"  # its container ran, or its child did
    OPEN = "open"  # queued or running: Kubernetes has not told yet when the container began, or never will
    DELAY = "delay"  # waits for the time of the next attempt


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a row, in seconds from the start of the picture; `note` says all that is known of it."""

    phase: Phase
    begin: float
    end: float
    standing: Standing
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One call. `depth` counts the parents above it, `id` is unique in the picture, `is_critical` as in `critical.py`."""

    id: str
    label: str
    depth: int
    kind: Kind
    standing: Standing
    spans: Sequence[Span]
    took: str
    reason: str
    is_critical: bool
    workflow: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """`decisions` are the seconds at which the code of the top run moved on."""

    seconds: float
    rows: Sequence[Row]
    decisions: Sequence[float]


def timeline_of(execution: Execution) -> Timeline:
    """The timeline of an execution and of all below it, in the order of the code."""
    start = execution.started_at
    return Timeline(
        seconds=max(execution.seconds, 0.001),
        rows=tuple(_rows(execution, start, 0, "t", "")),
        decisions=[(at - start).total_seconds() for at in execution.decisions],
    )


def _rows(execution: Execution, start: datetime, depth: int, prefix: str, mark: str) -> Iterator[Row]:
    critical = frozenset(critical_path(execution))
    for n, call in enumerate(execution.calls):
        end = call.finished_at or execution.until
        yield Row(
            id=f"{prefix}{n}",
            label=f"{mark}{call.key}",
            depth=depth,
            kind=call.kind,
            standing=call.standing,
            spans=tuple(_spans(call, start, execution.until)),
            took="" if call.scheduled_at is None else took(end - call.scheduled_at),
            reason=call.reason,
            is_critical=call.key in critical,
            workflow=execution.name,
            key=call.key,
        )
        for m, attempt in enumerate(call.attempts):
            if attempt.child is not None:
                which = f"#{m + 1} " if len(call.attempts) > 1 else ""
                yield from _rows(attempt.child, start, depth + 1, f"{prefix}{n}_{m}_", which)


def _spans(call: Call, start: datetime, until: datetime) -> Iterator[Span]:
    before: datetime | None = call.scheduled_at
    for attempt in call.attempts:
        if before is not None and attempt.scheduled_at > before:
            yield _span(Phase.DELAY, before, attempt.scheduled_at, Standing.WAITING, "waits for its time", start)
        end = attempt.ended_at or max(until, attempt.scheduled_at)
        yield from _of_attempt(attempt, end, start, alone=len(call.attempts) == 1)
        before = end
    if call.standing is Standing.WAITING and before is not None:
        due = f"attempt {call.tries + 1} is due at {call.due_at:%H:%M:%S}" if call.due_at else "waits for its time"
        yield _span(Phase.DELAY, before, until, Standing.WAITING, due, start)


def _of_attempt(attempt: Attempt, end: datetime, start: datetime, *, alone: bool) -> Iterator[Span]:
    words = (
        [] if alone else [f"attempt {attempt.number}" + (f", launch {attempt.launch + 1}" if attempt.launch else "")]
    )
    words += [spoken(attempt.standing) + (f": {attempt.reason}" if attempt.reason else "")]
    words += [f"on {attempt.node}"] if attempt.node else []
    note = "\n".join(words)
    began = attempt.started_at
    if began is None:
        yield _span(
            Phase.OPEN, attempt.scheduled_at, end, attempt.standing, f"{note}\nwhen it began is not known", start
        )
        return
    began = min(began, end)
    if began > attempt.scheduled_at:
        yield _span(
            Phase.QUEUED,
            attempt.scheduled_at,
            began,
            attempt.standing,
            f"{note}\nwaited {took(began - attempt.scheduled_at)}",
            start,
        )
    yield _span(Phase.RAN, began, end, attempt.standing, f"{note}\nran {took(end - began)}", start)


def _span(phase: Phase, begin: datetime, end: datetime, standing: Standing, note: str, start: datetime) -> Span:
    return Span(phase, (begin - start).total_seconds(), (end - start).total_seconds(), standing, note)
