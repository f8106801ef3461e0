"""How a pod can end, from the JSON that the API server gives to what the history says of it.

The statuses are as Kubernetes 1.35 with containerd 2 writes them, but for what plays no part: probes, ids, addresses.
"""

from typing import Any

import pytest

from flowy_operator.adapters.jobs import parse_job
from flowy_operator.adapters.pods import parse_pod
from flowy_operator.core.history import Failure
from flowy_operator.core.outcome import Deleted, Disrupted, Failed, Outcome, Pending, judge
from tests.builders import START as AT

Json = dict[str, Any]

NOW = AT.strftime("%Y-%m-%dT%H:%M:%SZ")
IMAGE = "docker.io/library/busybox:1"
RUNC = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed:"
    ' unable to start container process: error during container init: exec: "encode": executable file not found in $PATH'
)
LOCATED = "The container could not be located when the pod was terminated"
LOW = (
    "The node was low on resource: memory. Threshold quantity: 100Mi, available: 67200Ki. Container main was using"
    " 1432Mi, request is 0, has larger consumption of memory. "
)


def terminated(code: int, reason: str = "Error", message: str | None = None) -> Json:
    state = {"exitCode": code, "reason": reason, "startedAt": NOW, "finishedAt": NOW, "containerID": "containerd://0a"}
    return {"terminated": state if message is None else {**state, "message": message}}


def waiting(reason: str, message: str = "") -> Json:
    return {"waiting": {"reason": reason, "message": message}}


def target(reason: str, message: str) -> Json:
    return {
        "type": "DisruptionTarget",
        "status": "True",
        "lastTransitionTime": NOW,
        "reason": reason,
        "message": message,
    }


def pod(
    state: Json | None, phase: str = "Failed", *, init: Json | None = None, deleting: bool = False, **status: Any
) -> Json:
    """`state` of the container main, None where the kubelet never reported any."""
    metadata: Json = {
        "name": "talk-42-encode-0-abcdefghij-x7k2p",
        "namespace": "media",
        "uid": "5f0c1b1e-6a38-4f57-8f4e-2f5a4c0a9d11",
        "resourceVersion": "4711",
        "creationTimestamp": NOW,
        "labels": {"flowy.dev/workflow": "talk-42", "batch.kubernetes.io/job-name": "j", "job-name": "j"},
        "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u-j", "controller": True}],
    }
    if deleting:
        metadata |= {
            "deletionTimestamp": NOW,
            "deletionGracePeriodSeconds": 30,
            "finalizers": ["batch.kubernetes.io/job-tracking"],
        }
    spec: Json = {"nodeName": "node-1", "restartPolicy": "Never", "containers": [{"name": "main", "image": IMAGE}]}
    found: Json = {"phase": phase, "qosClass": "BestEffort", "startTime": NOW, **status}
    if state is not None:
        found["containerStatuses"] = [{"name": "main", "image": IMAGE, "restartCount": 0, "state": state}]
    if init is not None:
        spec["initContainers"] = [{"name": "fetch", "image": "git:2"}]
        found["initContainerStatuses"] = [{"name": "fetch", "image": "git:2", "restartCount": 0, "state": init}]
    return {"metadata": metadata, "spec": spec, "status": found}


def job(*, reason: str | None = None, message: str = "", deleting: bool = False) -> Json:
    metadata: Json = {
        "name": "j",
        "namespace": "media",
        "uid": "u-j",
        "resourceVersion": "4712",
        "creationTimestamp": NOW,
        "labels": {"flowy.dev/workflow": "talk-42"},
    }
    if deleting:
        metadata |= {"deletionTimestamp": NOW, "finalizers": ["foregroundDeletion"]}
    failed = {"type": "Failed", "status": "True", "reason": reason, "message": message, "lastTransitionTime": NOW}
    return {"metadata": metadata, "status": {"conditions": [failed] if reason else []}}


RUNNING = {"running": {"startedAt": NOW}}
LIMIT = "Job has reached the specified backoff limit"


def failed(kind: str, message: str, code: int | None = None, details: str | None = None) -> Failed:
    return Failed(Failure(type=kind, message=message, exit_code=code, details=details), AT)


ENDS: dict[str, tuple[Json, Json | None, Outcome]] = {
    # -- the container's own doing
    "the program failed, its last log lines are the message": (
        job(),
        pod(terminated(2, message="Traceback ...\nFileNotFoundError: talk.mp4\n")),
        failed("Error", "Traceback ...\nFileNotFoundError: talk.mp4", 2),
    ),
    "the program says what failed": (
        job(),
        pod(terminated(3, message='{"error": {"type": "NoSuchFilm", "message": "film 7", "details": {"id": 7}}}')),
        failed("NoSuchFilm", "film 7", 3, '{"id": 7}'),
    ),
    "it used more memory than its limit": (
        job(),
        pod(terminated(137, "OOMKilled")),
        failed(
            "OOMKilled",
            "out of memory, exit code 137 (signal 9): raise the container's memory limit, or have it use less",
            137,
        ),
    ),
    "it used more memory than its limit, and had logged": (
        job(),
        pod(terminated(137, "OOMKilled", "frame 4711\n")),
        failed("OOMKilled", "frame 4711", 137),
    ),
    "it used more memory than its limit, and had begun to report": (
        job(),
        pod(terminated(137, "OOMKilled", '{"error": {"message": "decoding"}}')),
        failed("OOMKilled", "decoding", 137),
    ),
    "the program isn't in the image": (
        job(),
        pod(terminated(128, "StartError", RUNC)),
        failed("StartError", RUNC, 128),
    ),
    "the program isn't in the image, says Docker": (
        job(),
        pod(terminated(127, "ContainerCannotRun", "no such file")),
        failed("StartError", "no such file", 127),
    ),
    "a shell doesn't find the program": (
        job(),
        pod(terminated(127, message="sh: encode: not found\n")),
        failed("Error", "sh: encode: not found", 127),
    ),
    "an init container failed": (
        job(),
        pod(
            waiting("PodInitializing"),
            init=terminated(128, message="fatal: repository not found\n"),
        ),
        Failed(Failure(type="ContainerFailed", message="fetch: exit code 128: fatal: repository not found"), None),
    ),
    "an init container ran out of memory": (
        job(),
        pod(waiting("PodInitializing"), init=terminated(137, "OOMKilled")),
        Failed(Failure(type="ContainerFailed", message="fetch: exit code 137, OOMKilled"), None),
    ),
    # -- limits and requests of the pod's own
    "the pod's own deadline": (
        job(),
        pod(
            terminated(137),
            reason="DeadlineExceeded",
            message="Pod was active on the node longer than the specified deadline",
        ),
        failed("DeadlineExceeded", "Pod was active on the node longer than the specified deadline", 137),
    ),
    "the pod's own deadline, and the program reports while it stops": (
        job(),
        pod(
            terminated(143, message="stopping at frame 12\n"),
            reason="DeadlineExceeded",
            message="Pod was active on the node longer than the specified deadline",
        ),
        failed(
            "DeadlineExceeded",
            "Pod was active on the node longer than the specified deadline; the container's last words:"
            " 'stopping at frame 12'",
            143,
        ),
    ),
    "the pod's own deadline, before any container ran": (
        job(),
        pod(
            waiting("ContainerCreating"),
            reason="DeadlineExceeded",
            message="Pod was active on the node longer than the specified deadline",
        ),
        Failed(
            Failure(type="DeadlineExceeded", message="Pod was active on the node longer than the specified deadline"),
            None,
        ),
    ),
    "it filled more disk than its limit": (
        job(),
        pod(
            terminated(137),
            reason="Evicted",
            message="Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ",
        ),
        failed("Evicted", "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi.", 137),
    ),
    "a container filled more disk than its limit, and was lost on the way": (
        job(),
        pod(
            terminated(137, "ContainerStatusUnknown", LOCATED),
            reason="Evicted",
            message='Container main exceeded its local ephemeral storage limit "1Gi". ',
        ),
        failed(
            "Evicted",
            'Container main exceeded its local ephemeral storage limit "1Gi".; the container\'s last words:'
            f" {LOCATED!r}",
            137,
        ),
    ),
    "it filled an emptyDir": (
        job(),
        pod(terminated(137), reason="Evicted", message='Usage of EmptyDir volume "scratch" exceeds the limit "1Gi". '),
        failed("Evicted", 'Usage of EmptyDir volume "scratch" exceeds the limit "1Gi".', 137),
    ),
    "the node doesn't grant what the pod asks for": (
        job(),
        pod(
            None,
            reason="SysctlForbidden",
            message='Pod was rejected: forbidden sysctl: "kernel.msgmax" not allowlisted',
        ),
        Failed(
            Failure(
                type="SysctlForbidden",
                message='Pod was rejected: forbidden sysctl: "kernel.msgmax" not allowlisted',
            ),
            None,
        ),
    ),
    # -- the cluster's doing
    "evicted, the node was short of memory": (
        job(),
        pod(
            terminated(137),
            reason="Evicted",
            message=LOW,
            conditions=[target("TerminationByKubelet", LOW)],
        ),
        Disrupted("Evicted", AT, LOW),
    ),
    "evicted before Kubernetes 1.26": (
        job(),
        pod(terminated(137), reason="Evicted", message=LOW),
        Disrupted("Evicted", AT, LOW),
    ),
    "drained": (
        job(),
        pod(
            terminated(143),
            deleting=True,
            conditions=[target("EvictionByEvictionAPI", "Eviction API: evicting")],
        ),
        Disrupted("EvictionByEvictionAPI", AT, "Eviction API: evicting"),
    ),
    "preempted by the scheduler": (
        job(),
        pod(
            terminated(143),
            deleting=True,
            conditions=[
                target("PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod")
            ],
        ),
        Disrupted("PreemptionByScheduler", AT, "default-scheduler: preempting to accommodate a higher priority pod"),
    ),
    "preempted by the kubelet": (
        job(),
        pod(
            terminated(137),
            reason="Preempting",
            message="Preempted in order to admit critical pod",
            conditions=[target("TerminationByKubelet", "Pod was preempted by Kubelet to accommodate a critical pod.")],
        ),
        Disrupted("Preempting", AT, "Preempted in order to admit critical pod"),
    ),
    "the node was shut down": (
        job(),
        pod(
            terminated(143),
            reason="Terminated",
            message="Pod was terminated in response to imminent node shutdown.",
            conditions=[target("TerminationByKubelet", "Pod was terminated in response to imminent node shutdown.")],
        ),
        Disrupted("NodeShutdown", AT, "Pod was terminated in response to imminent node shutdown."),
    ),
    "the node was about to be shut down": (
        job(),
        pod(None, reason="NodeShutdown", message="Pod was rejected: Pod was rejected as the node is shutting down."),
        Disrupted("NodeShutdown", None, "Pod was rejected: Pod was rejected as the node is shutting down."),
    ),
    "the node got a taint": (
        job(),
        pod(
            terminated(143),
            deleting=True,
            conditions=[target("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")],
        ),
        Disrupted("DeletionByTaintManager", AT, "Taint manager: deleting due to NoExecute taint"),
    ),
    "the node is unreachable: its pod may run on": (
        job(),
        pod(
            RUNNING,
            "Running",
            deleting=True,
            conditions=[target("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")],
        ),
        Pending(),
    ),
    "the node is gone": (
        job(),
        pod(
            RUNNING,
            conditions=[target("DeletionByPodGC", "PodGC: node no longer exists")],
            deleting=True,
        ),
        Disrupted("DeletionByPodGC", None, "PodGC: node no longer exists"),
    ),
    "the node had no room after all": (
        job(),
        pod(
            None,
            reason="OutOfcpu",
            message="Pod was rejected: Node didn't have enough resource: cpu, requested: 500, used: 800, capacity: 1000",
        ),
        Disrupted(
            "OutOfcpu",
            None,
            "Pod was rejected: Node didn't have enough resource: cpu, requested: 500, used: 800, capacity: 1000",
        ),
    ),
    "the node can't take another volume": (
        job(),
        pod(None, reason="VolumeAttachmentLimitExceeded", message="Pod was rejected: attach limit exceeded"),
        Disrupted("VolumeAttachmentLimitExceeded", None, "Pod was rejected: attach limit exceeded"),
    ),
    "the node was rebooted, and the runtime doesn't know how the container ended": (
        job(),
        pod(terminated(255, "Unknown")),
        Disrupted("ContainerStatusUnknown", AT),
    ),
    "the container was gone when the kubelet came back": (
        job(),
        pod(terminated(137, "ContainerStatusUnknown", LOCATED)),
        Disrupted("ContainerStatusUnknown", AT),
    ),
    "an init container was gone when the kubelet came back": (
        job(),
        pod(waiting("PodInitializing"), init=terminated(137, "ContainerStatusUnknown", LOCATED)),
        Disrupted("ContainerStatusUnknown"),
    ),
    "an exit code of 255 alone is the program's": (
        job(),
        pod(terminated(255)),
        failed("Error", "exit code 255, and no message", 255),
    ),
    # -- deletions
    "the pod alone was deleted": (
        job(reason="BackoffLimitExceeded", message=LIMIT),
        pod(terminated(143), deleting=True),
        Disrupted("PodDeleted", AT),
    ),
    "the pod alone was deleted, and its Job hasn't noticed yet": (
        job(),
        pod(terminated(143), deleting=True),
        Pending(),
    ),
    "the pod alone was deleted and is gone": (
        job(reason="BackoffLimitExceeded", message=LIMIT),
        None,
        Disrupted("PodGone"),
    ),
    "the Job was deleted": (job(deleting=True), pod(RUNNING, "Running", deleting=True), Deleted()),
    "the Job was deleted, and its pod has stopped": (
        job(deleting=True),
        pod(terminated(143), deleting=True),
        Deleted(),
    ),
    "the Job's deadline, its pod has stopped": (
        job(reason="DeadlineExceeded", message="Job was active longer than specified deadline"),
        pod(terminated(143), deleting=True),
        Failed(Failure(type="DeadlineExceeded", message="Job was active longer than specified deadline"), None),
    ),
    "the Job's deadline, its pod is gone": (
        job(reason="DeadlineExceeded", message="Job was active longer than specified deadline"),
        None,
        Failed(Failure(type="DeadlineExceeded", message="Job was active longer than specified deadline"), None),
    ),
    # -- not yet
    "no image: it never ends by itself": (
        job(),
        pod(waiting("ImagePullBackOff", 'Back-off pulling image "nope:1"'), "Pending"),
        Pending(),
    ),
    "no such secret: it never ends by itself": (
        job(),
        pod(waiting("CreateContainerConfigError", 'secret "key" not found'), "Pending"),
        Pending(),
    ),
    "the runtime is at it": (job(), pod(waiting("RunContainerError", RUNC), "Pending"), Pending()),
}


@pytest.mark.parametrize(("found_job", "found_pod", "expected"), ENDS.values(), ids=ENDS)
def test_what_became_of_it(found_job: Json, found_pod: Json | None, expected: Outcome) -> None:
    seen_job = parse_job(found_job)
    seen_pod = None if found_pod is None else parse_pod(found_pod)
    assert seen_job is not None
    assert (seen_pod is None) == (found_pod is None)
    assert judge(seen_job, seen_pod, job_deleted=False) == expected
