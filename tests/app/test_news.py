"""Which changes of its objects a workflow is looked at for, and that none is missed that matters."""

from typing import Any

import pytest

from flowy_operator.app import news
from flowy_operator.app.tracked import CreatedJob, Workflow
from flowy_operator.app.version import Version
from flowy_operator.core.records import JobRecord, PodRecord
from tests.app.kubelet import value
from tests.app.world import simulated, world
from tests.builders import OWNER, at, job_record, pod_record

UNEXPLAINED = {"waitingOn": [{"task": "task-0", "since": "2026-01-02T03:04:05Z"}]}
EXPLAINED = {"waitingOn": [{"task": "task-0", "reason": "Pod: quota"}]}


def workflow(status: Any = UNEXPLAINED) -> Workflow:
    made = Workflow(OWNER, version=Version(status=status), looked_at=7)
    made.created["job-1"] = CreatedJob("uid-1", at(0), "/x")
    return made


@pytest.mark.parametrize(("version", "is_news"), [(6, False), (7, False), (8, True)])
def test_a_version_that_a_pass_was_about_is_none(version: int, *, is_news: bool) -> None:
    assert news.of_version(workflow(), {"metadata": {"resourceVersion": str(version)}}) is is_news


OURS = job_record("job-1", uid="uid-1")

JOBS: dict[str, tuple[JobRecord | None, JobRecord | None, Any, bool]] = {
    "the one that this process made appears": (None, OURS, UNEXPLAINED, False),
    "it appears, and why it waits is shown": (None, OURS, EXPLAINED, True),
    "another of its name appears": (None, job_record("job-1", uid="uid-2"), UNEXPLAINED, True),
    "one that nobody here made appears": (None, job_record("job-2", uid="uid-1"), UNEXPLAINED, True),
    "it appears complete": (None, job_record("job-1", uid="uid-1", complete=True), UNEXPLAINED, True),
    "it appears failed": (None, job_record("job-1", uid="uid-1", failed_reason="Deadline"), UNEXPLAINED, True),
    "it appears and is being deleted": (None, job_record("job-1", uid="uid-1", deleting=True), UNEXPLAINED, True),
    "it becomes complete": (OURS, job_record("job-1", uid="uid-1", complete=True), UNEXPLAINED, True),
    "it goes": (OURS, None, UNEXPLAINED, True),
}


@pytest.mark.parametrize(("old", "new", "status", "is_news"), JOBS.values(), ids=JOBS)
def test_jobs(old: JobRecord | None, new: JobRecord | None, status: Any, *, is_news: bool) -> None:
    assert news.of_job(workflow(status), old, new) is is_news


PENDING = pod_record("job-1", "Pending")
PLACED = pod_record("job-1", "Pending", node="node-1")

PODS: dict[str, tuple[PodRecord | None, PodRecord | None, Any, bool]] = {
    "it appears": (None, PENDING, UNEXPLAINED, False),
    "it appears, and why it wasn't there is shown": (None, PENDING, EXPLAINED, True),
    "it is given a node": (PENDING, PLACED, UNEXPLAINED, False),
    "it is given a node, and why it had none is shown": (PENDING, PLACED, EXPLAINED, True),
    "no node has room": (PENDING, pod_record("job-1", "Pending", waiting="no room"), UNEXPLAINED, True),
    "it waits no longer": (pod_record("job-1", "Pending", waiting="no room"), PLACED, UNEXPLAINED, True),
    "it appears on its way out": (None, pod_record("job-1", "Pending", deleting=True), UNEXPLAINED, True),
    "it starts": (PLACED, pod_record("job-1", "Running", node="node-1"), UNEXPLAINED, True),
    "it appears ended": (None, pod_record("job-1", "Succeeded"), UNEXPLAINED, True),
    "it goes": (PENDING, None, UNEXPLAINED, True),
}


@pytest.mark.parametrize(("old", "new", "status", "is_news"), PODS.values(), ids=PODS)
def test_pods(old: PodRecord | None, new: PodRecord | None, status: Any, *, is_news: bool) -> None:
    assert news.of_pod(workflow(status), old, new) is is_news


ONE = """
    def one(step):
        return lambda: step()
"""


@simulated
async def test_a_workflow_of_one_task_is_looked_at_seldom() -> None:
    async with world(lambda call: value(1), latency=lambda: 0.001) as w:
        await w.settle()
        before = w.operators[0].operator.snapshot().taken
        w.submit(ONE, "step")
        await w.ended()
        # To begin it, when its Job is made, when its pod runs, when that has ended, once for a burst.
        assert w.operators[0].operator.snapshot().taken - before <= 5
