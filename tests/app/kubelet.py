"""Kubernetes without Flowy: a Job controller and a kubelet in a few lines, on the fake API server's store.

What is kept of the real ones, as measured: a Job gets its pod a moment later, times in a pod's status are whole seconds,
a Job's condition follows its pod after a second, and deleting a Job takes its pod along. Nothing here goes through the
client, so faults and counts are the operator's alone.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.fakes.patches import copied
from tests.fakes.store import Json, Refusal, Store

POD_AFTER_S = 0.03
JOB_AFTER_S = 1.0


@dataclass(frozen=True, slots=True)
class Call:
    """One launch, as its container sees it. `launch` counts the Jobs of one attempt, from 0."""

    workflow: str
    task: str
    attempt: int
    launch: int
    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.task.rpartition("-")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What the container does: it starts after `pending_s` and ends `lasts_s` later; None means never."""

    pending_s: float | None = 0.0
    lasts_s: float | None = 1.0
    exit_code: int = 0
    message: str = ""
    log: bytes = b""
    disruption: str | None = None
    vanishes: bool = False
    """Its pod goes at the moment of its end, as one does that is being deleted."""
    unmounted: str | None = None
    """What the kubelet says of a volume, in an Event and nowhere else."""


Activity = Callable[[Call], Act]


def value(result: object, lasts_s: float = 1.0) -> Act:
    return Act(lasts_s=lasts_s, message=json.dumps(result))


def printed(result: object, lasts_s: float = 1.0, noise: str = "") -> Act:
    """For tasks with `result: {from: Log}`."""
    return Act(lasts_s=lasts_s, log=f"{noise}{json.dumps(result)}\n".encode())


def failure(message: str = "no", lasts_s: float = 1.0, exit_code: int = 1) -> Act:
    return Act(lasts_s=lasts_s, exit_code=exit_code, message=message)


NEVER_STARTS = Act(pending_s=None)
NEVER_ENDS = Act(lasts_s=None)


@dataclass(slots=True)
class Kubelet:
    """`activity` says what each launch does. `created` are all Jobs that ever were, by (namespace, name)."""

    store: Store
    activity: Activity
    clock: Callable[[], datetime]
    logs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    created: list[tuple[str, str]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    _seen: int = 0
    _pods: int = 0

    def __post_init__(self) -> None:
        self.store.news.append(self._look)

    def _look(self) -> None:
        """Act upon what has changed, soon: the store is in the middle of a write."""
        start = len(self.store.log)
        while start and self.store.log[start - 1].version > self._seen:
            start -= 1
        self._seen = self.store.version
        for change in self.store.log[start:]:
            job = change.new
            if change.kind.plural == "jobs" and change.old is None and job is not None and "spec" in job:
                self.created.append((job["metadata"]["namespace"], job["metadata"]["name"]))
                asyncio.get_running_loop().call_later(POD_AFTER_S, self._make_pod, job)

    def _make_pod(self, job: Json, tries: int = 0) -> None:
        metadata = job["metadata"]
        if not self._is_there("jobs", metadata["namespace"], metadata["name"], metadata["uid"]):
            return
        call = self._call(job)
        template = copied(job["spec"]["template"])
        self._pods += 1
        pod = {
            "metadata": {
                "name": f"{metadata['name']}-{self._pods:05d}",
                "labels": {**template["metadata"]["labels"], "batch.kubernetes.io/job-name": metadata["name"]},
                "annotations": template["metadata"]["annotations"],
                "ownerReferences": [
                    {
                        "apiVersion": "batch/v1",
                        "kind": "Job",
                        "name": metadata["name"],
                        "uid": metadata["uid"],
                        "controller": True,
                    }
                ],
            },
            "spec": {**template["spec"], "nodeName": "node-1"},
            "status": {"phase": "Pending"},
        }
        try:
            made = self.store.create(self.store.kind("pods"), metadata["namespace"], pod)
        except Refusal as refusal:
            self._event("Job", metadata, "FailedCreate", f"Error creating: {refusal}")
            asyncio.get_running_loop().call_later(min(2**tries, 60), self._make_pod, job, tries + 1)
            return
        self.calls.append(call)
        act = self.activity(call)
        if act.unmounted is not None:
            self._event("Pod", made["metadata"], "FailedMount", act.unmounted)
        if act.pending_s is not None:
            asyncio.get_running_loop().call_later(act.pending_s, self._start, made, act)

    def _call(self, job: Json) -> Call:
        template = job["spec"]["template"]["metadata"]
        given = json.loads(self._input(job))
        workflow = template["labels"]["flowy.dev/workflow"]
        task = template["annotations"]["flowy.dev/task"]
        attempt = int(template["labels"]["flowy.dev/attempt"])
        before = [c for c in self.calls if (c.workflow, c.task, c.attempt) == (workflow, task, attempt)]
        return Call(workflow, task, attempt, len(before), given["args"], given["kwargs"])

    def _input(self, job: Json) -> str:
        """The content of the input file, be it an annotation or a ConfigMap."""
        template = job["spec"]["template"]
        (volume,) = [v for v in template["spec"]["volumes"] if v["name"] == "flowy-input"]
        if "configMap" not in volume:
            text: str = template["metadata"]["annotations"]["flowy.dev/input"]
            return text
        config_map = self.store.get(
            self.store.kind("configmaps"), job["metadata"]["namespace"], volume["configMap"]["name"]
        )
        (item,) = volume["configMap"]["items"]
        return base64.b64decode(config_map["binaryData"][item["key"]]).decode()

    def _start(self, pod: Json, act: Act) -> None:
        started_at = self._stamp()
        self._status(pod, {"phase": "Running", "containerStatuses": [_container(running={"startedAt": started_at})]})
        if act.lasts_s is not None:
            asyncio.get_running_loop().call_later(act.lasts_s, self._end, pod, act, started_at)

    def _end(self, pod: Json, act: Act, started_at: str) -> None:
        terminated = {
            "exitCode": act.exit_code,
            "reason": "Error" if act.exit_code else "Completed",
            "message": act.message,
            "startedAt": started_at,
            "finishedAt": self._stamp(),
        }
        self.logs[pod["metadata"]["namespace"], pod["metadata"]["name"]] = act.log
        failed = bool(act.exit_code) or act.disruption is not None
        status: Json = {
            "phase": "Failed" if failed else "Succeeded",
            "containerStatuses": [_container(terminated=terminated)],
        }
        if act.disruption is not None:
            status["conditions"] = [{"type": "DisruptionTarget", "status": "True", "reason": act.disruption}]
        if self._status(pod, status):
            if act.vanishes:
                metadata = pod["metadata"]
                self.store.delete(self.store.kind("pods"), metadata["namespace"], metadata["name"])
            asyncio.get_running_loop().call_later(JOB_AFTER_S, self._close_job, pod, act)

    def _close_job(self, pod: Json, act: Act) -> None:
        owner = pod["metadata"]["ownerReferences"][0]
        namespace = pod["metadata"]["namespace"]
        if not self._is_there("jobs", namespace, owner["name"], owner["uid"]):
            return
        if act.disruption is not None:
            condition = {"type": "Failed", "status": "True", "reason": "PodFailurePolicy"}
        elif act.exit_code:
            condition = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
        else:
            condition = {"type": "Complete", "status": "True"}
        condition["lastTransitionTime"] = self._stamp()
        self.store.edit("jobs", namespace, owner["name"], lambda job: job.update(status={"conditions": [condition]}))

    def _event(self, kind: str, about: Json, reason: str, message: str) -> None:
        self._pods += 1
        told = {
            "metadata": {"name": f"{about['name']}.{self._pods:016x}"},
            "involvedObject": {"kind": kind, "name": about["name"], "uid": about["uid"]},
            "type": "Warning",
            "reason": reason,
            "message": message,
            "lastTimestamp": self._stamp(),
        }
        self.store.create(self.store.kind("events"), about["namespace"], told)

    def _status(self, pod: Json, status: Json) -> bool:
        metadata = pod["metadata"]
        if not self._is_there("pods", metadata["namespace"], metadata["name"], metadata["uid"]):
            return False
        self.store.edit("pods", metadata["namespace"], metadata["name"], lambda found: found.update(status=status))
        return True

    def _is_there(self, plural: str, namespace: str, name: str, uid: str) -> bool:
        try:
            found = self.store.get(self.store.kind(plural), namespace, name)
        except Refusal:
            return False
        return bool(found["metadata"]["uid"] == uid)

    def _stamp(self) -> str:
        return self.clock().strftime("%Y-%m-%dT%H:%M:%SZ")


def _container(**state: Any) -> Json:
    return {"name": "main", "state": state}
