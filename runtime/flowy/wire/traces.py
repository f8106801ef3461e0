"""A trace in an answer: rows instead of objects, since a long run is mostly calls. It comes from a stranger's process."""

from collections.abc import Collection
from typing import Any

from flowy.wire.checks import MalformedMessage, distinct, fields, integer, items, optional_line, string
from flowy.wire.keys import task_of
from flowy.wire.shapes import Trace, TracedCall, TracedLook


def trace_rows(trace: Trace) -> dict[str, object]:
    """Give the trace as plain data."""
    return {
        "calls": [[call.key, call.line, list(call.takes), call.looks] for call in trace.calls],
        "looks": [[look.key, look.line] for look in trace.looks],
        "returned": list(trace.returned),
    }


def parse_trace(value: object, tasks: Collection[str]) -> Trace:
    """Read a trace of calls to `tasks`. Raises `MalformedMessage`.

    A call takes results of earlier calls only, and its looks are at earlier calls: what is drawn of it has no cycle.
    """
    given = fields(value, "the trace", {"calls", "looks", "returned"})
    looks = items(given["looks"], "looks", _look)
    calls = items(given["calls"], "calls", _call)
    returned = items(given["returned"], "returned", string)
    distinct([look.key for look in looks], "looks")
    distinct([call.key for call in calls], "calls")
    earlier: set[str] = set()
    looked = 0
    for call in calls:
        _check_call(call, earlier, tasks)
        if not looked <= call.looks <= len(looks):
            raise MalformedMessage(f"{call.key} comes after fewer looks than its predecessor, or more than there are")
        if not all(look.key in earlier for look in looks[looked : call.looks]):
            raise MalformedMessage(f"{call.key} comes after a look at a call that was not made before it")
        looked = call.looks
        earlier.add(call.key)
    if not all(look.key in earlier for look in looks) or not all(key in earlier for key in returned):
        raise MalformedMessage("the trace names a call that was not made")
    return Trace(calls=calls, looks=looks, returned=returned)


def _check_call(call: TracedCall, earlier: Collection[str], tasks: Collection[str]) -> None:
    try:
        task = task_of(call.key)
    except ValueError as error:
        raise MalformedMessage("calls has a malformed key") from error
    if task not in tasks:
        raise MalformedMessage(f"calls has the key {call.key}, which is of no task of the request")
    if not all(key in earlier for key in call.takes):
        raise MalformedMessage(f"{call.key} takes the result of a call that was not made before it")


def _call(row: Any, what: str) -> TracedCall:
    if type(row) is not list or len(row) != 4:  # noqa: PLR2004 - the fields of a call
        raise MalformedMessage(f"{what} has a row that is no call")
    key, line, takes, looks = row
    return TracedCall(
        key=string(key, what),
        line=optional_line(line),
        takes=items(takes, what, string),
        looks=integer(looks, what, 0, 1 << 31),
    )


def _look(row: Any, what: str) -> TracedLook:
    if type(row) is not list or len(row) != 2:  # noqa: PLR2004 - the fields of a look
        raise MalformedMessage(f"{what} has a row that is no look")
    return TracedLook(key=string(row[0], what), line=optional_line(row[1]))
