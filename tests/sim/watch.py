"""What may never be, looked at with each change in the cluster."""

import asyncio
from collections import Counter
from typing import Any

from flowy_operator.core.conditions import Blocker, by_type, has_ended
from flowy_operator.core.history import (
    CancelReason,
    HistoryInvalid,
    RetryScheduled,
    StopRequested,
    TaskCancelled,
    TaskCompleted,
    TaskDisrupted,
    TaskFailed,
    TaskScheduled,
    TaskTimedOut,
    format_time,
    parse_history,
    parse_time,
)
from flowy_operator.core.spec import DEFAULT_PARALLELISM
from flowy_operator.core.state import Phase, State, Task, apply
from tests.app.world import World
from tests.fakes.store import Change, Json

CALM_S, CALM_CALLS = 1.5, 10
"""After so long, and the time of so many calls, what has happened is on record if nothing hampers the operator: a key rests for
up to a second."""

TROUBLED_S = 100.0
"""After so long, once what hampered it is over: back-offs end at 60 s."""

COUNTS_AFTER_S = 10.0
"""An outcome that was there for so long, and still is, counts whatever else has become true."""

FORBIDDEN = frozenset(
    (
        Blocker.NON_DETERMINISM,
        Blocker.HISTORY_INVALID,
        Blocker.HISTORY_FULL,
        Blocker.STATUS_REFUSED,
        Blocker.INVALID_SPEC,
    )
)


class Violation(AssertionError):
    """Something was that may never be."""


class Watch:
    """`deleted` are Jobs that somebody deleted: those may come again, if nobody saw it.

    `calm_since` is when the last trouble was over, by the loop's clock, None while there is one; `was_troubled`: there was one.
    """

    def __init__(self, world: World, deleted: set[str], latency_s: float) -> None:
        self.latency_s = latency_s
        self.calm_since: float | None = None
        self.was_troubled = False
        self.launches = 0
        self.violations: list[str] = []
        self.made: Counter[str] = Counter()
        self._world = world
        self._deleted = deleted
        self._states: dict[str, State] = {}
        self._ended: dict[str, Json] = {}
        self._waits_from: dict[tuple[str, str], float] = {}  # when a delay went on record, by uid and task
        self._gone_at: dict[str, float] = {}
        self._stopped_at: dict[str, float] = {}  # by uid
        self._seen = world.store.version
        world.store.news.append(self._look)

    def state(self, uid: str) -> State | None:
        return self._states.get(uid)

    def _look(self) -> None:
        log, start = self._world.store.log, len(self._world.store.log)
        while start and log[start - 1].version > self._seen:
            start -= 1
        self._seen = self._world.store.version
        for change in log[start:]:
            try:
                if change.kind.plural == "workflows":
                    self._workflow(change)
                elif change.kind.plural == "jobs":
                    self._job(change)
            except Exception as error:  # noqa: BLE001 - nothing may end the write that is watched
                self._fail(f"a change of {change.kind.plural} can't be understood: {error!r}")

    def _fail(self, why: str) -> None:
        """Kept, and raised by the run: the store must not stop in the middle of a write."""
        self.violations.append(why)

    def _workflow(self, change: Change) -> None:
        body = change.new
        if change.old is None and body is not None:
            self.made[body["metadata"]["name"]] += 1
            if self.made[body["metadata"]["name"]] > 1 and body["metadata"]["name"] not in self._deleted:
                self._fail(f"{body['metadata']['name']} was created twice")
        if body is None and change.old is not None:
            self._gone_at[change.old["metadata"]["name"]] = asyncio.get_running_loop().time()
        if body is not None and body["spec"].get("stop") != (change.old or {"spec": {}})["spec"].get("stop"):
            self._stopped_at[body["metadata"]["uid"]] = asyncio.get_running_loop().time()
        if body is None or "startTime" not in body.get("status", {}):
            return  # it hasn't begun; it may wait for its definition
        metadata, status = body["metadata"], body["status"]
        uid, name = metadata["uid"], metadata["name"]
        stalled = by_type(status).get("Stalled", {})
        if stalled.get("status") == "True" and stalled.get("reason") in FORBIDDEN:
            self._fail(f"{name} is stalled: {stalled['reason']}: {stalled['message']}")
        before = self._ended.get(uid)
        if before is not None and before != status:
            self._fail(f"{name} has ended, and its status was changed afterwards")
        if has_ended(status):
            self._ended[uid] = status
        state = self._states.get(uid)
        if state is None:
            state = State(workflow=name, uid=uid, started_at=parse_time(status["startTime"]))
        first, history = int(status.get("historyStart", 1)), status.get("history", ())
        new = history[max(state.events + 1 - first, 0) :]
        for event in parse_history(list(new), state.events + 1):
            if state.last_time is not None and event.time < state.last_time:
                self._fail(f"{name}: the time of event {event.id} lies before that of the event before it")
            if isinstance(event.fact, RetryScheduled):
                self._waits_from[uid, event.fact.task] = asyncio.get_running_loop().time()
            if isinstance(event.fact, StopRequested):
                self._check_prompt(name, "the stop", self._stopped_at.get(uid))
            if isinstance(event.fact, TaskCancelled) and event.fact.reason is CancelReason.DELETED:
                task = state.tasks.get(event.fact.task)
                gone_at = None if task is None or task.launch is None else self._gone_at.get(task.launch.job)
                self._check_prompt(name, f"that the Job of {event.fact.task} was deleted", gone_at)
            if isinstance(event.fact, TaskCompleted | TaskFailed):
                self._check_outcome(name, state, event.fact)
            if isinstance(event.fact, TaskScheduled):
                self._check_due(name, state, event.fact, event.time)
            if isinstance(event.fact, TaskTimedOut | TaskDisrupted):
                self._check_ignored(name, state, event.fact)
            if (
                isinstance(event.fact, TaskTimedOut)
                and event.fact.timer == "Heartbeat"
                and self._beats(state, event.fact)
            ):
                self._fail(f"{name}: {event.fact.task} beats, and was taken for silent")
            try:
                state = apply(state, [event])
            except HistoryInvalid as error:
                self._fail(f"{name}: {error}")
                return
        self._states[uid] = state
        if new:
            open_now = sum(task.phase is Phase.OPEN for task in state.tasks.values())
            if open_now > body["spec"].get("parallelism", DEFAULT_PARALLELISM):
                self._fail(f"{name} has {open_now} open tasks")

    def _check_outcome(self, name: str, state: State, fact: TaskCompleted | TaskFailed) -> None:
        task = state.tasks.get(fact.task)
        if task is None or task.launch is None:
            return  # `apply` will say so
        started = self._world.kubelet.started.get(task.launch.job)
        if fact.started_at is not None and format_time(fact.started_at)[:19] != (started or "")[:19]:
            self._fail(
                f"{name}: the outcome of {fact.task} is of a container that began at {fact.started_at}, that of the current"
                f" launch at {started}"
            )
        self._check_late(name, task)

    def _beats(self, state: State, fact: TaskTimedOut) -> bool:
        """Whether its container runs: one on a lost node may have ended, and nobody knows."""
        task = state.tasks.get(fact.task)
        running = {pod["metadata"]["ownerReferences"][0]["name"] for pod in self._world.kubelet.running()}
        return task is not None and task.launch is not None and task.launch.job in running

    def _check_ignored(self, name: str, state: State, fact: TaskTimedOut | TaskDisrupted) -> None:
        task = state.tasks.get(fact.task)
        if task is None or task.launch is None:
            return
        job = task.launch.job
        told_at = self._world.kubelet.succeeded.get(job)
        if told_at is None or asyncio.get_running_loop().time() - told_at[0] < COUNTS_AFTER_S:
            return
        if told_at[1] in self._world.store.uids:
            self._fail(f"{name}: {job} had succeeded, and {fact} was recorded")

    def _check_late(self, name: str, task: Task) -> None:
        assert task.launch is not None
        self._check_prompt(name, f"the end of {task.key}", self._world.kubelet.told.get(task.launch.job))

    def _check_prompt(self, name: str, what: str, there_at: float | None) -> None:
        """What goes on record now has been there to be seen since `there_at`, by the loop's clock."""
        if there_at is None or self.calm_since is None:
            return
        late_s = asyncio.get_running_loop().time() - max(there_at, self.calm_since)
        if late_s > (TROUBLED_S if self.was_troubled else CALM_S + CALM_CALLS * self.latency_s):
            self._fail(f"{name}: {what} was recorded {late_s:.0f} s late")

    def _check_due(self, name: str, state: State, fact: TaskScheduled, at: Any) -> None:
        task = state.tasks.get(fact.task)
        if task is None or task.due_at is None or at >= task.due_at:
            return
        # After a clock was set back the history's time stands still, and the delay has been waited for all the same.
        stands_still = at == state.last_time
        if not stands_still or self._waits_from.get((state.uid, fact.task)) == asyncio.get_running_loop().time():
            self._fail(f"{name}: attempt {fact.attempt} of {fact.task} came before its time")

    def _job(self, change: Change) -> None:
        body = change.new or change.old
        assert body is not None
        metadata = body["metadata"]
        name = metadata["name"]
        owner = metadata["ownerReferences"][0]["uid"]
        state = self._states.get(owner)
        if change.old is None:
            self.made[name] += 1
            self.launches += 1
            if state is None or name not in state.launches:
                self._fail(f"the Job {name} was created, and no history tells of it")
            if self.made[name] > 1 and name not in self._deleted:
                self._fail(f"the Job {name} was created twice")
        if change.new is None:
            self._gone_at[name] = asyncio.get_running_loop().time()
        if (
            change.old is not None
            and change.new is None
            and name not in self._deleted
            and owner in self._world.store.uids
            and owner not in self._ended
        ):
            launch = None if state is None else state.launches.get(name)
            is_older = state is not None and int(metadata["labels"].get("flowy.dev/run", 1)) < state.run
            if not is_older and (launch is None or launch.end is None):
                self._fail(f"the Job {name} was deleted, and its outcome isn't on record")
