"""Checks for what comes from another process: each takes nothing for granted and names the place of a deviation."""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn, TypeVar

from flowy.wire import values

Item = TypeVar("Item")


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
    return load_text(text, "the message", _decode_strictly)


def load_text(text: str, what: str, decode: Callable[[str], object] = values.decode) -> object:
    """Decode JSON text, `what` says whose; numbers must be finite and strings valid Unicode at any depth."""
    try:
        decoded = decode(text)
        values.canonical(decoded).encode()
    except RecursionError as error:
        raise MalformedMessage(f"{what} is nested too deeply") from error
    except ValueError as error:
        raise MalformedMessage(f"{what} is no JSON: {_first_words(error)}") from error
    return decoded


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


_decode_strictly = json.JSONDecoder(object_pairs_hook=_without_repeats, parse_constant=_refuse_constant).decode


def value_text(text: object, what: str, levels: int = values.MAX_LEVELS) -> object:
    """Check that `text` is the JSON text of a value, and decode it."""
    decoded = load_text(string(text, what), what)
    if values.levels(decoded) > levels:
        raise MalformedMessage(f"{what} has more than {levels} levels")
    return decoded


def call_text(text: object, what: str) -> tuple[list[object], dict[str, object]]:
    """Check that `text` is the JSON text of args and kwargs, and decode them."""
    call = fields(value_text(text, what, values.MAX_LEVELS + 2), what, {"args", "kwargs"})
    args, kwargs = call["args"], call["kwargs"]
    if type(args) is not list or type(kwargs) is not dict:
        raise MalformedMessage(f"{what} needs a list of args and an object of kwargs")
    return args, kwargs


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
