"""`LocalWorkflow`: a factory, the functions that are its tasks, and how to run it on this machine."""

import uuid
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

from flowy.errors import ErrorObject, TaskError, exception_of
from flowy.local.around import Watcher
from flowy.local.code import FactoryCode
from flowy.local.engine import Engine, Finished
from flowy.local.execution import Execution
from flowy.local.functions import Function, Work, perform
from flowy.local.launch import Executor
from flowy.local.plan import DEFAULT_PARALLELISM, OnEnd, Plan, TaskPlan
from flowy.local.processes import Processes
from flowy.local.settings import task_settings, workflow_seconds
from flowy.local.trace import trace_of
from flowy.local.virtual import VirtualTime
from flowy.local.workers import Workers
from flowy.replay.loading import Factory, LoadFailed, tasks_of
from flowy.wire import values
from flowy.wire.keys import check_names

Duration = float | Callable[..., float]


class WorkflowWarning(UserWarning):
    """A task failed and nobody looked at it, or the code did something that has no effect."""


class LocalWorkflow:
    """A workflow whose activities are Python functions of this machine.

    `activities` and `workflows` together are the tasks, by name: exactly the parameters of `factory`. A sub-workflow's tasks
    are done by the workers of the outermost one; settings of time and workers count there only.

    `executor` says who calls the functions: `workers` threads, or as many processes, for which functions must stand in a
    module. `tasks` gives `{"timeouts": ..., "retry": ...}` by task, with the fields of the custom resource, and so do
    `parallelism`, `on_end` and `timeouts` (`workflowSeconds`, `cancelSeconds`) for the whole. With `clock="virtual"` activities
    take no time but that in `durations`: seconds by task, or a function of the task's arguments.

    Raises ValueError for settings that don't fit together.
    """

    def __init__(
        self,
        factory: Factory,
        *,
        activities: Mapping[str, Function] | None = None,
        workflows: "Mapping[str, LocalWorkflow] | None" = None,
        executor: Literal["threads", "processes"] = "threads",
        workers: int = 8,
        tasks: Mapping[str, Mapping[str, Any]] | None = None,
        parallelism: int = DEFAULT_PARALLELISM,
        on_end: Literal["Cancel", "Wait", "Abandon"] = "Cancel",
        timeouts: Mapping[str, int] | None = None,
        clock: Literal["real", "virtual"] = "real",
        durations: Mapping[str, Duration] | None = None,
    ) -> None:
        if executor not in {"threads", "processes"}:
            raise ValueError(f"executor is {executor!r}: threads or processes")
        if clock not in {"real", "virtual"}:
            raise ValueError(f"clock is {clock!r}: real or virtual")
        if durations and clock != "virtual":
            raise ValueError('durations are of virtual time: set clock="virtual"')
        for name, number in (("workers", workers), ("parallelism", parallelism)):
            if number < 1:
                raise ValueError(f"{name} is {number}: at least 1")
        self._executor_name = executor
        self._workers = workers
        self._clock = clock
        self._running: list[Executor] = []
        self._plan = _plan(
            factory,
            activities or {},
            workflows or {},
            settings=tasks or {},
            durations=durations or {},
            parallelism=parallelism,
            on_end=OnEnd(on_end),
            **workflow_seconds(timeouts or {}),
        )
        self.trace: dict[str, Any] | None = None
        """What the last run was, once it is over; see docs/local.md."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run it with this input, and give its result. May be called again, also while it runs.

        Raises TaskError, with all that the error says, if it fails, and ValueRefused if the input is no JSON. Errors of tasks
        that nobody looked at are told as `WorkflowWarning`. KeyboardInterrupt stops what runs and leaves.
        """
        given_args, given_kwargs = values.plain_call(args, kwargs)
        finished = self._finish(values.encode_plain({"args": given_args, "kwargs": given_kwargs}), None)
        self.trace = trace_of(finished.root)
        for text in _warnings(finished.root):
            warnings.warn(text, WorkflowWarning, stacklevel=2)
        if finished.end.result is None:
            raise _exception(finished)
        return values.decode(finished.end.result)

    def stop(self) -> None:
        """Stop all runs, from another thread, an activity or a signal handler.

        Each task that is not finished is cancelled; the code sees that where it waits and may clean up, for `cancelSeconds`. The
        second time the runs end at once.
        """
        for executor in list(self._running):
            executor.ask_to_stop()

    def plan(self) -> Plan:
        """What the engine is given to run."""
        return self._plan

    def _finish(self, arguments: str, watcher: Watcher | None) -> Finished:
        executor = self._executor()
        self._running.append(executor)
        try:
            uid = "virtual" if self._clock == "virtual" else uuid.uuid4().hex
            return Engine(executor, watcher).run(self._plan, arguments, uid)
        finally:
            self._running.remove(executor)

    def _executor(self) -> Executor:
        if self._clock == "virtual":
            return VirtualTime(self._workers)
        if self._executor_name == "processes":
            processes = Processes()
            return Workers(self._workers, processes.perform, processes.leave)
        return Workers(self._workers, perform)


def _plan(
    factory: Factory,
    activities: Mapping[str, Function],
    workflows: Mapping[str, LocalWorkflow],
    *,
    settings: Mapping[str, Mapping[str, Any]],
    durations: Mapping[str, Duration],
    **fields: Any,
) -> Plan:
    names = check_names([*activities, *workflows])
    for what, given in (("settings", settings), ("durations", durations)):
        if unknown := [name for name in given if name not in names]:
            there = ", ".join(names) or "none"
            raise ValueError(f"{what} are given for {unknown[0]!r}, which is no task: the tasks are {there}")
    if of_workflows := [name for name in durations if name in workflows]:
        raise ValueError(f"durations has {of_workflows[0]!r}: a workflow takes the time that its tasks take")
    try:
        code = FactoryCode(factory, tasks_of(factory, names))
    except LoadFailed as failed:
        raise ValueError(failed.message) from None
    tasks = {}
    for name in names:
        is_workflow = name in workflows
        timeouts, retry = task_settings(settings.get(name, {}), f"tasks[{name!r}]", is_workflow=is_workflow)
        tasks[name] = TaskPlan(
            work=None if is_workflow else Work(activities[name], durations.get(name, 0.0)),
            workflow=workflows[name].plan if is_workflow else None,
            timeouts=timeouts,
            retry=retry,
        )
    return Plan(name=getattr(factory, "__name__", "workflow"), code=code, tasks=tasks, **fields)


def _exception(finished: Finished) -> TaskError:
    """The error of a run as the exception that leaves it, with what is known of its origin as a note."""
    error: ErrorObject = finished.end.error or {}
    raised = exception_of(TaskError, error)
    origin = finished.root.traceback_of(error)
    if origin is not None:
        raised.add_note(f"where it arose:\n{origin}")
    return raised


def _warnings(execution: Execution) -> list[str]:
    """What nobody has looked at, in the workflow and those below."""
    where = f" of {execution.path}" if execution.path else ""
    found = [line.removeprefix("warning: ") + where for line in execution.log if line.startswith("warning: ")]
    ignored = () if execution.end is None else execution.end.ignored_errors
    found += [
        f"nobody looked at the error of {error.get('task')}{where}: {error.get('type')}: {error.get('message')}"
        for error in ignored
        if error.get("reason") != "StopRequested"  # whoever stops a run knows
    ]
    for child in execution.children:
        found += _warnings(child)
    return found
