"""What a decision costs, through the pool and with all locks: in a process of its own for each, or as a step of one that stays.

Needs no cluster.
"""

import asyncio
import contextlib
import json
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flowy.wire.messages import Outcome, Record, RecordState, Request
from flowy.wire.values import digest
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.adapters.decider.pool import DeciderPool
from flowy_operator.app.decisions import FIRST_STALL_S
from flowy_operator.core.errors import DecisionStalled
from tests.bench import report
from tests.bench.figures import Figure, figure

WORKFLOW = """
import collections, itertools, json, math
from dataclasses import dataclass

@dataclass(frozen=True)
class Part:
    number: int
    size: int

def main(probe, join):
    def run(n):
        parts = [Part(i, int(probe(i)) + 1) for i in range(n)]
        by_size = collections.defaultdict(list)
        for part in parts:
            by_size[part.size % 7].append(part)
        total = math.fsum(part.size for part in itertools.chain.from_iterable(by_size.values()))
        return join(json.dumps({"total": total, "sizes": sorted(by_size)}))
    return run
"""
CHAIN = """
def main(probe):
    def run(n):
        return sum(int(probe(i)) for i in range(n))
    return run
"""
CHAIN_LINE = 4  # on which it calls
SMALL, MEDIUM, LARGE, HUGE = 3, 64, 1000, 10_000
STEPS = 300
CLIENTS = 4
HOSTILE = 20
_WALL_S = 60.0
_PAUSE_S = 0.01  # between two decisions of which each is timed: so little that nothing gets cold

# Waits for more than there is: a child that can be looked at from outside.
_HELD = "import os\ndef main(probe):\n    def run():\n        os.read(3, 1)\n    return run\n"

_ENDLESS = "def main(probe):\n    def run():\n        while True: pass\n    return run\n"
_GREEDY = (
    "def main(probe):\n    kept = []\n    def run():\n        while True: kept.append('x' * 100_000)\n    return run\n"
)
_FORBIDDEN = "import os\ndef main(probe):\n    def run():\n        os.kill(1, 9)\n    return run\n"


def _alone(source: str) -> Request:
    return Request(source=source, entrypoint="main", tasks=("probe",), input='{"args": [], "kwargs": {}}')


_HOSTILE = [_alone(source) for source in (_ENDLESS, _GREEDY, _FORBIDDEN)]


@dataclass(frozen=True, slots=True)
class Costs:
    """Milliseconds are medians. Memory is what a child has for itself, deciding or waiting, and what the zygote holds."""

    small_ms: float
    small_p99_ms: float
    beside_hostile_p99_ms: float
    medium_ms: float
    large_ms: float
    huge_ms: float
    per_s: float
    child_private_mib: float
    waiting_private_mib: float
    zygote_mib: float
    step_ms: float
    huge_step_ms: float


def figures() -> list[Figure]:
    """The figures of the report."""
    costs = asyncio.run(measure())
    values: list[tuple[str, float, str, str, float | None]] = [
        ("decision-small-ms", costs.small_ms, "ms", "<= 2 ms", None),
        ("decision-medium-ms", costs.medium_ms, "ms", "<= 5 ms", None),
        ("decision-1000-ms", costs.large_ms, "ms", "<= 8 ms", None),
        ("decision-10000-ms", costs.huge_ms, "ms", "<= 25 ms", None),
        ("decision-step-ms", costs.step_ms, "ms", "<= 0.3 ms", None),
        ("decision-10000-step-ms", costs.huge_step_ms, "ms", "", None),
        ("decision-beside-hostile-p99-ms", costs.beside_hostile_p99_ms, "ms", "< 5 x beside it", costs.small_p99_ms),
        ("decisions-per-s", costs.per_s, "/s", ">= 500 /s", None),
        ("decision-private-mib", costs.child_private_mib, "MiB", "<= 3 MiB", None),
        ("decision-waiting-mib", costs.waiting_private_mib, "MiB", "", None),
        ("zygote-rss-mib", costs.zygote_mib, "MiB", "<= 40 MiB", None),
    ]
    return [figure(*row) for row in values]


async def measure(rounds: int = 300) -> Costs:
    """Measure in a pool of its own."""
    pool = DeciderPool(Limits(staying_children=0))
    await pool.start()
    try:
        await _times_s(pool, SMALL, 20)
        small = sorted(await _times_s(pool, SMALL, rounds, pause_s=_PAUSE_S))
        medium = statistics.median(await _times_s(pool, MEDIUM, rounds // 2, pause_s=_PAUSE_S))
        large = statistics.median(await _times_s(pool, LARGE, rounds // 6, pause_s=_PAUSE_S))
        huge = statistics.median(await _times_s(pool, HUGE, rounds // 20, pause_s=_PAUSE_S))
        began = time.perf_counter()
        await asyncio.gather(*(_times_s(pool, SMALL, rounds, namespace=str(n)) for n in range(CLIENTS)))
        per_s = CLIENTS * rounds / (time.perf_counter() - began)
        beside_hostile = await _beside_hostile_s(pool, 2 * rounds)
        zygote_pid = pool.zygote_pid
        assert zygote_pid is not None
        return Costs(
            statistics.median(small) * 1000,
            _p99(small) * 1000,
            _p99(beside_hostile) * 1000,
            medium * 1000,
            large * 1000,
            huge * 1000,
            per_s,
            *await _private_mib(pool, zygote_pid),
            _kib(Path(f"/proc/{zygote_pid}/status"), "VmRSS") / 1024,
            statistics.median(await _steps_s(0, STEPS)) * 1000,
            statistics.median(await _steps_s(HUGE, rounds // 6, pause_s=_PAUSE_S)) * 1000,
        )
    finally:
        await pool.close()


def request(results: int) -> Request:
    """One decision over so many recorded results; it schedules one more task."""
    records = [
        Record(
            key=f"probe-{n}",
            state=RecordState.COMPLETED,
            digest=digest([n], {}),
            line=9,
            value=str(n),
            rank=n,
            finished_at=1.7e9 + n,
        )
        for n in range(results)
    ]
    return Request(
        source=WORKFLOW,
        entrypoint="main",
        tasks=("probe", "join"),
        input=json.dumps({"args": [results], "kwargs": {}}),
        records=records,
        seed="bench/0",
        started_at=1.7e9,
    )


async def _times_s(
    pool: DeciderPool, results: int, rounds: int, namespace: str = "bench", pause_s: float = 0.0
) -> Sequence[float]:
    asked = request(results)
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        answer = await pool.decide(asked, namespace=namespace, wall_s=_WALL_S)
        times.append(time.perf_counter() - began)
        assert answer.outcome in {Outcome.SUSPENDED, Outcome.COMPLETED}, answer
        await asyncio.sleep(pause_s)
    return times


async def _steps_s(results: int, steps: int, pause_s: float = 0.0) -> Sequence[float]:
    """So many decisions of a chain that has these results: steps of a child that stays, but for a few replays."""
    pool = DeciderPool(Limits(staying_records=0))
    await pool.start()
    recorded = request(results)
    asked = replace(
        recorded,
        source=CHAIN,
        tasks=("probe",),
        input=json.dumps({"args": [results + steps + 1], "kwargs": {}}),
        records=[record._replace(line=CHAIN_LINE) for record in recorded.records],
        seed="steps/0",
    )
    times: list[float] = []
    try:
        for rank in range(results, results + steps):
            began = time.perf_counter()
            answer = await pool.decide(asked, namespace="bench", wall_s=_WALL_S)
            times.append(time.perf_counter() - began)
            assert answer.outcome is Outcome.SUSPENDED, answer
            (call,) = answer.scheduled
            done = Record(call.key, RecordState.COMPLETED, call.digest, call.line, "1", None, rank, 1.7e9 + rank)
            asked = replace(asked, records=(*asked.records, done))
            await asyncio.sleep(pause_s)
        return times
    finally:
        await pool.close()


async def _beside_hostile_s(pool: DeciderPool, rounds: int) -> Sequence[float]:
    """A good workflow's decisions while hostile ones, each in a namespace of its own, are asked again and again."""

    async def be_hostile(n: int) -> None:
        asked = replace(_HOSTILE[n % len(_HOSTILE)], seed=f"hostile-{n}/0")
        while True:
            with contextlib.suppress(DecisionStalled):
                await pool.decide(asked, namespace=asked.seed, wall_s=_WALL_S)
            # The first pause after a stall. The operator doubles it each time; here it stays, as if they were ever new ones.
            await asyncio.sleep(FIRST_STALL_S)

    hostile = [asyncio.create_task(be_hostile(n)) for n in range(HOSTILE)]
    try:
        return await _times_s(pool, SMALL, rounds, pause_s=_PAUSE_S)
    finally:
        for task in hostile:
            task.cancel()
        await asyncio.wait(hostile)


def _p99(times: Sequence[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


async def _private_mib(pool: DeciderPool, zygote_pid: int) -> tuple[float, float]:
    """The pages that a child does not share: one whose workflow code runs, and one that waits for a decision."""
    decision = asyncio.create_task(pool.decide(_alone(_HELD), namespace="held", wall_s=_WALL_S))
    await asyncio.sleep(0.5)
    waiting_mib, *_, deciding_mib = sorted(map(_private_mib_of, _children_of(zygote_pid)))
    decision.cancel()
    await asyncio.gather(decision, return_exceptions=True)
    return deciding_mib, waiting_mib


def _children_of(pid: int) -> Sequence[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _private_mib_of(pid: int) -> float:
    memory = Path(f"/proc/{pid}/smaps_rollup")
    return sum(_kib(memory, f"Private_{kind}") for kind in ("Dirty", "Clean")) / 1024


def _kib(file: Path, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", file.read_text(), re.MULTILINE)
    assert found is not None, field
    return int(found[1])


if __name__ == "__main__":
    measured = figures()
    report.write(measured)
    print(report.page(measured))
