"""The executor of virtual time: activities run at once, in the caller's thread, and end after the time that they are said to take.

Time goes from event to event. A run of days takes as long as its activities' own code, and goes the same way each time.
"""

import math
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from heapq import heapify, heappop, heappush
from typing import Any

from flowy.local.functions import Work, failure, perform
from flowy.local.launch import Ended, Launch, Outcome, Report, Started, StopAsked
from flowy.wire import values

BEGIN = datetime(2000, 1, 1, tzinfo=UTC)
"""When each virtual run begins."""


class VirtualTime:
    """`count` workers that need no time of their own. A launch that nobody wants any more frees its worker at once."""

    def __init__(self, count: int) -> None:
        self._now = BEGIN
        self._free = count
        self._turn = 0
        self._ahead: deque[tuple[int, Launch]] = deque()
        self._running: list[tuple[datetime, int, Launch, Outcome]] = []
        self._news: deque[Report] = deque()

    def now(self) -> datetime:
        return self._now

    def launch(self, launch: Launch) -> None:
        self._turn += 1
        self._ahead.append((self._turn, launch))
        self._begin()

    def withdraw(self, launch: Launch) -> None:
        self._ahead = deque(item for item in self._ahead if item[1] is not launch)
        left = [item for item in self._running if item[2] is not launch]
        if len(left) < len(self._running):
            self._running = left
            heapify(self._running)
            self._free += 1
        self._begin()

    def reports(self, until: datetime | None) -> Sequence[Report]:
        if not self._news:
            self._pass(until)
        news = list(self._news)
        self._news.clear()
        return news

    def ask_to_stop(self) -> None:
        self._news.append(StopAsked())

    def close(self) -> None:
        self._ahead.clear()
        self._running.clear()

    def _pass(self, until: datetime | None) -> None:
        """Go on to the next instant at which something happens."""
        ends_at = self._running[0][0] if self._running else None
        if ends_at is None or (until is not None and until < ends_at):
            if until is None:
                raise RuntimeError("nothing runs and no time is set: this run would wait for ever")
            self._now = max(self._now, until)
            return
        self._now = ends_at
        while self._running and self._running[0][0] == ends_at:
            _, _, launch, outcome = heappop(self._running)
            self._free += 1
            self._news.append(Ended(launch, outcome))
        self._begin()

    def _begin(self) -> None:
        while self._free and self._ahead:
            turn, launch = self._ahead.popleft()
            self._free -= 1
            launch.started_at = self._now
            if launch.tells_start:
                self._news.append(Started(launch))
            duration_s = _duration_s(launch)
            outcome = self._performed(launch)
            heappush(self._running, (self._now + timedelta(seconds=duration_s), turn, launch, outcome))

    def _performed(self, launch: Launch) -> Outcome:
        try:
            return perform(launch)
        except Exception as raised:  # noqa: BLE001 - what listing a result may raise
            return failure(raised)


def _duration_s(launch: Launch) -> float:
    work: Work = launch.work
    duration_s: Any = work.duration
    if callable(duration_s):
        given: Any = values.decode(launch.arguments)
        duration_s = duration_s(*given["args"], **given["kwargs"])
    if not isinstance(duration_s, int | float) or not 0 <= duration_s < math.inf:
        raise ValueError(f"the duration of {launch.task} is {duration_s!r}: seconds, 0 or more, are expected")
    return duration_s
