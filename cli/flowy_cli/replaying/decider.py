"""Where the code of a run is replayed: behind the operator's locks, or with the user's own rights if he says so.

The code comes from the cluster, as a rule: whoever may create a Workflow wrote it. On a laptop it could read whatever its
owner can. So it runs where the operator runs it, in a process that the kernel has locked, and nowhere else unasked.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flowy.replay.determinism import deterministic
from flowy.replay.loading import factories, fresh_module, tasks_of
from flowy.replay.replayer import call_workflow, load
from flowy.replay.run import Run
from flowy.replay.trace import Tracer
from flowy.replay.verdict import verdict
from flowy.wire import values
from flowy.wire.messages import Answer, Request
from flowy_cli.errors import CliError
from flowy_operator.core.errors import DecisionStalled

Decide = Callable[[Request], Answer]
"""One decision. Raises CliError where the code gives no answer: too slow, too large, forbidden."""

_UNLOCKED = "with --unlocked the code runs with your own rights: read it first"


@contextmanager
def locked(namespace: str, wall_s: float) -> Iterator[Decide]:
    """Decide as the operator does, until the block ends. Raises CliError where the kernel can't lock a process."""
    if sys.platform != "linux":
        raise CliError(f"workflow code is locked in by Linux, and this is {sys.platform}", _UNLOCKED)
    from flowy_operator.adapters.decider.pool import DeciderPool  # noqa: PLC0415 - on other systems it can't be loaded

    with asyncio.Runner() as runner:
        pool = DeciderPool()
        try:
            runner.run(pool.start())
        except DecisionStalled as stalled:
            raise CliError(f"workflow code can't be locked in here: {stalled}", _UNLOCKED) from stalled

        def decide(request: Request) -> Answer:
            try:
                return runner.run(pool.decide(request, namespace=namespace, wall_s=wall_s))
            except DecisionStalled as stalled:
                raise CliError(f"{stalled.reason}: {stalled}") from stalled

        try:
            yield decide
        finally:
            runner.run(pool.close())


@contextmanager
def unlocked() -> Iterator[Decide]:
    """Decide in this process, with its rights. Clock, randomness and `print` are those of the decider all the same."""
    yield lambda request: decide_here(request, run_of(request))


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
            run.decide(body)
    return verdict(run).answer
