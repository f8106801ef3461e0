"""Several replicas, one that works: in virtual time, with everything that is known to go wrong."""

import asyncio
import random
from collections import Counter
from contextlib import suppress

import pytest

from flowy_operator.adapters.lease.errors import LeaseLost
from flowy_operator.app.leadership import LEADER_LABEL, Badge, lead
from flowy_operator.app.settings import Pod, Settings
from flowy_operator.core.attempts import Caller
from tests.app.kubelet import NEVER_ENDS, Act, Call, value
from tests.app.running import Running, candidate
from tests.app.sources import CHAIN
from tests.app.world import NAMESPACE, World, simulated, world
from tests.fakes.clock import run_virtual
from tests.fakes.faults import Delay, LoseAnswer, Refuse
from tests.fakes.store import Json

ELECTED = Settings(leader_election=True, lease_namespace=NAMESPACE)
LEASE_S, RENEW_S, RETRY_S = 15, 10, 2
TAKEOVER_S = LEASE_S + 2 * RETRY_S
TASKS = {
    "CHAIN": (CHAIN, 12),
    "WIDE": ("def w(step):\n    return lambda n: sum(step(i) for i in range(n))\n", 12),
}


def step(call: Call) -> Act:
    return value(call.args[0] + 1)


def once(w: World) -> None:
    assert [name for name, count in Counter(w.kubelet.created).items() if count > 1] == []
    assert w.torn == []


async def two(w: World) -> tuple[Running, Running]:
    """The first of two leads."""
    await w.until(lambda: w.operators[0].leads)
    return w.operators[0], w.start()


@simulated
async def test_whoever_waits_does_nothing_but_look_at_the_lease() -> None:
    async with world(step, settings=ELECTED) as w:
        leader, waiter = await two(w)
        w.submit(CHAIN, "step", input={"args": [5]})
        await w.ended()
        assert w.result() == 5
        assert leader.leads
        assert not waiter.leads
        assert not waiter.line.requests
        assert waiter.candidate is not None
        assert set(waiter.candidate.client.requests) == {("get", "leases", 200)}
        once(w)


@simulated
async def test_a_leader_that_dies_is_followed() -> None:
    async with world(step, settings=ELECTED) as w:
        leader, waiter = await two(w)
        w.submit(CHAIN, "step", input={"args": [30]})
        await w.until(lambda: len(w.kubelet.created) == 4)
        await w.kill(leader)
        assert not waiter.leads
        began = asyncio.get_running_loop().time()
        await w.until(lambda: len(w.kubelet.created) > 5)
        assert asyncio.get_running_loop().time() - began <= 20
        await w.ended()
        assert w.result() == 30
        once(w)


@simulated
async def test_a_leader_that_is_stopped_gives_the_lease_back() -> None:
    async with world(step, settings=ELECTED) as w:
        leader, waiter = await two(w)
        w.submit(CHAIN, "step", input={"args": [30]})
        await w.until(lambda: len(w.kubelet.created) == 4)
        began = asyncio.get_running_loop().time()
        leader.stop.set()
        await leader.task
        w.operators.remove(leader)
        assert w.holder() is None
        await w.until(lambda: len(w.kubelet.created) > 6)
        assert waiter.leads
        assert asyncio.get_running_loop().time() - began < 2 * RETRY_S
        await w.ended()
        assert w.result() == 30
        once(w)


@simulated
async def test_a_waiter_that_is_stopped_just_ends() -> None:
    async with world(step, settings=ELECTED) as w:
        leader, waiter = await two(w)
        await w.settle(1)
        waiter.stop.set()
        await waiter.task
        w.operators.remove(waiter)
        assert leader.leads


@simulated
async def test_a_leader_that_is_cut_off_ends_by_itself_and_nothing_runs_twice() -> None:
    async with world(lambda call: value(call.args[0] + 1, lasts_s=6), settings=ELECTED) as w:
        leader, waiter = await two(w)
        w.submit(CHAIN, "step", input={"args": [10]}, jobs={"keepSucceededSeconds": 1})
        await w.until(lambda: len(w.kubelet.created) == 2)
        leader.cut()
        with pytest.raises(LeaseLost, match="couldn't be renewed"):
            await asyncio.wait_for(leader.task, RENEW_S + 0.1)
        w.operators.remove(leader)
        await w.ended()
        assert waiter.leads
        assert w.result() == 10
        once(w)


@simulated
async def test_a_takeover_times_nobody_out() -> None:
    """Heartbeats are heard by the leader alone; whoever follows it has heard none."""
    async with world(lambda call: NEVER_ENDS, settings=ELECTED) as w:
        leader, waiter = await two(w)
        silent_s = LEASE_S - 5
        timeouts = {"heartbeatSeconds": silent_s}
        w.submit(CHAIN, {"name": "step", "timeouts": timeouts}, input={"args": [1]})
        await w.until(lambda: len(w.objects("pods")) == 1)
        await w.settle(1)
        (pod,) = w.objects("pods")
        caller = Caller(NAMESPACE, pod["metadata"]["name"], pod["metadata"]["uid"])
        await leader.operator.attempts.heartbeat(caller, None)
        await w.kill(leader)
        await asyncio.sleep(TAKEOVER_S + 1)
        assert waiter.leads
        await asyncio.sleep(12)  # its last call hung, and it pauses; longer than it may be silent
        for _ in range(10):
            await waiter.operator.attempts.heartbeat(caller, None)
            await asyncio.sleep(silent_s / 2)
        assert [words for words in w.told() if "TimedOut" in words] == []


# -- the label --------------------------------------------------------------------------------------------------------


def labels(w: World, pod: str) -> Json:
    found: Json = w.store.get(w.store.kind("pods"), NAMESPACE, pod)["metadata"]["labels"]
    return found


@simulated
async def test_the_leaders_pod_bears_the_label() -> None:
    async with world(step, settings=ELECTED) as w:
        for name in ("operator", "after"):
            w.store.create(w.store.kind("pods"), NAMESPACE, {"metadata": {"name": name, "labels": {"app": "flowy"}}})
        first = w.operators[0]
        assert first.candidate is not None
        badge = Badge(first.candidate.client, Pod(NAMESPACE, "after"))
        await badge.drop()
        assert LEADER_LABEL not in labels(w, "after")
        await Badge(first.candidate.client, Pod(NAMESPACE, "operator")).move(None)
        assert labels(w, "operator") == {"app": "flowy", LEADER_LABEL: "true"}
        w.api.faults.add(Refuse(500), verb="patch", resource="pods", times=3)
        await badge.move("operator_1")
        assert labels(w, "after") == {"app": "flowy", LEADER_LABEL: "true"}
        assert labels(w, "operator") == {"app": "flowy"}, "it may hang, and can't do it itself"
        await badge.move("one that has gone_1")
        await badge.drop()
        await badge.drop()
        assert labels(w, "after") == {"app": "flowy"}


@simulated
async def test_the_label_comes_with_the_lead_and_goes_with_it() -> None:
    async with world(step, settings=ELECTED) as w:
        w.store.create(w.store.kind("pods"), NAMESPACE, {"metadata": {"name": "p", "labels": {LEADER_LABEL: "true"}}})
        await w.settle(1)
        await w.kill()
        stop = asyncio.Event()

        async def work(*_: object) -> None:
            await stop.wait()

        leading = asyncio.create_task(lead(candidate(w, "p", 2, pod="p"), stop, work))
        await asyncio.sleep(RETRY_S)
        assert LEADER_LABEL not in labels(w, "p"), "left by the process before in this pod, which led"
        await asyncio.sleep(TAKEOVER_S)
        assert labels(w, "p") == {LEADER_LABEL: "true"}
        stop.set()
        await leading
        assert labels(w, "p") == {}
        assert w.holder() is None


@simulated
async def test_a_bug_in_the_work_gives_the_lease_back_too() -> None:
    async with world(step, settings=ELECTED) as w:
        await w.kill()

        async def work(*_: object) -> None:
            raise RuntimeError("a bug")

        with pytest.raises(ExceptionGroup, match="unhandled errors"):
            await lead(candidate(w, "operator", 2), asyncio.Event(), work)
        assert w.holder() is None


# -- whatever happens -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_lost_and_nothing_runs_twice(seed: int) -> None:
    run_virtual(_any_trouble(random.Random(seed)))


async def _any_trouble(dice: random.Random) -> None:
    source, n = TASKS[dice.choice(sorted(TASKS))]
    lasts_s = dice.choice([0.2, 3, 12])
    settings = ELECTED.model_copy(update={"history_tail_bytes": dice.choice([256, 32_768])})
    async with world(
        lambda call: value(call.args[0] + 1, lasts_s=lasts_s),
        latency=lambda: dice.uniform(0.0005, 0.03),
        settings=settings,
    ) as w:
        w.start()
        # Jobs go as soon as they may: whoever created one of them once more would have it run again.
        jobs = {"keepSucceededSeconds": 1}
        w.submit(source, "step", input={"args": [n]}, parallelism=4, jobs=jobs)
        w.api.faults.add(LoseAnswer(), verb="patch", times=dice.randint(0, 4), chance=0.2)
        w.api.faults.add(Refuse(500), times=dice.randint(0, 6), chance=0.1)
        for _ in range(dice.randint(1, 6)):
            await asyncio.sleep(dice.uniform(0, 12))
            running = dice.choice(w.operators)
            match dice.choice(["die", "die", "stop", "cut", "slow lease"]):
                case "die":
                    await w.kill(running)
                case "stop":
                    running.stop.set()
                    with suppress(LeaseLost):  # its time may be over before it has given the lease back
                        await running.task
                    w.operators.remove(running)
                case "cut":
                    running.cut()
                    if running.leads:
                        with suppress(LeaseLost):
                            await running.task
                        w.operators.remove(running)
                    else:
                        await w.kill(running)
                case "slow lease":
                    w.api.faults.add(Delay(dice.uniform(0, 9)), resource="leases", times=dice.randint(1, 5))
            for gone in [one for one in w.operators if one.task.done()]:
                with suppress(LeaseLost):
                    await gone.task
                w.operators.remove(gone)
            # As Kubernetes would: whoever ended is there again, a moment later.
            while len(w.operators) < 2:
                await asyncio.sleep(dice.uniform(0, 2))
                w.start()
        w.api.faults.rules.clear()
        try:
            await w.ended(within_s=1000)
        finally:
            for gone in [one for one in w.operators if one.task.done()]:
                with suppress(LeaseLost):
                    await gone.task
                w.operators.remove(gone)
        assert w.reason() == "Completed"
        assert w.result() == (n if source is CHAIN else n * (n + 1) // 2)
        once(w)
