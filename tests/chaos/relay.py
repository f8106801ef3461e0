"""A line between the operators and the API server that can be cut: bytes as they come, TLS passes through.

The API server's own refusals are made by itself (`blows.py`); a proxy that answered in its place would have to be as faithful
as a fake one. Only what happens on the way is done here: both ends get a reset, whatever was in between.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Any, Self

BLOCK = 256 * 1024
_AT_ONCE = struct.pack("ii", 1, 0)


class Relay:
    """Listens at 127.0.0.1:`port`, as long as it is entered."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._lines: set[asyncio.Task[Any]] = set()

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=BLOCK)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._lines)

    def cut(self) -> int:
        """Reset all connections; new ones may be made at once. Tells how many there were."""
        writers = list(self._writers)
        for writer in writers:
            if not writer.is_closing():
                # Without lingering: a reset, not an end in good order that loses nothing.
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            writer.transport.abort()
        return len(writers) // 2

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        assert line is not None
        self._lines.add(line)
        self._writers.add(writer)
        try:
            with suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection(*self._to, limit=BLOCK)
                self._writers.add(far_writer)
                try:
                    await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
                finally:
                    self._writers.discard(far_writer)
                    far_writer.transport.abort()
        finally:
            self._writers.discard(writer)
            self._lines.discard(line)
            writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while block := await reader.read(BLOCK):
            writer.write(block)
            await writer.drain()
    # Half-closed lines are of no use to HTTP: one end that goes takes the other along.
    writer.transport.close()
