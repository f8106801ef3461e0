"""Which spec a Workflow is run by: its own, or that of the definition which it names, as far as that is to be had."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from flowy_operator.adapters.crd.definition import parse_definition
from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import NotFound
from flowy_operator.app.tracked import Resolved, Workflow
from flowy_operator.app.version import Version
from flowy_operator.core.conditions import Blocker, Stall
from flowy_operator.core.definition import Definition, Reference, resolve
from flowy_operator.core.folded import check_tasks, history_message
from flowy_operator.core.history import HistoryInvalid, StopMode
from flowy_operator.core.spec import OnEnd, WorkflowSpec
from flowy_operator.core.state import State

_INLINE_CODE = Stall(
    Blocker.INLINE_CODE_FORBIDDEN,
    "this operator runs WorkflowDefinitions only (its setting definitions-only), and this Workflow brings code of its own:"
    " create another with a definitionRef, and delete this one",
)


@dataclass(frozen=True, slots=True)
class Specs:
    """Finds the spec of a Workflow. `known` is the cache of definitions, by (namespace, name).

    With `definitions_only`, Workflows with code of their own have none.
    """

    client: KubeClient
    known: Mapping[tuple[str, str], Definition]
    definitions_only: bool

    async def of(self, workflow: Workflow, version: Version) -> WorkflowSpec | Stall:
        """The spec that this version is run by now, or why there is none. Raises ApiError if the API server doesn't answer."""
        spec = await self._of(workflow, version)
        if (
            isinstance(spec, Stall)
            and version.invalid is None
            and version.spec
            and version.spec.stop is StopMode.CANCEL
        ):
            return Stall(spec.reason, f"{spec.message}; spec.stop: Cancel waits for that, Terminate doesn't")
        return spec

    async def _of(self, workflow: Workflow, version: Version) -> WorkflowSpec | Stall:
        if version.invalid is not None or version.state is None:
            assert version.invalid is not None
            return version.invalid
        match version.spec:
            case Reference() as reference:
                spec = await self._resolved(workflow, version, reference)
                is_terminated = reference.stop is StopMode.TERMINATE
                if isinstance(spec, Stall) and spec.reason is not Blocker.HISTORY_INVALID and is_terminated:
                    # Such an end runs no code, and a run must not have to be deleted because its definition was.
                    return reference.alone(version.state)
                return spec
            case WorkflowSpec() as own if not self.definitions_only or own.stop is StopMode.TERMINATE:
                return own
        return _INLINE_CODE

    async def to_tidy(self, workflow: Workflow, version: Version) -> WorkflowSpec | None:
        """By which spec an ended Workflow is cleaned up, None if it has none that can be read.

        An end doesn't hang on its definition: without it, what the Workflow says itself counts, and the defaults.
        """
        match version.spec:
            case Reference() as reference:
                spec = await self._resolved(workflow, version, reference)
                # Not to take from what runs on what may be meant to: an `onEnd` that nobody knows any more could be Abandon.
                return spec if isinstance(spec, WorkflowSpec) else replace(reference.alone(), on_end=OnEnd.ABANDON)
            case own:
                return own

    async def _resolved(self, workflow: Workflow, version: Version, reference: Reference) -> WorkflowSpec | Stall:
        definition = await self._find(workflow.owner.namespace, reference.name)
        recorded = version.definition_digest
        known = workflow.resolved
        if (
            known is None
            or (known.reference, known.recorded) != (reference, recorded)
            or known.definition is not definition
        ):
            spec = resolve(reference, definition, workflow.owner.namespace, recorded)
            known = Resolved(reference, definition, recorded, _checked(spec, version.state))
            if workflow.version is version:  # a newer one has another history to be checked
                workflow.resolved = known
        return known.spec

    async def _find(self, namespace: str, name: str) -> Definition | None:
        definition = self.known.get((namespace, name))
        if definition is not None:
            return definition
        # What was applied together comes by two watches: the cache's gap would be told as a stall, and taken back at once.
        try:
            return parse_definition(await self.client.get(paths.workflowdefinitions(namespace, name)))
        except NotFound:
            return None


def _checked(spec: WorkflowSpec | Stall, state: State | None) -> WorkflowSpec | Stall:
    """Find out whether the history can be one of this spec; with code of its own that is done when it is read."""
    if isinstance(spec, WorkflowSpec) and state is not None:
        try:
            check_tasks(spec, state)
        except HistoryInvalid as error:
            return Stall(Blocker.HISTORY_INVALID, history_message(error))
    return spec
