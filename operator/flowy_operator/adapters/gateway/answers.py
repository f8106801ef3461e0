"""What a request is answered with: JSON, and where it is refused, one sentence."""

import json
from collections.abc import Mapping
from email.utils import formatdate
from enum import Enum
from time import time
from typing import Any

from aiohttp import web


class Refused(Exception):
    """The answer is this status with this sentence."""

    def __init__(self, status: int, why: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.headers = None if headers is None else dict(headers)


class RefusedLate(Refused):
    """One that costs whoever asks next to nothing: it is said after a while, so that a loop of them costs us little too."""


AGAIN = {"Retry-After": "1"}


def refusal(status: int, why: str, headers: dict[str, str] | None = None) -> web.Response:
    """An error answer: JSON with one sentence."""
    return answer({"error": why}, status, headers)


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return sent(json.dumps(value, ensure_ascii=False).encode() + b"\n", status, headers)


def sent(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """An answer whose JSON is there already."""
    return web.Response(body=body, status=status, headers={"Content-Type": "application/json", **(headers or {})})


class Connects(Enum):
    """What becomes of the connection after an answer; the value is the header that says so."""

    STAYS = ""
    CLOSES = "Connection: close\r\n"


class Ready(web.StreamResponse):
    """A short answer of which thousands are sent: its bytes are ready, and any number of requests may share it.

    To put a `web.Response` together is a tenth of what a heartbeat costs. For HTTP/1.1 alone, whose connections stay unless
    something else is said.
    """

    def __init__(self, body: bytes, connects: Connects) -> None:
        super().__init__()
        self._bytes = body
        self._connects = connects
        self._second = 0
        self._whole = b""

    @property
    def keep_alive(self) -> bool:
        return self._connects is Connects.STAYS

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send all of it."""
        second = int(time())
        if second != self._second:
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(self._bytes)}\r\n"
            date = f"Date: {formatdate(second, usegmt=True)}\r\n"
            self._whole = f"{head}{date}{self._connects.value}\r\n".encode() + self._bytes
            self._second = second
        transport = request.transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size():
            # The kernel is full of answers that nobody reads, and more would pile up here.
            transport.abort()
        else:
            transport.write(self._whole)

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left."""
