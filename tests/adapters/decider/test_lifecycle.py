"""Processes come and go; nothing is left behind."""

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from flowy_operator.adapters.decider.frames import Home, Layout, Start, Strictness
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.adapters.decider.pool import DeciderPool
from flowy_operator.adapters.decider.spawn import ZygoteProcess
from flowy_operator.core.errors import DecisionStalled, StallReason
from tests.adapters.decider.processes import (
    PATIENCE_S,
    children_of,
    cpu_ticks,
    is_running,
    open_descriptors,
    threads_of,
    until,
)
from tests.adapters.decider.programs import GOOD, GOOD_KEYS, HANGING, body

WALL_S = 60.0  # far beyond the test: no child ends by it
# Every child is one that decides, and what waits does so in one child.
NONE_READY = Limits(new_children=4, new_children_per_namespace=4, children_ready=0, brief_wall_s=WALL_S)
START = Start(
    socket_path="", strictness=Strictness.REQUIRED, home=Home.CHILD, layout=Layout.PLAIN, release="of the tests"
)


@pytest.fixture
async def pool() -> AsyncIterator[DeciderPool]:
    pool = DeciderPool(NONE_READY)
    await pool.start()
    await until(lambda: not children_of(zygote_of(pool)))  # that of the self-test
    yield pool
    await pool.close()


async def is_good(pool: DeciderPool) -> bool:
    answer = await pool.decide(GOOD, namespace="good", wall_s=WALL_S)
    return [call.key for call in answer.scheduled] == GOOD_KEYS


def zygote_of(pool: DeciderPool) -> int:
    assert pool.zygote_pid is not None
    return pool.zygote_pid


async def test_a_killed_zygote_is_replaced(pool: DeciderPool) -> None:
    before = zygote_of(pool)
    os.kill(before, signal.SIGKILL)
    assert await is_good(pool)
    assert zygote_of(pool) != before


async def test_a_decision_under_which_the_zygote_dies_is_made_again(pool: DeciderPool) -> None:
    hanging = asyncio.create_task(pool.decide(HANGING, namespace="x", wall_s=WALL_S))
    before = zygote_of(pool)
    await until(lambda: bool(children_of(before)))
    (child,) = children_of(before)
    os.kill(before, signal.SIGKILL)
    await until(lambda: not is_running(child))
    await until(lambda: pool.zygote_pid not in {before, None} and bool(children_of(zygote_of(pool))))
    os.kill(zygote_of(pool), signal.SIGKILL)
    with pytest.raises(DecisionStalled) as stalled:
        await hanging
    assert stalled.value.reason is StallReason.UNAVAILABLE
    assert await is_good(pool)


async def test_code_that_would_kill_the_zygote_harms_itself_only(pool: DeciderPool) -> None:
    before = zygote_of(pool)
    with pytest.raises(DecisionStalled) as stalled:
        await pool.decide(body(f"os.kill({before}, 9)", "while True: pass"), namespace="x", wall_s=WALL_S)
    assert stalled.value.reason is StallReason.FORBIDDEN
    assert await is_good(pool)
    assert zygote_of(pool) == before


async def test_code_can_not_shut_its_channel(pool: DeciderPool) -> None:
    shut = body(
        "frame = sys._getframe()",
        "while 'socket' not in frame.f_globals: frame = frame.f_back",
        "frame.f_globals['socket'].socket(2, 1, 0, fileno=3).shutdown(2)",
    )
    answer = await pool.decide(shut, namespace="x", wall_s=WALL_S)
    assert answer.error is not None
    assert answer.error["type"] == "PermissionError"
    await until(lambda: not children_of(zygote_of(pool)))


async def test_a_cancelled_decision_ends_its_child(pool: DeciderPool) -> None:
    decision = asyncio.create_task(pool.decide(HANGING, namespace="x", wall_s=WALL_S))
    await until(lambda: bool(children_of(zygote_of(pool))))
    (child,) = children_of(zygote_of(pool))
    decision.cancel()
    with pytest.raises(asyncio.CancelledError):
        await decision
    await until(lambda: not children_of(zygote_of(pool)))
    assert not is_running(child)
    assert await is_good(pool)


async def test_nothing_is_left_of_many_decisions(pool: DeciderPool) -> None:
    assert await is_good(pool)
    await until(lambda: not children_of(zygote_of(pool)))
    zygote = zygote_of(pool)
    before = open_descriptors(zygote), open_descriptors(os.getpid())

    async def client(decisions: int) -> None:
        for n in range(decisions):
            if n % 10 == 9:
                with contextlib.suppress(DecisionStalled, TimeoutError):
                    async with asyncio.timeout(0.05):
                        await pool.decide(HANGING if n % 20 == 9 else body("os._exit(3)"), namespace="x", wall_s=WALL_S)
            else:
                assert await is_good(pool)

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(client(50))
    await until(lambda: not children_of(zygote))
    assert zygote_of(pool) == zygote
    await until(lambda: open_descriptors(zygote) <= before[0] and open_descriptors(os.getpid()) <= before[1])


async def test_a_zygote_without_free_descriptors_lets_others_wait(pool: DeciderPool) -> None:
    zygote = zygote_of(pool)
    most = open_descriptors(zygote) + 2
    resource.prlimit(zygote, resource.RLIMIT_NOFILE, (most, most))
    hanging = [asyncio.create_task(pool.decide(HANGING, namespace=f"x{n}", wall_s=WALL_S)) for n in range(2)]
    await until(lambda: len(children_of(zygote)) == 2)
    waiting = asyncio.create_task(is_good(pool))
    before = cpu_ticks(zygote)
    await asyncio.sleep(0.3)
    assert not waiting.done()
    assert cpu_ticks(zygote) - before < 10  # of 30
    hanging[0].cancel()
    assert await waiting
    assert zygote_of(pool) == zygote
    hanging[1].cancel()
    await asyncio.wait(hanging)
    assert await is_good(pool)
    assert zygote_of(pool) == zygote


async def test_closing_ends_everything_and_decisions_in_flight_too() -> None:
    pool = DeciderPool(NONE_READY)
    await pool.start()
    zygote = zygote_of(pool)
    await until(lambda: not children_of(zygote))
    decision = asyncio.create_task(pool.decide(HANGING, namespace="x", wall_s=WALL_S))
    await until(lambda: bool(children_of(zygote)))
    (child,) = children_of(zygote)
    await pool.close()
    with pytest.raises(DecisionStalled) as stalled:
        await decision
    assert stalled.value.reason is StallReason.UNAVAILABLE
    assert not is_running(zygote)
    await until(lambda: not is_running(child))
    with pytest.raises(DecisionStalled):
        await pool.decide(GOOD, namespace="x", wall_s=WALL_S)


async def test_the_zygote_has_one_thread(pool: DeciderPool) -> None:
    """Else libc's fork, which looks after no other threads, could hang the child on a lock."""
    assert await is_good(pool)
    assert threads_of(zygote_of(pool)) == 1


OPERATOR = """
import asyncio, sys
sys.path[:0] = {path!r}
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.adapters.decider.pool import DeciderPool
from tests.adapters.decider.processes import children_of, until
from tests.adapters.decider.programs import HANGING

async def main():
    pool = DeciderPool(Limits(children_ready=0, brief_wall_s=60))
    await pool.start()
    await until(lambda: not children_of(pool.zygote_pid))
    print(pool.zygote_pid, flush=True)
    await pool.decide(HANGING, namespace="x", wall_s=60)

asyncio.run(main())
"""


async def test_a_killed_operator_takes_zygote_and_children_along() -> None:
    operator = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OPERATOR.format(path=sys.path), stdout=asyncio.subprocess.PIPE
    )
    assert operator.stdout is not None
    zygote = int(await asyncio.wait_for(operator.stdout.readline(), PATIENCE_S))
    await until(lambda: bool(children_of(zygote)))
    (child,) = children_of(zygote)
    operator.kill()
    await operator.wait()
    await until(lambda: not is_running(zygote) and not is_running(child))


async def test_a_zygote_that_can_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(DecisionStalled, match=r"while starting:[\s\S]*No such file") as stalled:
        await ZygoteProcess.start(replace(START, socket_path=str(tmp_path / "no such folder" / "socket")), 30.0)
    assert stalled.value.reason is StallReason.UNAVAILABLE


async def test_a_zygote_that_is_not_ready_in_time_is_ended(tmp_path: Path) -> None:
    before = set(children_of(os.getpid()))
    with pytest.raises(DecisionStalled, match="not ready within"):
        await ZygoteProcess.start(replace(START, socket_path=str(tmp_path / "socket")), 0.001)
    assert set(children_of(os.getpid())) <= before
