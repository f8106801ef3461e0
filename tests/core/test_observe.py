"""What has become true since the history was written."""

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowy.policy.retry import MAX_LAUNCHES, Backoff, RetryWhen
from flowy.policy.timeout import Deadline, Timer
from flowy_operator.core.admission import admit
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
)
from flowy_operator.core.observe import Launching, View, deadline, observe
from flowy_operator.core.spec import TaskSpec, WorkflowSpec
from flowy_operator.core.state import Phase, State
from tests.builders import (
    at,
    calls,
    completed,
    disrupted,
    empty_state,
    failed,
    followed,
    job_record,
    launch_of,
    pod_record,
    retry,
    scheduled,
    state_of,
    task_spec,
    timed_out,
    timeouts,
    view,
    waiting,
)
from tests.core.strategies import FEW

ALLOWED, SUSPENDED = Launching
TO_START, RUN, CLOSE, HEARTBEAT = Timer
ALL = tuple(RetryWhen)
ERROR = Failure(type="Error", message="no", exit_code=1)
DELAYED = retry(when=ALL, delays_s=(5, 0, 7))


def ran(state: State, task: str = "task-0", phase: str = "Running", **fields: Any) -> View:
    """The current launch's Job and pod."""
    launch = launch_of(state, task)
    given = {"started_at": at(1)} | ({"finished_at": at(9), "exit_code": 0} if phase == "Succeeded" else {})
    given |= {"finished_at": at(9), "exit_code": 1, "message": "no"} if phase == "Failed" else {}
    return view(job_record(launch.job), pod_record(launch.job, phase, **(given | fields)))


FIRST = state_of(scheduled())
SECOND = state_of(scheduled(), timed_out(final=False), scheduled(attempt=2))
THIRD = state_of(timed_out(attempt=2, final=False), scheduled(attempt=3), after=SECOND)
WAITING = state_of(scheduled(), failed(final=False), waiting(attempt=2, until=30))
RUNNING = ran(FIRST)
FAILED = ran(FIRST, phase="Failed")
TIMED = timeouts(start=11, run=12, close=100)


def twentieth() -> State:
    return state_of(scheduled(), *(disrupted(launch=n) for n in range(MAX_LAUNCHES - 1)))


def the_error(*, final: bool) -> TaskFailed:
    return TaskFailed(task="task-0", error=ERROR, started_at=at(1), final=final)


CASES: dict[str, tuple[TaskSpec, State, View, float, Launching, list[Fact]]] = {
    "nothing has happened": (task_spec(), FIRST, view(), 0, ALLOWED, []),
    "it runs": (task_spec(timeouts=TIMED), FIRST, RUNNING, 12, ALLOWED, []),
    "it succeeded": (
        task_spec(),
        FIRST,
        ran(FIRST, phase="Succeeded", message="7", node="n1"),
        9,
        ALLOWED,
        [TaskCompleted(task="task-0", result="7", started_at=at(1), node="n1")],
    ),
    "an outcome counts though its timer would have fired": (
        task_spec(timeouts=TIMED),
        FIRST,
        ran(FIRST, phase="Succeeded", message="7"),
        1000,
        ALLOWED,
        [TaskCompleted(task="task-0", result="7", started_at=at(1))],
    ),
    "D14: timed out, launched again at once": (
        task_spec(timeouts=TIMED),
        FIRST,
        RUNNING,
        13,
        ALLOWED,
        [timed_out(final=False), scheduled(attempt=2)],
    ),
    "D15: the third timeout is final": (
        task_spec(timeouts=TIMED),
        THIRD,
        ran(THIRD),
        13,
        ALLOWED,
        [timed_out(attempt=3)],
    ),
    "N16: #2 at once": (
        task_spec(timeouts=TIMED, retry=DELAYED),
        FIRST,
        RUNNING,
        13,
        ALLOWED,
        [timed_out(final=False), scheduled(attempt=2)],
    ),
    "N16: #3 in 7 s, as an absolute time": (
        task_spec(timeouts=TIMED, retry=DELAYED),
        SECOND,
        ran(SECOND),
        13,
        ALLOWED,
        [timed_out(attempt=2, final=False), waiting(attempt=3, until=20)],
    ),
    "N26: its Job was deleted": (
        task_spec(retry=retry(when=ALL)),
        FIRST,
        view(gone=[launch_of(FIRST).job]),
        9,
        ALLOWED,
        [TaskCancelled(task="task-0", reason=CancelReason.DELETED)],
    ),
    "F24: an error is final by default": (task_spec(), FIRST, FAILED, 9, ALLOWED, [the_error(final=True)]),
    "an error is retried if asked for": (
        task_spec(retry=retry(when=ALL)),
        FIRST,
        FAILED,
        9,
        ALLOWED,
        [the_error(final=False), scheduled(attempt=2)],
    ),
    "an error that says that trying again is useless is final": (
        task_spec(retry=retry(when=ALL)),
        FIRST,
        ran(FIRST, phase="Failed", exit_code=1, message='{"error": {"type": "T", "message": "m", "retryable": false}}'),
        9,
        ALLOWED,
        [TaskFailed(task="task-0", error=Failure(type="T", message="m", exit_code=1), started_at=at(1), final=True)],
    ),
    "F24b: a late start is final by default": (
        task_spec(timeouts=TIMED),
        FIRST,
        view(),
        11,
        ALLOWED,
        [timed_out(timer=TO_START)],
    ),
    "a late start is retried if asked for": (
        task_spec(timeouts=TIMED, retry=retry(when=ALL)),
        FIRST,
        view(),
        11,
        ALLOWED,
        [timed_out(timer=TO_START, final=False), scheduled(attempt=2)],
    ),
    "an exit code that is listed is final": (
        task_spec(retry=retry(when=ALL, non_retryable_exit_codes=(1,))),
        FIRST,
        FAILED,
        9,
        ALLOWED,
        [the_error(final=True)],
    ),
    "a type of error that is listed is final": (
        task_spec(retry=retry(when=ALL, non_retryable_errors=("Error",))),
        FIRST,
        FAILED,
        9,
        ALLOWED,
        [the_error(final=True)],
    ),
    "a late start says what kept it": (
        task_spec(timeouts=TIMED),
        FIRST,
        ran(FIRST, phase="Pending", started_at=None, waiting="image can't be pulled: nope:1"),
        11,
        ALLOWED,
        [timed_out(timer=TO_START, message="image can't be pulled: nope:1")],
    ),
    "a late start says why there is no Job": (
        task_spec(timeouts=TIMED),
        FIRST,
        view(notes={launch_of(FIRST).job: "exceeded quota: none"}),
        11,
        ALLOWED,
        [timed_out(timer=TO_START, message="exceeded quota: none")],
    ),
    "a late start says why there is no pod": (
        task_spec(timeouts=TIMED),
        FIRST,
        view(job_record(launch_of(FIRST).job), obstacles={launch_of(FIRST).job: "can't be created: no quota"}),
        11,
        ALLOWED,
        [timed_out(timer=TO_START, message="can't be created: no quota")],
    ),
    "a retry that never starts says what keeps it, not how the attempt before ended": (
        task_spec(timeouts=timeouts(close=100), retry=retry(when=ALL)),
        SECOND,
        ran(SECOND, phase="Pending", started_at=None, waiting="Unschedulable: no room"),
        100,
        ALLOWED,
        [timed_out(attempt=2, timer=CLOSE, message="Unschedulable: no room")],
    ),
    "a run that takes too long has no other cause": (
        task_spec(timeouts=TIMED, retry=retry(2)),
        SECOND,
        ran(SECOND),
        13,
        ALLOWED,
        [timed_out(attempt=2)],
    ),
    "F25: evicted, in Kubernetes' words": (
        task_spec(),
        FIRST,
        ran(FIRST, phase="Failed", disruption="Evicted", pod_message="The node was low on resource: memory. "),
        9,
        ALLOWED,
        [TaskDisrupted(task="task-0", launch=0, reason="Evicted", message="The node was low on resource: memory.")],
    ),
    "F25: evicted": (
        task_spec(),
        FIRST,
        ran(FIRST, phase="Failed", disruption="Evicted"),
        9,
        ALLOWED,
        [TaskDisrupted(task="task-0", launch=0, reason="Evicted")],
    ),
    "F25: a launch goes on while suspended, since it is no new task": (
        task_spec(),
        FIRST,
        ran(FIRST, phase="Failed", disruption="Evicted"),
        9,
        SUSPENDED,
        [TaskDisrupted(task="task-0", launch=0, reason="Evicted")],
    ),
    "F25: the twentieth launch is the last": (
        task_spec(retry=retry(when=ALL)),
        twentieth(),
        ran(twentieth(), phase="Failed", disruption="Evicted"),
        9,
        ALLOWED,
        [
            TaskFailed(
                task="task-0",
                error=Failure(
                    type="TooManyDisruptions",
                    message="attempt 1 was disrupted 20 times, and no attempt is launched more often: Evicted (20)",
                ),
                final=True,
            )
        ],
    ),
    "F26: no late start is retried after it": (
        task_spec(timeouts=TIMED, retry=retry(when=ALL)),
        SECOND,
        view(),
        100,
        ALLOWED,
        [timed_out(attempt=2, timer=TO_START)],
    ),
    "F26: it fires while the task runs": (
        task_spec(timeouts=timeouts(close=100), retry=retry(when=ALL)),
        SECOND,
        ran(SECOND),
        100,
        ALLOWED,
        [timed_out(attempt=2, timer=CLOSE, message="attempt 1 timed out (StartToClose)")],
    ),
    "F26: it fires while the task waits": (
        task_spec(timeouts=timeouts(close=20), retry=retry(when=ALL)),
        WAITING,
        view(),
        20,
        ALLOWED,
        [timed_out(attempt=2, timer=CLOSE, message="attempt 1 failed: Error: no")],
    ),
    "F26: no error is retried after it": (
        task_spec(timeouts=TIMED, retry=retry(when=ALL)),
        FIRST,
        FAILED,
        100,
        ALLOWED,
        [the_error(final=True)],
    ),
    "F26: no timeout is retried after it": (
        task_spec(timeouts=TIMED, retry=retry(when=ALL)),
        FIRST,
        RUNNING,
        100,
        ALLOWED,
        [timed_out()],
    ),
    "F26: no launch follows a disruption after it": (
        task_spec(timeouts=TIMED),
        FIRST,
        ran(FIRST, phase="Failed", disruption="Evicted"),
        100,
        ALLOWED,
        [timed_out(timer=CLOSE, message="attempt 1 was disrupted: Evicted")],
    ),
    "F27: a result of an attempt before is ignored": (
        task_spec(),
        SECOND,
        ran(FIRST, phase="Succeeded", message="7"),
        9,
        ALLOWED,
        [],
    ),
    "the launch is refused": (
        task_spec(retry=retry(when=ALL)),
        FIRST,
        view(refused={launch_of(FIRST).job: "Job is invalid"}),
        9,
        ALLOWED,
        [
            TaskFailed(
                task="task-0",
                error=Failure(type="LaunchRefused", message="Job is invalid"),
                failure_class=FailureClass.INVALID,
                final=True,
            )
        ],
    ),
    "suspended, a retry that could go at once waits": (
        task_spec(retry=retry(when=ALL)),
        FIRST,
        FAILED,
        9,
        SUSPENDED,
        [the_error(final=False), waiting(attempt=2, until=9)],
    ),
    "timers fire while suspended": (
        task_spec(timeouts=TIMED),
        FIRST,
        view(),
        11,
        SUSPENDED,
        [timed_out(timer=TO_START)],
    ),
    "a retry that waits has no timer but the last": (task_spec(timeouts=TIMED), WAITING, view(), 50, ALLOWED, []),
    "what is final is looked at no more": (
        task_spec(timeouts=TIMED),
        state_of(completed(), after=FIRST),
        FAILED,
        1000,
        ALLOWED,
        [],
    ),
}


@pytest.mark.parametrize(("task", "state", "seen", "now", "launching", "expected"), CASES.values(), ids=CASES)
def test_observe(
    task: TaskSpec, state: State, seen: View, now: float, launching: Launching, expected: list[Fact]
) -> None:
    spec = WorkflowSpec(source="", tasks={"task": task})
    facts = observe(spec, state, seen, at(now), launching)
    assert facts == expected
    after = followed(state, facts, at(now))
    assert observe(spec, after, seen, at(now), launching) == [], "again, it adds nothing"


def test_a_backoff_gives_each_task_and_run_its_own_time_and_a_repeated_pass_the_same() -> None:
    spec = WorkflowSpec(
        source="", tasks={"task": task_spec(retry=retry(when=ALL, backoff=Backoff(initial_s=100, jitter_percent=50)))}
    )
    state = state_of(scheduled("task-0"), scheduled("task-1"))
    pods = {
        launch_of(state, key).job: pod_record(launch_of(state, key).job, "Failed", finished_at=at(9), exit_code=1)
        for key in state.tasks
    }
    seen = View(pods=pods)
    times = [fact.at for fact in observe(spec, state, seen, at(10), ALLOWED) if isinstance(fact, RetryScheduled)]
    assert all(at(60) <= time <= at(110) for time in times)
    assert len(set(times)) == 2
    assert times == [f.at for f in observe(spec, state, seen, at(10), ALLOWED) if isinstance(f, RetryScheduled)]
    other = replace(state, run=2)
    assert times != [f.at for f in observe(spec, other, seen, at(10), ALLOWED) if isinstance(f, RetryScheduled)]


def test_facts_stand_in_the_order_in_which_they_came_true() -> None:
    names = ("late-0", "timer-0", "early-0", "early-1", "unknown-0")
    state = state_of(*(scheduled(name) for name in names))
    specs = {name: task_spec(name) for name in ("late", "early", "unknown")}
    spec = WorkflowSpec(source="", tasks=specs | {"timer": task_spec("timer", timeouts=timeouts(start=5))})
    ends = {"late-0": at(6), "early-0": at(4), "early-1": at(4), "unknown-0": None}
    pods = {
        launch_of(state, key).job: pod_record(launch_of(state, key).job, "Succeeded", finished_at=end)
        for key, end in ends.items()
    }
    facts = observe(spec, state, View(pods=pods), at(60), ALLOWED)
    order = ["early-0", "early-1", "timer-0", "late-0", "unknown-0"]
    assert [getattr(fact, "task", None) for fact in facts] == order


DEADLINES: dict[str, tuple[State, View, Deadline | None]] = {
    "the start is awaited": (FIRST, view(), Deadline(TO_START, at(11))),
    "the pod is there but does not run": (FIRST, ran(FIRST, started_at=None), Deadline(TO_START, at(11))),
    "the end is awaited": (FIRST, RUNNING, Deadline(RUN, at(13))),
    "only the last timer runs while it waits": (WAITING, view(), Deadline(CLOSE, at(100))),
    "F25: a new launch has its timers anew": (
        state_of(40, disrupted(), after=FIRST),
        RUNNING,
        Deadline(TO_START, at(51)),
    ),
}


@pytest.mark.parametrize(("state", "seen", "expected"), DEADLINES.values(), ids=DEADLINES)
def test_deadline(state: State, seen: View, expected: Deadline | None) -> None:
    assert deadline(task_spec(timeouts=TIMED), state.tasks["task-0"], seen) == expected


# -- properties over a small world --------------------------------------------------------------------------------------

SPEC = WorkflowSpec(
    source="",
    tasks={
        "task": task_spec(timeouts=timeouts(start=20, run=20, close=90), retry=retry(4, when=ALL, delays_s=(0, 3, 0))),
        "slow": task_spec("slow", timeouts=timeouts(start=30, run=30), retry=retry(2, delays_s=(4,))),
    },
    parallelism=3,
)
CALLS = [*calls(5), *calls(3, "slow")]
PODS: Mapping[str, Mapping[str, Any]] = {
    "absent": {},
    "pending": {"phase": "Pending"},
    "running": {"phase": "Running", "started_at": at(1)},
    "succeeded": {"phase": "Succeeded", "message": "1"},
    "failed": {"phase": "Failed", "exit_code": 1},
    "evicted": {"phase": "Failed", "exit_code": 137, "disruption": "Evicted"},
}
MOODS = st.lists(st.sampled_from(sorted(PODS)), min_size=8, max_size=8)


def world(state: State, moods: list[str], now: datetime) -> View:
    """Every open launch has a Job, and a pod as the moods have it."""
    records: list[Any] = []
    for n, task in enumerate(state.open()):
        fields, job = PODS[moods[n % len(moods)]], launch_of(state, task.key).job
        records.append(job_record(job))
        if fields:
            times = {"finished_at": now} if fields["phase"] in {"Succeeded", "Failed"} else {}
            records.append(pod_record(job, **{**fields, **times}))
    return view(*records)


def one_pass(state: State, seen: View, now: datetime, launching: Launching) -> State:
    """Observe and admit, as a reconcile does."""
    observed = observe(SPEC, state, seen, now, launching)
    then = followed(state, observed, now)
    new = [call for call in CALLS if call.key not in then.tasks]
    return followed(then, admit(SPEC, then, new, now, launching).facts, now)


STEPS = st.lists(st.tuples(MOODS, st.integers(-5, 40), st.sampled_from(Launching)), max_size=12)


@FEW
@given(STEPS)
def test_a_pass_repeated_adds_nothing_and_parallelism_holds(steps: list[tuple[list[str], int, Launching]]) -> None:
    state, seconds = empty_state(), 0
    for moods, pause, launching in steps:
        seconds += pause  # clocks may be set back
        seen = world(state, moods, at(seconds))
        state = one_pass(state, seen, at(seconds), launching)
        assert one_pass(state, seen, at(seconds), launching) is state
        assert sum(1 for _ in state.open()) <= SPEC.parallelism


@FEW
@given(STEPS, st.randoms(use_true_random=False))
def test_the_order_of_the_caches_does_not_matter(
    steps: list[tuple[list[str], int, Launching]], shuffle: random.Random
) -> None:
    state, seconds = empty_state(), 0
    for moods, pause, launching in steps:
        seconds += pause
        seen = world(state, moods, at(seconds))
        jobs, pods = list(seen.jobs.items()), list(seen.pods.items())
        shuffle.shuffle(jobs)
        shuffle.shuffle(pods)
        other = View(jobs=dict(jobs), pods=dict(pods))
        found = observe(SPEC, state, seen, at(seconds), launching)
        assert observe(SPEC, state, other, at(seconds), launching) == found
        state = one_pass(state, seen, at(seconds), launching)


@FEW
@given(st.lists(st.sampled_from(["failed", "evicted", "pending", "running"]), min_size=1, max_size=8))
def test_every_run_of_failures_ends(moods: list[str]) -> None:
    state, seconds = empty_state(), 0
    for _ in range(300):
        state = one_pass(state, world(state, moods, at(seconds)), at(seconds), ALLOWED)
        if len(state.tasks) == len(CALLS) and all(task.phase is Phase.FINAL for task in state.tasks.values()):
            return
        seconds += 5
    pytest.fail("the tasks go on for ever")


def test_an_attempt_that_is_disrupted_for_ever_ends() -> None:
    spec = WorkflowSpec(source="", tasks={"task": task_spec()})
    state = FIRST
    for n in range(MAX_LAUNCHES):
        assert state.tasks["task-0"].attempt == 1
        assert launch_of(state).number == n
        state = followed(state, observe(spec, state, world(state, ["evicted"], at(n)), at(n), ALLOWED), at(n))
    assert state.tasks["task-0"].phase is Phase.FINAL
    assert isinstance(state.tasks["task-0"].final, TaskFailed)
