"""Kubernetes without Flowy: a Job controller, a scheduler and a kubelet in a few lines, on the fake API server's store.

What is kept of the real ones, as measured: a Job gets its pod a moment later, times in a pod's status are whole seconds,
a Job's condition follows its pod after a second, and deleting a Job takes its pod along, once its container has ended. Nothing here goes through the
client, so faults and counts are the operator's alone.
"""

import asyncio
import base64
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.fakes.store import Json, Refusal, Store

POD_AFTER_S = 0.03
JOB_AFTER_S = 1.0
NODES = ["node-1", "node-2", "node-3"]


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
    said: str | None = None
    """What the node says of the pod at its end."""
    unmounted: str | None = None
    """What the kubelet says of a volume, in an Event and nowhere else."""


Activity = Callable[[Call], Act]


def value(result: object, lasts_s: float | None = 1.0) -> Act:
    return Act(lasts_s=lasts_s, message=json.dumps(result))


def printed(result: object, lasts_s: float | None = 1.0, noise: str = "") -> Act:
    """For tasks with `result: {from: Log}`."""
    return Act(lasts_s=lasts_s, log=f"{noise}{json.dumps(result)}\n".encode())


def failure(message: str = "no", lasts_s: float | None = 1.0, exit_code: int = 1) -> Act:
    return Act(lasts_s=lasts_s, exit_code=exit_code, message=message)


NEVER_STARTS = Act(pending_s=None)
NEVER_ENDS = Act(lasts_s=None)
_FORCED = Act(exit_code=137)
_DISRUPTED = Act(exit_code=137, disruption="DisruptionTarget")


@dataclass(slots=True)
class _Container:
    """A pod that this kubelet has. `held` is its end on a node that can't tell it."""

    pod: Json
    act: Act
    node: str
    started_at: str | None = None
    has_ended: bool = False
    is_stopping: bool = False
    held: Json | None = None


@dataclass(slots=True)
class Kubelet:
    """`activity` says what each launch does. `created` are all Jobs that ever were, by (namespace, name).

    `grace_s` is how long a container takes to end that is told to, `started` has when that of each Job began,
    `told` when its end was there to be seen, by the loop's clock; `succeeded` has that of those that did, and their pods' uids.
    """

    store: Store
    activity: Activity
    clock: Callable[[], datetime]
    logs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    created: list[tuple[str, str]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    started: dict[str, str] = field(default_factory=dict)
    told: dict[str, float] = field(default_factory=dict)
    succeeded: dict[str, tuple[float, str]] = field(default_factory=dict)
    grace_s: Callable[[], float] = lambda: 0.0
    _lost: set[str] = field(default_factory=set)
    _containers: dict[str, _Container] = field(default_factory=dict)  # by the pod's uid
    _launches: Counter[tuple[str, str, int]] = field(default_factory=Counter)
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
            if change.kind.plural == "pods":
                self._look_at(change.old, change.new)
            elif change.kind.plural == "jobs" and change.old is None and job is not None and "spec" in job:
                self.created.append((job["metadata"]["namespace"], job["metadata"]["name"]))
                asyncio.get_running_loop().call_later(POD_AFTER_S, self._make_pod, job)

    def _look_at(self, old: Json | None, new: Json | None) -> None:
        """Pods that are to end, and those that were taken away without asking."""
        known = new or old
        assert known is not None
        container = self._containers.get(known["metadata"]["uid"])
        if container is None:
            return
        if new is None:
            del self._containers[known["metadata"]["uid"]]
            if not container.has_ended:
                container.has_ended = True
                asyncio.get_running_loop().call_later(JOB_AFTER_S, self._close_job, container.pod, _FORCED)
        elif "deletionTimestamp" in new["metadata"] and not container.is_stopping:
            container.is_stopping = True
            asyncio.get_running_loop().call_later(self.grace_s(), self._stopped, container)

    def running(self) -> list[Json]:
        """The pods whose containers run, as they were made."""
        return [c.pod for c in self._containers.values() if c.started_at is not None and not c.has_ended]

    def begin(self, pod: Json, act: Act) -> None:
        """Start the container of a pod that has waited; this is what it does."""
        container = self._containers[pod["metadata"]["uid"]]
        container.act = act
        self._start(container)

    def disrupt(self, pod: Json, reason: str) -> None:
        """Take a pod away, as an eviction does."""
        target = {"type": "DisruptionTarget", "status": "True", "reason": reason}
        metadata = pod["metadata"]
        if self._is_there("pods", metadata["namespace"], metadata["name"], metadata["uid"]):
            self.store.edit(
                "pods",
                metadata["namespace"],
                metadata["name"],
                lambda found: found["status"].setdefault("conditions", []).append(target),
            )
            self.store.delete(self.store.kind("pods"), metadata["namespace"], metadata["name"])

    def lose(self, node: str) -> None:
        """Nothing is heard of a node any more. Its containers run on."""
        self._lost.add(node)

    def give_up(self, node: str) -> None:
        """What the node lifecycle controller and the pod garbage collector do in the end."""
        for container in [c for c in self._containers.values() if c.node == node]:
            metadata = container.pod["metadata"]
            self.disrupt(container.pod, "DeletionByTaintManager")
            container.held = None
            container.has_ended = True
            if self._status(container.pod, {**self._conditions(container.pod), "phase": "Failed"}):
                asyncio.get_running_loop().call_later(JOB_AFTER_S, self._close_job, container.pod, _DISRUPTED)
                self.store.delete(self.store.kind("pods"), metadata["namespace"], metadata["name"], grace_s=0)

    def find(self, node: str) -> None:
        """The node is back, and tells what has happened meanwhile."""
        self._lost.discard(node)
        for container in [c for c in self._containers.values() if c.node == node and c.held is not None]:
            held, container.held = container.held, None
            assert held is not None
            self._tell_end(container, held)

    def _conditions(self, pod: Json) -> Json:
        """Those that a pod has, to be kept."""
        metadata = pod["metadata"]
        if not self._is_there("pods", metadata["namespace"], metadata["name"], metadata["uid"]):
            return {}
        found = self.store.see(self.store.kind("pods"), metadata["namespace"], metadata["name"])
        conditions = found["status"].get("conditions")
        return {"conditions": conditions} if conditions else {}

    def _stopped(self, container: _Container) -> None:
        """The end of a container that was told to end."""
        if container.node in self._lost:
            asyncio.get_running_loop().call_later(1.0, self._stopped, container)
            return
        if not container.has_ended:
            self._finish(container, Act(exit_code=143))

    def _remove(self, container: _Container) -> None:
        metadata = container.pod["metadata"]
        if self._is_there("pods", metadata["namespace"], metadata["name"], metadata["uid"]):
            self.store.delete(self.store.kind("pods"), metadata["namespace"], metadata["name"], grace_s=0)

    def _make_pod(self, job: Json, tries: int = 0) -> None:
        metadata = job["metadata"]
        if not self._is_there("jobs", metadata["namespace"], metadata["name"], metadata["uid"]):
            return
        call = self._call(job)
        template = job["spec"]["template"]
        self._pods += 1
        there = [node for node in NODES if node not in self._lost] or NODES
        node = there[self._pods % len(there)]
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
            "spec": {**template["spec"], "nodeName": node},
            "status": {"phase": "Pending"},
        }
        try:
            made = self.store.create(self.store.kind("pods"), metadata["namespace"], pod)
        except Refusal as refusal:
            self._event("Job", metadata, "FailedCreate", f"Error creating: {refusal}")
            asyncio.get_running_loop().call_later(min(2**tries, 60), self._make_pod, job, tries + 1)
            return
        self.calls.append(call)
        self._launches[call.workflow, call.task, call.attempt] += 1
        act = self.activity(call)
        container = self._containers[made["metadata"]["uid"]] = _Container(made, act, node)
        if act.unmounted is not None:
            self._event("Pod", made["metadata"], "FailedMount", act.unmounted)
        if act.pending_s is not None:
            asyncio.get_running_loop().call_later(act.pending_s, self._start, container)

    def _call(self, job: Json) -> Call:
        template = job["spec"]["template"]["metadata"]
        given = json.loads(self._input(job))
        workflow = template["labels"]["flowy.dev/workflow"]
        task = template["annotations"]["flowy.dev/task"]
        attempt = int(template["labels"]["flowy.dev/attempt"])
        return Call(workflow, task, attempt, self._launches[workflow, task, attempt], given["args"], given["kwargs"])

    def _input(self, job: Json) -> str:
        """The content of the input file, be it an annotation or a ConfigMap."""
        template = job["spec"]["template"]
        (volume,) = [v for v in template["spec"]["volumes"] if v["name"] == "flowy-input"]
        if "configMap" not in volume:
            text: str = template["metadata"]["annotations"]["flowy.dev/input"]
            return text
        config_map = self.store.see(
            self.store.kind("configmaps"), job["metadata"]["namespace"], volume["configMap"]["name"]
        )
        (item,) = volume["configMap"]["items"]
        return base64.b64decode(config_map["binaryData"][item["key"]]).decode()

    def _start(self, container: _Container) -> None:
        if container.is_stopping or container.has_ended:
            return
        container.started_at = self._stamp()
        self.started[container.pod["metadata"]["ownerReferences"][0]["name"]] = container.started_at
        if container.node not in self._lost:
            running = [_container(running={"startedAt": container.started_at})]
            self._status(container.pod, {"phase": "Running", "containerStatuses": running})
        if container.act.lasts_s is not None:
            asyncio.get_running_loop().call_later(container.act.lasts_s, self._end, container)

    def _end(self, container: _Container) -> None:
        if not container.has_ended:
            self._finish(container, container.act)

    def _finish(self, container: _Container, act: Act) -> None:
        container.has_ended, container.act = True, act
        pod = container.pod
        self.logs[pod["metadata"]["namespace"], pod["metadata"]["name"]] = act.log
        failed = bool(act.exit_code) or act.disruption is not None
        status: Json = {"phase": "Failed" if failed else "Succeeded"}
        if container.started_at is not None:
            terminated = {
                "exitCode": act.exit_code,
                "reason": "Error" if act.exit_code else "Completed",
                "message": act.message,
                "startedAt": container.started_at,
                "finishedAt": self._stamp(),
            }
            status["containerStatuses"] = [_container(terminated=terminated)]
        if act.said is not None:
            status["message"] = act.said
        if act.disruption is not None:
            status["conditions"] = [{"type": "DisruptionTarget", "status": "True", "reason": act.disruption}]
        if container.node in self._lost:
            container.held = status
        else:
            self._tell_end(container, status)

    def _tell_end(self, container: _Container, status: Json) -> None:
        # What took the pod away stays said.
        status = {**self._conditions(container.pod), **status}
        if self._status(container.pod, status):
            now, metadata = asyncio.get_running_loop().time(), container.pod["metadata"]
            self.told[metadata["ownerReferences"][0]["name"]] = now
            if status["phase"] == "Succeeded":
                self.succeeded[metadata["ownerReferences"][0]["name"]] = now, metadata["uid"]
            if container.act.vanishes:
                self._remove(container)
            asyncio.get_running_loop().call_later(JOB_AFTER_S, self._close, container, status)

    def _close(self, container: _Container, status: Json) -> None:
        """The Job controller counts a pod; one that is being deleted goes then."""
        is_disrupted = status["phase"] == "Failed" and "conditions" in status
        self._close_job(container.pod, _DISRUPTED if is_disrupted else container.act)
        if container.is_stopping:
            self._remove(container)

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
        self.store.tell("jobs", namespace, owner["name"], {"conditions": [condition]})

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
        self.store.tell("pods", metadata["namespace"], metadata["name"], status)
        return True

    def _is_there(self, plural: str, namespace: str, name: str, uid: str) -> bool:
        try:
            found = self.store.see(self.store.kind(plural), namespace, name)
        except Refusal:
            return False
        return bool(found["metadata"]["uid"] == uid)

    def _stamp(self) -> str:
        return self.clock().strftime("%Y-%m-%dT%H:%M:%SZ")


def _container(**state: Any) -> Json:
    return {"name": "main", "state": state}
