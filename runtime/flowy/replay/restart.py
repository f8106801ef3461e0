"""The marker that ends a run and starts it over. It has an effect only where the workflow itself returns it."""

from collections.abc import Mapping
from typing import Any


class Restart:  # noqa: PLW1641 - equality touches results, and Python then takes the hash away
    """Returned by the workflow, it starts the run over with new input and an empty history."""

    __slots__ = ("args", "kwargs")

    def __init__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.args = args
        self.kwargs = kwargs

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Restart):
            return NotImplemented
        return self.args == other.args and self.kwargs == other.kwargs

    def __repr__(self) -> str:
        shown = [repr(arg) for arg in self.args] + [f"{name}={arg!r}" for name, arg in self.kwargs.items()]
        return f"restart({', '.join(shown)})"
