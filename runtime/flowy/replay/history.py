"""The recorded past of a run, as one replay sees it: a record by its key, decoded no earlier than needed."""

from collections.abc import Mapping

from flowy.errors import ErrorObject, TaskCancelled, TaskError, TaskTimedOut, ValueRefused
from flowy.wire import values
from flowy.wire.messages import Record, RecordState

EXCEPTIONS: Mapping[RecordState, type[TaskError]] = {
    RecordState.FAILED: TaskError,
    RecordState.TIMED_OUT: TaskTimedOut,
    RecordState.CANCELLED: TaskCancelled,
}
"""What touching an error raises. The recorded type does not choose it: a sub-workflow fails whatever its error was."""

# What a record tells of its error; where the error arose inside of a sub-workflow is not the parent's business.
_RECORDED_FIELDS = ("type", "message", "attempt", "exitCode", "timer", "reason", "details")

DEFAULT_TIMER = "StartToClose"


class Past:
    """The value of one completed task: its text goes out as it was recorded, each touch decodes it afresh."""

    # Of the class until they are known: most values are only looked at, and a long history makes many of these.
    _canonical: str | None = None
    _levels: int | None = None

    def __init__(self, record: Record) -> None:
        self.record = record
        self.text = record.value if record.value is not None else "null"

    def decode(self) -> object:
        return values.decode(self.text)

    def canonical(self) -> str:
        if self._canonical is None:
            self._canonical = values.canonical(self.decode())
        return self._canonical

    def accept(self, levels_around: int) -> None:
        """Refuse what an activity may have printed and JSON may hold, yet no value: too deep here, lone surrogates."""
        if self._levels is None:
            # Brackets bound the levels from above; for nearly all values this count spares the decoding.
            self._levels = self.text.count("[") + self.text.count("{")
            if "\\u" in self.text:
                values.accept_text(self.canonical())
            elif not self.text.isascii():
                values.accept_text(self.text)
        if self._levels + levels_around > values.MAX_LEVELS:
            self._levels = values.levels(self.decode())
            if self._levels + levels_around > values.MAX_LEVELS:
                raise ValueRefused("", f"more than {values.MAX_LEVELS} levels; pass a flatter structure")


def error_of(record: Record) -> ErrorObject:
    """Give the error object of a record in a final state, with type, message and task always there."""
    given = record.error or {}
    match record.state:
        case RecordState.TIMED_OUT:
            timer = given.get("timer", DEFAULT_TIMER)
            known: dict[str, object] = {
                "type": "TaskTimedOut",
                "message": f"{record.key} timed out ({timer})",
                "timer": timer,
            }
        case RecordState.CANCELLED:
            known = {"type": "TaskCancelled", "message": cancelled_message(record.key, None)}
        case _:
            known = {"type": "Error", "message": f"{record.key} failed"}
    known |= {field: given[field] for field in _RECORDED_FIELDS if given.get(field) is not None}
    known["task"] = record.key
    return known


def cancelled_message(key: str, reason: str | None) -> str:
    return f"{key} was cancelled" + (f": {reason}" if reason else "")
