"""What a factory gets for each task's name: a callable that never blocks and gives a result at once."""

from collections.abc import Mapping
from typing import Any, Protocol

from flowy.replay.result import Result


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
