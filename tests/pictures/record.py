"""Records the runs that pictures are tested with: examples, in the simulated cluster, with a script for their containers.

    .venv/bin/python -m tests.pictures.record

A recording is what `flowy export` writes. Those that are there are never edited: pictures of old histories must stay what
they were.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.app.kubelet import NEVER_ENDS, Act, Call, failure, value
from tests.app.world import NAMESPACE, World, world
from tests.fakes.clock import run_virtual
from tests.fakes.store import WORKFLOWS, Json

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "histories"

Script = Callable[[Call], Act]


def video(call: Call) -> Act:
    which = call.args[1] if len(call.args) > 1 else None
    match call.name, which:
        case "shoot", _:
            return value("tour.mkv", lasts_s=6.2)
        case "fetch_subtitle", _:
            return value("tour.srt", lasts_s=0.8)
        case "embed", _:
            return value("master.mkv", lasts_s=4.4)
        case "encode", "mp4":
            return value("tour.mp4", lasts_s=3.1)
        case "encode", _ if call.attempt == 1:
            return failure("moov atom not found", lasts_s=1.7, exit_code=187)
        case "encode", _:
            return value("tour.webm", lasts_s=5.6)
        case "find_chapters", _:
            return value([0.0, 2.5, 5.0, 7.5], lasts_s=2.2)
        case "thumbnail", float() as second:
            return value(f"{second}.png", lasts_s=0.9 + second / 10)
        case "analyse_subtitle", _:
            return value({"coast": 3, "city": 2}, lasts_s=1.1)
        case _:
            return value(["boat trips", "museums"], lasts_s=0.7)


def nested(call: Call) -> Act:
    match call.name, *call.args:
        case "sections", _:
            return value(["top", "text"], lasts_s=1.3)
        case "render", "about", "text":
            return failure('the template has no block "text"', lasts_s=0.8)
        case "render", *words:
            return value("/".join(words), lasts_s=1.4)
        case _:
            return value("published", lasts_s=0.6)


def saga(call: Call) -> Act:
    if call.name == "cancel":
        return failure("no answer", lasts_s=0.4) if call.attempt == 1 else value(None, lasts_s=0.5)
    if call.args[0] == "boat":
        return failure('{"error": {"type": "SoldOut", "message": "no boat on that day"}}', lasts_s=1.9)
    return value(f"{call.args[0]}-4711", lasts_s=3.0)


def quorum(call: Call) -> Act:
    return NEVER_ENDS if call.args[0] == "mars" else value(f"{call.args[0]} says yes", lasts_s=1.2)


def map_reduce(call: Call) -> Act:
    match call.name:
        case "split":
            return value(["the quick brown fox", "jumps over", "the lazy dog", "and runs"], lasts_s=1.1)
        case "count":
            return value(len(call.args[0].split()), lasts_s=len(call.args[0]) / 10)
    return value(sum(call.args), lasts_s=0.9)


RUNS: Mapping[str, tuple[str, Script, float | None, Mapping[str, Any]]] = {
    "video": ("video/workflow.yaml", video, None, {}),
    "video-open": ("video/workflow.yaml", video, 10.0, {}),
    "nested": ("patterns/nested.yaml", nested, None, {}),
    "saga": ("saga/workflow.yaml", saga, None, {"input": {"args": [["flight", "hotel", "boat"]]}}),
    "quorum": ("patterns/quorum.yaml", quorum, None, {}),
    "map-reduce": ("patterns/map-reduce.yaml", map_reduce, None, {}),
}
"""By name: the example, its script, when it is recorded (None: at its end), what is changed in its spec."""


async def recorded(name: str) -> Json:
    """One run, as a List of all that belongs to it."""
    path, script, at, changes = RUNS[name]
    body = yaml.safe_load((ROOT / "examples" / path).read_text())
    workflow = body["metadata"]["name"]
    async with world(script) as w:
        w.store.create(WORKFLOWS, NAMESPACE, {**body, "spec": body["spec"] | changes})
        if at is None:
            await w.ended(workflow)
            await w.settle(0.5)
        else:
            await asyncio.sleep(at)
        return {"apiVersion": "v1", "kind": "List", "items": list(_objects(w))}


def _objects(w: World) -> Sequence[Json]:
    kinds = (("Workflow", "workflows"), ("HistoryPage", "historypages"))
    return [
        {"apiVersion": "flowy.dev/v1alpha1", **item, "kind": kind}
        for kind, plural in kinds
        for item in w.objects(plural)
    ]


if __name__ == "__main__":
    for each in RUNS:
        target = FOLDER / f"{each}.json"
        if not target.exists():
            target.write_text(json.dumps(run_virtual(recorded(each)), indent=1, ensure_ascii=False) + "\n")
            print(target)  # noqa: T201 - a tool for the terminal
