"""What containers of activities may ask for over HTTP, and how it is refused.

    POST /heartbeat        optional JSON details       -> {"continue": true | false}
    GET  /progress                                     -> the details that an attempt before this one left, or null
    PUT  /result           JSON, up to 1 MiB           -> {"bytes": n}, once it is stored

A result may also come by POST, since busybox's wget knows no PUT. Who asks is told by its token, before its body is read; what counts is the `Desk`'s to say. Every error is JSON with one
sentence: {"error": "…"}. A pod may ask as often and as slowly as it likes, it slows down nobody but itself.
"""

import asyncio
import logging
import socket
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from ipaddress import ip_address
from typing import Protocol
from urllib.parse import urlsplit

from aiohttp import StreamReader, web

from flowy.wire.checks import MalformedMessage, value_text
from flowy_operator.adapters.gateway.connections import Caps, Connection, Connections, answer, refusal, sent
from flowy_operator.adapters.gateway.tokens import TokenRefused, Tokens, TokenUnchecked
from flowy_operator.core.attempts import DETAILS_BYTES, Abandoned, Caller, Counts, Differs, Over, Standing, Unknown
from flowy_operator.core.values import MAX_VALUE_BYTES

PER_S = 20.0
BURST = 40
"""Requests a second of one pod, and how many it may save up. Beyond that its answers are held back, so that a loop
without a pause takes no more of the operator than this."""

MOST_HELD_BACK_S = 5.0

HELD_S = 1.0
"""A refusal that needs no good token is held back so long: with the cap on connections, one address gets no more than some
hundred a second."""

SHORT_CHARS = 16 * 1024  # of JSON that is parsed on the spot

UPLOADS_AT_ONCE = 32
"""Bodies of results that are read at a time: each takes up to 3 MiB of memory on its way."""

PODS = 20_000
"""Whose pace is remembered."""

BACKLOG = 1_024

OTHER_PATH = "other"
"""What `answered` is told of paths that there are not."""

_GO_ON = b'{"continue": true}\n'
_AGAIN = {"Retry-After": "1"}

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
    """Listen on all addresses of this host; port 0 takes any that is free. Raises GatewayError."""
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
        return socket.create_server(("", port), backlog=BACKLOG)
    except OSError as error:
        hint = "another program, perhaps another operator, has it: choose one with --gateway-port, 0 takes any"
        raise GatewayError(f"the gateway can't listen on port {port}: {error.strerror}; {hint}") from error


def own_url(api_server: str, port: int) -> str:
    """Where pods find this host: at the address from which it calls the API server, as a rule."""
    parts = urlsplit(api_server)
    host = parts.hostname or ""
    try:
        family, kind, *_, address = socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)  # sends nothing: it only chooses the way
            own = str(probe.getsockname()[0])
    except OSError:
        own = "127.0.0.1"
    if ip_address(own.partition("%")[0]).is_loopback:
        _log.warning("pods can't reach the gateway: say with --gateway-url where they find this host")
    return f"http://[{own}]:{port}" if ":" in own else f"http://{own}:{port}"


class Gateway:
    """The server; `clock` gives seconds that only rise, `answered` is told each call's path and status, 0 if the caller went away."""

    def __init__(
        self,
        tokens: Tokens,
        desk: Desk,
        *,
        clock: Callable[[], float],
        caps: Caps,
        answered: Callable[[str, int], None],
    ) -> None:
        self._answered = answered
        self._tokens = tokens
        self._desk = desk
        self._paces = _Paces(clock)
        self._connections = Connections(self._handle, caps)
        self._uploading: set[str] = set()
        self._routes: Mapping[tuple[str, str], Callable[[web.BaseRequest, Caller], Awaitable[web.Response]]] = {
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

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        connection = request.protocol
        assert isinstance(connection, Connection)
        connection.begin()
        response = None
        try:
            response = await self._answer(request, connection.address)
        except _Refused as refused:
            response = refusal(refused.status, str(refused), refused.headers)
        finally:
            connection.end()
            path = request.path if request.path in self._paths else OTHER_PATH
            self._answered(path, 0 if response is None else response.status)
        return response

    async def _answer(self, request: web.BaseRequest, address: str) -> web.Response:
        try:
            route = self._route(request)
        except _Refused:
            await asyncio.sleep(HELD_S)
            raise
        caller = await self._caller(request, address)
        wait_s = self._paces.wait_s(caller.uid)
        if wait_s > MOST_HELD_BACK_S:
            raise _Refused(429, f"this pod asks more than {PER_S:.0f} times a second: pause between calls", _AGAIN)
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        return await route(request, caller)

    def _route(self, request: web.BaseRequest) -> Callable[[web.BaseRequest, Caller], Awaitable[web.Response]]:
        route = self._routes.get((request.method, request.path))
        if route is None:
            methods = [method for method, path in self._routes if path == request.path]
            if methods:
                allowed = {"Allow": ", ".join(methods)}
                raise _Refused(405, f"{request.path} takes {' or '.join(methods)}, not {request.method}", allowed)
            paths = ", ".join(dict.fromkeys(f"{method} {path}" for method, path in self._routes))
            raise _Refused(404, f"there is no {request.path} here: there are {paths}")
        if "Content-Encoding" in request.headers:
            raise _Refused(415, "the body is compressed: send it as it is")
        return route

    async def _caller(self, request: web.BaseRequest, address: str) -> Caller:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            return await self._tokens.caller_of(token.strip() if scheme.lower() == "bearer" else "", address)
        except TokenRefused as refused:
            await asyncio.sleep(HELD_S)
            raise _Refused(401, str(refused), {"WWW-Authenticate": 'Bearer realm="flowy"'}) from None
        except TokenUnchecked as unchecked:
            await asyncio.sleep(HELD_S)
            raise _Refused(503, str(unchecked), _AGAIN) from None

    async def _heartbeat(self, request: web.BaseRequest, caller: Caller) -> web.Response:
        details = await _json(request, "the details of the heartbeat", DETAILS_BYTES)
        match await self._desk.heartbeat(caller, details):
            case Counts() | Abandoned():
                return sent(_GO_ON)
            case Over(why):
                return answer({"continue": False, "reason": why})
            case Unknown(why):
                raise _Refused(503, f"{why}: try again", _AGAIN)

    async def _progress(self, request: web.BaseRequest, caller: Caller) -> web.Response:  # noqa: ARG002 - a route
        match await self._desk.progress(caller):
            case str(text):
                return sent(text.encode() + b"\n")
            case Over(why) | Abandoned(why):
                raise _Refused(409, why)
            case Unknown(why):
                raise _Refused(503, f"{why}: try again", _AGAIN)

    async def _result(self, request: web.BaseRequest, caller: Caller) -> web.Response:
        # Before the body: who no longer counts shall not make us read a MiB.
        _accept(await self._desk.may_upload(caller))
        if caller.uid in self._uploading:
            raise _Refused(429, "this pod is uploading a result already: wait for the answer", _AGAIN)
        if len(self._uploading) >= UPLOADS_AT_ONCE:
            raise _Refused(503, "many results are being uploaded: try again", _AGAIN)
        self._uploading.add(caller.uid)
        try:
            text = await _json(request, "the result", MAX_VALUE_BYTES)
            _accept(await self._desk.upload(caller, text or "null"))
        finally:
            self._uploading.discard(caller.uid)
        return answer({"bytes": len((text or "null").encode())})


def _accept(found: Standing | Differs) -> None:
    """Raise a refusal for all that may not upload."""
    match found:
        case Over(why) | Abandoned(why) | Differs(why):
            raise _Refused(409, why)
        case Unknown(why):
            raise _Refused(503, f"{why}: try again", _AGAIN)
        case Counts():
            pass


class _Refused(Exception):
    """The answer is this status with this sentence."""

    def __init__(self, status: int, why: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.headers = None if headers is None else dict(headers)


async def _json(request: web.BaseRequest, what: str, limit: int) -> str | None:
    """The body as JSON text, by the rules of results in files; None if there is nothing in it."""
    length = request.content_length
    if length is not None and length > limit:
        raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_long(what, f"{length:,} bytes", limit))
    try:
        text = (await _body(request.content, what, limit)).decode()
    except UnicodeDecodeError as error:
        raise _Refused(400, f"{what} is no UTF-8 at byte {error.start}") from error
    if not text.strip():
        return None
    try:
        # Parsing takes a tenth of a second for each MiB, in which nobody else would be heard.
        if len(text) > SHORT_CHARS:
            await asyncio.to_thread(value_text, text, what)
        else:
            value_text(text, what)
    except MalformedMessage as error:
        raise _Refused(400, str(error)) from error
    return text.strip()


async def _body(content: StreamReader, what: str, limit: int) -> bytes:
    blocks: list[bytes] = []
    size = 0
    while not content.at_eof():
        # Most bodies have come together with their head, and are read in one step.
        block = content.read_nowait(-1) if content.is_eof() else await content.readany()
        blocks.append(block)
        size += len(block)
        if size > limit:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_long(what, f"more than {limit:,} bytes", limit))
    return b"".join(blocks)


def _too_long(what: str, size: str, limit: int) -> str:
    return f"{what} has {size}: at most {limit:,} bytes are taken"


class _Paces:
    """How fast each pod asks: it may save up BURST requests, and gains PER_S of them a second."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._free_at: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, pod: str) -> float:
        """How long to hold back one more request of this pod, 0 for most. One beyond MOST_HELD_BACK_S counts for nothing."""
        now = self._clock()
        free_at = max(self._free_at.get(pod, 0.0), now - BURST / PER_S)
        wait_s = max(free_at - now, 0.0)
        if wait_s <= MOST_HELD_BACK_S:
            free_at += 1 / PER_S
        self._free_at[pod] = free_at
        self._free_at.move_to_end(pod)
        if len(self._free_at) > PODS:
            self._free_at.popitem(last=False)
        return wait_s
