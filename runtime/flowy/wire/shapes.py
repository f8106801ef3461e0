"""The shapes of the two messages about a decision: what a replay is asked, and what it answers.

Values stand in them as JSON *text*, so that numbers arrive as they were recorded. What a history holds beyond this
(attempts, times, nodes) stays with the sender; workflow code must not see it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import itemgetter
from typing import NamedTuple

from flowy.errors import ErrorObject


class RecordState(StrEnum):
    """How far a recorded task is. Between two attempts it is still `RUNNING`: code never sees attempts."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timedOut"
    CANCELLED = "cancelled"


# A tuple and no dataclass, because of long histories: a frozen dataclass takes ten times as long to make, and each
# decision makes one for every task of the run, on both sides. It travels as it is.
class Record(NamedTuple):
    """One recorded task: a call that an earlier decision scheduled, and its outcome if it is final.

    `key` is `<task name>-<n>`. `digest` is that of the arguments (16 hex digits, see `flowy.wire.values`) or None if it
    is not to be compared. `line` is the line of the call when it was scheduled. `value` is JSON text, for `COMPLETED`.
    `error` is for the other final states. `rank` is the place in the finish order, from 0, for final states.
    `finished_at` is the history's time of the outcome in Unix seconds: the only clock that code can see.
    """

    key: str
    state: RecordState
    digest: str | None = None
    line: int | None = None
    value: str | None = None
    error: ErrorObject | None = None
    rank: int | None = None
    finished_at: float | None = None


def by_key(records: Sequence[Record]) -> dict[str, Record]:
    """Each record under its key. Without a step of the interpreter for each, since both sides do it for each decision."""
    return dict(zip(map(itemgetter(0), records), records, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything that one decision depends on.

    `tasks` are the names to inject. `input` is JSON text of `{"args": [...], "kwargs": {...}}`. `records` stand in the
    order of their scheduling. `seed` is the run's identity (`<uid>/<run>`), `started_at` its start in Unix seconds.
    `wanted` names running records whose arguments the answer must repeat (an attempt is to be launched, and arguments
    are not part of the history). `max_calls` bounds the new calls of one answer; the rest comes with the next decision.
    `max_bytes` bounds the arguments of the new calls in one answer, and those of the repeated ones: a single call passes,
    whatever its size; what has no room beside others comes with the next decision, too. `traced` asks for `Answer.trace`.
    """

    source: str
    entrypoint: str | None
    tasks: Sequence[str]
    input: str
    records: Sequence[Record] = ()
    seed: str = ""
    started_at: float = 0.0
    wanted: Sequence[str] = ()
    max_calls: int = 1000
    max_bytes: int = 1 << 20
    traced: bool = False


class Outcome(StrEnum):
    """How a decision ended."""

    SUSPENDED = "suspended"
    COMPLETED = "completed"
    FAILED = "failed"
    RESTARTED = "restarted"
    STALLED = "stalled"


class Phase(StrEnum):
    """Where a failure arose. `LOAD`: compiling, finding the entrypoint, matching task names; the code never ran well."""

    LOAD = "load"
    RUN = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredCall:
    """A call that may be launched: `arguments` is JSON text of `{"args": [...], "kwargs": {...}}`."""

    key: str
    task: str
    arguments: str
    digest: str
    line: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredWait:
    """An open task that the barrier waits for, and the line of the barrier."""

    key: str
    line: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedCall:
    """A call that the code made, launched or not. `takes` are the keys of the calls whose results stand in its arguments.

    `looks` is how many of the trace's looks came before it: what those showed may be why the call was made.
    """

    key: str
    line: int | None
    takes: Sequence[str]
    looks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedLook:
    """The first time that the code looked at the outcome of the call `key`, and the line where it did."""

    key: str
    line: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """How results flowed in one replay, for pictures: calls and looks in the order of the code.

    `returned` are the keys of the calls whose results stand in what the workflow returned.
    """

    calls: Sequence[TracedCall] = ()
    looks: Sequence[TracedLook] = ()
    returned: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One decision, as it travels.

    `scheduled`: new calls in call order. `repeated`: those of `Request.wanted`. `result` (JSON text) if completed,
    `restart` (JSON text of args and kwargs) if restarted, `error` if failed or stalled. `more` is true if `max_calls`
    or `max_bytes` cut the list of new calls. `needs`, if suspended: the next decision says the same unless all calls of one
    of these groups have completed, or one of any has ended otherwise; without it, it may say anything. `dropped`: keys of
    calls made in the decision that ended the run. `trace` is there if it was asked for.
    """

    outcome: Outcome
    scheduled: Sequence[AnsweredCall] = ()
    repeated: Sequence[AnsweredCall] = ()
    more: bool = False
    waiting_on: Sequence[AnsweredWait] = ()
    needs: Sequence[Sequence[str]] | None = None
    result: str | None = None
    restart: str | None = None
    error: ErrorObject | None = None
    phase: Phase = Phase.RUN
    dropped: Sequence[str] = ()
    ignored_errors: Sequence[ErrorObject] = ()
    log: Sequence[str] = ()
    trace: Trace | None = None
