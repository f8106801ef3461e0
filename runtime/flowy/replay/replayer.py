"""From a request to an answer: load the source, run it from the top over the history, once.

Pure but for what the code itself does: the same code over the same history gives the same decision. Retries, timers,
Jobs and parallelism are applied around it, by the operator and by the local engine.
"""

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NoReturn

from flowy.replay.determinism import begin
from flowy.replay.ending import run_to_end
from flowy.replay.loading import FILENAME, Factory, FreshModule, compiled, factories, find_entrypoint, tasks_of
from flowy.replay.run import Run
from flowy.replay.source import UserSource
from flowy.replay.steps import Steps, go_on, may_stay
from flowy.replay.task import Task
from flowy.replay.trace import Tracer
from flowy.replay.verdict import verdict
from flowy.wire import values
from flowy.wire.messages import Answer, Phase, Request


def replay(request: Request, leave: Callable[[Answer], NoReturn] | None = None, steps: Steps | None = None) -> Answer:
    """Decide once.

    With `leave`, for a process of its own on which determinism is imposed, clock, randomness and `print` are those of this
    decision, and the answer goes to `leave` at the barrier itself: nothing unwinds. Without it the barrier raises, and
    whatever the code does with that has no effect. With `steps` besides, the process goes on at a barrier where it can, and
    leaves where it can't. KeyboardInterrupt and MemoryError leave it: they tell of the process,
    not of the code.
    """

    def left(run: Run) -> None:
        assert leave is not None
        answer = verdict(run).answer
        if steps is None or not may_stay(run):
            leave(answer)
        try:
            goes_on = go_on(run, steps.next(answer))
        except BaseException:  # noqa: BLE001 - half of it may be taken in, and the code must not go on over that
            goes_on = False
        if not goes_on:
            steps.give_up()

    run = run_of(request, leave=None if leave is None else left)
    with FreshModule() as module:
        body = body_of(run, request, module)
        if leave is not None:
            begin(run.clock, run.log, request.seed)
        run_to_end(run, body)
    return verdict(run).answer


def run_of(request: Request, kind: type[Run] = Run, leave: Callable[[Run], None] | None = None) -> Run:
    """The state of a replay at its start, of this kind; `leave` as `Run` has it."""
    return kind(
        request.records,
        started_at=request.started_at,
        wanted=request.wanted,
        max_calls=request.max_calls,
        max_bytes=request.max_bytes,
        tracer=Tracer() if request.traced else None,
        leave=leave,
    )


def body_of(run: Run, request: Request, module: ModuleType) -> Callable[[], object]:
    """The whole of the code, for `run_to_end`: the source is loaded into `module` and given its tasks and its input."""
    given: Any = values.decode(request.input)

    def body() -> object:
        factory = load(run, module, request.source, request.entrypoint)
        tasks = tasks_of(factory, request.tasks, factories(module).values())
        return call_workflow(run, factory, tasks, given["args"], given["kwargs"])

    return body


def load(run: Run, module: ModuleType, source: str, entrypoint: str | None) -> Factory:
    """Execute the source in `module` and find its factory. What it raises fails the workflow in the phase `LOAD`."""
    run.source = UserSource(FILENAME, source)
    run.phase = Phase.LOAD
    exec(compiled(source), vars(module))  # noqa: S102 - this is what the process is for
    factory = find_entrypoint(module, entrypoint)
    run.phase = Phase.RUN
    return factory


def call_workflow(
    run: Run, factory: Factory, tasks: Sequence[str], args: Sequence[object], kwargs: Mapping[str, object]
) -> object:
    """Give the factory these tasks, which are those of `tasks_of`, and the workflow its input.

    Raises TypeError if the factory gives no workflow, which a forgotten `return` does.
    """
    workflow: object = factory(**{name: Task(run, name) for name in tasks})
    if not callable(workflow):
        returned = "None" if workflow is None else f"a value of the type {type(workflow).__name__}"
        raise TypeError(
            f"the factory returned {returned}, not the workflow: let it return a function that takes the input and calls"
            " the tasks"
        )
    return workflow(*args, **kwargs)
