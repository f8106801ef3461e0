"""The workflow code of the decisions that are measured, and the histories over which it is replayed."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from flowy.replay.replayer import replay
from flowy.wire.messages import Answer, Outcome, Record, RecordState, Request

_STARTED_AT = 1.7e9
_ALL = 1 << 30

_SMALL = """
def main(fetch, resize, classify, publish):
    def run(url):
        small = resize(fetch(url), width=640)
        labels = classify(small)
        good = [label["name"] for label in labels if label["score"] > 0.5]
        return publish(url, small, good)
    return run
"""

_PLANNED = """
import datetime, functools, itertools, json, math
from collections import Counter, defaultdict
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    number: int
    rows: int
    weight: float = 1.0

    def cost(self):
        return self.rows * self.weight


class TooSparse(Exception):
    def __init__(self, share):
        super().__init__(f"only {share:.0%} of the parts hold anything")
        self.share = share


class Plan:
    def __init__(self, parts):
        self.parts = sorted(parts, key=lambda part: (-part.cost(), part.number))
        self.by_rows = defaultdict(list)
        for part in self.parts:
            self.by_rows[part.rows].append(part)

    def groups(self, count):
        for first in range(count):
            yield list(itertools.islice(self.parts, first, None, count))

    def check(self, least):
        share = 1 - len(self.by_rows[0]) / len(self.parts)
        if share < least:
            raise TooSparse(share)


def weigh(scale):
    def weight(number):
        return scale * (1 + number % 3)
    return weight


def main(count_rows, merge, report):
    def run(parts, groups, day):
        weight = weigh(0.5)
        counted = [count_rows(number) for number in range(parts)]
        plan = Plan(Part(number, int(rows), weight(number)) for number, rows in enumerate(counted))
        try:
            plan.check(least=0.5)
        except TooSparse as error:
            return report(json.dumps({"share": error.share}))
        first = datetime.date.fromisoformat(day)
        total = functools.reduce(lambda total, part: total + part.cost(), plan.parts, 0.0)
        merged = [
            merge([part.number for part in group], day=(first + datetime.timedelta(days=n)).isoformat())
            for n, group in enumerate(plan.groups(groups))
        ]
        sizes = Counter(part.rows for part in plan.parts)
        return report(merged, total=math.ceil(total), sizes=json.dumps(sorted(sizes.items())))
    return run
"""

_CHAIN = """
def main(probe):
    def run(side_by_side, steps):
        total = sum([int(result) for result in [probe(i) for i in range(side_by_side)]])
        for _ in range(steps):
            total += int(probe(total))
        return total
    return run
"""


@dataclass(frozen=True)
class Program:
    """Code, what it is started with, and what its tasks come to: a result by the task's name and the number of the call."""

    source: str
    tasks: tuple[str, ...]
    arguments: tuple[object, ...]
    result: Callable[[str, int], object]

    def request(self, results: int) -> Request:
        """The decision that finds just so many results. Raises ValueError if none of its decisions does."""
        request = self.first()
        while len(request.records) < results:
            request = self.after(request, replay(request))
        if len(request.records) > results:
            raise ValueError(f"no decision finds {results} results, but one finds {len(request.records)}")
        return request

    def first(self) -> Request:
        return Request(
            source=self.source,
            entrypoint="main",
            tasks=self.tasks,
            input=json.dumps({"args": self.arguments, "kwargs": {}}),
            seed="bench/0",
            started_at=_STARTED_AT,
            max_calls=_ALL,
            max_bytes=_ALL,
        )

    def after(self, request: Request, answer: Answer) -> Request:
        """The next decision: all that this one's answer schedules has its result."""
        if answer.outcome is not Outcome.SUSPENDED or not answer.scheduled:
            raise ValueError(f"nothing comes after {answer}")
        records = [
            Record(
                key=call.key,
                state=RecordState.COMPLETED,
                digest=call.digest,
                line=call.line,
                value=json.dumps(self.result(call.task, rank)),
                rank=rank,
                finished_at=_STARTED_AT + rank,
            )
            for rank, call in enumerate(answer.scheduled, len(request.records))
        ]
        return replace(request, records=(*request.records, *records))


def small() -> Program:
    """Four lines that call four tasks. The decision over three results schedules the last one."""
    results = {
        "fetch": "raw/7.png",
        "resize": "small/7.png",
        "classify": [{"name": "cat", "score": 0.9}, {"name": "dog", "score": 0.1}],
    }
    return Program(_SMALL, ("fetch", "resize", "classify", "publish"), ("images/7",), lambda task, _: results[task])


def planned(parts: int) -> Program:
    """Fifty lines: classes, an own exception, a generator, closures, seven modules. Over so many results it schedules 16 tasks."""
    return Program(_PLANNED, ("count_rows", "merge", "report"), (parts, 16, "2026-01-02"), lambda _, number: number % 5)


def chain(side_by_side: int, steps: int) -> Program:
    """Calls so many tasks side by side, then so many one after the other."""
    return Program(_CHAIN, ("probe",), (side_by_side, steps), lambda _, _number: 1)
