"""`decide`: what it takes for a workflow, and which histories it refuses as a fault of the test."""

import functools
from collections.abc import Callable
from typing import Any

import pytest

from flowy.testing import decide


def one(task: Callable[..., Any]) -> Callable[..., Any]:
    return lambda: task()  # noqa: PLW0108 - a lambda is a factory's product too


class Configured:
    def __init__(self, task: Callable[..., Any], red: Callable[..., Any] | None = None) -> None:
        self.task = task
        self.red = red

    def __call__(self) -> Any:
        return [self.task(), self.red is None]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "two states": ({"results": {"task-0": 1}, "running": ["task-0"]}, "two states"),
    "an unknown task": ({"running": ["red-0"]}, "belongs to no task"),
    "a malformed key": ({"running": ["task"]}, "is no key"),
    "an order that lacks a key": ({"results": {"task-0": 1}, "order": []}, "each final key once"),
    "an order with a running key": ({"running": ["task-0"], "order": ["task-0"]}, "each final key once"),
    "an order with a key twice": ({"results": {"task-0": 1}, "order": ["task-0"] * 2}, "each final key once"),
    "calls of no state": ({"calls": {"task-0": ((), {})}}, "in no state"),
    "a repeated name": ({"tasks": ["task", "task"]}, "given twice"),
    "a malformed name": ({"tasks": ["abc!123"]}, "no task name"),
    "an input that is no value": ({"args": [{1}]}, r"args\[0\]: a set"),
    "a result that is no value": ({"results": {"task-0": {1}}}, r"results\['task-0'\]: a set"),
    "an unknown field of an error": ({"errors": {"task-0": {"code": 1}}}, "unknown field 'code'"),
    "an error of another task": ({"errors": {"task-0": {"task": "task-1"}}}, "is that of its key"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_fault_of_the_test_is_refused(name: str) -> None:
    history, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        decide(one, **history)


def test_lines_are_those_of_the_factorys_own_file() -> None:
    line = one.__code__.co_firstlineno + 1
    assert decide(one).scheduled[0].line == line
    assert decide(Configured).scheduled[0].line is not None


def test_a_parameter_with_a_default_may_stay_away() -> None:
    assert decide(Configured, results={"task-0": 1}).result == [1, True]
    assert decide(Configured, tasks=["task", "red"], results={"task-0": 1}).result == [1, False]


def test_a_factory_may_take_any_further_task() -> None:
    def factory(**tasks: Any) -> Any:
        return lambda: sorted(tasks)

    assert decide(factory).result == []
    assert decide(factory, tasks=["b", "a"]).result == ["a", "b"]


@pytest.mark.parametrize("head", ["task, /", "*tasks"])
def test_positional_only_parameters_are_refused(head: str) -> None:
    error = decide((f"def f({head}):\n    return lambda: 1", None), tasks=["task"]).error
    assert error is not None
    assert (error["type"], "tasks are given by name" in str(error["message"])) == ("TasksMismatch", True)


def test_a_factory_whose_parameters_cannot_be_read_is_refused() -> None:
    error = decide(type("Odd", (), {"__signature__": 1})).error
    assert error is not None
    assert error["type"] == "TasksMismatch"


def test_wrapped_and_partial_factories() -> None:
    @functools.wraps(one)
    def wrapped(**tasks: Any) -> Any:
        return one(**tasks)

    assert decide(wrapped).scheduled[0].line is not None
    assert decide(functools.partial(Configured, red=None)).scheduled[0].key == "task-0"


def test_the_callers_values_are_out_of_reach() -> None:
    def factory() -> Any:
        return lambda items: [items.append(1), items]

    mine = [0]
    assert decide(factory, args=(mine,)).result == [None, [0, 1]]
    assert mine == [0]


def test_an_order_says_who_finished_first() -> None:
    source = "from flowy import *\ndef f(task):\n    return lambda: first(task(), task())", None
    results = {"task-0": 0, "task-1": 1}
    assert decide(source, results=results).result == 0
    assert decide(source, results=results, order=["task-1", "task-0"]).result == 1


def test_source_that_fails_to_load_is_a_decision() -> None:
    for source, kind in [("x =", "SyntaxError"), ("1 / 0", "ZeroDivisionError"), ("a = '\0'", "SyntaxError")]:
        error = decide((source, None)).error
        assert error is not None
        assert error["type"] == kind
