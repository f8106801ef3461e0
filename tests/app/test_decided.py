"""An operator that has just started asks only those that could say something new."""

from flowy_operator.core.errors import StallReason
from tests.app.kubelet import NEVER_ENDS, Act, Call, value
from tests.app.world import World, simulated, world

TWO = """
    def two(step):
        return lambda: [step(0), step(1)]
"""


def first_hangs(call: Call) -> Act:
    return NEVER_ENDS if call.args == [0] else value(call.args[0])


def asked(w: World) -> int:
    return len(w.decider.requests)


async def started_again(w: World) -> int:
    """How often an operator that starts asks."""
    await w.settle()
    before = asked(w)
    await w.restart()
    await w.settle()
    return asked(w) - before


@simulated
async def test_nothing_has_happened() -> None:
    async with world(first_hangs) as w:
        w.submit(TWO, "step")
        assert await started_again(w) == 0
        assert w.told()[-1:] == ["TaskCompleted step-1"]
        assert [wait["task"] for wait in w.status()["waitingOn"]] == ["step-0"]


@simulated
async def test_the_outcome_that_comes_then_is_told_to_the_code() -> None:
    async with world(first_hangs) as w:
        w.submit(TWO, "step")
        assert await started_again(w) == 0
        (hanging,) = w.kubelet.running()
        w.kubelet.disrupt(hanging, "Evicted")
        w.kubelet.activity = lambda call: value("at last")
        await w.ended(within_s=60)
        assert w.result() == ["at last", 1]


@simulated
async def test_a_task_has_ended_meanwhile() -> None:
    async with world(lambda call: value(call.args[0], lasts_s=20)) as w:
        w.submit(TWO, "step")
        await w.settle()
        await w.kill()
        await w.settle(30)
        w.start()
        await w.ended(within_s=5)
        assert w.result() == [0, 1]


@simulated
async def test_parallelism_was_raised_meanwhile() -> None:
    async with world(first_hangs) as w:
        w.submit(TWO, "step", parallelism=1)
        await w.settle()
        assert w.told() == ["TaskScheduled step-0"]
        await w.kill()
        w.edit(lambda body: body["spec"].update(parallelism=2))
        w.start()
        await w.settle()
        assert w.told()[1:] == ["TaskScheduled step-1", "TaskCompleted step-1"]


@simulated
async def test_a_changed_number_that_changes_nothing_is_observed_without_the_code() -> None:
    async with world(first_hangs) as w:
        w.submit(TWO, "step", parallelism=5)
        await w.settle()
        before = asked(w)
        await w.kill()
        w.edit(lambda body: body["spec"].update(parallelism=6))
        w.start()
        await w.settle()
        assert w.status()["observedGeneration"] == w.body()["metadata"]["generation"] == 2
        assert asked(w) == before


@simulated
async def test_a_stop_that_came_meanwhile_is_told_to_the_code() -> None:
    async with world(first_hangs) as w:
        w.submit(TWO, "step")
        await w.settle()
        await w.kill()
        w.edit(lambda body: body["spec"].update(stop="Cancel"))
        w.start()
        await w.ended(within_s=10)
        assert w.reason() == "Cancelled"


@simulated
async def test_a_job_that_was_never_made_is_made_with_the_arguments_that_the_code_repeats() -> None:
    async with world(first_hangs) as w:
        w.operators[0].line.writes_left = 1  # the status, and dead before the Jobs
        w.submit(TWO, "step")
        await w.operators[0].line.dead.wait()
        await w.restart()
        await w.settle()
        assert w.told()[-1:] == ["TaskCompleted step-1"]


@simulated
async def test_a_stall_is_not_taken_for_an_answer() -> None:
    async with world(lambda call: value(call.args[0], lasts_s=2)) as w:
        w.decider.stalls = []
        w.submit(TWO, "step")
        await w.settle(1)
        w.decider.stall(100, StallReason.TIMEOUT)
        await w.settle(10)
        assert w.stalled() == "DecisionTimeout"
        w.decider.stalls.clear()
        await w.restart()
        await w.ended(within_s=5)


@simulated
async def test_a_number_that_was_put_there_by_hand_delays_and_does_not_stop() -> None:
    async with world(first_hangs) as w:
        w.submit(TWO, "step", parallelism=1)
        await w.settle()
        await w.kill()
        w.edit(lambda body: body["status"].update(decidedThrough=1))
        w.edit(lambda body: body["spec"].update(parallelism=2))
        w.start()
        await w.settle()
        assert w.told() == ["TaskScheduled step-0"]
        w.kubelet.activity = lambda call: value(call.args[0])
        (hanging,) = w.kubelet.running()
        w.kubelet.disrupt(hanging, "Evicted")
        await w.ended(within_s=60)
        assert w.result() == [0, 1]
