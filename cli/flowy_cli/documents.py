"""Objects as text: manifests and what `kubectl get -o yaml` prints, in; YAML and JSON, out. And a run from such objects."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from flowy_cli.errors import NotThere, Unreadable
from flowy_cli.run import HistoryIncomplete, Raw, Run, assemble, history_advice
from flowy_cli.shapes import Misshapen, shaped
from flowy_cli.texts import place_of, read_text
from flowy_operator.core.config_map import text_of
from flowy_operator.core.history import Event, HistoryInvalid, event_json
from flowy_operator.core.job import API_VERSION, KIND, UID_LABEL
from flowy_operator.core.pages import PAGE_KIND

DEFINITION_KIND = "WorkflowDefinition"

_FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


_MERGE = "tag:yaml.org,2002:merge"


class Loader(_FAST):  # type: ignore[misc, valid-type]
    """Kubernetes' reading of YAML: times are text, and no key stands twice."""

    def construct_document(self, node: yaml.Node) -> Any:
        # Before anything is made of it: making them puts merged mappings into others.
        _check_keys(node, set())
        return super().construct_document(node)


def _check_keys(node: yaml.Node, seen: set[int]) -> None:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for each in node.value:
            _check_keys(each, seen)
    elif isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if key.value in keys:
                    hint = ": between two objects stands a line ---" if key.value == "apiVersion" else ""
                    problem = f"the key {key.value!r} stands twice{hint}"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                keys.add(key.value)
            _check_keys(value, seen)


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _FAST.yaml_implicit_resolvers.items()
}


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block, as people write it."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base's signature
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style=style)


_Dumper.add_representer(str, _text)
_Dumper.add_multi_representer(str, _text)  # of enums


def objects(text: str, where: str) -> list[Raw]:
    """The objects in a text of YAML or JSON, those of Lists one by one. Raises Unreadable; `where` is for its message."""
    try:
        # JSON is YAML too, but this is a hundred times as fast.
        documents = [json.loads(text)] if text.lstrip().startswith("{") else list(yaml.load_all(text, Loader))
        values = _weight(documents, {}) if "&" in text else 0
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Unreadable(f"{where} is neither YAML nor JSON: {_what_is_wrong(error)}") from error
    if values > _MOST_VALUES:
        raise Unreadable(f"{where} says with aliases of YAML more than anybody can read", "write it without * and &")
    return [_object(item, where) for item in _flat(documents)]


_MOST_VALUES = 10_000_000
"""In all documents of a file. Aliases of aliases of aliases grow to any number, and so far everything is one object."""


def _weight(value: Any, known: dict[int, float]) -> float:
    """How many values it is when it is written without aliases; infinity for what holds itself."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = math.inf
        inner = value if isinstance(value, list) else value.values()
        known[id(value)] = 1 + sum(_weight(each, known) for each in inner)
    return known[id(value)]


def _object(item: Any, where: str) -> Raw:
    if not isinstance(item, dict) or not isinstance(item.get("metadata"), dict):
        raise Unreadable(f"{where} holds something that is no Kubernetes object", "each needs kind and metadata")
    try:
        return shaped(item, str(item.get("kind")) if item.get("apiVersion") == API_VERSION else None)
    except Misshapen as error:
        name = item["metadata"].get("name", "without a name")
        raise Unreadable(f"{where}: {item.get('kind')} {name}: {error}") from error


def _what_is_wrong(error: Exception) -> str:
    """In one line, its place first: the library's own text quotes and points, over several."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        hint = "; is it a tab? YAML is indented by spaces" if "cannot start any token" in str(error.problem) else ""
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}{hint}"
    return " ".join(str(error).split())[:300]


def _flat(documents: Sequence[Any]) -> Iterator[Any]:
    for document in documents:
        if isinstance(document, dict) and str(document.get("kind", "")).endswith("List") and "items" in document:
            # The items of a typed list don't say their kind, and those of a `List` do.
            kind = str(document["kind"]).removesuffix("List")
            own = {"apiVersion": document.get("apiVersion"), "kind": kind} if kind else {}
            yield from _flat([{**own, **item} if isinstance(item, dict) else item for item in document["items"] or ()])
        elif document is not None:
            yield document


def of_kind(found: Sequence[Raw], kind: str) -> list[Raw]:
    """The objects of one of our kinds."""
    return [item for item in found if item.get("kind") == kind and item.get("apiVersion") == API_VERSION]


def check_fields(body: Raw, where: str) -> None:
    """Refuse a manifest of ours with fields that it can't have, as kubectl does. Raises Unreadable."""
    from flowy_operator.adapters.crd.unknown import unknown_fields  # noqa: PLC0415 - for files that are to be run

    unknown = next(unknown_fields(body), None)
    if unknown is not None:
        raise Unreadable(f"{where}: {unknown}", "`flowy lint` finds all of them")


def run_of_file(source: str, name: str | None = None) -> Run:
    """The run in a file, by the name of its Workflow if it holds several. Raises Unreadable, NotThere."""
    where = place_of(source)
    return run_of(objects(read_text(source), where), where, name)


def run_of(found: Sequence[Raw], where: str, name: str | None = None) -> Run:
    """The run that these objects tell of: a Workflow, its pages, its definition, its values, its children."""
    workflows = of_kind(found, KIND)
    if not workflows:
        raise Unreadable(f"{where} holds no Workflow", f"it needs an object with apiVersion {API_VERSION}, kind {KIND}")
    if not all(body["metadata"].get("name") for body in workflows):
        raise Unreadable(f"{where} holds a Workflow without a name", "give it a metadata.name")
    named = [body for body in workflows if name in {None, body["metadata"].get("name")}]
    if not named:
        raise NotThere(f"{where} holds no Workflow {name!r}")
    uids = {uid for body in workflows if (uid := body["metadata"].get("uid")) is not None}
    roots = [body for body in named if _parent(body) not in uids]
    if name is None and len(roots) > 1:
        names = ", ".join(str(body["metadata"].get("name")) for body in roots)
        raise Unreadable(f"{where} holds several Workflows: {names}", "say which one with --name")
    values = {
        str(item["metadata"].get("name")): text
        for item in found
        if item.get("kind") == "ConfigMap" and (text := text_of(item)) is not None
    }
    body = (roots if name is None else named)[0]
    try:
        return _assembled(body, found, values, frozenset())
    except HistoryIncomplete as error:
        raise Unreadable(
            f"{where}: {error}",
            "`flowy export NAME` writes all that belongs to a run into one file; so does\n"
            "  kubectl get historypages -l flowy.dev/workflow=NAME -o yaml, put behind the Workflow after a line ---",
        ) from error
    except HistoryInvalid as error:
        name = str(body["metadata"].get("name"))
        raise Unreadable(f"{where}: the history of {name} can't be read: {error}", history_advice(error)) from error


def _assembled(body: Raw, found: Sequence[Raw], values: Mapping[str, str], above: frozenset[str]) -> Run:
    uid = str(body["metadata"].get("uid", ""))
    children = {
        str(child["metadata"]["name"]): _assembled(child, found, values, above | {uid})
        for child in of_kind(found, KIND)
        if uid and _parent(child) == uid and child["metadata"].get("uid") not in above | {uid}
    }
    reference = ((body.get("spec") or {}).get("definitionRef") or {}).get("name")
    definitions = [item for item in of_kind(found, DEFINITION_KIND) if item["metadata"].get("name") == reference]
    return assemble(
        body,
        of_kind(found, PAGE_KIND),
        children=children,
        definition=definitions[0] if definitions else None,
        values=values,
    )


def _parent(body: Raw) -> object:
    labels = body["metadata"].get("labels")
    return labels.get(UID_LABEL) if isinstance(labels, dict) else None


def to_yaml(value: object) -> str:
    """YAML for people, in the order in which the fields stand."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


def to_json(value: object) -> str:
    """JSON for people and programs: what could steer a terminal is escaped, which changes nothing for a program."""
    return escaped(json.dumps(value, indent=2, ensure_ascii=False)) + "\n"


def escaped(text: str) -> str:
    """JSON text in which nothing can steer a terminal: such characters are escaped, which changes nothing for a program."""
    return _STEERS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


_STEERS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Those up to 1f stand in no JSON, but a status may be edited by hand."""


def events_json(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Events as they stand in the history."""
    return [event_json(event) for event in events]
