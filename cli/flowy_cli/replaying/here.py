"""A decision in this process, with its rights: for the debugger, for tests of captured histories, and for who says so."""

from typing import Any

from flowy.replay.determinism import deterministic
from flowy.replay.ending import run_to_end
from flowy.replay.loading import factories, fresh_module, tasks_of
from flowy.replay.replayer import call_workflow, load
from flowy.replay.run import Run
from flowy.replay.trace import Tracer
from flowy.replay.verdict import verdict
from flowy.wire import values
from flowy.wire.messages import Answer, Request


def run_of(request: Request, kind: type[Run] = Run, **further: Any) -> Run:
    """The state of a replay, to be decided by `decide_here`."""
    return kind(
        request.records,
        started_at=request.started_at,
        wanted=request.wanted,
        max_calls=request.max_calls,
        max_bytes=request.max_bytes,
        tracer=Tracer() if request.traced else None,
        **further,
    )


def decide_here(request: Request, run: Run) -> Answer:
    """One decision in this process."""
    given: Any = values.decode(request.input)
    with fresh_module(run.log.print) as module:

        def body() -> object:
            factory = load(run, module, request.source, request.entrypoint)
            tasks = tasks_of(factory, request.tasks, factories(module).values())
            return call_workflow(run, factory, tasks, given["args"], given["kwargs"])

        with deterministic(run.clock, request.seed):
            run_to_end(run, body)
    return verdict(run).answer
