"""What has become true since the history was written: outcomes of launches, timers, retries that follow.

A fact counts only for the launch that is current. Facts of one pass are sorted by (finish time, task key) and then
frozen by the append, so that two operators that see the same would write the same.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto

from flowy.policy.retry import MAX_LAUNCHES, GiveUp, RetryAfter, RetryWhen, after_failure, ended_by
from flowy.policy.timeout import Deadline, TimeoutSpec, Timer, next_deadline, schedule_to_close
from flowy_operator.core.attempts import Beat
from flowy_operator.core.child import ChildCancelled, ChildEnd, ChildRecord, ChildTimedOut
from flowy_operator.core.collected import Collected, is_to_collect
from flowy_operator.core.history import (
    CancelReason,
    Fact,
    Failure,
    FailureClass,
    RetryScheduled,
    TaskCancelled,
    TaskCompleted,
    TaskDisrupted,
    TaskFailed,
    TaskScheduled,
    TaskTimedOut,
    format_time,
)
from flowy_operator.core.outcome import (
    Deleted,
    Disrupted,
    Failed,
    Outcome,
    Pending,
    Succeeded,
    Uncollected,
    judge,
)
from flowy_operator.core.records import JobRecord, PodRecord
from flowy_operator.core.sentences import attempt_sentence, line, reasons
from flowy_operator.core.spec import OnParentEnd, TaskSpec, WorkflowSpec
from flowy_operator.core.state import Phase, State, Task, recorded_at, retry_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The cluster as the caches have it; may be stale. Jobs and pods by the Job's name, those with our owner only.

    `gone`: Jobs that this process saw or created, and that are no more. `refused`: launches that the API server will
    never take, with its reason; `notes`: those that it doesn't take now. `results`: those of succeeded launches that had
    to be fetched, and are; `uncollected`: why others can't be yet. `beats`: the last heartbeat of each Job that this process
    heard of, listening since `listening_since`. `obstacles`: what Kubernetes Events tell of Jobs that have no pod, or one
    that doesn't start. `children`: the child Workflows by their names; how those ended is among `results`.
    """

    jobs: Mapping[str, JobRecord] = field(default_factory=dict)
    pods: Mapping[str, PodRecord] = field(default_factory=dict)
    gone: Collection[str] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    children: Mapping[str, ChildRecord] = field(default_factory=dict)
    results: Mapping[str, Collected | ChildEnd] = field(default_factory=dict)
    uncollected: Mapping[str, str] = field(default_factory=dict)
    beats: Mapping[str, Beat] = field(default_factory=dict)
    listening_since: datetime | None = None
    obstacles: Mapping[str, str] = field(default_factory=dict)

    def heard_at(self, job: str) -> datetime | None:
        """When this Job's last heartbeat came, or since when one could have come; None if nobody listens."""
        beat = self.beats.get(job)
        times = [at for at in (self.listening_since, None if beat is None else beat.at) if at is not None]
        return max(times, default=None)

    def silence(self, job: str) -> str | None:
        """What to look at where no heartbeat of this Job has come at all, as far as this process knows."""
        beat, since = self.beats.get(job), self.heard_at(job)
        if since is None or (beat is not None and beat.heard):
            return None
        why = "see whether it sends any, and whether pods reach the gateway at the operator's --gateway-url"
        return f"no heartbeat has come since {format_time(since)}: {why}"

    def started_at(self, job: str) -> datetime | None:
        """When the container of this Job started, None if it hasn't, as far as is known.

        Who was heard has started. The kubelet says so a second or two later, and if its node is lost meanwhile, never.
        """
        pod, beat = self.pods.get(job), self.beats.get(job)
        if pod is not None and pod.started_at is not None:
            return pod.started_at
        return None if beat is None else beat.first_at

    def progress_of(self, job: str) -> str | None:
        """The details of this Job's last heartbeat, as JSON text."""
        beat = self.beats.get(job)
        return None if beat is None else beat.details

    def obstacle(self, job: str) -> str | None:
        """What keeps the pod of this Job from running, if that is known."""
        pod = self.pods.get(job)
        return pod.waiting if pod is not None and pod.waiting is not None else self.obstacles.get(job)

    def child(self, spec: TaskSpec, name: str) -> ChildRecord | None:
        """The child of a launch of this task. Labels alone anybody may set: they are believed only where nobody is to own it."""
        child = self.children.get(name)
        if child is None or spec.workflow is None:
            return None
        return child if child.lineage.owned or spec.workflow.on_parent_end is OnParentEnd.ABANDON else None


class Launching(Enum):
    """Whether new attempts may be scheduled now (`spec.suspend`)."""

    ALLOWED = auto()
    SUSPENDED = auto()


def observe(spec: WorkflowSpec, state: State, view: View, now: datetime, launching: Launching) -> list[Fact]:
    """The facts to append, in their order."""
    moment = _Moment(now, launching, state)
    found: list[tuple[datetime, str, list[Fact]]] = []
    for task in state.unfinished():
        at, facts = _observe_task(spec.tasks[task.name], task, view, moment)
        if facts:
            found.append((at, task.key, [_with_progress(fact, task, view) for fact in facts]))
    found.sort(key=lambda item: item[:2])
    return [fact for _, _, facts in found for fact in facts]


_NO_TIMERS = TimeoutSpec()


def deadline(task_spec: TaskSpec, task: Task, view: View) -> Deadline | None:
    """The timer of this task that fires next."""
    if task_spec.timeouts == _NO_TIMERS:
        return None  # most tasks have no timers, and all thousand that are open are looked at in each pass
    if task.phase is not Phase.OPEN or task.launch is None:
        return schedule_to_close(task_spec.timeouts, task.first_scheduled_at)
    pod = view.pods.get(task.launch.job)
    if isinstance(_outcome(task_spec, task.launch.job, view), Uncollected):
        return None
    timeouts = task_spec.timeouts
    if pod is not None and pod.finished_at is not None:
        timeouts = replace(timeouts, heartbeat_s=None)  # it has ended, though the pod has not: silence is no news
    return next_deadline(
        timeouts,
        first_scheduled_at=task.first_scheduled_at,
        scheduled_at=task.launch.scheduled_at,
        started_at=view.started_at(task.launch.job),
        heard_at=view.heard_at(task.launch.job),
    )


def is_being_collected(spec: WorkflowSpec, state: State, view: View) -> bool:
    """Whether the result of a launch that has succeeded is on its way: it will be here in a moment.

    One that couldn't be had at the first try may take any time, and is waited for no longer than the tasks beside it.
    """
    return any(
        task.launch is not None
        and task.launch.job not in view.uncollected
        and isinstance(_outcome(spec.tasks[task.name], task.launch.job, view), Uncollected)
        for task in state.open()
    )


@dataclass(frozen=True, slots=True)
class _Moment:
    """When a pass looks, and at what; the same for all tasks."""

    now: datetime
    launching: Launching
    state: State


def _observe_task(spec: TaskSpec, task: Task, view: View, moment: _Moment) -> tuple[datetime, list[Fact]]:
    """When it happened, and the facts: an outcome that is there counts even if a timer would have fired meanwhile."""
    now = moment.now
    if task.phase is Phase.OPEN and task.launch is not None:
        pod = view.pods.get(task.launch.job)
        started_at = None if pod is None else pod.started_at
        if task.launch.job in view.refused:
            failure = Failure(type="LaunchRefused", message=view.refused[task.launch.job])
            return now, [_invalid(task, failure)]
        match _outcome(spec, task.launch.job, view):
            case ChildTimedOut(at):
                return at or now, _after_timer(spec, task, Timer.START_TO_CLOSE, None, moment)
            case ChildCancelled(at):
                return at or now, [_cancelled(task, CancelReason.CHILD_STOPPED)]
            case Succeeded(result, at, ref):
                node = None if pod is None else pod.node
                completed = TaskCompleted(
                    task=task.key,
                    attempt=task.attempt,
                    result=result,
                    result_ref=ref,
                    started_at=started_at,
                    node=node,
                )
                return at or now, [completed]
            case Uncollected():
                return now, []
            case Failed(failure, at, retryable=False):
                return at or now, [_final(task, failure, started_at)]
            case Failed(failure, at):
                return at or now, _after_error(spec, task, failure, started_at, moment)
            case Disrupted(at=at) as lost:
                return at or now, [_after_disruption(spec, task, task.launch.number, lost, now)]
            case Deleted():
                return now, [_cancelled(task, CancelReason.DELETED)]
            case Pending():
                pass
    due = deadline(spec, task, view)
    if due is not None and due.at <= now:
        return due.at, _after_timer(spec, task, due.timer, _cause(task, due.timer, view), moment)
    return now, []


def _outcome(spec: TaskSpec, job: str, view: View) -> Outcome | ChildEnd:
    """What became of a launch: a Job's by its records, a child's by its own status."""
    if spec.workflow is not None:
        return _child_outcome(spec, job, view)
    record, is_deleted = view.jobs.get(job), job in view.gone
    if not is_to_collect(spec, record, view.pods.get(job)):
        return judge(record, view.pods.get(job), job_deleted=is_deleted)
    match view.results.get(job, Uncollected()):
        case Disrupted() if is_deleted or (record is not None and record.deleting):
            return Deleted()  # the result went because the Job did
        case collected:
            return collected


def _child_outcome(spec: TaskSpec, name: str, view: View) -> Outcome | ChildEnd:
    end, child = view.results.get(name), view.child(spec, name)
    if end is not None:
        return end
    if child is not None and child.ended:
        return Uncollected()
    return Deleted() if name in view.gone or (child is not None and child.deleting) else Pending()


def _with_progress(fact: Fact, task: Task, view: View) -> Fact:
    """The fact with what the launch that it ends has reported."""
    if task.launch is None or not isinstance(fact, TaskDisrupted | TaskFailed | TaskTimedOut):
        return fact
    return replace(fact, progress=view.progress_of(task.launch.job))


def _cancelled(task: Task, reason: CancelReason) -> TaskCancelled:
    return TaskCancelled(task=task.key, attempt=task.attempt, reason=reason)


def _invalid(task: Task, failure: Failure) -> TaskFailed:
    return TaskFailed(
        task=task.key, attempt=task.attempt, error=failure, failure_class=FailureClass.INVALID, final=True
    )


def _final(task: Task, failure: Failure, started_at: datetime | None) -> TaskFailed:
    return TaskFailed(task=task.key, attempt=task.attempt, error=failure, started_at=started_at, final=True)


def _cause(task: Task, timer: Timer, view: View) -> str | None:
    """What is known of why a task isn't done in time: what keeps it from starting, else how its attempt before ended."""
    if timer is Timer.START_TO_CLOSE:
        return None
    if timer is Timer.HEARTBEAT:
        return None if task.launch is None else view.silence(task.launch.job)
    if task.phase is Phase.OPEN and task.launch is not None:
        waiting = view.notes.get(task.launch.job) or view.obstacle(task.launch.job)
        if waiting is not None:
            return waiting
    if timer is Timer.SCHEDULE_TO_CLOSE and task.last_failure is not None:
        return attempt_sentence(task.last_failure)
    return None


def _after_error(
    spec: TaskSpec, task: Task, failure: Failure, started_at: datetime | None, moment: _Moment
) -> list[Fact]:
    retry = _retry(spec, task, RetryWhen.ERROR, moment, failure)
    failed = _final(task, failure, started_at)
    return [failed] if retry is None else [replace(failed, final=False), retry]


def _after_timer(spec: TaskSpec, task: Task, timer: Timer, cause: str | None, moment: _Moment) -> list[Fact]:
    when = ended_by(timer)
    retry = None if when is None else _retry(spec, task, when, moment)
    timed_out = TaskTimedOut(task=task.key, attempt=task.attempt, timer=timer, final=retry is None, message=cause)
    return [timed_out] if retry is None else [timed_out, retry]


def _retry(
    spec: TaskSpec, task: Task, ended_by: RetryWhen, moment: _Moment, failure: Failure | None = None
) -> TaskScheduled | RetryScheduled | None:
    """The event of the next attempt, if the policy allows one. At once, it keeps the place that the task has."""
    if _is_closed(spec, task, moment.now):
        return None
    what_follows = after_failure(
        spec.retry,
        task.attempt,
        ended_by,
        seed=retry_seed(moment.state, task.key),
        exit_code=None if failure is None else failure.exit_code,
        error_type=None if failure is None else failure.type,
    )
    match what_follows:
        case GiveUp():
            return None
        case RetryAfter(0) if moment.launching is Launching.ALLOWED:
            return TaskScheduled(task=task.key, attempt=task.attempt + 1)
        case RetryAfter(delay_s):
            # By the history's own clock, as the time of the event is: what lies between the two is the delay.
            at = recorded_at(moment.state, moment.now) + timedelta(seconds=delay_s)
            return RetryScheduled(task=task.key, attempt=task.attempt + 1, at=at)


def _after_disruption(
    spec: TaskSpec, task: Task, launch: int, lost: Disrupted, now: datetime
) -> TaskDisrupted | TaskFailed | TaskTimedOut:
    why = f"{lost.reason}: {line(lost.message)}" if lost.message else lost.reason
    if _is_closed(spec, task, now):
        return TaskTimedOut(
            task=task.key,
            attempt=task.attempt,
            timer=Timer.SCHEDULE_TO_CLOSE,
            final=True,
            message=f"attempt {task.attempt} was disrupted: {why}",
        )
    if launch + 1 >= MAX_LAUNCHES:
        message = (
            f"attempt {task.attempt} was disrupted {MAX_LAUNCHES} times, and no attempt is launched more often:"
            f" {reasons([*task.disrupted_by, lost.reason])}"
            + (f"; the last time: {line(lost.message)}" if lost.message else "")
        )
        return TaskFailed(
            task=task.key, attempt=task.attempt, error=Failure(type="TooManyDisruptions", message=message), final=True
        )
    said = line(lost.message) or None
    return TaskDisrupted(task=task.key, attempt=task.attempt, launch=launch, reason=lost.reason, message=said)


def _is_closed(spec: TaskSpec, task: Task, now: datetime) -> bool:
    """Whether the time of all attempts is over: what would follow now would be stopped by the very next pass."""
    end = schedule_to_close(spec.timeouts, task.first_scheduled_at)
    return end is not None and end.at <= now
