"""The messages between whoever needs a decision and the process that replays: one request, one answer.

`shapes.py` says what is in them, `answers.py` reads an answer; here they are put into bytes. The two sides must be of
one release: a message of another version is refused.
"""

from typing import Any

from flowy.errors import ErrorObject
from flowy.wire import values
from flowy.wire.answers import MAX_LOG_BYTES, parse_answer
from flowy.wire.checks import VERSION, MalformedMessage, check_version, fields, integer, items, load, number, string
from flowy.wire.shapes import (
    Answer,
    AnsweredCall,
    AnsweredWait,
    Outcome,
    Phase,
    Record,
    RecordState,
    Request,
    Trace,
    TracedCall,
    TracedLook,
)
from flowy.wire.traces import trace_rows

__all__ = [
    "MAX_LOG_BYTES",
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
    "Trace",
    "TracedCall",
    "TracedLook",
    "encode_answer",
    "encode_request",
    "parse_answer",
    "parse_request",
]


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
            "maxBytes": request.max_bytes,
            "traced": request.traced,
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
    "maxBytes",
    "traced",
}


def parse_request(raw: bytes) -> Request:
    """Decode a request. It comes from a friend: types are checked, so that a bug shows here, contents are not."""
    request = fields(load(raw), "the request", _REQUEST_FIELDS)
    check_version(request["version"])
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
        max_bytes=integer(request["maxBytes"], "maxBytes", 0, 1 << 31),
        traced=request["traced"] is True,
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
        "trace": None if answer.trace is None else trace_rows(answer.trace),
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
