"""All rules over the sources of a file."""

import ast
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from flowy.replay.loading import LoadFailed, compiled
from flowy_cli.errors import Unreadable
from flowy_cli.linting import results, tasks, undefined, world
from flowy_cli.linting.findings import Finding, Rule
from flowy_cli.linting.manifest import Source, sources
from flowy_cli.linting.names import Function, all_names, factories, parameters
from flowy_cli.texts import place_of, read_text
from flowy_operator.core.printable import printable


def lint_file(file: str) -> Sequence[tuple[Source, Sequence[Finding]]]:
    """The sources of a file with what is to be said of each, in the order of its lines. Raises Unreadable."""
    text = read_text(file)
    found = [Source(code=text)] if file.endswith(".py") else list(sources(text, file))
    if not found:
        raise Unreadable(
            f"{place_of(file)} holds no Workflow and no WorkflowDefinition",
            "give it a manifest of apiVersion flowy.dev/v1alpha1, or a .py file",
        )
    return [(source, lint(source)) for source in found]


def lint(source: Source) -> Sequence[Finding]:
    """What is to be said of a source."""
    if source.code is None:
        return list(tasks.unknown(source))
    try:
        compiled(source.code)
        tree = ast.parse(source.code)
    except LoadFailed as failed:
        return [Finding(rule=Rule.SYNTAX, line=failed.line, message=failed.message)]
    found = {
        *world.findings(tree),
        *results.findings(tree),
        *undefined.findings(tree, source.code),
        *tasks.findings(tree, source),
    }
    if source.manifest is None:
        found = set(_of_workflows(tree, found))
    return sorted(
        found, key=lambda finding: (finding.line or 0, finding.manifest_line or 0, finding.rule, finding.message)
    )


def _of_workflows(tree: ast.Module, found: Iterable[Finding]) -> Iterator[Finding]:
    """Without what is said of activities, where a file has both, as `flowy run FILE.py:FACTORY` takes it.

    An activity is a function at the top that has the name of a factory's parameter, and no function within it, as a factory has.
    Such a file may import what it likes.
    """
    tops = factories(tree)
    asked = {name for top in tops.values() if (args := parameters(top)) is not None for name in all_names(args)}
    activities = [top for name, top in tops.items() if name in asked and not _holds_a_function(top)]
    for finding in found:
        is_within = any(node.lineno <= (finding.line or 0) <= (node.end_lineno or 0) for node in activities)
        if not is_within and not (activities and finding.rule is Rule.IMPORT):
            yield finding


def _holds_a_function(top: ast.stmt) -> bool:
    return any(isinstance(node, Function) for inner in ast.iter_child_nodes(top) for node in ast.walk(inner))


def told(file: str, source: Source, finding: Finding) -> str:
    """One finding as compilers write them: file, line, what."""
    line = _file_line(source, finding)
    at = f"{file}:{line}" if line is not None else file
    of = f" ({source.name}, line {finding.line})" if line is None and finding.line is not None else ""
    return printable(f"{at}: {finding.severity}: {finding.message}{of} [{finding.rule}]")


def data(file: str, source: Source, finding: Finding) -> dict[str, Any]:
    """One finding for programs."""
    return {
        "file": file,
        "line": _file_line(source, finding),
        "sourceLine": finding.line,
        "object": source.name or None,
        "severity": str(finding.severity),
        "rule": str(finding.rule),
        "message": finding.message,
    }


def _file_line(source: Source, finding: Finding) -> int | None:
    if finding.line is None:
        return finding.manifest_line
    return None if source.first_line is None else source.first_line + finding.line - 1
