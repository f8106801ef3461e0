"""The trace of a local run, as `LocalWorkflow.trace` has it -> what pictures show of it.

A trace holds its history, its arrows, and what the code looked at, so nothing is replayed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flowy.wire.messages import Outcome, Trace
from flowy.wire.traces import parse_trace
from flowy_cli.errors import NotThere, Unreadable
from flowy_cli.pictures.calls import calls_of
from flowy_cli.pictures.execution import Execution, Look, Standing
from flowy_cli.pictures.reading import decisions_of
from flowy_operator.core.history import Event, HistoryInvalid, Restarted, parse_history, parse_time
from flowy_operator.core.pages import base_of
from flowy_operator.core.spec import SubWorkflow, TaskSpec, WorkflowSpec
from flowy_operator.core.state import State, apply

_STANDINGS = {Outcome.COMPLETED: Standing.SUCCEEDED, "timedOut": Standing.TIMED_OUT, "cancelled": Standing.CANCELLED}


def execution_of_trace(trace: Mapping[str, Any], number: int | None = None) -> Execution:
    """What there is to draw of a local run: of its last one, or of number `number` where the code has restarted.

    Raises NotThere if there is no such run, Unreadable if somebody has changed the trace.
    """
    try:
        return _execution(trace, number, str(trace["workflow"]))
    except (HistoryInvalid, KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"this is no trace of a local run: {type(error).__name__}: {error}") from error


def _execution(trace: Mapping[str, Any], number: int | None, name: str) -> Execution:
    runs = {int(run["run"]): run for run in trace["runs"]}
    newest = max(runs, default=1)
    chosen = newest if number is None else number
    if chosen not in runs:
        raise NotThere(f"{name} has no run {chosen}", f"there are: {', '.join(map(str, runs))}")
    events = _events(parse_history(trace["history"]), chosen)
    empty = State(workflow=name, uid=name, started_at=parse_time(trace["startTime"]))
    base = base_of(empty, events[0].id, events[0]) if events else empty
    state = apply(base or empty, events)
    nodes: Sequence[Mapping[str, Any]] = runs[chosen]["nodes"]
    children = dict(_children(nodes, state, name))
    traced = _trace(runs[chosen])
    is_newest = chosen == newest
    error = trace.get("error") or {}
    return Execution(
        namespace="",
        name=name,
        number=chosen,
        standing=_STANDINGS.get(trace["outcome"], Standing.FAILED) if is_newest else Standing.SUCCEEDED,
        reason=f"{error['type']}: {error['message']}" if error and is_newest else str(trace["outcome"]),
        started_at=state.started_at,
        until=parse_time(trace["completionTime"]) if is_newest else state.last_time or state.started_at,
        calls=calls_of(_spec(nodes), state, events, traced, {}, {}, children.get),
        looks=tuple(Look(look.key, look.line) for look in traced.looks),
        returned=traced.returned,
        decisions=decisions_of(events),
        arguments=state.input,
        result=trace.get("result") if is_newest else None,
    )


def _events(events: Sequence[Event], run: int) -> list[Event]:
    current, found = 1, []
    for event in events:
        current = event.fact.run if isinstance(event.fact, Restarted) else current
        if current == run:
            found.append(event)
    return found


def _spec(nodes: Sequence[Mapping[str, Any]]) -> WorkflowSpec:
    """As much of a spec as pictures need: which tasks are workflows."""
    sub = {"workflow": SubWorkflow(), "activity": None}
    return WorkflowSpec(
        source="", tasks={node["task"]: TaskSpec(name=node["task"], workflow=sub[node["kind"]]) for node in nodes}
    )


def _trace(run: Mapping[str, Any]) -> Trace:
    """The flow of data in a run, with the checks of a decider's answer: whoever draws it relies on them."""
    takes: dict[str, list[str]] = {node["key"]: [] for node in run["nodes"]}
    for source, target in run["edges"]:
        takes[target].append(source)
    rows = {
        "calls": [[node["key"], node["line"], takes[node["key"]], node["looks"]] for node in run["nodes"]],
        "looks": [[look["key"], look["line"]] for look in run["looks"]],
        "returned": run["returned"],
    }
    return parse_trace(rows, {node["task"] for node in run["nodes"]})


def _children(nodes: Sequence[Mapping[str, Any]], state: State, name: str) -> "list[tuple[str, Execution]]":
    """The child of each launch, by the launch's name: a trace has them in the order of the attempts."""
    found = []
    for node in nodes:
        launches = [launch for launch in state.launches.values() if launch.task == node["key"]]
        for launch, child in zip(launches, node.get("children", ()), strict=False):
            again = f"#{launch.attempt}" if launch.attempt > 1 else ""
            found.append((launch.job, _execution(child, None, f"{name}/{node['key']}{again}")))
    return found
