"""A replay in words, and as data."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from flowy.wire.messages import Outcome
from flowy_cli.describing import what_of
from flowy_cli.replaying.story import Divergence, Step, end_of, shown
from flowy_cli.tables import clock
from flowy_operator.core.history import Event, TaskCancelled, TaskCompleted
from flowy_operator.core.printable import printable
from flowy_operator.core.sentences import line

_SHOWN_NEWS = 10
"""Outcomes that a decision names: a wide one may have a thousand."""


def told(step: Step, source: str) -> str:
    """One decision, and its divergence if it is one."""
    return printable("\n".join(_lines(step, source))) + "\n"


def _lines(step: Step, source: str) -> Iterator[str]:
    answer, point = step.answer, step.point
    yield f"decision {point.number}   {_when(step)}"
    for event in point.news[:_SHOWN_NEWS]:
        yield f"  {_news(event)}"
    if len(point.news) > _SHOWN_NEWS:
        yield f"  and {len(point.news) - _SHOWN_NEWS} further outcomes"
    for call in step.calls:
        held = "   (not yet on record)" if call.key in step.held_back and not point.is_last else ""
        extra = "   (nowhere in the history)" if call.key in step.surplus else ""
        yield f"  line {_line(call.line)}   calls {line(shown(call))}{held}{extra}"
    for text in answer.log:
        yield f"  prints   {text}"
    if step.divergence is not None:
        yield from _diverges(step.divergence, source)
        return
    match answer.outcome:
        case Outcome.SUSPENDED:
            for number, wait in enumerate(answer.waiting_on):
                if number == _SHOWN_NEWS:
                    yield f"  and for {len(answer.waiting_on) - number} more"
                    break
                yield f"  line {_line(wait.line)}   waits for {wait.key}"
        case _:
            yield f"  {line(end_of(answer))}"
    for dropped in answer.dropped:
        yield f"  never starts   {dropped}: the code ended right after the call"


def _when(step: Step) -> str:
    point = step.point
    if not point.at:
        return "at the start"
    assert point.time is not None
    return f"{clock(point.time)}   after event {point.at}"


def _news(event: Event) -> str:
    match event.fact:
        case TaskCompleted(task=task):
            return f"{task} completed: {what_of(event)}"
        case TaskCancelled(task=task, reason=reason):
            return f"{task} was cancelled: {reason}"
        case fact:
            return f"{getattr(fact, 'task', '')}: {what_of(event)}"


def _line(number: int | None) -> str:
    return f"{'?' if number is None else number:<4}"


def _diverges(found: Divergence, source: str) -> Iterator[str]:
    yield f"  DIVERGES at line {found.line}" if found.line is not None else "  DIVERGES"
    if found.line is not None and (text := next(islice(source.splitlines(), found.line - 1, None), "").strip()):
        yield f"    {text}"
    yield f"    expected   {found.expected}"
    yield f"    got        {found.got}"


def data(steps: Sequence[Step]) -> dict[str, Any]:
    """The replay for programs."""
    last = steps[-1]
    return {
        "decisions": [_data(step) for step in steps],
        "outcome": str(last.answer.outcome),
        "divergence": None if last.divergence is None else _divergence_data(last),
    }


def _data(step: Step) -> Mapping[str, Any]:
    return {
        "number": step.point.number,
        "afterEvent": step.point.at,
        "outcomes": [getattr(event.fact, "task", "") for event in step.point.news],
        "calls": [
            {"key": call.key, "line": call.line, "arguments": call.arguments, "inHistory": call.key not in step.surplus}
            for call in step.calls
        ],
        "waitingOn": [{"key": wait.key, "line": wait.line} for wait in step.answer.waiting_on],
        "log": list(step.answer.log),
    }


def _divergence_data(step: Step) -> Mapping[str, Any]:
    found = step.divergence
    assert found is not None
    return {"decision": step.point.number, "line": found.line, "expected": found.expected, "got": found.got}
