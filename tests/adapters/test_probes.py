"""What the kubelet and Prometheus are answered, and that nobody can keep them from it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest

from flowy_operator.adapters import probes
from flowy_operator.adapters.probes import Probes, ProbesError

FIGURES = (b"flowy_leader 1\n", "text/plain; version=0.0.4; charset=utf-8")


@dataclass
class Served:
    """A server that is open, and a client of it."""

    port: int
    client: aiohttp.ClientSession
    checks: dict[str, bool] = field(default_factory=dict)
    scrapes: int = 0

    def figures(self) -> tuple[bytes, str]:
        self.scrapes += 1
        return FIGURES

    async def ask(self, path: str, method: str = "GET") -> tuple[int, str, str]:
        async with self.client.request(method, f"http://127.0.0.1:{self.port}{path}") as response:
            return response.status, response.headers.get("Content-Type", ""), await response.text()


@asynccontextmanager
async def served() -> AsyncIterator[Served]:
    async with aiohttp.ClientSession() as client:
        there = Served(0, client)
        made = Probes(checks=lambda: there.checks, figures=there.figures)
        async with made.serving(0) as port:
            there.port = port
            yield there


async def test_it_is_ready_when_it_has_all_that_it_needs() -> None:
    async with served() as there:
        there.checks = {"decider": True, "jobs": False}
        assert await there.ask("/readyz") == (503, "text/plain; charset=utf-8", "decider: ok\njobs: not yet\n")
        there.checks = {"decider": True, "jobs": True}
        assert await there.ask("/readyz") == (200, "text/plain; charset=utf-8", "decider: ok\njobs: ok\n")


async def test_it_is_alive_before_it_is_ready() -> None:
    async with served() as there:
        there.checks = {"decider": False}
        assert (await there.ask("/healthz"))[::2] == (200, "ok\n")


async def test_figures_are_looked_up_once_for_all_who_ask_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as there:
        for _ in range(5):
            assert await there.ask("/metrics") == (200, FIGURES[1], FIGURES[0].decode())
        assert there.scrapes == 1
        monkeypatch.setattr(probes, "FRESH_S", 0.0)
        await there.ask("/metrics")
        assert there.scrapes == 2


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("POST", "/metrics", 405)])
async def test_there_is_nothing_else(method: str, path: str, status: int) -> None:
    async with served() as there:
        assert (await there.ask(path, method))[0] == status


async def test_a_port_that_is_taken_is_said() -> None:
    made = Probes(checks=dict, figures=lambda: FIGURES)
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ProbesError, match=f"port {port}.*--health-port"):
            async with made.serving(port):
                pass


async def test_many_that_say_nothing_keep_nobody_out() -> None:
    async with served() as there:
        silent = [await asyncio.open_connection("127.0.0.1", there.port) for _ in range(2 * probes.CONNECTIONS)]
        assert (await there.ask("/healthz"))[0] == 200
        ended = await asyncio.gather(*(_ends(reader) for reader, _ in silent[: probes.CONNECTIONS]))
        assert ended == [b""] * probes.CONNECTIONS
        for _, writer in silent:
            writer.close()


async def test_a_connection_ends_in_the_middle_of_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "LIFE_S", 0.05)
    async with served() as there:
        reader, writer = await asyncio.open_connection("127.0.0.1", there.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost:")
        assert await _ends(reader) == b""
        writer.close()


async def _ends(reader: asyncio.StreamReader) -> bytes:
    """What comes before the connection is ended."""
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""
