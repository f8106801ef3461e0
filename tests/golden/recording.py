"""A run -> its export; an export -> what is decided over it, and what is told of it."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner

from flowy.replay.replayer import replay
from flowy.wire.messages import encode_answer
from flowy_cli.documents import run_of_file
from flowy_cli.main import flowy
from flowy_cli.replaying.flow import ARGUMENTS_BYTES, calls_of_all
from flowy_cli.run import Run as ReadRun
from flowy_cli.specs import spec_of
from flowy_operator.core.request import decision_request
from tests.app.world import World, world
from tests.fakes.store import Json
from tests.golden.runs import Run

HISTORIES = Path(__file__).parent / "histories"

_KINDS = {
    "workflows": "Workflow",
    "historypages": "HistoryPage",
    "configmaps": "ConfigMap",
    "workflowdefinitions": "WorkflowDefinition",
}


def names() -> list[str]:
    """Those that are recorded."""
    return sorted(path.stem for path in HISTORIES.iterdir() if path.suffix in {".json", ".yaml"})


def export_of(name: str) -> Path:
    return next(path for path in HISTORIES.glob(f"{name}.*") if path.suffix in {".json", ".yaml"})


def beside(name: str, suffix: str) -> Path:
    return HISTORIES / f"{name}.{suffix}"


async def recorded(run: Run) -> Json:
    """Play a run. Returns a List of all that belongs to it."""
    async with world(run.activity, settings=run.settings) as made:
        spec = dict(run.spec)
        made.submit(run.source, *run.tasks, entrypoint=spec.pop("entrypoint", None), **spec)
        if run.then is not None:
            await made.settle(1)
            await run.then(made)
        if run.lasts_s is None:
            await made.ended()
        else:
            await asyncio.sleep(run.lasts_s)
        await made.settle(0.5)
        return {"apiVersion": "v1", "kind": "List", "items": list(_objects(made))}


def _objects(made: World) -> Iterator[Json]:
    for plural, kind in _KINDS.items():
        for item in made.objects(plural):
            yield {"apiVersion": made.store.kind(plural).api_version, **item, "kind": kind}


def _runs(run: ReadRun) -> Iterator[ReadRun]:
    yield run
    for child in run.children.values():
        yield from _runs(child)


def decision(name: str) -> str:
    """What the code answers over all that is recorded of it and of its children, with the arguments of every call, as JSON."""
    told = []
    for run in _runs(run_of_file(str(export_of(name)))):
        spec = spec_of(run)
        request = replace(decision_request(spec, run.state, (), run.values), max_bytes=ARGUMENTS_BYTES)
        answer = replay(request)
        calls = calls_of_all(request, answer, replay)
        told.append(
            {
                "workflow": run.name,
                "run": run.state.run,
                "historyDigest": run.state.chain.digest,
                "answer": _picked(json.loads(encode_answer(replace(answer, repeated=())))),
                "calls": {key: {"digest": call.digest, "arguments": call.arguments} for key, call in calls.items()},
            }
        )
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


_COUNTS = ("outcome", "scheduled", "waitingOn", "result", "restart", "error", "ignoredErrors")


def _picked(answer: Json) -> Json:
    """What a workflow's way depends on. An answer may get further fields, and an error's traceback is Python's to word."""
    told = {name: answer[name] for name in _COUNTS if answer.get(name) not in (None, [])}
    if "error" in told:
        told["error"] = {name: value for name, value in told["error"].items() if name != "traceback"}
    return told


def story(name: str) -> str:
    """What `flowy replay` tells of it."""
    done = CliRunner().invoke(flowy, ["replay", str(export_of(name)), "--unlocked", *_named(name)], prog_name="flowy")
    return f"exit code {done.exit_code}\n{done.output}"


def _named(name: str) -> list[str]:
    run = run_of_file(str(export_of(name)))
    return ["--name", run.name]
