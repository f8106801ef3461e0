"""Bodies of requests: bounded while they are read, and checked as results in files are.

Where a body is refused, the answer is sent at once and what still comes of it is thrown away for a while: a client that
gets a reset instead of an answer tells nobody why.
"""

import asyncio
from contextlib import suppress
from http import HTTPStatus

from aiohttp import StreamReader, web

from flowy.wire.checks import MalformedMessage, value_text
from flowy_operator.adapters.gateway.answers import Refused
from flowy_operator.core.refusals import no_utf8, too_long

SHORT_CHARS = 16 * 1024  # of JSON that is checked on the spot

LINGER_S = 2.0
LINGER_BYTES = 1024 * 1024
"""How long, and how much, a refused body is still read. To throw it away costs nearly as much as to keep it."""


def is_chunked(request: web.BaseRequest) -> bool:
    """Whether the body comes in chunks, which may be of one byte: a MiB of those takes the parser a second."""
    return "Transfer-Encoding" in request.headers


class Bodies:
    """Reads bodies. Long ones are checked one at a time, and no more than half of the time."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._free_at = 0.0  # by the loop's clock

    async def json(self, request: web.BaseRequest, what: str, limit: int) -> str | None:
        """The body as JSON text; None if there is nothing in it. Raises Refused."""
        try:
            text = (await self.raw(request, what, limit)).decode()
        except UnicodeDecodeError as error:
            raise Refused(400, no_utf8(what, error)) from error
        if not text.strip():
            return None
        try:
            if len(text) > SHORT_CHARS:
                await self._check_long(text, what)
            else:
                value_text(text, what)
        except MalformedMessage as error:
            raise Refused(400, str(error)) from error
        return text.strip()

    async def raw(self, request: web.BaseRequest, what: str, limit: int) -> bytes:
        """The body as it is. Raises Refused."""
        length = request.content_length or 0
        if length > limit:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_long(what, length, limit))
        return await _body(request.content)

    async def _check_long(self, text: str, what: str) -> None:
        """Check in a thread, in which nobody else is heard for as long as a C function lasts: a MiB may take a tenth of a second.

        So whoever needs the loop gets as much time after it; and no two are in memory, of which each may take 40 MiB.
        """
        clock = asyncio.get_running_loop().time
        await self._turn.acquire()
        try:
            await asyncio.sleep(max(self._free_at - clock(), 0.0))
        except asyncio.CancelledError:
            self._turn.release()
            raise
        began_at = clock()

        def ended(_: object) -> None:
            self._free_at = 2 * clock() - began_at
            self._turn.release()

        checking = asyncio.create_task(asyncio.to_thread(value_text, text, what))
        checking.add_done_callback(ended)
        # Whoever goes can't end the thread, and the next must not begin beside it.
        await asyncio.shield(checking)


async def _body(content: StreamReader) -> bytes:
    """All of it: no longer than its head says, or the parser refuses it."""
    blocks: list[bytes] = []
    while not content.at_eof():
        # Most bodies have come together with their head, and are read in one step.
        blocks.append(content.read_nowait(-1) if content.is_eof() else await content.readany())
    return b"".join(blocks)


async def part(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Send a refusal whose request's body may still be on its way. The connection ends then."""
    if request.content.is_eof():
        return  # it is all here, and aiohttp sends the answer
    await response.prepare(request)
    await response.write_eof()
    left = 0 if is_chunked(request) else LINGER_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while left > 0 and not request.content.at_eof():
                left -= len(await request.content.readany())
