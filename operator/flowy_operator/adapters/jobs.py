"""Jobs as JSON -> JobRecord. As with Pods, an object of odd shape gives no record and raises nothing."""

import logging

from flowy_operator.adapters.kube.fields import (
    NOTHING,
    Raw,
    controller,
    instant,
    mapping,
    mappings,
    name,
    text,
)
from flowy_operator.core.job import INPUT_MAP_ANNOTATION, RUN_LABEL, WORKFLOW_LABEL
from flowy_operator.core.records import JobRecord

_log = logging.getLogger(__name__)


def parse_job(job: Raw) -> JobRecord | None:
    """Make the record of a Job, or None if it lacks what makes it one of ours: name, uid, version, age, our label."""
    try:
        return _parse(job)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        metadata = mapping(mapping(job).get("metadata"))
        _log.debug("a job of odd shape is ignored", extra={"job": text(metadata.get("name")), "error": repr(error)})
        return None


def _parse(job: Raw) -> JobRecord:
    metadata = job["metadata"]
    created_at = instant(metadata["creationTimestamp"])
    if created_at is None:
        raise ValueError("no creation time")
    # Not `FailureTarget` and `SuccessCriteriaMet`: those stand while Pods are still being ended.
    true = {
        text(condition.get("type")): condition
        for condition in mappings(mapping(job.get("status")).get("conditions"))
        if condition.get("status") == "True"
    }
    failed = true.get("Failed")
    ended = failed or true.get("Complete")
    run = metadata["labels"].get(RUN_LABEL)
    return JobRecord(
        namespace=name(metadata["namespace"]),
        name=name(metadata["name"]),
        uid=name(metadata["uid"]),
        resource_version=int(metadata["resourceVersion"]),
        workflow=name(metadata["labels"][WORKFLOW_LABEL]),
        owner_uid=text(controller(metadata).get("uid")),
        created_at=created_at,
        failed_reason=None if failed is None else text(failed.get("reason")) or "Failed",
        failed_message=text((failed or NOTHING).get("message")),
        complete="Complete" in true,
        ended_at=None if ended is None else instant(ended.get("lastTransitionTime")),
        run=None if run is None else int(run),
        deleting=metadata.get("deletionTimestamp") is not None,
        has_input_map=INPUT_MAP_ANNOTATION in mapping(metadata.get("annotations")),
    )
