"""Ends of tasks that the code doesn't wait for alone are recorded together.

A gather of five needs five results: four of them change nothing. A write for each costs the API server more than the tasks do
as soon as there are many workflows. So such ends wait for a moment; the one that the code can go on with takes them along.
Until then they are as if nobody had looked: the Jobs are there, and an operator that starts sees them.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from flowy_operator.app.decisions import basis
from flowy_operator.app.tracked import Workflow
from flowy_operator.core.decision import says_the_same
from flowy_operator.core.history import Fact, TaskCompleted
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import State, apply, place

GATHERED_FOR = timedelta(milliseconds=500)
"""From the first on. Longer would gather more; but what isn't on record can still be lost, with its pod."""


def due(
    workflow: Workflow, spec: WorkflowSpec, before: State, observed: Sequence[Fact], now: datetime
) -> Sequence[Fact]:
    """Of what has become true, what is to be recorded now: all of it, or nothing until `workflow.gathers_until`."""
    until, workflow.gathers_until = workflow.gathers_until, None
    if not observed or not _can_wait(workflow, spec, before, observed, now):
        return observed
    if until is None or until - now > GATHERED_FOR:  # the clock may have been set back meanwhile
        until = now + GATHERED_FOR
    if until <= now:
        return observed
    workflow.gathers_until = until
    return ()


def _can_wait(workflow: Workflow, spec: WorkflowSpec, before: State, observed: Sequence[Fact], now: datetime) -> bool:
    """Whether these are results alone, no call waits for their places, and the code would say what it has said."""
    answer = workflow.answer
    if answer is None or workflow.answered_upon != basis(spec, before):
        return False
    if spec.stop is not None or before.stop is not None:
        return False
    if answer.more or any(call.key not in before.tasks for call in answer.scheduled):
        return False
    ended = {fact.task for fact in observed if isinstance(fact, TaskCompleted)}
    return len(ended) == len(observed) and says_the_same(answer, apply(before, place(before, observed, now)), ended)
