"""A run that was captured, replayed by the code of today: whether it would go on where the run is.

It replays as `flowy replay` does, but in this process: the code is the tester's own.
"""

import inspect
import sys
from collections.abc import Callable
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from types import FunctionType
from typing import Any

from flowy.replay.determinism import deterministic
from flowy.replay.ending import run_to_end
from flowy.replay.loading import Factory, file_of, tasks_of
from flowy.replay.replayer import call_workflow, run_of
from flowy.replay.source import UserSource
from flowy.replay.verdict import verdict
from flowy.wire import values
from flowy.wire.messages import Answer, Request
from flowy_cli.documents import run_of_file
from flowy_cli.errors import CliError
from flowy_cli.replaying.decider import Decide
from flowy_cli.replaying.here import decide_here
from flowy_cli.replaying.replacing import MANIFESTS, spec_of_manifest, with_code
from flowy_cli.replaying.story import story
from flowy_cli.replaying.telling import told
from flowy_cli.run import Run
from flowy_cli.specs import spec_of
from flowy_cli.texts import read_text
from flowy_operator.core.spec import WorkflowSpec

Code = str | PathLike[str] | Callable[..., Any]
"""A `.py` file, a manifest, or a factory."""


def assert_replays(
    history: str | PathLike[str],
    code: Code | None = None,
    *,
    entrypoint: str | None = None,
    name: str | None = None,
) -> int:
    """Replay a captured run, and those before it that were kept, and give the number of decisions.

    `history` is a file that `flowy export`, `flowy get -o yaml` or `kubectl get workflow -o yaml` wrote, `name` the Workflow
    in it if it holds several. Without `code` the run's own is replayed, which tells whether this version of Flowy still goes on
    with it. Raises AssertionError with the decision, the line, what was expected and what came; CliError for a file that
    can't be read or is incomplete.
    """
    __tracebackhide__ = True  # pytest then shows the test's line, not ours
    try:
        run = run_of_file(fspath(history), name)
        recorded = spec_of(run)
        if code is None or isinstance(code, str | PathLike):
            spec = with_code(recorded, None if code is None else fspath(code), entrypoint)
            decide: Decide = _decide_source
        else:
            spec, decide = _of_factory(recorded, code)
        return _replay(run, spec, decide, recorded)
    except CliError as error:
        if error.advice:
            error.add_note(error.advice)
        raise


def _replay(run: Run, spec: WorkflowSpec, decide: Decide, recorded: WorkflowSpec) -> int:
    __tracebackhide__ = True
    decisions = 0
    runs = dict(run.runs()) or {1: ()}
    for number, events in runs.items():
        for step in story(run, events, spec, decide, recorded=recorded):
            decisions += 1
            if step.divergence is not None:
                which = f"run {number} of {run.name}" if len(runs) > 1 else run.name
                raise AssertionError(f"{which} can't be continued by this code\n{told(step, spec.source)}")
    return decisions


def _decide_source(request: Request) -> Answer:
    return decide_here(request, run_of(request))


def _of_factory(recorded: WorkflowSpec, factory: Factory) -> tuple[WorkflowSpec, Decide]:
    """The spec with the text of the factory's file, for the lines in messages, and decisions by the factory itself."""
    file = Path(file_of(factory))
    text = file.read_text(encoding="utf-8") if file.is_file() else inspect.getsource(factory)
    module = sys.modules.get(factory.__module__)
    others = [member for member in vars(module).values() if isinstance(member, FunctionType | type)] if module else []

    def decide(request: Request) -> Answer:
        if request.source != text:  # what the history was made with is asked, too, for what it called
            return _decide_source(request)
        run = run_of(request)
        run.source = UserSource(str(file))
        given: Any = values.decode(request.input)

        def body() -> object:
            tasks = tasks_of(factory, request.tasks, others)
            return call_workflow(run, factory, tasks, given["args"], given["kwargs"])

        with deterministic(run.clock, request.seed):
            run_to_end(run, body)
        return verdict(run).answer

    return replace(recorded, source=text), decide


def code_of(file: str | PathLike[str], entrypoint: str | None = None) -> tuple[str, str | None]:
    """The code of a Python file or of a manifest, as `decide` and `Rehearsal` take it. Raises CliError."""
    text = read_text(fspath(file))
    if not fspath(file).endswith(MANIFESTS):
        return text, entrypoint
    spec = spec_of_manifest(text, fspath(file))
    return spec.source, entrypoint or spec.entrypoint
