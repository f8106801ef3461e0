"""A client that stops midway, or asks for what nobody may ask: its child goes, the zygote stays, others are served."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from flowy_operator.adapters.decider import frames
from flowy_operator.adapters.decider.asking import Asked, asking
from flowy_operator.adapters.decider.frames import LENGTH, Allowance, Ending, Home, Layout, Start, Strictness
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.adapters.decider.spawn import ZygoteProcess
from tests.adapters.decider.processes import PATIENCE_S, children_of, open_descriptors, until
from tests.adapters.decider.programs import GOOD, HANGING, body

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASKED = asking(GOOD, "x", PATIENCE_S, Limits())
MESSAGE = ASKED.message()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def zygote(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ZygoteProcess]:
    start = Start(
        socket_path=str(tmp_path_factory.mktemp("zygote") / "socket"),
        strictness=Strictness.REQUIRED,
        home=Home.CHILD,
        layout=Layout.PLAIN,
        release="of the tests",
    )
    zygote = await ZygoteProcess.start(start, 60.0)
    yield zygote
    await zygote.close()


class Client:
    """A bare socket: asyncio's streams drop what they have read when the other side leaves bytes unread, as a refusal does."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def of(cls, zygote: ZygoteProcess) -> "Client":
        connection = socket.socket(socket.AF_UNIX)
        connection.setblocking(False)
        client = cls(connection)
        await asyncio.get_running_loop().sock_connect(connection, zygote.socket_path)
        return client

    async def say(self, message: bytes) -> None:
        await self._loop.sock_sendall(self._socket, message)

    def say_no_more(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    async def hear(self, most_bytes: int) -> bytes:
        return await self._loop.sock_recv(self._socket, most_bytes)

    async def hear_all(self) -> bytes:
        received = bytearray()
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(PATIENCE_S):
                while part := await self.hear(1 << 18):
                    received += part
        self.go()
        return bytes(received)

    async def ending(self) -> Ending:
        ending = Ending.at_end_of(await self.hear_all())
        assert ending is not None
        return ending

    def go(self) -> None:
        self._socket.close()


async def is_served(zygote: ZygoteProcess) -> bool:
    """Whether the next client gets its answer, and nothing is left of any."""
    client = await Client.of(zygote)
    await client.say(MESSAGE)
    received = await client.hear_all()
    size = int.from_bytes(received[: LENGTH.size])
    await until(lambda: not children_of(zygote.pid))
    return len(received) == LENGTH.size + size + Ending.SIZE


PARTS = {
    "nothing": b"",
    "a byte": MESSAGE[:1],
    "half of the header": MESSAGE[: Allowance.SIZE // 2],
    "the header": MESSAGE[: Allowance.SIZE],
    "half of the request": MESSAGE[: (Allowance.SIZE + len(MESSAGE)) // 2],
    "all but a byte": MESSAGE[:-1],
}


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
async def test_a_client_that_goes_midway_takes_its_child_along(zygote: ZygoteProcess, part: bytes) -> None:
    client = await Client.of(zygote)
    await client.say(part)
    await until(lambda: len(children_of(zygote.pid)) == 1)
    client.go()
    await until(lambda: not children_of(zygote.pid))
    assert await is_served(zygote)


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
async def test_a_client_that_says_no_more_is_told_so(zygote: ZygoteProcess, part: bytes) -> None:
    client = await Client.of(zygote)
    await client.say(part)
    client.say_no_more()
    ending = await client.ending()
    is_header_whole = len(part) >= Allowance.SIZE
    code = frames.EXIT_REQUEST_REFUSED if is_header_whole else frames.EXIT_LOCKDOWN_FAILED
    assert ending.status == code << 8
    assert await is_served(zygote)


async def test_a_client_that_leaves_half_a_request_there_is_waited_for_as_long_as_a_decision_may_take(
    zygote: ZygoteProcess,
) -> None:
    short = replace(ASKED.allowance, wall_ms=100)
    client = await Client.of(zygote)
    await client.say(short.encode() + ASKED.body[:-1])
    assert (await client.ending()).status == signal.SIGALRM
    assert await is_served(zygote)


async def test_half_a_request_is_nobody_elses(zygote: ZygoteProcess) -> None:
    first, second = await Client.of(zygote), await Client.of(zygote)
    await first.say(MESSAGE[:-1])
    await second.say(MESSAGE)
    assert LENGTH.unpack_from(await second.hear_all())[0] < 10_000
    await first.say(MESSAGE[-1:])
    assert (await first.ending()).status == 0
    assert await is_served(zygote)


HEADERS = {
    "of another version": b"flowy-d0" + MESSAGE[8:],
    "of an older shape": b"GET / HTTP/1.1\r\nHost: flowy\r\n\r\n" + b" " * Allowance.SIZE,
    "zeros": bytes(Allowance.SIZE),
}


@pytest.mark.parametrize("message", HEADERS.values(), ids=HEADERS)
async def test_a_header_that_is_none_gets_no_decision(zygote: ZygoteProcess, message: bytes) -> None:
    client = await Client.of(zygote)
    await client.say(message)
    assert (await client.ending()).status == frames.EXIT_LOCKDOWN_FAILED << 8
    assert await is_served(zygote)


async def test_a_request_of_4_gb_ends_at_the_limit_of_memory(zygote: ZygoteProcess) -> None:
    greedy = replace(ASKED.allowance, request_bytes=2**32 - 1, memory_bytes=40 << 20)
    client = await Client.of(zygote)
    await client.say(greedy.encode())

    with contextlib.suppress(ConnectionError):
        for _ in range(200):
            await client.say(b" " * 1_000_000)
    ending = await client.ending()
    assert ending.status == frames.EXIT_OUT_OF_MEMORY << 8
    assert await is_served(zygote)


def asked_for(lines: str) -> Asked:
    return asking(body(lines), "x", PATIENCE_S, Limits())


async def test_a_client_that_does_not_read_gets_the_end_when_it_does(zygote: ZygoteProcess) -> None:
    """A large answer fills the socket: the child waits in its write until its time is over, and the zygote for nobody."""
    asked = asked_for("return 'x' * 3_000_000")
    client = await Client.of(zygote)
    await client.say(replace(asked.allowance, wall_ms=500).encode() + asked.body)
    await until(lambda: not children_of(zygote.pid))
    assert await is_served(zygote)
    received = await client.hear_all()
    ending = Ending.at_end_of(received)
    assert ending is not None
    assert ending.status == signal.SIGALRM
    assert len(received) < 3_000_000


async def test_a_client_that_goes_within_the_answer_leaves_nothing(zygote: ZygoteProcess) -> None:
    before = open_descriptors(zygote.pid)
    for _ in range(5):
        client = await Client.of(zygote)
        await client.say(asked_for("return 'x' * 3_000_000").message())
        assert await client.hear(1000)
        client.go()
    await until(lambda: not children_of(zygote.pid))
    assert await is_served(zygote)
    assert open_descriptors(zygote.pid) <= before


async def test_many_clients_that_go_at_once_leave_nothing(zygote: ZygoteProcess) -> None:
    before = open_descriptors(zygote.pid)
    message = asking(HANGING, "x", PATIENCE_S, Limits()).message()
    clients = [await Client.of(zygote) for _ in range(30)]
    for n, client in enumerate(clients):
        await client.say(message[: 1 + n * len(message) // 29])
    await until(lambda: len(children_of(zygote.pid)) == len(clients))
    for client in clients:
        client.go()
    await until(lambda: not children_of(zygote.pid))
    assert await is_served(zygote)
    assert open_descriptors(zygote.pid) <= before
