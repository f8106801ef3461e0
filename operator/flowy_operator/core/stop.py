"""A stop by `spec.stop: Cancel`: how it reaches the code, and how long the code may take over it.

    spec.stop ──▶ StopRequested ──▶ TaskCancelled of every task that is open or held back ──▶ the code cleans up ──▶ end
                  │  one append, if the code can be asked which calls are held back          │
                  └── the grace period (timeouts.cancelSeconds) runs from here ──────────────┴──▶ Terminate

The calls that `parallelism` and `suspend` hold back are on no record: only the code knows them. So it is asked first for
the state before the stop, and a code that stalls delays the second step, never the end. What the code calls after it has
been told is its clean-up, and runs as any task.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from flowy.wire.messages import AnsweredCall
from flowy_operator.core.history import CancelReason, Fact, Restarted, StopRequested, TaskCancelled
from flowy_operator.core.observe import Launching
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import State
from flowy_operator.core.verdict import Verdict


def is_pending(spec: WorkflowSpec, state: State) -> bool:
    """Whether a stop is asked for that the code doesn't know of yet."""
    return spec.stop is not None if state.stop is None else not state.stop.passed_on


def launching(spec: WorkflowSpec, state: State) -> Launching:
    """Whether attempts may be scheduled. The clean-up of a stop may, a suspended workflow's too: else it would never end."""
    if state.stop is not None and state.stop.passed_on:
        return Launching.ALLOWED
    return Launching.SUSPENDED if spec.suspend or is_pending(spec, state) else Launching.ALLOWED


def cancel_deadline(spec: WorkflowSpec, state: State) -> datetime | None:
    """When the grace period of a stop by Cancel ends."""
    return None if state.stop is None else state.stop.at + timedelta(seconds=spec.cancel_timeout_s)


def comes_first(spec: WorkflowSpec, state: State, verdict: Verdict) -> bool:
    """Whether a stop is to be told to the code before anything else follows. An end and a new run come before it."""
    restarts = any(isinstance(fact, Restarted) for fact in verdict.facts)
    return is_pending(spec, state) and verdict.end is None and not restarts


def requested(spec: WorkflowSpec, state: State) -> list[StopRequested]:
    """The stop itself, if it isn't on record yet. Terminate may follow upon Cancel."""
    known = None if state.stop is None else state.stop.mode
    return [] if spec.stop is None or spec.stop is known else [StopRequested(mode=spec.stop)]


def pass_on(spec: WorkflowSpec, state: State, held_back: Sequence[AnsweredCall]) -> list[Fact]:
    """The facts by which the code learns of the stop. `held_back` are the calls that it made and nobody recorded."""
    reason = CancelReason.STOP_REQUESTED
    return [
        *requested(spec, state),
        *(TaskCancelled(task=task.key, attempt=task.attempt, reason=reason) for task in state.unfinished()),
        *(TaskCancelled(task=call.key, reason=reason, digest=call.digest, line=call.line) for call in held_back),
    ]
