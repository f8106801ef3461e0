"""What pictures show: one run of a workflow as calls and their attempts, and below them the runs of sub-workflows.

Plain data, made from a history in `reading.py`; whoever has a run of another kind makes the same of it. All texts may be
anything: they come from workflow code, from containers, from Kubernetes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    """What a task is."""

    ACTIVITY = "activity"
    WORKFLOW = "workflow"


class Standing(StrEnum):
    """How a call, an attempt or a run stands. The values are words for people, and names of colours."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed-out"
    CANCELLED = "cancelled"
    DISRUPTED = "disrupted"  # of an attempt: its pod was taken away, the next launch follows
    RUNNING = "running"
    WAITING = "waiting"  # for the time of its next attempt
    CALLED = "called"  # not launched: an argument isn't there yet, or is an error, or nobody wanted it any more

    @property
    def has_failed(self) -> bool:
        return self in {Standing.FAILED, Standing.TIMED_OUT}

    @property
    def is_over(self) -> bool:
        return self not in {Standing.RUNNING, Standing.WAITING, Standing.CALLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One launch of a call: a Job, or a child.

    `number` counts attempts from 1, `launch` the launches of one attempt from 0. `scheduled_at` is when it may begin,
    `started_at` when its container began, where that is known: Kubernetes tells it in whole seconds, and only at the end.
    `reason` says why it didn't succeed. `name` is that of its Job or child.
    """

    number: int
    launch: int = 0
    standing: Standing
    scheduled_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str = ""
    name: str = ""
    node: str | None = None
    child: "Execution | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a task, in the place that the code gives it.

    `takes` are the keys of the calls whose results stand in its arguments, `looks` counts the looks of the run that came
    before it (`Execution.looks`). `arguments` and `result` are JSON text, None where they aren't known; `reason` says why there
    is no result. `due_at` is when its next attempt begins, if it waits for one.
    """

    key: str
    task: str
    kind: Kind
    standing: Standing
    line: int | None = None
    takes: Sequence[str] = ()
    looks: int = 0
    attempts: Sequence[Attempt] = ()
    scheduled_at: datetime | None = None
    finished_at: datetime | None = None
    due_at: datetime | None = None
    arguments: str | None = None
    result: str | None = None
    reason: str = ""

    @property
    def child(self) -> "Execution | None":
        """The run of its last attempt, if the task is a workflow and its child is known."""
        return self.attempts[-1].child if self.attempts else None

    @property
    def tries(self) -> int:
        """How many attempts there were, launches after a disruption not counted."""
        return self.attempts[-1].number if self.attempts else 0


@dataclass(frozen=True, slots=True)
class Look:
    """The first time that the code looked at the outcome of `key`, in line `line`."""

    key: str
    line: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One run. `calls` stand in the order of the code, `looks` and `returned` as in the trace of its replay.

    `namespace` is empty for a local run. `flow` says why arrows are missing, if they are: without the code's replay nobody knows which result went where.
    `until` is its end, or the time of the picture. `decisions` are the times at which the code moved on.
    """

    namespace: str
    name: str
    number: int = 1
    standing: Standing
    reason: str = ""
    started_at: datetime
    until: datetime
    calls: Sequence[Call] = ()
    looks: Sequence[Look] = ()
    returned: Sequence[str] = ()
    waiting_on: Mapping[str, int | None] = field(default_factory=dict)
    decisions: Sequence[datetime] = ()
    arguments: str | None = None
    result: str | None = None
    source: str = ""
    flow: str = ""

    @property
    def seconds(self) -> float:
        return (self.until - self.started_at).total_seconds()

    def everything(self) -> Iterator["Execution"]:
        """This run and all below it, each attempt's child included, parents first."""
        yield self
        for call in self.calls:
            for attempt in call.attempts:
                if attempt.child is not None:
                    yield from attempt.child.everything()
