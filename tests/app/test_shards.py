"""Shards, each with a Lease: they share the work and take over from each other, and their number changes while they run.

In virtual time. Every write is checked against the Lease by which it was made, and every Job is created once.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from flowy_operator.adapters.lease.errors import LeaseLost
from flowy_operator.app.leadership import BALANCE_S, LEADER_LABEL, gateway_of
from flowy_operator.app.settings import Settings
from flowy_operator.core.attempts import Caller, Counts
from flowy_operator.core.share import shard_of
from tests.app.kubelet import NEVER_ENDS, Act, Call, value
from tests.app.running import Running
from tests.app.sources import CHAIN
from tests.app.world import NAMESPACE, World, simulated, world
from tests.fakes.clock import run_virtual
from tests.fakes.faults import Late, LoseAnswer, Refuse
from tests.fakes.store import WORKFLOWS

LEASE_S, RETRY_S = 15, 2
ELECTED = Settings(leader_election=True, lease_namespace=NAMESPACE)
FAMILY = """
    def parent(child):
        return lambda n: sum(child(i) for i in range(n))

    def child(step):
        return lambda i: step(i)
"""
FAMILY_TASKS = ({"name": "child", "workflow": {"entrypoint": "child"}}, "step")
GONE_QUICKLY = {"keepSucceededSeconds": 1}
"""Whoever created a Job once more would have it run again."""


class Replica:
    """A process with so many shards. Killed or lost, it is restarted as another, as its kubelet would."""

    def __init__(self, w: World, name: str, shards: int, pod: str | None = None) -> None:
        self.w, self.name, self.shards, self.pod = w, name, shards, pod
        self.lives = 0
        self.lost: list[str] = []
        self._begin()

    @property
    def held(self) -> list[int]:
        return self.running.held

    def _begin(self) -> None:
        self.running = self._start()
        self._keeping = asyncio.create_task(self._keep())

    def _start(self) -> Running:
        self.lives += 1
        return self.w.start(self.shards, self.name, self.pod)

    async def _keep(self) -> None:
        while True:
            ended = self.running
            await asyncio.wait([ended.task])
            self.w.operators.remove(ended)
            try:
                await ended.task
            except LeaseLost as lost:
                self.lost.append(str(lost))
            if ended.stop.is_set():
                return
            await asyncio.sleep(0.5)
            self.running = self._start()

    async def kill(self) -> None:
        """As a power cut would."""
        self._keeping.cancel()
        if self.running in self.w.operators:
            await self.w.kill(self.running)

    async def restart(self) -> None:
        await self.kill()
        self._begin()

    async def end(self) -> None:
        """As SIGTERM would."""
        self.running.stop.set()
        await self._keeping


class Replicas:
    def __init__(self, w: World) -> None:
        self.w = w
        self.all: list[Replica] = []

    def start(self, name: str, shards: int, pod: str | None = None) -> Replica:
        self.all.append(Replica(self.w, name, shards, pod))
        return self.all[-1]

    def held(self) -> list[list[int]]:
        return [replica.held for replica in self.all]


@asynccontextmanager
async def replicas(lasts_s: float = 3.0, latency: float = 0.005) -> AsyncIterator[tuple[World, Replicas]]:
    def act(call: Call) -> Act:
        return value(call.args[0] + 1, lasts_s=lasts_s)

    async with world(act, latency=lambda: latency, settings=ELECTED) as w:
        await w.kill()
        made = Replicas(w)
        try:
            yield w, made
        finally:
            for replica in made.all:
                await replica.kill()


def once(w: World) -> None:
    assert [name for name, count in Counter(w.kubelet.created).items() if count > 1] == []
    assert w.torn == []
    assert w.unfenced == []


def chains(w: World, count: int, length: int) -> list[str]:
    names = [f"w{n}" for n in range(count)]
    for name in names:
        w.submit(CHAIN, "step", name=name, input={"args": [length]}, jobs=GONE_QUICKLY)
    shards = {shard_of(w.body(name)["metadata"]["uid"], 2) for name in names}
    assert shards == {0, 1}, "some of each"
    return names


async def all_ended(w: World, names: list[str], length: int) -> None:
    for name in names:
        await w.ended(name)
        assert w.result(name) == length
    once(w)


def submit_families(w: World) -> list[str]:
    """Six parents with a child each: of some, the child is another shard's. Gives the parents' names."""
    parents = [f"p{n}" for n in range(6)]
    for parent in parents:
        w.submit(FAMILY, *FAMILY_TASKS, entrypoint="parent", name=parent, input={"args": [1]})
    return parents


# -- sharing, and taking over -----------------------------------------------------------------------------------------


@simulated
async def test_two_replicas_share_two_shards() -> None:
    async with replicas() as (w, them):
        one, other = them.start("one", 2), them.start("other", 2)
        await asyncio.sleep(RETRY_S + 1)
        assert sorted(map(tuple, them.held())) == [(0,), (1,)]
        names = chains(w, 8, 5)
        await all_ended(w, names, 5)
        for replica in (one, other):
            (line,) = replica.running.lines
            assert line.writes["patch", "workflows/status"] > 8
        assert gateway_of(str(w.holder(one.held[0]))) == "http://one:8082"


@simulated
async def test_one_replica_alone_takes_all_shards() -> None:
    async with replicas() as (w, them):
        one = them.start("one", 3)
        await asyncio.sleep(LEASE_S)
        assert one.held == [0, 1, 2]
        await all_ended(w, chains(w, 8, 3), 3)


@simulated
async def test_whose_replica_dies_is_taken_over_within_the_leases_time() -> None:
    async with replicas() as (w, them):
        one, other = them.start("one", 2), them.start("other", 2)
        await asyncio.sleep(RETRY_S + 1)
        names = chains(w, 4, 8)
        await asyncio.sleep(10)
        await one.kill()
        began = asyncio.get_running_loop().time()
        await w.until(lambda: other.held == [0, 1])
        assert asyncio.get_running_loop().time() - began <= LEASE_S + 2 * RETRY_S
        await all_ended(w, names, 8)


@simulated
async def test_a_replica_that_comes_back_gets_its_share_again() -> None:
    async with replicas(lasts_s=9) as (w, them):
        one, other = them.start("one", 2), them.start("other", 2)
        await asyncio.sleep(RETRY_S + 1)
        names = chains(w, 4, 20)
        await one.kill()
        await asyncio.sleep(2 * LEASE_S)
        assert other.held == [0, 1]
        one = them.start("one again", 2)
        await asyncio.sleep(3 * LEASE_S)
        assert sorted(map(tuple, [one.held, other.held])) == [(0,), (1,)]
        await asyncio.sleep(3 * LEASE_S)
        assert other.lives == 1, "it gave one away and went on with the other"
        assert other.lost == []
        await all_ended(w, names, 20)


@simulated
async def test_a_replica_that_is_told_to_end_hands_over_at_once() -> None:
    async with replicas() as (w, them):
        one, other = them.start("one", 2), them.start("other", 2)
        await asyncio.sleep(RETRY_S + 1)
        names = chains(w, 8, 10)
        await asyncio.sleep(5)
        await one.end()
        await asyncio.sleep(LEASE_S / 3 + RETRY_S + 0.5)
        assert other.held == [0, 1]
        await all_ended(w, names, 10)


@simulated
async def test_each_pod_that_works_bears_the_label_whoever_took_what_from_it() -> None:
    async with replicas() as (w, them):
        for pod in ("one", "other"):
            w.store.create(w.store.kind("pods"), NAMESPACE, {"metadata": {"name": pod, "labels": {}}})
        one = them.start("one", 2, pod="one")
        await asyncio.sleep(LEASE_S)
        assert one.held == [0, 1]
        other = them.start("other", 2, pod="other")
        await one.restart()  # both shards are free at one moment, and another process works in this pod
        await asyncio.sleep(LEASE_S + 2 * RETRY_S + BALANCE_S)
        assert sorted(map(tuple, [one.held, other.held])) == [(0,), (1,)]
        for pod in ("one", "other"):
            assert w.store.get(w.store.kind("pods"), NAMESPACE, pod)["metadata"]["labels"] == {LEADER_LABEL: "true"}
        await other.end()
        assert w.store.get(w.store.kind("pods"), NAMESPACE, "other")["metadata"]["labels"] == {}


# -- families ---------------------------------------------------------------------------------------------------------


@simulated
async def test_children_may_be_of_another_shard_than_their_parent() -> None:
    async with replicas() as (w, them):
        them.start("one", 2)
        them.start("other", 2)
        await asyncio.sleep(RETRY_S + 1)
        w.submit(FAMILY, *FAMILY_TASKS, entrypoint="parent", input={"args": [8]}, jobs=GONE_QUICKLY)
        await w.ended(within_s=300)
        assert w.result() == sum(n + 1 for n in range(8))
        once(w)


@simulated
async def test_a_child_of_another_shard_that_is_deleted_is_seen_by_its_parent() -> None:
    async with replicas(lasts_s=1e6) as (w, them):
        them.start("one", 2)
        them.start("other", 2)
        await asyncio.sleep(RETRY_S + 1)
        parents = submit_families(w)
        await asyncio.sleep(5)
        children = [body for body in w.objects("workflows") if body["metadata"].get("ownerReferences")]
        assert len(children) == 6
        apart = 0
        for child in children:
            (parent,) = child["metadata"]["ownerReferences"]
            apart += shard_of(child["metadata"]["uid"], 2) != shard_of(parent["uid"], 2)
            w.delete("workflows", child["metadata"]["name"])
        assert apart, "otherwise this shows nothing"
        for parent in parents:
            await w.ended(parent, within_s=60)
            assert w.told(parent)[-1] == "TaskCancelled child-0"


@simulated
async def test_no_child_of_another_shard_is_made_anew_by_a_create_that_comes_late() -> None:
    async with replicas(lasts_s=0.2) as (w, them):
        them.start("one", 2)
        them.start("other", 2)
        await asyncio.sleep(60)  # they have been at work for long
        w.api.faults.add(Late(9.0), verb="create", resource="workflows", times=6)
        parents = submit_families(w)
        made: Counter[str] = Counter()

        def expire() -> None:
            change = w.store.log[-1]
            if change.kind is not WORKFLOWS or change.new is None or change.old is not None:
                return
            name = change.new["metadata"]["name"]
            if name not in parents:
                made[name] += 1
                loop.call_soon(w.edit, lambda body: body["spec"].update(ttlSecondsAfterFinished=1), name)

        loop = asyncio.get_running_loop()
        w.store.news.append(expire)
        for parent in parents:
            await w.ended(parent)
        await asyncio.sleep(120)
        assert sorted(body["metadata"]["name"] for body in w.objects("workflows")) == parents
        assert len(made) == len(parents)
        assert set(made.values()) == {1}, "none was made anew"
        once(w)


@simulated
async def test_a_stop_reaches_children_of_all_shards() -> None:
    async with replicas(lasts_s=1e6) as (w, them):
        them.start("one", 2)
        them.start("other", 2)
        await asyncio.sleep(RETRY_S + 1)
        parents = submit_families(w)
        await asyncio.sleep(5)
        for parent in parents:
            w.edit(lambda body: body["spec"].update(suspend=True), parent)
        await asyncio.sleep(5)
        assert len(w.objects("workflows")) == 2 * len(parents)
        assert all(body["spec"].get("suspend") for body in w.objects("workflows"))
        writes = [line.writes for replica in them.all for line in replica.running.lines]
        await asyncio.sleep(60)
        assert [line.writes for replica in them.all for line in replica.running.lines] == writes, "suspended once"
        for parent in parents:
            w.edit(lambda body: body["spec"].update(suspend=False, stop="Cancel"), parent)
        for parent in parents:
            await w.ended(parent, within_s=60)
        await asyncio.sleep(5)
        assert w.jobs() == []


# -- another number of shards -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3), (3, 2)])
def test_the_number_of_shards_changes_by_a_rolling_update(before: int, after: int) -> None:
    run_virtual(_rolled(before, after))


async def _rolled(before: int, after: int) -> None:
    async with replicas(lasts_s=6) as (w, them):
        old = [them.start("one", before), them.start("other", before)]
        await asyncio.sleep(LEASE_S)
        names = chains(w, 6, 12)
        await asyncio.sleep(3)
        new: list[Replica] = []
        for replica in old:
            new.append(them.start(f"new{len(new)}", after))
            await asyncio.sleep(5)
            await replica.end()
            await asyncio.sleep(5)
        await asyncio.sleep(4 * LEASE_S)
        assert sorted(shard for replica in new for shard in replica.held) == list(range(after))
        assert max(len(replica.held) for replica in new) <= 1 + (after > 2)
        await all_ended(w, names, 12)


@simulated
async def test_a_replica_of_another_number_waits_and_spoils_nothing() -> None:
    async with replicas() as (w, them):
        them.start("one", 2)
        them.start("other", 2)
        await asyncio.sleep(RETRY_S + 1)
        strangers = [them.start("stranger", 1), them.start("another", 3)]
        names = chains(w, 4, 10)
        await asyncio.sleep(3 * LEASE_S)
        assert [stranger.held for stranger in strangers] == [[], []]
        await all_ended(w, names, 10)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_nothing_is_lost_and_nothing_runs_twice(seed: int) -> None:
    run_virtual(_any_trouble(random.Random(seed)))


async def _any_trouble(dice: random.Random) -> None:
    async with replicas(dice.choice([0.2, 3, 12]), dice.uniform(0.001, 0.05)) as (w, them):
        w.api.faults.add(LoseAnswer(), verb="patch", times=dice.randint(0, 6), chance=0.2)
        w.api.faults.add(Refuse(500), times=dice.randint(0, 6), chance=0.1)
        for n in range(dice.randint(1, 3)):
            them.start(f"r{n}", dice.choice([1, 2, 2, 3]))
        names = chains(w, 6, 6)
        for _ in range(dice.randint(2, 8)):
            await asyncio.sleep(dice.uniform(0, 15))
            replica = dice.choice(them.all)
            match dice.choice(["die", "restart", "end", "cut", "come", "other number"]):
                case "die":
                    await replica.kill()
                    them.all.remove(replica)
                case "restart":
                    await replica.restart()
                case "other number":
                    await replica.kill()
                    replica.shards = dice.choice([1, 2, 3])
                    await replica.restart()
                case "end":
                    await replica.end()
                    them.all.remove(replica)
                case "cut":
                    replica.running.cut()
                case "come":
                    pass
            if not them.all or dice.random() < 0.3:
                them.start(f"r{dice.random()}", dice.choice([1, 2]))
        # In the end a roll-out is through, and all agree.
        for replica in list(them.all):
            await replica.kill()
            them.all.remove(replica)
        them.start("last", dice.choice([1, 2]))
        await all_ended(w, names, 6)


# -- what pods say ----------------------------------------------------------------------------------------------------


@simulated
async def test_each_pod_is_heard_by_the_holder_of_its_shard_whoever_it_calls() -> None:
    async with world(lambda call: NEVER_ENDS, settings=ELECTED) as w:
        await w.kill()
        them = Replicas(w)
        one, other = them.start("one", 2), them.start("other", 2)
        await asyncio.sleep(RETRY_S + 1)
        chains(w, 8, 1)
        await asyncio.sleep(RETRY_S)
        replica_of = {shard: replica for replica in (one, other) for shard in replica.held}
        for pod in w.objects("pods"):
            caller = Caller(NAMESPACE, pod["metadata"]["name"], pod["metadata"]["uid"])
            shard = shard_of(pod["metadata"]["labels"]["flowy.dev/workflow-uid"], 2)
            mine, theirs = replica_of[shard], replica_of[1 - shard]
            assert mine.running.desk.knows(caller)
            assert theirs.running.desk.knows(caller)
            assert mine.running.desk.elsewhere(caller) is None
            assert theirs.running.desk.elsewhere(caller) == (f"http://{mine.name}:8082",)
            assert isinstance(await mine.running.desk.heartbeat(caller, None), Counts)
        for replica in (one, other):
            await replica.kill()


@simulated
async def test_nobody_is_timed_out_since_the_replica_died_that_took_its_calls() -> None:
    silent_s = 10
    async with world(lambda call: NEVER_ENDS, settings=ELECTED) as w:
        await w.kill()
        them = Replicas(w)
        one, other = them.start("one", 2), them.start("other", 2)
        await asyncio.sleep(2 * LEASE_S)
        names = [f"w{n}" for n in range(8)]
        for name in names:
            timeouts = {"heartbeatSeconds": silent_s}
            w.submit(CHAIN, {"name": "step", "timeouts": timeouts}, name=name, input={"args": [1]})
        await asyncio.sleep(1)

        async def beat(through: Replica) -> None:
            for pod in w.objects("pods"):
                caller = Caller(NAMESPACE, pod["metadata"]["name"], pod["metadata"]["uid"])
                for replica in (one, other):
                    if through.running.desk.elsewhere(caller) is None and replica is through:
                        await replica.running.desk.heartbeat(caller, None)

        for _ in range(5):
            await beat(one)
            await beat(other)
            await asyncio.sleep(4)
        # All have called by way of this one; what it would pass on is lost until they come back.
        await one.kill()
        await asyncio.sleep(LEASE_S + 8)
        for _ in range(10):
            await beat(other)
            await asyncio.sleep(4)
        assert [words for name in names for words in w.told(name) if "TimedOut" in words] == []
        # Who is silent for good is still found.
        await asyncio.sleep(silent_s + LEASE_S)
        assert all("TaskTimedOut step-0" in w.told(name) for name in names)
        await other.kill()
