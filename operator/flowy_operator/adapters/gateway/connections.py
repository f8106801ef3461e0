"""The gateway's connections: how many, how long, and whose. One pod's may be many or slow, the others must not notice.

aiohttp bounds headers and pipelined requests, but waits for the first request of a connection for ever. So each
connection is on a clock here: for a whole request's head, for its answer, for the next request.
"""

import asyncio
import json
import resource
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from aiohttp import web

HEAD_S = 10.0
"""From a connection's begin, or from the answer before, to the end of a request's head. Also how long one may be idle."""

ANSWER_S = 30.0
"""From a request's head to its answer. A body of 1 MiB needs a tenth of a second; slower than 35 KiB/s is refused."""

SWEEP_S = 1.0
"""How often the clocks are looked at, all together: a timer for each request would be a tenth of what one costs."""

LINGER_S = 2.0
"""What is still sent of a refused body is read for so long and thrown away: a client that gets a reset instead of an
answer tells nobody why."""

CONNECTIONS = 2_048
CONNECTIONS_PER_ADDRESS = 256
"""A pod needs one or two, but an address may stand for all pods of a node, where the network hides them."""


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
    """All connections that are open. `refused` counts those that found no room."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], caps: Caps) -> None:
        self.refused = 0
        self._caps = caps
        self._open: dict[str, dict[Connection, None]] = {}
        self._idle: dict[Connection, None] = {}  # the longest idle first
        self._count = 0
        self._server = web.Server(handler, handler_cancellation=True)

    def __call__(self) -> "Connection":
        """The protocol of one more connection, for `create_server`."""
        return Connection(self, self._server)

    async def sweep(self) -> None:
        """End those whose time is over, until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(SWEEP_S)
            now = clock()
            late = [c for connections in self._open.values() for c in connections if c.until <= now]
            for connection in late:
                connection.abort()

    async def close(self) -> None:
        """End all of them."""
        await self._server.shutdown(timeout=1.0)

    def admit(self, connection: "Connection", address: str) -> bool:
        """Count a connection. At a cap one that is idle makes room; False if there is none.

        At the cap of all, the address with the most gives way first: many that say nothing must not keep others out.
        """
        own = self._open.get(address, {})
        if len(own) >= self._caps.per_address:
            self._evict(next((c for c in own if c in self._idle), None))
        elif self._count >= self._caps.total:
            most = max(self._open.values(), key=len)
            self._evict(next((c for c in most if not c.works), None) or next(iter(self._idle), None))
        own = self._open.setdefault(address, {})
        if len(own) >= self._caps.per_address or self._count >= self._caps.total:
            self.refused += 1
            if not own:
                del self._open[address]
            return False
        own[connection] = None
        self._count += 1
        return True

    def rests(self, connection: "Connection") -> None:
        """It waits for another request."""
        self._idle[connection] = None

    def works(self, connection: "Connection") -> None:
        self._idle.pop(connection, None)

    def forget(self, connection: "Connection", address: str) -> None:
        """It is gone; may be repeated."""
        own = self._open.get(address, {})
        if connection not in own:
            return
        del own[connection]
        if not own:
            del self._open[address]
        self._count -= 1
        self._idle.pop(connection, None)

    def _evict(self, connection: "Connection | None") -> None:
        if connection is not None:
            self.forget(connection, connection.address)
            connection.abort()


class Connection(web.RequestHandler):
    """One connection on its clock."""

    __slots__ = ("_connections", "address", "until", "works")

    def __init__(self, connections: Connections, server: web.Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=HEAD_S,
            lingering_time=LINGER_S,
            tcp_keepalive=False,  # the clock ends what is dead, and a system call for each connection is saved
            access_log=None,  # type: ignore[arg-type]  # it means none
            auto_decompress=False,  # a small body would unfold into a large one
        )
        self.address = ""
        self.works = False  # between a request's head and its answer
        self.until = 0.0  # by the loop's clock
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        if self._connections.admit(self, self.address):
            self._within(HEAD_S)
        else:
            self.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.forget(self, self.address)
        super().connection_lost(exc)

    def begin(self) -> None:
        """A request's head is there."""
        self.works = True
        self._connections.works(self)
        self._within(ANSWER_S)

    def end(self) -> None:
        """Its answer is on the way."""
        self.works = False
        if self.transport is not None:
            self._connections.rests(self)
            self._within(HEAD_S)

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

    def _within(self, seconds: float) -> None:
        self.until = asyncio.get_running_loop().time() + seconds


def refusal(status: int, why: str, headers: dict[str, str] | None = None) -> web.Response:
    """An error answer: JSON with one sentence."""
    return answer({"error": why}, status, headers)


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return sent(json.dumps(value, ensure_ascii=False).encode() + b"\n", status, headers)


def sent(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """An answer whose JSON is there already."""
    return web.Response(body=body, status=status, headers={"Content-Type": "application/json", **(headers or {})})
