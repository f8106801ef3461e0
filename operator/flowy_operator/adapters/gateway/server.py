"""What containers of activities may ask for over HTTP, and how it is refused.

    POST /heartbeat        optional JSON details       -> {"continue": true | false}
    GET  /progress                                     -> the details that an attempt before this one left, or null
    PUT  /result           JSON, up to 1 MiB           -> {"bytes": n}, once it is stored

A result may also come by POST, since busybox's wget knows no PUT. Who asks is told by its token, before its body is read;
what counts is the `Desk`'s to say. Every error is JSON with one sentence: {"error": "…"}. A pod may ask as often and as
slowly as it likes, it slows down nobody but itself.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Protocol
from urllib.parse import urlsplit

from aiohttp import HttpVersion11, web

from flowy.policy.lengths import MAX_VALUE_BYTES
from flowy_operator.adapters.gateway.answers import AGAIN, Connects, Ready, Refused, RefusedLate, answer, refusal, sent
from flowy_operator.adapters.gateway.bodies import Bodies, is_chunked, part
from flowy_operator.adapters.gateway.connections import Caps, Connection, Connections
from flowy_operator.adapters.gateway.onward import CALL_S, Onward
from flowy_operator.adapters.gateway.onward import UPLOAD_S as FORWARDED_UPLOAD_S
from flowy_operator.adapters.gateway.paces import Paces
from flowy_operator.adapters.gateway.tokens import TokenRefused, Tokens, TokenUnchecked
from flowy_operator.adapters.gateway.uploads import UPLOAD_S, Uploads
from flowy_operator.core.attempts import DETAILS_BYTES, Abandoned, Caller, Counts, Differs, Over, Standing, Unknown

PER_POD_S = 20.0
BURST = 40
"""Requests a second of one pod, and how many it may save up: a loop without a pause takes no more of the operator."""

AT_ONCE = 4
"""Requests of one pod that are under way together. Those that are held back are among them, so that no more than a fifth of
a second is waited for each."""

PER_NAMESPACE_S = 2_000.0
NAMESPACE_BURST = 4_000
"""The same of all pods of a namespace: half of a core. Else five hundred loops would take all of it."""

HELD_S = 1.0
"""How long a late refusal is held back: with the cap on connections, one address gets no more than some hundred a second."""

KERNEL_BYTES = 64 * 1024
"""What the kernel keeps of a connection that isn't read, each way. It is our memory too, and would be MiBs."""

BACKLOG = 1_024

OTHER_PATH = "other"
"""What `answered` is told of paths that there are not."""

_GO_ON = b'{"continue": true}\n'

_log = logging.getLogger(__name__)


class GatewayError(Exception):
    """The gateway can't begin; `str()` says what to do."""


class Desk(Protocol):
    """Answers pods whose token was good."""

    async def heartbeat(self, caller: Caller, details: str | None) -> Standing:
        """Take a heartbeat, with its details as JSON text."""

    async def may_upload(self, caller: Caller) -> Standing:
        """How the caller stands, before its body is read."""

    async def upload(self, caller: Caller, text: str) -> Standing | Differs:
        """Keep a result, JSON text; `Counts` once it is stored."""

    async def progress(self, caller: Caller) -> str | Over | Abandoned | Unknown:
        """Give the details that an attempt before the caller's left, as JSON text; `null` if there are none."""


def open_socket(port: int) -> socket.socket:
    """Take a port on all addresses of this host; port 0 takes any that is free. Raises GatewayError.

    Whoever calls is refused at once until it is served: a replica that doesn't lead must not let a pod wait.
    """
    is_dual = socket.has_dualstack_ipv6()
    taken = socket.socket(socket.AF_INET6 if is_dual else socket.AF_INET)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_dual:
            taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        taken.bind(("", port))
    except OSError as error:
        taken.close()
        hint = "another program, perhaps another operator, has it: choose one with --gateway-port, 0 takes any"
        raise GatewayError(f"the gateway can't listen on port {port}: {error.strerror}; {hint}") from error
    for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):  # its connections inherit them
        taken.setsockopt(socket.SOL_SOCKET, buffer, KERNEL_BYTES)
    return taken


def own_url(api_server: str, port: int) -> str:
    """Where pods find this host: at the address from which it calls the API server, as a rule."""
    url = address(api_server, port)
    if ip_address(urlsplit(url).hostname or "").is_loopback:
        _log.warning("pods can't reach the gateway: say with --gateway-url where they find this host")
    return url


def address(api_server: str, port: int) -> str:
    """The URL of the address from which this host calls the API server."""
    parts = urlsplit(api_server)
    host = parts.hostname or ""
    try:
        family, kind, *_, address = socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)  # sends nothing: it only chooses the way
            own = str(probe.getsockname()[0])
    except OSError:
        own = "127.0.0.1"
    return f"http://[{own}]:{port}" if ":" in own else f"http://{own}:{port}"


class Gateway:
    """The server; `clock` gives seconds that only rise.

    `answered` is told each call's path and status, 0 if the caller went away; `deaf` is called when somebody unknown found
    no room. `onward` is for calls that are another shard's, None if there is one alone.
    """

    def __init__(
        self,
        tokens: Tokens,
        desk: Desk,
        *,
        clock: Callable[[], float],
        caps: Caps,
        answered: Callable[[str, int], None],
        deaf: Callable[[], None],
        onward: Onward | None,
    ) -> None:
        self._answered = answered
        self._onward = onward
        self._go_on, self._go_on_and_close = (Ready(_GO_ON, connects) for connects in Connects)
        self._tokens = tokens
        self._desk = desk
        self._under_way: dict[str, int] = {}  # by pod
        self._paces = Paces(clock, per_s=PER_POD_S, burst=BURST)
        self._namespace_paces = Paces(clock, per_s=PER_NAMESPACE_S, burst=NAMESPACE_BURST)
        self._uploads = Uploads(clock)
        self._bodies = Bodies()
        self._connections = Connections(self._handle, caps, deaf)
        self._routes: Mapping[tuple[str, str], Callable[[web.BaseRequest, Caller], Awaitable[web.StreamResponse]]] = {
            ("POST", "/heartbeat"): self._heartbeat,
            ("GET", "/progress"): self._progress,
            ("PUT", "/result"): self._result,
            ("POST", "/result"): self._result,
        }
        self._paths = {path for _, path in self._routes}

    @asynccontextmanager
    async def serving(self, listening: socket.socket) -> AsyncIterator[None]:
        """Serve on this socket until left."""
        server = await asyncio.get_running_loop().create_server(self._connections, sock=listening, backlog=BACKLOG)
        sweeping = asyncio.create_task(self._connections.sweep())
        try:
            yield
        finally:
            sweeping.cancel()
            server.close()
            await self._connections.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = _connection(request)
        connection.begin()
        response = None
        try:
            response = await self._answer(request, connection)
        except Refused as refused:
            if isinstance(refused, RefusedLate):
                await asyncio.sleep(HELD_S)
            response = refusal(refused.status, str(refused), refused.headers)
            await part(request, response)
        finally:
            connection.end()
            path = request.path if request.path in self._paths else OTHER_PATH
            self._answered(path, 0 if response is None else response.status)
        return response

    async def _answer(self, request: web.BaseRequest, connection: Connection) -> web.StreamResponse:
        route = self._route(request)
        caller = await self._caller(request, connection.address)
        connection.caller = caller
        under_way = self._under_way.get(caller.uid, 0)
        if under_way >= AT_ONCE:
            raise RefusedLate(429, f"this pod has {under_way} requests under way: wait for their answers", AGAIN)
        self._under_way[caller.uid] = under_way + 1
        wait_s = max(self._paces.wait_s(caller.uid), self._namespace_paces.wait_s(caller.namespace))
        try:
            elsewhere = None if self._onward is None else self._onward.leads_to(request, caller)
            if self._onward is not None and elsewhere is not None:
                return await self._passed_on(self._onward, elsewhere, request, caller)
            return await route(request, caller)
        finally:
            # Held back now and not before: a heartbeat counts from when it came. It is under way for as long also if its
            # sender has gone, who would else be faster without the answer.
            if wait_s > 0:
                asyncio.get_running_loop().call_later(wait_s, self._done, caller.uid)
                await asyncio.sleep(wait_s)
            else:
                self._done(caller.uid)

    def _done(self, pod: str) -> None:
        under_way = self._under_way[pod] - 1
        if under_way:
            self._under_way[pod] = under_way
        else:
            del self._under_way[pod]

    def _route(self, request: web.BaseRequest) -> Callable[[web.BaseRequest, Caller], Awaitable[web.StreamResponse]]:
        route = self._routes.get((request.method, request.path))
        if route is None:
            methods = [method for method, path in self._routes if path == request.path]
            if methods:
                allowed = {"Allow": ", ".join(methods)}
                raise RefusedLate(405, f"{request.path} takes {' or '.join(methods)}, not {request.method}", allowed)
            paths = ", ".join(dict.fromkeys(f"{method} {path}" for method, path in self._routes))
            raise RefusedLate(404, f"there is no {request.path} here: there are {paths}")
        if "Content-Encoding" in request.headers:
            raise RefusedLate(415, "the body is compressed: send it as it is")
        if is_chunked(request):
            raise RefusedLate(411, "the body comes in chunks: send it whole, with a Content-Length")
        return route

    async def _caller(self, request: web.BaseRequest, address: str) -> Caller:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            return await self._tokens.caller_of(token.strip() if scheme.lower() == "bearer" else "", address)
        except TokenRefused as refused:
            raise RefusedLate(401, str(refused), {"WWW-Authenticate": 'Bearer realm="flowy"'}) from None
        except TokenUnchecked as unchecked:
            raise RefusedLate(503, str(unchecked), AGAIN) from None

    async def _heartbeat(self, request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        details = await self._bodies.json(request, "the details of the heartbeat", DETAILS_BYTES)
        match await self._desk.heartbeat(caller, details):
            case Counts() | Abandoned():
                if request.version != HttpVersion11:
                    return sent(_GO_ON)
                return self._go_on if request.keep_alive else self._go_on_and_close
            case Over(why):
                return answer({"continue": False, "reason": why})
            case Unknown(why):
                raise Refused(503, f"{why}: try again", AGAIN)

    async def _progress(self, request: web.BaseRequest, caller: Caller) -> web.Response:  # noqa: ARG002 - a route
        match await self._desk.progress(caller):
            case str(text):
                return sent(text.encode() + b"\n")
            case Over(why) | Abandoned(why):
                raise Refused(409, why)
            case Unknown(why):
                raise Refused(503, f"{why}: try again", AGAIN)

    async def _result(self, request: web.BaseRequest, caller: Caller) -> web.Response:
        with self._uploads.announced(caller) as wait_s:
            _connection(request).within(wait_s + UPLOAD_S)
            await asyncio.sleep(wait_s)
            # Before the body: who no longer counts shall not make us read a MiB.
            _accept(await self._desk.may_upload(caller))
            with self._uploads.reading(caller):
                text = await self._bodies.json(request, "the result", MAX_VALUE_BYTES) or "null"
                _accept(await self._desk.upload(caller, text))
        return answer({"bytes": len(text.encode())})

    async def _passed_on(self, onward: Onward, to: str, request: web.BaseRequest, caller: Caller) -> web.Response:
        """The same as by its route, but for what the holder does itself."""
        if request.path != "/result":
            body = await self._bodies.raw(request, "the body", DETAILS_BYTES)
            return await onward.send(request, to, body, CALL_S)
        with self._uploads.announced(caller) as wait_s:
            _connection(request).within(wait_s + UPLOAD_S)
            await asyncio.sleep(wait_s)
            with self._uploads.reading(caller):
                body = await self._bodies.raw(request, "the result", MAX_VALUE_BYTES)
                return await onward.send(request, to, body, FORWARDED_UPLOAD_S)


def _connection(request: web.BaseRequest) -> Connection:
    connection = request.protocol
    assert isinstance(connection, Connection)
    return connection


def _accept(found: Standing | Differs) -> None:
    """Raise a refusal for all that may not upload."""
    match found:
        case Over(why) | Abandoned(why) | Differs(why):
            raise Refused(409, why)
        case Unknown(why):
            raise Refused(503, f"{why}: try again", AGAIN)
        case Counts():
            pass
