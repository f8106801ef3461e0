"""One decision's connection, seen from our side: collect what the child says, never more than its limit, and how it ended.

A protocol and not a pair of streams, because the end outlives the answer: who asked is told as soon as the answer is
whole, while the child's slot stays taken until the child is reaped, half a millisecond later.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from flowy_operator.adapters.decider.frames import LENGTH, Ending

_OVERRUN_BYTES = 64 * 1024  # behind a length that is refused: enough for a short ending, too little to fill memory


@dataclass(frozen=True, slots=True)
class Said:
    """The child's answer, as it came. Nothing in it may be believed yet."""

    answer: bytes


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The child has an answer of `size_bytes`, above the limit, and therefore sent nothing but this number."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class Garbage:
    """What the child sent does not begin like an answer."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The child ended without a whole answer, of which it had written `said_bytes`."""

    ending: Ending
    said_bytes: int


@dataclass(frozen=True, slots=True)
class Overdue:
    """The child was still there when all of its time was over, whatever it did to its timers."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection ended without an ending: the zygote is gone, or the child has shut the connection down."""


Finding = Said | TooLarge | Garbage | Ended | Overdue | Lost


class Exchange(asyncio.Protocol):
    """Sends `request` when connected; `finding` tells what came of it; `on_closed` is called once, at the very end.

    The connection stays open until the zygote closes it. Closing it from our side has the zygote kill the child.
    """

    def __init__(self, request: bytes, limit_bytes: int, within_s: float, on_closed: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self.finding: asyncio.Future[Finding] = loop.create_future()
        self._request = request
        self._limit_bytes = limit_bytes
        self._on_closed = on_closed
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._closed = False
        self._overdue = loop.call_later(within_s, self._on_overdue)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if self._closed:
            transport.abort()
            return
        self._transport = transport
        transport.write(self._request)
        self._request = b""

    def data_received(self, data: bytes) -> None:
        if self.finding.done():
            return  # behind an answer only the ending follows, and nobody needs it
        self._received += data
        if len(self._received) < LENGTH.size:
            return
        (size_bytes,) = LENGTH.unpack_from(self._received)
        if size_bytes > self._limit_bytes:
            # An ending, the number alone, or garbage: that shows when the stream ends. It ends soon, or by force.
            if len(self._received) > LENGTH.size + _OVERRUN_BYTES:
                self._settle(Garbage())
                self.close()
        elif self._said_bytes() >= LENGTH.size + size_bytes:
            self._settle(Said(bytes(self._received[LENGTH.size : LENGTH.size + size_bytes])))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature; the bytes tell more
        self._transport = None
        self.close()

    def close(self) -> None:
        """End it now, also before it was connected; a child that still runs is killed."""
        if self._transport is not None:
            self._transport.abort()  # comes back through `connection_lost`
        elif not self._closed:
            self._closed = True
            self._overdue.cancel()
            if not self.finding.done():
                self._settle(self._judge_stream())
            self._on_closed()

    def _said_bytes(self) -> int:
        """How much of it the child has written. Half an answer must not become whole by the ending behind it."""
        is_ended = Ending.at_end_of(self._received) is not None
        return len(self._received) - (Ending.SIZE if is_ended else 0)

    def _judge_stream(self) -> Finding:
        ending = Ending.at_end_of(self._received)
        if ending is None:
            return Lost()
        said_bytes = self._said_bytes()
        if said_bytes >= LENGTH.size and (size_bytes := LENGTH.unpack_from(self._received)[0]) > self._limit_bytes:
            return TooLarge(size_bytes) if said_bytes == LENGTH.size else Garbage()
        return Ended(ending, said_bytes)

    def _on_overdue(self) -> None:
        self._settle(Overdue())
        self.close()

    def _settle(self, finding: Finding) -> None:
        if not self.finding.done():  # cancelled by who asked, or settled before
            self.finding.set_result(finding)
