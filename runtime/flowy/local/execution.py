"""One workflow as it runs here: when its code decides, what an answer means, how a stop reaches the code, how it ends.

What becomes of the calls that it makes is in `attempts.py`; when the next thing happens is the engine's business.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from flowy.errors import ErrorObject
from flowy.local.around import Around
from flowy.local.attempts import Attempts, in_one_line
from flowy.local.call import Call
from flowy.local.edges import edges_of
from flowy.local.history import History
from flowy.local.launch import Completed, Failed, Outcome, TimedOut
from flowy.local.plan import Decided, OnEnd, Plan, Question
from flowy.policy.lengths import refused_end
from flowy.wire.messages import Answer, AnsweredCall, RecordState, Trace
from flowy.wire.messages import Outcome as Answered
from flowy.wire.messages import Phase as CodePhase
from flowy.wire.values import encode_plain


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a workflow ended: `result` is JSON text, or `error` says why there is none.

    `is_final`: another attempt would end the same. `timed_out`: by the workflow's own time.
    """

    outcome: str
    result: str | None = None
    error: ErrorObject | None = None
    ignored_errors: Sequence[ErrorObject] = ()
    is_final: bool = False
    timed_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """A run that is over: its last event, its calls, and how results flowed in it, for the trace."""

    number: int
    last_event: int
    calls: Sequence[Call]
    edges: Sequence[tuple[str, str]] = ()
    flow: Trace = field(default_factory=Trace)


class Execution:
    """One workflow. `uid` is its identity, `parent` the call whose attempt it is.

    `arguments` is the input of its first run, `input` that of the current one.
    """

    def __init__(
        self, around: Around, plan: Plan, arguments: str, *, uid: str, path: str = "", parent: Call | None = None
    ) -> None:
        self.plan = plan
        self.uid = uid
        self.path = path
        self.parent = parent
        self.depth: int = 0 if parent is None else parent.execution.depth + 1
        self.attempt = 1 if parent is None else parent.attempt
        self.arguments = self.input = arguments
        self.run = 1
        self.end: End | None = None
        self.begun_at = self.started_at = around.now()
        self.ended_at: datetime | None = None
        self.log: Sequence[str] = ()
        self.decisions = 0
        self.past: list[PastRun] = []
        self.children: list[Execution] = []
        self.tracebacks: dict[str, str] = {}
        watcher = around.watcher
        self.history = History(None if watcher is None else partial(watcher.happened, path))
        self.attempts = Attempts(self, around)
        self._around = around
        self._decided: Decided | None = None
        self._ready: list[AnsweredCall] = []  # not recorded yet
        self._flow = Trace()
        self._edges: Sequence[tuple[str, str]] = ()
        self._asks = True  # whether the code could get further
        self._is_finishing = False
        self._is_stop_asked = False
        self._is_stopping = False
        if plan.workflow_timeout_s is not None:
            around.at(self.started_at + timedelta(seconds=plan.workflow_timeout_s), self._time_out)
        around.touch(self)

    def traceback_of(self, error: ErrorObject) -> str | None:
        """Where the error arose, for eyes: in the activity if that is known, else in the workflow's code."""
        found = self.tracebacks.get(str(error.get("task")), error.get("traceback"))
        return None if found is None else str(found)

    # -- steps -----------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Decide if the code could get further, and launch what has room."""
        while self.end is None:
            if self._asks:
                self._asks = False
                self._decide()
            else:
                self._admit()
            if not self._asks:
                return

    def stop(self) -> None:
        """Somebody wants it to end: tell the code, which may clean up. The second time it ends at once."""
        if not self._is_stop_asked:
            self._is_stop_asked = True
            self.step()  # only the code knows which calls are held back; nothing is launched meanwhile
        if self.end is not None:
            return
        now = self._around.now()
        if self._is_stopping:
            self.history.append(now, "StopRequested", mode="Terminate")
            self._terminate("it was stopped twice")
            return
        self._is_stopping = True
        self.history.append(now, "StopRequested", mode="Cancel")
        self.attempts.cancel_unfinished("StopRequested")
        self.attempts.cancel_held_back(self._ready, "StopRequested")
        self._ready = []
        self._around.at(now + timedelta(seconds=self.plan.cancel_timeout_s), self._grace_over)
        self._ask()

    def terminate(self, why: str) -> None:
        """End without the code, and without telling the parent: nobody wants it any more."""
        if self.end is None:
            self.history.append(self._around.now(), "StopRequested", mode="Terminate")
            self.attempts.cancel_unfinished("StopRequested")
            error = {"type": "WorkflowTerminated", "message": f"nobody waits for it any more: {why}"}
            self._close(End(outcome="terminated", error=error))

    # -- decisions ---------------------------------------------------------------------------------------------------

    def _decide(self) -> None:
        self.decisions += 1
        self._decided = decided = self.plan.code.decide(self._question())
        answer = decided.answer
        self.log = answer.log
        match answer.outcome:
            case Answered.SUSPENDED:
                self._ready = list(answer.scheduled) if decided.continuation is None else decided.continuation.ready
                if self._around.watcher is not None:
                    self._around.watcher.waits(self.path, answer.waiting_on)
                self._admit()
                if answer.more and not self._ready:
                    self._asks = True
                if not self._asks and not self.attempts.unfinished and not self._ready:
                    raise RuntimeError(f"{self.plan.name} waits for nothing: {answer.waiting_on}")
            case Answered.STALLED:
                # There is nobody who could change the code under a local run.
                self._end(End(outcome="failed", error=answer.error, is_final=True))
            case _:
                self._follow_results()
                self._after_the_code(answer)

    def _question(self) -> Question:
        return Question(
            input=self.input,
            records=[call.record for call in self.attempts.calls.values()],
            seed=f"{self.uid}/{self.run}",
            started_at=self.started_at.timestamp(),
        )

    def _follow_results(self) -> None:
        """Ask the code once more whose results went where, and what it looked at: at its end, before others are cancelled."""
        question = replace(self._question(), traced=True)
        self._flow = self.plan.code.decide(question).answer.trace or Trace()
        self._edges = edges_of(self._flow, question.records)

    def _after_the_code(self, answer: Answer) -> None:
        self._ready = []
        if self.plan.on_end is OnEnd.WAIT and self.attempts.unfinished:
            self._is_finishing = True
            self._admit()
            return
        self.attempts.cancel_unfinished("Abandoned" if self.plan.on_end is OnEnd.ABANDON else "WorkflowEnded")
        ignored = answer.ignored_errors
        too_long = refused_end(answer)
        if too_long is not None:
            self._end(End(outcome="failed", error=too_long, ignored_errors=ignored, is_final=True))
            return
        match answer.outcome:
            case Answered.COMPLETED:
                self._end(End(outcome="completed", result=answer.result, ignored_errors=ignored))
            # A run that restarts without having waited for anything would never be told of the stop.
            case Answered.RESTARTED if self._is_stopping or (self._is_stop_asked and not self.attempts.finished):
                message = "the code returned restart(...) though the run was stopped: no new run begins"
                error = {"type": "WorkflowCancelled", "message": message}
                self._end(End(outcome="cancelled", error=error, ignored_errors=ignored))
            case Answered.RESTARTED:
                self._restart(answer)
            # As the operator has it, whichever task it was of.
            case _ if self._is_stopping and (answer.error or {}).get("type") == "TaskCancelled":
                self._end(End(outcome="cancelled", error=answer.error, ignored_errors=ignored))
            case _:
                is_final = answer.phase is CodePhase.LOAD
                self._end(End(outcome="failed", error=answer.error, ignored_errors=ignored, is_final=is_final))

    def _restart(self, answer: Answer) -> None:
        assert answer.restart is not None
        self._keep_run()
        self.run += 1
        self.input = answer.restart
        self.started_at = self._around.now()
        self.history.append(self.started_at, "Restarted", run=self.run, input=self.input)
        self.attempts = Attempts(self, self._around)
        self._is_finishing = False
        self._ask()

    def _keep_run(self) -> None:
        calls = list(self.attempts.calls.values())
        last_event = len(self.history.events)
        past = PastRun(number=self.run, last_event=last_event, calls=calls, edges=self._edges, flow=self._flow)
        self.past.append(past)
        self._flow, self._edges = Trace(), ()

    def _admit(self) -> None:
        # While a stop is on its way to the code nothing new begins.
        if self._is_stopping or not self._is_stop_asked:
            self.attempts.admit(self._ready)

    def on_final(self, call: Call) -> None:
        """A call has its final outcome: whether the code could get further with it."""
        if self._is_finishing:
            self._asks = self._asks or not self.attempts.unfinished
        elif not self._asks:
            goes_on = None if self._decided is None else self._decided.continuation
            has_completed = call.record.state is RecordState.COMPLETED
            self._asks = not has_completed or goes_on is None or not goes_on.goes_on(call.record)
        self._around.touch(self)

    def _ask(self) -> None:
        self._asks = True
        self._around.touch(self)

    def _time_out(self) -> None:
        if self.end is None:
            why = f"the workflow was still open after {self.plan.workflow_timeout_s} s (timeouts.workflowSeconds)"
            self._end_without_code("WorkflowTimedOut", why, "WorkflowEnded", timed_out=True)

    def _grace_over(self) -> None:
        if self.end is None:
            self._terminate(
                f"the code had not ended {self.plan.cancel_timeout_s} s after the stop (timeouts.cancelSeconds)"
            )

    def _terminate(self, why: str) -> None:
        self._end_without_code("WorkflowTerminated", why, "StopRequested", timed_out=False)

    # -- ends --------------------------------------------------------------------------------------------------------

    def _end_without_code(self, kind: str, why: str, reason: str, *, timed_out: bool) -> None:
        self._follow_results()
        unfinished = ", ".join(self.attempts.unfinished)
        message = f"{why}; unfinished: {in_one_line(unfinished)}" if unfinished else why
        self.attempts.cancel_unfinished(reason)
        self._end(End(outcome="failed", error={"type": kind, "message": message}, timed_out=timed_out))

    def _end(self, end: End) -> None:
        self._close(end)
        if self.parent is not None and self.parent.child is self:
            self.parent.attempts.ended(self.parent, _seen_by_parent(self, end))

    def _close(self, end: End) -> None:
        self._keep_run()
        self.end = end
        self.ended_at = self._around.now()
        self._ready, self._asks = [], False


def _seen_by_parent(child: Execution, end: End) -> Outcome:
    """The child's end as an outcome of its parent's attempt: the error as it is, but for where it arose."""
    if end.result is not None:
        return Completed(end.result)
    if end.timed_out:
        return TimedOut()
    error = end.error or {}
    details = error.get("details")
    exit_code = error.get("exitCode")
    return Failed(
        type=str(error.get("type", "Error")),
        message=str(error.get("message", "")),
        exit_code=exit_code if isinstance(exit_code, int) else None,
        details=None if details is None else encode_plain(details),
        retryable=not end.is_final,
        traceback=child.traceback_of(error),
    )
