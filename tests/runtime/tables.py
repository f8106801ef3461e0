"""Rows of the decision tables: a body of workflow code, a history, and what one decision over it must say.

Keys are short as in the tables: `t0` is `task-0`, `r0` is `red-0`, `o0` is `other-0`. The body starts at line 4.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowy.testing import Call, Decision, decide

_TASKS = ("task", "red", "other")
_LONG = {name[0]: name for name in _TASKS}


def long(key: str) -> str:
    return f"{_LONG[key[0]]}-{key[1:]}" if re.fullmatch(r"[tro][0-9]+", key) else key


def short(key: str) -> str:
    task, number = key.rsplit("-", 1)
    return task[0] + number


def source_of(body: str, parameters: str = "", constructor: str = "", tasks: Sequence[str] | None = None) -> str:
    """Give source with one factory; its tasks are those that occur in the code."""
    code = body + constructor
    names = tasks if tasks is not None else [name for name in _TASKS if re.search(rf"\b{name}\b", code)]
    head = f"    {constructor}\n    def run({parameters}):" if constructor else f"    def run({parameters}):"
    lines = "\n".join(f"        {line}" for line in body.split("\n"))
    return f"from flowy import *\ndef factory({', '.join(names)}):\n{head}\n{lines}\n    return run\n"


@dataclass(frozen=True, kw_only=True)
class Suspends:
    """Suspended, with exactly these calls, shown as `t0(1)`; `waits` are short keys, `line` that of the barrier."""

    scheduled: Sequence[str] = ()
    waits: Sequence[str] | None = None
    line: int | None = None


@dataclass(frozen=True)
class Completes:
    value: Any


@dataclass(frozen=True)
class Fails:
    """Failed; only what is given is compared. `text` is a part of the message."""

    message: str | None = None
    type: str | None = None
    text: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stalls:
    key: str
    texts: Sequence[str] = ()
    line: int | None = None


@dataclass(frozen=True)
class Restarts:
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Row:
    """`code` is a body, or `workflow` says it all. Histories use short keys."""

    code: str = ""
    expected: Suspends | Completes | Fails | Stalls | Restarts
    parameters: str = ""
    constructor: str = ""
    workflow: Any = None
    tasks: Sequence[str] | None = None
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    errors: Mapping[str, Any] = field(default_factory=dict)
    timeouts: Iterable[str] | Mapping[str, str] = ()
    running: Iterable[str] = ()
    cancelled: Iterable[str] | Mapping[str, str] = ()
    order: Sequence[str] | None = None
    calls: Mapping[str, tuple[Sequence[Any], Mapping[str, Any]]] | None = None
    dropped: Sequence[str] = ()
    ignored: Sequence[str] = ()
    log: Sequence[str] = ()

    def history(self) -> dict[str, Any]:
        """Give the arguments of `decide` that make the history."""
        return {
            "results": _long_keys(self.results),
            "errors": _long_keys(self.errors),
            "timeouts": _long_keys(self.timeouts),
            "cancelled": _long_keys(self.cancelled),
            "running": [long(key) for key in self.running],
            "order": None if self.order is None else [long(key) for key in self.order],
            "calls": None if self.calls is None else _long_keys(self.calls),
        }

    def decide(self, **more: Any) -> Decision:
        """Decide; `more` takes the place of parts of the history."""
        code = self.workflow or (source_of(self.code, self.parameters, self.constructor), None)
        return decide(code, tasks=self.tasks, args=self.args, kwargs=self.kwargs, **{**self.history(), **more})


def _long_keys(keys: Any) -> Any:
    if isinstance(keys, Mapping):
        return {long(key): value for key, value in keys.items()}
    return [long(key) for key in keys]


def shown(call: Call) -> str:
    """Show a call as the tables do."""
    arguments = [repr(arg) for arg in call.args] + [f"{name}={arg!r}" for name, arg in call.kwargs.items()]
    return f"{short(call.key)}({', '.join(arguments)})"


def check(row: Row) -> None:
    """Decide the row and hold the decision against what it expects, down to what must be empty."""
    decision = row.decide()
    if isinstance(row.expected, Stalls):
        assert decision.outcome == "stalled", decision
        assert [decision.scheduled, decision.dropped, decision.ignored_errors] == [[], [], []]
        assert decision.error is not None
        assert {"type", "message", "key", "recorded", "asked", "line"} == set(decision.error)
        assert decision.error["type"] == "NonDeterminism"
        assert decision.error["key"] == long(row.expected.key)
        for text in (long(row.expected.key), decision.error["recorded"], decision.error["asked"], *row.expected.texts):
            assert str(text) in str(decision.error["message"])
        if row.expected.line is not None:
            assert decision.error["line"] == row.expected.line
        return
    assert sorted(shown(call) for call in decision.dropped) == sorted(row.dropped), decision
    assert [short(str(error["task"])) for error in decision.ignored_errors] == list(row.ignored)
    for text in row.log:
        assert any(text in line for line in decision.log), decision.log
    if not row.log:
        assert decision.log == []
    _check_end(decision, row.expected)


def _check_end(decision: Decision, expected: Any) -> None:
    match expected:
        case Suspends():
            assert decision.outcome == "suspended", decision
            assert [shown(call) for call in decision.scheduled] == list(expected.scheduled)
            assert (decision.result, decision.error, decision.restart) == (None, None, None)
            if expected.waits is not None:
                assert [short(key) for key, _ in decision.waiting_on] == list(expected.waits)
            if expected.line is not None:
                assert {line for _, line in decision.waiting_on} == {expected.line}
        case Completes(value):
            assert decision.outcome == "completed", decision
            assert decision.result == value
            assert type(decision.result) is type(value)
        case Restarts(args, kwargs):
            assert decision.outcome == "restarted", decision
            assert decision.restart == (args, kwargs)
        case Fails():
            assert decision.outcome == "failed", decision
            assert decision.error is not None
            if expected.message is not None:
                assert decision.error["message"] == expected.message
            if expected.type is not None:
                assert decision.error["type"] == expected.type
            assert expected.text in str(decision.error["message"])
            for name, value in expected.fields.items():
                assert decision.error[name] == value
    if decision.outcome != "suspended":
        assert (decision.scheduled, decision.waiting_on) == ([], [])
