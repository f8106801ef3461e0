"""How long it took after each blow until work went on, and the page that says so."""

import os
import platform
import statistics
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.plan import Blow

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"


SALVO = "several kills of operators, one after the other"


@dataclass(frozen=True, slots=True)
class Struck:
    """A salvo that fell: when it began, and from when on recovery counts, in seconds since 1970."""

    blows: Sequence[Blow]
    began: float
    counts_from: float

    @property
    def row(self) -> str:
        return self.blows[0] if len(self.blows) == 1 else SALVO


@dataclass(frozen=True, slots=True)
class Row:
    """`recovered_s`, sorted, are those of salvos between which and the next one work went on again."""

    name: str
    count: int
    recovered_s: Sequence[float]


def rows(struck: Sequence[Struck], progress: Sequence[tuple[float, float]]) -> list[Row]:
    """`progress` are the attempts: when each was recorded, and when its container began.

    Recovered is who has recorded an attempt after the end of the salvo, and whose container has begun. A salvo that the next
    one found unrecovered isn't measured, nor is the next: whose time would it be?
    """
    ordered = sorted(progress)
    earliest = [float("inf")] * (len(ordered) + 1)
    for n in range(len(ordered) - 1, -1, -1):
        earliest[n] = min(ordered[n][1], earliest[n + 1])
    found: dict[str, list[float]] = {}
    was_calm = True
    for n, one in enumerate(struck):
        again_at = earliest[bisect_right(ordered, (one.counts_from, float("inf")))]
        is_over = again_at < (struck[n + 1].began if n + 1 < len(struck) else float("inf"))
        if was_calm and is_over:
            found.setdefault(one.row, []).append(again_at - one.counts_from)
        was_calm = is_over
    counts: Counter[str] = Counter(blow for one in struck for blow in one.blows)
    counts[SALVO] = sum(one.row == SALVO for one in struck)
    return [Row(name, counts[name], sorted(found.get(name, ()))) for name in [*Blow, SALVO] if counts[name]]


def page(table: Sequence[Row], facts: Mapping[str, str], command: str) -> str:
    lines = [
        "# Reliability",
        "",
        *TEXT,
        "",
        f"Command: `{command}`, {datetime.now(UTC).date().isoformat()}, on {_machine()}.",
        "",
        "| what | count |",
        "| --- | --- |",
        *(f"| {what} | {count} |" for what, count in facts.items()),
        "",
        "| blow | how often | measured | recovered, median | longest |",
        "| --- | --- | --- | --- | --- |",
        *(_row(row) for row in table),
        "",
    ]
    return "\n".join(lines)


TEXT = (
    "Nothing lost, nothing twice: here a machine has tried to break that. Made by `make chaos`, which takes up to 20 minutes",
    "on the embedded cluster of the tests. Two operators that share a Lease of 5 s run outside of it as the processes they are.",
    "Workflows of mixed shapes run on fake nodes: chains, fan-outs, races, retries of activities that fail, sub-workflows,",
    "restarts; some are suspended, cancelled, terminated or deleted meanwhile. Some more run in containers on the real node.",
    "Every container appends its workflow, task and attempt to a file outside of the cluster when it begins.",
    "",
    "At the end each workflow has the result of its sequential run in plain Python, each attempt on record has begun once,",
    "none is missing and none is on no record, no operator has logged a traceback; and once all Workflows are deleted,",
    "nothing that Flowy made is left. A run that finds otherwise fails, and keeps objects and logs. Kubernetes itself may start",
    "two pods for one Job, and says so of Jobs; where it did on a fake node, the table has a line for it. By the same seed,",
    "`make chaos SEED=…`, the same workflows meet the same blows in the same order.",
    "",
    "*Recovered* is the time from the end of a blow until the container of an attempt begins that was recorded after that end:",
    "the whole way from the operator by API server, Job controller and scheduler to the node. A leader that is killed can't",
    "give its Lease back, so the other one waits until it has run out: with the chart's 15 s it takes 10 s more than here.",
    "Of the frozen leader it counts from the moment it was frozen, of several kills from the last one on. *Measured* are the blows",
    "that came alone, and met and left a system at work; the others count for the judgement, not for the time.",
)


def _row(row: Row) -> str:
    if not row.recovered_s:
        return f"| {row.name} | {row.count} | 0 | | |"
    middle, longest = statistics.median(row.recovered_s), row.recovered_s[-1]
    return f"| {row.name} | {row.count} | {len(row.recovered_s)} | {middle:.1f} s | {longest:.1f} s |"


def _machine() -> str:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"a machine of {os.cpu_count()} cores and {memory_gib:.0f} GiB ({platform.system()} {platform.machine()})"
