"""The executor of real time: worker threads that take launches in their order, and a clock that never goes back."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from threading import Condition, Thread

from flowy.local.functions import failure
from flowy.local.launch import Ended, Launch, Outcome, Report, Started, StopAsked

Perform = Callable[[Launch], Outcome]
"""Does the work of a launch, in the calling thread. What it raises is a failure of the attempt."""

_LONGEST_WAIT_S = 3600.0  # threads can't wait longer than some weeks at a time; who waits this long may look once more


class Workers:
    """Up to `count` threads. They are daemons: one that hangs in an activity must not hold up the end of the process."""

    def __init__(self, count: int, perform: Perform, leave: Callable[[], None] = lambda: None) -> None:
        """`perform` does the work; `leave` is called by each thread at its end."""
        self._count = count
        self._perform = perform
        self._leave = leave
        self._began_at, self._began_s = datetime.now(UTC), time.monotonic()
        self._news: SimpleQueue[Report] = SimpleQueue()
        self._stops: deque[StopAsked] = deque()  # that were not told yet
        self._ahead: deque[Launch] = deque()
        self._changed = Condition()
        self._threads: list[Thread] = []
        self._idle = 0
        self._is_closed = False

    def now(self) -> datetime:
        at = self._began_at + timedelta(seconds=time.monotonic() - self._began_s)
        return at.replace(microsecond=at.microsecond // 1000 * 1000)  # as fine as the history's times

    def launch(self, launch: Launch) -> None:
        with self._changed:
            self._ahead.append(launch)
            if self._idle >= len(self._ahead):
                self._changed.notify()
            elif len(self._threads) < self._count:
                self._threads.append(Thread(target=self._work, name=f"flowy-worker-{len(self._threads)}", daemon=True))
                self._threads[-1].start()

    def withdraw(self, launch: Launch) -> None:
        with self._changed:
            if launch in self._ahead:
                self._ahead.remove(launch)

    def reports(self, until: datetime | None) -> Sequence[Report]:
        found: list[Report] = []
        wait_s = _LONGEST_WAIT_S if until is None else (until - self.now()).total_seconds()
        try:
            found.append(self._news.get(timeout=min(max(wait_s, 0.0), _LONGEST_WAIT_S)))
            while True:
                found.append(self._news.get_nowait())
        except Empty:
            pass
        for report in found:
            if isinstance(report, StopAsked):
                self._stops.popleft()
        return found

    def ask_to_stop(self) -> None:
        self._stops.append(StopAsked())
        self._news.put(self._stops[-1])

    def stop_is_asked(self) -> bool:
        return bool(self._stops)

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def join(self) -> None:
        """Wait, after `close`, until nothing runs any more."""
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        try:
            while (launch := self._next()) is not None:
                launch.started_at = self.now()
                if launch.tells_start:
                    self._news.put(Started(launch))
                self._news.put(Ended(launch, performed(self._perform, launch)))
        finally:
            self._leave()

    def _next(self) -> Launch | None:
        """The next launch; None if there will be none."""
        with self._changed:
            while not self._ahead:
                if self._is_closed:
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            return self._ahead.popleft()


def performed(perform: Perform, launch: Launch) -> Outcome:
    """The outcome of the work, whatever it raises: a worker always reports, or a run would wait for ever."""
    try:
        return perform(launch)
    except BaseException as raised:  # noqa: BLE001 - SystemExit too: it ends the attempt, not the worker
        return failure(raised)
