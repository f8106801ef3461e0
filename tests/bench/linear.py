"""What a task costs where there are many: 1,000, 2,000, 5,000 and 10,000 of them, in three shapes, without a cluster.

    this process: Operator ──▶ fake API server ◀── Job controller and kubelet, in virtual time

Counted is the CPU of the operator alone: what its stand-ins take is measured and left out, and so is the replay, which is
`decider.py`'s. The time that the operator sees is virtual, with its own CPU added: it is as busy as a real one, so that news
come together in bursts as they do there. Each size has a process of its own. `make bench-linear` runs this.
"""

import argparse
import asyncio
import logging
import multiprocessing
import random
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Any, TypeVar, TypeVarTuple

from flowy.replay.replayer import replay
from flowy.wire.messages import Answer, Request
from tests.app.kubelet import Kubelet, value
from tests.app.world import InProcess, World
from tests.bench import report
from tests.bench.figures import Figure, figure
from tests.bench.scale import ONE, WIDE
from tests.fakes.api import Api
from tests.fakes.clock import VirtualLoop
from tests.fakes.store import WORKFLOWS, Json, Store

SHAPES = "wide", "chain", "many"
SIZES = 1000, 2000, 5000, 10_000
LONGEST_CHAIN = 5000
NAMESPACES = 20
PARALLELISM = 1000
LATENCY_S = 0.004
"""Of each way to the API server and back, as on the embedded cluster when it isn't busy."""
LOG = 20_000
"""So many of the last changes the fake API server keeps for its watches: all of them would be measured as memory."""
GOAL = "<= 1.5 x that of 1,000"
WITHIN_S = 100_000.0
KIB_PER_MIB = 1024

CHAIN = """
def chain(step):
    def run(n):
        last = 0
        for i in range(n):
            last = int(step(i))
        return last
    return run
"""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a size of a shape: the operator's CPU and its writes a task, CPU of replays, and how large the process became."""

    shape: str
    tasks: int
    cpu_ms: float
    writes: float
    passes: float
    decisions: int
    replay_ms: float
    peak_mib: float
    wall_s: float

    def __str__(self) -> str:
        return (
            f"{self.shape:6}{self.tasks:7,}{self.cpu_ms:9.2f}{self.writes:8.2f}{self.passes:8.2f}{self.decisions:11,}"
            f"{self.replay_ms:8.2f}{self.peak_mib:9.0f}{self.wall_s:7.0f}"
        )


HEAD = "shape   tasks   cpu ms  writes  passes  decisions  replay      MiB wall s    (ms, writes, passes: a task)"


class Meter:
    """CPU seconds of this thread that were somebody else's."""

    def __init__(self) -> None:
        self.others_s = 0.0
        self.replay_s = 0.0
        self._is_inside = False

    def left_out(self, call: Callable[[*Ts], T]) -> Callable[[*Ts], T]:
        """The same call, of which nothing counts; one inside another is counted once."""

        def timed(*args: *Ts) -> T:
            if self._is_inside:
                return call(*args)
            self._is_inside, began = True, time.thread_time()
            try:
                return call(*args)
            finally:
                self._is_inside = False
                self.others_s += time.thread_time() - began

        return timed

    def own_s(self) -> float:
        return time.thread_time() - self.others_s


class _Loop(VirtualLoop):
    """Virtual time to which the operator's CPU is added. What the kubelet does later is the kubelet's."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        super().__init__()

    def time(self) -> float:
        return self.now + self.meter.own_s()

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        if isinstance(getattr(callback, "__self__", None), Kubelet):
            callback = self.meter.left_out(callback)
        return super().call_at(when, callback, *args, context=context)


class _Api(Api):
    """What it does counts for nothing."""

    def __init__(self, store: Store, meter: Meter) -> None:
        super().__init__(store)
        self._done = meter.left_out(super()._do)

    def _do(self, *args: Any) -> Json:
        return self._done(*args)


class _Replays(InProcess):
    """Decides in this process, and remembers nothing of it."""

    def __init__(self, meter: Meter) -> None:
        super().__init__(lambda: LATENCY_S)
        self.made = 0
        self._meter = meter
        self._replay = meter.left_out(_replayed)

    async def decide(self, request: Request, *, namespace: str, wall_s: float) -> Answer:
        self.made += 1
        before = self._meter.others_s
        answer = self._replay(request)
        self._meter.replay_s += self._meter.others_s - before
        await asyncio.sleep(LATENCY_S)
        return answer


def _replayed(request: Request) -> Answer:
    return replay(request)


def _bodies(shape: str, tasks: int) -> Sequence[tuple[str, Json]]:
    """The Workflows of a shape, with their namespaces."""
    if shape == "many":
        return [(f"ns-{n % NAMESPACES}", _body(f"w-{n}", ONE)) for n in range(tasks)]
    return [("ns", _body("w", WIDE if shape == "wide" else CHAIN, tasks))]


def _body(name: str, source: str, *args: Any) -> Json:
    spec = {
        "code": {"source": source},
        "tasks": [{"name": "step", "activity": {"image": "busybox"}}],
        "input": {"args": list(args)},
        "parallelism": PARALLELISM,
        "jobs": {"keepSucceededSeconds": 60},
    }
    return {"metadata": {"name": name}, "spec": spec}


def measure(shape: str, tasks: int) -> Cost:
    """One size of a shape, in this process."""
    meter = Meter()
    with asyncio.Runner(loop_factory=lambda: _Loop(meter)) as runner:
        return runner.run(_measured(shape, tasks, meter))


async def _measured(shape: str, tasks: int, meter: Meter) -> Cost:
    dice = random.Random(tasks)
    w = World(lambda _: value(1, lasts_s=dice.uniform(0.5, 1.5)), latency=lambda: LATENCY_S / 2)
    w.api = _Api(w.store, meter)
    w.store.since = meter.left_out(w.store.since)  # type: ignore[method-assign, assignment]
    decider = w.decider = _Replays(meter)
    running = w.start()
    open_ = dict.fromkeys([(namespace, body["metadata"]["name"]) for namespace, body in _bodies(shape, tasks)])
    done = asyncio.Event()

    def look() -> None:
        change = w.store.log[-1]
        if change.kind is WORKFLOWS and change.new is not None and _has_ended(change.new):
            open_.pop((change.new["metadata"]["namespace"], change.new["metadata"]["name"]), None)
            if not open_:
                done.set()
        if len(w.store.log) > 2 * LOG:
            w.store.floor = w.store.log[-LOG].version
            del w.store.log[:-LOG]

    w.store.news.append(look)
    await asyncio.sleep(1)
    began, wall = meter.own_s(), time.monotonic()
    create = meter.left_out(w.store.create)
    for namespace, body in _bodies(shape, tasks):
        create(WORKFLOWS, namespace, body)
        await asyncio.sleep(0)
    async with asyncio.timeout(WITHIN_S):
        await done.wait()
    cost = Cost(
        shape,
        tasks,
        (meter.own_s() - began) * 1000 / tasks,
        sum(running.line.writes.values()) / tasks,
        running.operator._queue.taken / tasks,
        decider.made,
        meter.replay_s * 1000 / tasks,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB,
        time.monotonic() - wall,
    )
    await w.kill(running)
    return cost


def _has_ended(body: Mapping[str, Any]) -> bool:
    conditions = body.get("status", {}).get("conditions", ())
    return any(c["type"] == "Succeeded" and c["status"] == "True" for c in conditions)


def figures(costs: Sequence[Cost]) -> list[Figure]:
    """For each shape, how much dearer a task is at the size where it is dearest than at the smallest size."""
    found = []
    for shape in dict.fromkeys(cost.shape for cost in costs):
        sizes = [cost for cost in costs if cost.shape == shape]
        cpu, writes = (max(each) / each[0] for each in ([c.cpu_ms for c in sizes], [c.writes for c in sizes]))
        found.append(figure(f"linear-{shape}-cpu-x", cpu, "x", GOAL))
        found.append(figure(f"linear-{shape}-writes-x", writes, "x", GOAL))
    return found


def _quiet() -> None:
    logging.disable(logging.WARNING)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.linear", description="What a task costs among many.")
    parser.add_argument("shapes", nargs="*", default=SHAPES, metavar="shape", help=", ".join(SHAPES))
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="tasks, in rising order")
    given = parser.parse_args()
    costs = []
    print(HEAD)
    for shape in given.shapes:
        for tasks in given.sizes:
            if shape != "chain" or tasks <= LONGEST_CHAIN:
                with multiprocessing.get_context("spawn").Pool(1, _quiet) as pool:
                    costs.append(pool.apply(measure, (shape, tasks)))
                print(costs[-1], flush=True)
    found = figures(costs)
    for one in found:
        print(f"{one.name}: {one.value:.2f} {one.unit} ({one.goal})")
    if tuple(given.sizes) == SIZES:
        report.write(found)


if __name__ == "__main__":
    main()
