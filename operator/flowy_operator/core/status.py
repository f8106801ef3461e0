"""The status of a Workflow as it should read, and the patch that makes it so.

One JSON patch per reconcile, on `/status`: a `test` of the version that was read, an `add` for each event, and the
fields that changed. A patch that would change nothing is none.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flowy.wire.messages import AnsweredWait, ErrorObject
from flowy_operator.core.conditions import Reason, Stall, Status, conditions
from flowy_operator.core.history import Event, event_json, format_time
from flowy_operator.core.observe import View
from flowy_operator.core.pages import Tail, tail_json
from flowy_operator.core.printable import printable
from flowy_operator.core.sentences import attempt_of, attempt_sentence, attempts, line, reasons
from flowy_operator.core.spec import TaskSpec
from flowy_operator.core.state import Phase, State, Task, task_name
from flowy_operator.core.verdict import End

Patch = list[dict[str, Any]]

SHOWN_WAITS = 10
"""How many of the awaited tasks the status names; `progress` counts them all. A wide `wait` would bloat each write."""

SHOWN_ERRORS = 50
"""How many of the ignored errors the status holds: each may have 8 KiB, and the object ends at 1.5 MiB."""

_ERROR_CHARS: Mapping[str, int] = {"type": 1024, "task": 64, "timer": 64, "reason": 64}
"""The CRD's bounds of what a container or the code can make up. One character more, and no status is written at all."""

_INT32 = 2**31
_STALL_FIELDS = ("key", "recorded", "asked")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a workflow stands after a pass."""

    generation: int
    started_at: datetime
    end: End | None = None
    stall: Stall | None = None
    waiting_on: Sequence[AnsweredWait] = ()
    held_back: int = 0
    suspended: bool = False
    cancel_until: datetime | None = None  # the end of a stop's grace period, if one was requested
    finishing: bool = False
    code: Mapping[str, str] = field(default_factory=dict)  # what the decisions were made with
    definition_digest: str | None = None
    notes: Mapping[str, str] = field(default_factory=dict)  # Job name -> why it could not be created yet
    tasks: Mapping[str, TaskSpec] = field(default_factory=dict)
    history_start: int = 1  # id of the first event that stands in the status
    launched_through: int = 0  # id of the event up to which all launches have been made; 0: of none
    decided: bool = False  # the code has nothing more to say until a task ends


def status_fields(
    previous: Mapping[str, Any], state: State, standing: Standing, view: View, now: datetime
) -> dict[str, Any]:
    """Every field of the status but the history; what doesn't apply is left out."""
    end = standing.end
    waits = [] if end is not None else _waiting_on(previous, state, standing, view, now)
    fields: dict[str, Any] = {
        "observedGeneration": standing.generation,
        "conditions": _conditions(previous, standing, waits, now),
        "startTime": format_time(standing.started_at),
        "progress": _progress(state),
        "run": state.run,
        "historyStart": standing.history_start,
    }
    if standing.launched_through:
        fields["launchedThrough"] = standing.launched_through
    if standing.decided:
        fields["decidedThrough"] = state.events
    if state.chain.digest:
        fields["historyDigest"] = state.chain.digest
    if standing.code:
        fields["code"] = dict(standing.code)
    if standing.definition_digest is not None:
        fields["definitionDigest"] = standing.definition_digest
    if waits:
        fields["waitingOn"] = waits
    if end is not None:
        fields["completionTime"] = format_time(max(now, state.last_time or now))
        if end.result is not None:
            fields["result"] = end.result
        if end.error is not None:
            fields["error"] = error_json(end.error)
        if end.ignored_errors:
            fields["ignoredErrors"] = _ignored(end.ignored_errors)
    return fields


def status_patch(
    previous: Mapping[str, Any] | None,
    fields: Mapping[str, Any],
    events: Sequence[Event],
    resource_version: str,
    tail: Tail = Tail(),
) -> Patch:
    """The JSON patch from the previous status (None: there is none yet) to these fields and further events.

    Fields that are not named in `fields` go, but for the history and what else the status may hold of another version.
    `previous` needs no history: the first event begins the list, every other is appended. Where `historyStart` moves, the
    list is written anew: what is left of it is `tail`.
    """
    changes: Patch = []
    history = [event_json(event) for event in events]
    if previous is None:
        changes.append({"op": "add", "path": "/status", "value": {**fields, "history": history}})
    else:
        for name, value in fields.items():
            if previous.get(name) != value:
                changes.append({"op": "add", "path": f"/status/{name}", "value": value})
        changes += [
            {"op": "remove", "path": f"/status/{name}"}
            for name in ("waitingOn", "decidedThrough", "error", "ignoredErrors", "result")
            if name in previous and name not in fields
        ]
        if fields.get("historyStart", 1) != previous.get("historyStart", 1):
            # In one piece: as operations they might be more than the 10,000 that the API server allows.
            value = [*tail_json(tail), *history]
            changes.append({"op": "add", "path": "/status/history", "value": value})
        elif events and events[0].id == 1:
            changes.append({"op": "add", "path": "/status/history", "value": history})
        else:
            changes += [{"op": "add", "path": "/status/history/-", "value": item} for item in history]
    if not changes:
        return []
    return [{"op": "test", "path": "/metadata/resourceVersion", "value": resource_version}, *changes]


def error_json(error: ErrorObject) -> dict[str, Any]:
    """An error as it stands in the status: within its bounds, `details` as JSON text so that numbers stay exact."""
    fields = {name: value for name, value in error.items() if value is not None and name not in _STALL_FIELDS}
    if "details" in fields:
        fields["details"] = json.dumps(fields["details"], ensure_ascii=False)
    for name, limit in _ERROR_CHARS.items():
        text = fields.get(name)
        if isinstance(text, str) and len(text) > limit:
            fields[name] = f"{text[: limit - 1]}…"
    code = fields.get("exitCode")
    if isinstance(code, int) and not -_INT32 <= code < _INT32:
        del fields["exitCode"]  # the code made it up: Kubernetes has none beyond 32 bits
    return fields


def _ignored(errors: Sequence[ErrorObject]) -> list[dict[str, Any]]:
    shown = [error_json(error) for error in errors[:SHOWN_ERRORS]]
    if len(errors) > SHOWN_ERRORS:
        more = f"{len(errors) - SHOWN_ERRORS:,} further errors were ignored; the history has them"
        shown.append({"type": "NotShown", "message": more})
    return shown


def _conditions(
    previous: Mapping[str, Any], standing: Standing, waits: Sequence[Mapping[str, Any]], now: datetime
) -> list[dict[str, Any]]:
    succeeded: Status = "Unknown"
    match standing:
        case Standing(end=End(reason=reason, error=error)):
            succeeded = "True" if reason is Reason.COMPLETED else "False"
            after = " after it was asked to stop" if standing.cancel_until is not None else ""
            message = f"the code returned{after}" if error is None else _sentence(error, standing.tasks)
        case Standing(stall=Stall(message=why), cancel_until=datetime() as until):
            reason, message = Reason.STALLED, f"{why}; spec.stop ends the workflow at {format_time(until)}"
        case Standing(stall=Stall(message=why)):
            reason, message = Reason.STALLED, why
        case Standing(cancel_until=datetime() as until):
            reason = Reason.CANCELLING
            message = _joined(f"the code may clean up until {format_time(until)}", waits, standing.held_back)
        case Standing(suspended=True):
            reason, message = Reason.SUSPENDED, "spec.suspend is true: what runs goes on, nothing new is launched"
        case Standing(finishing=True):
            reason, message = Reason.FINISHING, _joined("the code has ended", waits, standing.held_back)
        case _:
            reason, message = Reason.RUNNING, _waiting_sentence(waits, standing.held_back)
    return conditions(
        previous.get("conditions", ()),
        succeeded=succeeded,
        reason=reason,
        message=message,
        stall=standing.stall,
        generation=standing.generation,
        now=now,
    )


def _sentence(error: ErrorObject, tasks: Mapping[str, TaskSpec]) -> str:
    text = f"{error.get('type', 'Error')}: {error.get('message', '')}"
    if error.get("task"):
        key, made, code = str(error["task"]), error.get("attempt", 1), error.get("exitCode")
        text += f" (task {key}, {attempts(tasks.get(task_name(key)), made if isinstance(made, int) else 1)}"
        text += f", exit code {code})" if code and f"exit code {code}" not in text else ")"
    if error.get("details") is not None:
        text += f" (details {line(json.dumps(error['details'], ensure_ascii=False))})"
    if error.get("line"):
        text += f" (line {error['line']})"
    return text


def _joined(words: str, waits: Sequence[Mapping[str, Any]], held_back: int) -> str:
    return "; ".join(filter(None, (words, _waiting_sentence(waits, held_back))))


def _waiting_sentence(waits: Sequence[Mapping[str, Any]], held_back: int) -> str:
    parts = []
    if waits:
        first = waits[0]
        line = f"line {first['line']} " if "line" in first else ""
        more = f" and {len(waits) - 1} more" if len(waits) > 1 else ""
        if len(waits) == SHOWN_WAITS:
            # Not how many: it would be another sentence, and the conditions another patch, at each outcome.
            more = f" and at least {SHOWN_WAITS - 1} more"
        parts.append(f"{line}waits for {first['task']}{more}")
    if held_back:
        parts.append(f"{held_back} ready tasks are held back by spec.parallelism")
    return "; ".join(parts)


def _progress(state: State) -> dict[str, Any]:
    scheduled = len(state.tasks)
    return {
        "scheduled": scheduled,
        "running": sum(1 for _ in state.open()),
        "succeeded": state.succeeded,
        "failed": state.finished - state.succeeded,
        "summary": f"{state.finished}/{scheduled}",
    }


def _waiting_on(
    previous: Mapping[str, Any], state: State, standing: Standing, view: View, now: datetime
) -> list[dict[str, Any]]:
    since = {wait.get("task"): wait.get("since") for wait in previous.get("waitingOn", ())}
    waits: list[dict[str, Any]] = []
    for wait in standing.waiting_on:
        if len(waits) == SHOWN_WAITS:
            break
        task = state.tasks.get(wait.key)
        if task is not None and task.final is not None:
            continue
        item: dict[str, Any] = {"task": wait.key, "since": since.get(wait.key) or format_time(now)}
        if wait.line is not None:
            item["line"] = wait.line
        reason = "held back" if task is None else _why(task.key, state, standing, view)
        if reason is not None:
            item["reason"] = printable(reason)
        waits.append(item)
    return waits


def _why(key: str, state: State, standing: Standing, view: View) -> str | None:
    """Why an awaited task doesn't run, if anything is to be told."""
    task = state.tasks[key]
    before = _what_went_before(task, view)
    if task.phase is Phase.WAITING and task.due_at is not None:
        words = f"{attempt_of(standing.tasks.get(task.name), task.attempt)} at {format_time(task.due_at)}"
        return f"{words}; {before}" if before else words
    if task.launch is None:
        return None
    spec = standing.tasks.get(task.name)
    is_child = spec is not None and spec.workflow is not None
    if task.launch.job in standing.notes:
        return f"{'Workflow' if is_child else 'Job'}: {standing.notes[task.launch.job]}"
    if task.launch.job in view.uncollected:
        return f"Result: {view.uncollected[task.launch.job]}"
    if is_child:
        child = view.children.get(task.launch.job)
        return f"Workflow {task.launch.job}: {'Running' if child is None else child.standing}"
    obstacle = view.obstacle(task.launch.job)
    if obstacle is not None:
        return f"Pod: {obstacle}"
    if task.disrupted_by or before is None:
        return before
    return f"{attempt_of(standing.tasks.get(task.name), task.attempt)}; {before}"


def _what_went_before(task: Task, view: View) -> str | None:
    """Why this isn't the first launch of the task, if it isn't."""
    if task.disrupted_by:
        held_until = None if task.launch is None or task.launch.job in view.jobs else task.launch.held_until
        again = f"; launched again at {format_time(held_until)}" if held_until is not None else ""
        return f"attempt {task.attempt} was disrupted: {reasons(task.disrupted_by)}{again}"
    return None if task.last_failure is None else attempt_sentence(task.last_failure)
