"""Which ready attempts are scheduled now, under `spec.parallelism` and `spec.suspend`.

Parallelism caps the open tasks of one workflow, earliest calls first: a retry that has become due comes before new calls,
since its call was recorded earlier. A task that merely waits out a delay is not open. What is held back is not
recorded: the next decision lists it again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flowy.policy.retry import delay_before
from flowy.wire.messages import AnsweredCall
from flowy_operator.core.history import Fact, RetryScheduled, TaskScheduled
from flowy_operator.core.observe import Launching
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import Phase, State, Task, recorded_at, retry_seed


@dataclass(frozen=True, slots=True)
class Admission:
    """The facts to append, and how many ready attempts are held back."""

    facts: Sequence[Fact]
    held_back: int


def due_retries(state: State, now: datetime) -> Iterator[Task]:
    """Tasks whose next attempt may be scheduled as far as time is concerned."""
    return (t for t in state.unfinished() if t.phase is Phase.WAITING and t.due_at is not None and t.due_at <= now)


def admit(
    spec: WorkflowSpec, state: State, calls: Sequence[AnsweredCall], now: datetime, launching: Launching
) -> Admission:
    """Schedule due retries and new calls as long as there is room."""
    ready: list[Task | AnsweredCall] = [*due_retries(state, now), *calls]
    if launching is Launching.SUSPENDED:
        return Admission((), len(ready))
    room = spec.parallelism - sum(1 for _ in state.open())
    facts: list[Fact] = []
    for n, item in enumerate(ready):
        if room <= 0:
            return Admission(facts, len(ready) - n)
        fact = _schedule(spec, state, item, now)
        room -= isinstance(fact, TaskScheduled)
        facts.append(fact)
    return Admission(facts, 0)


def _schedule(
    spec: WorkflowSpec, state: State, item: Task | AnsweredCall, now: datetime
) -> TaskScheduled | RetryScheduled:
    if isinstance(item, Task):
        return TaskScheduled(task=item.key, attempt=item.attempt, digest=None, line=None)
    delay_s = delay_before(spec.tasks[item.task].retry, 1, retry_seed(state, item.key))
    if delay_s:
        at = recorded_at(state, now) + timedelta(seconds=delay_s)
        return RetryScheduled(task=item.key, attempt=1, at=at, digest=item.digest, line=item.line)
    return TaskScheduled(task=item.key, digest=item.digest, line=item.line)
