"""When the clock was ahead, and has been set back: the history is then in the future, and what is due by it would never be.

A history's times never run backwards, so whatever is recorded until the clock has caught up gets the time of the last event.
That is right for the code, whose clock this is. Timers, delays and Jobs to be deleted would wait as long as the clock was
wrong: a day, or years. So an instant that can't be has passed counts as now, from the first pass that meets it, and what was
to come so much later comes so much later than that. The history isn't touched: another operator comes to the same in its own time.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from flowy_operator.core.state import Launch, State, Task

TOLERANCE = timedelta(seconds=30)
"""Clocks of two replicas may differ by so much; what that delays isn't worth a thought."""


def is_ahead(at: datetime, now: datetime) -> bool:
    """Whether something that is on record as past can't have been yet."""
    return at > now + TOLERANCE


def set_back(state: State, now: datetime) -> State:
    """The state with all instants that timers and deletions go by in the past; the same one if they are."""
    if state.last_time is None or not is_ahead(state.last_time, now):
        return state
    pending = {key: _task(task, now) for key, task in state.pending.items()}
    current = {task.launch.job: task.launch for task in pending.values() if task.launch is not None}
    launches = {job: current.get(job) or _ended(launch, now) for job, launch in state.launches.items()}
    stop = state.stop
    if stop is not None and is_ahead(stop.at, now):
        stop = replace(stop, at=now)
    return replace(state, tasks=_with(state.tasks, pending), pending=pending, launches=launches, stop=stop)


def _with(tasks: Mapping[str, Task], changed: Mapping[str, Task]) -> Mapping[str, Task]:
    return {**tasks, **changed}  # in their order: a key that is there keeps its place


def _task(task: Task, now: datetime) -> Task:
    launch = None if task.launch is None else _open(task.launch, now)
    first = min(task.first_scheduled_at, now)
    if task.waits_since is None or task.due_at is None or not is_ahead(task.waits_since, now):
        return replace(task, launch=launch, first_scheduled_at=first)
    # Both are by the history's clock, whenever they were recorded.
    due_at = now + (task.due_at - task.waits_since)
    return replace(task, launch=launch, first_scheduled_at=first, due_at=due_at, waits_since=now)


def _open(launch: Launch, now: datetime) -> Launch:
    if not is_ahead(launch.recorded_at, now):
        return launch
    by = launch.recorded_at - now
    held_until = None if launch.held_until is None else launch.held_until - by
    return replace(launch, recorded_at=now, scheduled_at=launch.scheduled_at - by, held_until=held_until)


def _ended(launch: Launch, now: datetime) -> Launch:
    is_wrong = launch.ended_at is not None and is_ahead(launch.ended_at, now)
    return replace(launch, ended_at=now) if is_wrong else launch
