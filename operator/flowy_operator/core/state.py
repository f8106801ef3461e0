"""One Workflow's history folded: which tasks there are, how far each is, which Jobs the history implies.

`apply` is the only meaning of the events. It refuses what can't follow what was there (`HistoryInvalid`), so a history
edited by hand stops the workflow instead of misleading it.

How a task moves:

    RetryScheduled ──▶ WAITING ──TaskScheduled──▶ OPEN ──TaskCompleted / TaskCancelled──────────────▶ FINAL
                          ▲                        │ ──TaskFailed / TaskTimedOut with `final`──────▶ FINAL
                          └──RetryScheduled────────┤ ──TaskFailed / TaskTimedOut, then one of the two below
                                                   ├──TaskScheduled (next attempt)──▶ OPEN
                                                   └──TaskDisrupted (next launch)───▶ OPEN

A call that a stop finds held back has no other record than its TaskCancelled, and is FINAL at once.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto

from flowy.policy.retry import pause_before_launch
from flowy_operator.core.history import (
    CancelReason,
    Chain,
    Event,
    Fact,
    HistoryInvalid,
    Restarted,
    RetryScheduled,
    StopMode,
    StopRequested,
    TaskCancelled,
    TaskCompleted,
    TaskDisrupted,
    TaskFailed,
    TaskScheduled,
    TaskTimedOut,
    event_line,
    in_milliseconds,
)
from flowy_operator.core.naming import job_name

_KEY = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)-(0|[1-9][0-9]*)")


class Phase(Enum):
    """How far a task is. `RETRYING` is never seen at rest: the next event says how the task goes on."""

    WAITING = auto()  # the next attempt isn't due yet, or not admitted
    OPEN = auto()  # an attempt is on record: its Job exists or is to be created
    RETRYING = auto()
    FINAL = auto()


Final = TaskCompleted | TaskFailed | TaskTimedOut | TaskCancelled


class LaunchEnd(Enum):
    """Why a launch is over, which decides how long its Job stays."""

    SUCCEEDED = auto()
    FAILED = auto()
    STOPPED = auto()  # nobody wants it any more: timed out, cancelled
    ABANDONED = auto()  # nobody waits for it any more, but it runs on


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One Job that the history implies. It is made no earlier than `held_until`; its timers count from `scheduled_at`.

    `event` is the id of the event that it follows from, `recorded_at` the time of that.
    """

    job: str
    task: str
    attempt: int
    number: int
    run: int = 1
    event: int = 1
    recorded_at: datetime
    scheduled_at: datetime
    held_until: datetime | None = None
    ended_at: datetime | None = None
    end: LaunchEnd | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One call that was recorded. `rank` is its place in the finish order, `due_at` and `waits_since` are for `WAITING`.

    `last_failure` is how the attempt before the current one ended, until the task is final; `disrupted_by` are the reasons
    for which launches of the current attempt were lost. `progress` is the JSON text that an attempt or launch before this
    one left with its last heartbeat.
    """

    key: str
    phase: Phase
    digest: str | None
    line: int | None
    attempt: int
    first_scheduled_at: datetime
    launch: Launch | None = None
    due_at: datetime | None = None
    waits_since: datetime | None = None
    final: Final | None = None
    finished_at: datetime | None = None
    rank: int | None = None
    last_failure: TaskFailed | TaskTimedOut | None = None
    disrupted_by: Sequence[str] = ()
    progress: str | None = None

    @property
    def name(self) -> str:
        """The task's name in the spec."""
        return task_name(self.key)

    @property
    def attempts_made(self) -> int:
        """How many attempts there were; one that only waited for its time is none."""
        return self.attempt if self.launch is not None else self.attempt - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """A stop on record. `passed_on`: the tasks that were open or held back then have been cancelled, so the code knows."""

    mode: StopMode
    at: datetime
    passed_on: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The fold of the current run: `tasks` in the order of their recording, `first` is the id of its first event.

    A restart leaves nothing behind here but the ids, which go on: a workflow may restart for years.
    """

    workflow: str
    uid: str
    started_at: datetime
    run: int = 1
    first: int = 1
    input: str | None = None  # of a restart; None means the spec's
    stop: Stop | None = None
    tasks: Mapping[str, Task] = field(default_factory=dict)
    launches: Mapping[str, Launch] = field(default_factory=dict)
    # Of `tasks` those without a final outcome, in the same order: in a long run they are few, and each pass looks at them
    # a dozen times.
    pending: Mapping[str, Task] = field(default_factory=dict)
    finished: int = 0
    succeeded: int = 0
    events: int = 0
    last_time: datetime | None = None
    chain: Chain = Chain()
    outcomes: Chain = Chain()  # of the final events alone: two states that code can tell apart differ in it

    def open(self) -> Iterator[Task]:
        """Tasks with an attempt on record that has no outcome yet."""
        return (task for task in self.pending.values() if task.phase is Phase.OPEN)

    def unfinished(self) -> Iterator[Task]:
        """Tasks without a final outcome."""
        return iter(self.pending.values())


def task_name(key: str) -> str:
    """The task's name in a key `<name>-<n>`."""
    return key.rpartition("-")[0]


def retry_seed(state: State, key: str) -> str:
    """What names a task for the jitter of its delays: the same in every process, another in each run."""
    return f"{state.uid}/{state.run}/{key}"


def recorded_at(state: State, now: datetime) -> datetime:
    """The time of what is recorded now: a history's never run backwards, even where the clock was set back."""
    time = in_milliseconds(now)
    return time if state.last_time is None else max(time, state.last_time)


def place(state: State, facts: Iterable[Fact], now: datetime) -> list[Event]:
    """Give facts their ids and times, to be appended to this state's history."""
    time = recorded_at(state, now)
    return [Event(state.events + n, time, fact) for n, fact in enumerate(facts, 1)]


def apply(state: State, events: Iterable[Event]) -> State:
    """The state after further events. `HistoryInvalid` if one can't follow; the given state is left as it was."""
    events = list(events)
    if not events:
        return state
    fold = _Fold(state)
    for event in events:
        fold.event(event)
    return replace(
        state,
        started_at=fold.started_at,
        run=fold.run,
        first=fold.first,
        input=fold.input,
        stop=fold.stop,
        tasks=fold.tasks,
        launches=fold.launches,
        pending=fold.pending,
        finished=fold.finished,
        succeeded=fold.succeeded,
        events=events[-1].id,
        last_time=events[-1].time,
        chain=fold.chain,
        outcomes=fold.outcomes,
    )


class _Fold:
    """The working copy of one `apply`: two dictionaries copied once, not once an event."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.started_at, self.run, self.first, self.input = state.started_at, state.run, state.first, state.input
        self.stop = state.stop
        self.tasks, self.launches = dict(state.tasks), dict(state.launches)
        self.pending, self.succeeded = dict(state.pending), state.succeeded
        self.finished, self.outcomes, self.chain = state.finished, state.outcomes, state.chain

    def event(self, event: Event) -> None:
        line = event_line(event)
        self._take(event, line)
        self.chain = self.chain.over((line,))

    def _take(self, event: Event, line: str) -> None:
        fact = event.fact
        if isinstance(fact, Restarted):
            self._restart(fact, event)
            return
        if isinstance(fact, StopRequested):
            self._request_stop(fact, event)
            return
        task = self.tasks.get(fact.task)
        if (
            task is not None
            and isinstance(fact, TaskDisrupted | TaskFailed | TaskTimedOut)
            and fact.progress is not None
        ):
            # Kept over later attempts that report nothing: what was done once is done.
            task = replace(task, progress=fact.progress)
        match fact:
            case TaskScheduled() | RetryScheduled():
                self._goes_on(self._scheduled(task, fact, event))
            case TaskCancelled(digest=str()):
                self._finish(self._held_back(task, fact, event), fact, event, line)
            case _ if task is None or task.phase is Phase.FINAL:
                raise _contradiction(event, "the task is not open")
            case TaskDisrupted():
                self._check_current(task, fact, event)
                self._end_launch(task, event, LaunchEnd.FAILED)
                launch = self._launch(task.key, task.attempt, fact.launch + 1, event)
                self._goes_on(replace(task, launch=launch, disrupted_by=(*task.disrupted_by, fact.reason)))
            case TaskFailed(final=False) | TaskTimedOut(final=False):
                self._check_current(task, fact, event)
                self._end_launch(task, event, _end_of(fact))
                self._goes_on(replace(task, phase=Phase.RETRYING, last_failure=fact))
            case TaskCompleted() | TaskFailed() | TaskTimedOut() | TaskCancelled():
                if task.phase is Phase.OPEN:
                    self._check_current(task, fact, event)
                    self._end_launch(task, event, _end_of(fact))
                elif isinstance(fact, TaskCompleted | TaskFailed):
                    raise _contradiction(event, "no attempt of the task was open")
                elif fact.attempt != task.attempt:
                    raise _contradiction(event, "that attempt is not the current one")
                self._finish(task, fact, event, line)

    def _goes_on(self, task: Task) -> None:
        self.tasks[task.key] = self.pending[task.key] = task

    def _finish(self, task: Task, fact: Final, event: Event, line: str) -> None:
        self.pending.pop(task.key, None)
        self.tasks[task.key] = replace(
            task,
            phase=Phase.FINAL,
            final=fact,
            finished_at=event.time,
            rank=self.finished,
            due_at=None,
            last_failure=None,
            disrupted_by=(),
        )
        self.finished += 1
        self.succeeded += isinstance(fact, TaskCompleted)
        self.outcomes = self.outcomes.over((line,))
        if self.stop is not None and isinstance(fact, TaskCancelled) and fact.reason is CancelReason.STOP_REQUESTED:
            self.stop = replace(self.stop, passed_on=True)

    def _held_back(self, task: Task | None, fact: TaskCancelled, event: Event) -> Task:
        """The task of a call that was cancelled before it was recorded."""
        if task is not None:
            raise _contradiction(event, "only a call that is on no record yet is cancelled with its digest")
        if fact.attempt != 1:
            raise _contradiction(event, "its attempt isn't the first")
        if not _KEY.fullmatch(fact.task):
            raise _contradiction(event, f"{fact.task!r} is no task key")
        return Task(
            key=fact.task,
            phase=Phase.RETRYING,
            digest=fact.digest,
            line=fact.line,
            attempt=1,
            first_scheduled_at=event.time,
        )

    def _request_stop(self, fact: StopRequested, event: Event) -> None:
        if self.stop is not None and (self.stop.mode, fact.mode) != (StopMode.CANCEL, StopMode.TERMINATE):
            raise _contradiction(event, f"a stop by {self.stop.mode} was requested before")
        self.stop = Stop(mode=fact.mode, at=event.time)

    def _scheduled(self, task: Task | None, fact: TaskScheduled | RetryScheduled, event: Event) -> Task:
        if task is None:
            if fact.attempt != 1 or fact.digest is None:
                raise _contradiction(event, "the first attempt of a task carries its digest")
            if not _KEY.fullmatch(fact.task):
                raise _contradiction(event, f"{fact.task!r} is no task key")
            task = Task(
                key=fact.task,
                phase=Phase.RETRYING,
                digest=fact.digest,
                line=fact.line,
                attempt=1,
                first_scheduled_at=event.time,
            )
        elif task.phase is Phase.WAITING and isinstance(fact, TaskScheduled):
            if fact.attempt != task.attempt:
                raise _contradiction(event, f"attempt {task.attempt} was waiting")
        elif task.phase is not Phase.RETRYING or fact.attempt != task.attempt + 1:
            raise _contradiction(event, "no retry was due")
        if isinstance(fact, RetryScheduled):
            return replace(
                task,
                phase=Phase.WAITING,
                attempt=fact.attempt,
                due_at=fact.at,
                waits_since=event.time,
                launch=None,
                disrupted_by=(),
            )
        launch = self._launch(task.key, fact.attempt, 0, event)
        return replace(task, phase=Phase.OPEN, attempt=fact.attempt, launch=launch, due_at=None, disrupted_by=())

    def _check_current(
        self, task: Task, fact: TaskDisrupted | TaskFailed | TaskTimedOut | TaskCompleted | TaskCancelled, event: Event
    ) -> None:
        if task.phase is not Phase.OPEN or task.launch is None or fact.attempt != task.attempt:
            raise _contradiction(event, "that attempt is not the current one")
        if isinstance(fact, TaskDisrupted) and fact.launch != task.launch.number:
            raise _contradiction(event, "that launch is not the current one")

    def _launch(self, key: str, attempt: int, number: int, event: Event) -> Launch:
        name = job_name(
            workflow=self._state.workflow,
            uid=self._state.uid,
            run=self.run,
            task=key,
            attempt=attempt,
            launch=number,
        )
        pause_s = pause_before_launch(number)
        held_until = event.time + timedelta(seconds=pause_s) if pause_s else None
        launch = Launch(
            job=name,
            task=key,
            attempt=attempt,
            number=number,
            run=self.run,
            event=event.id,
            recorded_at=event.time,
            scheduled_at=held_until or event.time,
            held_until=held_until,
        )
        self.launches[name] = launch
        return launch

    def _end_launch(self, task: Task, event: Event, end: LaunchEnd) -> None:
        if task.launch is not None:
            self.launches[task.launch.job] = replace(task.launch, ended_at=event.time, end=end)

    def _restart(self, fact: Restarted, event: Event) -> None:
        if fact.run != self.run + 1:
            raise _contradiction(event, f"run {self.run} is the current one")
        if self.stop is not None:
            raise _contradiction(event, "a stop was requested, after which no new run begins")
        if self.pending:
            raise _contradiction(event, "tasks of the old run are still open")
        self.run, self.first, self.input, self.started_at = fact.run, event.id, fact.input, event.time
        self.tasks, self.launches, self.finished, self.succeeded = {}, {}, 0, 0
        self.outcomes = self.chain = Chain()


def _end_of(fact: TaskCompleted | TaskFailed | TaskTimedOut | TaskCancelled) -> LaunchEnd:
    match fact:
        case TaskCompleted():
            return LaunchEnd.SUCCEEDED
        case TaskFailed():
            return LaunchEnd.FAILED
        case TaskCancelled(reason=CancelReason.ABANDONED):
            return LaunchEnd.ABANDONED
        case TaskTimedOut() | TaskCancelled():
            return LaunchEnd.STOPPED


def _contradiction(event: Event, why: str) -> HistoryInvalid:
    return HistoryInvalid(f"event {event.id} ({type(event.fact).__name__}) contradicts the events before it: {why}")
