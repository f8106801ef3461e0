"""The messages between whoever needs a decision and the process that replays: one request, one answer.

Values travel as JSON *text* inside the messages, so that numbers arrive as they were recorded. The answer comes from a
process that ran a stranger's code: `parse_answer` takes nothing for granted and raises `MalformedMessage` for every
deviation of size, depth, type, name or count. What the history holds beyond this (attempts, times, nodes) stays with
the sender; workflow code must not see it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from flowy.errors import ErrorObject
from flowy.wire import values
from flowy.wire.checks import (
    MalformedMessage,
    call_text,
    distinct,
    fields,
    integer,
    items,
    load,
    number,
    string,
    value_text,
)
from flowy.wire.keys import task_of

VERSION = 1

MAX_LOG_BYTES = 64 * 1024  # printed text of a decision: enough to follow it by eye, and kept with it; loops print on
MAX_WARNINGS = 100  # of the replay itself, beside what is printed
MAX_ERROR_CHARACTERS = 64 * 1024  # of each text in an error: far above our own, a recorded one may be a task's output
_MAX_LINE = 10_000_000
_MAX_ATTEMPT = 1_000_000_000

__all__ = [
    "VERSION",
    "Answer",
    "AnsweredCall",
    "AnsweredWait",
    "ErrorObject",
    "MalformedMessage",
    "Outcome",
    "Phase",
    "Record",
    "RecordState",
    "Request",
    "encode_answer",
    "encode_request",
    "parse_answer",
    "parse_request",
]


class RecordState(StrEnum):
    """How far a recorded task is. Between two attempts it is still `RUNNING`: code never sees attempts."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timedOut"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One recorded task: a call that an earlier decision scheduled, and its outcome if it is final.

    `key` is `<task name>-<n>`. `digest` is that of the arguments (16 hex digits, see `flowy.wire.values`) or None if it
    is not to be compared. `line` is the line of the call when it was scheduled. `value` is JSON text, for `COMPLETED`.
    `error` is for the other final states. `rank` is the place in the finish order, from 0, for final states.
    `finished_at` is the history's time of the outcome in Unix seconds: the only clock that code can see.
    """

    key: str
    state: RecordState
    digest: str | None = None
    line: int | None = None
    value: str | None = None
    error: ErrorObject | None = None
    rank: int | None = None
    finished_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything that one decision depends on.

    `tasks` are the names to inject. `input` is JSON text of `{"args": [...], "kwargs": {...}}`. `records` stand in the
    order of their scheduling. `seed` is the run's identity (`<uid>/<run>`), `started_at` its start in Unix seconds.
    `wanted` names running records whose arguments the answer must repeat (an attempt is to be launched, and arguments
    are not part of the history). `max_calls` bounds the new calls of one answer; the rest comes with the next decision.
    """

    source: str
    entrypoint: str | None
    tasks: Sequence[str]
    input: str
    records: Sequence[Record] = ()
    seed: str = ""
    started_at: float = 0.0
    wanted: Sequence[str] = ()
    max_calls: int = 1000


class Outcome(StrEnum):
    """How a decision ended."""

    SUSPENDED = "suspended"
    COMPLETED = "completed"
    FAILED = "failed"
    RESTARTED = "restarted"
    STALLED = "stalled"


class Phase(StrEnum):
    """Where a failure arose. `LOAD`: compiling, finding the entrypoint, matching task names; the code never ran well."""

    LOAD = "load"
    RUN = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredCall:
    """A call that may be launched: `arguments` is JSON text of `{"args": [...], "kwargs": {...}}`."""

    key: str
    task: str
    arguments: str
    digest: str
    line: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredWait:
    """An open task that the barrier waits for, and the line of the barrier."""

    key: str
    line: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One decision, as it travels.

    `scheduled`: new calls in call order. `repeated`: those of `Request.wanted`. `result` (JSON text) if completed,
    `restart` (JSON text of args and kwargs) if restarted, `error` if failed or stalled. `more` is true if `max_calls`
    cut the list of new calls. `dropped`: keys of calls made in the decision that ended the run.
    """

    outcome: Outcome
    scheduled: Sequence[AnsweredCall] = ()
    repeated: Sequence[AnsweredCall] = ()
    more: bool = False
    waiting_on: Sequence[AnsweredWait] = ()
    result: str | None = None
    restart: str | None = None
    error: ErrorObject | None = None
    phase: Phase = Phase.RUN
    dropped: Sequence[str] = ()
    ignored_errors: Sequence[ErrorObject] = ()
    log: Sequence[str] = ()


def encode_request(request: Request) -> bytes:
    """Encode a request. Raises `MalformedMessage` for text that UTF-8 cannot carry."""
    return _encode(
        {
            "version": VERSION,
            "source": request.source,
            "entrypoint": request.entrypoint,
            "tasks": list(request.tasks),
            "input": request.input,
            # Rows instead of objects: a long history is mostly this, read for each decision.
            "records": [
                [
                    record.key,
                    record.state,
                    record.digest,
                    record.line,
                    record.value,
                    record.error,
                    record.rank,
                    record.finished_at,
                ]
                for record in request.records
            ],
            "seed": request.seed,
            "startedAt": request.started_at,
            "wanted": list(request.wanted),
            "maxCalls": request.max_calls,
        }
    )


_REQUEST_FIELDS = {
    "version",
    "source",
    "entrypoint",
    "tasks",
    "input",
    "records",
    "seed",
    "startedAt",
    "wanted",
    "maxCalls",
}


def parse_request(raw: bytes) -> Request:
    """Decode a request. It comes from a friend: types are checked, so that a bug shows here, contents are not."""
    request = fields(load(raw), "the request", _REQUEST_FIELDS)
    _check_version(request["version"])
    entrypoint = request["entrypoint"]
    return Request(
        source=string(request["source"], "source"),
        entrypoint=None if entrypoint is None else string(entrypoint, "entrypoint"),
        tasks=items(request["tasks"], "tasks", string),
        input=string(request["input"], "input"),
        records=items(request["records"], "records", _record),
        seed=string(request["seed"], "seed"),
        started_at=number(request["startedAt"], "startedAt"),
        wanted=items(request["wanted"], "wanted", string),
        max_calls=integer(request["maxCalls"], "maxCalls", 0, 1 << 31),
    )


_STATES = {state.value: state for state in RecordState}
_OPTIONAL_TEXT = (str, type(None))
_OPTIONAL_INT = (int, type(None))


def _record(row: Any, what: str) -> Record:
    try:
        key, state, digest, line, value, error, rank, finished_at = row
        known_state = _STATES[state]
    except (TypeError, ValueError, KeyError) as deviation:
        raise MalformedMessage(f"{what} has a row that is no record") from deviation
    if not (
        isinstance(key, str)
        and isinstance(digest, _OPTIONAL_TEXT)
        and isinstance(line, _OPTIONAL_INT)
        and isinstance(value, _OPTIONAL_TEXT)
        and isinstance(error, (dict, type(None)))
        and isinstance(rank, _OPTIONAL_INT)
        and isinstance(finished_at, (float, *_OPTIONAL_INT))
    ):
        raise MalformedMessage(f"{what} has a row with a field of a wrong type")
    return Record(
        key=key,
        state=known_state,
        digest=digest,
        line=line,
        value=value,
        error=error,
        rank=rank,
        finished_at=finished_at,
    )


def encode_answer(answer: Answer) -> bytes:
    """Encode an answer. Raises `MalformedMessage` for text that UTF-8 cannot carry."""
    encoded = {
        "version": VERSION,
        "outcome": answer.outcome,
        "scheduled": [_call_fields(call) for call in answer.scheduled],
        "repeated": [_call_fields(call) for call in answer.repeated],
        "more": answer.more,
        "waitingOn": [{"key": awaited.key, "line": awaited.line} for awaited in answer.waiting_on],
        "result": answer.result,
        "restart": answer.restart,
        "error": answer.error,
        "phase": answer.phase,
        "dropped": list(answer.dropped),
        "ignoredErrors": list(answer.ignored_errors),
        "log": list(answer.log),
    }
    return _encode(encoded)


def _call_fields(call: AnsweredCall) -> dict[str, object]:
    return {
        "key": call.key,
        "task": call.task,
        "arguments": call.arguments,
        "digest": call.digest,
        "line": call.line,
    }


def _encode(message: dict[str, object]) -> bytes:
    try:
        return values.encode_plain(message).encode()
    except ValueError as error:
        raise MalformedMessage("the message holds a lone surrogate, or a number that is not finite") from error


_ANSWER_FIELDS = {
    "version",
    "outcome",
    "scheduled",
    "repeated",
    "more",
    "waitingOn",
    "result",
    "restart",
    "error",
    "phase",
    "dropped",
    "ignoredErrors",
    "log",
}


def parse_answer(raw: bytes, request: Request, limit_bytes: int) -> Answer:
    """Decode an answer to `request`, trusting nothing. Raises `MalformedMessage`, and never anything else."""
    answer = fields(load(raw, limit_bytes), "the answer", _ANSWER_FIELDS)
    _check_version(answer["version"])
    outcome = _member(Outcome, answer["outcome"], "outcome")
    phase = _member(Phase, answer["phase"], "phase")
    is_final = outcome not in (Outcome.SUSPENDED, Outcome.STALLED)
    recorded = {record.key: record for record in request.records}

    scheduled = items(answer["scheduled"], "scheduled", _answered_call, request.max_calls)
    repeated = items(answer["repeated"], "repeated", _answered_call, len(request.wanted))
    waiting_on = items(answer["waitingOn"], "waitingOn", _answered_wait, len(scheduled) + len(recorded))
    dropped = items(answer["dropped"], "dropped", string, request.max_calls)
    ignored = items(answer["ignoredErrors"], "ignoredErrors", _error_object, len(recorded))
    log = items(answer["log"], "log", string)

    _check_new([call.key for call in scheduled], request, recorded, "scheduled")
    _check_new(dropped, request, recorded, "dropped")
    _check_repeated(repeated, request, recorded)
    _check_waits(waiting_on, recorded, {call.key for call in scheduled})
    if sum(len(line.encode()) + 1 for line in log) > 2 * MAX_LOG_BYTES:
        raise MalformedMessage(f"the log has more than {2 * MAX_LOG_BYTES} bytes")
    if type(answer["more"]) is not bool or (answer["more"] and len(scheduled) < request.max_calls):
        raise MalformedMessage("more is true though the list of new calls has room, or is no boolean")

    _only_if(outcome is Outcome.SUSPENDED, outcome, scheduled=scheduled, waitingOn=waiting_on)
    _only_if(outcome is not Outcome.STALLED, outcome, repeated=repeated)
    _only_if(is_final, outcome, dropped=dropped, ignoredErrors=ignored)
    _exactly_if(outcome is Outcome.COMPLETED, outcome, "result", answer["result"])
    _exactly_if(outcome is Outcome.RESTARTED, outcome, "restart", answer["restart"])
    _exactly_if(outcome in (Outcome.FAILED, Outcome.STALLED), outcome, "error", answer["error"])
    if phase is Phase.LOAD and answer["error"] is None:
        raise MalformedMessage(f"the phase is load though the outcome is {outcome}")

    if answer["result"] is not None:
        value_text(answer["result"], "result")
    if answer["restart"] is not None:
        call_text(answer["restart"], "restart")
    return Answer(
        outcome=outcome,
        scheduled=scheduled,
        repeated=repeated,
        more=answer["more"],
        waiting_on=waiting_on,
        result=answer["result"],
        restart=answer["restart"],
        error=None if answer["error"] is None else _error_object(answer["error"], "error"),
        phase=phase,
        dropped=dropped,
        ignored_errors=ignored,
        log=log,
    )


def _check_version(version: object) -> None:
    if type(version) is not int or version != VERSION:
        raise MalformedMessage(f"the message's version is not {VERSION}: both sides must be of one release")


def _member(kind: Any, value: object, what: str) -> Any:
    name = string(value, what)
    try:
        return kind(name)
    except ValueError as error:
        raise MalformedMessage(f"{what} is none of {', '.join(kind)}") from error


def _only_if(allowed: bool, outcome: Outcome, **lists: Sequence[object]) -> None:  # noqa: FBT001 - a condition
    for name, given in lists.items():
        if given and not allowed:
            raise MalformedMessage(f"{name} is given though the outcome is {outcome}")


def _exactly_if(needed: bool, outcome: Outcome, name: str, value: object) -> None:  # noqa: FBT001 - a condition
    if (value is not None) is not needed:
        raise MalformedMessage(f"{name} is {'missing' if needed else 'given'} though the outcome is {outcome}")


def _line(value: object) -> int | None:
    return None if value is None else integer(value, "line", 0, _MAX_LINE)


def _answered_call(value: object, what: str) -> AnsweredCall:
    call = fields(value, f"an item of {what}", ("key", "task", "arguments", "digest", "line"))
    key = string(call["key"], f"a key in {what}")
    digest = call_text(call["arguments"], f"the arguments of an item of {what}")
    if call["digest"] != digest:
        raise MalformedMessage(f"a digest in {what} is not that of the arguments")
    if call["task"] != _task_of(key, what):
        raise MalformedMessage(f"a key in {what} is not one of its task")
    return AnsweredCall(
        key=key, task=call["task"], arguments=call["arguments"], digest=digest, line=_line(call["line"])
    )


def _answered_wait(value: object, what: str) -> AnsweredWait:
    awaited = fields(value, f"an item of {what}", {"key", "line"})
    return AnsweredWait(key=string(awaited["key"], f"a key in {what}"), line=_line(awaited["line"]))


def _task_of(key: str, what: str) -> str:
    try:
        return task_of(key)
    except ValueError as error:
        raise MalformedMessage(f"{what} has a malformed key") from error


def _check_new(keys: Sequence[str], request: Request, recorded: Mapping[str, Record], what: str) -> None:
    distinct(keys, what)
    for key in keys:
        if _task_of(key, what) not in request.tasks:
            raise MalformedMessage(f"{what} has the key {key}, which is of no task of the request")
        if key in recorded:
            raise MalformedMessage(f"{what} has the key {key}, which is recorded already")


def _check_repeated(repeated: Sequence[AnsweredCall], request: Request, recorded: Mapping[str, Record]) -> None:
    distinct([call.key for call in repeated], "repeated")
    for call in repeated:
        if call.key not in request.wanted or call.key not in recorded:
            raise MalformedMessage(f"repeated has the key {call.key}, which was not asked for")
        if recorded[call.key].digest not in (None, call.digest):
            raise MalformedMessage(f"repeated has other arguments for {call.key} than the record")


def _check_waits(
    waiting_on: Sequence[AnsweredWait], recorded: Mapping[str, Record], scheduled: Collection[str]
) -> None:
    distinct([awaited.key for awaited in waiting_on], "waitingOn")
    for awaited in waiting_on:
        record = recorded.get(awaited.key)
        if awaited.key not in scheduled and (record is None or record.state is not RecordState.RUNNING):
            raise MalformedMessage("waitingOn has a key that is neither running nor scheduled")


_ERROR_TEXTS = ("type", "message", "task", "timer", "traceback", "key", "recorded", "asked")
_ERROR_FIELDS = {*_ERROR_TEXTS, "attempt", "exitCode", "line", "details"}


def _error_object(value: object, what: str) -> ErrorObject:
    error = fields(value, what, {"type", "message"}, _ERROR_FIELDS)
    for name in _ERROR_TEXTS:
        if name in error:
            string(error[name], f"{name} of {what}", MAX_ERROR_CHARACTERS)
    if "attempt" in error:
        integer(error["attempt"], f"attempt of {what}", 0, _MAX_ATTEMPT)
    if "exitCode" in error:
        integer(error["exitCode"], f"exitCode of {what}", -(1 << 31), 1 << 32)
    _line(error.get("line"))
    if values.levels(error.get("details")) > values.MAX_LEVELS:
        raise MalformedMessage(f"the details of {what} have more than {values.MAX_LEVELS} levels")
    return error
