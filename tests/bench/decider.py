"""What a decision costs, through the pool and with all locks: in a process of its own for each, or as a step of one that stays.

The figures are of the Python that the published images have, in a container on the embedded cluster's node. By itself this
module measures on the Python that runs it, and needs no cluster.
"""

import asyncio
import contextlib
import json
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from flowy.wire.messages import Outcome, Request
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.adapters.decider.pool import DeciderPool
from flowy_operator.app.decisions import FIRST_STALL_S
from flowy_operator.core.errors import DecisionStalled
from tests.bench.figures import Figure, figure
from tests.bench.programs import chain, planned, small
from tests.cluster import published

SMALL, MEDIUM, LARGE, HUGE = 3, 64, 1000, 10_000
"""The results in their histories. The programs are `programs.small`, `planned` and, of the last two, `chain`."""

STEPS = 300
CLIENTS = 4
RATES = 5
HOSTILE = 20
_WALL_S = 60.0
_PAUSE_S = 0.01  # between two decisions of which each is timed: so little that nothing gets cold

# Behind this line it waits for more than there is: a child that can be looked at from outside, just before it answers. Only
# from this time on, so that its bytecode is known by then.
_HELD_FROM_S = 3e9
_HELD = f"        if __import__('time').time() >= {_HELD_FROM_S}: __import__('os').read(3, 1)\n"
_LOOKS = 9
_LOOK_S = 0.1  # until it is looked at: it has got there, and is not taken for a slow one

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
    """Milliseconds are medians. Memory is what a child has for itself, deciding or waiting ahead, and what the zygote holds."""

    small_ms: float
    small_p99_ms: float
    beside_hostile_p99_ms: float
    medium_ms: float
    large_ms: float
    huge_ms: float
    small_per_s: float
    medium_per_s: float
    small_private_mib: float
    medium_private_mib: float
    waiting_private_mib: float
    zygote_mib: float
    step_ms: float
    huge_step_ms: float


def figures() -> list[Figure]:
    """The figures of the report."""
    done = published.run_python("-m", __name__)
    assert done.returncode == 0, done.stdout
    costs = Costs(**json.loads(done.stdout.splitlines()[-1]))
    values: list[tuple[str, float, str, str, float | None]] = [
        ("decision-small-ms", costs.small_ms, "ms", "<= 2 ms", None),
        ("decision-medium-ms", costs.medium_ms, "ms", "<= 5 ms", None),
        ("decision-1000-ms", costs.large_ms, "ms", "<= 8 ms", None),
        ("decision-10000-ms", costs.huge_ms, "ms", "<= 25 ms", None),
        ("decision-step-ms", costs.step_ms, "ms", "<= 0.3 ms", None),
        ("decision-10000-step-ms", costs.huge_step_ms, "ms", "", None),
        ("decision-beside-hostile-p99-ms", costs.beside_hostile_p99_ms, "ms", "< 5 x beside it", costs.small_p99_ms),
        ("decisions-small-per-s", costs.small_per_s, "/s", ">= 500 /s", None),
        ("decisions-medium-per-s", costs.medium_per_s, "/s", "", None),
        ("decision-small-private-mib", costs.small_private_mib, "MiB", "<= 3 MiB", None),
        ("decision-medium-private-mib", costs.medium_private_mib, "MiB", "", None),
        ("decision-waiting-mib", costs.waiting_private_mib, "MiB", "", None),
        ("zygote-rss-mib", costs.zygote_mib, "MiB", "<= 40 MiB", None),
    ]
    return [figure(*row) for row in values]


async def measure(rounds: int = 300) -> Costs:
    """Measure in a pool of its own."""
    pool = DeciderPool(Limits(staying_children=0))
    await pool.start()
    try:
        asked = {SMALL: small().request(SMALL), MEDIUM: planned(MEDIUM).request(MEDIUM)}
        asked |= {results: chain(results, 1).request(results) for results in (LARGE, HUGE)}
        await _times_s(pool, asked[SMALL], 20)
        small_s = sorted(await _times_s(pool, asked[SMALL], rounds, pause_s=_PAUSE_S))
        medium_s = await _times_s(pool, asked[MEDIUM], rounds // 2, pause_s=_PAUSE_S)
        large_s = await _times_s(pool, asked[LARGE], rounds // 6, pause_s=_PAUSE_S)
        huge_s = await _times_s(pool, asked[HUGE], rounds // 20, pause_s=_PAUSE_S)
        small_per_s = await _per_s(pool, asked[SMALL], rounds)
        medium_per_s = await _per_s(pool, asked[MEDIUM], rounds // 3)
        beside_hostile_s = await _beside_hostile_s(pool, asked[SMALL], 2 * rounds)
        zygote_pid = pool.zygote_pid
        assert zygote_pid is not None
        return Costs(
            small_ms=statistics.median(small_s) * 1000,
            small_p99_ms=_p99(small_s) * 1000,
            beside_hostile_p99_ms=_p99(beside_hostile_s) * 1000,
            medium_ms=statistics.median(medium_s) * 1000,
            large_ms=statistics.median(large_s) * 1000,
            huge_ms=statistics.median(huge_s) * 1000,
            small_per_s=small_per_s,
            medium_per_s=medium_per_s,
            small_private_mib=await _private_mib(asked[SMALL]),
            medium_private_mib=await _private_mib(asked[MEDIUM]),
            waiting_private_mib=_private_mib_of(await _waiting(pool, zygote_pid)),
            zygote_mib=_kib(Path(f"/proc/{zygote_pid}/status"), "VmRSS") / 1024,
            step_ms=statistics.median(await _steps_s(0, STEPS)) * 1000,
            huge_step_ms=statistics.median(await _steps_s(HUGE, rounds // 6, pause_s=_PAUSE_S)) * 1000,
        )
    finally:
        await pool.close()


async def _times_s(
    pool: DeciderPool, asked: Request, rounds: int, namespace: str = "bench", pause_s: float = 0.0
) -> Sequence[float]:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        answer = await pool.decide(asked, namespace=namespace, wall_s=_WALL_S)
        times.append(time.perf_counter() - began)
        assert answer.outcome is Outcome.SUSPENDED, answer
        await asyncio.sleep(pause_s)
    return times


async def _per_s(pool: DeciderPool, asked: Request, rounds: int) -> float:
    """By four clients, each of which asks without a pause. The median of a few seconds' work each, since others use the machine, too."""
    rates = []
    for _ in range(RATES):
        began = time.perf_counter()
        await asyncio.gather(*(_times_s(pool, asked, rounds, namespace=str(n)) for n in range(CLIENTS)))
        rates.append(CLIENTS * rounds / (time.perf_counter() - began))
    return statistics.median(rates)


async def _steps_s(results: int, steps: int, pause_s: float = 0.0) -> Sequence[float]:
    """So many decisions of a run that has these results: steps of a child that stays, but for a few replays."""
    pool = DeciderPool(Limits(staying_records=0))
    await pool.start()
    program = chain(results, steps)
    asked = program.request(results)
    times: list[float] = []
    try:
        for _ in range(steps):
            began = time.perf_counter()
            answer = await pool.decide(asked, namespace="bench", wall_s=_WALL_S)
            times.append(time.perf_counter() - began)
            assert len(answer.scheduled) == 1, answer
            asked = program.after(asked, answer)
            await asyncio.sleep(pause_s)
        return times
    finally:
        await pool.close()


async def _beside_hostile_s(pool: DeciderPool, asked: Request, rounds: int) -> Sequence[float]:
    """A good workflow's decisions while hostile ones, each in a namespace of its own, are asked again and again."""

    async def be_hostile(n: int) -> None:
        hostile = replace(_HOSTILE[n % len(_HOSTILE)], seed=f"hostile-{n}/0")
        while True:
            with contextlib.suppress(DecisionStalled):
                await pool.decide(hostile, namespace=hostile.seed, wall_s=_WALL_S)
            # The first pause after a stall. The operator doubles it each time; here it stays, as if they were ever new ones.
            await asyncio.sleep(FIRST_STALL_S)

    clients = [asyncio.create_task(be_hostile(n)) for n in range(HOSTILE)]
    try:
        return await _times_s(pool, asked, rounds, pause_s=_PAUSE_S)
    finally:
        for client in clients:
            client.cancel()
        await asyncio.wait(clients)


def _p99(times: Sequence[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


async def _private_mib(asked: Request) -> float:
    """The pages that the child of this decision does not share, when it is about to answer."""
    before, last_line, after = asked.source.rpartition("        return ")
    asked = replace(asked, source=before + _HELD + last_line + after)
    pool = DeciderPool(Limits(staying_children=0, children_ready=0))
    await pool.start()
    try:
        for _ in range(2):
            await pool.decide(asked, namespace="bench", wall_s=_WALL_S)
        held = replace(asked, started_at=_HELD_FROM_S)
        return statistics.median([await _looked_at(pool, held) for _ in range(_LOOKS)])
    finally:
        await pool.close()


async def _looked_at(pool: DeciderPool, held: Request) -> float:
    decision = asyncio.create_task(pool.decide(held, namespace="bench", wall_s=_WALL_S))
    await asyncio.sleep(_LOOK_S)
    assert pool.zygote_pid is not None
    (child,) = _children_of(pool.zygote_pid)
    private_mib = _private_mib_of(child)
    decision.cancel()
    await asyncio.gather(decision, return_exceptions=True)
    await asyncio.sleep(_LOOK_S)  # until it is reaped
    return private_mib


async def _waiting(pool: DeciderPool, zygote_pid: int) -> int:
    """The child that waits for a decision, once it is warm."""
    await asyncio.sleep(0.5)
    (child,) = _children_of(zygote_pid)
    return child


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
    print(json.dumps(asdict(asyncio.run(measure()))))
