"""What is deleted, and when: Jobs after their outcome is on record, and the Workflow itself after it ended.

Delete last: nothing goes whose outcome isn't in the history. A launch that nobody wants any more (timed out, cancelled)
goes at once, a finished one stays for a while so that its logs can be read. An abandoned one has no outcome in the history:
it stays as long after its own end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flowy_operator.core.observe import View
from flowy_operator.core.records import JobRecord
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import LaunchEnd, State


@dataclass(frozen=True, slots=True)
class Tidying:
    """Jobs to delete now, and when the next one is due."""

    jobs: Sequence[JobRecord]
    next_at: datetime | None


def tidy(spec: WorkflowSpec, state: State, view: View, now: datetime) -> Tidying:
    """Which of our Jobs have stayed long enough."""
    due = list(_due(spec, state, view))
    later = [at for _, at in due if at > now]
    return Tidying([job for job, at in due if at <= now], min(later, default=None))


def _due(spec: WorkflowSpec, state: State, view: View) -> Iterator[tuple[JobRecord, datetime]]:
    for job in view.jobs.values():
        launch = state.launches.get(job.name)
        if launch is None or launch.ended_at is None or job.deleting:
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


def abandoned_runs_on(state: State, view: View) -> bool:
    """Whether a Job that the end left behind still runs. The Workflow stays for it, since it would take the Job along."""
    launches = (state.launches.get(job.name) for job in view.jobs.values() if not _has_ended(job))
    return any(launch is not None and launch.end is LaunchEnd.ABANDONED for launch in launches)


def _has_ended(job: JobRecord) -> bool:
    return job.complete or job.failed_reason is not None


def workflow_expires_at(spec: WorkflowSpec, completed_at: datetime) -> datetime | None:
    """When the Workflow itself is to go (`spec.ttlSecondsAfterFinished`)."""
    return None if spec.ttl_s is None else completed_at + timedelta(seconds=spec.ttl_s)
