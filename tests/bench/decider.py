"""What a decision costs: through the pool, with all locks, in a process of its own for each.

The three programs are the same code over 3, 64 and 1,000 recorded results. Needs no cluster.
"""

import asyncio
import json
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flowy.wire import values
from flowy.wire.messages import Outcome, Record, RecordState, Request
from flowy_operator.adapters.decider.pool import DeciderPool

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
SMALL, MEDIUM, LARGE = 3, 64, 1000
CLIENTS = 4
_WALL_S = 60.0

# Waits for more than there is: a child that can be looked at from outside.
_HELD = "import os\ndef main(probe):\n    def run():\n        os.read(3, 1)\n    return run\n"


@dataclass(frozen=True, slots=True)
class Costs:
    """Milliseconds are medians. Memory is what a child has for itself, deciding or waiting, and what the zygote holds."""

    small_ms: float
    medium_ms: float
    large_ms: float
    per_s: float
    child_private_mib: float
    waiting_private_mib: float
    zygote_mib: float


async def measure(rounds: int = 300) -> Costs:
    """Measure in a pool of its own."""
    pool = DeciderPool()
    await pool.start()
    try:
        await _times_s(pool, SMALL, 20)
        small = statistics.median(await _times_s(pool, SMALL, rounds))
        medium = statistics.median(await _times_s(pool, MEDIUM, rounds // 2))
        large = statistics.median(await _times_s(pool, LARGE, rounds // 6))
        began = time.perf_counter()
        await asyncio.gather(*(_times_s(pool, SMALL, rounds, namespace=str(n)) for n in range(CLIENTS)))
        per_s = CLIENTS * rounds / (time.perf_counter() - began)
        zygote_pid = pool.zygote_pid
        assert zygote_pid is not None
        return Costs(
            small * 1000,
            medium * 1000,
            large * 1000,
            per_s,
            *await _private_mib(pool, zygote_pid),
            _kib(Path(f"/proc/{zygote_pid}/status"), "VmRSS") / 1024,
        )
    finally:
        await pool.close()


def request(results: int) -> Request:
    """One decision over so many recorded results; it schedules one more task."""
    records = [
        Record(
            key=f"probe-{n}",
            state=RecordState.COMPLETED,
            digest=values.digest([n], {}),
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


async def _times_s(pool: DeciderPool, results: int, rounds: int, namespace: str = "bench") -> Sequence[float]:
    asked = request(results)
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        answer = await pool.decide(asked, namespace=namespace, wall_s=_WALL_S)
        times.append(time.perf_counter() - began)
        assert answer.outcome in {Outcome.SUSPENDED, Outcome.COMPLETED}, answer
    return times


async def _private_mib(pool: DeciderPool, zygote_pid: int) -> tuple[float, float]:
    """The pages that a child does not share: one whose workflow code runs, and one that waits for a decision."""
    held = Request(source=_HELD, entrypoint="main", tasks=("probe",), input='{"args": [], "kwargs": {}}')
    decision = asyncio.create_task(pool.decide(held, namespace="held", wall_s=_WALL_S))
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
    print(asyncio.run(measure()))
