"""Rules that hold code and manifest against each other: entrypoints, and tasks both ways."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flowy.policy.retry import RetryWhen
from flowy_cli.linting.findings import Finding, Rule
from flowy_cli.linting.manifest import Source
from flowy_cli.linting.names import all_names, factories, parameters, required
from flowy_operator.adapters.crd.spec import InvalidSpec, definition_spec, workflow_spec
from flowy_operator.adapters.crd.unknown import unknown_fields
from flowy_operator.core.job import KIND
from flowy_operator.core.spec import TaskSpec, WorkflowSpec


def findings(tree: ast.Module, source: Source) -> Iterator[Finding]:
    """All of them; of a source without a manifest only what it says by itself."""
    found = factories(tree)
    if source.manifest is None:
        for factory in found.values():
            yield from _kinds(factory)
        return
    yield from unknown(source)
    try:
        spec = _spec(source.manifest)
    except InvalidSpec as error:
        yield Finding(rule=Rule.SPEC, line=None, message=str(error))
        return
    yield from _entrypoint(found, spec.entrypoint)
    names = [spec.entrypoint] if spec.entrypoint is not None else list(found)[:1] if len(found) == 1 else []
    for task in spec.tasks.values():
        if task.workflow is not None and task.workflow.definition is None:
            name = str(task.workflow.entrypoint)
            names.append(name)
            if name not in found and not _is_assigned(tree, name):
                message = f"the task {task.name!r} runs the factory {name!r}, and the source defines none of this name"
                yield _at_task(source, task.name, Rule.ENTRYPOINT, message)
    for name in dict.fromkeys(names):
        if name in found:
            yield from _kinds(found[name])
            yield from _missing(found[name], spec.tasks)
    yield from _unused(found, spec.tasks, source)
    yield from _never_retried(source.manifest["spec"], spec.tasks, source)


def unknown(source: Source) -> Iterator[Finding]:
    """The fields of the manifest that it can't have."""
    for field in unknown_fields(source.manifest or {}):
        yield Finding(rule=Rule.SPEC, line=None, message=str(field), manifest_line=_line_of(field.path, source))


def _line_of(path: Sequence[str | int], source: Source) -> int | None:
    """The line of the task that a field belongs to."""
    match path:
        case ("spec", "tasks", int(n), *_) if source.manifest is not None:
            return source.task_lines.get(str(source.manifest["spec"]["tasks"][n].get("name")))
        case _:
            return None


def _spec(manifest: Mapping[str, Any]) -> WorkflowSpec:
    return workflow_spec(manifest) if manifest["kind"] == KIND else definition_spec(manifest)


def _entrypoint(found: Mapping[str, ast.stmt], entrypoint: str | None) -> Iterator[Finding]:
    names = ", ".join(found) or "none"
    if entrypoint is None and len(found) != 1:
        what = (
            "defines no public function or class"
            if not found
            else f"defines several ({names}): name one in spec.code.entrypoint"
        )
        yield Finding(rule=Rule.ENTRYPOINT, line=None, message=f"the source {what}")
    elif entrypoint is not None and entrypoint not in found:
        message = f"the source defines no {entrypoint!r}; it has {names}"
        yield Finding(rule=Rule.ENTRYPOINT, line=None, message=message)


def _is_assigned(tree: ast.Module, name: str) -> bool:
    """Whether a name is bound at the top otherwise than by a definition: what it is, only running it tells."""
    return any(
        isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
        for node in tree.body
    )


def _kinds(factory: ast.stmt) -> Iterator[Finding]:
    args = parameters(factory)
    if args is None or not isinstance(factory, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    if isinstance(factory, ast.AsyncFunctionDef):
        message = (
            f"{factory.name} is async: workflow code is plain Python, and nothing in it waits but a look at a result"
        )
        yield Finding(rule=Rule.PARAMETERS, line=factory.lineno, message=message)


def _missing(factory: ast.stmt, tasks: Mapping[str, object]) -> Iterator[Finding]:
    args = parameters(factory)
    if args is None:
        return
    for odd, what in ((args.vararg, "*"), *((arg, "the positional-only ") for arg in args.posonlyargs)):
        if odd is not None:
            message = f"the factory takes {what}{odd.arg}; tasks are given by name"
            yield Finding(rule=Rule.PARAMETERS, line=odd.lineno, message=message)
    for arg in required(args):
        if arg.arg not in tasks:
            message = f"the factory asks for the task {arg.arg!r}, and spec.tasks has {', '.join(tasks) or 'none'}"
            yield Finding(rule=Rule.UNKNOWN_TASK, line=arg.lineno, message=message)


def _unused(found: Mapping[str, ast.stmt], tasks: Mapping[str, object], source: Source) -> Iterator[Finding]:
    taken: set[str] = set()
    for factory in found.values():
        args = parameters(factory)
        if args is not None and args.kwarg is not None:
            return
        taken |= all_names(args) if args is not None else set()
    for name in tasks:
        if name not in taken:
            message = f"the task {name!r} is given, and no factory of the source asks for it"
            yield _at_task(source, name, Rule.UNUSED_TASK, message)


def _never_retried(raw: Mapping[str, Any], tasks: Mapping[str, TaskSpec], source: Source) -> Iterator[Finding]:
    """Retries that are asked for, of what can't happen: whoever leaves out `when` means failures, as a rule."""
    is_default = bool((raw.get("defaults") or {}).get("retry"))
    for given in raw.get("tasks") or ():
        task = tasks[given["name"]]
        retry, timeouts = task.retry, task.timeouts
        is_possible = {
            RetryWhen.TIMEOUT: timeouts.start_to_close_s is not None or timeouts.heartbeat_s is not None,
            RetryWhen.SCHEDULE_TO_START: timeouts.schedule_to_start_s is not None,
            RetryWhen.ERROR: True,
        }
        is_asked_for = task.activity is not None and bool(is_default or given.get("retry"))
        if is_asked_for and retry.max_attempts > 1 and retry.when and not any(is_possible[when] for when in retry.when):
            message = (
                f"the task {task.name!r} is never tried again: its retry is for {', '.join(retry.when)}, and it has no such "
                "timeout; write when: [Error, Timeout] to have failures tried again"
            )
            yield _at_task(source, task.name, Rule.NEVER_RETRIED, message)


def _at_task(source: Source, task: str, rule: Rule, message: str) -> Finding:
    return Finding(rule=rule, line=None, message=message, manifest_line=source.task_lines.get(task))
