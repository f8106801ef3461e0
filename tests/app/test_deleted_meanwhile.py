"""Jobs and children that go while no operator runs: what was there is deleted, what never was is launched."""

import pytest

from flowy_operator.core.history import CancelReason, TaskCancelled
from flowy_operator.core.launched import WRITE_AFTER
from tests.app.kubelet import NEVER_ENDS, Act, Call, value
from tests.app.world import NAMESPACE, World, simulated, world
from tests.fakes.clock import run_virtual

ONE = """
    def one(step):
        return lambda: step()
"""
CHAIN = """
    def chain(step):
        def workflow():
            return step(step(step(0)))
        return workflow
"""
PARENT = """
    def parent(child):
        return lambda: child()

    def child(step):
        return lambda: step()
"""
LONG_S = WRITE_AFTER.total_seconds() + 1


def hang(call: Call) -> Act:
    return NEVER_ENDS


def last_hangs(call: Call) -> Act:
    return NEVER_ENDS if call.args == [2] else value(call.args[0] + 1)


def patches(w: World) -> int:
    return w.operators[-1].line.writes.get(("patch", "workflows/status"), 0)


async def without_operator(w: World, plural: str, name: str) -> None:
    """Delete an object while nobody sees it."""
    await w.kill()
    w.delete(plural, name)
    await w.settle(3)
    w.start()


@simulated
async def test_a_job_that_was_deleted_while_no_operator_ran_is_a_cancelled_task() -> None:
    async with world(hang) as w:
        w.submit(ONE, "step")
        await w.settle(LONG_S)
        await without_operator(w, "jobs", w.job_of("step-0"))
        await w.ended(within_s=30)
        assert w.told() == ["TaskScheduled step-0", "TaskCancelled step-0"]
        assert w.status()["error"]["reason"] == "Deleted"
        assert len(w.kubelet.created) == 1


@simulated
async def test_a_child_that_was_deleted_while_no_operator_ran_is_a_cancelled_task() -> None:
    async with world(hang) as w:
        tasks = ({"name": "child", "workflow": {"entrypoint": "child"}}, "step")
        w.submit(PARENT, *tasks, entrypoint="parent")
        await w.settle(LONG_S)
        (child,) = [body["metadata"]["name"] for body in w.objects("workflows") if body["metadata"]["name"] != "w"]
        await without_operator(w, "workflows", child)
        await w.ended(within_s=30)
        assert w.told() == ["TaskScheduled child-0", "TaskCancelled child-0"]
        assert w.status()["error"]["reason"] == "Deleted"


@simulated
async def test_what_goes_before_is_known_by_the_write_of_what_follows() -> None:
    """No write of its own is needed for what another write can say."""
    async with world(lambda call: NEVER_ENDS if call.name == "long" else value(1, lasts_s=2)) as w:
        w.submit("def w(long, short):\n    return lambda: [long(), short()]\n", "long", "short")
        await w.until(lambda: "TaskCompleted short-0" in w.told())
        assert w.status()["launchedThrough"] == 3
        await without_operator(w, "jobs", w.job_of("long-0"))
        await w.ended(within_s=30)
        assert w.told()[-1] == "TaskCancelled long-0"


@simulated
async def test_a_job_that_was_never_made_is_made() -> None:
    """The operator dies between its two writes."""
    async with world(last_hangs) as w:
        w.operators[-1].line.writes_left = 6  # the third step is on record
        w.submit(CHAIN, "step")
        await w.operators[-1].line.dead.wait()
        assert w.told()[-1] == "TaskScheduled step-2"
        assert len(w.kubelet.created) == 2
        await w.restart()
        await w.until(lambda: len(w.kubelet.created) == 3)
        await w.settle(LONG_S)
        assert w.told()[-1] == "TaskScheduled step-2"


@pytest.mark.parametrize(("lasts_s", "writes"), [(8.0, 4), (60.0, 7)], ids=["short steps", "long steps"])
def test_only_long_steps_cost_a_write(lasts_s: float, writes: int) -> None:
    async def scenario() -> None:
        async with world(lambda call: value(call.args[0] + 1, lasts_s=lasts_s)) as w:
            w.submit(CHAIN, "step")
            await w.ended()
            assert w.result() == 3
            assert patches(w) == writes

    run_virtual(scenario())


@simulated
async def test_the_first_operator_that_looks_writes_it_down() -> None:
    """Of what an older one made, and had no time to say."""
    async with world(hang) as w:
        w.submit(ONE, "step")
        await w.settle(2)
        await w.kill()
        await w.settle(60)
        w.start()
        await w.settle(2)
        assert w.status()["launchedThrough"] == 1
        await without_operator(w, "jobs", w.job_of("step-0"))
        await w.ended(within_s=30)
        assert w.told()[-1] == "TaskCancelled step-0"


@simulated
async def test_a_launch_that_is_refused_by_a_quota_is_on_no_record_of_what_was_made() -> None:
    async with world(hang) as w:
        w.store.quotas[NAMESPACE, "jobs"] = 1
        w.submit("def w(step):\n    return lambda: [step(n) for n in range(3)]\n", "step")
        await w.settle(LONG_S)
        (made,) = w.jobs()  # which of the three was the first at the API server is nobody's to say
        assert w.status().get("launchedThrough", 0) == (made == "step-0")
        await w.restart()
        await w.settle(LONG_S)
        assert [words for words in w.told() if "Cancelled" in words] == []


@simulated
async def test_a_child_of_a_parent_without_its_definition_is_stopped_and_not_deleted() -> None:
    """Nobody knows any more that the launch was a child, so it can't be looked for."""
    async with world(hang) as w:
        w.define(PARENT, {"name": "child", "workflow": {"entrypoint": "child"}}, "step", entrypoint="parent")
        w.refer()
        await w.settle(LONG_S)
        assert w.status()["launchedThrough"] == 1
        await w.kill()
        w.undefine()
        w.edit(lambda body: body["spec"].update(stop="Terminate"))
        w.start()
        await w.ended(within_s=30)
        assert w.told() == ["TaskScheduled child-0", "StopRequested", "TaskCancelled child-0"]
        (cancelled,) = [event.fact for event in w.history() if isinstance(event.fact, TaskCancelled)]
        assert cancelled.reason is CancelReason.STOP_REQUESTED
        (child,) = [body["metadata"]["name"] for body in w.objects("workflows") if body["metadata"]["name"] != "w"]
        await w.ended(child, within_s=30)
        assert w.reason(child) == "Terminated"
