"""A Workflow that names a definition: the two together give the spec that it is run by.

A run belongs to the content that its first decision was made with. The definition's name is no proof of it: an object can
be deleted and made again. So the digest of the content is on record, and nothing is done while it is another.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from flowy_operator.core.conditions import Blocker, Stall
from flowy_operator.core.history import StopMode
from flowy_operator.core.key import Key
from flowy_operator.core.spec import TaskSpec, WorkflowSpec
from flowy_operator.core.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a Workflow with a definitionRef says: the definition's name, and the fields of `WorkflowSpec` that it sets itself."""

    name: str
    own: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stop(self) -> StopMode | None:
        """As of a spec: no definition says it."""
        return self.own.get("stop")

    @property
    def suspend(self) -> bool:
        """As of a spec."""
        return bool(self.own.get("suspend"))

    def alone(self, state: State | None = None) -> WorkflowSpec:
        """What can be said of the Workflow without its definition: enough to end it without its code, and to clean up.

        Of the tasks that `state` has, only the names are known.
        """
        names = {} if state is None else {task.name: TaskSpec(name=task.name) for task in state.tasks.values()}
        return WorkflowSpec(source="", tasks=names, **self.own)

    def closed(self) -> Self:
        """What of it still counts after the end."""
        return replace(self, own={name: value for name, value in self.own.items() if name != "input"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One version of a WorkflowDefinition. `spec` is what it gives its Workflows, a text why it can't be run.

    Equal to another version that says the same.
    """

    namespace: str
    name: str
    resource_version: int = field(compare=False)
    digest: str
    spec: WorkflowSpec | str

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.name)


def resolve(
    reference: Reference, definition: Definition | None, namespace: str, recorded: str | None
) -> WorkflowSpec | Stall:
    """The spec that a Workflow is run by, or why there is none now.

    `recorded` is the digest of the content that its first decision was made with; before that its parent's, if it shares
    the parent's definition, else None.
    """
    name = reference.name
    if definition is None:
        missing = f"there is no WorkflowDefinition {name!r} in the namespace {namespace!r}"
        return Stall(Blocker.DEFINITION_NOT_FOUND, f"{missing}: create it, and the run goes on by itself")
    if recorded not in {None, definition.digest}:
        changed = f"the WorkflowDefinition {name!r} was made again with other content ({definition.digest})"
        remedy = "put the old content back, or start a new Workflow; give other content another name"
        return Stall(
            Blocker.DEFINITION_CHANGED,
            f"{changed} than this run, or the one that called it, began with ({recorded}): {remedy}",
        )
    if isinstance(definition.spec, str):
        return Stall(Blocker.INVALID_SPEC, f"the WorkflowDefinition {name!r} can't be run: {definition.spec}")
    return replace(definition.spec, definition=name, definition_digest=definition.digest, **reference.own)
