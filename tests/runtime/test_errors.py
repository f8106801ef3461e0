"""Errors: what code sees of them, and what becomes of those that leave it or that nobody looks at."""

import json
from typing import Any

import pytest

from flowy import TaskCancelled, TaskError, TaskTimedOut
from flowy.testing import Decision, decide
from tests.runtime.tables import long, source_of


def run(code: str, **history: Any) -> Decision:
    return decide((source_of(code), None), **history)


def test_the_tree() -> None:
    assert TaskTimedOut.__bases__ == TaskCancelled.__bases__ == (TaskError,)
    assert TaskError.__bases__ == (Exception,)


def test_defaults_of_an_error_made_by_code() -> None:
    error = TaskError("m")
    assert (str(error), error.message, error.type, error.details) == ("m", "m", "TaskError", None)
    assert [error.task, error.attempt, error.exit_code, error.timer, error.reason] == [None] * 5
    assert (TaskTimedOut("m").type, TaskError("m", "Mine", [1]).type) == ("TaskTimedOut", "Mine")


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ({"errors": {"task-0": "m"}}, ["TaskError", "Error", "m", "task-0", 1, None]),
        ({"timeouts": {"task-0": "Heartbeat"}}, ["TaskTimedOut", "TaskTimedOut", "task-0 timed out (Heartbeat)", "task-0", 1, "Heartbeat"]),
        ({"timeouts": ["task-0"]}, ["TaskTimedOut", "TaskTimedOut", "task-0 timed out (StartToClose)", "task-0", 1, "StartToClose"]),
        ({"cancelled": {"task-0": "StopRequested"}}, ["TaskCancelled", "TaskCancelled", "task-0 was cancelled: StopRequested", "task-0", 1, None]),
        ({"cancelled": ["task-0"]}, ["TaskCancelled", "TaskCancelled", "task-0 was cancelled", "task-0", 1, None]),
        ({"errors": {"task-0": {"type": "X"}}}, ["TaskError", "X", "task-0 failed", "task-0", 1, None]),
    ],
)  # fmt: skip
def test_attributes_at_a_touch(history: dict[str, Any], expected: list[Any]) -> None:
    code = "try: wait(task())\nexcept TaskError as e: return [type(e).__name__, e.type, str(e), e.task, e.attempt, e.timer]"
    assert run(code, **history).result == expected


def test_a_cancellation_has_a_reason_and_takes_it_along() -> None:
    code = "try: wait(task())\nexcept TaskCancelled as e: return [e.reason, e.timer]"
    assert run(code, cancelled={"task-0": "StopRequested"}).result == ["StopRequested", None]
    assert run(code, cancelled=["task-0"]).result == [None, None]
    error = run("return task() + 1", cancelled={"task-0": "Deleted"}).error
    assert error is not None
    assert (error["type"], error["reason"]) == ("TaskCancelled", "Deleted")


def test_a_timeout_can_be_caught_before_other_errors() -> None:
    code = "try: wait(task())\nexcept TaskTimedOut: return 1\nexcept TaskError: return 2"
    assert run(code, timeouts=["task-0"]).result == 1
    assert run(code, errors={"task-0": "m"}).result == 2


def test_a_derived_error_keeps_the_task_of_its_origin() -> None:
    decision = run("return red(other(task()))", errors={"task-0": "m"})
    assert decision.error is not None
    assert decision.error["task"] == "task-0"


def test_an_error_that_leaves_the_code_keeps_its_object_and_says_where() -> None:
    given = {"type": "Oom", "message": "m", "attempt": 3, "exitCode": 137, "details": {"k": 1}}
    error = run("a = task()\nstr(a)", errors={"task-0": given}).error
    assert error == {
        **given,
        "task": "task-0",
        "line": 5,
        "traceback": "  line 5, in factory.<locals>.run\n    str(a)",
    }


def test_an_error_raised_by_code_is_whole() -> None:
    error = run('raise TaskError("m", "Mine", details=[1, (2,)])').error
    assert error is not None
    assert (error["type"], error["message"], error["details"]) == ("Mine", "m", [1, [2]])
    assert "task" not in error


@pytest.mark.parametrize("details", ["{1}", "[task()]", "task()", "red"])
def test_details_that_are_no_values_are_left_out_with_a_warning(details: str) -> None:
    decision = run(f'raise TaskError("m", details={details})')
    assert decision.error is not None
    assert (decision.outcome, decision.error["message"]) == ("failed", "m")
    assert "details" not in decision.error
    assert "details of the error are left out" in decision.log[0]


def test_details_may_hold_a_completed_result() -> None:
    error = run('raise TaskError("m", details=[task()])', results={"task-0": 5}).error
    assert error is not None
    assert error["details"] == [5]


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "raise GeneratorExit()", "raise BaseException('x')"])
def test_whatever_the_code_raises_fails_the_workflow(code: str) -> None:
    assert run(code).outcome == "failed"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, MemoryError])
def test_what_tells_of_the_process_passes(kind: type[BaseException]) -> None:
    with pytest.raises(kind):
        run(f"raise {kind.__name__}")
    with pytest.raises(kind):
        decide((f"raise {kind.__name__}", None))


def test_an_exception_whose_text_touches_a_pending_result_is_a_barrier() -> None:
    decision = run("a = task()\nraise ValueError(a)")
    assert (decision.outcome, [key for key, _ in decision.waiting_on]) == ("suspended", ["task-0"])
    assert run("raise ValueError(task())", results={"task-0": 5}).error["message"] == "5"  # type: ignore[index]


def test_an_exception_without_text_still_has_a_type() -> None:
    error = run("class Odd(Exception):\n    def __str__(self): return 1 / 0\nraise Odd").error
    assert error is not None
    assert (error["type"], error["message"]) == ("Odd", "the exception has no text: its __str__ failed")


def test_long_and_unprintable_texts_are_cut_and_escaped() -> None:
    error = run(r"raise ValueError('\ud800' + 'x' * 100_000)").error
    assert error is not None
    assert str(error["message"]).startswith("\\ud800xxx")
    assert str(error["message"]).endswith("x… (95910 characters more)")


def test_a_traceback_of_a_recursion_is_cut_in_its_middle() -> None:
    error = run("def f(n):\n    if n: f(n - 1)\n    raise ValueError('end')\nf(100)").error
    assert error is not None
    lines = str(error["traceback"]).splitlines()
    assert "  … 62 more" in lines
    assert len([line for line in lines if ", in " in line]) == 40


def test_a_traceback_holds_lines_of_the_users_own_file_only() -> None:
    def factory() -> Any:
        def body() -> Any:
            return json.loads("{")

        return body

    error = decide(factory).error
    assert error is not None
    assert str(error["traceback"]).count("line ") == 1
    assert 'json.loads("{")' in str(error["traceback"])


IGNORED: dict[str, tuple[str, list[str]]] = {
    "never looked at": ("return 1", ["t0", "t1"]),
    "touched": ("try: str(a)\nexcept TaskError: return 1", ["t1"]),
    "given to wait": ("try: wait(a, b)\nexcept TaskError: return 1", []),
    "given to first alone": ("first(a, b); return 1", ["t0", "t1"]),
    "given to finish_order alone": ("list(finish_order(a, b)); return 1", ["t0", "t1"]),
    "the winner of first is touched": ("try: str(first(a, b))\nexcept TaskError: return 1", ["t1"]),
    "handed on and not observed": ("red(a); return 1", ["t0", "t1"]),
    "handed on and observed": ("try: str(red(red(a), b))\nexcept TaskError: return 1", []),
    "in the return value": ("return [a]", ["t1"]),
    "both in the return value": ("return {'k': [b, a]}", []),
    "in the arguments of restart": ("return restart(b)", ["t0"]),
    "raised by something else": ("raise ValueError(1)", ["t0", "t1"]),
}


@pytest.mark.parametrize("name", IGNORED)
def test_ignored_errors(name: str) -> None:
    code, ignored = IGNORED[name]
    decision = run("a, b = task(), task()\n" + code, errors={"task-1": "b", "task-0": "a"}, order=["task-0", "task-1"])
    assert [error["task"] for error in decision.ignored_errors] == [long(key) for key in ignored]


def test_ignored_errors_stand_in_finish_order() -> None:
    decision = run(
        "a, b = task(), task(); return 1", errors={"task-0": "a"}, timeouts=["task-1"], order=["task-1", "task-0"]
    )
    assert [error["task"] for error in decision.ignored_errors] == ["task-1", "task-0"]
