"""What the end of a replay means: stalled over everything, then the first end that was latched or reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flowy.replay.barrier import Completed, Deviated, End, Failed, Restarted, Suspended
from flowy.replay.deviation import deviation, shown
from flowy.replay.needs import needs_of
from flowy.replay.result import Pending
from flowy.replay.run import Run
from flowy.replay.source import limited
from flowy.wire.keys import number_of, task_of
from flowy.wire.messages import Answer, AnsweredCall, AnsweredWait, Outcome, Phase, Record

_OUTCOMES = {Completed: Outcome.COMPLETED, Restarted: Outcome.RESTARTED, Failed: Outcome.FAILED}
_MAX_NAMED = 10  # unreached keys that a message names


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, and the calls behind the keys that it drops."""

    answer: Answer
    dropped: Sequence[AnsweredCall] = ()


def verdict(run: Run) -> Verdict:
    """Judge a replay whose code has stopped."""
    judged = _judged(run)
    if run.tracer is None:
        return judged
    return Verdict(replace(judged.answer, trace=run.tracer.trace()), judged.dropped)


def _judged(run: Run) -> Verdict:
    end = run.end
    assert end is not None
    log = run.log.lines()
    phase = end.phase if isinstance(end, Failed) else Phase.RUN
    if isinstance(end, Deviated):
        return Verdict(Answer(outcome=Outcome.STALLED, error=end.error, log=log))
    if run.reached < len(run.records):
        unreached = [record for record in run.records if not _is_reached(record, run.counters)]
        return Verdict(Answer(outcome=Outcome.STALLED, error=_not_reached(unreached, end), phase=phase, log=log))
    if isinstance(end, Suspended):
        answer = Answer(
            outcome=Outcome.SUSPENDED,
            scheduled=tuple(run.calls),
            repeated=tuple(run.repeated),
            more=run.more,
            waiting_on=_waiting_on(end),
            needs=needs_of(run),
            log=log,
        )
        return Verdict(answer)
    ignored = [
        failure.error for failure in sorted(run.failures, key=lambda failure: failure.rank) if not failure.observed
    ]
    answer = Answer(
        outcome=_OUTCOMES[type(end)],
        repeated=tuple(run.repeated),
        result=end.result if isinstance(end, Completed) else None,
        restart=end.arguments if isinstance(end, Restarted) else None,
        error=end.error if isinstance(end, Failed) else None,
        phase=phase,
        dropped=tuple(call.key for call in run.calls),
        ignored_errors=tuple(ignored),
        log=log,
    )
    return Verdict(answer, run.calls)


def _is_reached(record: Record, counters: Mapping[str, int]) -> bool:
    return number_of(record.key) < counters.get(task_of(record.key), 0)


def _waiting_on(end: Suspended) -> tuple[AnsweredWait, ...]:
    """Find the open tasks that the barrier depends on, in call order."""
    found: dict[int, Pending] = {}
    ahead = list(end.pending)
    # By identity: states have no equality, and the ids only tell them apart.
    seen = {id(state) for state in ahead}
    while ahead:
        state = ahead.pop()
        if state.turn is not None:
            found[state.turn] = state
            continue
        for inner in state.waits_for:
            if id(inner) not in seen:
                seen.add(id(inner))
                ahead.append(inner)
    return tuple(
        AnsweredWait(key=state.key, line=state.line if end.line is None else end.line)
        for _, state in sorted(found.items())
    )


def _not_reached(unreached: Sequence[Record], end: End) -> dict[str, object]:
    """Give the error of a stall: the code stopped before it came to calls that an earlier decision made."""
    where, line = _where_it_stopped(end)
    names = ", ".join(record.key for record in unreached[:_MAX_NAMED])
    if len(unreached) > _MAX_NAMED:
        names += f" and {len(unreached) - _MAX_NAMED} more"
    error = deviation(unreached[0], "not reached", line)
    error["message"] = limited(
        f"{names} not reached: {where}; recorded {error['recorded']} for {unreached[0].key}, "
        f"the code stopped at line {shown(line)}. "
        "The code has changed since, or depends on something outside of its input and its results"
    )
    return error


def _where_it_stopped(end: End) -> tuple[str, int | None]:
    match end:
        case Suspended(_, None):
            return "the code returned a pending result", None
        case Suspended(_, line):
            return f"the code waits at line {line}", line
        case Failed(error, line):
            return f"the code failed with {error['type']}: {error['message']}", line
        case Restarted():
            return "the code returned restart(...)", None
        case _:
            return "the code returned", None
