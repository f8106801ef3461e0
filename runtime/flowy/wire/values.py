"""Values: what may travel as JSON, how it is refused, and the digest of a call's arguments.

A `Walk` goes through Python values and gives plain ones: None, bool, int, float, str, list, dict with string keys. It
is the one walking rule of the product; `flowy.replay` adds what results of tasks mean in it (`stand_ins`).
Values travel as JSON text and are decoded as late as possible, so that numbers stay what they were.
"""

import json
import re
from collections import deque
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from dataclasses import fields, is_dataclass
from enum import Enum
from hashlib import sha256
from io import IOBase
from math import isfinite
from types import BuiltinFunctionType, CoroutineType, FunctionType, MappingProxyType, MethodType
from typing import Any, NoReturn

from flowy.errors import ValueRefused

MAX_LEVELS = 200  # far above honest data, and far below what recursion bears in any JSON library

# Python refuses to convert longer ints to text and back (a guard against quadratic time); lifting that is process-wide.
MAX_DIGITS = 4300
_SMALL_INT = 1 << 63
_SURELY_SHORT_BITS = 14_000  # below 4,300 digits; counting them exactly is slow

StandIn = Callable[[Any, int], object]
"""What stands for an object of some exact type in a walk: takes the object and the levels around it."""

_NO_STAND_INS: Mapping[type, StandIn] = MappingProxyType({})


def _refuse(reason: str) -> NoReturn:
    raise ValueRefused("", reason)


def accept_text(text: str) -> None:
    """Refuse text that UTF-8 cannot carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        _refuse("a lone surrogate; pass valid Unicode text")


class Walk:
    """One pass through values, depth first, left to right: checks each, lists iterators, gives plain data.

    Listing an iterator runs the user's code. `check_text` sees every string that is not ASCII. A refusal leaves as
    `ValueRefused` with its path. `key_of` gives a dict's key for a key that has a stand-in.
    """

    __slots__ = ("_around", "_check_text", "_key_of", "_stand_ins")

    def __init__(
        self,
        stand_ins: Mapping[type, StandIn] = _NO_STAND_INS,
        key_of: Callable[[object], object] | None = None,
        check_text: Callable[[str], None] = accept_text,
    ) -> None:
        self._stand_ins = stand_ins
        self._key_of = key_of
        self._check_text = check_text
        self._around: list[object] = []  # the containers around the place, outermost first

    def plain(self, value: object, root: str) -> object:
        """Give the plain form of `value`; `root` is its path in refusals."""
        try:
            return self._plain(value)
        except ValueRefused as refusal:
            refusal.path = root + refusal.path
            raise

    def _plain(self, value: Any) -> object:
        kind = type(value)
        if kind is str:
            if not value.isascii():
                self._check_text(value)
            return value
        if kind is int:
            return value if value.bit_length() < _SURELY_SHORT_BITS else _checked_int(value)
        if kind is bool or value is None:
            return value
        if kind is float:
            return value if isfinite(value) else _refuse(f"{value} is no JSON number; pass None or text instead")
        stand_in = self._stand_ins.get(kind)
        if stand_in is not None:
            return stand_in(value, len(self._around))
        if kind is list or kind is tuple:
            return self._items(value, tuple(value))
        if kind is dict:
            return self._fields(value, list(value.items()))
        return self._unusual(value)

    def _items(self, container: object, items: Sequence[object]) -> list[object]:
        self._enter(container)
        plain = self._plain
        made: list[object] = []
        try:
            for item in items:
                made.append(plain(item))  # noqa: PERF401 - the refusal's path needs the place
        except ValueRefused as refusal:
            refusal.path = f"[{len(made)}]{refusal.path}"
            raise
        finally:
            self._around.pop()
        return made

    def _fields(self, container: object, items: Sequence[tuple[object, object]]) -> dict[str, object]:
        self._enter(container)
        made: dict[str, object] = {}
        try:
            for key, item in items:
                name = self._key(key)
                try:
                    made[name] = self._plain(item)
                except ValueRefused as refusal:
                    refusal.path = field_path(name) + refusal.path
                    raise
        finally:
            self._around.pop()
        return made

    def _key(self, key: object) -> str:
        """Give a dict's key as a string; nothing else may be one in JSON, and two keys must not become the same."""
        if self._key_of is not None and type(key) in self._stand_ins:
            key = self._key_of(key)
        if isinstance(key, str):
            name = str.__str__(key)
            if not name.isascii():
                self._check_text(name)
            return name
        kind = type(key).__name__
        article = "an" if kind[0] in "aeiouAEIOU" else "a"
        if isinstance(key, (int, float, type(None))):  # their text is short and runs no user code
            _refuse(f"key {key!r} is {article} {kind}; use str({key!r})")
        return _refuse(f"a key is {article} {kind}; use str(...)")

    def _enter(self, container: object) -> None:
        around = self._around
        # Compared by identity and never by id(): equality would run user code, an id is not the same in a replay.
        for outer in around:
            if outer is container:
                _refuse("contains itself; pass a copy without the cycle")
        if len(around) >= MAX_LEVELS:
            _refuse(f"more than {MAX_LEVELS} levels; pass a flatter structure")
        around.append(container)

    def _unusual(self, value: Any) -> object:
        """Walk all that is no exact JSON type: subclasses, other containers, iterators; refuse the rest."""
        # A plain Enum is refused whatever it holds; IntEnum and StrEnum are numbers and text.
        if isinstance(value, str):
            return self._plain(str.__str__(value))
        if isinstance(value, int):
            return self._plain(int.__int__(value))
        if isinstance(value, float):
            return self._plain(float.__float__(value))
        if isinstance(value, (bytes, bytearray, memoryview, IOBase, type)):
            return _refuse(_way_out(value))
        if is_dataclass(value):
            return self._fields(value, [(field.name, getattr(value, field.name)) for field in fields(value)])
        if isinstance(value, Mapping):
            return self._fields(value, list(value.items()))
        if isinstance(value, (list, tuple, deque, Sequence, KeysView, ValuesView, ItemsView, Iterator)):
            return self._items(value, tuple(value))
        return _refuse(_way_out(value))


def _checked_int(value: int) -> int:
    try:
        str(value)
    except ValueError:
        _refuse(f"an int of more than {MAX_DIGITS} digits; pass hex(...) as text")
    return value


def field_path(name: str) -> str:
    """Give the step of a path that leads to a dict's item or a dataclass's field."""
    return f".{name}" if name.isidentifier() else f"[{json.dumps(name, ensure_ascii=False)}]"


_WAYS_OUT = {
    "set": "a set has no order; pass sorted(...) instead",
    "frozenset": "a frozenset has no order; pass sorted(...) instead",
    "bytes": "bytes; pass .decode() or base64 text",
    "bytearray": "a bytearray; pass .decode() or base64 text",
    "memoryview": "a memoryview; pass .tobytes().decode() or base64 text",
    "datetime": "datetime; pass .isoformat()",
    "date": "date; pass .isoformat()",
    "time": "time; pass .isoformat()",
    "timedelta": "timedelta; pass .total_seconds()",
    "Decimal": "Decimal; pass str(...)",
    "Fraction": "Fraction; pass str(...)",
    "UUID": "UUID; pass str(...)",
    "complex": "complex; pass [z.real, z.imag]",
}


def _way_out(value: object) -> str:
    """Say what a refused value is and what to pass instead."""
    kind = type(value)
    if isinstance(value, Enum):
        return f"an Enum ({kind.__name__}); pass .value"
    if isinstance(value, type):
        return f"the class {value.__name__}; pass data, or a name that the task knows"
    if isinstance(value, IOBase):
        return "a file; pass its name or its content"
    if isinstance(value, (FunctionType, BuiltinFunctionType, MethodType)):
        return f"the function {value.__name__}; pass data, or a name that the task knows"
    if isinstance(value, CoroutineType):
        return "a coroutine; workflow code is not asynchronous, pass data"
    for base in kind.__mro__:
        if base.__name__ in _WAYS_OUT:
            return _WAYS_OUT[base.__name__]
    return f"an object of class {kind.__name__}; pass a dict, or make it a dataclass"


_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")).encode
_encode_canonical = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"), sort_keys=True
).encode
_encode_string: Callable[[str], str] = json.encoder.encode_basestring


def _refuse_constant(name: str) -> NoReturn:
    msg = f"{name} is no JSON number"
    raise ValueError(msg)


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]  # as json's own modules use it


def decode(text: str) -> Any:
    """Give the value of JSON text. NaN and infinities are a ValueError; deep nesting is a RecursionError."""
    # Most texts are a small value without spaces around it. Looking for those costs three times the scan.
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        return _decoder.decode(text)
    return value if end == len(text) else _decoder.decode(text)


def plain(value: object, root: str = "result") -> object:
    """Give the plain form of a value that holds no results. Raises `ValueRefused`."""
    return Walk().plain(value, root)


def plain_call(args: Sequence[object], kwargs: Mapping[str, object]) -> tuple[list[object], dict[str, object]]:
    """Give the plain form of a call's arguments. Raises `ValueRefused` with paths from `args[n]` and `kwargs.name`."""
    walk = Walk()
    return (
        [walk.plain(item, f"args[{n}]") for n, item in enumerate(args)],
        {name: walk.plain(item, "kwargs" + field_path(name)) for name, item in kwargs.items()},
    )


def encode(value: object, root: str = "result") -> str:
    """Give the JSON text of a value, key order kept. Raises `ValueRefused`."""
    return _encode(plain(value, root))


def encode_plain(value: object) -> str:
    """Give the JSON text of a value that a walk has made."""
    return _encode(value)


# A splice stands where a record's text goes. No walked text holds a lone surrogate, so nothing else looks like one.
_SPLICE = re.compile('"\ud800([0-9]+)"')


def splice_mark(index: int) -> str:
    """Give the string that stands for the text `parts[index]` of `spliced` in a plain value."""
    return f"\ud800{index}"


def spliced(text: str, parts: Sequence[str]) -> str:
    """Put JSON texts in the places of their marks in the encoded text."""
    return _SPLICE.sub(lambda match: parts[int(match[1])], text) if parts else text


def canonical(value: object) -> str:
    """Give the canonical JSON of a plain value: keys sorted by code point, no spaces; `1` and `1.0` differ."""
    return _encode_canonical(value)


def canonical_scalars(args: Sequence[object]) -> str | None:
    """Give the canonical JSON of a call with such `args` alone, or None if they are not all common scalars.

    Most calls are like this. It needs no walk, and the general encoder costs more to call than all of the rest.
    """
    if len(args) == 1:
        value = args[0]
        if type(value) is int and -_SMALL_INT < value < _SMALL_INT:  # an index: what a loop passes, as a rule
            return f"[[{value}],{{}}]"
    texts = []
    for value in args:
        kind = type(value)
        if kind is str and value.isascii():  # type: ignore[attr-defined]
            texts.append(_encode_string(value))  # type: ignore[arg-type]
        elif kind is int and -_SMALL_INT < value < _SMALL_INT:  # type: ignore[operator]
            texts.append(repr(value))
        elif value is None:
            texts.append("null")
        elif kind is bool:
            texts.append("true" if value else "false")
        else:
            return None
    return f"[[{','.join(texts)}],{{}}]"


def digest_of(canonical_call: str) -> str:
    """Give the digest, 16 hex digits, of the canonical JSON of `[args, kwargs]`."""
    return sha256(canonical_call.encode()).hexdigest()[:16]


def digest(args: Sequence[object], kwargs: Mapping[str, object]) -> str:
    """Give the digest of a call's arguments. Raises `ValueRefused`."""
    return digest_of(canonical(plain_call(args, kwargs)))


def may_exceed(text: str, most: int) -> bool:
    """Tell whether JSON text may have more than `most` levels: its brackets bound them, and counting is fast."""
    return text.count("[") + text.count("{") > most


def levels(value: object) -> int:
    """Count the levels of a decoded value, so that a stranger's text can be held to `MAX_LEVELS`."""
    deepest = 0
    level: list[object] = [value]
    while level := [item for item in level if type(item) in (list, dict)]:
        deepest += 1
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)  # type: ignore[attr-defined]
        ]
    return deepest
