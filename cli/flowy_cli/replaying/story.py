"""A run replayed, decision by decision: what the code called, what it waited for, and where it does something else."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flowy.wire import values
from flowy.wire.messages import Answer, AnsweredCall, Outcome
from flowy_cli.errors import Unreadable
from flowy_cli.replaying.decider import Decide
from flowy_cli.replaying.flow import flow_of
from flowy_cli.replaying.points import Point, points_of, seen_by_code
from flowy_cli.run import Run
from flowy_operator.core.conditions import Reason
from flowy_operator.core.history import Event, Restarted
from flowy_operator.core.request import decision_request, value_refs
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import State, apply


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """Where the code does something else than the history says. `line` is in the code that was replayed, where known."""

    line: int | None
    expected: str
    got: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One decision as it was replayed.

    `calls` are those that no earlier decision of this replay has listed. `held_back` are keys of those of them that are on no
    record by then. `surplus` are keys of calls that stand nowhere in the history, though it went on.
    """

    point: Point
    answer: Answer
    calls: Sequence[AnsweredCall]
    held_back: Sequence[str] = ()
    surplus: Sequence[str] = ()
    divergence: Divergence | None = None


LONG = 50_000
"""Records over all decisions of a run above which it is told from one replay (`flow.py`): the square of a long chain takes minutes."""


def story(
    run: Run, events: Sequence[Event], spec: WorkflowSpec, decide: Decide, *, recorded: WorkflowSpec | None = None
) -> Iterator[Step]:
    """Replay `spec` over the events of one run of it, up to the first divergence.

    `recorded` is the spec that the history was made with, if `spec` is another: it knows what was expected. Raises CliError,
    and HistoryInvalid for an older run that is none.
    """
    number = next((event.fact.run for event in events if isinstance(event.fact, Restarted)), 1)
    events = seen_by_code(events)
    points = points_of(events)
    state, folded = run.before(events), 0
    known: set[str] = set()
    ever = {getattr(event.fact, "task", "") for event in events}
    flow = None
    if sum(point.known for point in points) > LONG:
        whole = run.state if events[-1] is run.events[-1] else apply(state, events)
        _check_values(run, whole)
        flow = flow_of(decision_request(spec, whole, (), run.values), events, decide)
    for point in points:
        told = None if flow is None else flow.answer(point)
        if told is not None:
            answer = told
        else:
            state, folded = apply(state, events[folded : point.known]), point.known
            _check_values(run, state)
            answer = decide(decision_request(spec, state, (), run.values))
        calls = [call for call in answer.scheduled if call.key not in known]
        known |= {call.key for call in calls}
        step = Step(
            point=point,
            answer=answer,
            calls=calls,
            held_back=_held_back(point, calls),
            surplus=() if point.is_last or answer.more else [call.key for call in calls if call.key not in ever],
        )
        # What is told from one replay has been held against the history by it, up to its end.
        found = _divergence(run, number, point, answer) if told is None or point.is_last else None
        if found is not None:
            step = replace(step, divergence=_explained(found, run, state, decide, recorded))
        yield step
        if found is not None:
            return


def _check_values(run: Run, state: State) -> None:
    missing = [ref.name for ref in value_refs(state) if ref.name not in run.values]
    if missing:
        raise Unreadable(
            f"the ConfigMap {missing[0]}, which holds a long result, isn't in the file",
            f"`flowy export {run.name}` writes all that belongs to a run into one file",
        )


def _held_back(point: Point, calls: Sequence[AnsweredCall]) -> Sequence[str]:
    recorded = {getattr(event.fact, "task", "") for event in point.recorded}
    return [call.key for call in calls if call.key not in recorded]


@dataclass(frozen=True, slots=True)
class _Found:
    key: str | None
    divergence: Divergence


def _divergence(run: Run, number: int, point: Point, answer: Answer) -> _Found | None:
    if answer.outcome is Outcome.STALLED:
        error = answer.error or {}
        key = None if error.get("key") is None else str(error["key"])
        divergence = Divergence(
            line=_line(error.get("line")),
            expected=f"{key} as recorded: {error.get('recorded')}",
            got=_asked(key, answer),
        )
        return _Found(key, divergence)
    for event in point.recorded:
        if (found := _not_made(event, answer)) is not None:
            return found
    return _other_end(run, number, answer) if point.is_last else None


def _asked(key: str | None, answer: Answer) -> str:
    error = answer.error or {}
    asked = str(error.get("asked"))
    if asked == "not reached":
        return str(error.get("message", "")).partition(": ")[2].partition("; recorded")[0] or asked
    return f"{key}: {asked}"


def _not_made(event: Event, answer: Answer) -> _Found | None:
    """The call of this record, if the decision before it doesn't make it, or makes another of that key."""
    fact = event.fact
    key, digest, line = fact.task, fact.digest, fact.line  # type: ignore[union-attr]
    call = next((call for call in answer.scheduled if call.key == key), None)
    if call is None and answer.more:
        return None
    if call is not None and call.digest == digest:
        return None
    expected = f"{key} as recorded: digest {digest}, line {line}"
    if call is not None:
        return _Found(key, Divergence(line=call.line, expected=expected, got=shown(call)))
    return _Found(key, Divergence(line=end_line(answer), expected=expected, got=end_of(answer)))


def end_of(answer: Answer) -> str:
    """How a decision ended, in words."""
    match answer.outcome:
        case Outcome.SUSPENDED:
            waits = ", ".join(wait.key for wait in answer.waiting_on) or "nothing"
            return f"the code waits for {waits}"
        case Outcome.COMPLETED:
            return f"the code returned {answer.result}"
        case Outcome.RESTARTED:
            return f"the code returned restart(…) with {answer.restart}"
        case Outcome.FAILED | Outcome.STALLED:
            error = answer.error or {}
            return f"the code failed with {error.get('type')}: {error.get('message')}"


def end_line(answer: Answer) -> int | None:
    if answer.outcome is Outcome.SUSPENDED:
        return next((wait.line for wait in answer.waiting_on), None)
    return _line((answer.error or {}).get("line"))


def _line(value: object) -> int | None:
    return value if isinstance(value, int) else None


def shown(call: AnsweredCall) -> str:
    """A call as it would stand in code, its arguments as JSON."""
    given: Any = values.decode(call.arguments)
    parts = [values.encode_plain(arg) for arg in given["args"]]
    parts += [f"{name}={values.encode_plain(value)}" for name, value in given["kwargs"].items()]
    return f"{call.key}({', '.join(parts)})"


def _other_end(run: Run, number: int, answer: Answer) -> _Found | None:
    """Whether the last decision ends otherwise than the run has ended, as far as the code had a say in that."""
    expected, got = _recorded_end(run, number), end_of(answer)
    if expected in {None, got}:
        return None
    return _Found(None, Divergence(line=end_line(answer), expected=str(expected), got=got))


def _recorded_end(run: Run, number: int) -> str | None:
    """How the code ended run `number`, in the words of `end_of`; None if it didn't, or its end doesn't count."""
    following = dict(run.runs()).get(number + 1)
    if following:
        fact = following[0].fact
        return f"the code returned restart(…) with {fact.input}" if isinstance(fact, Restarted) else None
    match run.reason:
        case Reason.COMPLETED:
            return f"the code returned {run.status.get('result', 'null')}"
        case Reason.FAILED | Reason.INVALID_CODE:
            error = run.status.get("error") or {}
            return f"the code failed with {error.get('type')}: {error.get('message')}"
        case _:
            return None


def _explained(found: _Found, run: Run, state: State, decide: Decide, recorded: WorkflowSpec | None) -> Divergence:
    """With the code that the history was made with, what it called there can be told instead of a digest."""
    if recorded is None or found.key is None:
        return found.divergence
    request = decision_request(recorded, state, (found.key,), run.values)
    told = decide(request)
    call = next((call for call in [*told.scheduled, *told.repeated] if call.key == found.key), None)
    return found.divergence if call is None else replace(found.divergence, expected=f"{shown(call)}, line {call.line}")
