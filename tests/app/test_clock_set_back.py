"""A clock that is a day ahead when something is recorded, and right a moment later: nothing waits for that day."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from flowy_operator.core.attempts import Caller, Counts
from flowy_operator.core.errors import StallReason
from tests.app.kubelet import NEVER_ENDS, NEVER_STARTS, Act, Activity, Call, failure, value
from tests.app.world import NAMESPACE, World, world
from tests.fakes.clock import run_virtual

ONE = "def one(step):\n    return lambda: step()\n"
CLEANS_UP = """
    from flowy import TaskError, wait

    def one(step, undo):
        def run():
            try:
                wait(step())
            except TaskError:
                wait(undo())
                raise
        return run
"""
LATER = {"maxAttempts": 3, "when": ["Error"], "delaysSeconds": [0, 20]}


def fails_twice(call: Call) -> Act:
    return failure(lasts_s=2) if call.attempt < 3 else value(3)


def is_right(w: World) -> None:
    w.skew = timedelta()


async def beat(w: World) -> None:
    (pod,) = w.objects("pods")
    caller = Caller(NAMESPACE, pod["metadata"]["name"], pod["metadata"]["uid"])
    assert isinstance(await w.operators[-1].operator.attempts.heartbeat(caller, None), Counts)


async def recorded(w: World, what: str = "") -> None:
    """Wait for a record of this, then set the clock right."""
    await w.until(lambda: any(what in words for words in w.told()))
    is_right(w)


async def a_delay(w: World) -> None:
    w.submit(ONE, {"name": "step", "retry": LATER})
    await recorded(w, "RetryScheduled")
    await w.ended(within_s=100)
    assert w.result() == 3


async def a_delay_that_follows(w: World) -> None:
    w.submit(ONE, {"name": "step", "retry": LATER})
    await recorded(w)
    await w.until(lambda: "RetryScheduled step-0 #2" in w.told())
    begun = asyncio.get_running_loop().time()
    await w.until(lambda: "TaskScheduled step-0 #2" in w.told())
    assert 19 < asyncio.get_running_loop().time() - begun < 22
    await w.ended(within_s=100)


async def pauses_of_disruptions(w: World) -> None:
    w.submit(ONE, "step")
    await recorded(w)
    await w.until(lambda: len(w.kubelet.calls) == 6, within_s=100)


async def schedule_to_start(w: World) -> None:
    w.submit(ONE, {"name": "step", "timeouts": {"scheduleToStartSeconds": 20}})
    await recorded(w)
    await w.ended(within_s=60)
    await w.until(lambda: w.jobs() == [], within_s=30)


async def schedule_to_close(w: World) -> None:
    w.submit(ONE, {"name": "step", "timeouts": {"scheduleToCloseSeconds": 20}})
    await recorded(w)
    await w.ended(within_s=60)


async def heartbeats(w: World) -> None:
    """The operator has listened since tomorrow."""
    once = {"maxAttempts": 1}
    w.submit(ONE, {"name": "step", "timeouts": {"heartbeatSeconds": 20}, "retry": once})
    await recorded(w)
    await w.ended(within_s=60)
    assert w.status()["error"]["timer"] == "Heartbeat"


async def a_heartbeat_that_came(w: World) -> None:
    is_right(w)
    w.operators[-1].line.skew = timedelta(days=1)  # its own clock alone: the pod's start is by the node's
    once = {"maxAttempts": 1}
    w.submit(ONE, {"name": "step", "timeouts": {"heartbeatSeconds": 20}, "retry": once})
    await w.until(lambda: w.objects("pods") != [])
    await w.settle()
    await beat(w)
    w.operators[-1].line.skew = timedelta()
    await w.ended(within_s=60)
    assert w.status()["error"]["timer"] == "Heartbeat"


async def a_decision_that_stalled(w: World) -> None:
    w.decider.stall(1, StallReason.UNAVAILABLE)
    w.submit(ONE, "step")
    await w.until(lambda: w.stalled() is not None)
    is_right(w)
    await w.ended(within_s=60)


async def a_question_for_what_is_in_the_way(w: World) -> None:
    w.store.quotas[NAMESPACE, "pods"] = 0
    w.submit(ONE, "step", name="before")
    await w.until(lambda: "reason" in str(w.status("before").get("waitingOn")))
    is_right(w)
    w.submit(ONE, "step")
    await w.until(lambda: "quota" in str(w.status().get("waitingOn")), within_s=100)


async def time_of_the_workflow(w: World) -> None:
    w.submit(ONE, "step", timeouts={"workflowSeconds": 20})
    await recorded(w)
    await w.ended(within_s=60)


async def grace_of_a_stop(w: World) -> None:
    w.skew = timedelta()
    w.submit(CLEANS_UP, "step", "undo", timeouts={"cancelSeconds": 20})
    await w.settle()
    w.skew = timedelta(days=1)
    w.edit(lambda body: body["spec"].update(stop="Cancel"))
    await recorded(w, "StopRequested")
    await w.ended(within_s=60)
    assert w.reason() == "Terminated"


async def time_to_live(w: World) -> None:
    w.submit(ONE, "step", ttlSecondsAfterFinished=20)
    await recorded(w)
    await w.until(lambda: w.objects("workflows") == [], within_s=60)


async def jobs_that_are_kept(w: World) -> None:
    w.submit(ONE, "step", jobs={"keepSucceededSeconds": 20})
    await recorded(w, "TaskCompleted")
    await w.until(lambda: w.jobs() == [], within_s=60)


def is_evicted(call: Call) -> Act:
    return Act(lasts_s=1, exit_code=137, disruption="EvictionByEvictionAPI")


def hang(call: Call) -> Act:
    return NEVER_ENDS


def never_start(call: Call) -> Act:
    return NEVER_STARTS


def succeed(call: Call) -> Act:
    return value(1)


CASES: dict[str, tuple[Activity, Callable[[World], Awaitable[None]]]] = {
    "a delay that was recorded ahead": (fails_twice, a_delay),
    "a delay that is recorded after that": (fails_twice, a_delay_that_follows),
    "pauses between launches": (is_evicted, pauses_of_disruptions),
    "scheduleToStartSeconds": (never_start, schedule_to_start),
    "scheduleToCloseSeconds": (hang, schedule_to_close),
    "heartbeatSeconds": (hang, heartbeats),
    "heartbeatSeconds after a heartbeat": (hang, a_heartbeat_that_came),
    "another try of a decision": (succeed, a_decision_that_stalled),
    "another question for what is in the way": (hang, a_question_for_what_is_in_the_way),
    "workflowSeconds": (hang, time_of_the_workflow),
    "cancelSeconds": (hang, grace_of_a_stop),
    "ttlSecondsAfterFinished": (succeed, time_to_live),
    "keepSucceededSeconds": (succeed, jobs_that_are_kept),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_due_comes(case: tuple[Activity, Callable[[World], Awaitable[None]]]) -> None:
    activity, goes_on = case

    async def scenario() -> None:
        async with world(activity) as w:
            w.skew = timedelta(days=1)
            await goes_on(w)

    run_virtual(scenario())


def test_a_delay_longer_than_the_clock_was_ahead_keeps_its_length() -> None:
    """By the right clock its end lies after the times on record, and was taken for one of theirs."""

    async def scenario() -> None:
        async with world(lambda call: failure(lasts_s=2) if call.attempt < 2 else value(3)) as w:
            w.skew = timedelta(seconds=60)
            w.submit(ONE, {"name": "step", "retry": LATER | {"delaysSeconds": [0, 100]}})
            await recorded(w)
            await w.until(lambda: "RetryScheduled step-0 #2" in w.told())
            begun = asyncio.get_running_loop().time()
            await w.until(lambda: "TaskScheduled step-0 #2" in w.told())
            assert 99 < asyncio.get_running_loop().time() - begun < 102

    run_virtual(scenario())


def test_another_operator_comes_to_the_same() -> None:
    async def scenario() -> None:
        async with world(hang) as w:
            w.skew = timedelta(days=1)
            w.submit(ONE, {"name": "step", "timeouts": {"scheduleToCloseSeconds": 20}})
            await recorded(w)
            await w.restart()
            await w.ended(within_s=60)
            times = [event.time for event in w.history()]
            assert times == sorted(times)
            assert w.torn == []

    run_virtual(scenario())
