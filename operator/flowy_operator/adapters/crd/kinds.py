"""The kinds of our group: what is said of each beside its model, for the CRD and for the reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from flowy_operator.adapters.crd import model, page

GROUP = "flowy.dev"
VERSION = "v1alpha1"

Column = Mapping[str, Any]
"""One entry of `additionalPrinterColumns`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind: `shape` gives its name and schema; one that has the field `status` has the subresource.

    `note` is for people who read the reference: how to name the kind, what it is for. `selectable` are the JSON paths for
    `--field-selector`.
    """

    shape: type[BaseModel]
    plural: str
    short_names: Sequence[str]
    columns: Sequence[Column]
    note: str
    selectable: Sequence[str] = ()

    @property
    def name(self) -> str:
        return self.shape.__name__

    @property
    def has_status(self) -> bool:
        return "status" in self.shape.model_fields


AGE: Column = {
    "name": "Age",
    "type": "date",
    "description": "Time since the object was made.",
    "jsonPath": ".metadata.creationTimestamp",
}

WORKFLOW = Kind(
    shape=model.Workflow,
    plural="workflows",
    short_names=("fwf",),  # wf is Argo's
    note="The plural is `workflows`, which other products use as well: write `workflows.flowy.dev`, or the short name"
    " `fwf`. `kubectl get flowy` shows everything of Flowy's.",
    selectable=(".spec.definitionRef.name",),
    columns=(
        {
            "name": "Status",
            "type": "string",
            "description": "Reason of the condition Succeeded.",
            "jsonPath": '.status.conditions[?(@.type=="Succeeded")].reason',
        },
        {
            "name": "Progress",
            "type": "string",
            "description": "Tasks with a final outcome / tasks called so far.",
            "jsonPath": ".status.progress.summary",
        },
        {
            "name": "Running",
            "type": "integer",
            "description": "Tasks that run or wait to run.",
            "jsonPath": ".status.progress.running",
        },
        {
            "name": "Waiting",
            "type": "string",
            "description": "The first task that the code waits for.",
            "jsonPath": ".status.waitingOn[0].task",
            "priority": 1,
        },
        {
            "name": "Definition",
            "type": "string",
            "description": "The WorkflowDefinition that it runs.",
            "jsonPath": ".spec.definitionRef.name",
            "priority": 1,
        },
        AGE,
    ),
)

WORKFLOW_DEFINITION = Kind(
    shape=model.WorkflowDefinition,
    plural="workflowdefinitions",
    short_names=("fwd",),
    note="Short name `fwd`. What a definition is for: [writing workflows](../writing-workflows.md#definitions).",
    columns=(
        {
            "name": "Entrypoint",
            "type": "string",
            "description": "The factory, where the definition names it.",
            "jsonPath": ".spec.code.entrypoint",
        },
        AGE,
    ),
)

HISTORY_PAGE = Kind(
    shape=page.HistoryPage,
    plural="historypages",
    short_names=("fhp",),
    note="Pages are there for as long as their Workflow, or until a restart makes them too old.",
    columns=(
        {
            "name": "Workflow",
            "type": "string",
            "description": "The Workflow whose events these are.",
            "jsonPath": ".metadata.ownerReferences[0].name",
        },
        {"name": "Run", "type": "integer", "description": "Number of the run.", "jsonPath": ".spec.run"},
        {"name": "First", "type": "integer", "description": "Id of the first event.", "jsonPath": ".spec.first"},
        {"name": "Last", "type": "integer", "description": "Id of the last event.", "jsonPath": ".spec.last"},
        AGE,
    ),
)

KINDS: Sequence[Kind] = (WORKFLOW, WORKFLOW_DEFINITION, HISTORY_PAGE)
