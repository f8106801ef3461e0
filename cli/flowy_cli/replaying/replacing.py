"""Other code for a run: from a Python file, or from a manifest."""

from dataclasses import replace

from flowy_cli.documents import DEFINITION_KIND, objects, of_kind
from flowy_cli.errors import Unreadable
from flowy_cli.texts import read_text
from flowy_operator.adapters.crd.spec import InvalidSpec, definition_spec, workflow_spec
from flowy_operator.core.job import KIND
from flowy_operator.core.spec import WorkflowSpec

MANIFESTS = (".yaml", ".yml", ".json")


def with_code(spec: WorkflowSpec, file: str | None, entrypoint: str | None) -> WorkflowSpec:
    """The spec with the code of a file instead of its own, if one is named; of a manifest with its tasks, too. Raises Unreadable."""
    changed = spec
    if file is not None:
        text = read_text(file)
        is_manifest = file.endswith(MANIFESTS)
        changed = replace(spec_of_manifest(text, file), input=spec.input) if is_manifest else replace(spec, source=text)
    return changed if entrypoint is None else replace(changed, entrypoint=entrypoint)


def spec_of_manifest(text: str, file: str) -> WorkflowSpec:
    """The spec of the first WorkflowDefinition in a manifest, else of its first Workflow. Raises Unreadable."""
    found = objects(text, file)
    try:
        for body in of_kind(found, DEFINITION_KIND):
            return definition_spec(body)
        for body in of_kind(found, KIND):
            return workflow_spec(body)
    except InvalidSpec as error:
        raise Unreadable(f"{file}: {error}") from error
    raise Unreadable(
        f"{file} holds neither a Workflow nor a WorkflowDefinition", "Python code is in a file that ends in .py"
    )
