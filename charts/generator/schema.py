"""The model of the values as JSON Schema, in the plain form that every version of Helm reads."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from charts.generator.values import Values

Schema = dict[str, Any]


class Value(NamedTuple):
    """One value: its dotted path, its schema. A group has `properties`."""

    path: str
    schema: Schema


def schema() -> Schema:
    """The whole schema: no references, no titles, nothing required (Helm takes a value away by null)."""
    raw = Values.model_json_schema(by_alias=True)
    plain = _plain(raw, raw.get("$defs", {}))
    del plain["$defs"]
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart flowy", **plain}


def walk(part: Schema, prefix: str = "") -> Iterator[Value]:
    """Every value in its order, a group before what it holds."""
    for name, inner in part["properties"].items():
        yield Value(f"{prefix}{name}", inner)
        if "properties" in inner:
            yield from walk(inner, f"{prefix}{name}.")


def _plain(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_plain(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        node = {**definitions[name], **{key: value for key, value in node.items() if key != "$ref"}}
    options = [option for option in node.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:  # a value that may be absent
        node = {**{key: value for key, value in node.items() if key != "anyOf"}, **options[0]}
    kept = {}
    for key, value in node.items():
        if key == "properties":
            kept[key] = {name: _plain(inner, definitions) for name, inner in value.items()}
        elif key == "default" and ("properties" in node or value is None):
            continue  # of a group: said by what it holds; none: the operator's own
        elif key != "title" or isinstance(value, dict):
            kept[key] = _plain(value, definitions)
    return kept
