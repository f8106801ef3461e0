"""A run as it was read, from the cluster or from a file -> what pictures show of it and of its sub-workflows.

What went into which call stands in no history: the code is replayed for it. Where it runs is the caller's business, since
it is somebody else's code. Without a replay a picture has all calls, and no arrows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, auto

from flowy.wire.messages import Answer, Request
from flowy_cli.errors import CliError, Unreadable
from flowy_cli.pictures.begun import spec_of_begun
from flowy_cli.pictures.calls import calls_of
from flowy_cli.pictures.execution import Execution, Look, Standing
from flowy_cli.replaying.flow import ARGUMENTS_BYTES, calls_of_all
from flowy_cli.run import Run
from flowy_cli.sources import events_of
from flowy_operator.core.conditions import Reason
from flowy_operator.core.definition import Reference
from flowy_operator.core.history import Event
from flowy_operator.core.request import decision_request, value_refs
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import State, apply

Replay = Callable[[Request], Answer]
"""Answers a traced request. Raises CliError where it can't or may not: the picture then says why it has no arrows."""


class Detail(Enum):
    """How much is read: the arguments of a thousand calls take a replay of their own."""

    SHAPE = auto()
    ARGUMENTS = auto()


def execution_of(
    run: Run, *, now: datetime, replay: Replay, number: int | None = None, detail: Detail = Detail.ARGUMENTS
) -> Execution:
    """What there is to draw of a run: of its last one, or of number `number` where the code has restarted.

    Raises NotThere if nothing is known of that one, HistoryInvalid where the history isn't one that the operator wrote.
    """
    events = events_of(run, number)
    newest = int(run.status.get("run", 1))
    chosen = newest if number is None else number
    state = run.state if chosen == newest else apply(run.before(events), events)
    spec, unknown = _spec(run, state)
    replayed = _Replayed(flow=unknown) if unknown else _replayed(spec, state, run.values, replay, detail)
    answer = replayed.answer
    trace = None if answer is None else answer.trace

    def child(launch: str) -> Execution | None:
        found = run.children.get(launch)
        return None if found is None else execution_of(found, now=now, replay=replay, detail=detail)

    is_newest = chosen == newest
    return Execution(
        namespace=run.namespace,
        name=run.name,
        number=state.run,
        standing=_standing(run) if is_newest else Standing.SUCCEEDED,
        reason=_reason(run) if is_newest else f"Restarted: run {state.run + 1} followed",
        started_at=state.started_at,
        until=run.until(now) if is_newest else state.last_time or now,
        calls=calls_of(spec, state, events, trace, replayed.arguments, run.values, child),
        looks=() if trace is None else tuple(Look(look.key, look.line) for look in trace.looks),
        returned=() if trace is None else trace.returned,
        waiting_on={} if answer is None else {wait.key: wait.line for wait in answer.waiting_on},
        decisions=decisions_of(events),
        arguments=state.input if state.input is not None else spec.input,
        result=run.status.get("result") if is_newest else None,
        source=spec.source,
        flow=replayed.flow,
    )


def _spec(run: Run, state: State) -> tuple[WorkflowSpec, str]:
    """The spec, and what is unknown of it: then only the names of its tasks are there."""
    try:
        return spec_of_begun(run), ""
    except Unreadable as error:
        return Reference(name="").alone(state), error.message


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replayed:
    """What replays told: the answer, if there is one, the arguments of all calls by key, and why arrows are missing."""

    answer: Answer | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    flow: str = ""


def _replayed(spec: WorkflowSpec, state: State, values: Mapping[str, str], replay: Replay, detail: Detail) -> _Replayed:
    for ref in value_refs(state):
        if ref.name not in values:
            reason = f"the long result in the ConfigMap {ref.name} isn't at hand, so the code can't be replayed"
            return _Replayed(flow=reason)
    request = replace(decision_request(spec, state, (), values), max_bytes=ARGUMENTS_BYTES)
    try:
        answer = replay(replace(request, traced=True))
        calls = {} if detail is Detail.SHAPE else calls_of_all(request, answer, replay)
    except CliError as error:
        return _Replayed(flow=error.message)
    reached = {call.key for call in answer.trace.calls} if answer.trace is not None else set()
    flow = ""
    if answer.error is not None and not reached.issuperset(state.tasks):
        flow = f"the replay went no further than line {answer.error.get('line')}: {answer.error.get('message')}"
    arguments = {key: call.arguments for key, call in calls.items()}
    return _Replayed(answer=answer, arguments=arguments, flow=flow)


def _standing(run: Run) -> Standing:
    match run.succeeded.get("status"), run.reason:
        case "True", _:
            return Standing.SUCCEEDED
        case "False", Reason.TIMED_OUT:
            return Standing.TIMED_OUT
        case "False", Reason.CANCELLED | Reason.TERMINATED:
            return Standing.CANCELLED
        case "False", _:
            return Standing.FAILED
        case _:
            return Standing.RUNNING


def _reason(run: Run) -> str:
    message = run.succeeded.get("message")
    return f"{run.reason}: {message}" if message else run.reason


def decisions_of(events: Sequence[Event]) -> list[datetime]:
    """When the code moved on: what one decision called has one time."""
    return sorted({event.time for event in events if getattr(event.fact, "digest", None) is not None})
