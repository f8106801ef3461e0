"""The exceptions of the workflow side, and the one shape of an error as JSON.

    Exception
    ├── TaskError              a task failed; also for workflow code to raise
    │   ├── TaskTimedOut       a timer of the task fired for good
    │   └── TaskCancelled      the task was taken away: stop request, deleted Job or child
    └── ValueError
        └── ValueRefused       a value that is no plain JSON; `path` says where it stands

`MalformedMessage` stands beside the messages, in `flowy.wire.messages`. The exception that ends a decision is private to
`flowy.replay.barrier` and no `Exception`, so that workflow code does not catch it by accident.
"""

import copy
from collections.abc import Mapping

ErrorObject = Mapping[str, object]
"""An error as JSON: type, message, and where known task, attempt, timer, reason, exitCode, details, traceback, line."""


class TaskError(Exception):
    """A task failed. Workflow code may raise its own: the whole object becomes the error of the workflow.

    `type` is the name that the activity reported, by default the class name; `details` is plain JSON. `task` is the key
    of the task that failed first, `attempt` the number of attempts made, `exit_code` that of the container, `timer` the
    timer that fired, `reason` why it was cancelled; all five are None where they don't apply.
    """

    def __init__(self, message: str = "", type: str | None = None, details: object = None) -> None:  # noqa: A002 - public
        super().__init__(message)
        self.message = message
        self.type = self.__class__.__name__ if type is None else type
        self.details = details
        self.task: str | None = None
        self.attempt: int | None = None
        self.exit_code: int | None = None
        self.timer: str | None = None
        self.reason: str | None = None

    def __str__(self) -> str:
        return str(self.message)


class TaskTimedOut(TaskError):
    """A timer of the task fired and no further attempt is made; `timer` says which."""


class TaskCancelled(TaskError):
    """The task was cancelled before it ended; `reason` says why: `StopRequested`, or `Deleted` by somebody."""


class ValueRefused(ValueError):
    """A value cannot travel as JSON. `path` is its place, such as `args[0].items[3]`; `reason` ends in the way out."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"

    def __reduce__(self) -> tuple[type["ValueRefused"], tuple[str, str]]:
        return type(self), (self.path, self.reason)  # the path grows after construction; it crosses processes whole


# JSON field of an error object -> attribute of the exception, beside type and message
_FIELDS = {
    "task": "task",
    "attempt": "attempt",
    "exitCode": "exit_code",
    "timer": "timer",
    "reason": "reason",
    "details": "details",
}


def exception_of(kind: type[TaskError], error: ErrorObject) -> TaskError:
    """Make a new exception from a recorded error. Its details are a copy, so that no touch sees another's changes."""
    raised = kind(str(error["message"]), str(error["type"]))
    for field, attribute in _FIELDS.items():
        setattr(raised, attribute, copy.deepcopy(error.get(field)))
    return raised


def object_of(raised: TaskError) -> dict[str, object]:
    """Give the error object of an exception; what is None stays away. The details are not checked here."""
    error: dict[str, object] = {"type": raised.type, "message": raised.message}
    for field, attribute in _FIELDS.items():
        value = getattr(raised, attribute)
        if value is not None:
            error[field] = value
    return error
