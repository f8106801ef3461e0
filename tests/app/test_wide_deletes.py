"""Hundreds of Jobs that nobody wants any more go side by side, and no one of them keeps the others."""

from tests.app.kubelet import NEVER_ENDS
from tests.app.world import World, simulated, world
from tests.fakes.faults import Refuse

WIDTH = 200
WIDE = """
    def w(step):
        return lambda n: [step(i) for i in range(n)]
"""
EACH_S = 0.1


async def stopped(w: World) -> float:
    """Stop a wide workflow while all of its Jobs run. Gives the seconds from then until the last one is gone."""
    w.submit(WIDE, "step", input={"args": [WIDTH]})
    await w.until(lambda: len(w.jobs()) == WIDTH)
    await w.settle()
    w.edit(lambda body: body["spec"].update(stop="Terminate"))
    stopped_at = w.clock()
    await w.until(lambda: not w.jobs())
    return (w.clock() - stopped_at).total_seconds()


@simulated
async def test_they_go_side_by_side() -> None:
    async with world(lambda call: NEVER_ENDS, latency=lambda: EACH_S) as w:
        assert await stopped(w) < WIDTH * EACH_S / 4


@simulated
async def test_those_that_fail_keep_none_of_the_others() -> None:
    await others_go(Refuse(500), 10)


@simulated
async def test_those_that_must_not_be_deleted_keep_none_of_the_others() -> None:
    await others_go(Refuse(403, "Forbidden"), WIDTH // 2)


async def others_go(fault: Refuse, times: int) -> None:
    async with world(lambda call: NEVER_ENDS, latency=lambda: EACH_S) as w:
        w.submit(WIDE, "step", input={"args": [WIDTH]})
        await w.until(lambda: len(w.jobs()) == WIDTH)
        await w.settle()
        w.api.faults.add(fault, verb="delete", resource="jobs", times=times)
        w.edit(lambda body: body["spec"].update(stop="Terminate"))
        await w.until(lambda: len(w.jobs()) <= times, within_s=WIDTH * EACH_S / 4)
        await w.until(lambda: not w.jobs())
        await w.until(lambda: "completionTime" in w.status())
