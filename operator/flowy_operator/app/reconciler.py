"""The one page that shows the order of effects: observe, decide, record, launch, tidy.

Append first, launch second, delete last. A pass may be cut short after any line and repeated: the record says
launched, no Job is there, the next pass creates it. What a pass writes is one JSON patch that holds only if the object
is still the one that was read.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import ApiError, Invalid, NotFound, PayloadTooLarge
from flowy_operator.adapters.kube.errors import Conflict as WriteConflict
from flowy_operator.adapters.metrics import Metrics
from flowy_operator.adapters.recorder import Recorder
from flowy_operator.app.announce import announce
from flowy_operator.app.decisions import Decider, Decisions, is_used_up, made_with
from flowy_operator.app.definitions import Specs
from flowy_operator.app.late import Late
from flowy_operator.app.launches import Launches, last_end
from flowy_operator.app.leftovers import Leftovers
from flowy_operator.app.missing import fill_gaps
from flowy_operator.app.obstacles import Obstacles
from flowy_operator.app.pages import Pages
from flowy_operator.app.parents import Parents
from flowy_operator.app.results import Results
from flowy_operator.app.timers import earliest, is_due, next_timer
from flowy_operator.app.tracked import Workflow
from flowy_operator.app.values import Values
from flowy_operator.app.version import Version
from flowy_operator.app.workflows import Workflows
from flowy_operator.core.conditions import Blocker, Stall
from flowy_operator.core.contested import held_until, said
from flowy_operator.core.ending import within_one_write
from flowy_operator.core.errors import Conflict, RetryLater
from flowy_operator.core.history import HistoryInvalid, StopRequested, in_milliseconds
from flowy_operator.core.key import Key
from flowy_operator.core.launched import can_wait, made_through, write_at
from flowy_operator.core.observe import View, observe
from flowy_operator.core.pages import Tail, first_portion
from flowy_operator.core.retention import may_run_on
from flowy_operator.core.setback import set_back
from flowy_operator.core.share import Share
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import State, apply, place
from flowy_operator.core.status import Patch, Standing, status_fields, status_patch
from flowy_operator.core.stop import cancel_deadline, launching
from flowy_operator.core.verdict import Verdict

_log = logging.getLogger(__name__)

PAGES_AGAIN = timedelta(seconds=15)
"""After so long pages that were missing are looked for again: nobody tells when one is put back."""


class Reconciler:
    """Bring one Workflow to what its history, its Jobs and the clock say. `clock` gives aware UTC, `gateway_url` is what pods are told.

    `pod_template` is laid under the templates of all Workflows. `share` are the Workflows that are reconciled here.
    """

    def __init__(
        self,
        *,
        client: KubeClient,
        workflows: Workflows,
        view: Callable[[Workflow], View],
        values: Values,
        specs: Specs,
        results: Results,
        decider: Decider,
        recorder: Recorder,
        metrics: Metrics,
        pages: Pages,
        clock: Callable[[], datetime],
        late: Late,
        gateway_url: str,
        pod_template: Mapping[str, Any],
        share: Share,
    ) -> None:
        self._client = client
        self._pages = pages
        self._workflows = workflows
        self._view = view
        self._specs = specs
        self._results = results
        self._decisions = Decisions(decider, values, metrics)
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock
        self._leftovers = Leftovers(client, workflows, Parents(client, workflows, pages, share, late, clock), late)
        self._launches = Launches(client, values, metrics, clock, gateway_url, pod_template)
        self._obstacles = Obstacles(client)

    async def reconcile(self, key: Key) -> datetime | None:
        """One pass. Returns when the next one is due for the clock's sake; RetryLater if the cluster said "not now"."""
        workflow = self._workflows.get(key)
        if workflow is None or workflow.version.deleting:
            return None
        try:
            return await self._pass(workflow)
        except ApiError as error:
            # Whatever a call needs to be told apart is, where it is made. A write may have been applied all the same: what
            # is cached is then old, and the next patch's `test` will say so.
            raise RetryLater(str(error), error.retry_after_s) from error

    async def _pass(self, workflow: Workflow) -> datetime | None:
        version = workflow.version  # a newer one may arrive at any await; this pass is about this one
        workflow.looked_at = version.resource_version
        # History has milliseconds; a finer clock would show the code another time at its first decision than later.
        now = in_milliseconds(self._clock())
        version = workflow.in_time(version, now)
        workflow.contested_until = None
        if version.ended:  # an end stands, whatever is done to the history afterwards
            return await self._after_the_end(workflow, version, self._view(workflow), now)
        version = workflow.in_time(await self._read(workflow, version), now)
        spec, state = await self._specs.of(workflow, version), version.state
        if isinstance(spec, Stall):
            workflow.is_held = True
            await self._hold(workflow, version, spec, self._view(workflow), now)
            return earliest(workflow.contested_until, None if version.unread is None else now + PAGES_AGAIN)
        assert state is not None  # it is known of every valid version
        state = workflow.begun(version, state, now)
        workflow.listen(now)
        view = self._view(workflow)
        view = await fill_gaps(self._client, workflow, spec, state, view, now, version.launched_through)
        view = await self._obstacles.explain(workflow.owner.namespace, state, view, now)
        view = self._results.collect(workflow, spec, state, view)
        run, stop = state.run, state.stop
        verdict, version, state = await self._advance(workflow, version, spec, state, view, now)
        state = set_back(state, now)  # what was recorded just now has the history's time, and timers go by ours
        if (
            verdict.end is not None
            or verdict.cut
            or (state.run, state.stop) != (run, stop)
            or is_used_up(workflow, state)
        ):
            # The next pass deletes what nobody wants, begins the new run, tells the code of a stop, asks for the rest of
            # the calls.
            return now
        postponed = await self._launches.create_missing(workflow, version, spec, state, view, now)
        tend_at, untended = await self._leftovers.tend(workflow, spec, state, view, now)
        await self._drop_older_runs(workflow, version, state, view)
        wake_at = earliest(tend_at, next_timer(workflow, version, spec, state, view, now))
        postponed = postponed or untended
        if postponed is None:
            return wake_at
        # Raised only now: it may be the Jobs that were to be deleted which fill the quota.
        raise RetryLater(str(postponed), postponed.after_s, wake_at=wake_at)

    # -- pages --------------------------------------------------------------------------------------------------------

    async def _read(self, workflow: Workflow, version: Version) -> Version:
        """The version with the pages before its tail, if they aren't known."""
        if version.unread is None:
            return version
        unread = version.unread
        try:
            before = await self._pages.read(workflow.owner, unread.empty, unread.run, unread.first)
        except HistoryInvalid as error:
            return workflow.refuse_history(version, error)
        return workflow.read(version, before)

    async def _drop_older_runs(self, workflow: Workflow, version: Version, state: State, view: View) -> None:
        """Delete what older runs have left, once nothing of them stands in the status any more."""
        if workflow.dropped_before < state.run and version.tail.first >= state.first:
            await self._pages.drop_older(workflow.owner, state.run, view.jobs)
            workflow.dropped_before = state.run

    # -- observe, decide, record --------------------------------------------------------------------------------------

    async def _advance(
        self, workflow: Workflow, version: Version, spec: WorkflowSpec, before: State, view: View, now: datetime
    ) -> tuple[Verdict, Version, State]:
        """Append what has become true and what follows from it, in one patch. Gives the version that it led to."""
        observed = observe(spec, before, view, now, launching(spec, before))
        events = place(before, observed, now)
        portion = first_portion(observed, events)
        facts, events = observed[:portion], events[:portion]
        state, verdict = apply(before, events), Verdict(cut=True)
        if portion == len(observed):
            verdict = await self._decisions.verdict(workflow, version, spec, before, state, view, now)
            verdict = within_one_write(verdict, state, now)
            follow = place(state, verdict.facts, now)
            facts, events, state = [*facts, *verdict.facts], [*events, *follow], apply(state, follow)
        if events:
            # Only now, so that the cut goes along with the append. What is sealed was on record before.
            tail = await self._pages.seal(workflow.owner, version.tail, before)
            version = workflow.sealed(version, tail)
        tail = version.tail.followed_by(events)
        full = self._pages.full(state, tail)
        # An end is written all the same: there is room for it between this limit and etcd's.
        if full is not None and verdict.end is None and not verdict.ending:
            verdict = Verdict(stall=Stall(Blocker.HISTORY_FULL, full))
            # A stop is written too: once its grace period is over, the end comes.
            facts = [fact for fact in facts if isinstance(fact, StopRequested)]
            events = place(before, facts, now)
            state, tail = apply(before, events), version.tail.followed_by(events)
        recorded = version.launched_through
        made = made_through(spec, state, view, workflow.created, recorded)
        standing = Standing(
            generation=version.generation,
            started_at=version.started_at(before),
            end=verdict.end,
            stall=verdict.stall,
            waiting_on=verdict.waiting_on,
            held_back=verdict.held_back,
            suspended=spec.suspend,
            cancel_until=cancel_deadline(spec, state),
            finishing=verdict.finishing,
            code=made_with(spec),
            definition_digest=spec.definition_digest,
            notes=workflow.notes,
            tasks=spec.tasks,
            history_start=tail.first,
            launched_through=made,
            decided=verdict.decided,
        )
        fields = status_fields(version.status or {}, state, standing, view, now)
        patch = status_patch(version.status, fields, events, str(version.resource_version), version.tail)
        if can_wait(patch) and not is_due(write_at(state, recorded, made), now):
            patch = []
        if not events and verdict.end is None and _is_contested(workflow, version, fields, now):
            patch = []
        if patch:
            written = await self._record(workflow, version, patch, state, tail)
            announce(self._recorder, self._metrics, workflow, version, written, facts, spec.tasks)
            workflow.follows_end_at = last_end(before, facts, view)
            version = written
        workflow.forget_finished(state)
        return verdict, version, state

    async def _record(
        self, workflow: Workflow, version: Version, patch: Patch, state: State | None, tail: Tail
    ) -> Version:
        owner = workflow.owner
        try:
            body = await self._client.json_patch(paths.workflow_status(owner.namespace, owner.name), patch)
        except NotFound:
            self._workflows.forget(workflow.key, owner.uid)
            raise RetryLater("the workflow was deleted") from None
        except WriteConflict as error:
            await self._read_again(workflow)
            # At once, since there is something new to act upon; a refusal of what is current would come again.
            raise Conflict(str(error), after_s=None if workflow.version is version else 0.0) from error
        except (Invalid, PayloadTooLarge) as error:
            # No later pass could write this either. To be said in the status, by the next pass, in few words.
            stall = Stall(Blocker.STATUS_REFUSED, f"the API server refuses the status: {error.message}")
            workflow.refuse(version, stall)
            raise RetryLater(str(error), after_s=0.0 if version.invalid is None else None) from error
        written = workflow.wrote(version, body, state, tail)
        workflow.said = said(written.status or {}, in_milliseconds(self._clock()))  # as fine as a pass's `now`
        self._workflows.show(workflow)  # its parent need not wait for the watch
        return written

    async def _read_again(self, workflow: Workflow) -> None:
        owner = workflow.owner
        try:
            body = await self._client.get(paths.workflows(owner.namespace, owner.name))
        except NotFound:
            self._workflows.forget(workflow.key, owner.uid)
        else:
            self._workflows.accept(workflow.key, body, self._clock())

    async def _hold(self, workflow: Workflow, version: Version, stall: Stall, view: View, now: datetime) -> None:
        """Say in the status why nothing is done, and touch nothing else."""
        previous = version.status or {}
        state = State(workflow=workflow.owner.name, uid=workflow.owner.uid, started_at=now)
        standing = Standing(generation=version.generation, started_at=now, stall=stall)
        fields = status_fields(previous, state, standing, view, now)
        held = {name: fields[name] for name in ("observedGeneration", "conditions")}
        if workflow.folded is not None and workflow.folded.state.events and not version.newer:
            # It may have gone with the rest, and without it the next operator would take this for a new workflow. Where a
            # newer one has gone on, its digest fits a history that we can't read.
            held["historyDigest"] = workflow.folded.state.chain.digest
        kept = {name: value for name, value in previous.items() if name not in held}
        patch = status_patch(version.status, kept | held, [], str(version.resource_version))
        if patch and not _is_contested(workflow, version, held, now):
            why = {"reason": stall.reason.value, "why": stall.message}
            _log.warning("workflow can't be acted upon", extra=workflow.log_fields | why)
            written = await self._record(workflow, version, patch, version.state, version.tail)
            announce(self._recorder, self._metrics, workflow, version, written, [], {})

    # -- after the end ------------------------------------------------------------------------------------------------

    async def _after_the_end(self, workflow: Workflow, version: Version, view: View, now: datetime) -> datetime | None:
        """Only what is left over.

        Pages are worth reading only for what still runs and may have been abandoned: the history alone tells it from what
        was cancelled.
        """
        spec = await self._specs.to_tidy(workflow, version)
        if spec is not None and may_run_on(spec, view):
            version = await self._read(workflow, version)
        workflow.close()
        if spec is None:
            return None
        wake_at, untended = await self._leftovers.tend(workflow, spec, version.state, view, now)
        if untended is not None:
            raise RetryLater(str(untended), untended.after_s, wake_at=wake_at)
        return earliest(wake_at, await self._leftovers.expire(workflow, version, spec, view, now))


def _is_contested(workflow: Workflow, version: Version, fields: Mapping[str, Any], now: datetime) -> bool:
    """Whether these fields wait, since another operator has put others in their place."""
    workflow.contested_until = held_until(workflow.said, version.status or {}, fields, now)
    return workflow.contested_until is not None
