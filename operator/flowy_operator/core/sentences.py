"""What went wrong with a task, in words for people: for `waitingOn`, the condition's message and Kubernetes Events.

One line each, and short. Where a text is longer, an ellipsis says that there is more: the history has the whole.
"""

from collections import Counter
from collections.abc import Iterable

from flowy_operator.core.history import Failure, TaskFailed, TaskTimedOut
from flowy_operator.core.printable import printable
from flowy_operator.core.spec import TaskSpec

SHOWN_CHARS = 300

LOOKED_AT_CHARS = 4000
"""Of a stranger's text that is searched before it is shown: searching may take longer than its length."""

_UNITS = ((86_400, 1_000_000, "d"), (3600, 24, "h"), (60, 60, "min"), (1, 60, "s"))
"""Seconds of each, how many make the next one, its name."""


def failure_sentence(failure: Failure) -> str:
    """Tell type, message and exit code, the latter where the message doesn't."""
    words = f"{line(failure.type)}: {line(failure.message)}"
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


def attempt_of(spec: TaskSpec | None, attempt: int) -> str:
    """Name an attempt by its number. `spec` is None for a task that isn't in the spec."""
    return f"attempt {attempt}" if spec is None else f"attempt {attempt} of {spec.retry.max_attempts}"


def attempts(spec: TaskSpec | None, made: int) -> str:
    """Count the attempts of a task that has failed for good. `spec` is None for a task that isn't in the spec."""
    if spec is None:
        return attempt_of(spec, made)
    allowed = spec.retry.max_attempts
    if made == 0:
        return f"no attempt of {allowed} made"
    # What allows for no other one, `retry.when` or the error itself, stands in the spec and in the error.
    return attempt_of(spec, made) + (", not retried" if made < allowed else "")


def duration(seconds: int) -> str:
    """Tell a time in its two largest units: `42 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    parts = [(seconds // size % modulus, unit) for size, modulus, unit in _UNITS]
    first = next((n for n, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count or len(parts) - 1 == first)


def reasons(found: Iterable[str]) -> str:
    """Count the reasons of disruptions, the most frequent first."""
    return ", ".join(f"{reason} ({count})" for reason, count in Counter(found).most_common())


def looked_at(text: str) -> str:
    """The beginning of a stranger's text, long enough to find in it what is to be shown of it."""
    return text if len(text) <= LOOKED_AT_CHARS else f"{text[: LOOKED_AT_CHARS - 1]}…"


def line(text: str) -> str:
    """The text in one line, cut where it is too long to be shown; what could steer a terminal is shown as its code."""
    words = " ".join(text.split())
    words = printable(words)
    return words if len(words) <= SHOWN_CHARS else f"{words[: SHOWN_CHARS - 1]}…"
