"""WorkflowDefinitions as JSON -> Definition: parsed once a version, however many Workflows refer to it."""

import hashlib
import json
import logging

from flowy_operator.adapters.crd.spec import InvalidSpec, definition_spec
from flowy_operator.adapters.kube.fields import Raw, name
from flowy_operator.core.definition import Definition
from flowy_operator.core.spec import WorkflowSpec

_log = logging.getLogger(__name__)


def parse_definition(body: Raw) -> Definition | None:
    """Make the record of a WorkflowDefinition, or None if it lacks name or version. Raises nothing."""
    try:
        metadata = body["metadata"]
        return Definition(
            namespace=name(metadata["namespace"]),
            name=name(metadata["name"]),
            resource_version=int(metadata["resourceVersion"]),
            digest=content_digest(body.get("spec")),
            spec=_spec(body),
        )
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        _log.warning("a definition of odd shape is ignored", extra={"error": repr(error)})
        return None


def content_digest(spec: object) -> str:
    """The digest of a definition's content: of its whole spec, whatever the order of fields is."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _spec(body: Raw) -> WorkflowSpec | str:
    try:
        return definition_spec(body)
    except InvalidSpec as error:
        return str(error)
