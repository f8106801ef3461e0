"""What an answer of the decider means for the workflow. What the decider is asked stands in `request`."""

from collections.abc import Collection, Sequence
from datetime import datetime

from flowy.wire.messages import Answer, Outcome
from flowy_operator.core.admission import admit
from flowy_operator.core.conditions import Blocker, Stall
from flowy_operator.core.ending import after_the_code
from flowy_operator.core.history import TaskCompleted
from flowy_operator.core.observe import Launching
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import State
from flowy_operator.core.verdict import Verdict


def conclude(spec: WorkflowSpec, state: State, answer: Answer, now: datetime, launching: Launching) -> Verdict:
    """What an answer means. Applied again to the state that it led to it adds nothing, but for a restart: a new run asks anew."""
    match answer.outcome:
        case Outcome.SUSPENDED:
            calls = [call for call in answer.scheduled if call.key not in state.tasks]
            admission = admit(spec, state, calls, now, launching)
            held_back = admission.held_back
            decided = not answer.more and not held_back
            return Verdict(facts=admission.facts, waiting_on=answer.waiting_on, held_back=held_back, decided=decided)
        case Outcome.STALLED:
            return Verdict(stall=Stall(Blocker.NON_DETERMINISM, str((answer.error or {}).get("message", ""))))
        case Outcome.COMPLETED | Outcome.FAILED | Outcome.RESTARTED:
            return after_the_code(spec, state, answer, now, launching)


def says_the_same(answer: Answer, state: State, ended: Collection[str]) -> bool:
    """Whether a decision upon `state` would say what `answer` does, since which the tasks of these keys have ended.

    It makes the same calls and waits at the same place; of what the answer schedules and waits for, the state knows what is
    done.
    """
    if answer.outcome is not Outcome.SUSPENDED or not answer.needs:  # with none, nothing would ever be asked again
        return False
    return not any(_may_go_on(group, state) for group in answer.needs if any(key in ended for key in group))


def _may_go_on(group: Sequence[str], state: State) -> bool:
    """Whether nothing of a group is missing, or an error is all that was needed."""
    finals = [None if (task := state.tasks.get(key)) is None else task.final for key in group]
    return None not in finals or any(final is not None and not isinstance(final, TaskCompleted) for final in finals)
