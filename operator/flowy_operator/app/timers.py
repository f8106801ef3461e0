"""When a Workflow is to be looked at again although nothing has changed."""

from collections.abc import Iterator
from datetime import datetime

from flowy_operator.app.missing import UNSEEN
from flowy_operator.app.obstacles import PATIENCE, ask_at
from flowy_operator.app.tracked import Workflow
from flowy_operator.app.version import Version
from flowy_operator.core.ending import workflow_deadline
from flowy_operator.core.history import in_milliseconds
from flowy_operator.core.launched import made_through, write_at
from flowy_operator.core.observe import View, deadline
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import Phase, State
from flowy_operator.core.stop import cancel_deadline


def earliest(*times: datetime | None) -> datetime | None:
    return min((at for at in times if at is not None), default=None)


def is_due(at: datetime | None, now: datetime) -> bool:
    return at is not None and at <= now


def next_timer(
    workflow: Workflow, version: Version, spec: WorkflowSpec, state: State, view: View, now: datetime
) -> datetime | None:
    """The first one after `now`. What is due and couldn't be recorded waits for room, under the cap or in the history."""
    return earliest(*(at for at in _timers(workflow, version, spec, state, view, now) if at is not None and at > now))


def _timers(
    workflow: Workflow, version: Version, spec: WorkflowSpec, state: State, view: View, now: datetime
) -> Iterator[datetime | None]:
    yield workflow.retry_decision_at
    yield workflow.contested_until
    yield ask_at(state, view, now)
    yield workflow_deadline(spec, version.timed_from(state))
    yield cancel_deadline(spec, state)
    recorded = version.launched_through
    yield write_at(state, recorded, made_through(spec, state, view, workflow.created, recorded))
    for name, made in workflow.created.items():
        if name not in view.jobs and name not in view.children and name not in workflow.gone:
            yield max(made.at, now) + UNSEEN
            # Its appearance is no news: then it may be one that no pod comes of.
            yield in_milliseconds(made.at) + PATIENCE
    for task in state.unfinished():
        due = deadline(spec.tasks[task.name], task, view)
        yield None if due is None else due.at
        yield None if task.launch is None else task.launch.held_until
        if task.phase is Phase.WAITING:
            yield task.due_at
