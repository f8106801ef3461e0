"""Keeps one zygote: starts it when it is needed, again when it is gone, and may end it when nobody has needed it for a while."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator

from flowy_operator.adapters.decider.homes import Zygote
from flowy_operator.core.errors import DecisionStalled, StallReason


class Keeper:
    """`start` gives a zygote that is ready, or raises `DecisionStalled`. `linger_s` without use end it; None: never."""

    def __init__(self, start: Callable[[], Awaitable[Zygote]], linger_s: float | None = None) -> None:
        self._start = start
        self._linger_s = linger_s
        self._zygote: Zygote | None = None
        self._starting: asyncio.Task[Zygote] | None = None
        self._is_closed = False
        self._users = 0
        self._rest: asyncio.TimerHandle | None = None
        self._ends: set[asyncio.Task[None]] = set()

    @property
    def present(self) -> Zygote | None:
        """The zygote that was started last, if it was not ended."""
        return self._zygote

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """While the block lasts, it is not ended for want of use."""
        self._users += 1
        if self._rest is not None:
            self._rest.cancel()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users and not self._is_closed and self._linger_s is not None:
                self._rest = asyncio.get_running_loop().call_later(self._linger_s, self._retire)

    async def running(self) -> Zygote:
        """The zygote, started if there is none. All who wait for one start share it, and its failure."""
        if self._zygote is not None and not self._zygote.gone.is_set():
            return self._zygote
        if self._starting is None and not self._is_closed:
            self._starting = asyncio.create_task(self._begin(), name="zygote's start")
            self._starting.add_done_callback(self._has_started)
        starting = self._starting
        if starting is not None:
            await asyncio.wait([starting])  # who is cancelled here leaves the start to the others
        if starting is None or starting.cancelled():
            raise DecisionStalled(StallReason.UNAVAILABLE, "The decider is not running")
        return starting.result()

    async def close(self) -> None:
        """End it, and wait for that. No other one is started."""
        self._is_closed = True
        if self._rest is not None:
            self._rest.cancel()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        self._retire()
        while self._ends:
            await asyncio.wait(self._ends)

    async def _begin(self) -> Zygote:
        self._retire()
        self._zygote = await self._start()
        return self._zygote

    def _has_started(self, task: asyncio.Task[Zygote]) -> None:
        self._starting = None
        if not task.cancelled():
            task.exception()  # whoever waited has got it; if nobody does any more, it is nobody's

    def _retire(self) -> None:
        zygote, self._zygote = self._zygote, None
        if zygote is not None:
            end = asyncio.create_task(zygote.close(), name="zygote's end")
            self._ends.add(end)
            end.add_done_callback(self._ends.discard)
