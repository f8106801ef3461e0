"""Which changes of its objects a workflow is looked at for.

A pass costs a third of a millisecond where nothing comes of it, and tens of them where a run has a thousand open tasks. Most
changes tell what the last pass knew: that its own write has arrived, that the Job which it made is there, that a pod has come
and found a node. What a pass would conclude from time alone, it has set a timer for.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flowy_operator.app.tracked import Workflow
from flowy_operator.core.records import JobRecord, PodRecord


def of_version(workflow: Workflow, body: Mapping[str, Any]) -> bool:
    """Whether no pass has been about this version of the Workflow yet."""
    return int(body["metadata"]["resourceVersion"]) > workflow.looked_at


def of_job(workflow: Workflow, old: JobRecord | None, new: JobRecord | None) -> bool:
    """Whether a Job does anything else than to appear, as the one that this process made."""
    if old is not None or new is None or new.deleting or new.complete or new.failed_reason is not None:
        return True
    made = workflow.created.get(new.name)
    return made is None or made.uid != new.uid or _shows_why(workflow)


def of_pod(workflow: Workflow, old: PodRecord | None, new: PodRecord | None) -> bool:
    """Whether a pod does anything else than to appear and to be given a node."""
    if new is None or new.deleting or new.phase != "Pending" or new.started_at is not None or new.waiting is not None:
        return True
    return (old is not None and replace(old, node=new.node) != new) or _shows_why(workflow)


def _shows_why(workflow: Workflow) -> bool:
    """Whether the status tells why a task doesn't run, which may be over with this."""
    return any("reason" in wait for wait in (workflow.version.status or {}).get("waitingOn", ()))
