"""A decision as workflow authors see it in tests: plain values instead of the JSON text of an answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowy.wire import values
from flowy.wire.messages import Answer, AnsweredCall, ErrorObject, Outcome


@dataclass(frozen=True, slots=True)
class Call:
    """A task call that became ready. `line` is that of the innermost frame in the user's source."""

    key: str
    task: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    line: int | None

    @classmethod
    def of(cls, call: AnsweredCall) -> "Call":
        args, kwargs = _arguments(call.arguments)
        return cls(call.key, call.task, args, kwargs, call.line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How one replay ended. What does not apply is None or empty.

    `scheduled` holds the new calls in call order, `dropped` those that a decision which ended the run does not launch.
    `waiting_on` holds key and line of each open task that the barrier waits for. `restart` is `(args, kwargs)`.
    """

    outcome: Outcome
    scheduled: list[Call] = field(default_factory=list)
    result: Any = None
    error: ErrorObject | None = None
    restart: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    waiting_on: list[tuple[str, int | None]] = field(default_factory=list)
    dropped: list[Call] = field(default_factory=list)
    ignored_errors: list[ErrorObject] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, answer: Answer, dropped: Sequence[AnsweredCall]) -> "Decision":
        return cls(
            outcome=answer.outcome,
            scheduled=[Call.of(call) for call in answer.scheduled],
            result=None if answer.result is None else values.decode(answer.result),
            error=answer.error,
            restart=None if answer.restart is None else _arguments(answer.restart),
            waiting_on=[(awaited.key, awaited.line) for awaited in answer.waiting_on],
            dropped=[Call.of(call) for call in dropped],
            ignored_errors=list(answer.ignored_errors),
            log=list(answer.log),
        )


def _arguments(text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    call: Any = values.decode(text)
    return tuple(call["args"]), call["kwargs"]
