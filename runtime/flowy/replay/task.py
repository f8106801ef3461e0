"""What a factory gets for each task's name: a callable that never blocks and gives a result at once."""

import re
from collections.abc import Iterable, Mapping
from keyword import iskeyword
from typing import Any, Protocol

from flowy.replay.result import Result

MAX_NAME = 40  # leaves room in a Job's name, which Kubernetes cuts at 63 characters
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)-(0|[1-9][0-9]{0,8})")


class Caller(Protocol):
    """What a task needs of the replay that it belongs to."""

    def call(self, task: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Result:
        """Number the call, compare it with the history or schedule it."""


class Task:
    """A task of the workflow. Calling it gives a result, never an error and never a value."""

    __slots__ = ("_caller", "_name")

    def __init__(self, caller: Caller, name: str) -> None:
        self._caller = caller
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Result:
        return self._caller.call(self._name, args, kwargs)

    def __repr__(self) -> str:
        return f"<task {self._name}>"


def check_names(names: Iterable[str]) -> list[str]:
    """Give the task names as a list. Raises ValueError for a malformed or repeated one."""
    checked: list[str] = []
    for name in names:
        if not _NAME.fullmatch(name) or len(name) > MAX_NAME or iskeyword(name):
            raise ValueError(
                f"{name!r} is no task name: a Python name of ASCII letters, digits and underscores, "
                f"at most {MAX_NAME} characters, no keyword"
            )
        if name in checked:
            raise ValueError(f"the task name {name!r} is given twice")
        checked.append(name)
    return checked


def task_of(key: str) -> str:
    """Give the task's name in a key `<task>-<n>`. Raises ValueError for a malformed key."""
    match = _KEY.fullmatch(key)
    if match is None:
        raise ValueError(f"{key!r} is no key: <task name>-<number> is expected")
    return match[1]
