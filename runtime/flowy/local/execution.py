"""One workflow as it runs here: decisions, attempts and what follows from their ends, as the operator's core has it.

Calls are recorded in the history before they are launched, in the order of the code. What follows a failure or a timer, the
policies in `flowy.policy` say. When the next thing happens is the engine's business.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from flowy.errors import ErrorObject
from flowy.local.call import Call, Phase, error_of_cancelling, error_of_failure, error_of_timeout
from flowy.local.edges import edges_of
from flowy.local.history import EventJson, History
from flowy.local.launch import Completed, Failed, Launch, Outcome, TimedOut
from flowy.local.plan import Decided, OnEnd, Plan, Question
from flowy.policy.retry import RetryAfter, RetryWhen, after_failure, delay_before, ended_by
from flowy.policy.timeout import TimeoutSpec, Timer
from flowy.wire.messages import Answer, AnsweredCall, AnsweredWait, RecordState
from flowy.wire.messages import Outcome as Answered
from flowy.wire.messages import Phase as CodePhase
from flowy.wire.values import encode_plain

_SHOWN_CHARS = 300
_NO_TIMEOUTS = TimeoutSpec()


class Watcher(Protocol):
    """Who is told how a run goes. `path` names the workflow: empty for the outermost, else `step-0`, `step-0/deeper-1`."""

    def happened(self, path: str, event: EventJson) -> None:
        """An event was recorded."""

    def started(self, path: str, task: str, attempt: int) -> None:
        """A worker has begun with an attempt."""

    def waits(self, path: str, waiting_on: Sequence[AnsweredWait]) -> None:
        """The code waits for these tasks."""


class Around(Protocol):
    """What an execution needs of the engine."""

    watcher: Watcher | None

    def now(self) -> datetime: ...

    def at(self, when: datetime, fire: Callable[[], None]) -> None:
        """Call `fire` when it is time."""

    def touch(self, execution: "Execution") -> None:
        """Let it make its next step soon."""

    def launch(self, launch: Launch) -> None: ...

    def withdraw(self, launch: Launch, why: str) -> None: ...

    def child(self, call: Call, plan: Plan) -> "Execution | Failed":
        """Begin a sub-workflow, or say why that can't be."""


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
    """A run that is over: its last event, its calls and edges, for the trace."""

    number: int
    last_event: int
    calls: Sequence[Call]
    edges: Sequence[tuple[str, str]]


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
        self.calls: dict[str, Call] = {}
        self.past: list[PastRun] = []
        self.children: list[Execution] = []
        self.tracebacks: dict[str, str] = {}
        watcher = around.watcher
        self.history = History(None if watcher is None else partial(watcher.happened, path))
        self._around = around
        self._decided: Decided | None = None
        self._ready: list[AnsweredCall] = []  # not recorded yet
        self._due: dict[str, Call] = {}  # attempts whose time has come, and which have no room yet
        self._open = 0
        self._edges: Sequence[tuple[str, str]] = ()
        self._unfinished: dict[str, Call] = {}
        self._finished = 0
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
        self._cancel_unfinished("StopRequested")
        for answered in self._ready:
            call = self._call_of(answered, now)
            self._unfinished[call.key] = call
            self._cancel(call, "StopRequested", digest=answered.digest, line=answered.line)
        self._ready = []
        self._around.at(now + timedelta(seconds=self.plan.cancel_timeout_s), self._grace_over)
        self._ask()

    def terminate(self, reason: str) -> None:
        """End without the code, and without telling the parent: nobody wants it any more."""
        if self.end is None:
            self._cancel_unfinished(reason)
            error = {"type": "WorkflowTerminated", "message": f"nobody waits for it any more: {reason}"}
            self._close(End(outcome="terminated", error=error))

    # -- decisions ---------------------------------------------------------------------------------------------------

    def _decide(self) -> None:
        self.decisions += 1
        question = Question(
            input=self.input,
            records=[call.record for call in self.calls.values()],
            seed=f"{self.uid}/{self.run}",
            started_at=self.started_at.timestamp(),
        )
        self._decided = decided = self.plan.code.decide(question)
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
                if not self._asks and not self._unfinished and not self._ready:
                    raise RuntimeError(f"{self.plan.name} waits for nothing: {answer.waiting_on}")
            case Answered.STALLED:
                # There is nobody who could change the code under a local run.
                self._end(End(outcome="failed", error=answer.error, is_final=True))
            case _:
                traced = self.plan.code.decide(replace(question, traced=True)).answer.trace
                self._edges = () if traced is None else edges_of(traced, question.records)
                self._after_the_code(answer)

    def _after_the_code(self, answer: Answer) -> None:
        self._ready = []
        if self.plan.on_end is OnEnd.WAIT and self._unfinished:
            self._is_finishing = True
            self._admit()
            return
        self._cancel_unfinished("Abandoned" if self.plan.on_end is OnEnd.ABANDON else "WorkflowEnded")
        ignored = answer.ignored_errors
        match answer.outcome:
            case Answered.COMPLETED:
                self._end(End(outcome="completed", result=answer.result, ignored_errors=ignored))
            # A run that restarts without having waited for anything would never be told of the stop.
            case Answered.RESTARTED if self._is_stopping or (self._is_stop_asked and not self._finished):
                message = "the code returned restart(...) though the run was stopped: no new run begins"
                error = {"type": "WorkflowCancelled", "message": message}
                self._end(End(outcome="cancelled", error=error, ignored_errors=ignored))
            case Answered.RESTARTED:
                self._restart(answer)
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
        self.calls, self._finished, self._is_finishing = {}, 0, False
        self._ask()

    def _keep_run(self) -> None:
        calls = list(self.calls.values())
        self.past.append(PastRun(number=self.run, last_event=len(self.history.events), calls=calls, edges=self._edges))
        self._edges = ()

    def _ask(self) -> None:
        self._asks = True
        self._around.touch(self)

    # -- attempts ----------------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Launch as long as there is room: retries that are due, then new calls, the earliest first."""
        if self._is_stop_asked and not self._is_stopping:
            return
        now = self._around.now()
        while self._due and self._open < self.plan.parallelism:
            key, call = next(iter(self._due.items()))
            del self._due[key]
            self._schedule(call, now)
        taken = 0
        for answered in self._ready:
            if self._open >= self.plan.parallelism or self.end is not None:
                break
            taken += 1
            call = self._call_of(answered, now)
            self._unfinished[call.key] = call
            delay_s = delay_before(call.plan.retry, 1, self._seed(call))
            if delay_s:
                self._wait(call, now, delay_s)
            else:
                self._schedule(call, now)
        del self._ready[:taken]

    def _call_of(self, answered: AnsweredCall, now: datetime) -> Call:
        call = self.calls[answered.key] = Call(self, answered, self.plan.tasks[answered.task], now)
        return call

    def _seed(self, call: Call) -> str:
        return f"{self.uid}/{self.run}/{call.key}"

    def _first_fields(self, call: Call) -> dict[str, object]:
        """What the first record of a call has beside the others."""
        if call.phase is not Phase.NEW:
            return {}
        return {"digest": call.answered.digest, "line": call.answered.line}

    def _wait(self, call: Call, now: datetime, delay_s: float) -> None:
        at = now + timedelta(seconds=delay_s)
        first = self._first_fields(call)
        self.history.append(now, "RetryScheduled", task=call.key, attempt=call.attempt, at=at, **first)
        call.phase, call.due_at, call.launch, call.child = Phase.WAITING, at, None, None
        self._around.at(at, partial(self._is_due, call, call.attempt))
        self._watch_time(call)

    def _is_due(self, call: Call, attempt: int) -> None:
        if call.phase is Phase.WAITING and call.attempt == attempt:
            self._due[call.key] = call
            self._around.touch(self)

    def _schedule(self, call: Call, now: datetime) -> None:
        """Record an attempt and launch it."""
        first = self._first_fields(call)
        self.history.append(now, "TaskScheduled", task=call.key, attempt=call.attempt, **first)
        call.phase, call.scheduled_at, call.due_at, call.launch, call.child = Phase.OPEN, now, None, None, None
        call.attempts_made = call.attempt
        self._open += 1
        if call.plan.workflow is not None:
            child = self._around.child(call, call.plan.workflow())
            if isinstance(child, Failed):
                self._fail(call, child, final=True)
                return
            call.child = child
            self.children.append(child)
        else:
            call.launch = self._launch_of(call)
            self._around.launch(call.launch)
        self._watch_time(call)

    def _launch_of(self, call: Call) -> Launch:
        timers = call.plan.timeouts
        closes = call.closes()
        ends = [] if closes is None else [closes.at]
        if self.plan.workflow_timeout_s is not None:
            ends.append(self.begun_at + timedelta(seconds=self.plan.workflow_timeout_s))
        return Launch(
            call=call,
            workflow=self.plan.name,
            task=call.key,
            attempt=call.attempt,
            work=call.plan.work,
            arguments=call.answered.arguments,
            previous=call.progress,
            deadline=min(ends, default=None),
            tells_start=self._around.watcher is not None or timers != _NO_TIMEOUTS,
            now=self._around.now,
        )

    # -- what has become of them -------------------------------------------------------------------------------------

    def started(self, launch: Launch) -> None:
        """A worker has begun."""
        call: Call = launch.call
        if call.launch is launch:
            if self._around.watcher is not None:
                self._around.watcher.started(self.path, call.key, call.attempt)
            self._watch_time(call)

    def ended(self, call: Call, outcome: Outcome) -> None:
        """The current attempt of a call has ended by itself."""
        now = self._around.now()
        match outcome:
            case Completed(result):
                self.history.append(
                    now,
                    "TaskCompleted",
                    task=call.key,
                    attempt=call.attempt,
                    result=None if result == "null" else result,
                    startedAt=call.started_at,
                )
                self._finish(call, RecordState.COMPLETED, now, value=result)
            case Failed(retryable=True):
                self._after_error(call, outcome)
            case Failed():
                self._fail(call, outcome, final=True)
            case TimedOut():
                self._after_timer(call, Timer.START_TO_CLOSE)

    def _after_error(self, call: Call, failed: Failed) -> None:
        retry = self._retry(call, RetryWhen.ERROR, failed)
        self._fail(call, failed, final=retry is None)
        if retry is not None:
            self._again(call, retry)

    def _fail(self, call: Call, failed: Failed, *, final: bool) -> None:
        now = self._around.now()
        details = None if call.launch is None else call.launch.details
        call.progress = details or call.progress
        said: dict[str, object] = {"type": failed.type, "message": failed.message}
        if failed.exit_code is not None:
            said["exitCode"] = failed.exit_code
        if failed.details is not None:
            said["details"] = failed.details
        self.history.append(
            now,
            "TaskFailed",
            task=call.key,
            error=said,
            attempt=call.attempt,
            **({} if failed.could_run else {"class": "Invalid"}),
            startedAt=call.started_at,
            final=final,
            progress=details,
        )
        if failed.traceback is not None:
            self.tracebacks[call.key] = failed.traceback
        call.last_failure = f"attempt {call.attempt} failed: {failed.type}: {_line(failed.message)}"
        if final:
            self._finish(call, RecordState.FAILED, now, error=error_of_failure(call, failed))

    def _after_timer(self, call: Call, timer: Timer) -> None:
        now = self._around.now()
        when = ended_by(timer)
        retry = None if when is None else self._retry(call, when, None)
        details = None if call.launch is None else call.launch.details
        call.progress = details or call.progress
        cause = call.cause_of(timer)
        self.history.append(
            now,
            "TaskTimedOut",
            task=call.key,
            timer=str(timer),
            attempt=call.attempt,
            final=retry is None,
            message=cause,
            progress=details,
        )
        self._leave(call, f"{call.key} timed out ({timer})")
        call.last_failure = f"attempt {call.attempt} timed out ({timer})"
        if retry is None:
            self._finish(call, RecordState.TIMED_OUT, now, error=error_of_timeout(call, timer, cause))
        else:
            self._again(call, retry)

    def _retry(self, call: Call, ended_by: RetryWhen, failed: Failed | None) -> RetryAfter | None:
        closes = call.closes()
        if closes is not None and closes.at <= self._around.now():
            return None
        follows = after_failure(
            call.plan.retry,
            call.attempt,
            ended_by,
            seed=self._seed(call),
            exit_code=None if failed is None else failed.exit_code,
            error_type=None if failed is None else failed.type,
        )
        return follows if isinstance(follows, RetryAfter) else None

    def _again(self, call: Call, retry: RetryAfter) -> None:
        """The next attempt. At once, it keeps the room that it has."""
        now = self._around.now()
        self._open -= 1
        call.attempt += 1
        if retry.delay_s:
            self._wait(call, now, retry.delay_s)
            self._around.touch(self)
        else:
            self._schedule(call, now)

    def _finish(
        self,
        call: Call,
        state: RecordState,
        now: datetime,
        *,
        value: str | None = None,
        error: ErrorObject | None = None,
    ) -> None:
        self._open -= call.phase is Phase.OPEN
        call.close(state, self._finished, now, value, error)
        self._finished += 1
        self._due.pop(call.key, None)
        del self._unfinished[call.key]
        if self._is_finishing:
            self._asks = self._asks or not self._unfinished
        elif not self._asks:
            goes_on = None if self._decided is None else self._decided.continuation
            self._asks = state is not RecordState.COMPLETED or goes_on is None or not goes_on.goes_on(call.record)
        self._around.touch(self)

    def _leave(self, call: Call, why: str) -> None:
        """Stop the current attempt, if there is one."""
        if call.launch is not None:
            self._around.withdraw(call.launch, why)
        if call.child is not None:
            call.child.terminate(why)

    def _cancel(self, call: Call, reason: str, **first: object) -> None:
        now = self._around.now()
        self.history.append(now, "TaskCancelled", task=call.key, reason=reason, attempt=call.attempt, **first)
        if reason != "Abandoned":
            self._leave(call, f"{call.key} was cancelled ({reason})")
        self._finish(call, RecordState.CANCELLED, now, error=error_of_cancelling(call, reason))

    def _cancel_unfinished(self, reason: str) -> None:
        for call in list(self._unfinished.values()):
            self._cancel(call, reason)

    # -- timers ------------------------------------------------------------------------------------------------------

    def _watch_time(self, call: Call) -> None:
        due = call.deadline()
        if due is not None:
            self._around.at(due.at, partial(self._look_at_time, call))

    def _look_at_time(self, call: Call) -> None:
        """Fire the timer of a call that is due; a heartbeat may have put it off, an outcome may have come."""
        due = None if call.phase is Phase.FINAL else call.deadline()
        if due is None:
            return
        if due.at <= self._around.now():
            self._after_timer(call, due.timer)
        else:
            self._watch_time(call)

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
        unfinished = ", ".join(self._unfinished)
        message = f"{why}; unfinished: {_line(unfinished)}" if unfinished else why
        self._cancel_unfinished(reason)
        self._end(End(outcome="failed", error={"type": kind, "message": message}, timed_out=timed_out))

    def _end(self, end: End) -> None:
        self._close(end)
        if self.parent is not None and self.parent.child is self:
            self.parent.execution.ended(self.parent, _seen_by_parent(self, end))

    def _close(self, end: End) -> None:
        self._keep_run()
        self.end = end
        self.ended_at = self._around.now()
        self._ready, self._due, self._asks = [], {}, False


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


def _line(text: str) -> str:
    """The text in one line, cut where it is long: the history has the whole."""
    words = " ".join(text.split())
    return words if len(words) <= _SHOWN_CHARS else f"{words[: _SHOWN_CHARS - 1]}…"
