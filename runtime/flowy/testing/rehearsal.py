"""`Rehearsal`: a whole run in virtual time, with tasks that do what the test says, failures and timeouts included."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from flowy.errors import ErrorObject
from flowy.local.engine import Engine
from flowy.local.execution import Execution
from flowy.local.functions import failure
from flowy.local.launch import Executor, Launch, Outcome
from flowy.local.plan import DEFAULT_PARALLELISM, Plan
from flowy.local.trace import trace_of
from flowy.local.virtual import VirtualTime
from flowy.local.workflow import LocalWorkflow
from flowy.policy.timeout import TimeoutSpec
from flowy.replay.loading import Factory, FreshModule, LoadFailed
from flowy.replay.replayer import load
from flowy.replay.run import Run
from flowy.testing import behaviour
from flowy.testing.behaviour import Behaviour
from flowy.testing.deciding import Workflow
from flowy.testing.ordered import Choose, Given, Ordered
from flowy.wire import values


@dataclass(frozen=True, slots=True, kw_only=True)
class CallMade:
    """A call that was recorded. `key` of a sub-workflow's call is like `page-0/render-1`. Times are seconds since the start.

    `outcome` is completed, failed, timedOut, cancelled or unfinished; `finished_s` is None for the last.
    """

    key: str
    task: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    line: int | None
    outcome: str
    attempts: int
    scheduled_s: float
    finished_s: float | None

    def __str__(self) -> str:
        """The call as it would stand in code, its arguments as JSON."""
        parts = [values.encode_plain(arg) for arg in self.args]
        parts += [f"{name}={values.encode_plain(value)}" for name, value in self.kwargs.items()]
        return f"{self.task}({', '.join(parts)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """How a rehearsal went. `outcome` is completed, failed or cancelled; either `result` or `error` says the rest.

    `calls` are those that were recorded, each workflow's before its sub-workflows'. `order` has the keys of the attempts that
    ended, if an order was asked for. `trace` is that of `LocalWorkflow`, for pictures.
    """

    outcome: str
    seconds: float
    calls: Sequence[CallMade]
    result: Any = None
    error: ErrorObject | None = None
    ignored_errors: Sequence[ErrorObject] = ()
    log: Sequence[str] = ()
    order: Sequence[str] = ()
    trace: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ending(self) -> Mapping[str, Any]:
        """The result, or the error, by its name."""
        return {"error": self.error} if self.error is not None else {"result": self.result}

    def calls_of(self, task: str) -> list[CallMade]:
        """The calls of one task, in all workflows of the run."""
        return [call for call in self.calls if call.task == task]


class Rehearsal:
    """A workflow, and what each of its tasks does.

    `workflow` is a factory, or `(source, entrypoint)`. `tasks` says by name what a task does: a value that it gives, a
    function, an act such as `Fails()`, or another Rehearsal, which makes it a sub-workflow. `settings` gives
    `{"timeouts": ..., "retry": ...}` by task, with the fields of the custom resource; `parallelism`, `on_end` and `timeouts` are those of
    the whole. `stop_after` is the second at which somebody stops the run, as `spec.stop: Cancel` does. With `order`, keys of
    calls, attempts end in this order whatever time they take; no timer runs then, and no attempt waits.

    Raises ValueError for settings that don't fit together, TypeError for an act within a value.
    """

    def __init__(
        self,
        workflow: Workflow,
        *,
        tasks: "Mapping[str, Behaviour | Rehearsal]",
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        parallelism: int = DEFAULT_PARALLELISM,
        on_end: Literal["Cancel", "Wait", "Abandon"] = "Cancel",
        timeouts: Mapping[str, int] | None = None,
        stop_after: float | None = None,
        order: Sequence[str] | None = None,
    ) -> None:
        if order is not None and stop_after is not None:
            raise ValueError("stop_after is a time, and with an order there is none: give one of the two")
        self.stop_after = stop_after
        self.order = order
        children = {name: does for name, does in tasks.items() if isinstance(does, Rehearsal)}
        for name, does in tasks.items():
            behaviour.check(does, f"tasks[{name!r}]")
        for name, child in children.items():
            if child.order is not None or child.stop_after is not None:
                raise ValueError(
                    f"tasks[{name!r}] has an order or stop_after of its own: give it to the rehearsal of the whole"
                )
        # Behaviours stand where functions do: `_behave` alone does the work of these launches.
        activities: dict[str, Any] = {name: does for name, does in tasks.items() if name not in children}
        self.local: LocalWorkflow = LocalWorkflow(
            _factory(workflow),
            activities=activities,
            workflows={name: child.local for name, child in children.items()},
            tasks=settings,
            parallelism=parallelism,
            on_end=on_end,
            timeouts=timeouts,
            clock="virtual",
        )

    def run(self, *args: Any, **kwargs: Any) -> Rehearsed:
        """Run it with this input. A failure of the workflow is told, not raised.

        Raises ValueRefused if the input is no JSON, RuntimeError if the run would never end, ValueError if the `order` isn't
        possible.
        """
        if self.order is not None:
            given = Given(self.order)
            done = in_order(self, given, args, kwargs)
            given.check_used()
            return done
        stop_after_s = math.inf if self.stop_after is None else self.stop_after
        time = VirtualTime(DEFAULT_PARALLELISM, _behave, stop_after_s)
        return _run(self.local.plan(), time, args, kwargs)


def in_order(rehearsal: Rehearsal, choose: Choose, args: Sequence[object], kwargs: Mapping[str, object]) -> Rehearsed:
    """Run it without time: attempts end as `choose` says."""
    executor = Ordered(choose, lambda launch: _behave(launch)[1])
    done = _run(_timeless(rehearsal.local.plan()), executor, args, kwargs)
    return replace(done, order=executor.order)


def _run(plan: Plan, executor: Executor, args: Sequence[object], kwargs: Mapping[str, object]) -> Rehearsed:
    given_args, given_kwargs = values.plain_call(args, kwargs)
    arguments = values.encode_plain({"args": given_args, "kwargs": given_kwargs})
    finished = Engine(executor).run(plan, arguments, "rehearsal")
    end, trace = finished.end, trace_of(finished.root)
    return Rehearsed(
        outcome=end.outcome,
        seconds=trace["seconds"],
        calls=_calls(finished.root, trace, finished.root.begun_at, ""),
        result=None if end.result is None else values.decode(end.result),
        error=end.error,
        ignored_errors=end.ignored_errors,
        log=finished.root.log,
        trace=trace,
    )


def _behave(launch: Launch) -> tuple[float, Outcome]:
    try:
        return behaviour.perform(launch.work.function, launch)
    except Exception as raised:  # noqa: BLE001 - what listing a result may raise
        return 0.0, failure(raised)


def _timeless(plan: Plan) -> Plan:
    """The plan without timers and pauses: what is left is who ends before whom."""
    tasks = {
        name: replace(
            task,
            timeouts=TimeoutSpec(),
            retry=replace(task.retry, delays_s=(0,), backoff=None),
            workflow=None if task.workflow is None else functools.partial(_timeless_of, task.workflow),
        )
        for name, task in plan.tasks.items()
    }
    return replace(plan, tasks=tasks, workflow_timeout_s=None)


def _timeless_of(workflow: Callable[[], Plan]) -> Plan:
    return _timeless(workflow())


def _factory(workflow: Workflow) -> Factory:
    if not isinstance(workflow, tuple):
        return workflow
    with FreshModule(None) as module:
        try:
            return load(Run(()), module, *workflow)
        except LoadFailed as failed:
            raise ValueError(f"the code can't be used: {failed.message}") from None


def _calls(execution: Execution, trace: Mapping[str, Any], begun_at: datetime, above: str) -> list[CallMade]:
    made: list[CallMade] = []
    below: list[CallMade] = []
    for past, run in zip(execution.past, trace["runs"], strict=True):
        nodes = {node["key"]: node for node in run["nodes"]}
        for call in past.calls:
            node = nodes[call.key]
            given: Any = values.decode(call.answered.arguments)
            made.append(
                CallMade(
                    key=f"{above}{call.key}",
                    task=call.answered.task,
                    args=tuple(given["args"]),
                    kwargs=given["kwargs"],
                    line=call.answered.line,
                    outcome=node["outcome"],
                    attempts=len(node["attempts"]),
                    scheduled_s=(call.first_scheduled_at - begun_at).total_seconds(),
                    finished_s=_seconds(node.get("finished"), begun_at),
                )
            )
            children = [child for child in execution.children if child.parent is call]
            for child, told in zip(children, node.get("children", ()), strict=True):
                below += _calls(child, told, begun_at, f"{above}{call.key}/")
    return made + below


def _seconds(text: str | None, begun_at: datetime) -> float | None:
    return None if text is None else (datetime.fromisoformat(text) - begun_at).total_seconds()
