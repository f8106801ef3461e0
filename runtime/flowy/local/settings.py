"""A task's timeouts and retries as they are written for a local run: the names of the custom resource, checked as it checks them."""

from collections.abc import Mapping, Sequence
from typing import Any

from flowy.policy.retry import LONGEST_WAIT_S, Backoff, RetrySpec, RetryWhen
from flowy.policy.timeout import TimeoutSpec

_TIMEOUTS = {
    "scheduleToStartSeconds": "schedule_to_start_s",
    "startToCloseSeconds": "start_to_close_s",
    "scheduleToCloseSeconds": "schedule_to_close_s",
    "heartbeatSeconds": "heartbeat_s",
}
_OF_THE_WHOLE = {"workflowSeconds": "workflow_timeout_s", "cancelSeconds": "cancel_timeout_s"}
_OF_ACTIVITIES = ("scheduleToStartSeconds", "heartbeatSeconds")
_RETRY = {
    "maxAttempts": "max_attempts",
    "when": "when",
    "delaysSeconds": "delays_s",
    "backoff": "backoff",
    "nonRetryableExitCodes": "non_retryable_exit_codes",
    "nonRetryableErrors": "non_retryable_errors",
}
_BACKOFF = {
    "initialSeconds": "initial_s",
    "multiplier": "multiplier",
    "maxSeconds": "max_s",
    "jitterPercent": "jitter_percent",
}


def task_settings(given: Mapping[str, Any], path: str, *, is_workflow: bool) -> tuple[TimeoutSpec, RetrySpec]:
    """What `{"timeouts": ..., "retry": ...}` says. Raises ValueError, which begins with the place."""
    _only(given, ("timeouts", "retry"), path)
    timeouts = given.get("timeouts", {})
    _elsewhere(timeouts, _OF_THE_WHOLE, f"{path}.timeouts", "the whole workflow: it goes into the keyword timeouts")
    timeouts = _whole_numbers(timeouts, _TIMEOUTS, 1, f"{path}.timeouts")
    for field in _OF_ACTIVITIES if is_workflow else ():
        if _TIMEOUTS[field] in timeouts:
            raise ValueError(f"{path}.timeouts.{field} has no meaning for a workflow")
    retry = _named(given.get("retry", {}), _RETRY, f"{path}.retry")
    if "delays_s" in retry and "backoff" in retry:
        raise ValueError(f"{path}.retry.backoff stands beside delaysSeconds: give one of the two")
    for seconds in _listed(retry.get("delays_s", ()), f"{path}.retry.delaysSeconds"):
        _whole(seconds, 0, f"{path}.retry.delaysSeconds")
    if "when" in retry:
        retry["when"] = [_when(name, f"{path}.retry.when") for name in _listed(retry["when"], f"{path}.retry.when")]
    try:
        if "backoff" in retry:
            retry["backoff"] = _backoff(retry["backoff"], f"{path}.retry.backoff")
        return TimeoutSpec(**timeouts), RetrySpec(**retry)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def workflow_seconds(given: Mapping[str, Any]) -> dict[str, int]:
    """What the workflow's own `timeouts` say, by the names of a plan."""
    _elsewhere(given, _TIMEOUTS, "timeouts", "a task: it goes into what is set for that task")
    return _whole_numbers(given, _OF_THE_WHOLE, 1, "timeouts")


def _backoff(given: Mapping[str, Any], path: str) -> Backoff:
    fields = _whole_numbers(given, _BACKOFF, 0, path)
    if "initial_s" not in fields:
        raise ValueError(f"{path}.initialSeconds is missing")
    return Backoff(**({"max_s": max(fields["initial_s"], LONGEST_WAIT_S)} | fields))


def _when(name: object, path: str) -> RetryWhen:
    try:
        return RetryWhen(str(name))
    except ValueError:
        raise ValueError(f"{path} has {name!r}: it is one of {', '.join(RetryWhen)}") from None


def _whole_numbers(given: Any, names: Mapping[str, str], least: int, path: str) -> dict[str, int]:
    fields = _named(given, names, path)
    for name in given:
        _whole(fields[names[name]], least, f"{path}.{name}")
    return fields


def _named(given: Any, names: Mapping[str, str], path: str) -> dict[str, Any]:
    """The fields by their names inside."""
    if not isinstance(given, Mapping):
        raise ValueError(f"{path} is no mapping")  # noqa: TRY004 - all that is wrong with a setting is a ValueError
    _only(given, names, path)
    return {names[name]: value for name, value in given.items()}


def _elsewhere(given: object, names: Mapping[str, str], path: str, whose: str) -> None:
    """Say where a field belongs that is known, and not here."""
    for name in given if isinstance(given, Mapping) else ():
        if name in names:
            raise ValueError(f"{path}.{name} is a timeout of {whose}")


def _only(given: Mapping[str, Any], names: Sequence[str] | Mapping[str, str], path: str) -> None:
    for name in given:
        if name not in names:
            raise ValueError(f"{path}.{name} is unknown: there are {', '.join(names)}")


def _listed(given: Any, path: str) -> Sequence[Any]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ValueError(f"{path} is no list")  # noqa: TRY004 - as above
    return given


def _whole(given: Any, least: int, path: str) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or given < least:
        raise ValueError(f"{path} is {given!r}: a whole number of at least {least} is expected")
    return given
