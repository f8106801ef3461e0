"""Checks for what comes from another process: each takes nothing for granted and names the place of a deviation."""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn, TypeVar

from flowy.wire import values

VERSION = 1

_MAX_LINE = 10_000_000

Item = TypeVar("Item")
Made = TypeVar("Made")


class MalformedMessage(ValueError):
    """A message deviates from its shape. The text is one sentence without any of the message's own content but keys."""


def load(raw: bytes, limit_bytes: int | None = None) -> object:
    """Decode a message: size first, then UTF-8, JSON, depth, numbers and surrogates."""
    if limit_bytes is not None and len(raw) > limit_bytes:
        raise MalformedMessage(f"the message has {len(raw)} bytes, more than {limit_bytes}")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise MalformedMessage(f"the message is no UTF-8 at byte {error.start}") from error
    decoded = _guarded("the message", _decode_strictly, text)
    _guarded("the message", _canonical_bytes, decoded)
    return decoded


def load_of_friend(raw: bytes) -> object:
    """Decode a message of our own side, where a deviation is a bug: what only a stranger would do is not looked for."""
    return _guarded("the message", _decode_of_friend, raw)


def _canonical_bytes(value: object) -> bytes:
    """Encode a decoded value: this refuses lone surrogates and infinities, which decoding lets pass."""
    return values.canonical(value).encode()


def _guarded(what: str, step: Callable[[Any], Made], given: object) -> Made:
    """Take a step with JSON, and say of `what` that it is none if the step fails."""
    try:
        return step(given)
    except RecursionError as error:
        raise MalformedMessage(f"{what} is nested too deeply") from error
    except ValueError as error:
        raise MalformedMessage(f"{what} is no JSON: {_first_words(error)}") from error


def _first_words(error: ValueError) -> str:
    # A UnicodeEncodeError's text would repeat the whole input.
    return "a lone surrogate" if isinstance(error, UnicodeEncodeError) else str(error)[:200]


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field stands twice in an object")
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _decode_of_friend(raw: bytes) -> object:
    return values.decode(raw.decode())  # `json.loads` takes other encodings, too, and its way through them is longer


_decode_strictly = json.JSONDecoder(object_pairs_hook=_without_repeats, parse_constant=_refuse_constant).decode


def value_text(text: object, what: str) -> None:
    """Check that `text` is the JSON text of a value."""
    checked = string(text, what)
    decoded = _guarded(what, values.decode, checked)
    _guarded(what, _canonical_bytes, decoded)
    _check_levels(checked, decoded, what, values.MAX_LEVELS)


def call_text(text: object, what: str) -> str:
    """Check that `text` is the JSON text of args and kwargs; give the digest of the call."""
    checked = string(text, what)
    decoded = _guarded(what, values.decode, checked)
    call = fields(decoded, what, ("args", "kwargs"))
    args, kwargs = call["args"], call["kwargs"]
    if type(args) is not list or type(kwargs) is not dict:
        raise MalformedMessage(f"{what} needs a list of args and an object of kwargs")
    _check_levels(checked, decoded, what, values.MAX_LEVELS + 2)
    return _guarded(what, _digest, (args, kwargs))


def _digest(call: object) -> str:
    return values.digest_of(values.canonical(call))


def _check_levels(text: str, decoded: object, what: str, most: int) -> None:
    if values.may_exceed(text, most) and values.levels(decoded) > most:
        raise MalformedMessage(f"{what} has more than {values.MAX_LEVELS} levels")


def fields(value: object, what: str, needed: Collection[str], allowed: Collection[str] = ()) -> Mapping[str, Any]:
    """Check that `value` is an object with exactly the fields `needed`, and at most those `allowed` beside them."""
    if type(value) is not dict:
        raise MalformedMessage(f"{what} is no object")
    for name in needed:
        if name not in value:
            raise MalformedMessage(f"{what} lacks the field {name!r}")
    for name in value:
        if name not in needed and name not in allowed:
            raise MalformedMessage(f"{what} has an unknown field {name[:40]!r}")
    return value


def string(value: object, what: str, most: int | None = None) -> str:
    if type(value) is not str:
        raise MalformedMessage(f"{what} is no string")
    if most is not None and len(value) > most:
        raise MalformedMessage(f"{what} has {len(value)} characters, more than {most}")
    return value


def integer(value: object, what: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise MalformedMessage(f"{what} is no whole number from {least} to {most}")
    return value


def optional_line(value: object) -> int | None:
    return None if value is None else integer(value, "line", 0, _MAX_LINE)


def number(value: object, what: str) -> float:
    """Check a finite number; an int stays one, so that messages arrive as they were sent."""
    if type(value) not in (int, float):
        raise MalformedMessage(f"{what} is no number")
    return value  # type: ignore[return-value]


def items(value: object, what: str, check: Callable[[object, str], Item], most: int | None = None) -> tuple[Item, ...]:
    if type(value) is not list:
        raise MalformedMessage(f"{what} is no list")
    if most is not None and len(value) > most:
        raise MalformedMessage(f"{what} has {len(value)} items, more than {most}")
    return tuple(check(item, what) for item in value)


def distinct(keys: Collection[str], what: str) -> None:
    if len(set(keys)) != len(keys):
        raise MalformedMessage(f"{what} names a key twice")


def check_version(version: object) -> None:
    if type(version) is not int or version != VERSION:
        raise MalformedMessage(f"the message's version is not {VERSION}: both sides must be of one release")
