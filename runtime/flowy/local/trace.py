"""What a local run was, as JSON: the history, and from it the calls, who used whose result, and the workflows below."""

from collections.abc import Sequence
from typing import Any

from flowy.local.execution import Execution, PastRun
from flowy.local.history import EventJson, format_time
from flowy.wire.keys import task_of

_OUTCOMES = {
    "TaskCompleted": "completed",
    "TaskFailed": "failed",
    "TaskTimedOut": "timedOut",
    "TaskCancelled": "cancelled",
}


def trace_of(execution: Execution) -> dict[str, Any]:
    """The trace of a workflow that is over, with those of its children inside.

    `history` holds the events of all runs, as `status.history` does in the cluster; `runs` what each of them means: `nodes`
    are its calls in the order of the code, `edges` pairs of keys, from a call that finished to one that got its outcome, and
    `looks` the calls whose outcome the code looked at, in that order; each node counts how many of those came before it.
    `returned` are the calls whose results stand in what the code returned. `seconds` is how long it took.
    """
    end, ended_at = execution.end, execution.ended_at
    assert end is not None
    assert ended_at is not None
    events = execution.history.events
    first = 0
    runs = []
    for past in execution.past:
        runs.append(_run(execution, past, events[first : past.last_event]))
        first = past.last_event
    return {
        "workflow": execution.plan.name,
        "outcome": end.outcome,
        "result": end.result,
        "error": end.error,
        "ignoredErrors": list(end.ignored_errors),
        "log": list(execution.log),
        "startTime": format_time(execution.begun_at),
        "completionTime": format_time(ended_at),
        "seconds": (ended_at - execution.begun_at).total_seconds(),
        "decisions": execution.decisions,
        "history": list(events),
        "runs": runs,
    }


def _run(execution: Execution, past: PastRun, events: Sequence[EventJson]) -> dict[str, Any]:
    nodes: dict[str, dict[str, Any]] = {}
    for traced in past.flow.calls:
        nodes[traced.key] = _node(traced.key, traced.looks) | {"line": traced.line, "outcome": "notScheduled"}
    for event in events:
        if "task" in event:
            _follow(nodes.setdefault(str(event["task"]), _node(str(event["task"]), len(past.flow.looks))), event)
    for call in past.calls:
        node = nodes[call.key]
        node["line"] = call.answered.line
        if call.plan.workflow is not None:
            node["kind"] = "workflow"
            node["children"] = [trace_of(child) for child in execution.children if child.parent is call]
    edges = [list(edge) for edge in past.edges]
    looks = [{"key": look.key, "line": look.line} for look in past.flow.looks]
    return {
        "run": past.number,
        "nodes": list(nodes.values()),
        "edges": edges,
        "looks": looks,
        "returned": list(past.flow.returned),
    }


def _node(key: str, looks: int) -> dict[str, Any]:
    return {
        "key": key,
        "task": task_of(key),
        "kind": "activity",
        "line": None,
        "looks": looks,
        "outcome": "unfinished",
        "attempts": [],
    }


def _follow(node: dict[str, Any], event: EventJson) -> None:
    """Take an event of this call into its node."""
    if node["outcome"] == "notScheduled":  # it carries an error, or the code ended without it
        node["outcome"] = "unfinished"
    number = event.get("attempt", 1)
    attempts: list[dict[str, Any]] = node["attempts"]
    if event["type"] == "TaskScheduled":
        attempts.append({"attempt": number, "scheduled": event["time"]})
    outcome = _OUTCOMES.get(str(event["type"]))
    if outcome is None:
        return
    if attempts and attempts[-1]["attempt"] == number:
        attempts[-1] |= {"finished": event["time"], "outcome": outcome}
        if "startedAt" in event:
            attempts[-1]["started"] = event["startedAt"]
    if event["type"] in {"TaskCompleted", "TaskCancelled"} or event.get("final"):
        node["outcome"] = outcome
        node["finished"] = event["time"]
