"""Up to which event of a history the launches are known to have been made: `status.launchedThrough`.

History is written before Jobs, so a launch on record whose Job isn't there has one of two stories: the operator died before
it made the Job, or somebody deleted it while no operator ran. The first is launched, the second was deleted. What tells
them apart is a number in the status: whatever follows from the events up to it has been there.

It goes along with writes that are made anyway. Only where none comes for a while it gets one of its own: a launch that is
over by then doesn't need it, and a Job of an hour pays for one write.
"""

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from flowy_operator.core.observe import View
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import Launch, State, task_name
from flowy_operator.core.status import Patch

FIELD = "launchedThrough"

WRITE_AFTER = timedelta(seconds=10)
"""After so long it is written by itself. Sooner, and steps of some seconds would cost three writes instead of two."""


def made_through(spec: WorkflowSpec, state: State, view: View, created: Collection[str], recorded: int) -> int:
    """The id of the event up to which each launch has been made, at least what is `recorded`. `created`: by this process."""
    new = (launch for launch in _open(state) if launch.event > recorded)
    missing = (launch.event for launch in new if not _is_known(spec, launch, view, created))
    return min(missing, default=state.events + 1) - 1


def unaccounted(
    spec: WorkflowSpec, state: State, view: View, created: Collection[str], recorded: int
) -> Iterator[Launch]:
    """Open launches that were made, by what is `recorded`, and of which nothing is known now."""
    return (
        launch for launch in _open(state) if launch.event <= recorded and not _is_known(spec, launch, view, created)
    )


def write_at(state: State, recorded: int, made: int) -> datetime | None:
    """When `made` is to be written for its own sake, None if nothing hangs on it."""
    since = (launch.scheduled_at for launch in _open(state) if recorded < launch.event <= made)
    first = min(since, default=None)
    return None if first is None else first + WRITE_AFTER


def can_wait(patch: Patch) -> bool:
    """Whether a patch says nothing else."""
    return all(change["op"] == "test" or change["path"] == f"/status/{FIELD}" for change in patch)


def _is_known(spec: WorkflowSpec, launch: Launch, view: View, created: Collection[str]) -> bool:
    """Whether a launch is known to be there, or to have been."""
    if launch.job in view.jobs or launch.job in created or launch.job in view.gone:
        return True
    return view.child(spec.tasks[task_name(launch.task)], launch.job) is not None


def _open(state: State) -> Iterator[Launch]:
    return (task.launch for task in state.open() if task.launch is not None)
