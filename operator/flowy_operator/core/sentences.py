"""What went wrong with a task, in words for people: for `waitingOn`, the condition's message and Kubernetes Events.

One line each, and short. Where a text is longer, an ellipsis says that there is more: the history has the whole.
"""

from collections import Counter
from collections.abc import Iterable

from flowy_operator.core.history import Failure, TaskFailed, TaskTimedOut
from flowy_operator.core.spec import TaskSpec

SHOWN_CHARS = 300


def failure_sentence(failure: Failure) -> str:
    """Tell type, message and exit code, the latter where the message doesn't."""
    words = f"{failure.type}: {line(failure.message)}"
    code = failure.exit_code
    return words if not code or f"exit code {code}" in words else f"{words} (exit code {code})"


def attempt_sentence(fact: TaskFailed | TaskTimedOut) -> str:
    """Tell how an attempt ended."""
    match fact:
        case TaskFailed():
            return f"attempt {fact.attempt} failed: {failure_sentence(fact.error)}"
        case TaskTimedOut():
            why = f": {line(fact.message)}" if fact.message else ""
            return f"attempt {fact.attempt} timed out ({fact.timer}){why}"


def attempts(spec: TaskSpec | None, made: int) -> str:
    """Count the attempts of a task that has failed for good. `spec` is None for a task that isn't in the spec."""
    if spec is None:
        return f"attempt {made}"
    allowed = spec.retry.max_attempts
    if made == 0:
        return f"no attempt of {allowed} made"
    if made < allowed:
        # What allows for no other one, `retry.when` or the error itself, stands in the spec and in the error.
        return f"attempt {made} of {allowed}, not retried"
    return f"attempt {made} of {allowed}"


def reasons(found: Iterable[str]) -> str:
    """Count the reasons of disruptions, the most frequent first."""
    return ", ".join(f"{reason} ({count})" for reason, count in Counter(found).most_common())


def line(text: str) -> str:
    """The text in one line, cut where it is too long to be shown."""
    words = " ".join(text.split())
    return words if len(words) <= SHOWN_CHARS else f"{words[: SHOWN_CHARS - 1]}…"
