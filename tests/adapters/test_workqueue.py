"""Keys in, passes out, in virtual time."""

import asyncio
import logging
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowy_operator.adapters.workqueue import (
    BACKLOG_EVERY,
    BASE_S,
    CAP_S,
    JITTER_SHARE,
    LONGEST_REST_S,
    REST,
    WorkQueue,
)
from flowy_operator.core.errors import Conflict, RetryLater
from flowy_operator.core.key import Key
from tests.fakes.clock import run_virtual

A, B, C = (Key("ns", name) for name in "abc")


def now() -> float:
    return asyncio.get_running_loop().time()


class Passes:
    """A worker that notes (time, key) of each pass, takes `each_s` for it, and stops the queue after `limit` passes."""

    def __init__(self, queue: WorkQueue, *, limit: int = 1, each_s: float = 0.0) -> None:
        self.seen: list[tuple[float, Key]] = []
        self.ran: list[Key] = []
        self.most_at_once = 0
        self._queue = queue
        self._limit = limit
        self._each_s = each_s
        self._at_once: list[Key] = []

    @property
    def keys(self) -> list[Key]:
        return [key for _, key in self.seen]

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.seen]

    async def __call__(self, key: Key) -> None:
        assert key not in self._at_once, "two passes of one key at once"
        self.seen.append((now(), key))
        self._at_once.append(key)
        self.most_at_once = max(self.most_at_once, len(self._at_once))
        try:
            if len(self.seen) >= self._limit:
                self._queue.stop()
            await asyncio.sleep(self._each_s)
            self.ran.append(key)
        finally:
            self._at_once.remove(key)


def drive(
    feed: Callable[[WorkQueue], None], *, passes: int, workers: int = 1, each_s: float = 0.0
) -> tuple[WorkQueue, Passes]:
    """Run a queue that `feed` has filled, until it has seen so many passes."""

    async def main() -> tuple[WorkQueue, Passes]:
        queue = WorkQueue()
        worker = Passes(queue, limit=passes, each_s=each_s)
        feed(queue)
        await queue.run(worker, workers)
        return queue, worker

    return run_virtual(main())


def each(calls: Iterable[Callable[[], object]]) -> None:
    for call in calls:
        call()


def test_key_added_twice_is_worked_on_once() -> None:
    queue, worker = drive(lambda q: each([lambda: q.add(A), lambda: q.add(A), lambda: q.add(B)]), passes=2)

    assert worker.keys == [A, B]
    assert queue.depth == 0


def test_live_key_overtakes_the_backlog() -> None:
    def feed(queue: WorkQueue) -> None:
        queue.add(A, backlog=True)
        queue.add(B, backlog=True)
        queue.add(C)
        queue.add(B)

    assert drive(feed, passes=3)[1].keys == [C, B, A]


def test_backlog_is_not_starved() -> None:
    def feed(queue: WorkQueue) -> None:
        queue.add(A, backlog=True)
        for n in range(BACKLOG_EVERY * 2):
            queue.add(Key("live", str(n)))

    assert A in drive(feed, passes=BACKLOG_EVERY)[1].keys


def touched(each_s: float, *feeds: tuple[float, Callable[[WorkQueue], None]]) -> list[float]:
    """The times of the passes of one key, the first at 0, when it is fed so at these times."""

    async def main() -> list[float]:
        queue = WorkQueue()
        worker = Passes(queue, limit=1_000, each_s=each_s)
        queue.add(A)
        async with asyncio.TaskGroup() as group:
            group.create_task(queue.run(worker, 4, grace_s=9))
            for at, feed in feeds:
                await asyncio.sleep(at - now())
                feed(queue)
            await asyncio.sleep(60)
            queue.stop()
        return worker.times

    return run_virtual(main())


def news(queue: WorkQueue) -> None:
    queue.add(A)


def at_once(queue: WorkQueue) -> None:
    queue.add_after(A, 0)


def test_what_was_to_come_of_a_key_that_is_gone_does_not_come() -> None:
    def feed(queue: WorkQueue) -> None:
        queue.add_after(A, 1)
        queue.retry(A)
        queue.drop(A)
        assert (queue.later, queue.failures(A)) == (0, 0)
        queue.add_after(B, 2)

    queue, worker = drive(feed, passes=1)

    assert worker.seen == [(2, B)]
    assert queue.later == 0


RESTS: dict[str, tuple[float, list[tuple[float, Callable[[WorkQueue], None]]], list[float]]] = {
    "news after a pass comes at once": (0.1, [(0.2, news)], [0, 0.2]),
    "news during a pass comes after a rest": (0.1, [(0.05, news)], [0, 0.1 + 0.1 * REST]),
    "a burst comes once more": (0.1, [(0.01, news), (0.02, news), (0.03, news)], [0, 0.1 + 0.1 * REST]),
    "news while it rests changes nothing": (0.1, [(0.05, news), (0.2, news)], [0, 0.1 + 0.1 * REST]),
    "the rest has an end": (5, [(1, news)], [0, 5 + LONGEST_REST_S]),
    "what the pass itself wants is no burst": (0.1, [(0.01, news), (0.02, at_once)], [0, 0.1]),
    "and news after it makes it none": (0.1, [(0.01, at_once), (0.02, news)], [0, 0.1]),
    "what is wanted at once ends a rest": (0.1, [(0.05, news), (0.2, at_once)], [0, 0.2, 0.4]),
    "one that is dropped may come again at once": (
        0.1,
        [(0.05, news), (0.2, lambda queue: queue.drop(A)), (0.3, news)],
        [0, 0.3],
    ),
    "what is due ends a rest": (
        0.1,
        [(0.01, lambda queue: queue.add_after(A, 0.19)), (0.05, news)],
        [0, 0.2],
    ),
}


@pytest.mark.parametrize(("each_s", "feeds", "times"), RESTS.values(), ids=RESTS)
def test_a_key_rests_between_passes_if_there_was_news_meanwhile(
    each_s: float, feeds: list[tuple[float, Callable[[WorkQueue], None]]], times: list[float]
) -> None:
    assert touched(each_s, *feeds) == pytest.approx(times)


def test_no_more_passes_at_once_than_workers() -> None:
    def feed(queue: WorkQueue) -> None:
        for n in range(20):
            queue.add(Key("ns", str(n)))

    _, worker = drive(feed, passes=20, workers=3, each_s=1)

    assert worker.most_at_once == 3
    assert worker.times[-1] == 6


def test_of_several_times_for_one_key_the_earliest_holds() -> None:
    def feed(queue: WorkQueue) -> None:
        for seconds in (9, 3, 6):
            queue.add_after(A, seconds)
        queue.add_after(B, 4)
        assert queue.later == 2

    queue, worker = drive(feed, passes=2)

    assert worker.seen == [(3, A), (4, B)]
    assert queue.later == 0


def test_time_that_has_passed_is_now() -> None:
    assert drive(lambda q: q.add_after(A, -1), passes=1)[1].seen == [(0, A)]


def test_wait_doubles_up_to_a_bound_and_is_shortened_by_a_hash_alone() -> None:
    async def main() -> list[float]:
        queue = WorkQueue()
        return [queue.retry(A) for _ in range(40)]

    waits = run_virtual(main())

    assert waits == run_virtual(main())
    for n, wait_s in enumerate(waits):
        assert min(BASE_S * 2**n, CAP_S) * (1 - JITTER_SHARE) <= wait_s <= min(BASE_S * 2**n, CAP_S)


def test_forgotten_key_waits_as_at_first() -> None:
    async def main() -> tuple[float, float, float]:
        queue = WorkQueue()
        first, second = queue.retry(A), queue.retry(A)
        queue.forget(A)
        return first, second, queue.retry(A)

    first, second, again = run_virtual(main())

    assert first == again < second


FAILURES = {
    "asked to come later": (RetryLater("busy", 7), 7, False),
    "a conflict": (Conflict("late"), BASE_S, False),
    "a bug": (ZeroDivisionError("ours"), BASE_S, True),
}


@pytest.mark.parametrize(("error", "longest_s", "logged"), FAILURES.values(), ids=FAILURES)
def test_failed_key_comes_again(
    error: Exception, longest_s: float, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> tuple[list[float], int]:
        queue = WorkQueue()
        times: list[float] = []

        async def worker(_: Key) -> None:
            times.append(now())
            if len(times) == 1:
                raise error
            queue.stop()

        queue.add(A)
        await queue.run(worker, 1)
        return times, queue.failures(A)

    (first, second), failures = run_virtual(main())

    assert first < second <= longest_s
    assert failures == 0
    assert any(record.levelno == logging.ERROR for record in caplog.records) is logged


def test_worker_may_ask_for_a_retry_without_raising() -> None:
    async def main() -> tuple[int, list[float]]:
        queue = WorkQueue()
        times: list[float] = []

        async def worker(key: Key) -> None:
            times.append(now())
            if len(times) == 3:
                queue.stop()
                return
            queue.retry(key, 10)

        queue.add(A)
        await queue.run(worker, 1)
        return queue.failures(A), times

    assert run_virtual(main()) == (0, [0, 10, 20])


def stopped_after(each_s: float, grace_s: float) -> tuple[Passes, float]:
    async def main() -> tuple[Passes, float]:
        queue = WorkQueue()
        worker = Passes(queue, limit=2, each_s=each_s)
        for key in (A, B, C):
            queue.add(key)
        await queue.run(worker, 2, grace_s=grace_s)
        return worker, now()

    return run_virtual(main())


def test_stop_lets_running_passes_finish_and_starts_no_others() -> None:
    worker, ended_at = stopped_after(3, 5)

    assert (worker.ran, worker.keys, ended_at) == ([A, B], [A, B], 3)


def test_stop_doesnt_wait_longer_than_its_grace() -> None:
    worker, ended_at = stopped_after(30, 5)

    assert (worker.ran, worker.keys, ended_at) == ([], [A, B], 5)


def test_cancelled_queue_leaves_no_pass_behind() -> None:
    async def main() -> list[Key]:
        queue = WorkQueue()
        worker = Passes(queue, limit=9, each_s=30)
        queue.add(A)
        running = asyncio.create_task(queue.run(worker, 1))
        await asyncio.sleep(1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert len(asyncio.all_tasks()) == 1
        return worker.ran

    assert run_virtual(main()) == []


def test_figures_tell_how_long_keys_waited() -> None:
    async def main() -> tuple[float, WorkQueue]:
        queue = WorkQueue()
        queue.add(A)
        await asyncio.sleep(3)
        queue.add(B)
        oldest_s = queue.oldest_wait_s()
        await queue.run(Passes(queue, limit=2), 1)
        return oldest_s, queue

    oldest_s, queue = run_virtual(main())

    assert (oldest_s, queue.taken, queue.waited_s, queue.oldest_wait_s()) == (3, 2, 3, 0)


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(("add", "backlog", "after", "retry", "sleep")),
        st.sampled_from((A, B, C)),
        st.floats(0, 3),
    ),
    max_size=40,
)


@given(OPERATIONS, st.integers(1, 3))
def test_each_key_is_worked_on_after_its_last_touch(operations: list[tuple[str, Key, float]], workers: int) -> None:
    last: dict[Key, float] = {}
    started: dict[Key, float] = {}

    async def worker(key: Key) -> None:
        started[key] = now()
        await asyncio.sleep(0.5)

    async def main() -> None:
        queue = WorkQueue()

        async def feed() -> None:
            for operation, key, seconds in operations:
                if operation == "sleep":
                    await asyncio.sleep(seconds)
                    continue
                last[key] = now()
                act(queue, operation, key, seconds)
            await asyncio.sleep(2 * CAP_S)
            queue.stop()

        async with asyncio.TaskGroup() as group:
            group.create_task(queue.run(worker, workers))
            group.create_task(feed())
        assert (queue.depth, queue.later, queue.running) == (0, 0, 0)

    run_virtual(main())
    assert all(started[key] >= at for key, at in last.items())


def act(queue: WorkQueue, operation: str, key: Key, seconds: float) -> None:
    match operation:
        case "add":
            queue.add(key)
        case "backlog":
            queue.add(key, backlog=True)
        case "after":
            queue.add_after(key, seconds)
        case _:
            queue.retry(key)
