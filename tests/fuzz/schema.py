"""The CRDs' schemas, two ways: values that fit one, and what doesn't fit in a value."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from tests.fuzz.texts import json_values, numbers, texts, times

Schema = Mapping[str, Any]
Hints = Mapping[str, st.SearchStrategy[Any]]

CRDS = Path(__file__).parents[2] / "crds"

_PRESERVED = "x-kubernetes-preserve-unknown-fields"
_MOST_ITEMS = 3


@cache
def schema_of(plural: str, part: str) -> Schema:
    """The schema of a custom resource's `spec` or `status`."""
    crd = yaml.safe_load((CRDS / f"{plural}.flowy.dev.yaml").read_text())
    schema: Schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]
    return schema


def fitting(schema: Schema, hints: Hints | None = None) -> st.SearchStrategy[Any]:
    """Values that an API server takes. Rules in CEL aren't looked at: an older CRD had none of them.

    `hints` are for fields by their name, whatever they are in: where chance finds nothing that is of interest.
    """
    return st.deferred(lambda: _fitting(schema, hints or {}))


def _fitting(schema: Schema, hints: Hints) -> st.SearchStrategy[Any]:
    match schema:
        case {"enum": values}:
            return st.sampled_from([value for value in values if value is not None])
        case {"x-kubernetes-int-or-string": True}:
            return numbers | texts
        case {"type": "object", "properties": fields}:
            return _fields(schema, fields, hints)
        case {"type": "object", "additionalProperties": dict(inner)}:
            return st.dictionaries(texts, fitting(inner, hints), max_size=min(_MOST_ITEMS, _most(schema, "Properties")))
        case {"type": "object"}:
            return st.dictionaries(texts, json_values, max_size=_MOST_ITEMS)
        case {"type": "array", "items": inner}:
            return _lists(schema, inner, hints)
        case {"type": "string", "format": "date-time"}:
            return times.filter(_is_time)
        case {"type": "string"}:
            return _strings(schema)
        case {"type": "integer"}:
            least, most = schema.get("minimum", -(2**63)), schema.get("maximum", 2**63 - 1)
            return st.sampled_from([least, most, min(least + 1, most)]) | st.integers(least, most)
        case {"type": "boolean"}:
            return st.booleans()
        case _:
            assert schema.get(_PRESERVED), schema
            return json_values


def _fields(schema: Schema, fields: Mapping[str, Schema], hints: Hints) -> st.SearchStrategy[Any]:
    required = set(schema.get("required", ()))
    made = {name: hints[name] if name in hints else fitting(inner, hints) for name, inner in fields.items()}
    return st.fixed_dictionaries(
        {name: value for name, value in made.items() if name in required},
        optional={name: value for name, value in made.items() if name not in required},
    )


def _lists(schema: Schema, inner: Schema, hints: Hints) -> st.SearchStrategy[Any]:
    keys = schema.get("x-kubernetes-list-map-keys")
    unique_by = None
    if keys:
        unique_by = lambda item: tuple(item[key] for key in keys)  # noqa: E731 - one of two
    elif schema.get("x-kubernetes-list-type") == "set":
        unique_by = lambda item: item  # noqa: E731 - the other
    least = schema.get("minItems", 0)
    return st.lists(fitting(inner, hints), min_size=least, max_size=max(least, _MOST_ITEMS), unique_by=unique_by)


def _strings(schema: Schema) -> st.SearchStrategy[str]:
    if "pattern" in schema:
        pattern = schema["pattern"]
        return st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True).filter(
            lambda text: not any(troubles(text, schema, ""))
        )
    least, most = schema.get("minLength", 0), schema.get("maxLength", 10**6)
    return texts.map(lambda text: text[:most].ljust(least, "x"))


def _most(schema: Schema, what: str) -> int:
    most: int = schema.get(f"max{what}", 10**6)
    return most


def troubles(value: Any, schema: Schema, at: str) -> Iterator[str]:
    """What an API server would refuse in a value, in words; `at` is where it stands."""
    match schema.get("type"), value:
        case _, None if schema.get("nullable"):
            return
        case "object", dict():
            yield from _of_fields(value, schema, at)
        case "array", list():
            if not schema.get("minItems", 0) <= len(value) <= _most(schema, "Items"):
                yield f"{at} has {len(value)} items"
            for number, item in enumerate(value):
                yield from troubles(item, schema["items"], f"{at}[{number}]")
        case "string", str():
            if not schema.get("minLength", 0) <= len(value) <= _most(schema, "Length"):
                yield f"{at} has {len(value)} characters"
            if "pattern" in schema and not re.search(schema["pattern"].replace("$", r"\Z"), value, re.ASCII):
                yield f"{at} is {value!r}"
            if schema.get("format") == "date-time" and not _is_time(value):
                yield f"{at} is {value!r}, no time"
        case "integer", int() if not isinstance(value, bool):
            if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
                yield f"{at} is {value}"
        case "boolean", bool():
            pass
        case None, _:
            pass
        case kind, _:
            yield f"{at} is {value!r}, not {kind}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at} is {value!r}, none of {schema['enum']}"


def _of_fields(value: Mapping[str, Any], schema: Schema, at: str) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at} lacks {name}"
    if len(value) > _most(schema, "Properties"):
        yield f"{at} has {len(value)} fields"
    fields, others = schema.get("properties", {}), schema.get("additionalProperties")
    for name, inner in value.items():
        if name in fields:
            yield from troubles(inner, fields[name], f"{at}.{name}")
        elif isinstance(others, dict):
            yield from troubles(inner, others, f"{at}.{name}")
        elif not schema.get(_PRESERVED):
            yield f"{at}.{name} is unknown, and would be lost"


_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


def _is_time(text: str) -> bool:
    """As Go's time.Parse reads RFC 3339: it knows the year 0 and no second 60."""
    if not _TIME.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text.replace("0000-", "0004-", 1))
    except ValueError:
        return False
    return True
