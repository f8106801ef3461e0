"""From objects of a file to the plan of a local run: the Workflow, the definitions beside it, an input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from flowy.errors import ValueRefused
from flowy.local.plan import Decided, OnEnd, Plan, Question, TaskPlan
from flowy.wire import values
from flowy.wire.messages import Request
from flowy_cli.documents import DEFINITION_KIND, check_fields, of_kind
from flowy_cli.errors import Unreadable
from flowy_cli.local.contract import Work
from flowy_cli.replaying.decider import Decide
from flowy_cli.run import Raw
from flowy_operator.adapters.crd.definition import parse_definition
from flowy_operator.adapters.crd.spec import InvalidSpec, spec_or_reference
from flowy_operator.core.conditions import Stall
from flowy_operator.core.definition import Definition, Reference, resolve
from flowy_operator.core.job import API_VERSION, KIND, Owner
from flowy_operator.core.spec import SubWorkflow, TaskSpec, WorkflowSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A Workflow of a file with all that it needs: `spec` is whole, `definitions` are those of the file, by name."""

    body: Raw
    spec: WorkflowSpec
    definitions: Mapping[str, Definition]

    @property
    def owner(self) -> Owner:
        metadata = self.body["metadata"]
        name = str(metadata.get("name") or str(metadata.get("generateName") or "").rstrip("-") or "workflow")
        return Owner(namespace=str(metadata.get("namespace") or "default"), name=name, uid="local")


class SourceCode:
    """The source of a manifest, decided elsewhere."""

    def __init__(self, spec: WorkflowSpec, decide: Decide) -> None:
        self._request = Request(source=spec.source, entrypoint=spec.entrypoint, tasks=tuple(spec.tasks), input="")
        self._decide = decide

    def decide(self, question: Question) -> Decided:
        """Decide as the operator would."""
        request = replace(
            self._request,
            input=question.input,
            records=question.records,
            seed=question.seed,
            started_at=question.started_at,
            traced=question.traced,
        )
        return Decided(self._decide(request))


def manifest_of(found: Sequence[Raw], where: str, name: str | None = None) -> Manifest:
    """The Workflow of these objects, by its name if there are several; or, without one, a run of the only definition.

    Raises Unreadable.
    """
    definitions = {d.name: d for d in map(_definition, of_kind(found, DEFINITION_KIND)) if d is not None}
    workflows = [w for w in of_kind(found, KIND) if name in {None, w["metadata"].get("name")}]
    if not workflows and (name in definitions or (name is None and len(definitions) == 1)):
        named = name or next(iter(definitions))
        spec = {"definitionRef": {"name": named}}
        workflows = [{"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": named}, "spec": spec}]
    if not workflows:
        named = f"neither Workflow nor WorkflowDefinition {name!r}" if name else "no Workflow"
        raise Unreadable(f"{where} holds {named}", f"it needs an object with apiVersion {API_VERSION}, kind {KIND}")
    if len(workflows) != 1:
        names = ", ".join(str(w["metadata"].get("name")) for w in workflows)
        raise Unreadable(f"{where} holds several Workflows: {names}", "say which one with --name")
    body = workflows[0]
    for item in (body, *of_kind(found, DEFINITION_KIND)):
        check_fields(item, where)
    try:
        spec_or_name = spec_or_reference(body)
    except InvalidSpec as error:
        raise Unreadable(f"{where}: {error}") from error
    return Manifest(body=body, spec=_whole(spec_or_name, definitions, where), definitions=definitions)


def _definition(body: Raw) -> Definition | None:
    return parse_definition({**body, "metadata": {"namespace": "default", "resourceVersion": "0", **body["metadata"]}})


def _whole(spec: WorkflowSpec | Reference, definitions: Mapping[str, Definition], where: str) -> WorkflowSpec:
    if isinstance(spec, WorkflowSpec):
        return spec
    found = resolve(spec, definitions.get(spec.name), "", None)
    if isinstance(found, Stall):
        if spec.name in definitions:
            raise Unreadable(found.message)
        raise Unreadable(
            f"{where} has no WorkflowDefinition {spec.name!r}",
            "put it into the same file, behind a line ---; `cat definition.yaml workflow.yaml | flowy run -` takes both",
        )
    return found


def input_of(manifest: Manifest, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The input as JSON text: the manifest's, unless another is given. Raises Unreadable."""
    if not args and not kwargs:
        given: Any = values.decode(manifest.spec.input)
        return values.encode_plain({"args": given.get("args", []), "kwargs": given.get("kwargs", {})})
    try:
        return values.encode({"args": list(args), "kwargs": dict(kwargs)}, "the input")
    except ValueRefused as refusal:
        raise Unreadable(f"{refusal.path}: {refusal.reason}") from refusal


def plan_of(manifest: Manifest, decide: Decide) -> Plan:
    """What the local engine is given to run."""
    return _plan(manifest.spec, manifest.owner, manifest.definitions, decide)


def _plan(spec: WorkflowSpec, owner: Owner, definitions: Mapping[str, Definition], decide: Decide) -> Plan:
    def task_plan(task: TaskSpec) -> TaskPlan:
        workflow = None
        if task.workflow is not None:
            workflow = partial(_child_plan, spec, task.workflow, owner, definitions, decide)
        work = Work(task=task, template=spec.default_template, owner=owner)
        return TaskPlan(work=work, workflow=workflow, timeouts=task.timeouts, retry=task.retry)

    return Plan(
        name=owner.name,
        code=SourceCode(spec, decide),
        tasks={name: task_plan(task) for name, task in spec.tasks.items()},
        parallelism=spec.parallelism,
        on_end=OnEnd(spec.on_end.value),
        workflow_timeout_s=spec.workflow_timeout_s,
        cancel_timeout_s=spec.cancel_timeout_s,
    )


def _child_plan(
    parent: WorkflowSpec, sub: SubWorkflow, owner: Owner, definitions: Mapping[str, Definition], decide: Decide
) -> Plan:
    """A child's plan: another factory of the parent's source, or a definition of the file. Raises Unreadable."""
    if sub.definition is None:
        spec = replace(parent, entrypoint=sub.entrypoint, workflow_timeout_s=None)
    else:
        own = {} if sub.entrypoint is None else {"entrypoint": sub.entrypoint}
        spec = _whole(Reference(name=sub.definition, own=own), definitions, "the file")
    return _plan(spec, owner, definitions, decide)
