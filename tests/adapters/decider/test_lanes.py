"""Fast, slow and new decisions keep out of each other's way."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from flowy.wire.messages import Outcome, Request
from flowy_operator.adapters.decider import lanes
from flowy_operator.adapters.decider.lanes import Lane, Lanes
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.adapters.decider.pool import DeciderPool
from flowy_operator.adapters.decider.verdict import End
from tests.adapters.decider.processes import children_of, until
from tests.adapters.decider.programs import ENDLESS, GOOD, HANGING, body

WALL_S = 60.0  # far beyond the test
LIMITS = Limits(
    cpu_s=WALL_S,
    children=1,
    new_children=1,
    slow_children=1,
    children_per_namespace=1,
    new_children_per_namespace=1,
    slow_children_per_namespace=1,
    children_ready=0,
)
SOME_TIME = body("n = 0", "while n < 3_000_000: n += 1", "return n")


class Counted:
    """A pool with one slot in each lane, and how its decisions ended."""

    def __init__(self) -> None:
        self.ends: list[End] = []
        self.pool = DeciderPool(LIMITS, ended=lambda end, seconds: self.ends.append(end))

    async def decide(self, asked: Request, run: str) -> None:
        answer = await self.pool.decide(replace(asked, seed=run), namespace=run, wall_s=WALL_S)
        assert answer.outcome is not Outcome.STALLED

    def new_ends(self) -> list[End]:
        ends, self.ends = self.ends, []
        return ends


@pytest.fixture
async def counted() -> AsyncIterator[Counted]:
    counted = Counted()
    await counted.pool.start()
    yield counted
    await counted.pool.close()


async def test_code_without_end_is_in_nobodys_way(counted: Counted) -> None:
    """It has more time than this test. Known code is answered all the same, and so is new code."""
    await counted.decide(GOOD, "known")
    endless = [asyncio.create_task(counted.decide(ENDLESS, f"endless-{n}")) for n in range(4)]
    for n in range(5):
        await counted.decide(GOOD, "known")
        await counted.decide(GOOD, f"new-{n}")
    assert not any(task.done() for task in endless)
    assert End.CPU not in counted.ends
    for task in endless:
        task.cancel()
    await asyncio.wait(endless)


async def test_slow_code_gets_its_answer_and_begins_in_the_slow_lane_from_then_on(counted: Counted) -> None:
    await counted.decide(SOME_TIME, "x")
    assert counted.new_ends() == [End.PUT_BACK, End.ANSWERED]
    await counted.decide(SOME_TIME, "x")
    assert counted.new_ends() == [End.ANSWERED]


async def test_a_run_that_is_fast_again_leaves_the_slow_lane(counted: Counted) -> None:
    await counted.decide(SOME_TIME, "x")
    await counted.decide(GOOD, "x")
    await until(lambda: counted.pool._lanes.of("x") is Lane.FAST)  # known once its child is reaped
    counted.new_ends()
    await counted.decide(SOME_TIME, "x")
    assert counted.new_ends() == [End.PUT_BACK, End.ANSWERED]


async def test_what_merely_waits_is_put_back_too_and_has_a_low_priority_there(counted: Counted) -> None:
    hanging = asyncio.create_task(counted.decide(HANGING, "x"))
    pid = counted.pool.zygote_pid
    assert pid is not None
    await until(lambda: [os.getpriority(os.PRIO_PROCESS, child) for child in children_of(pid)] == [19])
    assert counted.ends == [End.PUT_BACK]
    assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0)
    hanging.cancel()
    await asyncio.wait([hanging])


def test_only_so_many_runs_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "_MOST", 2)
    known = Lanes(LIMITS)
    for run, lane in (("a", Lane.SLOW), ("b", Lane.FAST), ("a", Lane.FAST), ("c", Lane.SLOW)):
        known.learn(run, lane)
    assert [known.of(run) for run in "abc"] == [Lane.FAST, Lane.NEW, Lane.SLOW]
