"""What the engine is given to run: a workflow's code, its tasks and their settings, whoever wrote them down."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from flowy.policy.retry import RetrySpec
from flowy.policy.timeout import TimeoutSpec
from flowy.replay.continuation import Continuation
from flowy.wire.messages import Answer, Record

DEFAULT_PARALLELISM = 1000
"""Open tasks of one workflow at once, as in the cluster."""


class OnEnd(StrEnum):
    """What becomes of tasks that still run when the code has ended. The values are those of `spec.onEnd`."""

    CANCEL = "Cancel"
    WAIT = "Wait"
    ABANDON = "Abandon"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a decision depends on. `input` is JSON text of args and kwargs, `seed` the identity of the run.

    `traced` asks for the flow of data too.
    """

    input: str
    records: Sequence[Record]
    seed: str
    started_at: float
    traced: bool = False


@dataclass(frozen=True, slots=True)
class Decided:
    """An answer. `continuation` tells which results make which calls ready without another one; None if nobody knows."""

    answer: Answer
    continuation: Continuation | None = None


class Code(Protocol):
    """A workflow's code. Deciding has no effect and may be repeated."""

    def decide(self, question: Question) -> Decided: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPlan:
    """One task: `work` for the executor to do, or the plan of a sub-workflow, which is made when it is called.

    Late, since a workflow may be a task of itself.
    """

    work: Any = None
    workflow: "Callable[[], Plan] | None" = None
    timeouts: TimeoutSpec = TimeoutSpec()
    retry: RetrySpec = RetrySpec()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A workflow, ready to be run."""

    name: str
    code: Code
    tasks: Mapping[str, TaskPlan]
    parallelism: int = DEFAULT_PARALLELISM
    on_end: OnEnd = OnEnd.CANCEL
    workflow_timeout_s: int | None = None
    cancel_timeout_s: int = 300
