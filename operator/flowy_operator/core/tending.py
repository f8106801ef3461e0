"""What is done to children that are there: suspended and resumed with their parent, stopped when nobody wants them any more.

Children of the current run stay until their parent goes, since people look at them. Only what belongs to an older run of a
parent that restarted is deleted: a loop of restarts must not pile them up.
"""

from collections.abc import Collection, Iterator
from enum import Enum, auto

from flowy_operator.core.child import ChildRecord
from flowy_operator.core.history import StopMode
from flowy_operator.core.observe import View
from flowy_operator.core.spec import OnEnd, OnParentEnd, WorkflowSpec
from flowy_operator.core.state import LaunchEnd, State, task_name


class Act(Enum):
    """What is to be done to a child."""

    SUSPEND = auto()
    RESUME = auto()
    CANCEL = auto()
    TERMINATE = auto()
    DELETE = auto()


def tend(
    spec: WorkflowSpec, state: State | None, view: View, unsettled: Collection[str] = ()
) -> Iterator[tuple[ChildRecord, Act]]:
    """What the parent owes its children now. Done, nothing is left to do. Without a state: of a workflow that has ended.

    Those that are `unsettled`, by their names, aren't deleted: a create that is late could make them anew, or their Jobs.
    """
    for child in view.children.values():
        act = None if child.deleting else _act(spec, state, child, may_go=child.name not in unsettled)
        if act is not None:
            yield child, act


def _act(spec: WorkflowSpec, state: State | None, child: ChildRecord, *, may_go: bool) -> Act | None:
    if state is None:
        return None if child.ended else _unremembered(spec, child)
    if child.lineage.run < state.run:
        act = _leave_behind(spec, child)
        if act is not Act.DELETE or may_go:
            return act
        return None if child.ended or child.stop is StopMode.TERMINATE else Act.TERMINATE
    launch = state.launches.get(child.name)
    if launch is None or child.ended:
        return None
    match launch.end:
        case None:
            return _pause(spec, child)
        case LaunchEnd.STOPPED:
            return _stop(spec, child) or _let_go(child)
        case _:
            return _let_go(child)


def _leave_behind(spec: WorkflowSpec, child: ChildRecord) -> Act | None:
    """An older run's child: one that may clean up does so first."""
    if not child.lineage.owned:
        return None if child.ended else _let_go(child)
    if child.ended:
        return Act.DELETE
    act = _unremembered(spec, child)
    return Act.DELETE if act is Act.TERMINATE or child.stop is StopMode.TERMINATE else act


def _unremembered(spec: WorkflowSpec, child: ChildRecord) -> Act | None:
    """A child that runs, and whose launch no history tells of: with `onEnd: Abandon` it may have been left to run on."""
    if spec.on_end is OnEnd.ABANDON and child.stop is None:
        return _let_go(child)
    return _stop(spec, child) or _let_go(child)


def _stop(spec: WorkflowSpec, child: ChildRecord) -> Act | None:
    """By `onParentEnd`. What the history of an ended parent can't tell any more, the child does: whose nobody is, was abandoned."""
    task = spec.tasks.get(task_name(child.lineage.task))
    policy = None if task is None or task.workflow is None else task.workflow.on_parent_end
    if not child.lineage.owned or policy is OnParentEnd.ABANDON:
        return None
    if policy is OnParentEnd.TERMINATE:
        return Act.TERMINATE if child.stop is not StopMode.TERMINATE else None
    if child.stop is not None:
        return None  # it may clean up, or nobody knows whether it may
    return Act.CANCEL if policy is OnParentEnd.CANCEL else Act.TERMINATE


def _let_go(child: ChildRecord) -> Act | None:
    """Nobody is left who would resume it later."""
    return Act.RESUME if child.lineage.suspended_by_parent else None


def _pause(spec: WorkflowSpec, child: ChildRecord) -> Act | None:
    """Pass on the parent's `suspend` when it changes, and only that: a person may suspend a child or resume it alone."""
    by_parent = child.lineage.suspended_by_parent
    if spec.suspend and not child.suspended and not by_parent:
        return Act.SUSPEND
    if not spec.suspend and by_parent:
        return Act.RESUME
    return None
