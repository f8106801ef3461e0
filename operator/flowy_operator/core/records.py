"""Slim records of Pods and Jobs: what decisions need of them, a few hundred bytes each instead of 5 KB of JSON.

The reflector makes and keeps them; nothing here knows the API's shapes. Instants are aware UTC. Two records are equal that
differ in their version alone: to whoever decides, nothing has changed between them.
"""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A Job with our label. `failed_reason` is that of its condition `Failed`, `complete` its condition `Complete`.

    `ended_at` is when the one or the other became true; `run` is the label's claim, like `workflow`.
    `has_input_map`: its arguments stand in a ConfigMap.
    """

    namespace: str
    name: str
    uid: str
    resource_version: int = field(compare=False)
    workflow: str  # the label's claim; the owner's uid proves it
    owner_uid: str | None
    created_at: datetime
    failed_reason: str | None = None
    failed_message: str | None = None
    complete: bool = False
    ended_at: datetime | None = None
    run: int | None = None
    deleting: bool = False
    has_input_map: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRecord:
    """A Pod with our label, seen through its container `main`.

    `workflow_uid` is a label's claim like `workflow`; `job` and `job_uid` are its controller's. `started_at`, `finished_at`, `exit_code`, `reason`, `message` are of the
    container (its termination message is the result file). `containers` counts init containers too: they share the
    12 KiB that the kubelet reports of termination messages. `other_failure` names another container that failed.
    `disruption` is why the cluster took the pod away (`Evicted`, `NodeLost` …), None where it failed by itself.
    `pod_reason` and `pod_message` are Kubernetes' own words on the whole pod, in either case.
    `waiting` says in one line why it doesn't run yet (unschedulable, image can't be pulled) or isn't gone yet, else None.
    """

    namespace: str
    name: str
    uid: str
    resource_version: int = field(compare=False)
    workflow: str
    workflow_uid: str | None = None
    job: str | None
    job_uid: str | None
    phase: str
    containers: int = 1
    node: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    reason: str | None = None
    message: str = ""
    pod_reason: str | None = None
    pod_message: str = ""
    other_failure: str | None = None
    disruption: str | None = None
    waiting: str | None = None
    deleting: bool = False
