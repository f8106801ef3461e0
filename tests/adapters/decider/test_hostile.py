"""Code that means harm, or merely does it: every end is told apart, and the others go on."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from flowy.wire.messages import Outcome, Request
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.adapters.decider.pool import DeciderPool
from flowy_operator.adapters.decider.verdict import End
from flowy_operator.core.errors import DecisionStalled, StallReason
from tests.adapters.decider.programs import ENDLESS, GOOD, GOOD_KEYS, HANGING, body, native

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Little memory, since filling it takes CPU: of that, too, there is little, for the sake of the loops.
LIMITS = Limits(cpu_s=0.3, memory_bytes=40 << 20, children=4, children_per_namespace=2)
WALL_S = 1.5  # of what hangs; anything else must not end by it, however busy the machine
PATIENT_S = 60.0


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pool() -> AsyncIterator[DeciderPool]:
    pool = DeciderPool(LIMITS)
    await pool.start()
    yield pool
    await pool.close()


HOSTILE = {
    "an endless loop": (ENDLESS, StallReason.TIMEOUT, "of CPU"),
    "a loop in C": (body("9**9**9"), StallReason.TIMEOUT, "of CPU"),
    "a loop that catches all": (
        body("while True:", "    try:", "        while True: pass", "    except BaseException: pass"),
        StallReason.TIMEOUT,
        "of CPU",
    ),
    "a loop that would ignore its CPU signals": (
        body(
            "import signal",
            "try: signal.signal(signal.SIGPROF, signal.SIG_IGN)",
            "except OSError: pass",
            "while True: pass",
        ),
        StallReason.TIMEOUT,
        "of CPU",
    ),
    "a hang": (HANGING, StallReason.TIMEOUT, "longer than 1.5 s"),
    "10 GB at once": (body("bytearray(10 << 30)"), StallReason.MEMORY, "40 MiB"),
    "ever more": (body("kept = []", "while True: kept.append('x' * 100_000)"), StallReason.MEMORY, "40 MiB"),
    "an answer that doesn't fit into memory": (
        body("return 'x' * 20_000_000"),
        StallReason.MEMORY,
        "40 MiB",
    ),
    "an exit": (body("os._exit(0)"), StallReason.CRASHED, "exit code 0"),
    "an exit with our own code": (body("os._exit(91)"), StallReason.MEMORY, ""),
    "KeyboardInterrupt": (body("raise KeyboardInterrupt"), StallReason.CRASHED, "exit code 1"),
    "SIGKILL": (body("os.kill(os.getpid(), 9)"), StallReason.FORBIDDEN, "forbidden system call"),
    "a NULL pointer": (native("ctypes.string_at(0)"), StallReason.CRASHED, "SIGSEGV"),
    "bad bytecode": (
        body("def f(): pass", "f.__code__ = f.__code__.replace(co_code=b'\\x64\\xff' * 50, co_consts=())", "f()"),
        StallReason.CRASHED,
        "SIG",
    ),
    "a few bytes on the channel": (body("os.write(3, b'ab')", "os._exit(0)"), StallReason.MALFORMED, "2 bytes"),
    "garbage on the channel": (body("os.write(3, b'garbage')"), StallReason.MALFORMED, "connection"),
    "an answer that is no JSON": (body("os.write(3, bytes([0, 0, 0, 1]) + b'x')"), StallReason.MALFORMED, ""),
    "an answer of the wrong shape": (body("os.write(3, bytes([0, 0, 0, 2]) + b'{}')"), StallReason.MALFORMED, ""),
    "an answer nested without end": (
        body("os.write(3, bytes([0, 1, 0, 0]) + b'[' * 65536)"),
        StallReason.MALFORMED,
        "",
    ),
    "half an answer, then a loop": (
        body("os.write(3, bytes([0, 0, 0, 9]) + b'x')", "while True: pass"),
        StallReason.TIMEOUT,
        "of CPU",
    ),
    "endless output": (body("while True: os.write(3, b'x' * 65536)"), StallReason.MALFORMED, "connection"),
    "a forged ending": (
        body("os.write(3, b'\\xff\\xff\\xff\\xffend1' + bytes(12))", "os._exit(7)"),
        StallReason.MALFORMED,
        "",
    ),
    "a forged size": (body("os.write(3, bytes([1, 0, 0, 0]))", "os._exit(0)"), StallReason.TOO_LARGE, "16777216"),
    "an answer above the limit": (body("return 'x' * 5_000_000"), StallReason.TOO_LARGE, "4456448"),
}


@pytest.mark.parametrize(("asked", "reason", "part"), HOSTILE.values(), ids=HOSTILE)
async def test_how_it_ends(pool: DeciderPool, asked: Request, reason: StallReason, part: str) -> None:
    with pytest.raises(DecisionStalled) as stalled:
        await pool.decide(asked, namespace="hostile", wall_s=WALL_S if asked is HANGING else PATIENT_S)
    assert (stalled.value.reason, part in str(stalled.value)) == (reason, True), str(stalled.value)
    answer = await pool.decide(GOOD, namespace="good", wall_s=20.0)
    assert [call.key for call in answer.scheduled] == GOOD_KEYS


async def test_exhausted_memory_that_the_code_handles_is_its_own_affair(pool: DeciderPool) -> None:
    lines = ("try:", "    bytearray(10 << 30)", "except MemoryError:", "    return 'handled'")
    answer = await pool.decide(body(*lines), namespace="x", wall_s=20.0)
    assert answer.result == '"handled"'


async def test_good_decisions_are_answered_beside_many_hostile_ones(pool: DeciderPool) -> None:
    programs = [ENDLESS, HANGING, body("bytearray(10 << 30)"), body("os.kill(os.getpid(), 9)"), body("os._exit(0)")] * 4

    async def hostile(asked: Request) -> StallReason:
        with pytest.raises(DecisionStalled) as stalled:
            await pool.decide(asked, namespace="hostile", wall_s=0.4)
        return stalled.value.reason

    async with asyncio.TaskGroup() as group:
        ends = [group.create_task(hostile(asked)) for asked in programs]
        good = 0
        while not all(end.done() for end in ends):
            answer = await pool.decide(GOOD, namespace="good", wall_s=20.0)
            assert answer.outcome is Outcome.SUSPENDED
            good += 1
    assert good >= 3
    assert {end.result() for end in ends} == {
        StallReason.TIMEOUT,
        StallReason.MEMORY,
        StallReason.FORBIDDEN,
        StallReason.CRASHED,
    }


async def test_each_end_is_told_once() -> None:
    told: list[tuple[End, float]] = []
    pool = DeciderPool(LIMITS, ended=lambda end, seconds: told.append((end, seconds)))
    await pool.start()
    assert not told  # the self-test is nobody's decision
    hostile = {
        End.CPU: ENDLESS,
        End.WALL: HANGING,
        End.MEMORY: body("bytearray(10 << 30)"),
        End.FORBIDDEN: body("os.kill(os.getpid(), 9)"),
        End.NO_ANSWER: body("os._exit(0)"),
        End.CRASHED: native("ctypes.string_at(0)"),
        End.MALFORMED: body("os.write(3, b'garbage')"),
        End.TOO_LARGE: body("return 'x' * 5_000_000"),
    }
    try:
        for asked in hostile.values():
            with pytest.raises(DecisionStalled):
                await pool.decide(asked, namespace="hostile", wall_s=WALL_S if asked is HANGING else PATIENT_S)
        await pool.decide(GOOD, namespace="good", wall_s=20.0)
    finally:
        await pool.close()
    assert [end for end, _ in told if end is not End.PUT_BACK] == [*hostile, End.ANSWERED]
    assert dict(told)[End.WALL] >= WALL_S
