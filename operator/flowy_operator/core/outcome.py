"""What became of one launch, judged from its Job and its Pod.

The end of an activity is read from its Pod: the Job's `Complete` comes a second later, always (the Job controller's
batch period). The Job tells where no pod does: pod gone while we were away, refused, deadline passed. One Job is one
pod (`backoffLimit: 0`), so a failed pod is a failed attempt, unless the cluster took it away.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flowy.wire.checks import MalformedMessage, value_text
from flowy_operator.core.history import Failure
from flowy_operator.core.records import JobRecord, PodRecord
from flowy_operator.core.values import ValueRef

MESSAGE_BYTES = 4096
"""What the kubelet keeps of a termination message: the *end* of the file, silently. A message of just this length may
be a cut one, so it is refused: the longest result is one byte less."""

POD_MESSAGE_BYTES = 12 * 1024
"""What the kubelet reports of all termination messages of a pod together, the same share for each container."""

_SIGNALLED = 128  # the shells' convention: 128 + n for death by signal n
_LAST_SIGNAL = 64  # of Linux; 255 is what programs make of -1

_SHOWN_CHARS = 200

_OUT_OF_MEMORY = "OOMKilled"
_START_ERROR = "StartError"
_NOT_STARTED = frozenset((_START_ERROR, "ContainerCannotRun"))
"""What runtimes call a container whose program can't be started (not found, not executable): containerd's word, Docker's."""


@dataclass(frozen=True, slots=True)
class Pending:
    """No outcome yet."""


@dataclass(frozen=True, slots=True)
class Uncollected:
    """The pod succeeded, its result isn't known yet. No timer can change that any more."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """`result` is JSON text, unless `ref` says where it is; `at` is when the container ended."""

    result: str
    at: datetime | None
    ref: ValueRef | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """`retryable` is False if the container says that trying again is useless."""

    failure: Failure
    at: datetime | None
    retryable: bool = True


@dataclass(frozen=True, slots=True)
class Disrupted:
    """The cluster took the pod away, or its outcome with it. `message` is what Kubernetes says of it, if anything."""

    reason: str
    at: datetime | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Deleted:
    """Somebody deleted the Job."""


Outcome = Pending | Uncollected | Succeeded | Failed | Disrupted | Deleted


def judge(job: JobRecord | None, pod: PodRecord | None, *, job_deleted: bool) -> Outcome:
    """The outcome of a launch. `job_deleted`: the Job was seen and is gone; both records are of this launch."""
    if pod is not None and pod.phase == "Succeeded":
        return _result(pod)
    if job_deleted or (job is not None and job.deleting):
        # Deleting a Job takes its pod along: whatever the pod says now is the deletion's doing.
        return Deleted()
    if pod is not None and pod.phase == "Failed":
        if pod.disruption is not None:
            return Disrupted(pod.disruption, pod.finished_at, pod.pod_message)
        if not pod.deleting:
            return Failed(_failure(pod), pod.finished_at, retryable=_is_retryable(pod))
        # A pod that is being deleted fails in the end. Who deleted it, the Job tells: somebody, or its own deadline.
        return Pending() if job is None else _job_alone(job, Disrupted("PodDeleted", pod.finished_at))
    if pod is None and job is not None:
        return _job_alone(job, Disrupted("PodGone"))
    return Pending()


def _job_alone(job: JobRecord, lost: Disrupted) -> Outcome:
    """The Job's own word, where its pod has none: `lost` if the Job says no more than that the pod failed."""
    if job.complete:
        return Disrupted("ResultLost")
    match job.failed_reason:
        case None:
            return Pending()
        case "PodFailurePolicy" | "BackoffLimitExceeded":
            return lost
        case reason:
            return Failed(Failure(type=reason, message=job.failed_message or f"the Job failed: {reason}"), None)


def _result(pod: PodRecord) -> Outcome:
    text = pod.message
    if not text.strip():
        return Succeeded("null", pod.finished_at)
    size, limit = len(text.encode()), _message_limit(pod)
    if size >= limit:
        message = f"the result fills all of the {limit:,} bytes that Kubernetes keeps of it and may be cut: write less than that"
        return Failed(Failure(type="ResultTooLong", message=message, exit_code=0), pod.finished_at)
    try:
        value_text(text, "the result")
    except MalformedMessage as error:
        message = f"{error}; it begins {shown(text)}"
        return Failed(Failure(type="ResultInvalid", message=message, exit_code=0), pod.finished_at)
    return Succeeded(text.strip(), pod.finished_at)


def _failure(pod: PodRecord) -> Failure:
    """What Kubernetes says if it ended the pod, else what the container says: its result file, or its last log lines."""
    if pod.pod_reason is not None:
        # Its own deadline, an eviction for a limit of its own, a node that refuses what it asks for. Whatever its
        # container wrote, it wrote while it was being stopped, or before.
        said = f"; the container's last words: {shown(pod.message.strip())}" if pod.message.strip() else ""
        message = f"{pod.pod_message.strip() or 'Kubernetes does not say why'}{said}"
        return Failure(type=pod.pod_reason, message=message, exit_code=pod.exit_code)
    if pod.other_failure is not None and not pod.exit_code:
        return Failure(type="ContainerFailed", message=pod.other_failure, exit_code=pod.exit_code)
    if pod.exit_code == 0:
        # What the container wrote is its result; the pod failed by something else, and nobody says by what.
        return Failure(type="PodFailed", message=_without_message(pod), exit_code=0)
    # Kubernetes' word for a normal failure is `Error`, which is also ours.
    reason = _START_ERROR if pod.reason in _NOT_STARTED else pod.reason or "Error"
    reported = _reported(pod)
    if reported is None:
        message = pod.message.strip() or _without_message(pod)
        return Failure(type=reason, message=message, exit_code=pod.exit_code)
    return Failure(
        type=_text(reported.get("type")) or reason,
        message=_text(reported.get("message")) or _without_message(pod),
        exit_code=pod.exit_code,
        details=json.dumps(reported["details"], ensure_ascii=False) if reported.get("details") is not None else None,
    )


def _is_retryable(pod: PodRecord) -> bool:
    reported = _reported(pod) if pod.exit_code else None
    return reported is None or reported.get("retryable") is not False


def _reported(pod: PodRecord) -> dict[str, Any] | None:
    """The object below `error` if the whole message is JSON of that form and may travel as a value."""
    if len(pod.message.encode()) >= _message_limit(pod):
        return None
    try:
        value_text(pod.message, "the message")
    except MalformedMessage:
        return None
    value = json.loads(pod.message)
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) else None


def _without_message(pod: PodRecord) -> str:
    if not pod.exit_code:
        return pod.pod_message or "the pod failed, and neither its container nor Kubernetes says why"
    number = pod.exit_code - _SIGNALLED
    signal = f" (signal {number})" if 0 < number <= _LAST_SIGNAL else ""
    if pod.reason == _OUT_OF_MEMORY:
        return (
            f"out of memory, exit code {pod.exit_code}{signal}: raise the container's memory limit, or have it use less"
        )
    return f"exit code {pod.exit_code}{signal}, and no message"


def _message_limit(pod: PodRecord) -> int:
    return min(MESSAGE_BYTES, POD_MESSAGE_BYTES // max(pod.containers, 1))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def shown(text: str) -> str:
    """The beginning of a text, for a message; the rest is said to be there."""
    if len(text) <= _SHOWN_CHARS:
        return repr(text)
    return f"{text[:_SHOWN_CHARS]!r} (and {len(text) - _SHOWN_CHARS:,} characters more)"
