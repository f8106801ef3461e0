"""Pods as JSON -> PodRecord.

The objects carry our label, but anybody can set a label: every field may be missing or of an odd type. Such an object
gives a record without that field, or none at all; it never raises.
"""

import logging
import re

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
from flowy_operator.core.job import UID_LABEL, WORKFLOW_LABEL
from flowy_operator.core.records import PodRecord
from flowy_operator.core.sentences import line, looked_at

MAIN = "main"

_UNPULLED = frozenset(
    # The kubelet goes to and fro between them, and each change of the text would be a write of the status. Since 1.31 the
    # messages of all have the same core: what the runtime said of the last try.
    ("ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed")
)
_STUCK = frozenset(
    (
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PreCreateHookError",
        "PreStartHookError",
        "PostStartHookError",
    )
)
_PULL_PREFIXES = re.compile(
    r"""^(?: Back-off\ pulling\ image\ "[^"]*":?\s* | ErrImagePull:\s* | rpc\ error:\ code\ =\ \w+\ desc\ =\s*
        | failed\ to\ pull\ and\ unpack\ image\ "[^"]*":\s* | failed\ to\ resolve\ (?:reference|image)\ "[^"]*":\s* )+""",
    re.VERBOSE,
)
"""What stands before the cause: kubelet's and containerd's words for the pull that failed, which name the image again."""

_PORT = re.compile(r"\b[\d.]+:\d+->")  # our end of a connection, another one at each try
_LONG_HEX = re.compile(r"\b[0-9a-f]{12,64}\b")  # container ids, new at each of the kubelet's tries

_LOST = frozenset(
    # status.reason of a Pod that failed by no fault of its containers: kubelet (eviction, preemption, nodeshutdown,
    # volumemanager, lifecycle/predicate.go, cm/topologymanager) and the node lifecycle controller. Not of them are
    # `DeadlineExceeded`, and what the Pod itself asks for and no such node can give: `SysctlForbidden`, `AppArmor` …
    (
        "Evicted",
        "NodeLost",
        "NodeShutdown",
        "Terminated",
        "Shutdown",
        "Preempting",
        "NodeAffinity",
        "NodeName",
        "NodePorts",
        "TaintToleration",
        "InvalidNodeInfo",
        "UnexpectedAdmissionError",
        "TopologyAffinityError",
        "VolumeAttachmentLimitExceeded",
    )
)
_OUT_OF = "OutOf"  # OutOfcpu, OutOfmemory, OutOfpods, OutOf<extended resource>
_OWN_LIMIT = ("Pod ephemeral local storage usage", "Container ", "Usage of EmptyDir volume")
"""How the kubelet begins when it evicts a Pod that overran a limit of its own (eviction/helpers.go): no disruption.

The reason is `Evicted` as well. Since Kubernetes 1.26 such an eviction lacks the condition DisruptionTarget, which
every eviction for the node's sake has; the words are needed only where a Pod has neither.
"""

_BY_KUBELET = "TerminationByKubelet"  # of the condition: one word for eviction, preemption and shutdown
_SHUTDOWN = frozenset(("Terminated", "Shutdown"))  # the kubelet's words for a node that is shut down, newer and older
_UNKNOWN_CONTAINER = "ContainerStatusUnknown"
_UNKNOWN_EXIT = 255  # with the reason `Unknown`: containerd found the task of a running container gone, after a reboot

_log = logging.getLogger(__name__)


def parse_pod(pod: Raw) -> PodRecord | None:
    """Make the record of a Pod, or None if it lacks what makes it one of ours: name, uid, version, our label."""
    try:
        return _parse(pod)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        metadata = mapping(mapping(pod).get("metadata"))
        _log.debug("a pod of odd shape is ignored", extra={"pod": text(metadata.get("name")), "error": repr(error)})
        return None


def _parse(pod: Raw) -> PodRecord:
    metadata = pod["metadata"]
    spec = mapping(pod.get("spec"))
    status = mapping(pod.get("status"))
    workflow = metadata["labels"][WORKFLOW_LABEL]
    containers = mappings(spec.get("containers"))
    init_containers = mappings(spec.get("initContainers"))
    statuses = mappings(status.get("containerStatuses"))
    init_statuses = mappings(status.get("initContainerStatuses"))
    phase = text(status.get("phase")) or "Unknown"

    main = _main(containers or statuses)
    state = NOTHING
    for container in statuses:
        if container.get("name") == main:
            state = mapping(container.get("state"))
    running = mapping(state.get("running"))
    terminated = mapping(state.get("terminated"))

    owner = controller(metadata)
    job = owner if owner.get("kind") == "Job" else NOTHING
    conditions = {text(c.get("type")): c for c in mappings(status.get("conditions"))}
    pod_message = text(status.get("message"))
    target = conditions.get("DisruptionTarget", NOTHING)
    pod_reason = text(status.get("reason"))
    exit_code = terminated.get("exitCode")

    disruption = _disruption(
        target, phase, pod_reason, pod_message or "", [terminated] if terminated else _terminated(init_statuses)
    )
    deleting, node = metadata.get("deletionTimestamp") is not None, text(spec.get("nodeName"))
    waiting, is_over = None, phase in {"Succeeded", "Failed"}
    if not is_over and deleting and node is not None:
        waiting = f"{disruption or 'deleted'}, and node {node} hasn't said yet that it has stopped"
    elif not is_over and not running and not terminated:
        waiting = _waiting(conditions.get("PodScheduled", NOTHING), [*init_statuses, *statuses], containers)

    return PodRecord(
        namespace=name(metadata["namespace"]),
        name=name(metadata["name"]),
        uid=name(metadata["uid"]),
        resource_version=int(metadata["resourceVersion"]),
        workflow=name(workflow),
        workflow_uid=text(metadata["labels"].get(UID_LABEL)),
        job=text(job.get("name")),
        job_uid=text(job.get("uid")),
        phase=phase,
        containers=len(containers) + len(init_containers) or 1,
        node=node,
        started_at=instant(running.get("startedAt") or terminated.get("startedAt")),
        finished_at=instant(terminated.get("finishedAt")),
        exit_code=exit_code if isinstance(exit_code, int) else None,
        reason=text(terminated.get("reason")),
        message=text(terminated.get("message")) or "",
        pod_reason=pod_reason,
        pod_message=pod_message or (text(target.get("message")) if target.get("status") == "True" else None) or "",
        other_failure=_other_failure(main, init_statuses, statuses, init_containers),
        disruption=disruption,
        waiting=waiting,
        deleting=deleting,
    )


def _main(containers: list[Raw]) -> object:
    for container in containers:
        if container.get("name") == MAIN:
            return MAIN
    return containers[0].get("name") if containers else None


def _waiting(scheduled: Raw, statuses: list[Raw], containers: list[Raw]) -> str | None:
    if scheduled.get("status") == "False":
        return _line(f"{text(scheduled.get('reason')) or 'Unschedulable'}: {text(scheduled.get('message')) or ''}")
    for status in statuses:
        wait = mapping(mapping(status.get("state")).get("waiting"))
        reason = text(wait.get("reason"))
        if reason is None:
            continue
        container = text(status.get("name"))
        if reason in _UNPULLED:
            said = looked_at(text(wait.get("message")) or "")  # a registry's words, of any length
            cause = _PORT.sub("", _PULL_PREFIXES.sub("", said, count=1))
            return _line(f"image can't be pulled: {_image(status, container, containers)}: {cause}")
        if reason == "CrashLoopBackOff":
            # Its message counts the seconds. Only init containers can come here: nothing of ours restarts.
            return _line(f"{reason}: container {container}")
        if reason in _STUCK:
            return _line(f"{reason}: {_LONG_HEX.sub('…', text(wait.get('message')) or '')}")
    return None


def _image(status: Raw, container_name: str | None, containers: list[Raw]) -> str | None:
    """Name the image as the manifest does: in the status it takes another form once a pull has worked."""
    for container in containers:
        if container.get("name") == container_name:
            return text(container.get("image"))
    return text(status.get("image"))


def _other_failure(
    main: object, init_statuses: list[Raw], statuses: list[Raw], init_containers: list[Raw]
) -> str | None:
    for status in [*init_statuses, *statuses]:
        terminated = mapping(mapping(status.get("state")).get("terminated"))
        code = terminated.get("exitCode")
        container = status.get("name")
        if not code or container == main:
            continue
        if any(c.get("name") == container and c.get("restartPolicy") == "Always" for c in init_containers):
            # A sidecar is stopped by a signal when the Pod is done; its exit code says nothing of the activity.
            continue
        reason = text(terminated.get("reason"))
        why = f", {reason}" if reason not in {None, "Error"} else ""
        return _line(f"{container}: exit code {code}{why}: {text(terminated.get('message')) or ''}")
    return None


def _terminated(statuses: list[Raw]) -> list[Raw]:
    return [mapping(mapping(status.get("state")).get("terminated")) for status in statuses]


def _disruption(target: Raw, phase: str, reason: str | None, message: str, ends: list[Raw]) -> str | None:
    """`ends` are those of the containers that decide: the main one's, or where it never ran the init containers'."""
    if target.get("status") == "True":
        named = text(target.get("reason")) or "DisruptionTarget"
        return _plainer(reason) if named == _BY_KUBELET and reason is not None else named
    if phase != "Failed":
        return None
    if reason is None:
        return _UNKNOWN_CONTAINER if any(map(_is_lost, ends)) else None
    if reason == "Evicted" and message.startswith(_OWN_LIMIT):
        return None
    return _plainer(reason) if reason in _LOST or reason.startswith(_OUT_OF) else None


def _is_lost(terminated: Raw) -> bool:
    """Whether a container's end was seen by nobody: the node or its runtime was gone meanwhile."""
    reason = terminated.get("reason")
    return reason == _UNKNOWN_CONTAINER or (reason == "Unknown" and terminated.get("exitCode") == _UNKNOWN_EXIT)


def _plainer(reason: str) -> str:
    return "NodeShutdown" if reason in _SHUTDOWN else reason


def _line(words: str) -> str:
    """One line for people. Where there was nothing to say behind a colon, without it."""
    return line(words.rstrip().removesuffix(":"))
