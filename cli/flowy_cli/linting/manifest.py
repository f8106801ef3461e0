"""The sources of a manifest, and on which of its lines they stand."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from flowy_cli.documents import DEFINITION_KIND, Loader, objects
from flowy_operator.core.job import API_VERSION, KIND


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Python code, and what the manifest around it says: None where there is none. A manifest may have no code of its own.

    `first_line` is the line of the file on which the code's first stands, None where its lines aren't those of the file.
    `task_lines` are the lines of the tasks by their names.
    """

    code: str | None
    manifest: Mapping[str, Any] | None = None
    first_line: int | None = 1
    task_lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "" if self.manifest is None else f"{self.manifest['kind']} {self.manifest['metadata'].get('name', '')}"


def sources(text: str, where: str) -> Iterator[Source]:
    """Each Workflow and WorkflowDefinition. Raises Unreadable."""
    found = [item for item in objects(text, where) if item.get("apiVersion") == API_VERSION]
    places = list(_places(text))
    for item in found:
        if item.get("kind") not in {KIND, DEFINITION_KIND}:
            continue
        code = ((item.get("spec") or {}).get("code") or {}).get("source")
        if not isinstance(code, str):
            yield Source(code=None, manifest=item)
        else:
            # By the code itself: objects may be the items of a list, anywhere in the file.
            place = next((place for place in places if place.code == code), _Place(code, None, {}))
            yield Source(code=code, manifest=item, first_line=place.first_line, task_lines=place.task_lines)


@dataclass(frozen=True, slots=True)
class _Place:
    code: str
    first_line: int | None
    task_lines: Mapping[str, int]


def _places(text: str) -> Iterator[_Place]:
    if text.lstrip().startswith("{"):
        return  # JSON: a source is one line of it
    for document in yaml.compose_all(text, Loader):
        for node in _mappings(document):
            spec = _get(node, "spec")
            source = _get(_get(spec, "code"), "source")
            if isinstance(source, yaml.ScalarNode):
                first = source.start_mark.line + 2 if source.style == "|" else None
                yield _Place(str(source.value), first, _task_lines(_get(spec, "tasks")))


def _mappings(node: yaml.Node | None) -> Iterator[yaml.MappingNode]:
    if isinstance(node, yaml.MappingNode):
        yield node
        for child in (_get(node, "items"),):
            yield from _mappings(child)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            yield from _mappings(child)


def _get(node: yaml.Node | None, name: str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == name:
                return value  # type: ignore[no-any-return]
    return None


def _task_lines(node: yaml.Node | None) -> Mapping[str, int]:
    if not isinstance(node, yaml.SequenceNode):
        return {}
    named = ((task, _get(task, "name")) for task in node.value)
    return {str(name.value): name.start_mark.line + 1 for _, name in named if isinstance(name, yaml.ScalarNode)}
