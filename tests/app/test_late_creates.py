"""A create that nobody waits for any more comes to pass all the same, seconds later: it stood in the API server's queue."""

import asyncio

import pytest

from tests.app.kubelet import Act, Call, value
from tests.app.test_flow import CHAIN
from tests.app.world import World, simulated, world
from tests.fakes.clock import run_virtual
from tests.fakes.faults import Late

LATE_S = 9.0
FAMILY = """
    def parent(sub):
        def run():
            return sub(sub(1))
        return run

    def sub(step):
        def run(n):
            return step(n)
        return run
"""

AGAIN = """
    from flowy import restart, wait

    def parent(sub):
        def run(again=1):
            wait(sub(again))
            return restart(again - 1) if again else 0
        return run

    def sub(step):
        def run(n):
            return step(n)
        return run
"""


def step(call: Call) -> Act:
    return value(call.args[0] + 1)


def once(w: World) -> None:
    assert len(w.kubelet.created) == len(set(w.kubelet.created)) > 0


@simulated
async def test_no_job_is_made_anew_by_the_operator_that_sent_it() -> None:
    async with world(step) as w:
        await asyncio.sleep(60)  # it has been at work for long
        w.api.faults.add(Late(LATE_S), verb="create", resource="jobs")
        w.submit(CHAIN, "step", jobs={"keepSucceededSeconds": 1})
        await w.ended()
        await w.settle(120)
        once(w)
        assert w.jobs() == []


@simulated
async def test_no_job_is_made_anew_by_an_operator_that_is_dead() -> None:
    async with world(step) as w:
        await asyncio.sleep(60)
        w.api.faults.add(Late(LATE_S), verb="create", resource="jobs")
        w.submit(CHAIN, "step", jobs={"keepSucceededSeconds": 1})
        await w.until(lambda: bool(w.told()))
        await asyncio.sleep(0.005)
        assert w.api.calls["create", "jobs"] == 1
        await w.restart()
        await w.ended()
        await w.settle(120)
        once(w)
        assert w.jobs() == []


@simulated
async def test_no_child_is_made_anew() -> None:
    async with world(step) as w:
        await asyncio.sleep(60)
        child = {"name": "sub", "workflow": {"entrypoint": "sub"}}
        w.submit(FAMILY, child, "step", entrypoint="parent", ttlSecondsAfterFinished=1)
        w.api.faults.add(Late(LATE_S), verb="create", resource="workflows")
        await w.until(lambda: w.api.calls["create", "workflows"] > 0)
        await w.settle(120)
        once(w)


@pytest.mark.parametrize("late", ["workflows", "jobs"])
def test_no_child_of_an_older_run_is_made_anew(late: str) -> None:
    """It goes once its parent has restarted, and its own Jobs with it: a create of either may still be under way."""

    async def scenario() -> None:
        async with world(step) as w:
            await asyncio.sleep(60)
            child = {"name": "sub", "workflow": {"entrypoint": "sub"}}
            w.api.faults.add(Late(LATE_S), verb="create", resource=late)
            w.submit(AGAIN, child, "step", entrypoint="parent")
            await w.ended()
            await w.settle(120)
            once(w)
            assert len(w.objects("workflows")) == 2

    run_virtual(scenario())


@simulated
async def test_without_such_trouble_jobs_go_when_their_time_has_come() -> None:
    async with world(step) as w:
        await asyncio.sleep(60)
        w.submit(CHAIN, "step", jobs={"keepSucceededSeconds": 1})
        await w.ended()
        await w.settle(5)
        assert w.jobs() == []
