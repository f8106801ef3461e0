"""Results that don't stand in the pod's record: which launches have such a one, and what a container's log says."""

from dataclasses import dataclass

from flowy.policy.lengths import MAX_VALUE_BYTES
from flowy.wire.checks import MalformedMessage, value_text
from flowy_operator.core.history import Failure
from flowy_operator.core.outcome import Disrupted, Failed, Succeeded, shown
from flowy_operator.core.records import JobRecord, PodRecord
from flowy_operator.core.spec import Activity, ResultFrom, TaskSpec

Collected = Succeeded | Failed | Disrupted
"""What was found. `Disrupted`: the pod succeeded, and its result is lost with it."""


@dataclass(frozen=True, slots=True)
class Log:
    """What a container has printed, or the end of it if that is longer than can be a result."""

    content: bytes
    is_whole: bool


def is_to_collect(spec: TaskSpec, job: JobRecord | None, pod: PodRecord | None) -> bool:
    """Whether the launch succeeded with a result that has to be fetched. Without its pod it may have been kept before."""
    if spec.activity is None or not (reads_log(spec.activity) or spec.calls_gateway):
        return False
    if pod is None:
        return job is not None and job.complete
    # Who could call the gateway has uploaded a result, or left one in the file, or has none.
    return pod.phase == "Succeeded" and (reads_log(spec.activity) or not pod.message.strip())


def reads_log(activity: Activity) -> bool:
    """Whether the result is what the container prints."""
    return activity.result_from is ResultFrom.LOG


def result_of_log(pod: PodRecord, log: Log) -> Succeeded | Failed:
    """The whole log if that is one JSON value, else its last line that isn't empty; nothing at all is null."""
    if log.is_whole:
        whole = log.content.strip()
        if not whole:
            return Succeeded("null", pod.finished_at)
        if len(whole) <= MAX_VALUE_BYTES and _refusal(whole) is None:
            return Succeeded(whole.decode(), pod.finished_at)
    *before, line = log.content.rstrip().rsplit(b"\n", 1)
    line = line.strip()
    if not line:
        message = f"the log has more than {MAX_VALUE_BYTES:,} bytes, and nothing but empty lines at its end"
        return _failed(pod, "ResultInvalid", message)
    # What is left of a longer log may begin within its last line.
    if len(line) > MAX_VALUE_BYTES or not (before or log.is_whole):
        size = f"{len(line):,}" if log.is_whole else f"more than {MAX_VALUE_BYTES:,}"
        message = f"the log and its last line are too long for a result: {size} bytes, at most {MAX_VALUE_BYTES:,}"
        return _failed(pod, "ResultTooLong", message)
    refusal = _refusal(line)
    if refusal is None:
        return Succeeded(line.decode(), pod.finished_at)
    why = "isn't one JSON value" if log.is_whole else f"has more than {MAX_VALUE_BYTES:,} bytes"
    begins = shown(line.decode(errors="backslashreplace"))
    return _failed(pod, "ResultInvalid", f"the log {why}, and {refusal}; that line begins {begins}")


def _refusal(content: bytes) -> str | None:
    """Why this is no JSON value, if it isn't."""
    try:
        value_text(content.decode(), "its last line")
    except UnicodeDecodeError as error:
        return f"its last line is no UTF-8 at byte {error.start}"
    except MalformedMessage as error:
        return str(error)
    return None


def _failed(pod: PodRecord, kind: str, message: str) -> Failed:
    return Failed(Failure(type=kind, message=message, exit_code=0), pod.finished_at)
