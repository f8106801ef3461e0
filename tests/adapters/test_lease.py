"""Two candidates for one Lease, in virtual time: never two who may write, and never long nobody."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.errors import NotLeading
from flowy_operator.adapters.lease.errors import LeaseLost
from flowy_operator.adapters.lease.lease import Lease
from tests.fakes.api import Api
from tests.fakes.client import LocalClient
from tests.fakes.clock import run_virtual
from tests.fakes.faults import Delay, LoseAnswer, Refuse, Rule
from tests.fakes.store import Json

LEASE_S, RENEW_S, CALL_S, RETRY_S = 15, 10, 3, 2
NAMESPACE, NAME = "flowy", "flowy-operator"
START = datetime(2026, 1, 1, tzinfo=UTC)


def loop_time() -> float:
    return asyncio.get_running_loop().time()


def now() -> datetime:
    return START + timedelta(seconds=loop_time())


class Replica:
    """A process that wants to lead, again and again, each time as another. `terms` are the times in which it may write."""

    def __init__(self, api: Api, name: str, clock: Callable[[], float] = loop_time) -> None:
        self.api = api
        self.name = name
        self.clock = clock
        self.lives = 0
        self.lease = self._lease()
        self.lost: list[str] = []
        self.task: asyncio.Task[None] | None = None

    def _lease(self) -> Lease:
        self.lives += 1
        identity = f"{self.name}_{self.lives}"
        client = LocalClient(self.api)
        return Lease(
            client,
            namespace=NAMESPACE,
            name=NAME,
            identity=identity,
            duration_s=LEASE_S,
            clock=self.clock,
            now=now,
        )

    def start(self) -> None:
        self.task = asyncio.create_task(self._live())

    def kill(self) -> None:
        """As SIGKILL would: it says nothing."""
        assert self.task is not None
        self.task.cancel()
        self.lease = self._lease()

    async def stop(self) -> None:
        """As SIGTERM would."""
        assert self.task is not None
        self.task.cancel()
        await self.lease.release()

    async def _live(self) -> None:
        while True:
            await self.lease.acquire()
            try:
                await self.lease.keep()
            except LeaseLost as lost:
                self.lost.append(str(lost))
            self.lease = self._lease()


class Pair:
    def __init__(self) -> None:
        self.api = Api()
        self.api.store.now = now
        self.one, self.other = Replica(self.api, "one"), Replica(self.api, "other")

    def record(self) -> Json:
        spec: Json = self.api.store.get(self.api.store.kind("leases"), NAMESPACE, NAME)["spec"]
        return spec

    def knows(self, replica: Replica) -> bool:
        return replica.lease.is_known

    def holders(self) -> list[str]:
        return [replica.name for replica in (self.one, self.other) if replica.lease.holds()]

    async def until(self, is_so: Callable[[], bool], within_s: float) -> float:
        """Seconds until it is so, to a hundredth."""
        began = loop_time()
        while not is_so():
            assert loop_time() - began <= within_s, "too late"
            await asyncio.sleep(0.01)
        return loop_time() - began


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    """`one` leads, `other` waits."""
    made = Pair()
    made.one.start()
    await asyncio.sleep(0.5)
    made.other.start()
    await asyncio.sleep(5)
    assert made.holders() == ["one"]
    yield made
    for replica in (made.one, made.other):
        if replica.task is not None:
            replica.task.cancel()


def timeless(scenario: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def test() -> None:
        run_virtual(scenario())

    return test


@timeless
async def test_the_first_one_leads_for_ever() -> None:
    async with pair() as p:
        await asyncio.sleep(3600)
        assert p.holders() == ["one"]
        assert p.record()["holderIdentity"] == "one_1"
        assert p.record()["leaseTransitions"] == 0
        assert p.record()["leaseDurationSeconds"] == LEASE_S


@timeless
async def test_the_record_is_as_kubectl_shows_it() -> None:
    async with pair() as p:
        assert p.record()["acquireTime"] == "2026-01-01T00:00:00.000000Z"
        assert p.record()["renewTime"] > "2026-01-01T00:00:03"


@timeless
async def test_a_leader_that_dies_is_followed_when_its_lease_has_ended() -> None:
    async with pair() as p:
        p.one.kill()
        took_s = await p.until(lambda: p.holders() == ["other"], within_s=LEASE_S + RETRY_S)
        assert took_s >= LEASE_S - RETRY_S - 0.1, "the dead one might have renewed it just before"
        assert p.record()["leaseTransitions"] == 1
        assert p.other.lease.previous == "one_1"


@timeless
async def test_a_leader_that_leaves_is_followed_at_once() -> None:
    async with pair() as p:
        await p.one.stop()
        assert p.holders() == []
        assert "holderIdentity" not in p.record()
        await p.until(lambda: p.holders() == ["other"], within_s=RETRY_S + 0.1)
        assert p.other.lease.previous is None, "it has cleaned up after itself"


@timeless
async def test_one_that_was_restarted_is_another() -> None:
    """It may not go on with its predecessor's lease: what that one sent may still be on its way."""
    async with pair() as p:
        p.other.kill()
        p.one.kill()
        p.one.start()
        took_s = await p.until(lambda: p.holders() == ["one"], within_s=LEASE_S + RETRY_S)
        assert took_s > LEASE_S - RETRY_S


@timeless
async def test_a_frozen_leader_may_not_write_when_it_thaws() -> None:
    """Not a line of its code need run for that: the clock alone takes the right away."""
    async with pair() as p:
        frozen = p.one.lease
        client = LocalClient(p.api, frozen.holds)
        assert p.one.task is not None
        p.one.task.cancel()
        await asyncio.sleep(RENEW_S - RETRY_S)
        assert frozen.holds()
        assert await client.create(paths.configmaps(NAMESPACE), {"metadata": {"name": "in-time"}})
        await asyncio.sleep(RETRY_S)
        assert p.holders() == [], "nobody, for a while"
        with pytest.raises(NotLeading, match="kept back"):
            await client.create(paths.configmaps(NAMESPACE), {"metadata": {"name": "stale"}})
        with pytest.raises(NotLeading):
            await client.delete(paths.configmaps(NAMESPACE, "in-time"))
        with pytest.raises(NotLeading):
            await client.json_patch(paths.configmaps(NAMESPACE, "in-time"), [])
        assert await client.get(paths.configmaps(NAMESPACE, "in-time")), "reading is harmless"
        await p.until(lambda: p.holders() == ["other"], within_s=LEASE_S)
        with pytest.raises(LeaseLost, match="10 s"):
            await frozen.keep()
        assert p.record()["holderIdentity"] == "other_1"


@timeless
async def test_a_frozen_waiter_that_thaws_looks_again_before_it_takes() -> None:
    async with pair() as p:
        frozen = p.other.lease
        assert p.other.task is not None
        p.other.task.cancel()
        await asyncio.sleep(10 * LEASE_S)  # by its own clock the lease it saw ended long ago
        p.other.task = asyncio.create_task(frozen.acquire())
        await asyncio.sleep(LEASE_S - 1)
        assert p.holders() == ["one"]


@timeless
async def test_a_leader_that_is_cut_off_stops_before_another_begins() -> None:
    async with pair() as p:
        p.one.lease._client._local = Api()  # type: ignore[attr-defined]  # the other side of the cut
        p.one.lease._client._local.faults.add(Refuse(503), times=10**6)  # type: ignore[attr-defined]
        await p.until(lambda: p.holders() == [], within_s=RENEW_S + 0.1)
        nobody_s = await p.until(lambda: p.holders() != [], within_s=LEASE_S)
        assert p.holders() == ["other"]
        assert nobody_s > LEASE_S - RENEW_S - RETRY_S
        assert p.one.lost == ["the lease flowy-operator couldn't be renewed for 10 s"]


@timeless
async def test_calls_that_hang_are_given_up_in_time() -> None:
    async with pair() as p:
        p.api.faults.add(Delay(600), verb="patch", times=2)
        await asyncio.sleep(LEASE_S)
        assert p.holders() == ["one"], "two hang, the third renews it"
        p.api.faults.add(Delay(600), verb="patch", times=10)
        await p.until(lambda: p.holders() == [], within_s=RENEW_S + 0.1)


@timeless
async def test_a_lost_answer_costs_nobody_the_lead() -> None:
    async with pair() as p:
        p.api.faults.add(LoseAnswer(), verb="patch", times=2)
        await asyncio.sleep(60)
        assert p.holders() == ["one"]
        assert p.one.lost == []


@timeless
async def test_whose_answer_was_lost_when_it_took_the_lease_has_it() -> None:
    async with pair() as p:
        await p.one.stop()
        p.api.faults.add(LoseAnswer(), verb="patch", times=1)
        await p.until(lambda: p.holders() == ["other"], within_s=2 * RETRY_S + 0.1)
        assert p.record()["leaseTransitions"] == 1, "not twice"


@timeless
async def test_whoever_finds_another_on_record_stops_at_once() -> None:
    async with pair() as p:
        p.api.store.edit("leases", NAMESPACE, NAME, lambda lease: lease["spec"].update(holderIdentity="a person"))
        await p.until(lambda: p.holders() == [], within_s=RETRY_S + 0.1)
        assert p.one.lost == ["another has taken the lease flowy-operator"]


@timeless
async def test_a_lease_that_was_deleted_is_made_anew_by_one_of_them() -> None:
    async with pair() as p:
        for _ in range(5):
            p.api.store.delete(p.api.store.kind("leases"), NAMESPACE, NAME)
            await asyncio.sleep(RETRY_S + 0.1)
            assert len(p.holders()) == 1
            await asyncio.sleep(LEASE_S)


@timeless
async def test_both_begin_together_and_one_leads() -> None:
    p = Pair()
    p.one.start()
    p.other.start()
    await asyncio.sleep(1)
    assert len(p.holders()) == 1
    for replica in (p.one, p.other):
        replica.kill()


@timeless
async def test_a_lease_that_was_made_by_hand_is_taken() -> None:
    p = Pair()
    p.api.store.create(p.api.store.kind("leases"), NAMESPACE, {"metadata": {"name": NAME}})
    p.one.start()
    await p.until(lambda: p.holders() == ["one"], within_s=RETRY_S)
    p.one.kill()


@timeless
async def test_without_the_right_it_waits_and_says_so() -> None:
    p = Pair()
    rule = Rule(Refuse(403, "Forbidden"), resource="leases", times=10**6)
    p.api.faults.rules.append(rule)
    p.one.start()
    await asyncio.sleep(60)
    assert p.holders() == []
    assert not p.knows(p.one)
    p.api.faults.rules.remove(rule)
    await p.until(lambda: p.holders() == ["one"], within_s=RETRY_S + 0.1)
    assert p.knows(p.one)
    p.one.kill()


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_never_two_and_never_long_nobody(seed: int) -> None:
    run_virtual(_any_trouble(random.Random(seed)))


async def _any_trouble(dice: random.Random) -> None:
    p = Pair()
    replicas = [p.one, p.other]
    for replica in replicas:
        replica.start()
    clash: list[float] = []

    async def watch() -> None:
        while True:
            if len(p.holders()) > 1:
                clash.append(loop_time())
            await asyncio.sleep(0.25)

    watching = asyncio.create_task(watch())
    for _ in range(12):
        replica = dice.choice(replicas)
        match dice.choice(["kill", "stop", "outage", "slow", "lost", "delete", "conflict"]):
            case "kill":
                replica.kill()
                await asyncio.sleep(dice.uniform(0, 20))
                replica.start()
            case "stop":
                await replica.stop()
                await asyncio.sleep(dice.uniform(0, 5))
                replica.lease = replica._lease()
                replica.start()
            case "outage":
                away = Rule(Refuse(503), times=10**6)
                p.api.faults.rules.append(away)
                await asyncio.sleep(dice.uniform(0, 25))
                p.api.faults.rules.remove(away)
            case "slow":
                p.api.faults.add(Delay(dice.uniform(0, 8)), times=dice.randint(1, 8), chance=0.5)
            case "lost":
                p.api.faults.add(LoseAnswer(), times=dice.randint(1, 8), chance=0.5)
            case "conflict":
                p.api.faults.add(Refuse(409, "Conflict"), verb="patch", times=1)
            case "delete":
                # Whoever starts in the very second of it can't know that there was one.
                p.api.faults.rules.clear()
                await asyncio.sleep(LEASE_S + 2 * CALL_S)
                p.api.store.delete(p.api.store.kind("leases"), NAMESPACE, NAME)
                await asyncio.sleep(LEASE_S)
        await asyncio.sleep(dice.uniform(0, 20))
    p.api.faults.rules.clear()
    await p.until(lambda: len(p.holders()) == 1, within_s=LEASE_S + 2 * CALL_S + 2 * RETRY_S)
    watching.cancel()
    for replica in replicas:
        replica.kill()
    assert clash == []
