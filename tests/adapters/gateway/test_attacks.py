"""Whom the gateway doesn't let spoil it for the others: over real sockets, by whatever a pod may send."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest

from flowy_operator.adapters.gateway import bodies, connections, server, uploads
from flowy_operator.adapters.gateway.connections import Caps
from flowy_operator.adapters.gateway.paces import Paces
from flowy_operator.adapters.gateway.server import AT_ONCE
from tests.adapters.gateway.opened import FOREIGN, TOKEN, FixedDesk, Open, gateway
from tests.adapters.gateway.reviewer import jwt


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HELD_S", 0.0)


# -- bodies -----------------------------------------------------------------------------------------------------------


async def test_a_body_in_chunks_is_refused_and_ends_the_connection() -> None:
    """Chunks may be of one byte, and a MiB of these takes the parser a second."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 10_000
            await asyncio.sleep(0)

    async with gateway(FixedDesk()) as there:
        status, answer = await there.ask("POST", "/heartbeat", endless())
        assert (status, answer) == (411, {"error": "the body comes in chunks: send it whole, with a Content-Length"})
        reader, writer = await there.stream()
        writer.write(
            b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 10_000
        )
        async with asyncio.timeout(5):
            assert (await reader.read()).startswith(b"HTTP/1.1 411 ")
        writer.close()


async def test_an_endless_body_that_was_refused_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "LINGER_S", 3600.0)
    block = b"x" * 64 * 1024
    async with gateway(FixedDesk()) as there:
        _, writer = await there.stream()
        writer.write(b"PUT /result HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n")
        taken = 0
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(20):
                while True:
                    writer.write(block)
                    await writer.drain()
                    taken += len(block)
        assert taken < 16 * bodies.LINGER_BYTES, "what both kernels hold comes on top"
        writer.close()


# -- uploads ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def begun(there: Open, pod: str, namespace: str = "ns") -> AsyncIterator[asyncio.StreamWriter]:
    """An upload of which the last byte is missing."""
    _, writer = await there.stream()
    head = (
        f"PUT /result HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {jwt(pod, namespace)}\r\nContent-Length: 2\r\n\r\n1"
    )
    writer.write(head.encode())
    await asyncio.sleep(0.1)
    yield writer
    writer.close()
    await asyncio.sleep(0.1)


async def test_a_pod_uploads_one_result_at_a_time() -> None:
    async with gateway(FixedDesk()) as there:
        async with begun(there, "pod-1"):
            assert (await there.ask("PUT", "/result", b"2"))[0] == 429
            assert (await there.ask("PUT", "/result", b"2", jwt("pod-2")))[0] == 200
        assert (await there.ask("PUT", "/result", b"2"))[0] == 200


async def test_uploads_at_once_are_bounded_and_half_of_them_for_a_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "AT_ONCE", 4)
    monkeypatch.setattr(uploads, "OF_A_NAMESPACE", 2)
    other = [f"pod-{n}" for n in range(FOREIGN, FOREIGN + 3)]
    async with gateway(FixedDesk(), pods=FOREIGN + 3) as there, contextlib.AsyncExitStack() as stack:
        for pod in ("pod-0", "pod-1"):
            await stack.enter_async_context(begun(there, pod))
        status, answer = await there.ask("PUT", "/result", b"2", jwt("pod-2"))
        assert (status, answer) == (503, {"error": "many results of this namespace are being uploaded: try again"})
        assert (await there.ask("POST", "/heartbeat", None, jwt("pod-2")))[0] == 200
        for pod in other[:2]:
            assert (await there.ask("PUT", "/result", b"2", jwt(pod, "other")))[0] == 200
            await stack.enter_async_context(begun(there, pod, "other"))
        status, answer = await there.ask("PUT", "/result", b"2", jwt(other[2], "other"))
        assert (status, answer) == (503, {"error": "many results are being uploaded: try again"})
        await stack.aclose()
        assert (await there.ask("PUT", "/result", b"2", jwt("pod-2")))[0] == 200
        assert not there.gateway._uploads._reading, "nothing is remembered of a namespace that is through"


async def test_uploads_have_a_pace_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PER_POD_S", 2.0)
    monkeypatch.setattr(uploads, "BURST", 2)
    async with gateway(FixedDesk()) as there:
        clock = asyncio.get_running_loop().time
        began_at, ended_at = clock(), []
        for _ in range(5):
            assert (await there.ask("PUT", "/result", b"2"))[0] == 200
            ended_at.append(clock() - began_at)
            assert (await there.ask("POST", "/heartbeat"))[0] == 200
        # A pace and no timing: it can't be faster, however fast the machine is.
        assert ended_at[4] >= 1.5
        assert await there.ask("PUT", "/result", b"2", jwt("pod-2")) == (200, {"bytes": 1})


async def test_long_results_are_checked_one_at_a_time_also_if_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, checked, go_on = 0, 0, 0, threading.Event()

    def slowly(text: str, what: str) -> None:
        nonlocal running, most, checked
        checked += 1
        running += 1
        most = max(most, running)
        go_on.wait(5)
        running -= 1

    monkeypatch.setattr(bodies, "value_text", slowly)
    long = b'"' + b"x" * 100_000 + b'"'
    async with gateway(FixedDesk(), pods=6) as there:
        calls = [asyncio.create_task(there.ask("PUT", "/result", long, jwt(f"pod-{n}"))) for n in range(6)]
        await asyncio.sleep(0.2)
        for call in calls[:3]:
            call.cancel()
        await asyncio.sleep(0.2)
        assert most == 1
        go_on.set()
        assert await asyncio.gather(*calls[3:]) == [(200, {"bytes": 100_002})] * 3
    assert most == 1
    assert checked <= 4, "who has gone doesn't wait for its turn, and its text isn't kept for that"


# -- connections and paces ----------------------------------------------------------------------------------------------


async def test_who_sends_nothing_or_slowly_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.2)
    monkeypatch.setattr(connections, "ANSWER_S", 0.2)
    head = b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + TOKEN.encode()
    async with gateway(FixedDesk()) as there:
        for begin in (b"", b"POST /heartbeat HTTP/1.1\r\nA: b\r\n", head + b"\r\nContent-Length: 9\r\n\r\n1"):
            reader, writer = await there.stream()
            writer.write(begin)
            async with asyncio.timeout(5):
                while True:  # a byte now and then doesn't buy more time
                    try:
                        if not await asyncio.wait_for(reader.read(1000), 0.05):
                            break
                    except TimeoutError:
                        writer.write(b"x" if begin else b"")
                    except ConnectionError:
                        break
            writer.close()


async def beat_from(there: Open, address: str, token: str = TOKEN) -> int:
    """A heartbeat over a connection of its own; its status."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    async with aiohttp.ClientSession(connector=connector) as client:
        headers = {"Authorization": f"Bearer {token}"}
        async with client.post(f"{there.url}/heartbeat", headers=headers) as response:
            return response.status


@dataclass
class Crowd:
    """Connections that somebody opens and keeps busy, from one address."""

    there: Open
    address: str
    sends: bytes
    streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def grow(self, count: int) -> None:
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.there.port, local_addr=(self.address, 0))
            writer.write(self.sends)
            self.streams.append((reader, writer))
        await asyncio.sleep(0.1)

    async def leave(self) -> None:
        for _, writer in self.streams:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in self.streams), return_exceptions=True)


def begins(token: str) -> bytes:
    """A heartbeat that never ends: its body has a byte less than it says."""
    return (
        f"POST /heartbeat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 2\r\n\r\n1".encode()
    )


CROWDS: dict[str, bytes] = {
    "silent": b"",
    "half a head": b"POST /heartbeat HTTP/1.1\r\nHost: x\r\n",
    "a path that isn't there": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a wrong token": begins(jwt("wrong")),
    "a good token of one pod, over and over": begins(jwt("pod-0")),
}


@pytest.mark.parametrize("sends", CROWDS.values(), ids=CROWDS)
async def test_a_crowd_keeps_nobody_out_not_even_behind_its_own_address(
    sends: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HELD_S", 3600.0)
    monkeypatch.setattr(connections, "ANSWER_S", 3600.0)
    async with gateway(FixedDesk(), caps=Caps(total=12, per_address=8)) as there:
        crowds = [Crowd(there, f"127.0.0.{n}", sends) for n in (2, 3)]
        for crowd in crowds:
            await crowd.grow(10)
        for address in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
            for token in (TOKEN, jwt("pod-2")):
                assert await beat_from(there, address, token) == 200
                slow = Crowd(there, address, b"")
                await slow.grow(1)
                await crowds[0].grow(4)
                ((reader, writer),) = slow.streams
                writer.write(begins(token) + b"2")
                assert await reader.readline() == b"HTTP/1.1 200 OK\r\n", "who is new has time to show its token"
                await slow.leave()
        assert there.gateway._connections.refused == 0
        assert not there.deaf
        for crowd in crowds:
            await crowd.leave()


async def test_a_crowd_of_pods_of_one_namespace_keeps_no_other_out() -> None:
    async with gateway(FixedDesk(), caps=Caps(total=6, per_address=3), pods=FOREIGN + 1) as there:
        crowds = [Crowd(there, f"127.0.0.{n + 2}", begins(jwt(f"pod-{n}"))) for n in range(8)]
        for crowd in crowds:
            await crowd.grow(1)
        assert await beat_from(there, "127.0.0.99", jwt(f"pod-{FOREIGN}", "other")) == 200
        assert (there.gateway._connections.refused, there.deaf) == (0, [])
        for crowd in crowds:
            await crowd.leave()


async def test_who_works_alone_in_its_namespace_is_not_ended_for_a_newcomer() -> None:
    async with gateway(FixedDesk(), caps=Caps(total=2, per_address=2), pods=FOREIGN + 1) as there:
        sends = [begins(jwt("pod-0")), begins(jwt(f"pod-{FOREIGN}", "other"))]
        crowds = [Crowd(there, f"127.0.0.{n + 2}", sent) for n, sent in enumerate(sends)]
        for crowd in crowds:
            await crowd.grow(1)
        with pytest.raises(aiohttp.ClientError):
            await beat_from(there, "127.0.0.9")
        assert (there.gateway._connections.refused, len(there.deaf)) == (1, 1), "and it is known that somebody spoke"
        for crowd in crowds:
            ((reader, writer),) = crowd.streams
            writer.write(b"2")
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            await crowd.leave()


async def test_a_gateway_that_is_too_full_says_so_but_seldom(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SWEEP_S", 0.01)
    async with gateway(FixedDesk(), caps=Caps(total=4, per_address=2)) as there:
        crowd = Crowd(there, "127.0.0.2", begins(jwt("pod-0")))
        for _ in range(5):
            await crowd.grow(2)
        (record,) = caplog.records
        assert record.levelname == "WARNING"
        assert "too many connections" in record.getMessage()
        assert (record.__dict__["most_from"], record.__dict__["most"]) == ("127.0.0.2", 2)
        await crowd.leave()


async def test_a_pod_has_few_requests_under_way() -> None:
    async with gateway(FixedDesk()) as there:
        crowd = Crowd(there, "127.0.0.2", begins(jwt("pod-0")))
        await crowd.grow(AT_ONCE)
        status, answer = await there.ask("POST", "/heartbeat", None, jwt("pod-0"))
        assert (status, answer) == (429, {"error": "this pod has 4 requests under way: wait for their answers"})
        assert (await there.ask("POST", "/heartbeat"))[0] == 200
        await crowd.leave()
        await asyncio.sleep(0.1)
        assert (await there.ask("POST", "/heartbeat", None, jwt("pod-0")))[0] == 200
        assert not there.gateway._under_way


async def test_who_does_not_wait_for_the_answer_is_not_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BURST", 1)
    desk = FixedDesk()
    call = f"POST /heartbeat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    async with gateway(desk) as there:
        clock = asyncio.get_running_loop().time
        began_at = clock()
        while clock() - began_at < 1.0:
            _, writer = await there.stream()
            writer.write(call)
            await asyncio.sleep(0.005)
            writer.close()
        assert AT_ONCE < len(desk.heard) <= server.PER_POD_S * (clock() - began_at) + AT_ONCE + 1


async def test_a_heartbeat_that_is_held_back_counts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BURST", 1)
    monkeypatch.setattr(server, "PER_POD_S", 0.01)
    desk = FixedDesk()
    async with gateway(desk) as there:
        await there.ask("POST", "/heartbeat")
        for n in (2, 3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(there.ask("POST", "/heartbeat"), 0.2)
            assert len(desk.heard) == n


async def test_nobody_is_cut_off_because_the_operator_was_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SWEEP_S", 0.05)
    monkeypatch.setattr(connections, "HEAD_S", 0.5)
    async with gateway(FixedDesk()) as there, asyncio.timeout(10):
        call = begins(TOKEN) + b"2"
        crowd = Crowd(there, "127.0.0.2", call[:20])
        await crowd.grow(1)
        ((reader, writer),) = crowd.streams
        time.sleep(1.0)  # noqa: ASYNC251 - the loop is what is busy
        writer.write(call[20:])
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        await crowd.leave()


async def test_who_never_reads_its_answers_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else they would pile up: in the kernel first, then here, for as long as it goes on asking."""
    monkeypatch.setattr(server, "PER_POD_S", 1e9)
    monkeypatch.setattr(server, "PER_NAMESPACE_S", 1e9)
    desk = FixedDesk()
    call = f"POST /heartbeat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    async with gateway(desk) as there, asyncio.timeout(30):
        own = socket.socket()
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        own.connect(("127.0.0.1", there.port))
        own.setblocking(False)
        _, writer = await asyncio.open_connection(sock=own, limit=1024)
        with contextlib.suppress(ConnectionError):
            while len(desk.heard) < 20_000:
                writer.write(call)
                await writer.drain()
        assert AT_ONCE < len(desk.heard) < 20_000
        writer.transport.abort()
        assert (await there.ask("POST", "/heartbeat"))[0] == 200


ODD: dict[str, bytes] = {
    "no origin": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n",
    "a whole address": b"GET http://elsewhere.example:99999/progress HTTP/1.1\r\nHost: x\r\n",
    "a proxy's": b"CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: x\r\n",
    "a proxy's, malformed": b"CONNECT :::: HTTP/1.1\r\nHost: x\r\n",
    "two slashes": b"GET //[::1 HTTP/1.1\r\nHost: x\r\n",
    "a broken escape": b"GET /%zz%00%ff?%=&&# HTTP/1.1\r\nHost: [::\r\n",
    "another protocol": b"GET /progress HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
    "a method of one's own": b"HEARTBEAT /heartbeat HTTP/1.1\r\nHost: x\r\n",
    "an answer": b"HTTP/1.1 200 OK\r\nHost: x\r\n",
    "no host": b"POST /heartbeat HTTP/1.1\r\n",
    "two hosts": b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nHost: y\r\n",
    "two tokens": b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n",
    "two lengths": b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
    "a length and chunks": b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
    "a length below zero": b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n",
    "a length that is no number": b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nContent-Length: 1_0\r\n",
    "many headers": b"POST /heartbeat HTTP/1.1\r\nHost: x\r\n" + b"".join(b"a%d: b\r\n" % n for n in range(100)),
    "a long header": b"POST /heartbeat HTTP/1.1\r\nHost: x\r\na: " + b"b" * 10_000 + b"\r\n",
    "a long path": b"GET /" + b"b" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n",
    "nul": b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \0\r\n",
    "a folded header": b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\r\n a\r\n",
    "cookies": b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nCookie: =;;\x7f=\xff\r\n",
}


@pytest.mark.parametrize("head", ODD.values(), ids=ODD)
async def test_no_odd_request_is_a_fault_of_ours(head: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with gateway(FixedDesk()) as there, asyncio.timeout(10):
        reader, writer = await there.stream()
        writer.write(head + b"\r\n" + b"tail" * 1000)
        status = (await reader.readline()).split()
        assert not status or status[1].startswith(b"4"), status
        writer.close()
        assert await beat_from(there, "127.0.0.9") == 200
    assert not caplog.records


async def test_a_namespace_has_a_pace_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "NAMESPACE_BURST", 2)
    monkeypatch.setattr(server, "PER_NAMESPACE_S", 0.01)
    async with gateway(FixedDesk(), pods=FOREIGN + 1) as there:
        assert (await there.ask("POST", "/heartbeat"))[0] == 200
        assert (await there.ask("POST", "/heartbeat", None, jwt("pod-2")))[0] == 200
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(there.ask("POST", "/heartbeat", None, jwt("pod-0")), 0.2)
        assert (await there.ask("POST", "/heartbeat", None, jwt(f"pod-{FOREIGN}", "other")))[0] == 200


async def test_idle_connections_make_room_for_new_ones() -> None:
    async with gateway(FixedDesk(), caps=Caps(total=3, per_address=3)) as there:
        kept = [aiohttp.ClientSession() for _ in range(10)]
        for session in kept:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with session.post(f"{there.url}/heartbeat", headers=headers) as response:
                assert response.status == 200
                await response.read()
            assert there.gateway._connections._count <= 3
        assert there.gateway._connections.refused == 0
        for session in kept:
            await session.close()


def test_whoever_asks_without_a_pause_is_slowed_down_and_nobody_else() -> None:
    now = 1000.0
    paces = Paces(lambda: now, per_s=20, burst=40)
    waits = [paces.wait_s("hostile") for _ in range(100)]
    assert waits[:40] == [0.0] * 40
    assert waits[59] == pytest.approx(1.0)
    assert paces.wait_s("honest") == 0.0
    now += 60
    assert [paces.wait_s("hostile") for _ in range(41)][-2:] == [0.0, pytest.approx(0.05)]
