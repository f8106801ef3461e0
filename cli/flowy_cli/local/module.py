"""A factory in a Python file, and a file of functions that are its tasks: loaded and run as `flowy.local` does."""

import importlib.util
import sys
import traceback
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from flowy.errors import ValueRefused
from flowy.local import LocalWorkflow
from flowy.local.around import Watcher
from flowy.local.engine import Engine, Finished
from flowy.local.functions import perform
from flowy.local.workers import Workers
from flowy.replay.loading import LoadFailed, required_tasks
from flowy.wire import values
from flowy_cli.errors import NotThere, Unreadable
from flowy_cli.local.running import stopped_by_signals


def run_module(
    source: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    activities: str | None,
    workers: int,
    watcher: Watcher | None = None,
) -> Finished:
    """Run `FILE.py:FACTORY`; its tasks are the functions of their names in the file `activities`, by default the same.

    Raises CliError, also for what the files raise when they are loaded.
    """
    path, _, name = source.partition(":")
    module = _loaded(path)
    functions = module if activities is None else _loaded(activities)
    try:
        factory = vars(module).get(name)
        if not callable(factory):
            raise NotThere(f"{path} has no factory {name!r}", _advice(module, functions))
        tasks: dict[str, Any] = {task: vars(functions).get(task) for task in required_tasks(factory)}
        missing = [task for task, function in tasks.items() if not callable(function)]
        if missing:
            raise NotThere(
                f"{name} asks for the task {missing[0]!r}, and {activities or path} has no function of this name",
                _advice(module, functions),
            )
        plan = LocalWorkflow(factory, activities=tasks).plan()
        arguments = values.encode({"args": list(args), "kwargs": dict(kwargs)}, "the input")
    except LoadFailed as failed:
        raise Unreadable(f"{source}: {failed.message}") from failed
    except ValueRefused as refusal:
        raise Unreadable(str(refusal)) from refusal
    executor = Workers(workers, perform)
    with stopped_by_signals(executor):
        return Engine(executor, watcher).run(plan, arguments, uuid.uuid4().hex)


def _loaded(path: str) -> ModuleType:
    """The module of a file; what lies beside it can be imported, as if it were run."""
    file = Path(path)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise Unreadable(f"{path} is no Python file that is there")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    sys.path.insert(0, str(file.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise Unreadable(f"{path}, line {error.lineno}: {error.msg}") from error
    except Exception as error:
        where = error.__traceback__
        while where is not None and where.tb_frame.f_code.co_filename != spec.origin:  # those above are our own
            where = where.tb_next
        said = "".join(traceback.format_exception(type(error), error, where)).rstrip()
        line = "" if where is None else f", line {where.tb_lineno}"
        raise Unreadable(f"{path}{line}: it can't be loaded", said) from error
    return module


def _advice(module: ModuleType, functions: ModuleType) -> str:
    """Which factories there are: functions of the module whose parameters are all names of functions."""
    found = []
    for name, member in vars(module).items():
        if isinstance(member, FunctionType) and member.__module__ == module.__name__:
            try:
                tasks = required_tasks(member)
            except LoadFailed:
                continue
            if tasks and all(callable(vars(functions).get(task)) for task in tasks):
                found.append(name)
    known = f"here that is {' or '.join(found)}" if found else "--activities FILE.py says where they are, if not here"
    return f"a factory takes its tasks by the names of functions, and returns the workflow: {known}"
