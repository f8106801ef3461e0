"""`decide`: one decision of a workflow over a made-up history, for tests of workflow code."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from flowy.errors import ErrorObject
from flowy.replay.decision import Call, Decision
from flowy.replay.ending import run_to_end
from flowy.replay.history import DEFAULT_TIMER, cancelled_message
from flowy.replay.loading import Factory, FreshModule, factories, file_of, required_tasks, tasks_of
from flowy.replay.replayer import call_workflow, load
from flowy.replay.run import Run
from flowy.replay.source import UserSource
from flowy.replay.verdict import verdict
from flowy.wire import values
from flowy.wire.keys import check_names, task_of
from flowy.wire.messages import Outcome, Record, RecordState

__all__ = ["Call", "Decision", "Outcome", "decide"]

Workflow = Callable[..., Callable[..., Any]] | tuple[str, str | None]


def decide(
    workflow: Workflow,
    *,
    tasks: Iterable[str] | None = None,
    args: Sequence[object] = (),
    kwargs: Mapping[str, object] = {},
    results: Mapping[str, object] = {},
    errors: Mapping[str, str | ErrorObject] = {},
    timeouts: Iterable[str] | Mapping[str, str] = (),
    running: Iterable[str] = (),
    cancelled: Iterable[str] | Mapping[str, str] = (),
    order: Sequence[str] | None = None,
    calls: Mapping[str, tuple[Sequence[object], Mapping[str, object]]] | None = None,
) -> Decision:
    """Run a workflow once over a history and give its decision.

    `workflow` is a factory, or `(source, entrypoint)`. `tasks` are the names to inject, by default all parameters
    without a default value. `results` gives values by key, `errors` messages or error objects, `timeouts` the timer and
    `cancelled` the reason by key, or just keys. `order` is the finish order of all final keys, by default results,
    errors, timeouts, cancelled, each as given. `calls` gives the recorded `(args, kwargs)` by key.
    Raises ValueError for what is no history, TypeError for a text as `args`: it is a fault of the test, not an outcome.
    """
    check_args(args)
    names: Sequence[str] | None = None if tasks is None else check_names(tasks)
    records = _records(results, errors, timeouts, running, cancelled, order, calls or {})
    given_args, given_kwargs = values.plain_call(args, kwargs)
    # Over JSON text like the input of a real run, so that the code can't change what the caller holds.
    given: Any = values.decode(values.encode_plain({"args": given_args, "kwargs": given_kwargs}))
    run = Run(records)
    with FreshModule() as module:
        loaded = _load(run, workflow, module, names)
        if not isinstance(loaded, BaseException):
            names = loaded[1]
        if names is not None:
            _check_keys(records, names)

        def body() -> object:
            if isinstance(loaded, BaseException):
                raise loaded
            factory, given_names = loaded
            tasks = tasks_of(factory, given_names, factories(module).values())
            return call_workflow(run, factory, tasks, given["args"], given["kwargs"])

        run_to_end(run, body)
    judged = verdict(run)
    return Decision.of(judged.answer, judged.dropped)


def check_args(args: Sequence[object]) -> None:
    """Refuse a text, with TypeError: its letters would be the arguments, and a test of what then fails may well be green."""
    if isinstance(args, str):
        raise TypeError(f"args is the text {args!r}: a list is expected, [{args!r}]")


def _load(
    run: Run, workflow: Workflow, module: ModuleType, names: Sequence[str] | None
) -> tuple[Factory, Sequence[str]] | BaseException:
    """Give the factory and the names of its tasks, or what loading ended in: the decision's error, raised there."""
    try:
        if isinstance(workflow, tuple):
            factory = load(run, module, *workflow)
        else:
            factory = workflow
            run.source = UserSource(file_of(workflow))
        return factory, required_tasks(factory) if names is None else names
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as raised:  # noqa: BLE001 - the source may raise anything
        return raised


def _check_keys(records: Sequence[Record], names: Sequence[str]) -> None:
    for record in records:
        if task_of(record.key) not in names:
            raise ValueError(f"{record.key!r} belongs to no task of the workflow; it has {', '.join(names) or 'none'}")


def _records(
    results: Mapping[str, object],
    errors: Mapping[str, str | ErrorObject],
    timeouts: Iterable[str] | Mapping[str, str],
    running: Iterable[str],
    cancelled: Iterable[str] | Mapping[str, str],
    order: Sequence[str] | None,
    calls: Mapping[str, tuple[Sequence[object], Mapping[str, object]]],
) -> list[Record]:
    found: list[tuple[str, RecordState, str | None, ErrorObject | None]] = [
        *(
            (key, RecordState.COMPLETED, values.encode(value, f"results[{key!r}]"), None)
            for key, value in results.items()
        ),
        *((key, RecordState.FAILED, None, _error(key, error)) for key, error in errors.items()),
        *((key, RecordState.TIMED_OUT, None, _timeout(timer)) for key, timer in _with_notes(timeouts)),
        *((key, RecordState.CANCELLED, None, _cancellation(key, reason)) for key, reason in _with_notes(cancelled)),
    ]
    final = [key for key, *_ in found]
    found += [(key, RecordState.RUNNING, None, None) for key in running]
    keys = [key for key, *_ in found]
    for key in keys:
        task_of(key)
        if keys.count(key) > 1:
            raise ValueError(f"{key!r} is given in two states")
    if unknown := [key for key in calls if key not in keys]:
        raise ValueError(f"calls has {unknown[0]!r}, which is in no state")
    ranked = final if order is None else list(order)
    if sorted(ranked) != sorted(final):
        raise ValueError(f"order must hold each final key once: {final}")
    ranks = {key: rank for rank, key in enumerate(ranked)}
    return [
        Record(
            key=key,
            state=state,
            value=value,
            error=error,
            rank=ranks.get(key),
            digest=values.digest(*calls[key]) if key in calls else None,
        )
        for key, state, value, error in found
    ]


def _with_notes(keys: Iterable[str] | Mapping[str, str]) -> Iterable[tuple[str, str | None]]:
    return keys.items() if isinstance(keys, Mapping) else [(key, None) for key in keys]


_ERROR_FIELDS = ("type", "message", "task", "attempt", "exitCode", "timer", "reason", "details")


def _error(key: str, given: str | ErrorObject) -> ErrorObject:
    error: Any = {"message": given} if isinstance(given, str) else values.plain(given, f"errors[{key!r}]")
    if unknown := [field for field in error if field not in _ERROR_FIELDS]:
        raise ValueError(f"errors[{key!r}] has the unknown field {unknown[0]!r}")
    if error.get("task", key) != key:
        raise ValueError(f"errors[{key!r}] has the task {error['task']!r}; an error is that of its key")
    return {"attempt": 1, **error}


def _timeout(timer: str | None) -> ErrorObject:
    return {"timer": timer or DEFAULT_TIMER, "attempt": 1}


def _cancellation(key: str, reason: str | None) -> ErrorObject:
    error: dict[str, object] = {"message": cancelled_message(key, reason), "attempt": 1}
    return error if reason is None else error | {"reason": reason}
