"""Whether what a pod says still counts: only the current launch of an open task speaks for it.

The answer to a pod is one of four, and the difference matters. `Over` makes an honest program clean up and stop, so it is
said only of what the history shows to be over. What isn't known is `Unknown`: ask again, and go on meanwhile.
"""

from dataclasses import dataclass
from datetime import datetime

from flowy_operator.core.history import TaskCancelled, TaskCompleted, TaskFailed, TaskTimedOut
from flowy_operator.core.state import LaunchEnd, Phase, State, Task

DETAILS_BYTES = 4095
"""Longest details of a heartbeat, as JSON text: as long as a result in a file, since both end up in the history."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The pod that a token speaks for."""

    namespace: str
    pod: str
    uid: str


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat that was heard. `details` is JSON text; a later one without any keeps those before.

    `heard` is False of a pod that has said nothing yet: only from then on could it be heard. `first_at` is when the first one
    came, None if none was taken: one that can't be judged tells that somebody speaks, and not who.
    """

    at: datetime
    details: str | None = None
    heard: bool = True
    first_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """The current launch of this task, which is open."""

    task: Task
    job: str


@dataclass(frozen=True, slots=True)
class Over:
    """It no longer counts, and never will; `why` is a sentence."""

    why: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing can be said yet; `why` is a sentence."""

    why: str


@dataclass(frozen=True, slots=True)
class Abandoned:
    """Nobody waits for it any more, but it is meant to go on (`spec.onEnd: Abandon`); `why` is a sentence."""

    why: str


@dataclass(frozen=True, slots=True)
class Differs:
    """The attempt has another result already; `why` is a sentence."""

    why: str


Standing = Counts | Over | Abandoned | Unknown


def standing(state: State, job: str, run: int | None = None) -> Standing:
    """How the launch with this Job's name stands in the history. `run` is what the Job's label says, if it is known."""
    launch = state.launches.get(job)
    if launch is None and run is not None and run < state.run:
        # Its launch isn't remembered. What nobody wants is being deleted, so whoever still asks was left behind.
        return Abandoned(f"it belongs to run {run}, and the workflow was restarted")
    if launch is None:
        return Unknown(f"the history has no launch with the Job {job!r}")
    if launch.end is LaunchEnd.ABANDONED:
        return Abandoned(f"the workflow has left {launch.task} behind and doesn't wait for it")
    task = state.tasks.get(launch.task)
    if task is None:
        return Over(f"{launch.task} has ended")  # so has its workflow: of such a one no more than launches are kept
    if task.phase is Phase.OPEN and task.launch is not None and task.launch.job == job:
        return Counts(task, job)
    if task.final is not None:
        return Over(f"{task.key} has ended: {_ended(task)}")
    if launch.attempt != task.attempt or task.phase is not Phase.OPEN:
        return Over(f"attempt {launch.attempt} of {task.key} has ended; attempt {task.attempt} follows it")
    return Over(f"this launch of attempt {launch.attempt} of {task.key} was disrupted, and another has taken its place")


def _ended(task: Task) -> str:
    match task.final:
        case TaskTimedOut(timer=timer):
            return f"timed out ({timer})"
        case TaskCancelled(reason=reason):
            return f"cancelled ({reason})"
        case TaskFailed():
            return "failed"
        case TaskCompleted() | None:
            return "completed"
