"""The gateway's connections: how many, how long, and whose. One pod's may be many or slow, the others must not notice.

aiohttp bounds headers and pipelined requests, but waits for the first request of a connection for ever. So each
connection is on a clock here: for a whole request's head, for its answer, for the next request. When they become too many,
a new one takes the place of one of whoever has the most.
"""

import asyncio
import logging
import resource
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web

from flowy_operator.adapters.gateway.answers import refusal
from flowy_operator.core.attempts import Caller

HEAD_S = 10.0
"""From a connection's begin, or from the answer before, to the end of a request's head. Also how long one may be idle."""

ANSWER_S = 5.0
"""From a request's head to its answer; a client has given up by then. Who uploads gets more (`uploads.py`)."""

SWEEP_S = 1.0
"""How often the clocks are looked at, all together: a timer for each request would be a tenth of what one costs."""

TOLD_S = 60.0
"""Between two log lines of connections that found no room."""

HEADERS = 32
"""Of a request, of 8 KiB each at most. A client sends five, a proxy some more."""

UNREAD_BYTES = 4 * 1024
"""Of a body that waits to be read; twice that, and what the kernel gives at a time, is held of each connection at most."""

CONNECTIONS = 2_048
CONNECTIONS_PER_ADDRESS = 256
"""A pod needs one or two, but an address may stand for all pods of a node, where the network hides them. This many, and how
long a refusal is held back, bound what somebody without a good token can ask in a second."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caps:
    """How many connections there may be. Descriptors are shared with the operator's own calls, so half are left alone."""

    total: int
    per_address: int

    @classmethod
    def of_this_process(cls) -> "Caps":
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        total = CONNECTIONS if soft == resource.RLIM_INFINITY else min(CONNECTIONS, soft // 2)
        return cls(total, min(CONNECTIONS_PER_ADDRESS, total))


class Connections:
    """All connections that are open. `refused` counts those that found no room, `ended` those that made room for others.

    `deaf` is called when one is refused: nobody knows who it was, and whoever counts silence should know that somebody may
    have spoken.
    """

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        caps: Caps,
        deaf: Callable[[], None],
    ) -> None:
        self.refused = 0
        self.ended = 0
        self._caps = caps
        self._deaf = deaf
        self._open: dict[str, dict[Connection, None]] = {}  # by address, the oldest first
        self._count = 0
        self._server = web.Server(handler, handler_cancellation=True)

    def __call__(self) -> "Connection":
        """The protocol of one more connection, for `create_server`."""
        return Connection(self, self._server)

    async def sweep(self) -> None:
        """End those whose time is over, and tell of those that found no room, until cancelled.

        What this process was late by is nobody's fault: their bytes may have been here all the while, unread.
        """
        clock = asyncio.get_running_loop().time
        told, tell_at = (0, 0), 0.0
        before = clock()
        while True:
            await asyncio.sleep(SWEEP_S)
            now = clock()
            late_s, before = now - before - SWEEP_S, now
            for connection in list(self._all()):
                connection.until += late_s
                if connection.until <= now:
                    connection.abort()
            if told != (self.refused, self.ended) and now >= tell_at:
                self._tell(*told)
                told, tell_at = (self.refused, self.ended), now + TOLD_S

    async def close(self) -> None:
        """End all of them."""
        await self._server.shutdown(timeout=1.0)

    def admit(self, connection: "Connection", address: str) -> bool:
        """Count a connection; False if there is no room for it, and none can be made."""
        if not self._has_room(address):
            self.refused += 1
            self._deaf()
            return False
        self._open.setdefault(address, {})[connection] = None
        self._count += 1
        return True

    def forget(self, connection: "Connection", address: str) -> None:
        """It is gone; may be repeated."""
        own = self._open.get(address, {})
        if connection not in own:
            return
        del own[connection]
        if not own:
            del self._open[address]
        self._count -= 1

    def _has_room(self, address: str) -> bool:
        """Whether one more of this address may be open. At a cap one that is there has to go, if that is fair."""
        own = self._open.get(address, {})
        if len(own) >= self._caps.per_address:
            victim = _dispensable(own)
        elif self._count >= self._caps.total:
            # Many of one address must not keep others out, nor each other: where all have as many, they are among themselves.
            most = max(self._open.values(), key=len)
            victim = _dispensable(most if len(most) > len(own) + 1 else own) or _dispensable(self._all())
        else:
            return True
        if victim is None:
            return False
        self.ended += victim.works
        self.forget(victim, victim.address)
        victim.abort()
        return True

    def _all(self) -> Iterable["Connection"]:
        return (connection for own in self._open.values() for connection in own)

    def _tell(self, refused: int, ended: int) -> None:
        address = max(self._open, key=lambda address: len(self._open[address]), default="")
        _log.warning(
            "the gateway has too many connections: some were refused, or ended before their answer",
            extra={
                "refused": self.refused - refused,
                "ended": self.ended - ended,
                "open": self._count,
                "most_from": address.removeprefix("::ffff:"),
                "most": len(self._open.get(address, ())),
            },
        )


def _dispensable(connections: Iterable["Connection"]) -> "Connection | None":
    """One of the pod with the most, or where each has one, of the namespace with the most: the longest idle, or the oldest.

    Those that have shown no good token yet are one pod's in this, and the oldest of them goes: one that is new and honest
    shows its token at once, and must not be the one that goes because it hasn't yet. Who is alone in all may stay, if busy.
    """
    connections = list(connections)
    for whose in (_pod_of, _namespace_of):
        counts = Counter(whose(connection) for connection in connections)
        who = max(counts, key=counts.__getitem__, default=None)
        if counts[who] > 1:
            crowd = [connection for connection in connections if whose(connection) == who]
            return (None if who is None else _longest_idle(crowd)) or crowd[0]
    return _longest_idle(connections)


def _pod_of(connection: "Connection") -> str | None:
    return None if connection.caller is None else connection.caller.uid


def _namespace_of(connection: "Connection") -> str | None:
    return None if connection.caller is None else connection.caller.namespace


def _longest_idle(connections: Iterable["Connection"]) -> "Connection | None":
    return min((c for c in connections if not c.works), key=lambda c: c.until, default=None)


class Connection(web.RequestHandler):
    """One connection on its clock."""

    __slots__ = ("_connections", "address", "caller", "until", "works")

    def __init__(self, connections: Connections, server: web.Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=HEAD_S,
            lingering_time=0,  # aiohttp's has no bound in bytes; `server.py` reads a refused body's rest itself
            read_bufsize=UNREAD_BYTES,
            max_headers=HEADERS,
            tcp_keepalive=False,  # the clock ends what is dead, and a system call for each connection is saved
            access_log=None,  # type: ignore[arg-type]  # it means none
            auto_decompress=False,  # a small body would unfold into a large one
        )
        self.address = ""
        self.caller: Caller | None = None  # whose good token it has brought
        self.works = False  # between a request's head and its answer
        self.until = 0.0  # by the loop's clock
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        if self._connections.admit(self, self.address):
            self.within(HEAD_S)
        else:
            self.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.forget(self, self.address)
        super().connection_lost(exc)

    def begin(self) -> None:
        """A request's head is there."""
        self.works = True
        self.within(ANSWER_S)

    def end(self) -> None:
        """Its answer is on the way."""
        self.works = False
        self.within(HEAD_S)

    def within(self, seconds: float) -> None:
        """Be over so soon, or be aborted."""
        self.until = self._loop.time() + seconds

    def abort(self) -> None:
        """End it without a word."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - aiohttp's signature
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no HTTP request, and to a fault of ours, which is logged."""
        if exc is not None and status == HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log_exception("a gateway call failed", exc_info=exc)
        refused = refusal(status, message or HTTPStatus(status).phrase)
        refused.force_close()
        return refused
