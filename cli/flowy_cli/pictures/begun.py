"""The spec of a run as far as a replay of it needs it.

Whether it can be run was asked by the operator before it wrote the first event. To ask again would load the models of the
custom resource, which takes as long as to read a history of a thousand tasks, and longer than to draw most runs.
"""

from collections.abc import Mapping
from typing import Any

from flowy.errors import ValueRefused
from flowy_cli.errors import Unreadable
from flowy_cli.run import Run
from flowy_operator.core.spec import SubWorkflow, TaskSpec, WorkflowSpec, arguments_text


def spec_of_begun(run: Run) -> WorkflowSpec:
    """The code, the arguments, the names of the tasks and which of them are workflows. Raises Unreadable.

    The whole spec of a run that hasn't begun, has a definition's code, or gives its arguments as `json`, which is any text.
    """
    arguments = run.spec.get("input") or {}
    if not run.events or "definitionRef" in run.spec or "json" in arguments:
        from flowy_cli.specs import spec_of  # noqa: PLC0415 - this is what shall not be loaded for others

        return spec_of(run)
    try:
        given = arguments_text(arguments.get("args"), arguments.get("kwargs"))
    except ValueRefused as refusal:
        raise Unreadable(f"{run.name} can't be run: {refusal.path}: {refusal.reason}") from refusal
    return WorkflowSpec(
        source=run.source,
        entrypoint=(run.spec.get("code") or {}).get("entrypoint"),
        input=given,
        tasks={task["name"]: _task(task) for task in run.spec.get("tasks") or () if "name" in task},
    )


def _task(given: Mapping[str, Any]) -> TaskSpec:
    return TaskSpec(name=given["name"], workflow=SubWorkflow() if given.get("workflow") is not None else None)
