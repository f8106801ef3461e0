"""The state of one replay: numbers task calls, holds them against the records, and keeps how the decision ends."""

import sys
from collections.abc import Callable, Mapping, Sequence
from threading import current_thread, get_ident
from typing import Any, NoReturn

from flowy.errors import ValueRefused
from flowy.replay.arguments import Walked, walk_call, walked_scalars
from flowy.replay.barrier import DecisionEnds, Deviated, End, Failed, Suspended
from flowy.replay.calls import Kept, Room, answered
from flowy.replay.determinism import Clock, Log
from flowy.replay.deviation import deviation
from flowy.replay.history import EXCEPTIONS, error_of
from flowy.replay.result import Done, Pending, Result, earliest
from flowy.replay.result import Failed as FailedState
from flowy.replay.source import UserSource, limited
from flowy.replay.trace import Tracer
from flowy.wire import values
from flowy.wire.messages import AnsweredCall, Phase, Record, RecordState
from flowy.wire.shapes import by_key

_COMPLETED = (
    RecordState.COMPLETED
)  # looked up once: in an enum that takes a while, and it is asked for each recorded call


class Run:
    """The state of one replay. `leave` is given this at the end of the decision, and ends the process; without it the code unwinds.

    It may return where the code waits: `steps.go_on` has taken in what has completed since, and the code goes on.
    """

    __slots__ = ("_by_key", "_has_warned", "_is_plain", "_leave", "_max_bytes", "_room_for_new", "_room_for_repeated", "_thread", "_turn", "_wanted", "calls", "clock", "counters", "end", "failures", "is_over", "is_restart", "is_settled", "kept", "log", "max_calls", "more", "pending", "phase", "reached", "records", "repeated", "returned", "source", "tracer")  # fmt: skip

    def __init__(
        self,
        records: Sequence[Record],
        *,
        started_at: float = 0.0,
        wanted: Sequence[str] = (),
        max_calls: int | None = None,
        max_bytes: int | None = None,
        tracer: Tracer | None = None,
        leave: Callable[["Run"], None] | None = None,
    ) -> None:
        self.records = list(records)
        self.source = UserSource("")  # known once the code is loaded
        self.clock = Clock(started_at)
        self.log = Log()
        self.max_calls = max_calls
        self.end: End | None = None
        self.calls: list[AnsweredCall] = []  # new ones, as far as they have room
        self.more = False
        self.repeated: list[AnsweredCall] = []
        self.phase = Phase.RUN  # of a failure, while the code runs
        self.failures: list[FailedState] = []  # of tasks themselves, not derived ones
        self.tracer = tracer
        self.counters: dict[str, int] = {}
        self.kept: list[Kept] = []
        self.reached = 0
        self.pending: dict[str, Result] = {}  # of calls, by key
        self.returned: Walked | None = None
        self.is_settled = True  # whether nothing the code has seen could look otherwise in a replay over more
        self.is_restart = False
        self._by_key = by_key(records)
        self._wanted = frozenset(wanted)
        self._is_plain = tracer is None and not wanted  # nobody wants to know more of a call than its outcome
        self._max_bytes = max_bytes
        self._room_for_new = Room(max_bytes)
        self._room_for_repeated = Room(max_bytes)
        self._leave = leave
        self._turn = 0
        self._thread = get_ident()
        self.is_over = False
        self._has_warned = False

    # -- what tasks and results ask for ------------------------------------------------------------------------------

    def call(self, task: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Result:
        """Answer a task call: by the record of its key, or by what stands in its arguments."""
        if get_ident() != self._thread:
            self._refuse_thread(f"the task {task!r} was called")
        if self.end is not None or self.is_over:
            self._end_again()
        canonical = None if kwargs else values.canonical_scalars(args)
        if canonical is not None and self._is_plain:
            # Nearly all of a long history is this, and nearly all of its decision.
            number = self.counters.get(task, 0)
            record = self._by_key.get(f"{task}-{number}")
            if (
                record is not None
                and record.state is _COMPLETED
                and (record.digest is None or record.digest == values.digest_of(canonical))
            ):
                self.counters[task] = number + 1
                self.reached += 1
                return Result(Done(self, record))
        refusal: ValueRefused | None = None
        if canonical is None:
            try:
                walked = walk_call(self, args, kwargs)
            except ValueRefused as error:
                refusal, walked = error, Walked()
            if self.end is not None:  # code run by an iterator may have swallowed an end
                self._end_again()
        number = self.counters.get(task, 0)
        self.counters[task] = number + 1
        key = f"{task}-{number}"
        record = self._by_key.get(key)
        if canonical is not None:
            walked = walked_scalars(args, canonical)
        if self.tracer is not None:
            self.tracer.called(key, walked.taken(), walked.pending, self.source.line())
        if record is not None:
            return self._recorded(record, task, walked, refusal)
        if refusal is not None:
            line = self.source.line()
            self.stop(Failed({"type": "ValueRefused", "message": limited(f"{key}: {refusal}"), "line": line}, line))
        if walked.failed:
            return Result(self._derived(key, walked.failed))
        if walked.pending:
            line = self.source.line()
            self._turn += 1
            self.kept.append(Kept(key, task, walked, line, len(self.calls), self._turn))
            return self._open(Pending(self, key, walked.pending, line=line))
        line = self.source.line()
        # Once one has no room, no later one has: calls are recorded in their order.
        call = None if self._is_full() else answered(key, task, walked, line)
        if call is None or not self._room_for_new.takes(call):
            self.more = True
            return Result(Pending(self, key, (), line=line))
        self.calls.append(call)
        self._turn += 1
        return self._open(Pending(self, key, (), self._turn, line))

    def suspend(self, pending: Sequence[Pending]) -> None:
        """End the decision at a barrier. Returns if the process goes on: what is pending may be done now."""
        if get_ident() != self._thread:
            self._refuse_thread(f"the pending result of {pending[0].key} was touched")
        if self.end is not None or self.is_over:
            self._end_again()
        self.latch(Suspended(pending, self.source.line()))
        if self.end is not None:
            raise DecisionEnds

    def unsettle(self) -> None:
        """The code may have seen what is pending, without having waited for it."""
        self.is_settled = False

    def touched(self, state: Done | FailedState) -> None:
        """Let the clock of the code go on to what it has seen."""
        if self.tracer is not None and not self.tracer.has_seen(state):
            self.tracer.looked(state, self.source.line())
        if isinstance(state, Done):
            self.clock.observe(state.record.finished_at)
        else:
            state.observe()
            self.clock.observe(state.finished_at)

    def changed(self, done: Done) -> None:
        """Warn that a value was changed in place: the record goes out instead."""
        self.log.add_warning(
            f"line {self.source.line()}: the result of {done.key} was changed in place and passed on; "
            "the change is not passed on"
        )

    # -- calls that are in the history -------------------------------------------------------------------------------

    def _recorded(self, record: Record, task: str, walked: Walked, refusal: ValueRefused | None) -> Result:
        self.reached += 1
        key = record.key
        if refusal is not None:
            self._deviate(record, f"refused: {refusal}")
        if walked.failed:
            self._deviate(record, f"error of {earliest(walked.failed).error['task']}")
        if walked.pending:
            self._deviate(record, f"pending on {walked.pending[0].key}")
        if record.digest is not None:
            digest = walked.digest()
            if digest != record.digest:
                self._deviate(record, f"{task}{walked.shown()} with digest {digest}")
        if key in self._wanted:
            call = answered(key, task, walked, self.source.line())
            if self._room_for_repeated.takes(call):
                self.repeated.append(call)
        if record.state is _COMPLETED:
            return Result(Done(self, record))
        if record.state is RecordState.RUNNING:
            self._turn += 1
            return self._open(Pending(self, key, (), self._turn, self.source.line()))
        rank = record.rank or 0
        failed = FailedState(self, key, rank, EXCEPTIONS[record.state], error_of(record), record.finished_at)
        self.failures.append(failed)
        return Result(failed)

    def _open(self, pending: Pending) -> Result:
        result = self.pending[pending.key] = Result(pending)
        return result

    def record_of(self, key: str) -> Record | None:
        """What is on record about a call."""
        return self._by_key.get(key)

    def take_record(self, record: Record) -> None:
        """Put on record, between two decisions, a call that the code has made."""
        if record.key not in self._by_key:
            self.records.append(record)
            self.reached += 1
        self._by_key[record.key] = record

    def take_calls(self, calls: Sequence[AnsweredCall]) -> bool:
        """Start the next decision's answer with these calls. False if they don't all have room in it."""
        self.calls, self.repeated, self._wanted = list(calls), [], frozenset()
        self._room_for_new = Room(self._max_bytes)
        return (self.max_calls is None or len(calls) <= self.max_calls) and all(map(self._room_for_new.takes, calls))

    def _is_full(self) -> bool:
        return self.more or (self.max_calls is not None and len(self.calls) >= self.max_calls)

    def _derived(self, key: str, failed: Sequence[FailedState]) -> FailedState:
        cause = earliest(failed)
        return FailedState(self, key, cause.rank, cause.kind, cause.error, cause.finished_at, failed)

    def _deviate(self, record: Record, asked: str) -> NoReturn:
        self.stop(Deviated(deviation(record, asked, self.source.line())))

    # -- ends --------------------------------------------------------------------------------------------------------

    def _refuse_thread(self, what: str) -> NoReturn:
        message = f"{what} in the thread {current_thread().name!r}; workflow code has one thread only"
        if self.end is None:
            self._has_warned = True  # the error says it all, and the code itself swallowed nothing
        self.latch(Failed({"type": "RuntimeError", "message": limited(message)}))
        raise RuntimeError(message)

    def _end_again(self) -> NoReturn:
        """Refuse to go on after the end."""
        if self.is_over:
            raise RuntimeError("this task or result belongs to a decision that has ended")
        # While it is being handled, as in `finally`, nobody has swallowed it yet.
        if not isinstance(sys.exc_info()[1], DecisionEnds):
            self.warn_swallowed()
        raise DecisionEnds

    def stop(self, end: End) -> NoReturn:
        """Take this for the end, and leave the code."""
        self.latch(end)
        raise DecisionEnds

    def latch(self, end: End) -> None:
        """Take this for the end of the decision, unless it has ended. Returns if the process goes on, or unwinds by itself."""
        if self.end is None:
            self.end = end
            if self._leave is not None:
                self._leave(self)

    def warn_swallowed(self) -> None:
        """Say once that the code went on behind the end."""
        if not self._has_warned:
            self._has_warned = True
            line = self.end.line if isinstance(self.end, Suspended | Failed) else None
            at = "" if line is None else f" of line {line}"
            self.log.add_warning(f"the code swallowed the end of the decision{at}; a bare except does that")
