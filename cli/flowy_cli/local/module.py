"""A factory in a Python file, and a file of functions that are its tasks: loaded and run as `flowy.local` does."""

import importlib.util
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
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
from flowy_cli.local.running import stopped_by_ctrl_c


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

    Raises CliError; what the files raise when they are loaded leaves as it is.
    """
    path, _, name = source.partition(":")
    module = _loaded(path)
    factory = _member(module, path, name)
    functions = module if activities is None else _loaded(activities)
    try:
        tasks = {task: _member(functions, activities or path, task) for task in required_tasks(factory)}
        plan = LocalWorkflow(factory, activities=tasks).plan()
        arguments = values.encode({"args": list(args), "kwargs": dict(kwargs)}, "the input")
    except LoadFailed as failed:
        raise Unreadable(f"{source}: {failed.message}") from failed
    except ValueRefused as refusal:
        raise Unreadable(str(refusal)) from refusal
    executor = Workers(workers, perform)
    with stopped_by_ctrl_c(executor):
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
    return module


def _member(module: ModuleType, path: str, name: str) -> Any:
    found = vars(module).get(name)
    if not callable(found):
        raise NotThere(f"{path} has no function or class {name!r}")
    return found
