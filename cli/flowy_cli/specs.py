"""The spec that a run is run by: its own, or its definition's with its own fields laid over."""

from flowy_cli.errors import Unreadable
from flowy_cli.run import Raw, Run
from flowy_operator.adapters.crd.definition import parse_definition
from flowy_operator.adapters.crd.spec import InvalidSpec, spec_or_reference
from flowy_operator.core.conditions import Stall
from flowy_operator.core.definition import Reference, resolve
from flowy_operator.core.spec import WorkflowSpec


def spec_of(run: Run) -> WorkflowSpec:
    """The whole spec. Raises Unreadable if it can't be run, or needs a definition that isn't at hand."""
    try:
        spec = spec_or_reference(run.body)
    except InvalidSpec as error:
        raise Unreadable(f"{run.name} can't be run: {error}") from error
    if not isinstance(spec, Reference):
        return spec
    definition = None if run.definition is None else parse_definition(_complete(run.definition, run.namespace))
    found = resolve(spec, definition, run.namespace, run.status.get("definitionDigest"))
    if isinstance(found, Stall):
        raise Unreadable(found.message, f"`flowy export {run.name}` writes the definition into the file, too")
    return found


def _complete(definition: Raw, namespace: str) -> Raw:
    """A definition from a file may lack what the API server adds."""
    return {**definition, "metadata": {"namespace": namespace, "resourceVersion": "0", **definition["metadata"]}}
