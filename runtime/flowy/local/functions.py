"""Activities as plain Python functions: called with a launch's arguments, their result or exception made an outcome."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flowy import activity
from flowy.errors import TaskError, ValueRefused
from flowy.local.launch import Completed, Failed, Launch, Outcome
from flowy.policy.lengths import MAX_VALUE_BYTES, WAY_OUT
from flowy.replay.source import limited
from flowy.wire import values

Function = Callable[..., Any]
Beat = Callable[[str | None], bool]
"""Takes a heartbeat with its details as JSON text; False if the attempt no longer counts."""


@dataclass(frozen=True, slots=True)
class Work:
    """What an executor of functions does for a task. `duration` is for virtual time: seconds, or how to get them."""

    function: Function
    duration: "float | Callable[..., float]" = 0.0


def call(function: Function, arguments: str, beat: Beat, previous: str | None) -> Outcome:
    """Call the function as an attempt. `heartbeat` and `progress` of `flowy.activity` work inside."""
    given: Any = values.decode(arguments)
    with activity.attempt_here(beat, previous):
        try:
            returned = function(*given["args"], **given["kwargs"])
        except KeyboardInterrupt:
            raise  # of virtual time, where activities run in the caller's thread
        except BaseException as raised:  # noqa: BLE001 - the activity may raise anything, SystemExit too
            return failure(raised)
    try:
        result = values.encode(returned, "result")
    except ValueRefused as refusal:
        return Failed(type="ValueRefused", message=str(refusal), retryable=False)
    size = len(result.encode())
    if size > MAX_VALUE_BYTES:
        message = f"the function returned {size:,} bytes, at most {MAX_VALUE_BYTES:,} are kept: {WAY_OUT}"
        return Failed(type="ResultTooLong", message=message, retryable=False)
    return Completed(result)


def failure(raised: BaseException) -> Failed:
    """What an exception says of a failure. A `TaskError` or `TaskFailure` says more than its class and its text."""
    kind, details, retryable = type(raised).__name__, None, True
    if isinstance(raised, TaskError | activity.TaskFailure):
        kind, details = str(raised.type), raised.details
    if isinstance(raised, activity.TaskFailure):
        retryable = raised.retryable
    try:
        message = str(raised) or kind
    except Exception:  # noqa: BLE001 - the user's __str__ may raise anything
        message = "the exception has no text: its __str__ failed"
    text = None
    if details is not None:
        try:
            text = values.encode(details, "details")
        except ValueRefused as refusal:
            message += f" (without its details: {refusal})"
    where = raised.__traceback__
    while where is not None and where.tb_frame.f_code is call.__code__:  # it begins with the user's own function
        where = where.tb_next
    trace = "".join(traceback.format_exception(type(raised), raised, where))
    return Failed(
        type=limited(kind),
        message=limited(message),
        details=text,
        retryable=retryable,
        traceback=limited(trace, 20_000),
    )


def perform(launch: Launch) -> Outcome:
    """Do the work of a launch in this thread."""
    work: Work = launch.work
    return call(work.function, launch.arguments, launch.beats, launch.previous)
