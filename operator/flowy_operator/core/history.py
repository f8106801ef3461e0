"""The events of a Workflow's history: their classes, their JSON, their order.

The list is append-only. Each event has an id (1, 2, 3 … without gaps, over all runs), a time that is never before its
predecessor's, a type and its fields. The order in the list is the only clock that workflow code can see. All that
reads or writes an event's JSON is here; what a list of them means is in `state.py`, where they lie in `pages.py`.

`progress` is the details of the attempt's last heartbeat: what the next one begins with. Values are JSON *text*, because the API server re-encodes the numbers of structured fields (`1.0` becomes `1`). Fields
equal to their default are left out: one finished activity costs 250-300 bytes.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, get_args, get_type_hints

from flowy.policy.timeout import Timer
from flowy_operator.core.values import ValueRef


class HistoryInvalid(Exception):
    """The history isn't one that we wrote: an event is malformed, out of order, or contradicts those before it."""


class FromNewer(HistoryInvalid):
    """An event has a type, a field or one of its words that this version doesn't know: a newer one may have written it."""


def is_newer(error: Exception) -> bool:
    """Whether a history can't be read for something that a newer version may have written, there or in a page."""
    return isinstance(error, FromNewer) or isinstance(error.__cause__, FromNewer)


class FailureClass(StrEnum):
    """Whose fault a failed attempt is. The values are history, hence never renamed."""

    ERROR = "Error"  # the activity ran and failed
    INVALID = "Invalid"  # it could never run: refused by the API server, or its arguments don't fit


class CancelReason(StrEnum):
    """Why a task was cancelled. The values are history, hence never renamed."""

    WORKFLOW_ENDED = "WorkflowEnded"
    DELETED = "Deleted"  # somebody deleted its Job, or its child Workflow
    CHILD_STOPPED = "ChildStopped"  # somebody stopped its child Workflow
    STOP_REQUESTED = "StopRequested"  # spec.stop
    ABANDONED = "Abandoned"  # the workflow ended without it: its Job runs on


class StopMode(StrEnum):
    """How a workflow is stopped (`spec.stop`). The values are API and history, hence never renamed."""

    CANCEL = "Cancel"  # the code sees TaskCancelled where it waits, and may clean up
    TERMINATE = "Terminate"  # no code runs any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What an attempt said of its failure. `details` is JSON text."""

    type: str
    message: str
    exit_code: int | None = None
    details: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScheduled:
    """An attempt is to be launched; written before its Job is created. `digest` and `line` with the first one only."""

    task: str
    attempt: int = 1
    digest: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryScheduled:
    """An attempt is to be scheduled at `at`. Also the first one, if the policy delays it: then with digest and line."""

    task: str
    attempt: int
    at: datetime
    digest: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCompleted:
    """The attempt's pod succeeded; `result` is what it wrote, as JSON text, unless `result_ref` says where that is."""

    task: str
    attempt: int = 1
    result: str = "null"
    result_ref: ValueRef | None = None
    started_at: datetime | None = None
    node: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDisrupted:
    """Launch number `launch` (from 0) of the attempt ended by no fault of its own; the next launch follows.

    `reason` is Kubernetes' word, such as `EvictionByEvictionAPI`, `message` its sentence.
    """

    task: str
    launch: int
    reason: str
    attempt: int = 1
    message: str | None = None
    progress: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFailed:
    """The attempt failed; `final` on the one that the code will see."""

    task: str
    error: Failure
    attempt: int = 1
    failure_class: FailureClass = FailureClass.ERROR
    started_at: datetime | None = None
    final: bool = False
    progress: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTimedOut:
    """A timer of the attempt fired; its Job is deleted after this is written.

    `message` says what is known of the cause: why the container hasn't started, or how the attempt before ended.
    """

    task: str
    timer: Timer
    attempt: int = 1
    final: bool = False
    message: str | None = None
    progress: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCancelled:
    """The task was ended by somebody; always final.

    With `digest` and `line` it is the first record of its task: a call that was still held back when a stop came.
    """

    task: str
    reason: CancelReason
    attempt: int = 1
    digest: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    """`spec.stop` was seen. From here on the grace period counts, and no new run begins."""

    mode: StopMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarted:
    """The code returned `restart(...)`: a new run begins, its history is what follows. `input` is JSON text."""

    run: int
    input: str


Fact = (
    TaskScheduled
    | RetryScheduled
    | TaskCompleted
    | TaskDisrupted
    | TaskFailed
    | TaskTimedOut
    | TaskCancelled
    | StopRequested
    | Restarted
)
"""What happened, without its place in the history."""


@dataclass(frozen=True, slots=True)
class Event:
    """A fact in its place."""

    id: int
    time: datetime
    fact: Fact


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a fact: its name here and in JSON, what its value is, and its default (MISSING: it must be there).

    Looked up once and not for each of a hundred thousand events.
    """

    name: str
    key: str
    kind: type
    default: object


_NESTED = (Failure, ValueRef)
_TYPES: Mapping[str, type[Fact]] = {cls.__name__: cls for cls in get_args(Fact)}
_WORD = re.compile("_([a-z])")


def _fields_of(cls: type) -> Sequence[_Field]:
    hints = get_type_hints(cls)
    return [_Field(f.name, _key(f.name), _kind(hints[f.name]), f.default) for f in fields(cls)]


def _key(name: str) -> str:
    # `class` is a keyword of Python, hence the one name that isn't just camelCase.
    return "class" if name == "failure_class" else _WORD.sub(lambda m: m[1].upper(), name)


def _kind(hint: Any) -> type:
    """The one type of a field that may also be None."""
    (kind,) = (kind for kind in (get_args(hint) or (hint,)) if kind is not type(None))
    assert isinstance(kind, type)
    return kind


_FIELDS: Mapping[type, Sequence[_Field]] = {cls: _fields_of(cls) for cls in (*_TYPES.values(), *_NESTED)}
_KEYS: Mapping[type, frozenset[str]] = {cls: frozenset(f.key for f in found) for cls, found in _FIELDS.items()}


def format_time(at: datetime) -> str:
    """RFC 3339 with milliseconds: finer than Kubernetes' seconds, since steps may take less than one."""
    # `strftime` says the same in five times as long, and a history is mostly times.
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def parse_time(text: str) -> datetime:
    """The instant of an RFC 3339 text, in milliseconds as we write it; ValueError if it is none or lacks a zone."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    try:
        return in_milliseconds(at.astimezone(UTC))
    except OverflowError as error:
        # The first and the last day that Python knows, in a zone where it is another day.
        raise ValueError(f"{text!r} is out of range") from error


def in_milliseconds(at: datetime) -> datetime:
    """The instant without what is finer than the history's times."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def event_json(event: Event) -> dict[str, Any]:
    """The event as it stands in `status.history`."""
    return {"id": event.id, "time": format_time(event.time), "type": type(event.fact).__name__} | _encode(event.fact)


def parse_event(raw: object) -> Event:
    """The event of its JSON; `HistoryInvalid` names the event and the field that is wrong."""
    if not isinstance(raw, Mapping):
        raise HistoryInvalid("an event of the history is no object")
    number = raw.get("id")
    if not isinstance(number, int) or isinstance(number, bool):
        raise HistoryInvalid(f"an event's id is {number!r}, not an integer")
    where = f"event {number}"
    cls = _TYPES.get(str(raw.get("type")))
    if cls is None:
        raise FromNewer(f"{where}: unknown type {raw.get('type')!r}")
    time = _decode_value(datetime, raw.get("time"), where, "time")
    rest = {k: v for k, v in raw.items() if k not in {"id", "time", "type"}}
    return Event(number, time, _decode(cls, rest, where))


def parse_history(raw: Sequence[object], first: int = 1) -> list[Event]:
    """All events in their order, from id `first` on. `HistoryInvalid` if ids have a gap or time runs backwards."""
    events = [parse_event(item) for item in raw]
    for number, event in enumerate(events, first):
        if event.id != number:
            raise HistoryInvalid(f"event {event.id} stands where {number} must be: events were removed or reordered")
        if number > first and event.time < events[number - first - 1].time:
            raise HistoryInvalid(f"event {event.id} is older than the one before it")
    return events


def event_line(event: Event) -> str:
    """The event as one line of JSON, ASCII only: what digests are made over, and what a page holds."""
    return _encoded(event_json(event))


_encoded = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode  # `dumps` makes such an encoder at each call


def parse_line(line: str) -> Event:
    """The event of its line. `HistoryInvalid` if it isn't one."""
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise HistoryInvalid(f"a line of the history is no JSON: {error}") from error
    return parse_event(raw)


@dataclass(frozen=True, slots=True)
class Chain:
    """What the history of a run amounts to so far: a digest over its events (16 hex digits), and their size in bytes.

    The digest stands in the status beside the history, so that an edit by hand is noticed: a changed result would
    otherwise be believed. It is no protection against somebody who may write the status and wants to deceive.
    """

    digest: str = ""
    size: int = 0

    def over(self, lines: Iterable[str]) -> "Chain":
        """The chain after further events, given as their lines (`event_line`)."""
        digest, size = self.digest, self.size
        for line in lines:
            digest = hashlib.sha256(f"{digest}\n{line}".encode()).hexdigest()[:16]
            size += len(line)
        return Chain(digest, size)


def _encode(item: Fact | Failure | ValueRef) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for f in _FIELDS[type(item)]:
        value = getattr(item, f.name)
        if value == f.default:
            continue
        match value:
            case datetime():
                out[f.key] = format_time(value)
            case Failure() | ValueRef():
                out[f.key] = _encode(value)
            case _:
                out[f.key] = value
    return out


def _decode(cls: type, raw: Mapping[str, object], where: str) -> Any:
    if not raw.keys() <= _KEYS[cls]:
        surplus = next(key for key in raw if key not in _KEYS[cls])
        raise FromNewer(f"{where}: unknown field {surplus!r}")
    values: dict[str, object] = {}
    for f in _FIELDS[cls]:
        if f.key in raw:
            values[f.name] = _decode_value(f.kind, raw[f.key], where, f.key)
        elif f.default is MISSING:
            raise HistoryInvalid(f"{where}: {f.key} is missing")
    return cls(**values)


def _decode_value(kind: type, value: object, where: str, key: str) -> Any:
    try:
        if isinstance(value, str):
            if kind is datetime:
                return parse_time(value)
            if issubclass(kind, StrEnum):
                return kind(value)
        elif kind in _NESTED and isinstance(value, Mapping):
            return _decode(kind, value, f"{where}: {key}")
    except ValueError as error:
        wrong = FromNewer if issubclass(kind, StrEnum) else HistoryInvalid
        raise wrong(f"{where}: {key}: {error}") from error
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise HistoryInvalid(f"{where}: {key} is {value!r}, not {kind.__name__}")
