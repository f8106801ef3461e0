"""What else code can see of the world, made the same in every replay: clocks, randomness, printed text.

The patches are for a process that runs nothing but decisions, which imposes them once; at a desk they hold for one decision,
and helpers in a user's process do without. They work on modules, before the workflow's source is executed:
`from datetime import datetime` then finds the class below.
"""

import builtins
import datetime as dt
import os
import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flowy.wire.messages import MAX_LOG_BYTES

MAX_WARNINGS = 100  # of the replay itself, beside what is printed

_TIME = {name: getattr(time, name) for name in ("gmtime", "localtime", "ctime", "strftime", "asctime")}


class Clock:
    """The latest history time that the code has observed, in Unix seconds; it never goes back."""

    __slots__ = ("_now",)

    def __init__(self, started_at: float) -> None:
        self._now = started_at

    def observe(self, finished_at: float | None) -> None:
        if finished_at is not None and finished_at > self._now:
            self._now = finished_at

    def now(self) -> float:
        return self._now


class Log:
    """The lines of a decision: what it printed, up to a limit, and the replay's own warnings."""

    __slots__ = ("_left_bytes", "_lines", "_open", "_warnings")

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._open = ""  # printed without a newline so far
        self._left_bytes = MAX_LOG_BYTES
        self._warnings = 0

    def print(self, *items: object, sep: str | None = " ", end: str | None = "\n", **_: object) -> None:
        """Stand in for the builtin; a `file` makes no difference, there are none where this is in force."""
        text = ("" if sep is None and not items else (" " if sep is None else sep)).join(str(item) for item in items)
        self._write(text + ("\n" if end is None else end))

    def _write(self, text: str) -> None:
        if self._left_bytes < 0:
            return
        raw = text.encode("utf-8", "backslashreplace")
        self._left_bytes -= len(raw)
        if self._left_bytes < 0:
            raw = raw[: self._left_bytes]
        *lines, self._open = (self._open + raw.decode("utf-8", "ignore")).split("\n")
        self._lines += lines
        if self._left_bytes < 0:
            self._lines += [*([self._open] if self._open else []), f"(log cut at {MAX_LOG_BYTES} bytes)"]
            self._open = ""

    def add_warning(self, text: str) -> None:
        """Add a warning; those have a limit of their own, so that printing can't hide them."""
        self._warnings += 1
        if self._warnings <= MAX_WARNINGS:
            self._lines.append(f"warning: {text}")

    def lines(self) -> tuple[str, ...]:
        return (*self._lines, *([self._open] if self._open else []))


class _Present:
    """The clock, the generator and the log in force; a holder, because the patches outlive a decision."""

    __slots__ = ("clock", "generator", "log")

    def __init__(self) -> None:
        self.clock = Clock(0.0)
        self.generator = random.Random(0)  # noqa: S311 - must be predictable
        self.log = Log()


_present = _Present()


class _Same(type):
    """Makes a patched class and the original one indistinguishable in `isinstance` and `issubclass`."""

    original: type

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.original)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.original)


class _PatchedDate(dt.date, metaclass=_Same):
    original = dt.date

    @classmethod
    def today(cls) -> Any:
        return cls.fromtimestamp(_present.clock.now())


class _PatchedDateTime(dt.datetime, metaclass=_Same):
    original = dt.datetime

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Any:
        return cls.fromtimestamp(_present.clock.now(), tz)

    @classmethod
    def utcnow(cls) -> Any:
        return cls.fromtimestamp(_present.clock.now(), dt.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> Any:
        return cls.fromtimestamp(_present.clock.now())


for _patched, _name in ((_PatchedDate, "date"), (_PatchedDateTime, "datetime")):
    _patched.__name__ = _patched.__qualname__ = _name
    _patched.__module__ = "datetime"


class _PatchedRandom(random.Random):
    """Unseeded, it draws its seed from the run's generator."""

    def seed(self, a: Any = None, version: int = 2) -> None:
        super().seed(_present.generator.getrandbits(128) if a is None else a, version)


_PatchedRandom.__name__ = _PatchedRandom.__qualname__ = "Random"
_PatchedRandom.__module__ = "random"


def _seconds() -> float:
    return _present.clock.now()


def _nanoseconds() -> int:
    return round(_present.clock.now() * 1e6) * 1000  # a float holds no more of an instant than microseconds


def _gmtime(seconds: float | None = None) -> time.struct_time:
    return _TIME["gmtime"](_seconds() if seconds is None else seconds)  # type: ignore[no-any-return]


def _localtime(seconds: float | None = None) -> time.struct_time:
    return _TIME["localtime"](_seconds() if seconds is None else seconds)  # type: ignore[no-any-return]


def _ctime(seconds: float | None = None) -> str:
    return _TIME["ctime"](_seconds() if seconds is None else seconds)  # type: ignore[no-any-return]


def _asctime(moment: Any = None) -> str:
    return _TIME["asctime"](_localtime() if moment is None else moment)  # type: ignore[no-any-return]


def _strftime(form: str, moment: Any = None) -> str:
    return _TIME["strftime"](form, _localtime() if moment is None else moment)  # type: ignore[no-any-return]


def _urandom(size: int) -> bytes:
    return _present.generator.randbytes(size)


def _uuid4() -> uuid.UUID:
    return uuid.UUID(bytes=_urandom(16), version=4)


def _uuid1(*_: object, **__: object) -> uuid.UUID:
    """Random as well: the real one shows the host's address and clock."""
    return _uuid4()


def _print(*items: object, **how: Any) -> None:
    _present.log.print(*items, **how)


_PATCHES: Sequence[tuple[Any, str, Any]] = (
    *((time, name, _seconds) for name in ("time", "monotonic", "perf_counter")),
    *((time, name, _nanoseconds) for name in ("time_ns", "monotonic_ns", "perf_counter_ns")),
    (time, "gmtime", _gmtime),
    (time, "localtime", _localtime),
    (time, "ctime", _ctime),
    (time, "asctime", _asctime),
    (time, "strftime", _strftime),
    (dt, "date", _PatchedDate),
    (dt, "datetime", _PatchedDateTime),
    (random, "Random", _PatchedRandom),
    (random, "SystemRandom", _PatchedRandom),
    (uuid, "uuid4", _uuid4),
    (uuid, "uuid1", _uuid1),
    (os, "urandom", _urandom),
)


def impose() -> Callable[[], None]:
    """Patch this process, the builtin `print` too, for all decisions in it: before each, `begin`. Gives what undoes it.

    Once and not for each: a process that is a copy of this one then has nothing to patch, and shares its memory.
    """
    return _put((*_PATCHES, (builtins, "print", _print)))


def begin(clock: Clock, log: Log, seed: str) -> None:
    """Let the patches show this clock and draw from a generator seeded by `seed`; what is printed goes to the log.

    `random`'s own functions and `uuid4` draw from one generator, in code order.
    """
    shared: random.Random = random._inst  # noqa: SLF001 - its functions are bound to it
    _present.clock, _present.generator, _present.log = clock, shared, log
    shared.seed(seed)


@contextmanager
def deterministic(clock: Clock, seed: str) -> Iterator[None]:
    """Impose all but `print` for as long as the block runs, in a process that has a life of its own."""
    kept = (_present.clock, _present.generator, random.getstate())
    undo = _put(_PATCHES)
    try:
        begin(clock, _present.log, seed)
        yield
    finally:
        undo()
        _present.clock, _present.generator = kept[:2]
        random.setstate(kept[2])


def _put(patches: Sequence[tuple[Any, str, Any]]) -> Callable[[], None]:
    before = [(module, name, getattr(module, name)) for module, name, _ in patches]
    for module, name, patch in patches:
        setattr(module, name, patch)

    def undo() -> None:
        for module, name, original in before:
            setattr(module, name, original)

    return undo
