"""Children that wait for a decision: there before it, asked once, and nobody's loss when they go."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flowy.wire.messages import Outcome
from flowy_operator.adapters.decider import ready
from flowy_operator.adapters.decider.exchange import Exchange
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.adapters.decider.pool import DeciderPool
from flowy_operator.adapters.decider.ready import ReadyChildren
from flowy_operator.adapters.decider.verdict import End
from flowy_operator.core.errors import DecisionStalled, StallReason
from tests.adapters.decider.processes import children_of, is_running, is_sleeping, until
from tests.adapters.decider.programs import GOOD, GOOD_KEYS, HANGING, request

WALL_S = 60.0  # far beyond the test
READY = 3


class Counted:
    """A pool, and how its decisions ended."""

    def __init__(self) -> None:
        self.ends: list[tuple[End, float]] = []
        limits = Limits(children=4, children_per_namespace=4, children_ready=READY, brief_wall_s=WALL_S)
        self.pool = DeciderPool(limits, ended=lambda end, seconds: self.ends.append((end, seconds)))

    @property
    def zygote(self) -> int:
        assert self.pool.zygote_pid is not None
        return self.pool.zygote_pid

    def waiting(self) -> list[int]:
        """Between decisions every child is one that waits: behind its locks, it reads."""
        return [pid for pid in children_of(self.zygote) if is_running(pid)]

    async def until_all_wait(self) -> set[int]:
        await until(lambda: len(self.waiting()) == READY)
        return set(self.waiting())

    async def decide(self) -> None:
        answer = await self.pool.decide(GOOD, namespace="good", wall_s=WALL_S)
        assert [call.key for call in answer.scheduled] == GOOD_KEYS


@pytest.fixture
async def counted() -> AsyncIterator[Counted]:
    counted = Counted()
    await counted.pool.start()
    yield counted
    await counted.pool.close()


def descriptors_of(pid: int) -> list[str]:
    return [path.name for path in Path(f"/proc/{pid}/fd").iterdir()]


async def test_a_child_waits_behind_its_locks_with_nothing_but_its_channel(counted: Counted) -> None:
    for pid in await counted.until_all_wait():
        await until(lambda pid=pid: descriptors_of(pid) == ["3"])  # type: ignore[misc]


async def test_each_is_asked_once_and_replaced(counted: Counted) -> None:
    before = await counted.until_all_wait()
    for asked in range(1, READY + 1):
        await counted.decide()
        await until(lambda asked=asked: len(before & set(counted.waiting())) == READY - asked)  # type: ignore[misc]
        await counted.until_all_wait()


LOOK = """
import linecache, random, re, warnings
def main(a, b, c):
    def run():
        found, ahead = [], [object]
        while ahead:
            kind = ahead.pop()
            found.append(f"{kind.__module__}.{kind.__qualname__}")
            ahead += type.__subclasses__(kind)
        return [found, sorted(sys.modules), random.random(), sorted(map(str, re._cache)), sorted(linecache.cache),
                len(warnings.filters), sys.getrecursionlimit()]
    return run
"""


async def test_a_child_that_waited_sees_what_a_fresh_one_sees(counted: Counted) -> None:
    """What it did meanwhile must not show, or a decision would depend on how busy the decider was."""
    for pid in await counted.until_all_wait():
        await until(lambda pid=pid: descriptors_of(pid) == ["3"] and is_sleeping(pid))  # type: ignore[misc]
    asked = request("import sys" + LOOK)
    waited = await counted.pool.decide(asked, namespace="x", wall_s=WALL_S)
    fresh_pool = DeciderPool(Limits(children_ready=0))
    await fresh_pool.start()
    try:
        fresh = await fresh_pool.decide(asked, namespace="x", wall_s=WALL_S)
    finally:
        await fresh_pool.close()
    assert waited.outcome is Outcome.COMPLETED, waited.error
    assert waited.result == fresh.result


async def test_more_decisions_than_children_wait_are_made(counted: Counted) -> None:
    await counted.until_all_wait()
    async with asyncio.TaskGroup() as group:
        for _ in range(4 * READY):
            group.create_task(counted.decide())
    await counted.until_all_wait()


async def test_none_is_made_while_others_decide(counted: Counted) -> None:
    before = await counted.until_all_wait()
    held = asyncio.create_task(counted.pool.decide(HANGING, namespace="x", wall_s=WALL_S))
    await counted.decide()
    await until(lambda: len(counted.waiting()) == READY - 1)  # those that wait and the one that is held
    await asyncio.sleep(0.1)
    assert set(counted.waiting()) < before
    held.cancel()
    await asyncio.wait([held])
    assert len(before & await counted.until_all_wait()) == READY - 2


async def test_time_that_a_child_waited_counts_for_nothing(counted: Counted) -> None:
    await counted.until_all_wait()
    await asyncio.sleep(0.5)
    with pytest.raises(DecisionStalled, match=r"longer than 0\.4 s") as stalled:
        await counted.pool.decide(HANGING, namespace="x", wall_s=0.4)
    assert stalled.value.reason is StallReason.TIMEOUT
    end, seconds = counted.ends[-1]
    assert end is End.WALL
    assert seconds >= 0.4


async def test_those_of_a_dead_zygote_are_replaced_though_nobody_decides(counted: Counted) -> None:
    before = await counted.until_all_wait()
    zygote = counted.zygote
    os.kill(zygote, signal.SIGKILL)
    await until(lambda: counted.pool.zygote_pid not in (None, zygote))
    assert not before & await counted.until_all_wait()
    await counted.decide()


async def test_those_of_a_dead_zygote_are_not_asked(counted: Counted) -> None:
    await counted.until_all_wait()
    os.kill(counted.zygote, signal.SIGKILL)
    await counted.decide()
    assert counted.ends[-1][0] is End.ANSWERED


async def test_one_that_was_killed_is_not_asked_and_replaced(counted: Counted) -> None:
    before = await counted.until_all_wait()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    await until(lambda: not before & set(children_of(counted.zygote)))
    await asyncio.sleep(0.1)  # the word of it is on its way
    await counted.decide()
    assert not before & await counted.until_all_wait()


async def test_closing_ends_them(counted: Counted) -> None:
    waiting = await counted.until_all_wait()
    await counted.pool.close()
    await until(lambda: not any(map(is_running, waiting)))


async def test_what_ends_all_of_them_does_not_make_us_fork_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "_AGAIN_S", 0.05)
    made: list[Exchange] = []

    class Ended(asyncio.Transport):
        def abort(self) -> None:
            made[-1].connection_lost(None)

    async def connect() -> Exchange:
        exchange = Exchange(lambda verb, most_bytes: True)
        made.append(exchange)
        exchange.connection_made(Ended())
        asyncio.get_running_loop().call_soon(exchange.close)
        await asyncio.sleep(0)
        return exchange

    children = ReadyChildren(2, connect)
    children.fill()
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(made) == 2
    assert children.take() is None
    await until(lambda: len(made) >= 4)
    await children.close()


async def test_a_zygote_that_can_not_be_had_is_left_to_the_next_decision() -> None:
    tried = 0

    async def connect() -> Exchange:
        nonlocal tried
        tried += 1
        raise DecisionStalled(StallReason.UNAVAILABLE, "no")

    children = ReadyChildren(2, connect)
    children.fill()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (tried, children.take()) == (1, None)
    children.fill()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert tried == 2
    await children.close()
