"""How long `flowy` takes: its help, which is what each completion of a shell waits for, and a picture of 1,000 tasks."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.app.kubelet import value
from tests.app.world import world
from tests.bench.figures import Figure, figure
from tests.fakes.clock import run_virtual

RUNS = 21
PICTURES = 5
TASKS = 1000

WEB = """
def web(step):
    def workflow(count):
        done = [step(0)]
        for n in range(1, count):
            done.append(step(done[n // 2], done[(n * 7919 + 13) % 104729 % n]))
        return done[-1]

    return workflow
"""
"""No two calls look the same in it, so that nothing is stacked."""


def figures() -> list[Figure]:
    """The figures, beside an interpreter that does nothing."""
    return [*_help(), *_picture()]


def _help() -> list[Figure]:
    command = str(Path(sys.executable).with_name("flowy"))
    return [
        figure(
            "cli-help-ms",
            _middle_ms([command, "--help"]),
            "ms",
            "<= 150 ms",
            _middle_ms([sys.executable, "-c", "pass"]),
        )
    ]


def _picture() -> list[Figure]:
    """The whole command, from a file: read, replay behind the locks, lay out, draw."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "web.json"
        file.write_text(json.dumps(run_virtual(web())))
        middle = statistics.median(seconds(["graph", str(file), "-o", "svg"]) for _ in range(PICTURES))
    return [figure("graph-1000-s", middle, "s", "<= 1 s")]


async def web() -> object:
    """A run of so many tasks, as `flowy export` writes it."""
    async with world(lambda call: value(len(call.args))) as w:
        w.submit(WEB, "step", name="web", input={"args": [TASKS]}, parallelism=TASKS)
        await w.ended("web")
        kinds = (("Workflow", "workflows"), ("HistoryPage", "historypages"))
        found = [
            {"apiVersion": "flowy.dev/v1alpha1", **item, "kind": kind}
            for kind, plural in kinds
            for item in w.objects(plural)
        ]
    return {"apiVersion": "v1", "kind": "List", "items": found}


def seconds(arguments: Sequence[str]) -> float:
    """How long `flowy` takes with these arguments."""
    return _ms([str(Path(sys.executable).with_name("flowy")), *arguments]) / 1000


def _middle_ms(command: list[str], runs: int = RUNS) -> float:
    return statistics.median(_ms(command) for _ in range(runs))


def _ms(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - began) * 1000
