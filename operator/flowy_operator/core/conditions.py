"""Succeeded and its companions: what `kubectl wait`, `kubectl get` and Helm read.

`Succeeded` is Unknown while the workflow is open, then True or False; its reason is the STATUS column. `Reconciling` is
True while it is open. `Stalled` is True when only a person can help: the run can't go on, or it has failed. That the
latter counts is for kstatus (cli-utils), by which Helm waits: without it a failed workflow would count as current.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from flowy_operator.core.errors import StallReason
from flowy_operator.core.history import format_time
from flowy_operator.core.printable import printable

MESSAGE_CHARS = 32_768
"""The API convention's bound of a condition's message."""


class Reason(StrEnum):
    """Why `Succeeded` is what it is. The values are API, hence never renamed."""

    RUNNING = "Running"  # tasks are open, or about to be
    SUSPENDED = "Suspended"  # spec.suspend is true
    CANCELLING = "Cancelling"  # spec.stop is Cancel, and the code cleans up
    FINISHING = "Finishing"  # the code has ended, open tasks are waited for (spec.onEnd is Wait)
    STALLED = "Stalled"  # see the condition of this name
    COMPLETED = "Completed"  # the code returned
    FAILED = "Failed"  # the code raised, or returned an error
    INVALID_CODE = "InvalidCode"  # the code can't be run: syntax, entrypoint, task names
    TIMED_OUT = "TimedOut"  # spec.timeouts.workflowSeconds passed
    CANCELLED = "Cancelled"  # stopped by Cancel: TaskCancelled left the code
    TERMINATED = "Terminated"  # stopped without the code: by Terminate, or since its clean-up took too long


class Blocker(StrEnum):
    """Why a workflow can't go on, beside the decider's own reasons (`StallReason`). The values are API."""

    NON_DETERMINISM = "NonDeterminism"  # the code doesn't do what the history says it did
    HISTORY_INVALID = "HistoryInvalid"  # somebody edited the status
    HISTORY_FULL = "HistoryFull"  # it doesn't fit into its object any more
    STATUS_REFUSED = "StatusRefused"  # result, errors or history are more than the object can hold
    INVALID_SPEC = "InvalidSpec"  # an older CRD let something through
    DEFINITION_NOT_FOUND = "DefinitionNotFound"  # what definitionRef names isn't there
    DEFINITION_CHANGED = "DefinitionChanged"  # it was deleted and made again with other content
    INLINE_CODE_FORBIDDEN = "InlineCodeForbidden"  # the operator runs definitions only


@dataclass(frozen=True, slots=True)
class Stall:
    """The run can't go on now. It is tried again, and goes on by itself once the reason is gone."""

    reason: StallReason | Blocker
    message: str


Status = Literal["True", "False", "Unknown"]


def conditions(
    previous: Sequence[Mapping[str, Any]],
    *,
    succeeded: Status,
    reason: Reason,
    message: str,
    stall: Stall | None,
    generation: int,
    now: datetime,
) -> list[dict[str, Any]]:
    """All three, with the transition times of the previous ones kept where a status didn't change."""
    is_open = succeeded == "Unknown"
    if stall is not None:
        stalled: tuple[Status, str, str] = ("True", stall.reason, stall.message)
    elif succeeded == "False":
        stalled = ("True", reason, message)
    else:
        stalled = ("False", "NotStalled", "")
    wanted: list[tuple[str, Status, str, str]] = [
        ("Succeeded", succeeded, reason, message),
        ("Reconciling", "True" if is_open else "False", "Open" if is_open else "Ended", ""),
        ("Stalled", *stalled),
    ]
    wanted = [(kind, status, why, printable(text)) for kind, status, why, text in wanted]
    known = by_type({"conditions": previous})
    return [
        {
            "type": kind,
            "status": status,
            "reason": str(why),
            "message": text if len(text) <= MESSAGE_CHARS else f"{text[: MESSAGE_CHARS - 20]} … (shortened)",
            "observedGeneration": generation,
            "lastTransitionTime": known[kind]["lastTransitionTime"]
            if kind in known and known[kind].get("status") == status and "lastTransitionTime" in known[kind]
            else format_time(now),
        }
        for kind, status, why, text in wanted
    ]


def by_type(status: Mapping[str, Any]) -> dict[Any, Mapping[str, Any]]:
    """The conditions of a status by their types."""
    return {condition.get("type"): condition for condition in status.get("conditions", ())}


def has_ended(status: Mapping[str, Any]) -> bool:
    """Whether the status says that the workflow is over."""
    return any(
        c.get("type") == "Succeeded" and c.get("status") in {"True", "False"} for c in status.get("conditions", ())
    )
