"""The executor of virtual time: activities run at once, in the caller's thread, and end after the time that they are said to take.

Time goes from event to event. A run of days takes as long as its activities' own code, and goes the same way each time.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from heapq import heapify, heappop, heappush
from typing import Any

from flowy.local.functions import Work, failure
from flowy.local.functions import perform as call
from flowy.local.launch import Ended, Launch, Outcome, Report, Started, StopAsked
from flowy.wire import values

BEGIN = datetime(2000, 1, 1, tzinfo=UTC)
"""When each virtual run begins."""

_NEVER = datetime.max.replace(tzinfo=UTC)

Perform = Callable[[Launch], tuple[float, Outcome]]
"""Does the work of a launch at once: the seconds that it is said to take, infinite for work without end, and its outcome."""


def by_duration(launch: Launch) -> tuple[float, Outcome]:
    """Call the function of a launch, which takes the duration that stands beside it. Raises ValueError if that is none."""
    duration_s = _duration_s(launch)
    try:
        return duration_s, call(launch)
    except Exception as raised:  # noqa: BLE001 - what listing a result may raise
        return duration_s, failure(raised)


class VirtualTime:
    """`count` workers that need no time of their own. A launch that nobody wants any more frees its worker at once.

    After `stop_after_s` somebody asks the run to stop.
    """

    def __init__(self, count: int, perform: Perform = by_duration, stop_after_s: float = math.inf) -> None:
        self._perform = perform
        self._stops_at = _after(BEGIN, stop_after_s)
        self._now = BEGIN
        self._free = count
        self._turn = 0
        self._ahead: deque[tuple[int, Launch]] = deque()
        self._running: list[tuple[datetime, int, Launch, Outcome]] = []
        self._news: deque[Report] = deque()
        self._is_stop_asked = False

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
        self._is_stop_asked = False
        return news

    def ask_to_stop(self) -> None:
        self._is_stop_asked = True
        self._news.append(StopAsked())

    def stop_is_asked(self) -> bool:
        return self._is_stop_asked

    def close(self) -> None:
        self._ahead.clear()
        self._running.clear()

    def _pass(self, until: datetime | None) -> None:
        """Go on to the next instant at which something happens."""
        ends_at = self._running[0][0] if self._running else _NEVER
        next_at = min(ends_at, self._stops_at, _NEVER if until is None else until)
        if next_at == _NEVER:
            names = ", ".join(launch.task for _, _, launch, _ in self._running)
            what = f"{names} never ends and has no timer" if names else "nothing runs and no time is set"
            raise RuntimeError(f"{what}: this run would wait for ever")
        self._now = max(self._now, next_at)
        if next_at == ends_at:
            while self._running and self._running[0][0] == ends_at:
                _, _, launch, outcome = heappop(self._running)
                self._free += 1
                self._news.append(Ended(launch, outcome))
            self._begin()
        elif next_at == self._stops_at:
            self._stops_at = _NEVER
            self.ask_to_stop()

    def _begin(self) -> None:
        while self._free and self._ahead:
            turn, launch = self._ahead.popleft()
            self._free -= 1
            launch.started_at = self._now
            if launch.tells_start:
                self._news.append(Started(launch))
            took_s, outcome = self._perform(launch)
            heappush(self._running, (_after(self._now, took_s), turn, launch, outcome))


def _after(begin: datetime, seconds: float) -> datetime:
    try:
        return begin + timedelta(seconds=seconds)
    except OverflowError:  # infinite, or beyond the calendar
        return _NEVER


def _duration_s(launch: Launch) -> float:
    work: Work = launch.work
    duration_s: Any = work.duration
    if callable(duration_s):
        given: Any = values.decode(launch.arguments)
        duration_s = duration_s(*given["args"], **given["kwargs"])
    if not isinstance(duration_s, int | float) or not 0 <= duration_s < math.inf:
        raise ValueError(f"the duration of {launch.task} is {duration_s!r}: seconds, 0 or more, are expected")
    return duration_s
