"""The caches, seen from one Workflow: its Jobs and Pods by the Job's name, nothing of anybody else's.

A label is a claim that anybody can make. What counts is the owner: a Job's controller is this Workflow's uid, a Pod's
controller is the uid of such a Job. The rest is ignored.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol

from flowy_operator.app.tracked import Workflow
from flowy_operator.core.child import ChildRecord
from flowy_operator.core.observe import View
from flowy_operator.core.records import JobRecord, PodRecord


class Jobs(Protocol):
    def of_workflow(self, namespace: str, workflow: str) -> Iterable[JobRecord]: ...


class Pods(Protocol):
    def of_workflow(self, namespace: str, workflow: str) -> Iterable[PodRecord]: ...


def view_of(
    workflow: Workflow,
    all_jobs: Jobs,
    all_pods: Pods,
    listening_since: datetime,
    children: Mapping[str, ChildRecord],
) -> View:
    """What the caches have of this Workflow, and what was heard of it since `listening_since`."""
    owner = workflow.owner
    jobs = {job.name: job for job in all_jobs.of_workflow(owner.namespace, owner.name) if job.owner_uid == owner.uid}
    cached = all_pods.of_workflow(owner.namespace, owner.name)
    pods = pods_of(workflow, jobs, [*cached, *workflow.last_words.values()] if workflow.last_words else cached)
    return View(
        jobs=jobs,
        pods=pods,
        gone=dict(workflow.gone),
        refused=workflow.refused,
        notes=workflow.notes,
        beats=dict(workflow.beats),
        listening_since=max(listening_since, workflow.heard_since or listening_since),
        children=children,
    )


def pods_of(workflow: Workflow, jobs: Mapping[str, JobRecord], found: Iterable[PodRecord]) -> dict[str, PodRecord]:
    """Those of the found pods whose controller is one of these Jobs, or one that we made, by the Job's name."""
    pods: dict[str, PodRecord] = {}
    for pod in found:
        if pod.job is None or pod.job_uid is None:
            continue
        job = jobs.get(pod.job)
        # The pod's event may overtake its Job's: then our own create's answer knows the uid.
        created = workflow.created.get(pod.job)
        if pod.job_uid != (job.uid if job is not None else created.uid if created is not None else None):
            continue
        # One Job is one pod. Should there be two all the same, the one that ended tells.
        if pod.job not in pods or pod.phase in {"Succeeded", "Failed"}:
            pods[pod.job] = pod
    return pods
