"""The line that can be cut: bytes go both ways, a cut resets both ends, and the next connection works."""

import asyncio

import pytest

from tests.chaos.relay import Relay


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while block := await reader.read(1000):
        writer.write(block)
    writer.close()


async def test_a_cut_resets_what_is_open_and_nothing_else() -> None:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with server, Relay("127.0.0.1", server.sockets[0].getsockname()[1]) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"there")
        assert await reader.readexactly(5) == b"there"
        assert relay.cut() == 1
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"again")
        assert await reader.readexactly(5) == b"again"
        writer.close()
    assert relay.cut() == 0
