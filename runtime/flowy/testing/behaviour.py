"""What a task does in a rehearsal: a value that it gives, a function that it calls, or one of the acts of this module."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flowy.errors import ValueRefused
from flowy.local.functions import call
from flowy.local.launch import Completed, Failed, Launch, Outcome, TimedOut
from flowy.wire import values

Behaviour = Any
"""An act; a function, which is called with the call's arguments and may return an act; or anything else: the result."""


@dataclass(frozen=True, slots=True)
class Takes:
    """The attempt takes so many seconds of virtual time, and then behaves as `then`."""

    seconds: float
    then: Behaviour = None

    def __post_init__(self) -> None:
        """Refuse what is no time, with ValueError."""
        if not 0 <= self.seconds < math.inf:
            raise ValueError(f"Takes({self.seconds!r}): seconds, 0 or more, are expected")


@dataclass(frozen=True, slots=True)
class Fails:
    """The attempt fails with this error. Whether another follows, the task's `retry` says; not if it isn't `retryable`."""

    type: str = "Failed"
    message: str | None = None
    details: Any = None
    exit_code: int | None = None
    retryable: bool = True

    def __post_init__(self) -> None:
        """Refuse what is no text, such as an exception, with TypeError."""
        given: tuple[object, object] = self.type, self.message
        if not isinstance(given[0], str) or not isinstance(given[1], str | None):
            raise TypeError(f"Fails({self.type!r}, {self.message!r}): type and message are text")


@dataclass(frozen=True, slots=True)
class TimesOut:
    """The attempt never ends by itself: the timers of the task fire. Where orders are tried, StartToClose does."""


@dataclass(frozen=True, slots=True, init=False)
class Attempts:
    """The first attempt of a call behaves as the first of these, the second as the second; the last one repeats."""

    each: tuple[Behaviour, ...]

    def __init__(self, *each: Behaviour) -> None:
        if not each:
            raise ValueError("Attempts() says nothing: what does the first attempt do?")
        object.__setattr__(self, "each", each)


ACTS = (Attempts, Fails, Takes, TimesOut)


def check(behaviour: Behaviour, place: str) -> None:
    """Raise TypeError where an act stands within a value: an attempt has one behaviour, and a value is given as it is."""
    match behaviour:
        case Takes(_, then):
            check(then, place)
        case Attempts(each):
            for one in each:
                check(one, place)
        case Fails() | TimesOut():
            pass
        case _ if (act := _act_within(behaviour)) is not None:
            raise TypeError(_misplaced(act, f"{place} is a {type(behaviour).__name__} with"))


def _act_within(value: object) -> object:
    """The value if it is an act, or an act in it, at any depth of its containers; None if there is none."""
    ahead, seen = [value], set[int]()  # a list may hold itself, which is refused where values are
    while ahead:
        item = ahead.pop()
        if isinstance(item, ACTS):
            return item
        if id(item) not in seen:
            seen.add(id(item))
            if isinstance(item, Mapping):
                ahead += item.values()
            elif isinstance(item, list | tuple | set | frozenset):
                ahead += item
    return None


def _misplaced(act: object, where: str) -> str:
    name = type(act).__name__
    return (
        f"{where} {name}(...) in it: what an attempt does stands alone. Attempts(a, b) says what the attempts of a call do "
        f"one after the other, and a function what each call does: lambda x: {name}(...) if x == ... else ..."
    )


def perform(behaviour: Behaviour, launch: Launch) -> tuple[float, Outcome]:
    """Behave: seconds that the attempt takes, infinite for one that never ends, and what it ends with."""
    took_s = 0.0
    while True:
        match behaviour:
            case Takes(seconds, then):
                took_s += seconds
                behaviour = then
            case Attempts(each):
                behaviour = each[min(launch.attempt, len(each)) - 1]
            case Fails():
                return took_s, _failed(behaviour)
            case TimesOut():
                return math.inf, TimedOut()
            case _ if callable(behaviour):
                outcome, behaviour = _called(behaviour, launch)
                if outcome is not None:
                    return took_s, outcome
            case _:
                return took_s, _completed(behaviour)


def _called(function: Behaviour, launch: Launch) -> tuple[Outcome | None, Behaviour]:
    """The outcome of a function, or the act that it returned."""
    returned: Behaviour = None

    def calling(*args: Any, **kwargs: Any) -> Any:
        nonlocal returned
        returned = function(*args, **kwargs)
        return None if isinstance(returned, ACTS) else returned

    outcome = call(calling, launch.arguments, launch.beats, launch.previous)
    return (None, returned) if _act_within(returned) is not None else (outcome, None)


def _completed(value: Any) -> Outcome:
    if (act := _act_within(value)) is not None:
        message = _misplaced(act, f"a function gave a {type(value).__name__} with")
        return Failed(type="TypeError", message=message, retryable=False)
    try:
        return Completed(values.encode(value, "result"))
    except ValueRefused as refusal:
        return Failed(type="ValueRefused", message=str(refusal), retryable=False)


def _failed(act: Fails) -> Failed:
    return Failed(
        type=act.type,
        message=act.type if act.message is None else act.message,
        exit_code=act.exit_code,
        details=None if act.details is None else values.encode(act.details, "details"),
        retryable=act.retryable,
    )
