"""Asks the API server where a gap in the caches would be mistaken for a fact.

Pods and Jobs come by two watches, and each may lag behind for as long as its back-off lasts. A Job that has ended without
a pod in the cache would count as an outcome that is lost, and a finished activity would run again. A timer would fire for
a task that ended, or began, while nobody could hear of it: after an outage of the API server that is all of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import NotFound
from flowy_operator.adapters.pods import parse_pod
from flowy_operator.app.tracked import Workflow
from flowy_operator.app.view import pods_of
from flowy_operator.core.history import StopMode
from flowy_operator.core.job import UID_LABEL
from flowy_operator.core.launched import unaccounted
from flowy_operator.core.observe import View, deadline
from flowy_operator.core.records import PodRecord
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import State, task_name

UNSEEN = timedelta(seconds=60)
"""After so long without a trace in the cache a Job that we made is asked for: a gap may have swallowed its whole life."""

_JOB_LABEL = "batch.kubernetes.io/job-name"


async def fill_gaps(
    client: KubeClient, workflow: Workflow, spec: WorkflowSpec, state: State, view: View, now: datetime, recorded: int
) -> View:
    """The view with what the caches lack of the open launches, which were made up to event `recorded`.

    Raises ApiError if the API server doesn't answer.
    """
    doubtful = list(_doubtful(spec, state, view, now))
    listed = await _pods_of(client, workflow, view, doubtful) if doubtful else {}
    # What isn't there any more stays as the cache has it: that is news, and the watch will bring it.
    pods = {**view.pods, **{job: listed[job] for job in doubtful if job in listed}}
    gone = dict.fromkeys(view.gone)
    for name, made in workflow.created.items():
        is_seen = name in view.jobs or name in view.children or name in gone
        if not is_seen and now - made.at >= UNSEEN and not await _exists(client, made.path):
            workflow.gone[name] = gone[name] = None
    # A stop by Terminate cancels all that is open, there or not. It may come without the definition, and then nobody knows
    # which launches are children: one that is asked for as a Job would be told to be deleted.
    is_over = spec.stop is StopMode.TERMINATE
    for launch in [] if is_over else list(unaccounted(spec, state, view, workflow.created, recorded)):
        is_child = spec.tasks[task_name(launch.task)].workflow is not None
        path = (paths.workflows if is_child else paths.jobs)(workflow.owner.namespace, launch.job)
        if not await _exists(client, path):  # the caches may lag behind what another operator has made
            workflow.gone[launch.job] = gone[launch.job] = None
    return replace(view, pods=pods, gone=gone)


def _doubtful(spec: WorkflowSpec, state: State, view: View, now: datetime) -> Iterator[str]:
    """Jobs of which something would be concluded from what their pods don't say."""
    for task in state.open():
        if task.launch is None or spec.tasks[task.name].workflow is not None:
            continue  # what a child says of its end, the API server is asked for anyway
        job, pod = view.jobs.get(task.launch.job), view.pods.get(task.launch.job)
        if pod is not None and pod.phase in {"Succeeded", "Failed"}:
            continue
        has_ended = job is not None and (job.complete or job.failed_reason is not None)
        due = deadline(spec.tasks[task.name], task, view)
        if (has_ended and pod is None) or (due is not None and due.at <= now):
            yield task.launch.job


async def _pods_of(client: KubeClient, workflow: Workflow, view: View, jobs: Sequence[str]) -> dict[str, PodRecord]:
    owner = workflow.owner
    # One alone by its name: its workflow may have a thousand. Several at once are an outage's, and then it is most of them.
    selector = f"{_JOB_LABEL}={jobs[0]}" if len(jobs) == 1 else f"{UID_LABEL}={owner.uid}"
    items, _ = await client.list(paths.pods(owner.namespace), label_selector=selector)
    return pods_of(workflow, view.jobs, [pod for pod in map(parse_pod, items) if pod is not None])


async def _exists(client: KubeClient, path: str) -> bool:
    try:
        await client.get(path)
    except NotFound:
        return False
    return True
