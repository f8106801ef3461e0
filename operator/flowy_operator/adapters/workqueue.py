"""The work queue: each key at most once, one pass per key at a time, back-off per key, keys for later.

What client-go's workqueue does, in one class. A key that is added while it is worked on is marked, and comes again
after a rest: a burst of events costs one more pass, and the first of them is never delayed. The rest is as long as the
pass was, times `REST`: what has a thousand open tasks, and news in every moment, looks at them seldom instead of all the
time. Keys that arrive from live events overtake the backlog of a start (controller-runtime, designs/priorityqueue.md, says
why).

Only the loop's clock is used, so that tests may own the time. Everything runs on the loop's thread.
"""

import asyncio
import heapq
import logging
import zlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from flowy_operator.core.errors import RetryLater
from flowy_operator.core.key import Key

BASE_S = 0.25
"""First wait of a key that failed. An API server's hiccup is over by then, a lost conflict long before."""

CAP_S = 60.0
"""Longest wait: what has failed for an hour is still seen within a minute of its repair."""

JITTER_SHARE = 0.2
"""Waits are shortened by up to this share, so that a thousand keys that failed together don't come back together."""

REST = 3.0
"""So much longer than its pass a key rests for which there was news meanwhile: it has a quarter of the time at most."""

LONGEST_REST_S = 1.0

BACKLOG_EVERY = 8
"""One key in so many is taken from the backlog while live keys wait: overtaken, not starved."""

_log = logging.getLogger(__name__)


class WorkQueue:
    """Keys to work on, and the loop that does so.

    `taken` and `waited_s` count keys handed to a worker and the seconds they waited together.
    """

    def __init__(self) -> None:
        self.taken = 0
        self.waited_s = 0.0
        # Queues without duplicates: key -> when it was added. A plain dict walks over what was taken from its front.
        self._live: OrderedDict[Key, float] = OrderedDict()
        self._backlog: OrderedDict[Key, float] = OrderedDict()
        self._running: set[Key] = set()
        self._dirty: dict[Key, bool] = {}  # whether it may rest first
        self._resting: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []  # may hold entries that `_due` has since changed; those are skipped
        self._timer: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._stopping = False

    @property
    def depth(self) -> int:
        """Keys that wait for a worker now; those that rest or are for later aren't counted."""
        return len(self._live) + len(self._backlog)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def later(self) -> int:
        """Keys with a time to come."""
        return len(self._due)

    def oldest_wait_s(self) -> float:
        """Return how long the key that has waited longest has waited, 0 if none waits."""
        oldest = [next(iter(lane.values())) for lane in (self._live, self._backlog) if lane]
        return self._now() - min(oldest) if oldest else 0.0

    def add(self, key: Key, *, backlog: bool = False) -> None:
        """Have `key` worked on soon; with `backlog`, after everything that is live."""
        if key in self._running:
            self._dirty.setdefault(key, True)
        elif key in self._live or key in self._resting:
            return
        elif backlog:
            self._backlog.setdefault(key, self._now())
        else:
            # One that was in the backlog keeps its waiting time, not its place.
            self._live[key] = self._backlog.pop(key, self._now())
        self._wake.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """Add `key` in a while. Of several such wishes for one key the earliest holds.

        It stands until then even if the key is worked on before: a pass too many does no harm, one too few would.
        """
        if seconds <= 0:
            self._add_at_once(key)
            return
        at = self._now() + seconds
        if key in self._due and self._due[key] <= at:
            return
        self._due[key] = at
        heapq.heappush(self._heap, (at, key))
        self._schedule()

    def _add_at_once(self, key: Key) -> None:
        """What a pass itself wants next needs no rest: there is no burst to wait for."""
        if key in self._running:
            self._dirty[key] = False
        else:
            self._resting.discard(key)
            self.add(key)

    def retry(self, key: Key, after_s: float | None = None) -> float:
        """Add a key that failed again after its back-off, or after `after_s` if that is known. Returns the wait."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        wait_s = _back_off_s(key, failures) if after_s is None else after_s
        self.add_after(key, wait_s)
        return wait_s

    def forget(self, key: Key) -> None:
        """Start the back-off of `key` anew."""
        self._failures.pop(key, None)

    def drop(self, key: Key) -> None:
        """Take it that there is nothing to do for `key` at any later time."""
        self._due.pop(key, None)
        self._resting.discard(key)
        self.forget(key)

    def failures(self, key: Key) -> int:
        """How often `key` has been retried since it last went well."""
        return self._failures.get(key, 0)

    async def run(self, worker: Callable[[Key], Awaitable[None]], workers: int, *, grace_s: float = 5.0) -> None:
        """Work on keys, at most `workers` at once, until `stop`; then give those that run `grace_s` to finish.

        A pass that returns clears the key's failures, unless it called `retry` itself. RetryLater brings the key back
        after its delay, any other error after its back-off; that one is a bug and logged as such.
        """
        passes: set[asyncio.Task[None]] = set()
        try:
            while (key := await self._next(workers)) is not None:
                one = asyncio.create_task(self._pass(key, worker), name=f"reconcile {key.namespace}/{key.name}")
                passes.add(one)
                one.add_done_callback(passes.discard)
            if passes:
                await asyncio.wait(passes, timeout=grace_s)
        finally:
            for one in passes:
                one.cancel()
            if passes:
                await asyncio.gather(*passes, return_exceptions=True)
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def stop(self) -> None:
        """Hand out no more keys. May be called more than once; `run` then returns."""
        self._stopping = True
        self._wake.set()

    async def _pass(self, key: Key, worker: Callable[[Key], Awaitable[None]]) -> None:
        failures, began = self.failures(key), self._now()
        try:
            await worker(key)
        except RetryLater as error:
            self.retry(key, error.after_s)
            _log.debug("again later", extra={"namespace": key.namespace, "workflow": key.name, "reason": str(error)})
        except Exception:  # noqa: BLE001 - the one broad catch: a bug in one workflow's pass must not end the others
            wait_s = self.retry(key)
            _log.exception(
                "a pass failed", extra={"namespace": key.namespace, "workflow": key.name, "again_in_s": wait_s}
            )
        else:
            if self.failures(key) == failures:
                self.forget(key)
        finally:
            self._running.discard(key)
            if key in self._dirty:
                self._rest(key, REST * (self._now() - began) if self._dirty.pop(key) else 0.0)
            self._wake.set()

    def _rest(self, key: Key, seconds: float) -> None:
        if seconds <= 0:
            self.add(key)
            return
        self._resting.add(key)
        self.add_after(key, min(seconds, LONGEST_REST_S))

    async def _next(self, workers: int) -> Key | None:
        while not self._stopping:
            if len(self._running) < workers and (key := self._take()) is not None:
                return key
            self._wake.clear()
            await self._wake.wait()
        return None

    def _take(self) -> Key | None:
        lanes = (self._live, self._backlog)
        for lane in reversed(lanes) if self.taken % BACKLOG_EVERY == BACKLOG_EVERY - 1 else lanes:
            if lane:
                key, since = lane.popitem(last=False)
                self.waited_s += self._now() - since
                self.taken += 1
                self._running.add(key)
                return key
        return None

    def _schedule(self) -> None:
        """Set the one timer for the earliest key."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        if self._timer is not None:
            if self._heap and self._timer.when() == self._heap[0][0]:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(self._heap[0][0], self._fire) if self._heap else None

    def _fire(self) -> None:
        self._timer = None
        # The loop fires up to its clock's resolution early; what is as good as due is due.
        now = self._now() + 1e-6
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            if self._due.get(key) == at:
                del self._due[key]
                self._resting.discard(key)
                self.add(key)
        self._schedule()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _back_off_s(key: Key, failures: int) -> float:
    """Wait after so many failures. The spread is hashed, not drawn: a test, or a second look, sees the same wait."""
    spread = zlib.crc32(f"{key.namespace}/{key.name}/{failures}".encode()) / 2**32
    return min(BASE_S * 2.0 ** min(failures, 16), CAP_S) * (1 - JITTER_SHARE * spread)
