"""What befalls a simulated cluster, one after the other, and each as data.

Each trouble waits, strikes, and is over when its `strike` returns; what it leaves behind is for the operator to cope with.
"""

import asyncio
import operator
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any, Protocol, TypeVar

from tests.app.kubelet import NODES
from tests.app.running import Running
from tests.app.world import NAMESPACE, World
from tests.fakes.faults import LoseAnswer, Refuse, Rule
from tests.fakes.store import WORKFLOWS, Refusal

T = TypeVar("T")

KINDS = ("workflows", "jobs", "pods")


class Struck(Protocol):
    """What troubles need of a run. `deleted` are Jobs that were deleted by hand."""

    world: World
    stopped: list[str]
    deleted: set[str]

    def leader(self) -> Running | None: ...
    def define(self) -> None: ...


class Trouble(Protocol):
    """Waits for `after_s`, then strikes."""

    @property
    def after_s(self) -> float: ...
    async def strike(self, run: Struck) -> None: ...


def _at_the_leader(
    strike: Callable[[T, Struck, Running], Coroutine[Any, Any, None]],
) -> Callable[[T, Struck], Coroutine[Any, Any, None]]:
    """A strike at whoever leads: at nobody where nobody does."""

    @wraps(strike)
    async def at_the_leader(self: T, run: Struck) -> None:
        running = run.leader()
        if running is not None:
            await strike(self, run, running)

    return at_the_leader


async def _replace(run: Struck, running: Running, away_s: float) -> None:
    """Let another operator follow, unless this one is gone already."""
    if running in run.world.operators:
        await run.world.kill(running)
        await asyncio.sleep(away_s)
        run.world.start()


@dataclass(frozen=True, slots=True)
class Die:
    """The operator dies at its next write but `writes`, before it is applied or after it; another comes later."""

    after_s: float
    writes: int
    applied: bool
    away_s: float

    @_at_the_leader
    async def strike(self, run: Struck, running: Running) -> None:
        line = running.line
        line.writes_left, line.dies_after = self.writes, self.applied
        dying = asyncio.create_task(line.dead.wait())
        await asyncio.wait([dying], timeout=8)
        dying.cancel()
        await _replace(run, running, self.away_s)


@dataclass(frozen=True, slots=True)
class Stopped:
    """The operator ends as it is told to, and another follows: an upgrade."""

    after_s: float
    away_s: float

    @_at_the_leader
    async def strike(self, run: Struck, running: Running) -> None:
        running.stop.set()
        await asyncio.wait([running.task], timeout=6)
        await _replace(run, running, self.away_s)


@dataclass(frozen=True, slots=True)
class Two:
    """For a while there are two that both believe they lead."""

    after_s: float
    for_s: float
    first_stays: bool

    async def strike(self, run: Struck) -> None:
        run.world.start()
        await asyncio.sleep(self.for_s)
        await run.world.kill(run.world.operators[-1 if self.first_stays else 0])


@dataclass(frozen=True, slots=True)
class CutOff:
    """The leader reaches nobody any more, and doesn't know why. Where there is an election, another takes over."""

    after_s: float
    for_s: float

    @_at_the_leader
    async def strike(self, run: Struck, running: Running) -> None:
        lines = running.all_lines()
        for line in lines:
            line.is_cut = True
        run.world.api.cut_watches()
        await asyncio.sleep(self.for_s)
        for line in lines:
            line.is_cut = False


@dataclass(frozen=True, slots=True)
class Deaf:
    """What the leader sends arrives, and nothing comes back: neither answers nor events."""

    after_s: float
    for_s: float

    @_at_the_leader
    async def strike(self, run: Struck, running: Running) -> None:
        running.line.is_deaf = True
        await asyncio.sleep(self.for_s)
        running.line.is_deaf = False


@dataclass(frozen=True, slots=True)
class Unsure:
    """The next answers to writes of a status are lost, and the watch that would tell what came of them is late."""

    after_s: float
    times: int
    for_s: float

    @_at_the_leader
    async def strike(self, run: Struck, running: Running) -> None:
        running.line.held_until["workflows"] = asyncio.get_running_loop().time() + self.for_s
        lost = Rule(LoseAnswer(), "patch", "workflows/status", times=self.times)
        rules = run.world.api.faults.rules
        rules.append(lost)
        await asyncio.sleep(self.for_s)
        if lost in rules:
            rules.remove(lost)


@dataclass(frozen=True, slots=True)
class Freeze:
    """The leader's process stands still, and goes on later, without knowing: a SIGSTOP, a node out of CPU or memory."""

    after_s: float
    for_s: float

    @_at_the_leader
    async def strike(self, run: Struck, running: Running) -> None:
        running.freeze()
        await asyncio.sleep(self.for_s)
        running.thaw()


@dataclass(frozen=True, slots=True)
class Reshard:
    """From now on there is another number of shards: a rolling update, in which some that are replaced may die."""

    after_s: float
    to: int
    pause_s: float
    dies: bool

    async def strike(self, run: Struck) -> None:
        world = run.world
        before, world.shards = world.shards, self.to
        # One of the old that ends meanwhile by itself, begins again as one of the old.
        while (old := next((one for one in world.operators if one.shards == before != self.to), None)) is not None:
            world.start()
            await asyncio.sleep(self.pause_s)
            if not self.dies:
                old.stop.set()
                await asyncio.wait([old.task], timeout=6)
            if old in world.operators:
                await world.kill(old)
            await asyncio.sleep(self.pause_s)


@dataclass(frozen=True, slots=True)
class CutStreams:
    """All streams end in the middle; where `compacted`, what they would go on from is gone."""

    after_s: float
    compacted: bool

    async def strike(self, run: Struck) -> None:
        if self.compacted:
            run.world.store.compact()
        run.world.api.cut_watches()


@dataclass(frozen=True, slots=True)
class Outage:
    """The API server is away."""

    after_s: float
    for_s: float

    async def strike(self, run: Struck) -> None:
        away = Rule(Refuse(503, "ServiceUnavailable"), times=10**6)
        rules = run.world.api.faults.rules
        rules.insert(0, away)
        run.world.api.cut_watches()
        await asyncio.sleep(self.for_s)
        rules.remove(away)


@dataclass(frozen=True, slots=True)
class Late:
    """Nothing of one kind arrives for a while: the caches are of different times."""

    after_s: float
    kind: str
    for_s: float

    async def strike(self, run: Struck) -> None:
        running = run.leader()
        if running is not None:
            running.line.held_until[self.kind] = asyncio.get_running_loop().time() + self.for_s
        await asyncio.sleep(self.for_s)


@dataclass(frozen=True, slots=True)
class Doubled:
    """A stream ends, and what follows begins with what was told already."""

    after_s: float
    kind: str
    versions: int

    async def strike(self, run: Struck) -> None:
        for running in run.world.operators:
            for line in running.lines:
                line.goes_back[self.kind] = self.versions
        run.world.api.cut_watches()


@dataclass(frozen=True, slots=True)
class Slow:
    """Each request, answer and event takes its time."""

    after_s: float
    for_s: float
    each_s: float

    async def strike(self, run: Struck) -> None:
        lines = [line for running in run.world.operators for line in running.lines]
        for line in lines:
            line.delay_s = self.each_s
        await asyncio.sleep(self.for_s)
        for line in lines:
            line.delay_s = 0.0


@dataclass(frozen=True, slots=True)
class Stalls:
    """The next decisions take too long."""

    after_s: float
    times: int

    async def strike(self, run: Struck) -> None:
        run.world.decider.stall(self.times)


@dataclass(frozen=True, slots=True)
class Evict:
    """One running pod is taken away, or deleted by somebody."""

    after_s: float
    which: int
    how: str
    grace_s: float

    async def strike(self, run: Struck) -> None:
        kubelet = run.world.kubelet
        running = kubelet.running()
        if not running:
            return
        kubelet.grace_s = lambda: self.grace_s
        pod = running[self.which % len(running)]
        if self.how == "evict":
            kubelet.disrupt(pod, "EvictionByEvictionAPI")
        else:
            grace_s = 0 if self.how == "force" else None
            run.world.store.delete(run.world.store.kind("pods"), NAMESPACE, pod["metadata"]["name"], grace_s=grace_s)


@dataclass(frozen=True, slots=True)
class LoseNode:
    """A node is not heard of; it comes back, or is given up first, or both."""

    after_s: float
    node: str
    given_up: bool
    for_s: float

    async def strike(self, run: Struck) -> None:
        kubelet = run.world.kubelet
        kubelet.lose(self.node)
        await asyncio.sleep(self.for_s)
        if self.given_up:
            kubelet.give_up(self.node)
            await asyncio.sleep(1)
        kubelet.find(self.node)


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Somebody deletes a Job."""

    after_s: float
    which: int

    async def strike(self, run: Struck) -> None:
        jobs = run.world.objects("jobs")
        if jobs:
            name = jobs[self.which % len(jobs)]["metadata"]["name"]
            run.deleted.add(name)
            run.world.delete("jobs", name)


@dataclass(frozen=True, slots=True)
class DeleteChild:
    """Somebody deletes a sub-workflow."""

    after_s: float
    which: int

    async def strike(self, run: Struck) -> None:
        children = [child["metadata"]["name"] for child in run.world.objects("workflows")]
        children = [name for name in children if name != "w"]
        if children:
            name = children[self.which % len(children)]
            run.deleted.add(name)
            run.world.delete("workflows", name)


@dataclass(frozen=True, slots=True)
class Jump:
    """The clock of the operator's machine is put forward or back."""

    after_s: float
    by_s: float

    async def strike(self, run: Struck) -> None:
        running = run.leader()
        if running is not None:
            running.line.skew += timedelta(seconds=self.by_s)


@dataclass(frozen=True, slots=True)
class Sleep:
    """All machines sleep: the clock of each has jumped when they wake up."""

    after_s: float
    by_s: float

    async def strike(self, run: Struck) -> None:
        run.world.skew += timedelta(seconds=self.by_s)


@dataclass(frozen=True, slots=True)
class Suspend:
    """Somebody suspends the workflow, and resumes it."""

    after_s: float
    for_s: float

    async def strike(self, run: Struck) -> None:
        _edit(run, {"suspend": True})
        await asyncio.sleep(self.for_s)
        _edit(run, {"suspend": False})


@dataclass(frozen=True, slots=True)
class Touch:
    """Somebody writes to the Workflow, several times."""

    after_s: float
    times: int
    every_s: float

    async def strike(self, run: Struck) -> None:
        for n in range(self.times):
            try:
                body = run.world.body()
            except Refusal:
                return
            body["metadata"].setdefault("annotations", {})["touched"] = f"{self.after_s}-{n}"
            run.world.store.replace(WORKFLOWS, NAMESPACE, "w", body)
            await asyncio.sleep(self.every_s)


@dataclass(frozen=True, slots=True)
class Stop:
    """Somebody stops the workflow."""

    after_s: float
    mode: str

    async def strike(self, run: Struck) -> None:
        if _edit(run, {"stop": self.mode}):
            run.stopped.append(self.mode)


@dataclass(frozen=True, slots=True)
class Undefine:
    """The definition goes, may be there with another content, and is back."""

    after_s: float
    for_s: float
    other: bool

    async def strike(self, run: Struck) -> None:
        world = run.world
        if "definitionDigest" not in world.status():
            return  # it would begin with the other content, as it may
        world.undefine()
        await asyncio.sleep(self.for_s)
        if self.other:
            world.define("def w(other):\n    return lambda: other()\n", "other")
            await asyncio.sleep(self.for_s)
            world.undefine()
        run.define()


def _edit(run: Struck, changes: dict[str, object]) -> bool:
    try:
        spec = run.world.body()["spec"]
        run.world.edit(operator.methodcaller("__setitem__", "spec", spec | changes))
    except Refusal:
        return False  # it is gone
    return True


_MAKERS: list[tuple[int, Callable[[random.Random, float], Trouble]]] = [
    (6, lambda d, at: Die(at, d.randint(0, 4), d.random() < 0.5, d.choice([0, d.uniform(0, 30)]))),
    (2, lambda d, at: Stopped(at, d.choice([0, d.uniform(0, 10)]))),
    (2, lambda d, at: CutOff(at, d.uniform(0.5, 30))),
    (2, lambda d, at: CutStreams(at, d.random() < 0.5)),
    (2, lambda d, at: Outage(at, d.uniform(1, 60))),
    (4, lambda d, at: Late(at, d.choice(KINDS), d.uniform(0.5, 30))),
    (2, lambda d, at: Doubled(at, d.choice(KINDS), d.randint(1, 60))),
    (2, lambda d, at: Slow(at, d.uniform(1, 20), d.uniform(0.1, 3))),
    (1, lambda d, at: Stalls(at, d.randint(1, 3))),
    (
        3,
        lambda d, at: Evict(
            at, d.randint(0, 20), d.choice(["evict", "evict", "delete", "force"]), d.choice([0, d.uniform(0, 10)])
        ),
    ),
    (2, lambda d, at: LoseNode(at, d.choice(NODES), d.random() < 0.5, d.uniform(1, 30))),
    (2, lambda d, at: DeleteJob(at, d.randint(0, 20))),
    (1, lambda d, at: DeleteChild(at, d.randint(0, 20))),
    (2, lambda d, at: Deaf(at, d.uniform(0.5, 20))),
    (2, lambda d, at: Unsure(at, d.randint(1, 2), d.uniform(0.5, 20))),
    (2, lambda d, at: Freeze(at, d.choice([d.uniform(0.5, 12), d.uniform(12, 40)]))),
    (1, lambda d, at: Jump(at, d.choice([-1, 1]) * d.choice([0.01, 1, 30, 4000]))),
    (1, lambda d, at: Sleep(at, d.choice([1, 60, 4000]))),
    (1, lambda d, at: Suspend(at, d.uniform(0, 15))),
    (1, lambda d, at: Touch(at, d.randint(1, 6), d.choice([0.01, 0.1, 1]))),
    (1, lambda d, at: Stop(at, d.choice(["Cancel", "Cancel", "Terminate"]))),
]


def random_reshard(dice: random.Random) -> Reshard:
    return Reshard(
        dice.uniform(0, 20), dice.choice([1, 2, 2, 3]), dice.choice([0, dice.uniform(0, 12)]), dice.random() < 0.3
    )


GENTLE = (Evict, LoseNode, DeleteJob, DeleteChild, Suspend, Touch, Stop)
"""None of these keeps the operator from hearing what happens, or from acting upon it."""


def random_troubles(
    dice: random.Random, *, elected: bool, defined: bool, kinds: tuple[type, ...] = (object,)
) -> tuple[Trouble, ...]:
    makers = [*_MAKERS]
    if elected:
        makers.append((4, lambda d, at: Freeze(at, d.uniform(12, 40))))
        makers.append((4, lambda d, at: CutOff(at, d.uniform(12, 40))))
    else:
        makers.append((3, lambda d, at: Two(at, d.uniform(0, 8), d.random() < 0.5)))
    if defined:
        makers.append((3, lambda d, at: Undefine(at, d.choice([0, d.uniform(0, 20)]), d.random() < 0.3)))
    weights, chosen = [weight for weight, _ in makers], [make for _, make in makers]
    picked = dice.choices(chosen, weights, k=dice.randint(0, 7))
    made = [make(dice, dice.choice([0, dice.uniform(0, 2), dice.uniform(0, 8)])) for make in picked]
    return tuple(trouble for trouble in made if isinstance(trouble, kinds))
