"""A local run as the objects that a cluster would have of it: what reads a run from a file draws, describes and replays it.

A child is a Workflow of its own beside its parent, under the name that its parent's history implies.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from flowy.local.execution import End, Execution
from flowy_cli.run import Raw
from flowy_operator.core.conditions import Reason
from flowy_operator.core.history import in_milliseconds, parse_history
from flowy_operator.core.job import API_VERSION, KIND, UID_LABEL, WORKFLOW_LABEL
from flowy_operator.core.naming import job_name
from flowy_operator.core.observe import View
from flowy_operator.core.spec import SubWorkflow
from flowy_operator.core.state import State, apply
from flowy_operator.core.status import Standing, status_fields
from flowy_operator.core.verdict import End as ClusterEnd

_REASONS = {"completed": Reason.COMPLETED, "failed": Reason.FAILED, "cancelled": Reason.CANCELLED}


def recorded(root: Execution, name: str, namespace: str, spec: Raw) -> Iterator[dict[str, Any]]:
    """The Workflow of a run that is over, and those below it. `spec` is the outermost one's."""
    spec = {**spec, "input": {"json": root.arguments}}
    yield _body(root, name, namespace, spec, {})
    yield from _children(root, name, namespace, spec)


def _children(execution: Execution, name: str, namespace: str, spec: Raw) -> Iterator[dict[str, Any]]:
    for child in execution.children:
        call = child.parent
        assert call is not None
        if call.record.key not in execution.attempts.calls or execution.attempts.calls[call.record.key] is not call:
            continue  # of a run before the last: the cluster doesn't keep those either
        own = job_name(
            workflow=name, uid=execution.uid, run=execution.run, task=call.key, attempt=child.attempt, launch=0
        )
        labels = {WORKFLOW_LABEL: name, UID_LABEL: execution.uid}
        its_spec = {**_child_spec(spec, call.plan.work.task.workflow), "input": {"json": child.arguments}}
        yield _body(child, own, namespace, its_spec, labels)
        yield from _children(child, own, namespace, its_spec)


def _child_spec(spec: Raw, sub: SubWorkflow) -> dict[str, Any]:
    chosen = {} if sub.entrypoint is None else {"entrypoint": sub.entrypoint}
    if sub.definition is not None:
        return {"definitionRef": {"name": sub.definition, **chosen}}
    if "definitionRef" in spec:
        return {"definitionRef": {**spec["definitionRef"], **chosen}}
    return {**spec, "code": {**spec["code"], **chosen}}


def _body(execution: Execution, name: str, namespace: str, spec: Raw, labels: Mapping[str, str]) -> dict[str, Any]:
    started_at, ended_at, end = in_milliseconds(execution.begun_at), execution.ended_at, execution.end
    assert ended_at is not None
    assert end is not None
    history = execution.history.events
    state = apply(State(workflow=name, uid=execution.uid, started_at=started_at), parse_history(history))
    standing = Standing(generation=1, started_at=started_at, end=_end(end))
    status = {**status_fields({}, state, standing, View(), ended_at), "history": history}
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "uid": execution.uid, "generation": 1}
    metadata |= {"creationTimestamp": status["startTime"]} | ({"labels": dict(labels)} if labels else {})
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": dict(spec), "status": status}


def _end(end: End) -> ClusterEnd:
    if end.timed_out:
        reason = Reason.TIMED_OUT
    elif end.outcome == "failed" and end.is_final:
        reason = Reason.INVALID_CODE
    else:
        reason = _REASONS.get(end.outcome, Reason.TERMINATED)
    return ClusterEnd(reason=reason, result=end.result, error=end.error, ignored_errors=end.ignored_errors)
