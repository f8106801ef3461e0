"""The contract of an activity's container (docs/activities.md), kept on this machine: what it is given, what it left.

Both follow from what the operator makes: the Job of a launch says the command and the variables, and the judgement of a pod
says what its end means. Here are only the kubelet's and the container runtime's parts.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flowy.local.launch import Completed, Failed, Launch
from flowy.policy.lengths import MAX_VALUE_BYTES
from flowy_operator.core import job
from flowy_operator.core.collected import Log, reads_log, result_of_log
from flowy_operator.core.outcome import MESSAGE_BYTES, Succeeded, judge
from flowy_operator.core.outcome import Failed as JudgedFailed
from flowy_operator.core.records import PodRecord
from flowy_operator.core.spec import Raw, TaskSpec
from flowy_operator.core.state import Launch as ClusterLaunch

GRACE_S = 30
"""Between SIGTERM and SIGKILL where the template says nothing, as in Kubernetes."""

_LOG_BYTES = MAX_VALUE_BYTES + 1024
_FALLBACK_LINES, _FALLBACK_BYTES = 80, 2048  # of a log that stands for an empty result file (FallbackToLogsOnError)
_SIGNALLED = 128
_EXPANSION = re.compile(r"\$(?:\$|\(([^)]*)\))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is done for a task. `template` is `spec.defaults.template`."""

    task: TaskSpec
    template: Raw
    owner: job.Owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One launch's container `main`, as the operator asks for it. `variables` are the plain ones, in their order.

    `from_elsewhere` names variables whose value the cluster has: a Secret's, a field of the pod.
    """

    name: str
    image: str
    command: Sequence[str]
    args: Sequence[str]
    variables: Sequence[tuple[str, str]]
    from_elsewhere: Sequence[str]
    folder: str | None
    grace_s: int


def container_of(launch: Launch, gateway_url: str) -> Container:
    """The container of a launch. Raises InvalidActivity."""
    work: Work = launch.work
    name = f"{work.owner.name}-{launch.task}-{launch.attempt}"
    now = datetime.now(UTC)
    cluster_launch = ClusterLaunch(
        job=name, task=launch.task, attempt=launch.attempt, number=0, recorded_at=now, scheduled_at=now
    )
    made = job.job_manifest(
        work.owner,
        work.task,
        cluster_launch,
        launch.arguments,
        work.template,
        deadline=launch.deadline,
        gateway_url=gateway_url,
    )
    pod: Mapping[str, Any] = made["spec"]["template"]["spec"]
    main: Mapping[str, Any] = next(c for c in pod["containers"] if c["name"] == job.MAIN)
    return Container(
        name=name,
        image=str(main["image"]),
        command=main.get("command") or (),
        args=main.get("args") or (),
        variables=[(item["name"], str(item.get("value") or "")) for item in main["env"] if "valueFrom" not in item],
        from_elsewhere=[item["name"] for item in main["env"] if "valueFrom" in item],
        folder=main.get("workingDir"),
        grace_s=int(pod.get("terminationGracePeriodSeconds", GRACE_S)),
    )


def expanded(container: Container, places: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The variables and the command line as the kubelet makes them. `places` are where files lie, if elsewhere."""
    variables: dict[str, str] = {}
    for name, value in container.variables:
        variables[name] = places.get(name, _expanded(value, variables))
    return variables, [_expanded(word, variables) for word in (*container.command, *container.args)]


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` replaced, `$$` a dollar, what isn't known as it stands (third_party/forked/golang/expansion)."""
    return _EXPANSION.sub(lambda m: "$" if m[1] is None else variables.get(m[1], m[0]), text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What a container that ended has left. A negative `exit_code` is the signal that ended it. `uploaded` is JSON text."""

    exit_code: int
    result: bytes
    log: bytes
    uploaded: str | None = None


def outcome_of(work: Work, left: Left) -> Completed | Failed:
    """What an end means, by the operator's own judgement."""
    exit_code = _SIGNALLED - left.exit_code if left.exit_code < 0 else left.exit_code
    pod = _pod(exit_code, _message(exit_code, left), "Error" if exit_code else "Completed")
    if not exit_code and work.task.activity is not None and reads_log(work.task.activity):
        log = Log(left.log[-_LOG_BYTES:], is_whole=len(left.log) <= _LOG_BYTES)
        return _as_local(result_of_log(pod, log))
    if not exit_code and left.uploaded is not None and not pod.message.strip():
        return Completed(left.uploaded)
    return _as_local(judge(None, pod, job_deleted=False))


def start_error(message: str) -> Failed:
    """The program could not be started."""
    return _as_local(judge(None, _pod(_SIGNALLED, message, "StartError"), job_deleted=False))  # type: ignore[return-value]


def launch_refused(message: str) -> Failed:
    """It could never run."""
    return Failed(type="LaunchRefused", message=message, retryable=False, could_run=False)


def _message(exit_code: int, left: Left) -> str:
    text = left.result[-MESSAGE_BYTES:]
    if exit_code and not text:
        text = b"".join(left.log.splitlines(keepends=True)[-_FALLBACK_LINES:])[-_FALLBACK_BYTES:]
    return text.decode(errors="replace")


def _pod(exit_code: int, message: str, reason: str) -> PodRecord:
    return PodRecord(
        namespace="",
        name="",
        uid="",
        resource_version=0,
        workflow="",
        job=None,
        job_uid=None,
        phase="Failed" if exit_code else "Succeeded",
        exit_code=exit_code,
        reason=reason,
        message=message,
    )


def _as_local(judged: object) -> Completed | Failed:
    if isinstance(judged, Succeeded):
        return Completed(judged.result)
    assert isinstance(judged, JudgedFailed), judged
    failure = judged.failure
    return Failed(
        type=failure.type,
        message=failure.message,
        exit_code=failure.exit_code,
        details=failure.details,
        retryable=judged.retryable,
    )
