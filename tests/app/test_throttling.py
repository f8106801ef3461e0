"""`parallelism` and `suspend`: how many tasks run at once, changed while they run."""

import asyncio
from collections.abc import Callable

from flowy_operator.core.history import TaskScheduled, TaskTimedOut
from tests.app.kubelet import Act, Call, failure, value
from tests.app.world import World, simulated, world

FAN_OUT = """
    def w(work):
        def run(n):
            return sum([int(r) for r in [work(i) for i in range(n)]])
        return run
"""


def of(count: int) -> dict[str, object]:
    return {"args": [count]}


def open_at_most(w: World) -> int:
    """The most tasks that ever were open at once, none of which failed."""
    opened, most = 0, 0
    for event in w.history():
        opened += 1 if isinstance(event.fact, TaskScheduled) else -1
        most = max(most, opened)
    return most


def change(w: World, **spec: object) -> None:
    w.edit(lambda body: body["spec"].update(spec))


def running(w: World) -> int:
    count: int = w.status().get("progress", {}).get("running", 0)
    return count


@simulated
async def test_a_fan_out_of_a_thousand_never_exceeds_its_parallelism() -> None:
    # Without latency, outcomes of one instant come together: the fake API server copies a long history at each write.
    async with world(lambda call: value(call.args[0]), latency=lambda: 0.0) as w:
        w.submit(FAN_OUT, "work", input=of(1_000), parallelism=20)
        await w.ended()
        assert w.result() == 499_500
        assert open_at_most(w) == 20
        # 1,000 tasks of 1 s, 20 at a time, take 50 s, and the operator's share.
        assert w.instants()[-1][0] < 75


@simulated
async def test_more_are_launched_at_once_and_fewer_when_there_is_room() -> None:
    async with world(lambda call: value(call.args[0], lasts_s=10.0)) as w:
        w.submit(FAN_OUT, "work", input=of(40), parallelism=4)
        await w.until(lambda: running(w) == 4)
        asked = len(w.decider.requests)
        change(w, parallelism=10)
        await w.until(lambda: running(w) == 10, within_s=1)
        assert len(w.decider.requests) == asked
        change(w, parallelism=3)
        await asyncio.sleep(5)
        assert running(w) == 10
        jobs = len(w.kubelet.created)
        await w.until(lambda: running(w) == 3)
        assert len(w.kubelet.created) == jobs
        await w.until(lambda: len(w.kubelet.created) == jobs + 3)
        await w.ended()
        assert w.result() == 780
        assert open_at_most(w) == 10


@simulated
async def test_parallelism_survives_the_operator() -> None:
    async with world(lambda call: value(call.args[0], lasts_s=3.0)) as w:
        w.submit(FAN_OUT, "work", input=of(30), parallelism=4)
        await w.until(lambda: running(w) == 4)
        await w.kill()
        change(w, parallelism=7)
        w.start()
        await w.until(lambda: running(w) == 7)
        await w.ended()
        assert open_at_most(w) == 7


@simulated
async def test_suspended_nothing_starts_and_what_runs_goes_on() -> None:
    source = """
        def w(work):
            def run():
                return work(work(work(0)))
            return run
    """
    async with world(lambda call: value(call.args[0] + 1)) as w:
        w.submit(source, "work")
        await w.until(lambda: "work-0" in w.jobs())
        change(w, suspend=True)
        await asyncio.sleep(60)
        assert w.told() == ["TaskScheduled work-0", "TaskCompleted work-0"]
        assert w.reason() == "Suspended"
        await w.restart()
        await asyncio.sleep(60)
        assert len(w.told()) == 2
        change(w, suspend=False)
        await w.ended(within_s=10)
        assert w.result() == 3


@simulated
async def test_a_workflow_that_is_created_suspended_decides_and_starts_nothing() -> None:
    async with world(lambda call: value(call.args[0])) as w:
        w.submit(FAN_OUT, "work", input=of(3), suspend=True)
        await w.until(lambda: w.reason() == "Suspended")
        await asyncio.sleep(10)
        assert w.told() == []
        assert [wait["reason"] for wait in w.status()["waitingOn"]] == ["held back"]
        change(w, suspend=None)
        await w.ended()
        assert w.result() == 3


def fails_once(lasts_s: float = 1.0) -> Callable[[Call], Act]:
    return lambda call: failure(lasts_s=lasts_s) if call.attempt == 1 else value(call.args[0])


@simulated
async def test_retries_that_become_due_while_suspended_start_at_its_end_earliest_first() -> None:
    retry = {"maxAttempts": 2, "when": ["Error"], "delaysSeconds": [0, 5]}
    async with world(fails_once()) as w:
        w.submit(FAN_OUT, {"name": "work", "retry": retry}, input=of(4), parallelism=2)
        await w.until(lambda: running(w) == 2)
        change(w, suspend=True)
        await asyncio.sleep(30)
        scheduled = [event.fact for event in w.history() if isinstance(event.fact, TaskScheduled)]
        assert {fact.attempt for fact in scheduled} == {1}
        count = len(scheduled)
        change(w, suspend=False)
        await w.until(lambda: len(w.history()) > count + 4)
        resumed = [event.fact for event in w.history() if isinstance(event.fact, TaskScheduled)][count:]
        assert [(fact.task, fact.attempt) for fact in resumed[:2]] == [("work-0", 2), ("work-1", 2)]
        await w.ended()
        assert w.result() == 6


@simulated
async def test_a_retry_without_delay_waits_for_the_end_of_the_suspension() -> None:
    retry = {"maxAttempts": 2, "when": ["Error"]}
    async with world(fails_once(lasts_s=20)) as w:
        w.submit(FAN_OUT, {"name": "work", "retry": retry}, input=of(1))
        await w.until(lambda: running(w) == 1)
        change(w, suspend=True)
        await asyncio.sleep(60)
        assert w.told() == ["TaskScheduled work-0", "TaskFailed work-0", "RetryScheduled work-0 #2"]
        change(w, suspend=False)
        await w.ended(within_s=3)
        assert w.result() == 0


@simulated
async def test_timers_go_on_while_suspended() -> None:
    timeouts = {"scheduleToCloseSeconds": 30}
    retry = {"maxAttempts": 2, "when": ["Error"], "delaysSeconds": [0, 5]}
    async with world(fails_once()) as w:
        w.submit(FAN_OUT, {"name": "work", "retry": retry, "timeouts": timeouts}, input=of(1))
        await w.until(lambda: "work-0" in w.jobs())
        change(w, suspend=True)
        await w.ended(within_s=31)
        assert w.status()["error"]["timer"] == "ScheduleToClose"
        assert isinstance(w.history()[-1].fact, TaskTimedOut)
