"""What is deleted, and when: Jobs after their outcome is on record, and the Workflow itself after it ended.

Delete last: nothing goes whose outcome isn't in the history. A launch that nobody wants any more (timed out, cancelled)
goes at once, a finished one stays for a while so that its logs can be read. An abandoned one has no outcome in the history:
it stays as long after its own end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flowy_operator.core.observe import View
from flowy_operator.core.records import JobRecord, PodRecord
from flowy_operator.core.spec import OnEnd, WorkflowSpec
from flowy_operator.core.state import LaunchEnd, State


@dataclass(frozen=True, slots=True)
class Tidying:
    """Jobs to delete now, and when the next one is due."""

    jobs: Sequence[JobRecord]
    next_at: datetime | None


def tidy(spec: WorkflowSpec, state: State | None, view: View, now: datetime, settled_at: datetime) -> Tidying:
    """Which of our Jobs have stayed long enough. Without a state: of a workflow that has ended, all of them.

    What has run stays until `settled_at`: before, a create that is late could make it anew.
    """
    due = [(job, at if _is_unwanted(state, job) else max(at, settled_at)) for job, at in _due(spec, state, view)]
    later = [at for _, at in due if at > now]
    return Tidying([job for job, at in due if at <= now], min(later, default=None))


def _is_unwanted(state: State | None, job: JobRecord) -> bool:
    """Whether it may still run, and is to stop at once: should it be made anew, it goes again."""
    launch = None if state is None else state.launches.get(job.name)
    return not _has_ended(job) if launch is None else launch.end is LaunchEnd.STOPPED


def _due(spec: WorkflowSpec, state: State | None, view: View) -> Iterator[tuple[JobRecord, datetime]]:
    for job in view.jobs.values():
        if job.deleting:
            continue
        if state is None or _is_left_over(state, job):
            until = _left_over_until(spec, job, view.pods.get(job.name))
            if until is not None:
                yield job, until
            continue
        launch = state.launches.get(job.name)
        if launch is None or launch.ended_at is None:
            continue
        match launch.end:
            case LaunchEnd.SUCCEEDED:
                yield job, launch.ended_at + timedelta(seconds=spec.keep_succeeded_s)
            case LaunchEnd.FAILED:
                yield job, launch.ended_at + timedelta(seconds=spec.keep_failed_s)
            case LaunchEnd.ABANDONED if not _has_ended(job):
                continue
            case LaunchEnd.ABANDONED:
                keep_s = spec.keep_succeeded_s if job.complete else spec.keep_failed_s
                yield job, (job.ended_at or launch.ended_at) + timedelta(seconds=keep_s)
            case LaunchEnd.STOPPED | None:
                yield job, launch.ended_at


def abandoned_runs_on(spec: WorkflowSpec, state: State | None, view: View) -> bool:
    """Whether what an end left behind still runs. The Workflow stays for it, since it would take the Job or child along."""
    if any(child.lineage.owned and not child.ended for child in view.children.values()):
        return True
    for job in view.jobs.values():
        if _has_ended(job):
            continue
        if state is None or _is_left_over(state, job):
            if spec.on_end is OnEnd.ABANDON:
                return True
            continue
        launch = state.launches.get(job.name)
        if launch is not None and launch.end is LaunchEnd.ABANDONED:
            return True
    return False


def may_run_on(spec: WorkflowSpec, view: View) -> bool:
    """Whether Jobs or children still run that an end may have left behind."""
    if spec.on_end is not OnEnd.ABANDON:
        return False
    children = (child for child in view.children.values() if child.lineage.owned)
    return not all(_has_ended(job) for job in view.jobs.values()) or not all(child.ended for child in children)


def _has_ended(job: JobRecord) -> bool:
    return job.complete or job.failed_reason is not None


def _is_left_over(state: State, job: JobRecord) -> bool:
    """Whether the Job is of an older run, whose launches nobody remembers."""
    return job.run is not None and job.run < state.run


def _left_over_until(spec: WorkflowSpec, job: JobRecord, pod: PodRecord | None) -> datetime | None:
    """How long a Job stays that is left over, None if as long as it runs. What still runs nobody wants, as a rule."""
    succeeded, ended_at = job.complete, job.ended_at
    if not _has_ended(job) and pod is not None and pod.phase in {"Succeeded", "Failed"}:
        # The Job's own condition comes a second later, and the run's last task is what it was restarted after.
        succeeded, ended_at = pod.phase == "Succeeded", pod.finished_at
    elif not _has_ended(job):
        return None if spec.on_end is OnEnd.ABANDON else job.created_at
    keep_s = spec.keep_succeeded_s if succeeded else spec.keep_failed_s
    return (ended_at or job.created_at) + timedelta(seconds=keep_s)


def workflow_expires_at(spec: WorkflowSpec, completed_at: datetime) -> datetime | None:
    """When the Workflow itself is to go (`spec.ttlSecondsAfterFinished`)."""
    return None if spec.ttl_s is None else completed_at + timedelta(seconds=spec.ttl_s)
