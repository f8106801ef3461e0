"""How a workflow ends: what becomes of the tasks that are still open, and the ends that need no code.

`spec.onEnd` is for tasks that the code left behind. An end that comes from outside (`workflowSeconds`, `stop: Terminate`,
a clean-up that takes too long) always cancels: whoever says how long a workflow may take doesn't mean "and its tasks
longer".
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from flowy.policy.lengths import WAY_OUT, refused_end
from flowy.wire.messages import Answer, AnsweredWait, ErrorObject, Outcome, Phase
from flowy_operator.core.admission import admit
from flowy_operator.core.conditions import Reason
from flowy_operator.core.history import CancelReason, Fact, Restarted, StopMode, TaskCancelled
from flowy_operator.core.observe import Launching
from flowy_operator.core.pages import EVENT_BYTES, first_portion, quoted_bytes
from flowy_operator.core.spec import OnEnd, WorkflowSpec
from flowy_operator.core.state import State, Task, place
from flowy_operator.core.stop import cancel_deadline, requested
from flowy_operator.core.verdict import End, Verdict

_SHOWN_KEYS = 10
_BY_THE_END = (CancelReason.WORKFLOW_ENDED, CancelReason.ABANDONED)


def after_the_code(spec: WorkflowSpec, state: State, answer: Answer, now: datetime, launching: Launching) -> Verdict:
    """What follows once the code has returned, raised or asked for another run."""
    unfinished = list(state.unfinished())
    if spec.on_end is OnEnd.WAIT and unfinished:
        # The code is asked again at each outcome. It says the same, but for the errors that it ignores.
        admission = admit(spec, state, (), now, launching)
        waits = [AnsweredWait(key=task.key, line=task.line) for task in unfinished]
        return Verdict(facts=admission.facts, waiting_on=waits, held_back=admission.held_back, finishing=True)
    reason = CancelReason.ABANDONED if spec.on_end is OnEnd.ABANDON else CancelReason.WORKFLOW_ENDED
    left_behind = cancel_unfinished(state, reason)
    too_long = _too_long(answer)
    if too_long is not None:
        return Verdict(facts=left_behind, end=End(reason=Reason.FAILED, error=too_long))
    if answer.outcome is Outcome.RESTARTED and _may_restart(spec, state):
        return Verdict(facts=[*left_behind, Restarted(run=state.run + 1, input=answer.restart or spec.input)])
    return Verdict(facts=left_behind, end=_end(state, answer))


def end_without_code(spec: WorkflowSpec, state: State, started_at: datetime, now: datetime) -> Verdict | None:
    """The end that comes whatever the code would say, if it is time for one. `started_at` is that of the first run."""
    if spec.stop is StopMode.TERMINATE:
        stop = state.stop
        since = stop.at if stop is not None and stop.mode is StopMode.TERMINATE else now
        return _terminate(spec, state, "spec.stop is Terminate", since)
    end_at = workflow_deadline(spec, started_at)
    if end_at is not None and end_at <= now:
        return time_out(spec, state)
    cancel_until = cancel_deadline(spec, state)
    if cancel_until is not None and cancel_until <= now:
        why = f"the code had not ended {spec.cancel_timeout_s} s after spec.stop: Cancel (timeouts.cancelSeconds)"
        return _terminate(spec, state, why, cancel_until)
    return None


def workflow_deadline(spec: WorkflowSpec, started_at: datetime) -> datetime | None:
    """When the workflow's own timeout passes; it spans all runs."""
    return None if spec.workflow_timeout_s is None else started_at + timedelta(seconds=spec.workflow_timeout_s)


def time_out(spec: WorkflowSpec, state: State) -> Verdict:
    """The end by the workflow's own timeout: no code runs any more."""
    why = f"the workflow was still open after {spec.workflow_timeout_s} s (timeouts.workflowSeconds)"
    reason = CancelReason.WORKFLOW_ENDED
    error = {"type": "WorkflowTimedOut", "message": why + _unfinished_keys(state, reason)}
    facts = cancel_unfinished(state, reason)
    return Verdict(facts=facts, end=End(reason=Reason.TIMED_OUT, error=error))


def cancel_unfinished(state: State, reason: CancelReason) -> list[TaskCancelled]:
    """The end of every task on record that has none yet."""
    return [TaskCancelled(task=task.key, attempt=task.attempt, reason=reason) for task in state.unfinished()]


def within_one_write(verdict: Verdict, state: State, now: datetime) -> Verdict:
    """The verdict, or the first portion of an end that cancels more tasks than one write takes.

    `state` is the one that it follows upon. The rest is for the next passes. The code is asked anew for each, and comes to
    the same: it had ended without having looked at any of these tasks.
    """
    facts = verdict.facts
    if verdict.end is None and not any(isinstance(fact, Restarted) for fact in facts):
        return verdict
    portion = first_portion(facts, place(state, facts, now))
    return verdict if portion == len(facts) else Verdict(facts=facts[:portion], cut=True, ending=True)


def _terminate(spec: WorkflowSpec, state: State, why: str, since: datetime) -> Verdict:
    """`since`: from then on this end cancels; what a stop by Cancel did before, the code was told of."""
    reason = CancelReason.STOP_REQUESTED
    error = {"type": "WorkflowTerminated", "message": why + _unfinished_keys(state, reason, since)}
    facts: list[Fact] = [*requested(spec, state), *cancel_unfinished(state, reason)]
    return Verdict(facts=facts, end=End(reason=Reason.TERMINATED, error=error))


def _too_long(answer: Answer) -> ErrorObject | None:
    """Why what the code ended with can't be kept: it stands in the object, and no later decision would make it shorter."""
    refused = refused_end(answer)
    quoted = 0 if answer.restart is None else quoted_bytes(answer.restart)
    if refused is not None or quoted <= EVENT_BYTES:
        return refused
    # Shorter than that, but of quotes and letters that JSON writes with more bytes.
    message = f"restart() was given what takes {quoted:,} bytes in the history, at most {EVENT_BYTES:,} fit: {WAY_OUT}"
    return {"type": "RestartTooLong", "message": message}


def _may_restart(spec: WorkflowSpec, state: State) -> bool:
    """Whether another run may begin. A stop that the code has been told of ends it instead.

    One that has only just been asked for waits for the new run, which is told at its first barrier: what is to be undone may
    have travelled in its input. But a run that restarts without having waited for anything would never be told.
    """
    return state.stop is None and (spec.stop is None or state.finished > 0)


def _end(state: State, answer: Answer) -> End:
    # An end that takes several writes has cancelled tasks before the code was asked for the last time.
    ignored = tuple(error for error in answer.ignored_errors if error.get("reason") not in _BY_THE_END)
    match answer.outcome:
        case Outcome.COMPLETED:
            return End(reason=Reason.COMPLETED, result=answer.result, ignored_errors=ignored)
        case Outcome.RESTARTED:
            message = "the code returned restart(...) though spec.stop is set: no new run begins"
            error = {"type": "WorkflowCancelled", "message": message}
            return End(reason=Reason.CANCELLED, error=error, ignored_errors=ignored)
        case _:
            return End(reason=_why_failed(state, answer), error=answer.error, ignored_errors=ignored)


def _why_failed(state: State, answer: Answer) -> Reason:
    if answer.phase is Phase.LOAD:
        return Reason.INVALID_CODE
    if state.stop is not None and (answer.error or {}).get("type") == "TaskCancelled":
        return Reason.CANCELLED
    return Reason.FAILED


def _unfinished_keys(state: State, reason: CancelReason, since: datetime | None = None) -> str:
    """The tasks that this end finds open, those with it that it has cancelled in earlier writes: for this reason, since then."""
    keys: Sequence[str] = [task.key for task in state.tasks.values() if _is_ended_by_it(task, reason, since)]
    if not keys:
        return ""
    return f"; unfinished: {', '.join(keys[:_SHOWN_KEYS])}" + (" and more" if len(keys) > _SHOWN_KEYS else "")


def _is_ended_by_it(task: Task, reason: CancelReason, since: datetime | None) -> bool:
    if not isinstance(task.final, TaskCancelled):
        return task.final is None
    is_late = since is None or (task.finished_at is not None and task.finished_at >= since)
    return task.final.reason is reason and is_late
