"""Reading an answer. It comes from a process that ran a stranger's code, so nothing is taken for granted.

Size, depth, types, names and counts are checked, keys and digests held against the request. What passes may still be a
wrong decision; it cannot be a harmful one.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any

from flowy.errors import ErrorObject
from flowy.wire import values
from flowy.wire.checks import (
    MalformedMessage,
    call_text,
    check_version,
    distinct,
    fields,
    integer,
    items,
    load,
    optional_line,
    string,
    value_text,
)
from flowy.wire.keys import MAX_KEY, task_of
from flowy.wire.shapes import Answer, AnsweredCall, AnsweredWait, Outcome, Phase, Record, RecordState, Request, by_key
from flowy.wire.traces import parse_trace

MAX_LOG_BYTES = 64 * 1024  # printed text of a decision: enough to follow it by eye, and kept with it; loops print on
MAX_ERROR_CHARACTERS = 64 * 1024  # of each text in an error: far above our own, a recorded one may be a task's output
MAX_NEEDS = 20_000
"""Keys in the groups of `Answer.needs`. A call for each of a thousand results is a thousand. A thousand calls that take a
thousand results each are a million: to ask once too often is less than to tell of them."""
_MAX_ATTEMPT = 1_000_000_000

_ANSWER_FIELDS = {
    "version",
    "outcome",
    "scheduled",
    "repeated",
    "more",
    "waitingOn",
    "needs",
    "result",
    "restart",
    "error",
    "phase",
    "dropped",
    "ignoredErrors",
    "log",
    "trace",
}


def parse_answer(raw: bytes, request: Request, limit_bytes: int) -> Answer:
    """Decode an answer to `request`, trusting nothing. Raises `MalformedMessage`, and never anything else."""
    answer = fields(load(raw, limit_bytes), "the answer", _ANSWER_FIELDS)
    check_version(answer["version"])
    outcome = _member(Outcome, answer["outcome"], "outcome")
    phase = _member(Phase, answer["phase"], "phase")
    is_final = outcome not in (Outcome.SUSPENDED, Outcome.STALLED)
    recorded = by_key(request.records)

    scheduled = items(answer["scheduled"], "scheduled", _answered_call, request.max_calls)
    repeated = items(answer["repeated"], "repeated", _answered_call, len(request.wanted))
    waiting_on = items(answer["waitingOn"], "waitingOn", _answered_wait, len(scheduled) + len(recorded))
    needs = None if answer["needs"] is None else _needs(answer["needs"])
    dropped = items(answer["dropped"], "dropped", string, request.max_calls)
    ignored = items(answer["ignoredErrors"], "ignoredErrors", _error_object, len(recorded))
    log = items(answer["log"], "log", string, 2 * MAX_LOG_BYTES)
    trace = None if answer["trace"] is None else parse_trace(answer["trace"], request.tasks)

    _check_new([call.key for call in scheduled], request, recorded, "scheduled")
    _check_new(dropped, request, recorded, "dropped")
    _check_repeated(repeated, request, recorded)
    _check_waits(waiting_on, recorded, {call.key for call in scheduled})
    if sum(len(line.encode()) + 1 for line in log) > 2 * MAX_LOG_BYTES:
        raise MalformedMessage(f"the log has more than {2 * MAX_LOG_BYTES} bytes")
    # What didn't fit isn't known here. But there was one that did, or asking again would never end.
    if type(answer["more"]) is not bool or (answer["more"] and len(scheduled) < min(request.max_calls, 1)):
        raise MalformedMessage("more is true though the list of new calls has room, or is no boolean")

    _only_if(outcome is Outcome.SUSPENDED, outcome, scheduled=scheduled, waitingOn=waiting_on, needs=needs or ())
    _only_if(outcome is not Outcome.STALLED, outcome, repeated=repeated)
    _only_if(is_final, outcome, dropped=dropped, ignoredErrors=ignored)
    _exactly_if(outcome is Outcome.COMPLETED, outcome, "result", answer["result"])
    _exactly_if(outcome is Outcome.RESTARTED, outcome, "restart", answer["restart"])
    _exactly_if(outcome in (Outcome.FAILED, Outcome.STALLED), outcome, "error", answer["error"])
    if phase is Phase.LOAD and answer["error"] is None:
        raise MalformedMessage(f"the phase is load though the outcome is {outcome}")

    if (trace is not None) is not request.traced:
        raise MalformedMessage(f"a trace is {'missing' if request.traced else 'given'}")

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
        needs=needs,
        result=answer["result"],
        restart=answer["restart"],
        error=None if answer["error"] is None else _error_object(answer["error"], "error"),
        phase=phase,
        dropped=dropped,
        ignored_errors=ignored,
        log=log,
        trace=trace,
    )


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


def _answered_call(value: object, what: str) -> AnsweredCall:
    call = fields(value, f"an item of {what}", ("key", "task", "arguments", "digest", "line"))
    key = string(call["key"], f"a key in {what}")
    digest = call_text(call["arguments"], f"the arguments of an item of {what}")
    if call["digest"] != digest:
        raise MalformedMessage(f"a digest in {what} is not that of the arguments")
    if call["task"] != _task_of(key, what):
        raise MalformedMessage(f"a key in {what} is not one of its task")
    return AnsweredCall(
        key=key, task=call["task"], arguments=call["arguments"], digest=digest, line=optional_line(call["line"])
    )


def _answered_wait(value: object, what: str) -> AnsweredWait:
    awaited = fields(value, f"an item of {what}", {"key", "line"})
    return AnsweredWait(key=string(awaited["key"], f"a key in {what}"), line=optional_line(awaited["line"]))


def _needs(value: object) -> Sequence[Sequence[str]]:
    """Groups of keys, whoever they are of: wrong ones make decisions rare, and of this workflow alone.

    Checked together and not one by one, for there may be thousands.
    """
    if type(value) is not list or not set(map(type, value)) <= {list}:
        raise MalformedMessage("needs is no list of lists")
    if len(value) > MAX_NEEDS or sum(map(len, value)) > MAX_NEEDS:
        raise MalformedMessage(f"needs has more than {MAX_NEEDS} keys")
    if not set(map(type, chain.from_iterable(value))) <= {str}:
        raise MalformedMessage("a key in needs is no string")
    if max(map(len, chain.from_iterable(value)), default=0) > MAX_KEY:  # they are kept as long as the workflow is open
        raise MalformedMessage(f"a key in needs has more than {MAX_KEY} characters")
    return tuple(map(tuple, value))


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
    wanted = set(request.wanted)  # thousands, after a restart of the operator, and asked for as often
    for call in repeated:
        if call.key not in wanted or call.key not in recorded:
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


_ERROR_TEXTS = ("type", "message", "task", "timer", "reason", "traceback", "key", "recorded", "asked")
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
    optional_line(error.get("line"))
    if values.levels(error.get("details")) > values.MAX_LEVELS:
        raise MalformedMessage(f"the details of {what} have more than {values.MAX_LEVELS} levels")
    return error
