"""Children that wait for a decision: connected ahead, so that nobody waits for a fork and its locks.

A waiting child is a copy of the zygote that has locked itself and reads. It holds its connection and nothing of anyone's,
and its limits are set when it is asked: time that it waited counts for nothing. It is asked once, and ends with that.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

from flowy_operator.adapters.decider.exchange import Exchange
from flowy_operator.core.errors import DecisionStalled

_AGAIN_S = 1.0  # from the loss of a waiting child to the next: whatever ends them all must not make us fork without end


class ReadyChildren:
    """Up to `wanted` exchanges that were not asked yet, made by `connect`, which may raise `DecisionStalled`."""

    def __init__(self, wanted: int, connect: Callable[[], Awaitable[Exchange]]) -> None:
        self._wanted = wanted
        self._connect = connect
        self._waiting: deque[Exchange] = deque()
        self._filling: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._is_due = False
        self._is_closed = False

    def take(self) -> Exchange | None:
        """Hand one out, if there is one; `fill` when its decision is over, so that the next fork is in nobody's way."""
        while self._waiting:
            exchange = self._waiting.popleft()
            if exchange.is_waiting:
                return exchange
        return None

    def fill(self) -> None:
        """Soon have as many as wanted."""
        self._is_due = not self._is_closed
        if self._is_due and (self._filling is None or self._filling.done()):
            self._filling = asyncio.create_task(self._fill(), name="ready children")

    def drop(self) -> None:
        """End those that wait: their zygote is gone."""
        while self._waiting:
            self._waiting.popleft().close()

    async def close(self) -> None:
        self._is_closed = True
        if self._again is not None:
            self._again.cancel()
        if self._filling is not None:
            self._filling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._filling
        self.drop()

    async def _fill(self) -> None:
        while self._is_due:
            self._is_due = False
            for _ in range(self._wanted - len(self._waiting)):
                try:
                    exchange = await self._connect()
                except DecisionStalled:
                    return  # the next decision meets the same, and tells of it
                self._waiting.append(exchange)
                exchange.closed.add_done_callback(partial(self._on_closed, exchange))

    def _on_closed(self, exchange: Exchange, _: object) -> None:
        if exchange in self._waiting:
            self._waiting.remove(exchange)
            if self._again is None or self._again.when() < asyncio.get_running_loop().time():
                self._again = asyncio.get_running_loop().call_later(_AGAIN_S, self.fill)
