"""What works without a cluster: activities of the local engine, replays, reports. Chromium opens the report, if it is there."""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from flowy.local import LocalWorkflow
from flowy.replay.replayer import replay
from flowy.wire import values
from flowy.wire.messages import Outcome, Record, RecordState, Request
from flowy_cli.documents import run_of_file
from flowy_cli.pictures.reading import execution_of
from flowy_cli.pictures.report import report
from flowy_operator.core.history import Event, Fact, TaskCompleted, TaskScheduled, event_json
from tests.bench import command_line
from tests.bench.figures import Figure, figure
from tests.builders import START
from tests.fakes.clock import run_virtual
from tests.pictures.browser import CHROMIUM, chromium, new_tab

ROUNDS = 5
ACTIVITIES = 2000
RECORDS = 10_000

STEPS = """
def steps(step):
    def workflow(count):
        last = 0
        for n in range(count):
            last = int(step(last)) + 1
        return last

    return workflow
"""


def figures() -> list[Figure]:
    """The figures of the report."""
    page = _page()
    opened_s = asyncio.run(_opened_s(page)) if CHROMIUM is not None else None
    found: list[tuple[str, float, str, str]] = [
        ("local-activities-per-s", _activities_per_s(), "/s", ">= 2,000 /s"),
        ("replay-10000-records-s", _middle_s(_replayed), "s", "<= 1 s"),
        ("cli-replay-5000-steps-s", _told_s(), "s", ""),
        ("report-1000-mb", len(page.encode()) / 1e6, "MB", "<= 2 MB"),
        *([] if opened_s is None else [("report-1000-interactive-s", opened_s, "s", "<= 1 s")]),
    ]
    return [figure(*row) for row in found]


def _middle_s(action: Callable[[], object], rounds: int = ROUNDS) -> float:
    return statistics.median(_seconds(action) for _ in range(rounds))


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _activities_per_s() -> float:
    """Activities that do nothing, all at once, each with its own result taken up."""

    def many(step: Any) -> Callable[[int], Any]:
        return lambda count: [step(n) for n in range(count)]

    workflow = LocalWorkflow(many, activities={"step": _same}, executor="threads", workers=8)
    return ACTIVITIES / _middle_s(lambda: workflow.run(ACTIVITIES))


def _same(x: int) -> int:
    return x


def _replayed() -> None:
    answer = replay(_REQUEST)
    assert answer.outcome is Outcome.COMPLETED, answer


_REQUEST = Request(
    source=STEPS,
    entrypoint="steps",
    tasks=("step",),
    input=f'{{"args": [{RECORDS}], "kwargs": {{}}}}',
    records=[
        Record(
            key=f"step-{n}",
            state=RecordState.COMPLETED,
            digest=values.digest([n], {}),
            line=6,
            value=str(n),
            rank=n,
            finished_at=1.7e9 + n,
        )
        for n in range(RECORDS)
    ],
    seed="bench/0",
    started_at=1.7e9,
)


def _told_s() -> float:
    """`flowy replay` of so many steps with a barrier after each, two events a step: decision by decision."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "steps.json"
        file.write_text(json.dumps(_workflow(RECORDS // 2)))
        return statistics.median(command_line.seconds(["replay", str(file)]) for _ in range(ROUNDS))


def _workflow(count: int) -> dict[str, Any]:
    facts: list[Fact] = []
    for n in range(count):
        facts.append(TaskScheduled(task=f"step-{n}", digest=values.digest([n], {}), line=6))
        facts.append(TaskCompleted(task=f"step-{n}", result=str(n)))
    history = [event_json(Event(n, START + timedelta(seconds=n), fact)) for n, fact in enumerate(facts, 1)]
    return {
        "apiVersion": "flowy.dev/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "steps", "namespace": "bench", "uid": "u"},
        "spec": {
            "code": {"source": STEPS},
            "input": {"args": [count]},
            "tasks": [{"name": "step", "activity": {"image": "none"}}],
        },
        "status": {
            "startTime": "2026-01-01T00:00:00Z",
            "history": history,
            "result": str(count),
            "conditions": [{"type": "Succeeded", "status": "True", "reason": "Completed", "message": ""}],
        },
    }


def _page() -> str:
    """The report of 1,000 tasks of which no two look alike."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "web.json"
        file.write_text(json.dumps(run_virtual(command_line.web())))
        return report(execution_of(run_of_file(str(file)), now=START, replay=replay))


async def _opened_s(page: str) -> float:
    """From the command to open it until it has been drawn and has answered a search: in a browser that runs already."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.html"
        file.write_text(page, encoding="utf-8")
        times: list[float] = []
        with chromium() as port:
            for _ in range(ROUNDS):
                async with new_tab(port) as tab:
                    began = time.perf_counter()
                    await tab.open(file)
                    await tab.press("/", *"step-777")
                    await tab.drawn()
                    assert await tab.run("document.querySelectorAll('.task:not([hidden])').length") == 1
                    times.append(time.perf_counter() - began)
    return statistics.median(times)


if __name__ == "__main__":
    for measured in figures():
        print(f"{measured.name}: {measured.value:.3f} {measured.unit}")
