"""What nobody wants any more: children and Jobs whose time has come, and at last the Workflow itself."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import ApiError, Conflict, Forbidden
from flowy_operator.app.children import tend_children
from flowy_operator.app.late import Late
from flowy_operator.app.parents import Parents
from flowy_operator.app.timers import earliest
from flowy_operator.app.tracked import Workflow
from flowy_operator.app.version import Version
from flowy_operator.app.workflows import Workflows
from flowy_operator.core.errors import RetryLater
from flowy_operator.core.key import Key
from flowy_operator.core.observe import View
from flowy_operator.core.records import JobRecord
from flowy_operator.core.retention import abandoned_runs_on, tidy, workflow_expires_at
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import State
from flowy_operator.core.values import input_name

DELETES_AT_ONCE = 20
"""Of Jobs, in flight at the API server together: as many as there are creates, for the same reason. One after the other, a stopped
workflow's 600 Jobs ran on for up to a minute."""

_FAILURES = 3  # of a pass, after which it makes no more deletes: while the API server hangs, each takes half a minute


class Leftovers:
    """Deletes by uid, and only what no create that is late could make anew (`late.py`)."""

    def __init__(self, client: KubeClient, workflows: Workflows, parents: Parents, late: Late) -> None:
        self._client = client
        self._workflows = workflows
        self._parents = parents
        self._late = late
        self._slots = asyncio.Semaphore(DELETES_AT_ONCE)

    async def tend(
        self, workflow: Workflow, spec: WorkflowSpec, state: State | None, view: View, now: datetime
    ) -> tuple[datetime | None, RetryLater | None]:
        """Do to Jobs and children what is due. When more is, and why another pass is needed for what couldn't be done."""
        unsettled = {} if state is None else self._unsettled(workflow, state, view, now)
        untended = await tend_children(self._client, spec, state, view, unsettled)
        tidy_at = await self._tidy(workflow, spec, state, view, now)
        return earliest(tidy_at, *unsettled.values()), untended

    async def expire(
        self, workflow: Workflow, version: Version, spec: WorkflowSpec, view: View, now: datetime
    ) -> datetime | None:
        """Delete a Workflow that has ended, once its time to live is over and nobody needs it. When to look again."""
        completed_at = workflow.completed_at(version, now)
        expires_at = None if completed_at is None else workflow_expires_at(spec, completed_at)
        if expires_at is None:
            return None
        expires_at = max(expires_at, self._late.settled_at(workflow, now))
        if expires_at > now:
            return expires_at
        if abandoned_runs_on(spec, version.state, view):
            return None  # the end of the Job or child will tell
        needed_until = await self._parents.needs(workflow, now)
        if needed_until is None:
            await self._delete(workflow)
        return needed_until

    async def _delete(self, workflow: Workflow) -> None:
        owner = workflow.owner
        with suppress(Conflict):  # another object has the name by now
            await self._client.delete(paths.workflows(owner.namespace, owner.name), uid=owner.uid)

    async def _tidy(
        self, workflow: Workflow, spec: WorkflowSpec, state: State | None, view: View, now: datetime
    ) -> datetime | None:
        tidying = tidy(spec, state, view, now, self._late.settled_at(workflow, now))
        await self._delete_jobs(tidying.jobs)
        return tidying.next_at

    async def _delete_jobs(self, jobs: Sequence[JobRecord]) -> None:
        """Side by side. Raises one of the errors: when all have been tried, or when it seems that nothing can be deleted now."""
        left = iter(jobs)
        refused: list[Forbidden] = []  # each for itself
        failed: list[ApiError] = []  # as the next one would

        async def delete_some() -> None:
            for job in left:
                async with self._slots:
                    if len(failed) >= _FAILURES:
                        return
                    try:
                        await self._delete_job(job)
                    except Forbidden as error:
                        refused.append(error)
                    except ApiError as error:
                        failed.append(error)

        await asyncio.gather(*(delete_some() for _ in range(min(len(jobs), DELETES_AT_ONCE))))
        for error in (*failed, *refused):
            raise error

    async def _delete_job(self, job: JobRecord) -> None:
        if job.has_input_map:  # first, since nothing but the Job tells that it is there
            await self._client.delete(paths.configmaps(job.namespace, input_name(job.name)))
        with suppress(Conflict):  # another object has the name by now; it isn't ours
            await self._client.delete(paths.jobs(job.namespace, job.name), uid=job.uid)

    def _unsettled(self, workflow: Workflow, state: State, view: View, now: datetime) -> Mapping[str, datetime]:
        """The children of older runs that aren't to go yet, by name: until when they, or their Jobs, could be made anew."""
        found = {}
        for child in view.children.values():
            if child.lineage.run < state.run:
                own = self._workflows.get(Key(child.namespace, child.name))
                settled = [
                    self._late.settled_at(workflow, now),
                    self._late.settled_at(own, now) if own is not None else self._late.of_another(workflow, child, now),
                ]
                if max(settled) > now:
                    found[child.name] = max(settled)
        return found
