"""One decision's connection, seen from our side: collect what the child says, never more than its limit, and how it ended.

A protocol and not a pair of streams, because the end outlives the answer: who asked is told as soon as the answer is
whole, while the child's slot stays taken until the child is reaped, half a millisecond later.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from flowy_operator.adapters.decider.frames import BEHIND_ANSWER, LENGTH, STAYS, TOO_LARGE, Ending, Verb

_OVERRUN_BYTES = 64 * 1024  # behind a length that is refused: enough for a short ending, too little to fill memory


@dataclass(frozen=True, slots=True)
class Said:
    """The child's answer, as it came. Nothing in it may be believed yet; nor that it `stays` to be asked again.

    `bytecode` is for the next decision of the same run, and for nobody else. Empty: there is none, or nothing new.
    """

    answer: bytes
    stays: bool
    bytecode: bytes = b""


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
    """Connected ahead or when needed, asked once, and once more each time that the child stays.

    `finding` tells what came of it; `closed` is done at the very end.

    The connection stays open until the zygote closes it. Closing it from our side has the zygote kill the child. `order` has the
    zygote stop a child that stays, which may have touched so many bytes, and let it go on; False: the zygote is gone.
    """

    def __init__(self, order: Callable[[Verb, int], bool]) -> None:
        loop = asyncio.get_running_loop()
        self.finding: asyncio.Future[Finding] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.has_stayed = False
        self.after_answer: Ending | None = None  # what the child used, known once it is closed
        self._order = order
        self._limit_bytes = 0
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._overdue: asyncio.TimerHandle | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether a child can be asked, as far as is known here: it is connected, and there is no word of its end."""
        return self._transport is not None and not self._received

    @property
    def was_too_large(self) -> bool:
        """Whether the child was ended since it was too large to rest."""
        return self.after_answer is not None and self.after_answer.status == TOO_LARGE

    def ask(self, request: bytes, limit_bytes: int, within_s: float) -> None:
        """Send the request. From here on the child has `within_s`, and an answer may have `limit_bytes`."""
        if self._transport is not None:  # else it is closed, and the finding says why
            self._limit_bytes = limit_bytes
            self._overdue = asyncio.get_running_loop().call_later(within_s, self._on_overdue)
            self._transport.write(request)

    def rest(self, most_bytes: int) -> None:
        """Have it stopped until it is asked again, without a limit of time. Without this, one that says it stays is soon killed."""
        self.has_stayed = True
        if self._overdue is not None:
            self._overdue.cancel()
        if not self._order(Verb.REST, most_bytes):  # nobody would stop it
            self.close()

    def ask_again(self, step: bytes, limit_bytes: int, within_s: float) -> None:
        """Ask a child that stayed, with `finding` anew. Of one that has ended meanwhile that is `Lost`."""
        self.finding = asyncio.get_running_loop().create_future()
        if self._transport is None:
            self._settle(Lost())
            return
        self._order(Verb.GO_ON, 0)
        self.ask(LENGTH.pack(len(step)) + step, limit_bytes, within_s)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if self.closed.done():
            transport.abort()
            return
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self.finding.done():
            self._received = (self._received + data)[-Ending.SIZE :]  # behind an answer only the ending follows
            if self.has_stayed:  # and nobody has asked: whatever it says, it is of no more use
                self.close()
            return
        self._received += data
        if len(self._received) < LENGTH.size:
            return
        size_bytes, stays = self._said_length()
        if size_bytes > self._limit_bytes:
            # An ending, the number alone, or garbage: that shows when the stream ends. It ends soon, or by force.
            if len(self._received) > LENGTH.size + _OVERRUN_BYTES:
                self._settle(Garbage())
                self.close()
        elif self._said_bytes() >= LENGTH.size + size_bytes:
            answer = bytes(self._received[LENGTH.size : LENGTH.size + size_bytes])
            del self._received[: LENGTH.size + size_bytes]
            text, _, bytecode = answer.partition(BEHIND_ANSWER)
            self._settle(Said(text, stays, bytecode))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature; the bytes tell more
        self._transport = None
        self.close()

    def close(self) -> None:
        """End it now, also before it was connected; a child that still runs is killed."""
        if self._transport is not None:
            self._transport.abort()  # comes back through `connection_lost`
        elif not self.closed.done():
            if self._overdue is not None:
                self._overdue.cancel()
            if self.finding.done():
                self.after_answer = Ending.at_end_of(self._received)
            self._settle(self._judge_stream())
            self.closed.set_result(None)

    def _said_length(self) -> tuple[int, bool]:
        (length,) = LENGTH.unpack_from(self._received)
        return length & ~STAYS, bool(length & STAYS)

    def _said_bytes(self) -> int:
        """How much of it the child has written. Half an answer must not become whole by the ending behind it."""
        is_ended = Ending.at_end_of(self._received) is not None
        return len(self._received) - (Ending.SIZE if is_ended else 0)

    def _judge_stream(self) -> Finding:
        ending = Ending.at_end_of(self._received)
        if ending is None:
            return Lost()
        said_bytes = self._said_bytes()
        if said_bytes >= LENGTH.size and (size_bytes := self._said_length()[0]) > self._limit_bytes:
            return TooLarge(size_bytes) if said_bytes == LENGTH.size else Garbage()
        return Ended(ending, said_bytes)

    def _on_overdue(self) -> None:
        self._settle(Overdue())
        self.close()

    def _settle(self, finding: Finding) -> None:
        if not self.finding.done():  # cancelled by who asked, or settled before
            self.finding.set_result(finding)
