"""From source text to a factory that is ready to be given its tasks.

Every failure here is the code's own fault and known before it ran well: `LoadFailed`.
"""

import builtins
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

from flowy.replay import bytecode

FILENAME = "<workflow>"
MODULE = "workflow"

Factory = Callable[..., Callable[..., Any]]


class LoadFailed(Exception):
    """The code cannot be used. `type` is the error's type, `line` is in the source, where known."""

    def __init__(self, type: str, message: str, line: int | None = None) -> None:  # noqa: A002 - an error's field
        super().__init__(message)
        self.type = type
        self.message = message
        self.line = line


@lru_cache(maxsize=64)  # code objects are immutable; a process that decides repeatedly compiles each source once
def compiled(source: str) -> CodeType:
    """Compile workflow source. Raises `LoadFailed` with the line."""
    try:
        return bytecode.compiled(source, FILENAME)
    except SyntaxError as error:
        raise LoadFailed(type(error).__name__, error.msg, error.lineno) from error
    except (ValueError, OverflowError, RecursionError, MemoryError) as error:
        # Null bytes, and nesting too deep for the parser: all say something about the text.
        raise LoadFailed("SyntaxError", str(error) or "the source is nested too deeply") from error


class FreshModule:
    """An empty module for the source, known to the import system for as long as the block runs.

    Dataclasses and enums look their module up by name. `printer` stands in for `print` in this module alone.
    """

    def __init__(self, printer: Callable[..., None] | None = None) -> None:
        self._module = ModuleType(MODULE)
        if printer is not None:
            self._module.__dict__["__builtins__"] = {**vars(builtins), "print": printer}
        self._before: ModuleType | None = None

    def __enter__(self) -> ModuleType:
        self._before = sys.modules.get(MODULE)
        sys.modules[MODULE] = self._module
        return self._module

    def __exit__(self, *_: object) -> None:
        if self._before is None:
            del sys.modules[MODULE]
        else:
            sys.modules[MODULE] = self._before


def factories(module: ModuleType) -> dict[str, Factory]:
    """The public functions and classes that the source defines itself, by name."""
    return {
        name: member
        for name, member in vars(module).items()
        if not name.startswith("_")
        and isinstance(member, (FunctionType, type))
        and member.__module__ == MODULE  # what was imported came from elsewhere
    }


def find_entrypoint(module: ModuleType, entrypoint: str | None) -> Factory:
    """Find the factory in an executed module. Raises `LoadFailed` of type `EntrypointNotFound`."""
    candidates = factories(module)
    names = ", ".join(candidates) or "none"
    if entrypoint is not None:
        found = vars(module).get(entrypoint)
        if not callable(found):
            raise LoadFailed("EntrypointNotFound", f"the source defines no {entrypoint!r}; candidates: {names}")
        return found  # type: ignore[no-any-return]
    if not candidates:
        raise LoadFailed("EntrypointNotFound", "the source defines no public function or class")
    factory, *others = candidates.values()
    if any(other is not factory for other in others):
        raise LoadFailed("EntrypointNotFound", f"the entrypoint must be named, as there are several: {names}")
    return factory


def required_tasks(factory: Factory) -> list[str]:
    """Give the names of the parameters that have no default value."""
    return [
        parameter.name
        for parameter in _parameters(factory)
        if parameter.default is parameter.empty and parameter.kind in _NAMED
    ]


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _parameters(factory: Factory) -> Sequence[inspect.Parameter]:
    try:
        return list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError) as error:
        raise LoadFailed("TasksMismatch", f"the parameters of {factory!r} cannot be read: {error}") from error


def _names_alone(factory: Factory) -> Sequence[str] | None:
    """The parameters of a function that takes nothing but names, each without a default value. None for any other factory.

    `inspect` says the same. It was a tenth of a small decision, and most factories are such functions.
    """
    if type(factory) is not FunctionType or factory.__dict__ or factory.__defaults__ or factory.__kwdefaults__:
        return None
    code = factory.__code__
    if code.co_posonlyargcount or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
        return None
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def tasks_of(factory: Factory, tasks: Sequence[str], others: Iterable[Factory] = ()) -> list[str]:
    """Which of the tasks the factory is to be given, after holding its parameters against their names both ways.

    One list of tasks serves all factories of a source, since one may be a task of another: a name that the factory does not
    ask for is fine if one of the `others` does. Raises `LoadFailed`.
    """
    names = _names_alone(factory)
    if names is not None and set(names) == set(tasks):
        return list(tasks)
    takes_any = False
    known: dict[str, bool] = {}  # name -> may stay away
    for parameter in _parameters(factory):
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_any = True
        elif parameter.kind in _NAMED:
            known[parameter.name] = parameter.default is not parameter.empty
        else:
            kind = "*" if parameter.kind is parameter.VAR_POSITIONAL else "the positional-only "
            raise LoadFailed("TasksMismatch", f"the factory takes {kind}{parameter.name}; tasks are given by name")
    missing = [name for name, optional in known.items() if not optional and name not in tasks]
    if missing:
        # A typo has both a name too few and one too many: to be seen side by side.
        given = "; given are: " + ", ".join(tasks) if tasks else ", nor is any other"
        raise LoadFailed("TasksMismatch", f"the factory asks for tasks that are not given: {', '.join(missing)}{given}")
    if takes_any:
        return list(tasks)
    surplus = [name for name in tasks if name not in known]
    if surplus:
        of_others = {name for other in others for name in _names(other)}
        unknown = ", ".join(name for name in surplus if name not in of_others)
        if unknown:
            asked = "it asks for: " + ", ".join(known) if known else "it asks for none"
            message = f"tasks are given that the factory does not ask for: {unknown}; {asked}"
            raise LoadFailed("TasksMismatch", message)
    return [name for name in tasks if name in known]


def _names(factory: Factory) -> list[str]:
    try:
        return [parameter.name for parameter in _parameters(factory) if parameter.kind in _NAMED]
    except LoadFailed:  # a class of the source that is no factory, such as an Enum
        return []


def file_of(factory: Factory) -> str:
    """Give the file name that the frames of the factory's code carry, or an empty one."""
    plain = inspect.unwrap(factory)
    code = getattr(plain, "__code__", None)
    if isinstance(code, CodeType):
        return code.co_filename
    if isinstance(plain, type):
        for member in vars(plain).values():
            if isinstance(member, FunctionType):
                return member.__code__.co_filename
    module = sys.modules.get(getattr(plain, "__module__", None) or "")
    return getattr(module, "__file__", None) or ""
