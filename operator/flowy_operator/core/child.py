"""A launch whose task is a workflow: the manifest of its child, what is seen of the child, how the child ended.

A child is a Workflow like any other, with its own history, timers and Jobs. Its parent knows it by its name, which the
parent's history implies, and by whose it is; all that it wants to know is in the child's status.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flowy.wire.checks import MalformedMessage, value_text
from flowy_operator.core.conditions import Reason, by_type, has_ended
from flowy_operator.core.history import Failure, StopMode, parse_time
from flowy_operator.core.job import (
    API_VERSION,
    KIND,
    TASK_ANNOTATION,
    InvalidActivity,
    Owner,
    launch_labels,
    owner_reference,
)
from flowy_operator.core.outcome import Deleted, Failed, Pending, Succeeded
from flowy_operator.core.sentences import line
from flowy_operator.core.spec import DEFAULT_PARALLELISM, OnParentEnd, SubWorkflow, TaskSpec, WorkflowSpec
from flowy_operator.core.state import Launch
from flowy_operator.core.values import INLINE_BYTES

DEPTH_ANNOTATION = "flowy.dev/depth"
"""How many parents a child has above it."""

DEFINITION_ANNOTATION = "flowy.dev/definition-digest"
"""The content of the definition that a child shares with its parent: it has none of its own on record before it begins."""

SUSPENDED_ANNOTATION = "flowy.dev/suspended-by-parent"
"""On a child that was suspended because its parent is: it goes on with the parent. Whom a person suspended, a person resumes."""

MAX_DEPTH = 32
"""Of children below children: deep enough for any recursion that a person follows, and an endless one ends soon. A setting
would be one more number to explain; how many Workflows there may be in all, a ResourceQuota says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """What a Workflow's metadata says of its parent. Anybody who may create a Workflow can claim it.

    `owned` children go with their parent; one that is abandoned at the parent's end has no owner from the beginning.
    `task` is the key of the parent's task, `run` the parent's run that it belongs to.
    """

    parent: str
    parent_uid: str
    owned: bool
    task: str
    run: int
    suspended_by_parent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildRecord:
    """A child as its parent sees it. `standing` says in one line how it is doing."""

    namespace: str
    name: str
    uid: str
    lineage: Lineage
    standing: str
    ended: bool = False
    deleting: bool = False
    suspended: bool = False
    stop: StopMode | None = None


@dataclass(frozen=True, slots=True)
class ChildTimedOut:
    """The child's own time was over: the StartToClose of the parent's attempt."""

    at: datetime | None


@dataclass(frozen=True, slots=True)
class ChildCancelled:
    """Somebody stopped the child."""

    at: datetime | None


ChildEnd = Succeeded | Failed | ChildTimedOut | ChildCancelled | Deleted
"""How a child ended, as far as that concerns its parent."""


def child_manifest(
    owner: Owner, spec: WorkflowSpec, task: TaskSpec, launch: Launch, arguments: str, *, depth: int
) -> dict[str, Any]:
    """The child of one launch. `depth` is that of its parent; `arguments` is JSON text of args and kwargs.

    `InvalidActivity` if it would be too deep.
    """
    sub = task.workflow
    assert sub is not None, "an activity's manifest is made in job.py"
    if depth >= MAX_DEPTH:
        raise InvalidActivity(
            f"it would be nested {depth + 1} Workflows deep, at most {MAX_DEPTH} are allowed: end the recursion earlier, or"
            " use restart() for a loop"
        )
    annotations = {TASK_ANNOTATION: launch.task, DEPTH_ANNOTATION: str(depth + 1)}
    own = _code(spec, sub) | {"input": {"json": arguments}}
    if sub.definition is None and spec.definition_digest is not None:
        annotations[DEFINITION_ANNOTATION] = spec.definition_digest
    if task.timeouts.start_to_close_s is not None:
        own["timeouts"] = {**own.get("timeouts", {}), "workflowSeconds": task.timeouts.start_to_close_s}
    if spec.suspend:
        own["suspend"] = True
        annotations[SUSPENDED_ANNOTATION] = "true"
    abandoned = sub.on_parent_end is OnParentEnd.ABANDON
    if abandoned and spec.ttl_s is not None:
        own["ttlSecondsAfterFinished"] = spec.ttl_s  # nobody else will delete it
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": launch.job,
            "namespace": owner.namespace,
            "labels": launch_labels(owner, launch),
            "annotations": annotations,
            **({} if abandoned else {"ownerReferences": [owner_reference(owner)]}),
        },
        "spec": own,
    }


def _code(spec: WorkflowSpec, sub: SubWorkflow) -> dict[str, Any]:
    """What a child runs: a definition of its own and nothing of its parent's, or another factory of the parent's source.

    Of that, all the rest of the spec is the parent's too: what stands there, or the definition that it stands in.
    """
    chosen = {} if sub.entrypoint is None else {"entrypoint": sub.entrypoint}
    if sub.definition is not None:
        return {"definitionRef": {"name": sub.definition, **chosen}}
    if spec.definition is None:
        return {**spec.inherited, "code": {"source": spec.source, **chosen}}
    parallelism = {} if spec.parallelism == DEFAULT_PARALLELISM else {"parallelism": spec.parallelism}
    return {"definitionRef": {"name": spec.definition, **chosen}, **parallelism}


def standing_of(status: Mapping[str, Any]) -> str:
    """How a Workflow is doing, in one line. Steps of a healthy run are not told: each would be a write of the parent too."""
    found = by_type(status)
    succeeded, stalled = found.get("Succeeded", {}), found.get("Stalled", {})
    if stalled.get("status") == "True":
        return f"{stalled.get('reason')}: {line(str(stalled.get('message', '')))}"
    reason = str(succeeded.get("reason") or Reason.RUNNING)
    first: Mapping[str, Any] = next(iter(status.get("waitingOn", ())), {})
    if reason == Reason.RUNNING and first.get("reason"):
        return line(f"{first.get('task')}: {first['reason']}")
    return reason


def child_end(status: Mapping[str, Any]) -> Succeeded | Failed | ChildTimedOut | ChildCancelled | Pending:
    """How the Workflow of this status ended. Its result is given whole, wherever it will be kept."""
    if not has_ended(status):
        return Pending()
    found = by_type(status)["Succeeded"]
    at, reason = _time(status, "completionTime"), found.get("reason")
    if found["status"] == "True":
        return _completed(status, at)
    if reason == Reason.TIMED_OUT:
        return ChildTimedOut(at)
    if reason in {Reason.CANCELLED, Reason.TERMINATED}:
        return ChildCancelled(at)
    return Failed(_failure(status, str(found.get("message", ""))), at, retryable=reason != Reason.INVALID_CODE)


def _completed(status: Mapping[str, Any], at: datetime | None) -> Succeeded | Failed:
    result = str(status.get("result", "null"))
    try:
        value_text(result, "the result")
    except MalformedMessage as error:
        # Only by hand: an operator writes none.
        return Failed(Failure(type="ResultInvalid", message=f"{error}"), at, retryable=False)
    return Succeeded(result, at)


def _failure(status: Mapping[str, Any], message: str) -> Failure:
    """The child's error as it is, so that the parent's code can tell what it was; where it arose, the child says."""
    error = status.get("error", {})
    details, without = _details(error.get("details"))
    return Failure(
        type=str(error.get("type", "Error")),
        message=f"{error.get('message', message)}{without}",
        exit_code=error.get("exitCode"),
        details=details,
    )


def _details(found: object) -> tuple[str | None, str]:
    """An error's details as far as an event can hold them, and what is said where it can't."""
    if not isinstance(found, str):
        return None, ""
    size = len(found.encode())
    if size > INLINE_BYTES:
        return None, f" (without its details, which have {size:,} bytes, at most {INLINE_BYTES:,}: the child has them)"
    try:
        value_text(found, "the details")
    except MalformedMessage:
        return None, " (without its details, which are no JSON: somebody has edited them)"
    return found, ""


def _time(status: Mapping[str, Any], name: str) -> datetime | None:
    try:
        return parse_time(status[name])
    except (KeyError, TypeError, ValueError):
        return None
