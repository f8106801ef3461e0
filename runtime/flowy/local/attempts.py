"""The recorded calls of one run and their attempts: launched, ended, timed out, tried again, cancelled.

Each is recorded in the history before it is launched. What follows a failure or a timer, the policies in `flowy.policy` say.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from flowy.errors import ErrorObject
from flowy.local.around import Around
from flowy.local.call import Call, Phase, error_of_cancelling, error_of_failure, error_of_timeout
from flowy.local.launch import Completed, Failed, Launch, Outcome, TimedOut
from flowy.policy.retry import RetryAfter, RetryWhen, after_failure, delay_before, ended_by
from flowy.policy.timeout import TimeoutSpec, Timer
from flowy.wire.messages import AnsweredCall, RecordState

if TYPE_CHECKING:
    from flowy.local.execution import Execution

_SHOWN_CHARS = 300
_NO_TIMEOUTS = TimeoutSpec()


class Attempts:
    """The calls of the current run of a workflow, in the order of their recording; `unfinished` are those without an outcome."""

    def __init__(self, execution: "Execution", around: Around) -> None:
        self.execution = execution
        self.calls: dict[str, Call] = {}
        self.unfinished: dict[str, Call] = {}
        self.finished = 0
        self._around = around
        self._plan = execution.plan
        self._due: dict[str, Call] = {}  # attempts whose time has come, and which have no room yet
        self._open = 0

    def admit(self, ready: list[AnsweredCall]) -> None:
        """Launch as long as there is room: retries that are due, then new calls, the earliest first. Takes them from `ready`."""
        now = self._around.now()
        while self._due and self._open < self._plan.parallelism:
            key, call = next(iter(self._due.items()))
            del self._due[key]
            self._schedule(call, now)
        taken = 0
        for answered in ready:
            if self._open >= self._plan.parallelism:
                break
            taken += 1
            call = self._call_of(answered, now)
            delay_s = delay_before(call.plan.retry, 1, self._seed(call))
            if delay_s:
                self._wait(call, now, delay_s)
            else:
                self._schedule(call, now)
        del ready[:taken]

    def _call_of(self, answered: AnsweredCall, now: datetime) -> Call:
        call = Call(self, answered, self._plan.tasks[answered.task], now)
        self.calls[call.key] = self.unfinished[call.key] = call
        return call

    def _seed(self, call: Call) -> str:
        return f"{self.execution.uid}/{self.execution.run}/{call.key}"

    def _first_fields(self, call: Call) -> dict[str, object]:
        """What the first record of a call has beside the others."""
        if call.phase is not Phase.NEW:
            return {}
        return {"digest": call.answered.digest, "line": call.answered.line}

    def _wait(self, call: Call, now: datetime, delay_s: float) -> None:
        at = now + timedelta(seconds=delay_s)
        first = self._first_fields(call)
        self.execution.history.append(now, "RetryScheduled", task=call.key, attempt=call.attempt, at=at, **first)
        call.phase, call.due_at, call.launch, call.child = Phase.WAITING, at, None, None
        self._around.at(at, partial(self._is_due, call, call.attempt))
        self._watch_time(call)

    def _is_due(self, call: Call, attempt: int) -> None:
        if call.phase is Phase.WAITING and call.attempt == attempt:
            self._due[call.key] = call
            self._around.touch(self.execution)

    def _schedule(self, call: Call, now: datetime) -> None:
        """Record an attempt and launch it."""
        first = self._first_fields(call)
        self.execution.history.append(now, "TaskScheduled", task=call.key, attempt=call.attempt, **first)
        call.phase, call.scheduled_at, call.due_at, call.launch, call.child = Phase.OPEN, now, None, None, None
        call.attempts_made = call.attempt
        self._open += 1
        if call.plan.workflow is not None:
            child = self._around.child(call, call.plan.workflow())
            if isinstance(child, Failed):
                self._fail(call, child, final=True)
                return
            call.child = child
            self.execution.children.append(child)
        else:
            call.launch = self._launch_of(call)
            self._around.launch(call.launch)
        self._watch_time(call)

    def _launch_of(self, call: Call) -> Launch:
        timers = call.plan.timeouts
        closes = call.closes()
        ends = [] if closes is None else [closes.at]
        if self._plan.workflow_timeout_s is not None:
            ends.append(self.execution.begun_at + timedelta(seconds=self._plan.workflow_timeout_s))
        return Launch(
            call=call,
            workflow=self._plan.name,
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
                self._around.watcher.started(self.execution.path, call.key, call.attempt)
            self._watch_time(call)

    def ended(self, call: Call, outcome: Outcome) -> None:
        """The current attempt of a call has ended by itself."""
        now = self._around.now()
        match outcome:
            case Completed(result):
                self.execution.history.append(
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
        self.execution.history.append(
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
            self.execution.tracebacks[call.key] = failed.traceback
        call.last_failure = f"attempt {call.attempt} failed: {failed.type}: {in_one_line(failed.message)}"
        if final:
            self._finish(call, RecordState.FAILED, now, error=error_of_failure(call, failed))

    def _after_timer(self, call: Call, timer: Timer) -> None:
        now = self._around.now()
        when = ended_by(timer)
        retry = None if when is None else self._retry(call, when, None)
        details = None if call.launch is None else call.launch.details
        call.progress = details or call.progress
        cause = call.cause_of(timer)
        self.execution.history.append(
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
            self._around.touch(self.execution)
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
        call.close(state, self.finished, now, value, error)
        self.finished += 1
        self._due.pop(call.key, None)
        del self.unfinished[call.key]
        self.execution.on_final(call)

    def _leave(self, call: Call, why: str) -> None:
        """Stop the current attempt, if there is one."""
        if call.launch is not None:
            self._around.withdraw(call.launch, why)
        if call.child is not None:
            call.child.terminate(why)

    def cancel_held_back(self, ready: Sequence[AnsweredCall], reason: str) -> None:
        """Record calls that never had room, as cancelled."""
        now = self._around.now()
        for answered in ready:
            self._cancel(self._call_of(answered, now), reason, digest=answered.digest, line=answered.line)

    def _cancel(self, call: Call, reason: str, **first: object) -> None:
        now = self._around.now()
        self.execution.history.append(now, "TaskCancelled", task=call.key, reason=reason, attempt=call.attempt, **first)
        if reason != "Abandoned":
            self._leave(call, f"{call.key} was cancelled ({reason})")
        self._finish(call, RecordState.CANCELLED, now, error=error_of_cancelling(call, reason))

    def cancel_unfinished(self, reason: str) -> None:
        """End all that has no outcome yet."""
        for call in list(self.unfinished.values()):
            self._cancel(call, reason)

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


def in_one_line(text: str) -> str:
    """The text in one line, cut where it is long: the history has the whole."""
    words = " ".join(text.split())
    return words if len(words) <= _SHOWN_CHARS else f"{words[: _SHOWN_CHARS - 1]}…"
