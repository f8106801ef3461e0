"""What follows from a workflow's state: asking the decider, and keeping what it said until it could say something new."""

import logging
import platform
from collections.abc import Sequence
from datetime import datetime, timedelta
from importlib import metadata
from typing import Protocol

from flowy.wire.messages import Answer, AnsweredCall, Request
from flowy_operator.adapters.metrics import Metrics
from flowy_operator.app.launches import launchable
from flowy_operator.app.tracked import Basis, Workflow
from flowy_operator.app.values import ValueLost, Values
from flowy_operator.app.version import Version
from flowy_operator.core.admission import due_retries
from flowy_operator.core.conditions import Blocker, Stall
from flowy_operator.core.decided import recorded_waits
from flowy_operator.core.decision import conclude, says_the_same
from flowy_operator.core.ending import end_without_code
from flowy_operator.core.errors import DecisionStalled, StallReason
from flowy_operator.core.history import TaskScheduled
from flowy_operator.core.observe import View, is_being_collected
from flowy_operator.core.pages import TAIL_BYTES
from flowy_operator.core.request import decision_request, value_refs
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import State, apply, place
from flowy_operator.core.stop import comes_first, launching, pass_on, requested
from flowy_operator.core.verdict import Verdict

_log = logging.getLogger(__name__)

FIRST_STALL_S = 1.0
LONGEST_STALL_S = 600.0

VERSIONS = {
    "python": ".".join(platform.python_version_tuple()[:2]),  # the decider runs on the operator's own interpreter
    "flowy": metadata.version("flowy-operator"),
}

UNAVAILABLE_AGAIN_S = 2.0
"""After so long a decider that wasn't there is asked again, each time: its restart is no fault of the workflow."""


class Decider(Protocol):
    """Where decisions are made. Raises DecisionStalled."""

    async def decide(self, request: Request, *, namespace: str, wall_s: float) -> Answer: ...


class Decisions:
    """Decisions of all workflows. What was answered about one is kept with it."""

    def __init__(self, decider: Decider, values: Values, metrics: Metrics) -> None:
        self._decider = decider
        self._values = values
        self._metrics = metrics

    async def verdict(
        self,
        workflow: Workflow,
        version: Version,
        spec: WorkflowSpec,
        before: State,
        state: State,
        view: View,
        now: datetime,
    ) -> Verdict:
        """What follows from the state as it will be. The decider is asked only if it could say something new."""
        overruled = end_without_code(spec, state, version.timed_from(state), now)
        if overruled is not None:
            return overruled
        ready = [*launchable(workflow, spec, state, view, now), *due_retries(state, now)]
        wanted = [task.key for task in ready if workflow.arguments_of(task) is None]
        if workflow.answered_upon is None and not wanted:
            waits = recorded_waits(version.status or {}, spec, state, made_with(spec))
            if waits is not None:
                return Verdict(waiting_on=waits, decided=True)
        retry_at = workflow.retry_decision_at
        self._keep_answer(workflow, spec, before, state)
        if (
            workflow.answered_upon != _basis(spec, state)
            or wanted
            or is_used_up(workflow, state)
            or (retry_at is not None and _is_due(retry_at, now))
        ):
            await self._ask(workflow, spec, state, wanted, now)
        verdict = Verdict(stall=workflow.stall)
        if workflow.stall is None and workflow.answer is not None:
            verdict = conclude(spec, state, workflow.answer, now, launching(spec, state))
        if not comes_first(spec, state, verdict):
            return verdict
        if verdict.stall is None and not is_being_collected(spec, state, view):
            held_back = await self._held_back(workflow, spec, state, now)
            if held_back is not None:
                return Verdict(facts=pass_on(spec, state, held_back), waiting_on=verdict.waiting_on)
        stall = verdict.stall or workflow.stall
        return Verdict(facts=requested(spec, state), stall=stall, waiting_on=verdict.waiting_on)

    def _keep_answer(self, workflow: Workflow, spec: WorkflowSpec, before: State, state: State) -> None:
        """Take it that the answer holds upon a state that follows from its own, if what has ended since can't change it."""
        basis = _basis(spec, state)
        if workflow.answer is None or workflow.answered_upon == basis or workflow.answered_upon != _basis(spec, before):
            return
        if says_the_same(workflow.answer, state, before.pending.keys() - state.pending.keys()):
            workflow.answered_upon = basis
            self._metrics.decision_spared()

    async def _held_back(
        self, workflow: Workflow, spec: WorkflowSpec, state: State, now: datetime
    ) -> list[AnsweredCall] | None:
        """All calls that are on no record, or None if the decider stalls: an answer lists so many, the next one the rest."""
        found: list[AnsweredCall] = []
        shown = state
        while (answer := workflow.answer) is not None:
            new = [call for call in answer.scheduled if call.key not in shown.tasks]
            found += new
            as_if = [TaskScheduled(task=call.key, digest=call.digest, line=call.line) for call in new]
            shown = apply(shown, place(shown, as_if, now))
            # A loop that calls without end is left to the limit of what one write takes.
            if not answer.more or shown.chain.size - state.chain.size > TAIL_BYTES:
                return found
            await self._ask(workflow, spec, shown, [], now)
            workflow.answered_upon = None if workflow.stall is None else workflow.answered_upon
        return None

    async def _ask(
        self, workflow: Workflow, spec: WorkflowSpec, state: State, wanted: Sequence[str], now: datetime
    ) -> None:
        namespace = workflow.owner.namespace
        try:
            values = await self._values.load_all(namespace, value_refs(state))
            request = decision_request(spec, state, wanted, values, workflow.records)
            answer = await self._decider.decide(request, namespace=namespace, wall_s=float(spec.decision_timeout_s))
        except DecisionStalled as error:
            self._stalled(workflow, _basis(spec, state), Stall(error.reason, str(error)), now)
            return
        except ValueLost as error:
            message = f"{error}; restore it as it was, or create the Workflow anew"
            self._stalled(workflow, _basis(spec, state), Stall(Blocker.HISTORY_INVALID, message), now)
            return
        workflow.answered_upon, workflow.retry_decision_at = _basis(spec, state), None
        workflow.answer, workflow.stall, workflow.stalled_times = answer, None, 0
        for call in (*answer.scheduled, *answer.repeated):
            workflow.calls[call.key] = call
        for line in answer.log:
            _log.debug("workflow code printed", extra=workflow.log_fields | {"line": line})

    def _stalled(self, workflow: Workflow, basis: Basis, stall: Stall, now: datetime) -> None:
        """No answer about this state for now: asked again later, or when the outcomes are others."""
        if stall.reason is StallReason.UNAVAILABLE:
            pause_s = UNAVAILABLE_AGAIN_S
        else:
            pause_s = min(FIRST_STALL_S * 2**workflow.stalled_times, LONGEST_STALL_S)
            workflow.stalled_times += 1
        workflow.answered_upon, workflow.answer = basis, None
        workflow.retry_decision_at = now + timedelta(seconds=pause_s)
        workflow.stall = Stall(stall.reason, f"{stall.message}; tried again after {pause_s:,.0f} s")
        _log.warning("decision stalled", extra=workflow.log_fields | {"reason": stall.reason})


def made_with(spec: WorkflowSpec) -> dict[str, str]:
    """What decisions are made with: nothing, without the definition that has the code."""
    return {"digest": spec.source_digest, **VERSIONS} if spec.source else {}


def is_used_up(workflow: Workflow, state: State) -> bool:
    """Whether the answer was cut at the limit of calls, and all its calls are on record."""
    answer = workflow.answer
    return answer is not None and answer.more and all(call.key in state.tasks for call in answer.scheduled)


def _is_due(retry_at: datetime, now: datetime) -> bool:
    """Whether a decision that stalled is asked for again. No pause is longer than that: then the clock was ahead when it began."""
    return not timedelta() < retry_at - now <= timedelta(seconds=LONGEST_STALL_S)


def _basis(spec: WorkflowSpec, state: State) -> Basis:
    """What an answer is made upon: another basis needs another answer."""
    return spec.definition_digest or spec.source_digest, state.run, state.outcomes
