"""A Workflow's metadata as JSON -> whose child it is. Whatever is of an odd shape is a Workflow without a parent."""

from flowy_operator.adapters.kube.fields import Raw, controller, mapping, text
from flowy_operator.core.child import (
    DEFINITION_ANNOTATION,
    DEPTH_ANNOTATION,
    MAX_DEPTH,
    SUSPENDED_ANNOTATION,
    ChildRecord,
    Lineage,
    standing_of,
)
from flowy_operator.core.conditions import has_ended
from flowy_operator.core.history import StopMode
from flowy_operator.core.job import API_VERSION, KIND, RUN_LABEL, TASK_ANNOTATION, UID_LABEL, WORKFLOW_LABEL


def parse_lineage(metadata: Raw) -> Lineage | None:
    """Find the parent: the controller, or for an abandoned child what its labels say."""
    labels, annotations = mapping(metadata.get("labels")), mapping(metadata.get("annotations"))
    parent, parent_uid = text(labels.get(WORKFLOW_LABEL)), text(labels.get(UID_LABEL))
    task, run = text(annotations.get(TASK_ANNOTATION)), _number(labels.get(RUN_LABEL))
    owner = controller(metadata)
    if owner:
        if owner.get("apiVersion") != API_VERSION or owner.get("kind") != KIND:
            return None
        parent, parent_uid = text(owner.get("name")), text(owner.get("uid"))
    if parent is None or parent_uid is None or task is None or run is None:
        return None
    return Lineage(
        parent=parent,
        parent_uid=parent_uid,
        owned=bool(owner),
        task=task,
        run=run,
        suspended_by_parent=SUSPENDED_ANNOTATION in annotations,
    )


def parse_child(body: Raw) -> ChildRecord | None:
    """A Workflow as its parent sees it, None if it has none. What can't be read of spec and status isn't there."""
    metadata, spec, status = mapping(body.get("metadata")), mapping(body.get("spec")), mapping(body.get("status"))
    lineage = parse_lineage(metadata)
    if lineage is None:
        return None
    stop = text(spec.get("stop"))
    return ChildRecord(
        namespace=str(metadata["namespace"]),
        name=str(metadata["name"]),
        uid=str(metadata["uid"]),
        lineage=lineage,
        standing=standing_of(status),
        ended=has_ended(status),
        deleting="deletionTimestamp" in metadata,
        suspended=spec.get("suspend") is True,
        stop=StopMode(stop) if stop in set(StopMode) else None,
    )


def parse_depth(metadata: Raw) -> int:
    """How many parents are above it, 0 if nothing sensible is said."""
    depth = _number(mapping(metadata.get("annotations")).get(DEPTH_ANNOTATION))
    return 0 if depth is None else min(depth, MAX_DEPTH)


def parse_definition_digest(metadata: Raw) -> str | None:
    """The content that its definition must have, by what its parent said."""
    return text(mapping(metadata.get("annotations")).get(DEFINITION_ANNOTATION))


def _number(value: object) -> int | None:
    return (
        int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < _DIGITS else None
    )


_DIGITS = 10
