"""Since when heartbeats could have been heard without a gap.

Heartbeats live in memory. An operator that has just started, has become leader, was stopped or starved of CPU, or had to
refuse connections has missed some, and must blame nobody for that: it counts from when it began to listen. (Where it is
known whose call couldn't be judged, that pod alone is excused: `attempts.unheard`.)
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from flowy_operator.core.history import in_milliseconds

TICK_S = 1.0
RETURN = timedelta(seconds=15)
"""For so long a container that beats as it should may stay away after a change of leader: `flowy.activity` gives up a call
that hangs, as those to a node that is gone do, after 5 s, and pauses for 10 s. Who is silent for good is found so much later."""

GAP = timedelta(seconds=3)
"""A second between two ticks that took so long: this process, or its whole machine, was asleep."""


class Listening:
    """`clock` gives aware UTC: the wall's, since a machine that sleeps may stop the other one."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._since = self._seen = in_milliseconds(clock())

    def begin(self, returning: timedelta = timedelta()) -> None:
        """From now on heartbeats are heard; some before may not have been, and it may take so long until they come again."""
        self._seen = in_milliseconds(self._clock())
        self._since = max(self._since, self._seen + returning)

    async def run(self) -> None:
        """Notice gaps, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self.since()

    def since(self) -> datetime:
        """When the last gap ended, or will have. Looks at the clock itself: after a gap a timer may fire before the next tick."""
        now = in_milliseconds(self._clock())
        if now < self._seen:
            self._since -= self._seen - now  # the clock was set back, and what went before was as long ago
        elif now - self._seen > GAP:
            self._since = max(self._since, now)
        self._seen = now
        return self._since
