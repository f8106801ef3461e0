"""Histories that may be: random sequences of steps, each legal after those before it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st

from flowy.policy.timeout import Timer
from flowy_operator.core.history import (
    CancelReason,
    Event,
    Fact,
    Failure,
    FailureClass,
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
)
from flowy_operator.core.state import Phase, State, Task, apply
from flowy_operator.core.values import reference
from tests.builders import START, empty_state

NAMES = ("encode", "task", "__x__")

FEW = settings(max_examples=40, deadline=None)
"""For properties over whole histories: most of their time goes into drawing them."""

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
results = st.one_of(
    st.sampled_from(["null", "1.0", "-0.0", '"\\ud83d\\ude00"', '{"ä":"€"}', "[[[]]]"]), st.integers().map(str)
)
instants = st.integers(0, 10**9).map(lambda ms: START + timedelta(milliseconds=ms))
digests = st.text("0123456789abcdef", min_size=16, max_size=16)
lines = st.none() | st.integers(1, 10_000)
nodes = st.none() | texts
messages = st.none() | texts
failures = st.builds(
    Failure,
    type=texts,
    message=texts,
    exit_code=st.none() | st.integers(-(2**31), 2**31 - 1),
    details=st.none() | results,
)
refs = st.builds(reference, name=st.text("abc-", min_size=1, max_size=20), text=texts)
classes = st.sampled_from(FailureClass)
reasons = st.sampled_from(CancelReason)
timers = st.sampled_from(Timer)
progress = st.none() | results


def facts() -> st.SearchStrategy[Fact]:
    """Any fact, in no context."""
    task = st.tuples(st.sampled_from(NAMES), st.integers(0, 99)).map(lambda key: f"{key[0]}-{key[1]}")
    attempt = st.integers(1, 100)
    inputs = results.map(lambda value: f'{{"args":[{value}],"kwargs":{{}}}}')
    return st.one_of(
        st.builds(TaskScheduled, task=task, attempt=attempt, digest=st.none() | digests, line=lines),
        st.builds(RetryScheduled, task=task, attempt=attempt, at=instants, digest=st.none() | digests, line=lines),
        st.builds(
            TaskCompleted, task=task, attempt=attempt, result=results, started_at=st.none() | instants, node=nodes
        ),
        st.builds(TaskCompleted, task=task, attempt=attempt, result_ref=refs),
        st.builds(
            TaskDisrupted,
            task=task,
            attempt=attempt,
            launch=st.integers(0, 19),
            reason=texts,
            message=messages,
            progress=progress,
        ),
        st.builds(
            TaskFailed,
            task=task,
            attempt=attempt,
            error=failures,
            failure_class=classes,
            started_at=st.none() | instants,
            final=st.booleans(),
            progress=progress,
        ),
        st.builds(
            TaskTimedOut,
            task=task,
            attempt=attempt,
            timer=timers,
            final=st.booleans(),
            message=messages,
            progress=progress,
        ),
        st.builds(TaskCancelled, task=task, attempt=attempt, reason=reasons, digest=st.none() | digests, line=lines),
        st.builds(StopRequested, mode=st.sampled_from(StopMode)),
        st.builds(Restarted, run=st.integers(1, 9), input=inputs),
    )


@st.composite
def histories(draw: st.DrawFn, min_size: int = 0, max_size: int = 15) -> list[Event]:
    """A history that folds."""
    state, events = empty_state(), list[Event]()
    time = START
    for number in range(1, draw(st.integers(min_size, max_size)) + 1):
        time += timedelta(milliseconds=draw(st.integers(0, 5_000)))
        event = Event(number, time, draw(_step(state, time)))
        events.append(event)
        state = apply(state, [event])
    return events


def _step(state: State, time: datetime) -> st.SearchStrategy[Fact]:
    new = st.sampled_from([f"{name}-{_count(state, name)}" for name in NAMES])
    options: list[st.SearchStrategy[Fact]] = [
        st.builds(TaskScheduled, task=new, digest=digests, line=lines),
        st.builds(RetryScheduled, task=new, attempt=st.just(1), at=_later(time), digest=digests, line=lines),
        st.builds(TaskCancelled, task=new, reason=reasons, digest=digests, line=lines),
    ]
    if state.stop is None:
        options.append(st.builds(StopRequested, mode=st.sampled_from(StopMode)))
    elif state.stop.mode is StopMode.CANCEL:
        options.append(st.just(StopRequested(mode=StopMode.TERMINATE)))
    tasks: Sequence[Task] = list(state.unfinished())
    if tasks:
        # Twice, so that tasks rather go on than pile up.
        options += [st.sampled_from(tasks).flatmap(lambda task: _next(task, time))] * 2
    elif state.stop is None:
        options.append(st.builds(Restarted, run=st.just(state.run + 1), input=st.just('{"args":[],"kwargs":{}}')))
    return st.one_of(options)


def _next(task: Task, time: datetime) -> st.SearchStrategy[Fact]:
    key, attempt = st.just(task.key), st.just(task.attempt)
    match task.phase:
        case Phase.OPEN:
            assert task.launch is not None
            return st.one_of(
                st.builds(TaskCompleted, task=key, attempt=attempt, result=results, node=nodes),
                st.builds(
                    TaskDisrupted,
                    task=key,
                    attempt=attempt,
                    launch=st.just(task.launch.number),
                    reason=texts,
                    message=messages,
                ),
                st.builds(TaskFailed, task=key, attempt=attempt, error=failures, final=st.booleans()),
                st.builds(TaskTimedOut, task=key, attempt=attempt, timer=timers, final=st.booleans(), message=messages),
                st.builds(TaskCancelled, task=key, attempt=attempt, reason=reasons),
            )
        case Phase.RETRYING:
            following = st.just(task.attempt + 1)
            return st.one_of(
                st.builds(TaskScheduled, task=key, attempt=following),
                st.builds(RetryScheduled, task=key, attempt=following, at=_later(time)),
            )
        case _:
            return st.one_of(
                st.builds(TaskScheduled, task=key, attempt=attempt),
                st.builds(TaskTimedOut, task=key, attempt=attempt, timer=timers, final=st.just(True)),
                st.builds(TaskCancelled, task=key, attempt=attempt, reason=reasons),
            )


def _later(time: datetime) -> st.SearchStrategy[datetime]:
    return st.integers(0, 10_000).map(lambda ms: time + timedelta(milliseconds=ms))


def _count(state: State, name: str) -> int:
    return sum(1 for task in state.tasks.values() if task.name == name)
