"""Asks the API server by name where a gap in the caches would be mistaken for a fact.

Pods and Jobs come by two watches, and one may lag behind the other for as long as its back-off lasts. A Job that has ended
without a pod in the cache would count as an outcome that is lost, and a finished activity would run again.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import NotFound
from flowy_operator.adapters.pods import parse_pod
from flowy_operator.app.tracked import Workflow
from flowy_operator.app.view import pods_of
from flowy_operator.core.observe import View
from flowy_operator.core.records import JobRecord, PodRecord
from flowy_operator.core.state import State

UNSEEN = timedelta(seconds=60)
"""After so long without a trace in the cache a Job that we made is asked for: a gap may have swallowed its whole life."""

_JOB_LABEL = "batch.kubernetes.io/job-name"


async def fill_gaps(client: KubeClient, workflow: Workflow, state: State, view: View, now: datetime) -> View:
    """The view with what the caches lack of the open launches. Raises ApiError if the API server doesn't answer."""
    pods = dict(view.pods)
    for task in state.open():
        job = None if task.launch is None else view.jobs.get(task.launch.job)
        if job is not None and job.name not in pods and (job.complete or job.failed_reason is not None):
            pods |= await _pods_of(client, workflow, job)
    gone = dict.fromkeys(view.gone)
    for name, made in workflow.created.items():
        overdue = name not in view.jobs and name not in gone and now - made.at >= UNSEEN
        if overdue and not await _exists(client, workflow, name):
            workflow.gone[name] = gone[name] = None
    return replace(view, pods=pods, gone=gone)


async def _pods_of(client: KubeClient, workflow: Workflow, job: JobRecord) -> dict[str, PodRecord]:
    items, _ = await client.list(paths.pods(job.namespace), label_selector=f"{_JOB_LABEL}={job.name}")
    return pods_of(workflow, {job.name: job}, [pod for pod in map(parse_pod, items) if pod is not None])


async def _exists(client: KubeClient, workflow: Workflow, job: str) -> bool:
    try:
        await client.get(paths.jobs(workflow.owner.namespace, job))
    except NotFound:
        return False
    return True
