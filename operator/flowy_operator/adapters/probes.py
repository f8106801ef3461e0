"""What the kubelet and Prometheus ask, on a port of its own.

    GET /healthz     200 as long as this process turns: whoever gets no answer should restart it
    GET /readyz      200 if it could do its work, else 503; a line for each thing that it needs
    GET /metrics     every figure, in Prometheus' text format

Anybody in the cluster may ask, so it costs little whoever asks how often: figures are looked up once a second at most, a
connection lives for seconds, and of too many the oldest goes.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus

from aiohttp import web

LIFE_S = 10.0
"""Of a connection, whatever it does: the kubelet makes a new one for each probe, and Prometheus can."""

CONNECTIONS = 64
"""At once. A few are needed; descriptors are shared with the operator's own calls."""

FRESH_S = 1.0
"""For so long whoever else asks gets the same figures."""


class ProbesError(Exception):
    """The port can't be had; `str()` says what to do."""


class Probes:
    """The server. `checks` says what there is to be ready, `figures` gives all figures and their content type."""

    def __init__(self, *, checks: Callable[[], Mapping[str, bool]], figures: Callable[[], tuple[bytes, str]]) -> None:
        self._checks = checks
        self._figures = figures
        self._known: tuple[float, tuple[bytes, str]] | None = None
        self._open: dict[_Connection, None] = {}  # the oldest first
        self._server = web.Server(self._answer)
        self._routes = {"/healthz": _alive, "/readyz": self._ready, "/metrics": self._metrics}

    @asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[int]:
        """Serve until left, on all addresses of this host; gives the port, which port 0 leaves open. Raises ProbesError."""
        loop = asyncio.get_running_loop()
        try:
            listening = _listen(port)
        except OSError as error:
            hint = "another program, perhaps another operator, has it: choose one with --health-port, 0 takes any"
            raise ProbesError(f"health and metrics can't be served on port {port}: {error.strerror}; {hint}") from error
        server = await loop.create_server(self._connection, sock=listening)
        try:
            yield listening.getsockname()[1]
        finally:
            server.close()
            await self._server.shutdown(timeout=0.1)

    def _connection(self) -> "_Connection":
        if len(self._open) >= CONNECTIONS:
            next(iter(self._open)).abort()
        return _Connection(self._server, self._open)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        route = self._routes.get(request.path)
        if route is None:
            return web.Response(status=HTTPStatus.NOT_FOUND, text=f"there are {', '.join(self._routes)}\n")
        if request.method not in {"GET", "HEAD"}:
            return web.Response(status=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "GET"})
        return route()

    def _ready(self) -> web.Response:
        checks = self._checks()
        lines = "".join(f"{name}: {'ok' if is_so else 'not yet'}\n" for name, is_so in checks.items())
        is_ready = all(checks.values())
        return web.Response(status=HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE, text=lines)

    def _metrics(self) -> web.Response:
        now = asyncio.get_running_loop().time()
        if self._known is None or now - self._known[0] >= FRESH_S:
            self._known = now, self._figures()
        body, content_type = self._known[1]
        return web.Response(body=body, headers={"Content-Type": content_type})


class _Connection(web.RequestHandler):
    """One connection, whose time is bounded. `known` are those that are open."""

    __slots__ = ("_ending", "_known")

    def __init__(self, server: web.Server, known: "dict[_Connection, None]") -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            tcp_keepalive=False,
            access_log=None,  # type: ignore[arg-type]  # it means none
        )
        self._known = known
        self._ending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._known[self] = None
        self._ending = asyncio.get_running_loop().call_later(LIFE_S, self.abort)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._known.pop(self, None)
        if self._ending is not None:
            self._ending.cancel()
        super().connection_lost(exc)

    def abort(self) -> None:
        """End it without a word."""
        self._known.pop(self, None)
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()


def _alive() -> web.Response:
    return web.Response(text="ok\n")


def _listen(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))
