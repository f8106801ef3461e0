"""The gateway of a local run: heartbeats, progress and uploads over HTTP on loopback, as docs/activities.md has them."""

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

from flowy.local.launch import Launch
from flowy.policy.lengths import MAX_VALUE_BYTES
from flowy.wire import values
from flowy.wire.checks import MalformedMessage, value_text
from flowy_operator.core.attempts import DETAILS_BYTES
from flowy_operator.core.refusals import UPLOADED_ANOTHER, no_utf8, too_long

LINGER_S = 1.0
LINGER_BYTES = 4 * MAX_VALUE_BYTES
"""Of what is still sent of a refused body, so much is read and thrown away."""

_LOOKS_S = 0.02
"""How often it looks whether it is to end: the end of each run waits for that."""


@dataclass(slots=True)
class Desk:
    """One launch that may call, and what it has uploaded."""

    launch: Launch
    uploaded: str | None = None
    lock: Lock = field(default_factory=Lock)


class Gateway:
    """Who may call, by token."""

    def __init__(self) -> None:
        self.desks: dict[str, Desk] = {}
        self.url = ""

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve on a free port until the block ends."""
        gateway = self

        class Handler(_Handler):
            desks = gateway.desks

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            self.url = f"http://127.0.0.1:{server.server_port}"
            serving = Thread(target=server.serve_forever, args=(_LOOKS_S,), name="flowy-gateway", daemon=True)
            serving.start()
            try:
                yield
            finally:
                server.shutdown()
                serving.join()

    @contextmanager
    def desk(self, launch: Launch) -> Iterator[tuple[str, Desk]]:
        """A token for this launch, good until the block ends."""
        token, desk = secrets.token_urlsafe(), Desk(launch)
        self.desks[token] = desk
        try:
            yield token, desk
        finally:
            del self.desks[token]


class _Refused(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    desks: dict[str, Desk]

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_GET  # noqa: N815 - the base's names

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def _answer(self) -> None:
        try:
            status, body = 200, self._answered()
        except _Refused as refused:
            status, body = refused.status, values.encode_plain({"error": str(refused)})
            self.close_connection = True  # its body may not have been read
        raw = body.encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)
        if self.close_connection:
            self._linger()

    def _linger(self) -> None:
        """Read on for a moment: who still sends, and is cut off, never sees the answer that says why."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(LINGER_S)
            left = LINGER_BYTES
            while left > 0 and (read := self.connection.recv(left)):
                left -= len(read)

    def _answered(self) -> str:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        desk = self.desks.get(token.strip()) if scheme.lower() == "bearer" else None
        if desk is None:
            raise _Refused(401, "the token is of no attempt that runs here")
        match self.command, self.path:
            case "POST", "/heartbeat":
                return self._heartbeat(desk)
            case "GET", "/progress":
                _accept(desk)
                return desk.launch.previous or "null"
            case (("PUT" | "POST"), "/result"):
                return self._upload(desk)
        raise _Refused(404, f"there is no {self.command} {self.path} here")

    def _heartbeat(self, desk: Desk) -> str:
        details = self._json("the details of the heartbeat", DETAILS_BYTES)
        if desk.launch.beats(details):
            return '{"continue": true}'
        return values.encode_plain({"continue": False, "reason": desk.launch.why_over})

    def _upload(self, desk: Desk) -> str:
        _accept(desk)
        text = self._json("the result", MAX_VALUE_BYTES) or "null"
        with desk.lock:
            if desk.uploaded not in {None, text}:
                raise _Refused(409, UPLOADED_ANOTHER)
            desk.uploaded = text
        return values.encode_plain({"bytes": len(text.encode())})

    def _json(self, what: str, limit: int) -> str | None:
        """The body as JSON text; None if there is nothing in it."""
        length: Any = self.headers.get("Content-Length", "0")
        if not length.isdecimal():
            raise _Refused(411, f"{what} comes without a Content-Length")
        if int(length) > limit:
            raise _Refused(413, too_long(what, int(length), limit))
        try:
            text = self.rfile.read(int(length)).decode().strip()
            if text:
                value_text(text, what)
        except UnicodeDecodeError as error:
            raise _Refused(400, no_utf8(what, error)) from None
        except MalformedMessage as error:
            raise _Refused(400, str(error)) from None
        return text or None


def _accept(desk: Desk) -> None:
    if not desk.launch.counts:
        raise _Refused(409, desk.launch.why_over)
