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
GAP = timedelta(seconds=3)
"""A second between two ticks that took so long: this process, or its whole machine, was asleep."""


class Listening:
    """`clock` gives aware UTC: the wall's, since a machine that sleeps may stop the other one."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._since = self._seen = in_milliseconds(clock())

    def begin(self) -> None:
        """From now on heartbeats are heard; some before may not have been."""
        self._since = self._seen = in_milliseconds(self._clock())

    async def run(self) -> None:
        """Notice gaps, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self.since()

    def since(self) -> datetime:
        """When the last gap ended. Looks at the clock itself: after a gap a timer may fire before the next tick."""
        now = in_milliseconds(self._clock())
        if now - self._seen > GAP:
            self._since = now
        self._seen = now
        return self._since
