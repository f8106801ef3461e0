"""Workflows as plain single-threaded Python, replayed over their history.

The names are loaded when they are asked for: a program that runs as an activity imports `flowy.activity`, often, and has
no use for what replays workflows, which takes ten times as long to load.
"""

from importlib import import_module

TYPE_CHECKING = False  # `typing` takes as long to load as the rest of `flowy.activity`

if TYPE_CHECKING:
    from flowy.combinators import finish_order, first, parallel_reduce, restart, wait
    from flowy.errors import TaskCancelled, TaskError, TaskTimedOut

__all__ = [
    "TaskCancelled",
    "TaskError",
    "TaskTimedOut",
    "finish_order",
    "first",
    "parallel_reduce",
    "restart",
    "wait",
]

_ERRORS = ("TaskCancelled", "TaskError", "TaskTimedOut")


def __getattr__(name: str) -> object:
    """Load a public name, once (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module("flowy.errors" if name in _ERRORS else "flowy.combinators"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
