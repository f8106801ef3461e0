"""The messages between whoever needs a decision and the process that replays: one request, one answer.

`shapes.py` says what is in them, `answers.py` reads an answer; here they are put into bytes. The two sides must be of
one release: a message of another version is refused.
"""

from collections.abc import Sequence
from itertools import repeat

from flowy.errors import ErrorObject
from flowy.wire import values
from flowy.wire.answers import MAX_LOG_BYTES, MAX_NEEDS, parse_answer
from flowy.wire.checks import (
    VERSION,
    MalformedMessage,
    check_version,
    fields,
    integer,
    items,
    load_of_friend,
    number,
    string,
)
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
    "MAX_NEEDS",
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
    "encode_step",
    "parse_answer",
    "parse_request",
    "parse_step",
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
            "records": request.records,  # rows: a long history is mostly this, read for each decision
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
    request = fields(load_of_friend(raw), "the request", _REQUEST_FIELDS)
    check_version(request["version"])
    entrypoint = request["entrypoint"]
    return Request(
        source=string(request["source"], "source"),
        entrypoint=None if entrypoint is None else string(entrypoint, "entrypoint"),
        tasks=items(request["tasks"], "tasks", string),
        input=string(request["input"], "input"),
        records=_records(request["records"]),
        seed=string(request["seed"], "seed"),
        started_at=number(request["startedAt"], "startedAt"),
        wanted=items(request["wanted"], "wanted", string),
        max_calls=integer(request["maxCalls"], "maxCalls", 0, 1 << 31),
        max_bytes=integer(request["maxBytes"], "maxBytes", 0, 1 << 31),
        traced=request["traced"] is True,
    )


def encode_step(records: Sequence[Record]) -> bytes:
    """Encode what a process that stayed at its barrier goes on over: the records that are new or other than before.

    Raises `MalformedMessage` for text that UTF-8 cannot carry.
    """
    return _encode({"version": VERSION, "records": records})


def parse_step(raw: bytes) -> Sequence[Record]:
    """Decode a step. As in a request, types are checked and contents are not."""
    step = fields(load_of_friend(raw), "the step", ("version", "records"))
    check_version(step["version"])
    return _records(step["records"])


_STATES = {state.value: state for state in RecordState}
_NONE = type(None)
# Of key, state, digest, line, value, error, rank and finished_at.
_FIELD_TYPES: Sequence[set[type]] = ({str}, {str}, {str, _NONE}, {int, _NONE}, {str, _NONE}, {dict, _NONE}, {int, _NONE}, {int, float, _NONE})  # fmt: skip


def _records(rows: object) -> tuple[Record, ...]:
    """Check by column, and not by row: there may be thousands, and this is a part of each decision."""
    if type(rows) is not list:
        raise MalformedMessage("records is no list")
    if not rows:
        return ()
    if set(map(type, rows)) != {list} or set(map(len, rows)) != {len(_FIELD_TYPES)}:
        raise MalformedMessage("records has a row that is no record")
    keys, states, *others = zip(*rows, strict=True)
    if any(
        not set(map(type, column)) <= types for column, types in zip((keys, states, *others), _FIELD_TYPES, strict=True)
    ):
        raise MalformedMessage("records has a row with a field of a wrong type")
    try:
        known_states = [_STATES[state] for state in states]
    except KeyError as unknown:
        raise MalformedMessage("records has a row that is no record") from unknown
    # Past the tuple's own constructor, which is a function in Python and takes twice as long.
    return tuple(map(tuple.__new__, repeat(Record), zip(keys, known_states, *others, strict=True)))


def encode_answer(answer: Answer) -> bytes:
    """Encode an answer. Raises `MalformedMessage` for text that UTF-8 cannot carry."""
    encoded = {
        "version": VERSION,
        "outcome": answer.outcome,
        "scheduled": [_call_fields(call) for call in answer.scheduled],
        "repeated": [_call_fields(call) for call in answer.repeated],
        "more": answer.more,
        "waitingOn": [{"key": awaited.key, "line": awaited.line} for awaited in answer.waiting_on],
        "needs": None if answer.needs is None else [list(group) for group in answer.needs],
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
