"""The one walking rule: what a call's arguments, the return value and the arguments of `restart` come to.

A walk gives plain data in which completed results stand as splices (their recorded text goes out unread), and the
errors and pending results found on the way. Whoever asked decides: the earliest error, else pending, else go.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn, Protocol

from flowy.errors import ValueRefused
from flowy.replay.history import Past
from flowy.replay.restart import Restart
from flowy.replay.result import Done, Failed, Owner, Pending, Result, state_of
from flowy.replay.task import Task
from flowy.wire import values

_SHOWN_CHARACTERS = 120  # of arguments in a message
_MADE_FROM_PENDING = re.compile("⟨[^⟨⟩]*: pending⟩")


class Run(Owner, Protocol):
    """What a walk needs of the replay."""

    def changed(self, done: Done) -> None:
        """Take note that a result is passed on whose value the code has changed in place."""


_NO_KWARGS: Mapping[str, object] = MappingProxyType({})


class Awaited:
    """A place in arguments that a pending result will fill, and the levels around it."""

    __slots__ = ("levels_around", "state")

    def __init__(self, state: Pending, levels_around: int) -> None:
        self.state = state
        self.levels_around = levels_around


class Walked:
    """What a walk found; `args` and `kwargs` are complete only if nothing failed and nothing is pending.

    `parts` are what stands in the places of splices: `pasts`, and what is awaited. With `is_fillable` nothing else is missing.
    """

    # Defaults of the class, because most calls find nothing and creating six fields would be half of their cost.
    args: Sequence[object] = ()
    kwargs: Mapping[str, object] = _NO_KWARGS
    pasts: Sequence[Past] = ()
    parts: Sequence[Past | Awaited] = ()
    is_fillable = True
    failed: Sequence[Failed] = ()
    pending: Sequence[Pending] = ()
    canonical: str | None = None

    def taken(self) -> list[str]:
        """The keys of the calls whose outcomes were found."""
        return [past.record.key for past in self.pasts] + [failed.key for failed in self.failed]

    def text(self) -> str:
        """Give the JSON text of the call: args and kwargs."""
        return self._spliced({"args": self.args, "kwargs": dict(self.kwargs)})

    def text_of_value(self) -> str:
        """Give the JSON text of the only argument."""
        return self._spliced(self.args[0])

    def digest(self) -> str:
        canonical = self.canonical or values.canonical((self.args, dict(self.kwargs)))
        if self.pasts:
            canonical = values.spliced(canonical, [past.canonical() for past in self.pasts])
        return values.digest_of(canonical)

    def filled(self, past_of: Callable[[str], Past]) -> "Walked":
        """The same with what was awaited, which has completed. Raises `ValueRefused` as the walk would."""
        pasts = []
        for part in self.parts:
            if isinstance(part, Awaited):
                past = past_of(part.state.key)
                past.accept(part.levels_around)
                pasts.append(past)
            else:
                pasts.append(part)
        walked = Walked()
        walked.args, walked.kwargs, walked.pasts = self.args, self.kwargs, pasts
        return walked

    def shown(self) -> str:
        """Give the arguments as they would stand in code, shortened."""
        shown = [self._spliced(arg) for arg in self.args]
        shown += [f"{name}={self._spliced(arg)}" for name, arg in self.kwargs.items()]
        text = f"({', '.join(shown)})"
        return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"

    def _spliced(self, value: object) -> str:
        return values.spliced(values.encode_plain(value), [past.text for past in self.pasts])


def walk_call(run: Run, args: Sequence[Any], kwargs: Mapping[str, Any], root: str = "") -> Walked:
    """Walk the arguments of a call; `root` precedes `args[n]` and `kwargs.name` in refusals."""
    walked = Walked()
    walk = _walk(run, walked)
    walked.args = [walk.plain(arg, f"{root}args[{n}]") for n, arg in enumerate(args)]
    walked.kwargs = {
        _name(name, root): walk.plain(arg, f"{root}kwargs{values.field_path(name)}") for name, arg in kwargs.items()
    }
    return walked


def walked_scalars(args: Sequence[Any], canonical: str) -> Walked:
    """What a walk would find in arguments of which `values.canonical_scalars` has given the canonical JSON."""
    walked = Walked()
    walked.args, walked.canonical = args, canonical
    return walked


def walk_value(run: Run, value: object, root: str) -> Walked:
    """Walk one value, such as what the workflow returns."""
    walked = Walked()
    walked.args = (_walk(run, walked).plain(value, root),)
    return walked


def _name(name: str, root: str) -> str:
    """Give a keyword as a plain name; `task(**{...})` takes any string."""
    if not name.isascii():
        try:
            _check_text(name)
        except ValueRefused as refusal:
            refusal.path = f"{root}kwargs"
            raise
    return str.__str__(name)


def _check_text(text: str) -> None:
    values.accept_text(text)
    if _MADE_FROM_PENDING.search(text):
        raise ValueRefused("", "text made from a pending result; use str() or an f-string")


def _walk(run: Run, walked: Walked) -> values.Walk:
    pasts: list[Past] = []
    failed: list[Failed] = []
    pending: list[Pending] = []
    parts: list[Past | Awaited] = []
    walked.pasts, walked.failed, walked.pending, walked.parts = pasts, failed, pending, parts

    def splice(result: Result, levels_around: int) -> object:
        state = state_of(result)
        if state.run is not run:
            raise ValueRefused("", "a result of another decision; build state inside the workflow's callable")
        if isinstance(state, Done):
            state.past.accept(levels_around)
            if state.kept and _is_changed(state.value, state.past):
                run.changed(state)
            pasts.append(state.past)
            parts.append(state.past)
            return values.splice_mark(len(parts) - 1)
        if isinstance(state, Failed):
            failed.append(state)
            return None
        pending.append(state)
        parts.append(Awaited(state, levels_around))
        return values.splice_mark(len(parts) - 1)

    def key_of(key: object) -> object:
        if type(key) is not Result:
            return key
        splice(key, 0)
        state = state_of(key)
        if isinstance(state, Done):
            return state.past.decode()
        walked.is_fillable = False  # nobody knows under which name it will stand, or whether two are the same
        return ""

    return values.Walk({Result: splice, Restart: _refuse_restart, Task: _refuse_task}, key_of, _check_text)


def _refuse_restart(_: Restart, __: int) -> NoReturn:
    raise ValueRefused("", "a restart marker; return restart(...) itself, not inside of something")


def _refuse_task(_: Task, __: int) -> NoReturn:
    raise ValueRefused("", "a task; call it and pass its result")


def _is_changed(kept: object, past: Past) -> bool:
    return isinstance(kept, (list, dict)) and not _is_same(kept, past.decode())


def _is_same(kept: Any, fresh: Any) -> bool:
    """Compare with what the record says, without equality of whatever the code may have put in: it may be pending."""
    if type(kept) is not type(fresh):
        return False
    if type(fresh) is list:
        return len(kept) == len(fresh) and all(map(_is_same, kept, fresh))
    if type(fresh) is dict:
        return (
            len(kept) == len(fresh)
            and all(map(_is_same, kept, fresh))  # the keys, in their order
            and all(map(_is_same, kept.values(), fresh.values()))
        )
    return bool(kept == fresh)
