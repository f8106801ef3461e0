"""The figures that nobody counts: looked up in the operator's memory when Prometheus asks."""

from collections import Counter
from collections.abc import Mapping

from flowy_operator.adapters.metrics import Snapshot
from flowy_operator.adapters.recorder import Recorder
from flowy_operator.adapters.reflector import Reflector
from flowy_operator.adapters.workqueue import WorkQueue
from flowy_operator.app.tracked import Workflow
from flowy_operator.app.workflows import Workflows
from flowy_operator.core.conditions import by_type
from flowy_operator.core.definition import Definition
from flowy_operator.core.key import Key
from flowy_operator.core.records import JobRecord, PodRecord
from flowy_operator.core.share import Share

Calls = Mapping[tuple[str, str, int], int]
Jobs = Mapping[tuple[str, str], JobRecord]
Pods = Mapping[tuple[str, str], PodRecord]


def snapshot(
    *,
    calls: Calls,
    queue: WorkQueue,
    workflows: Workflows,
    jobs: Reflector[JobRecord],
    pods: Reflector[PodRecord],
    definitions: Reflector[Definition],
    recorder: Recorder,
    share: Share,
) -> Snapshot:
    """What is so now, of the one replica that works."""
    still_open = [workflow for workflow in workflows if not workflow.version.ended]
    restarts = {"jobs": jobs.restarts, "pods": pods.restarts, "workflowdefinitions": definitions.restarts}
    return Snapshot(
        leads={share.index: True},
        queue_depth=queue.depth,
        oldest_wait_s=queue.oldest_wait_s(),
        taken=queue.taken,
        waited_s=queue.waited_s,
        open_workflows=len(still_open),
        open_tasks=sum(map(_open_tasks, still_open)),
        events_dropped=recorder.dropped,
        stalled=Counter(reason for workflow in still_open if (reason := _stalled(workflow)) is not None),
        foreign=_foreign(workflows, jobs.records, pods.records, share),
        api_calls=calls,
        watch_restarts={
            (resource, cause): count for resource, causes in restarts.items() for cause, count in causes.items()
        },
    )


def _open_tasks(workflow: Workflow) -> int:
    state = workflow.version.state
    return 0 if state is None else sum(1 for _ in state.open())


def _stalled(workflow: Workflow) -> str | None:
    """The reason that its status gives."""
    condition = by_type(workflow.version.status or {}).get("Stalled", {})
    return condition.get("reason") if condition.get("status") == "True" else None


def _foreign(workflows: Workflows, jobs: Jobs, pods: Pods, share: Share) -> Mapping[str, int]:
    """What bears our labels and isn't ours. For a moment also what goes with its workflow, or came before its owner."""
    here = {job.uid: job for job in jobs.values() if share.has(job.owner_uid)}
    foreign = {uid for uid, job in here.items() if _owner(workflows, job) != job.owner_uid}
    # Of another shard's Jobs it is that one which counts.
    elsewhere = {job.uid for job in jobs.values()} - here.keys() if len(here) < len(jobs) else set()
    return {
        "Job": len(foreign),
        "Pod": sum(
            pod.job_uid in foreign
            or (pod.job_uid not in here and pod.job_uid not in elsewhere and share.has(pod.job_uid))
            for pod in pods.values()
        ),
    }


def _owner(workflows: Workflows, job: JobRecord) -> str | None:
    workflow = workflows.get(Key(job.namespace, job.workflow))
    return None if workflow is None else workflow.owner.uid
