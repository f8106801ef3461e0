"""Arguments of a workflow as they are typed: JSON, or text as it stands."""

import json
from collections.abc import Sequence
from typing import Any

from flowy_cli.errors import Unreadable

_BEGINS_JSON = ("{", "[", '"')


def argument(text: str) -> Any:
    """The value of one argument.

    What is JSON is that value; anything else is text, so that addresses and names need no second pair of quotes. What begins
    as an object, a list or a quoted text must be one: a forgotten bracket isn't meant as text. Raises Unreadable.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        if text.lstrip().startswith(_BEGINS_JSON):
            raise Unreadable(f"{text!r} is no JSON: {error}", "to pass it as text, quote it as JSON does") from None
        return text


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def keyword_arguments(given: Sequence[str]) -> dict[str, Any]:
    """The values of `name=value` texts. Raises Unreadable."""
    found: dict[str, Any] = {}
    for text in given:
        name, is_given, value = text.partition("=")
        if not is_given or not name.isidentifier():
            raise Unreadable(f"{text!r} is no keyword argument", "write it as name=value")
        if name in found:
            raise Unreadable(f"the keyword argument {name!r} is given twice")
        found[name] = argument(value)
    return found
