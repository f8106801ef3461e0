"""The decider as a process of its own, which the operator finds over a socket: both ends are real, and either may go."""

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import socket
import stat
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from click.testing import CliRunner

from flowy.wire.messages import Outcome, Record, RecordState
from flowy_operator.adapters.decider import homes
from flowy_operator.adapters.decider.frames import Greeting, Layout, Locks, Order, Verb, life_path
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.adapters.decider.pool import DeciderPool
from flowy_operator.adapters.decider.staying import Fate
from flowy_operator.app.cli import main
from flowy_operator.core.errors import DecisionStalled, StallReason
from tests.adapters.decider.processes import PATIENCE_S, children_of, is_running, is_stopped, open_descriptors, until
from tests.adapters.decider.programs import ENDLESS, GOOD, GOOD_KEYS, HANGING, body, native

COMMAND = [sys.executable, "-c", "from flowy_operator.app.cli import main; main()", "decider"]
LIMITS = Limits(cpu_s=0.3, children=4, children_per_namespace=4, children_ready=0, back_s=PATIENCE_S)
WALL_S = 60.0  # far beyond the test: no child ends by it


class Decider:
    """Its process, which can be killed and started again in the same place."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.socket_path = str(folder / "decider.sock")
        self._flags = flags
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *COMMAND, "--socket", self.socket_path, *self._flags, stdout=asyncio.subprocess.PIPE
        )

    async def said(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        return (await asyncio.wait_for(self._process.stdout.readline(), PATIENCE_S)).decode()

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        async with asyncio.timeout(PATIENCE_S):
            await self._process.communicate()
            return await self._process.wait()


@pytest_asyncio.fixture
async def decider(tmp_path: Path) -> AsyncIterator[Decider]:
    decider = Decider(tmp_path)
    await decider.start()
    yield decider
    await decider.end(signal.SIGKILL)


@pytest_asyncio.fixture
async def pool(decider: Decider) -> AsyncIterator[DeciderPool]:
    pool = DeciderPool(LIMITS, socket_path=decider.socket_path)
    await pool.start()
    yield pool
    await pool.close()


async def is_good(pool: DeciderPool) -> bool:
    answer = await pool.decide(GOOD, namespace="good", wall_s=WALL_S)
    return [call.key for call in answer.scheduled] == GOOD_KEYS


# -- what goes over the socket ----------------------------------------------------------------------------------------

ENDS = {
    StallReason.TIMEOUT: (ENDLESS, "of CPU"),
    StallReason.MEMORY: (body("bytearray(10 << 30)"), "128 MiB"),
    StallReason.FORBIDDEN: (body("os.kill(1, 9)"), "forbidden system call"),
    StallReason.CRASHED: (native("ctypes.string_at(0)"), "SIGSEGV"),
    StallReason.TOO_LARGE: (body("return 'x' * 5_000_000"), "4456448"),
    StallReason.MALFORMED: (body("os.write(3, b'garbage')"), "connection"),
}


async def test_every_end_is_told_apart(pool: DeciderPool) -> None:
    """The operator can't wait for these processes: all it knows of them is what the zygote tells."""
    assert pool.zygote_pid is None
    assert pool.locks is not None
    assert pool.locks.seccomp
    for reason, (asked, part) in ENDS.items():
        with pytest.raises(DecisionStalled) as stalled:
            await pool.decide(asked, namespace="hostile", wall_s=WALL_S)
        assert (stalled.value.reason, part in str(stalled.value)) == (reason, True), str(stalled.value)
    with pytest.raises(DecisionStalled, match="longer than"):
        await pool.decide(HANGING, namespace="hostile", wall_s=0.4)
    with pytest.raises(DecisionStalled, match="exit code 3"):
        await pool.decide(body("os._exit(3)"), namespace="hostile", wall_s=WALL_S)
    assert await is_good(pool)


async def test_a_cancelled_decision_ends_its_child(pool: DeciderPool, decider: Decider) -> None:
    await until(lambda: not children_of(decider.pid))
    decision = asyncio.create_task(pool.decide(HANGING, namespace="x", wall_s=WALL_S))
    await until(lambda: bool(children_of(decider.pid)))
    decision.cancel()
    await asyncio.wait([decision])
    await until(lambda: not children_of(decider.pid))


async def test_a_child_that_stays_is_stopped_until_it_is_asked(decider: Decider) -> None:
    """The orders go over the connection whose end tells of the zygote's."""
    fates: Counter[Fate] = Counter()
    limits = replace(LIMITS, children_ready=0, staying_children=1, staying_records=0)
    pool = DeciderPool(limits, socket_path=decider.socket_path, stayed=lambda fate: fates.update([fate]))
    await pool.start()
    try:
        await until(pool.lets_stay)
        asked = body("return [int(a(n)) for n in range(3)]")
        for n in range(3):
            answer = await pool.decide(asked, namespace="x", wall_s=WALL_S)
            await until(lambda: len(children_of(decider.pid)) == 1)
            (pid,) = children_of(decider.pid)
            await until(lambda: is_stopped(pid))  # noqa: B023 - asked at once
            (call,) = answer.scheduled
            done = Record(call.key, RecordState.COMPLETED, call.digest, call.line, str(n), None, n, 1.7e9 + n)
            asked = replace(asked, records=(*asked.records, done))
        assert (await pool.decide(asked, namespace="x", wall_s=WALL_S)).result == "[0,1,2]"
        assert fates == {Fate.WENT_ON: 3}
    finally:
        await pool.close()


async def test_an_order_may_come_in_pieces(pool: DeciderPool, decider: Decider) -> None:
    address = Order.new_address()
    order = Order(Verb.REST, address, pages=1 << 20).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as child:
        child.bind(address)
        child.connect(decider.socket_path)
        await until(lambda: len(children_of(decider.pid)) == 1)
        (pid,) = children_of(decider.pid)
        reader, writer = await asyncio.open_unix_connection(life_path(decider.socket_path))
        try:
            assert Greeting.parse(await reader.readline())
            for piece in (order[:1], order[1:7], order[7:] + order[:3]):
                assert not is_stopped(pid)
                writer.write(piece)
                await asyncio.sleep(0.02)
            await until(lambda: is_stopped(pid))
        finally:
            writer.close()
    await until(lambda: not children_of(decider.pid))
    assert await is_good(pool)


NONSENSE = {
    "what is no order": (bytes(Order.SIZE), True),
    "orders about nobody": (Order(Verb.GO_ON, Order.new_address()).encode() * 2000, False),
    "half an order": (Order(Verb.REST, Order.new_address()).encode()[:5], False),
}


@pytest.mark.parametrize(("said", "is_hung_up"), NONSENSE.values(), ids=NONSENSE)
async def test_who_talks_to_it_changes_nothing(
    pool: DeciderPool, decider: Decider, said: bytes, is_hung_up: bool
) -> None:
    reader, writer = await asyncio.open_unix_connection(life_path(decider.socket_path))
    try:
        assert Greeting.parse(await reader.readline())
        writer.write(said)
        hung_up = asyncio.create_task(reader.read())
        await asyncio.wait([hung_up], timeout=PATIENCE_S if is_hung_up else 0.3)
        assert hung_up.done() == is_hung_up
        assert await is_good(pool)
        hung_up.cancel()
    finally:
        writer.close()


async def test_decisions_are_repeated_where_there_is_a_second_zygote(tmp_path: Path) -> None:
    decider = Decider(tmp_path, "--shadow")
    await decider.start()
    pool = DeciderPool(LIMITS, socket_path=decider.socket_path, shadow_share=1.0)
    try:
        await pool.start()
        assert await is_good(pool)
        answer = await pool.decide(body("return id(object())"), namespace="x", wall_s=WALL_S)
        assert answer.outcome is Outcome.STALLED
        await until(lambda: len(children_of(decider.pid)) == 1)
        (second,) = children_of(decider.pid)
        os.kill(second, signal.SIGKILL)  # without it the container would be half of what it is
        await until(lambda: not is_running(decider.pid))
    finally:
        await pool.close()
        await decider.end(signal.SIGKILL)


async def test_both_zygotes_end_together(tmp_path: Path) -> None:
    decider = Decider(tmp_path, "--shadow")
    await decider.start()
    assert (await decider.said()).startswith("ready ")
    assert (await decider.said()).startswith("ready ")
    (second,) = children_of(decider.pid)
    assert await decider.end() == 0
    await until(lambda: not is_running(second))


# -- who comes and goes -----------------------------------------------------------------------------------------------


async def test_the_operator_may_come_first(tmp_path: Path) -> None:
    decider = Decider(tmp_path)
    pool = DeciderPool(LIMITS, socket_path=decider.socket_path)
    starting = asyncio.create_task(pool.start())
    await asyncio.sleep(0.1)
    assert not starting.done()  # so the operator isn't ready
    await decider.start()
    await starting
    assert await is_good(pool)
    await pool.close()
    await decider.end()


async def test_a_decision_under_which_the_decider_restarts_is_made_again(pool: DeciderPool, decider: Decider) -> None:
    await until(lambda: not children_of(decider.pid))
    deciding = asyncio.create_task(pool.decide(HANGING, namespace="x", wall_s=WALL_S))
    await until(lambda: bool(children_of(decider.pid)))
    (child,) = children_of(decider.pid)
    await decider.end(signal.SIGKILL)
    await until(lambda: not is_running(child))
    await decider.start()
    assert await is_good(pool)
    await until(lambda: bool(children_of(decider.pid)))
    assert not deciding.done()
    deciding.cancel()
    await asyncio.wait([deciding])


async def test_a_decider_that_stays_away_is_soon_reported_and_found_when_it_is_back(decider: Decider) -> None:
    pool = DeciderPool(replace(LIMITS, back_s=0.2), socket_path=decider.socket_path)
    await pool.start()
    assert "ready" in await decider.said()
    await decider.end()
    with pytest.raises(DecisionStalled, match="does its container run") as stalled:
        await is_good(pool)
    assert stalled.value.reason is StallReason.UNAVAILABLE
    await decider.start()
    assert "ready" in await decider.said()
    assert await is_good(pool)
    await pool.close()


async def test_sigterm_ends_it_in_order(decider: Decider) -> None:
    assert (await decider.said()).startswith("ready ")
    assert await decider.end() == 0


async def test_an_operator_that_is_restarted_finds_it_as_it_was(decider: Decider) -> None:
    first = DeciderPool(LIMITS, socket_path=decider.socket_path)
    await first.start()
    await until(lambda: not children_of(decider.pid))
    before = open_descriptors(decider.pid)
    deciding = asyncio.create_task(first.decide(HANGING, namespace="x", wall_s=WALL_S))
    await until(lambda: bool(children_of(decider.pid)))
    await first.close()
    with pytest.raises(DecisionStalled) as stalled:
        await deciding
    assert stalled.value.reason is StallReason.UNAVAILABLE
    second = DeciderPool(LIMITS, socket_path=decider.socket_path)
    await second.start()
    assert await is_good(second)
    await until(lambda: not children_of(decider.pid) and open_descriptors(decider.pid) <= before)
    await second.close()


OPERATOR = """
import asyncio, sys
sys.path[:0] = {path!r}
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.adapters.decider.pool import DeciderPool
from tests.adapters.decider.programs import HANGING

async def main():
    pool = DeciderPool(Limits(children_ready=0), socket_path={socket_path!r})
    await pool.start()
    print("ready", flush=True)
    await pool.decide(HANGING, namespace="x", wall_s=60)

asyncio.run(main())
"""


async def test_a_killed_operator_takes_its_decisions_along_and_nothing_else(decider: Decider) -> None:
    operator = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        OPERATOR.format(path=sys.path, socket_path=decider.socket_path),
        stdout=asyncio.subprocess.PIPE,
    )
    assert operator.stdout is not None
    await asyncio.wait_for(operator.stdout.readline(), PATIENCE_S)
    await until(lambda: len(children_of(decider.pid)) == 1)
    operator.kill()
    await operator.wait()
    await until(lambda: not children_of(decider.pid))
    pool = DeciderPool(LIMITS, socket_path=decider.socket_path)
    await pool.start()
    assert await is_good(pool)
    await pool.close()


# -- who may connect, and to whom -------------------------------------------------------------------------------------


def modes_and_groups(*paths: str) -> list[tuple[int, int]]:
    return [(stat.S_IMODE(found.st_mode), found.st_gid) for found in (Path(path).stat() for path in paths)]


@pytest.fixture
def shared_folder(tmp_path: Path) -> Path:
    """As the kubelet makes a volume's for an fsGroup: of that group, which hands itself down."""
    if os.geteuid() == 0:
        os.chown(tmp_path, -1, 65532)
    tmp_path.chmod(0o2770)
    return tmp_path


async def test_the_group_of_the_folder_may_connect_and_nobody_else(shared_folder: Path) -> None:
    decider = Decider(shared_folder)
    await decider.start()
    assert "ready" in await decider.said()
    ((_, group),) = modes_and_groups(str(shared_folder))
    assert modes_and_groups(decider.socket_path, life_path(decider.socket_path)) == [(0o660, group)] * 2
    await decider.end()


async def test_one_of_the_operators_own_user_is_warned_of(decider: Decider, caplog: pytest.LogCaptureFixture) -> None:
    pool = DeciderPool(LIMITS, socket_path=decider.socket_path)
    await pool.start()
    await pool.close()
    assert [r.levelno for r in caplog.records if "a user of its own" in r.message] == [logging.WARNING]


GREETING = Greeting(release=homes.release(), python=homes.PYTHON, layout=Layout.PLAIN, locks=Locks(seccomp=True))
STRANGERS = {
    "another release": (replace(GREETING, release="0.0.0").encode(), "run both from one image"),
    "another interpreter": (replace(GREETING, python="3.9").encode(), "on Python 3.9, the operator"),
    "another layout": (replace(GREETING, layout=Layout.SCRAMBLED).encode(), "not one with a plain memory"),
    "no filter": (replace(GREETING, locks=Locks()).encode(), "without a filter of system calls"),
    "no greeting": (b"hello\n", "no decider of this version"),
    "an older greeting": (b'ready {"seccomp": true}\n', "no decider of this version"),
    "a greeting of other types": (b'ready {"release": 1, "python": 1, "layout": [], "locks": 3}\n', "no decider of"),
    "a line without end": (b"ready " + b"x" * 200_000, "no decider of this version"),
    "a nested line": (b"ready " + b"[" * 60_000 + b"\n", "no decider of this version"),
    "nothing": (b"", "no decider of this version"),
}


@pytest.mark.parametrize(("greeting", "part"), STRANGERS.values(), ids=STRANGERS)
async def test_what_is_no_decider_of_ours_is_refused(tmp_path: Path, greeting: bytes, part: str) -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    socket_path = str(tmp_path / "decider.sock")
    server = await asyncio.start_unix_server(greet, life_path(socket_path))
    async with server:
        with pytest.raises(DecisionStalled, match=re.escape(part)) as stalled:
            await DeciderPool(LIMITS, socket_path=socket_path).start()
    assert stalled.value.reason is StallReason.UNAVAILABLE


async def test_one_without_a_second_zygote_is_refused_where_decisions_are_to_be_repeated(decider: Decider) -> None:
    pool = DeciderPool(replace(LIMITS, start_s=0.3), socket_path=decider.socket_path, shadow_share=0.01)
    assert "ready" in await decider.said()
    with pytest.raises(DecisionStalled, match="start the decider with --shadow"):
        await pool.start()


async def test_none_at_all_is_said_after_the_time_for_a_start(tmp_path: Path) -> None:
    with pytest.raises(DecisionStalled, match=r"No decider can be reached at .*No such file.*does its container run"):
        await DeciderPool(replace(LIMITS, start_s=0.1), socket_path=str(tmp_path / "decider.sock")).start()


PLACES: dict[str, tuple[Callable[[Path], str], str]] = {
    "a folder that isn't there": (lambda folder: f"{folder}/no/decider.sock", "is no folder in which"),
    "a long path": (lambda folder: f"{folder}/{'x' * 108}", "bytes too long for a socket"),
}


@pytest.mark.parametrize(("place", "part"), PLACES.values(), ids=PLACES)
def test_a_place_for_no_socket_is_refused_in_words(tmp_path: Path, place: Callable[[Path], str], part: str) -> None:
    told = CliRunner().invoke(main, ["decider", "--socket", place(tmp_path)])
    assert told.exit_code == 2
    assert part in told.output


async def test_it_says_what_it_is_locked_by(decider: Decider) -> None:
    word, _, said = (await decider.said()).partition(" ")
    assert word == "ready"
    assert json.loads(said)["locks"]["seccomp"] is True
