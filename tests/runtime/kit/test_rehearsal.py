"""Rehearsals: what a task is told to do is what happens, in the time and with the retries that it is told to have."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from flowy import TaskError, TaskTimedOut, first, restart, wait
from flowy.errors import ValueRefused
from flowy.testing import Attempts, Fails, Rehearsal, Takes, TimesOut, decide, same_in_every_order

Task = Callable[..., Any]


def one(task: Task) -> Task:
    return lambda *args: task(*args)  # noqa: PLW0108 - a workflow of its own


def told(task: Task) -> Task:
    def workflow() -> object:
        try:
            result = task("x")
            wait(result)
        except TaskError as error:
            return [error.type, error.message, error.attempt, error.exit_code, error.details]
        return result

    return workflow


AGAIN = {"retry": {"when": ["Error", "Timeout"], "delaysSeconds": [0, 30]}}
LIMITED = {"timeouts": {"startToCloseSeconds": 100}}

BEHAVIOURS: dict[str, tuple[Any, Mapping[str, Any], object, float]] = {
    "a value is the result": ([1, "two"], {}, [1, "two"], 0),
    "None is a value": (None, {}, None, 0),
    "a function gets the arguments": (lambda x: x * 2, {}, "xx", 0),
    "a function's act is done": (lambda x: Takes(7, x), {}, "x", 7),
    "time adds up": (Takes(3, Takes(4, "done")), {}, "done", 7),
    "an exception is a failure": (lambda x: 1 / 0, {}, ["ZeroDivisionError", "division by zero", 1, None, None], 0),
    "a failure says what it is told": (
        Takes(5, Fails("OOMKilled", "no memory", details={"mb": 3}, exit_code=137)),
        {},
        ["OOMKilled", "no memory", 1, 137, {"mb": 3}],
        5,
    ),
    "without words the type says it": (Fails("Boom"), {}, ["Boom", "Boom", 1, None, None], 0),
    "each attempt does its own": (Attempts(Takes(10, Fails()), Takes(5, "ok")), AGAIN, "ok", 10 + 30 + 5),
    "the last one repeats": (Attempts("ok"), AGAIN, "ok", 0),
    "all attempts may fail": (Fails("E"), AGAIN, ["E", "E", 3, None, None], 60),
    "what isn't retryable isn't retried": (Fails("E", retryable=False), AGAIN, ["E", "E", 1, None, None], 0),
    "a timer ends what never ends": (
        TimesOut(),
        LIMITED,
        ["TaskTimedOut", "task-0 timed out (StartToClose)", 1, None, None],
        300,
    ),
    "a timer ends what takes longer than there are dates": (
        Takes(1e300),
        LIMITED,
        ["TaskTimedOut", "task-0 timed out (StartToClose)", 1, None, None],
        300,
    ),
    "a timer ends what takes longer": (
        Attempts(Takes(101, "late"), Takes(99, "in time")),
        LIMITED,
        "in time",
        199,
    ),
    "a result that is no JSON is refused": (
        {1, 2},
        AGAIN,
        ["ValueRefused", "result: a set has no order; pass sorted(...) instead", 1, None, None],
        0,
    ),
    "a result whose listing fails": (
        lambda x: (1 // n for n in (1, 0)),
        {},
        ["ZeroDivisionError", "integer division or modulo by zero", 1, None, None],
        0,
    ),
}


@pytest.mark.parametrize(("does", "settings", "result", "seconds"), BEHAVIOURS.values(), ids=BEHAVIOURS)
def test_what_a_task_is_told_to_do(does: Any, settings: Mapping[str, Any], result: object, seconds: float) -> None:
    if settings is LIMITED:
        settings = {**LIMITED, "retry": {"when": ["Timeout"]}}
    run = Rehearsal(told, tasks={"task": does}, settings={"task": settings}).run()
    if isinstance(result, list) and result[:1] == ["TaskTimedOut"]:
        result = [*result[:2], 3, *result[3:]]  # each of three attempts
    assert (run.result, run.seconds, run.error) == (result, seconds, None)


def test_the_calls_that_were_made() -> None:
    def site(page: Task, publish: Task) -> Task:
        return lambda names: publish([page(name, width=8) for name in names])

    def page(render: Task) -> Task:
        def workflow(name: str, width: int) -> Any:
            return restart(name, 1) if width == 8 else render(name, width)

        return workflow

    child = Rehearsal(page, tasks={"render": lambda name, width: Takes(len(name), f"<{name}>")})
    run = Rehearsal(site, tasks={"page": child, "publish": Takes(10, "done")}).run(["a", "bcd"])
    shown = [
        (call.key, str(call), call.outcome, call.attempts, call.scheduled_s, call.finished_s) for call in run.calls
    ]
    assert shown == [
        ("page-0", 'page("a", width=8)', "completed", 1, 0, 1),
        ("page-1", 'page("bcd", width=8)', "completed", 1, 0, 3),
        ("publish-0", 'publish(["<a>","<bcd>"])', "completed", 1, 3, 13),
        ("page-0/render-0", 'render("a", 1)', "completed", 1, 0, 1),
        ("page-1/render-0", 'render("bcd", 1)', "completed", 1, 0, 3),
    ]
    assert [call.args for call in run.calls_of("render")] == [("a", 1), ("bcd", 1)]
    assert run.trace["workflow"] == "site"
    assert all(call.line is not None for call in run.calls)


def test_a_failure_of_the_workflow_is_told_not_raised() -> None:
    run = Rehearsal(one, tasks={"task": Fails("Boom", "loud")}).run()
    assert run.outcome == "failed"
    assert run.error is not None
    assert (run.error["type"], run.error["message"], run.error["task"]) == ("Boom", "loud", "task-0")
    assert run.ending == {"error": run.error}


def test_errors_that_nobody_looks_at_are_told() -> None:
    def lax(task: Task, other: Task) -> Task:
        def workflow() -> Any:
            task()
            return other()

        return workflow

    run = Rehearsal(lax, tasks={"task": Fails("Boom"), "other": Takes(1, 5)}).run()
    assert run.ending == {"result": 5}
    assert [error["task"] for error in run.ignored_errors] == ["task-0"]


def test_what_never_ends_and_has_no_timer_is_told_at_once() -> None:
    with pytest.raises(RuntimeError, match=r"task-0 never ends and has no timer: this run would wait for ever"):
        Rehearsal(one, tasks={"task": TimesOut()}).run()


def test_a_run_that_is_stopped_may_clean_up() -> None:
    def deploy(start: Task, check: Task, remove: Task) -> Task:
        def workflow() -> Any:
            try:
                report = check(start())
                wait(report)
            except TaskError:
                wait(remove())
                raise
            return report

        return workflow

    tasks = {"start": Takes(5, "up"), "check": Takes(1000, "fine"), "remove": Takes(2)}
    run = Rehearsal(deploy, tasks=tasks, stop_after=60).run()
    assert (run.outcome, run.seconds) == ("cancelled", 62)
    assert run.error is not None
    assert run.error["type"] == "TaskCancelled"
    assert [call.outcome for call in run.calls] == ["completed", "cancelled", "completed"]
    assert Rehearsal(deploy, tasks=tasks, stop_after=1005).run().result == "fine"  # it was there at that instant


def test_as_many_at_once_as_the_workflow_allows() -> None:
    def many(task: Task) -> Task:
        return lambda n: [task(i) for i in range(n)]

    tasks = {"task": Takes(10, 1)}
    assert Rehearsal(many, tasks=tasks).run(100).seconds == 10
    assert Rehearsal(many, tasks=tasks, parallelism=7).run(100).seconds == 150


SOURCE = """
from dataclasses import dataclass

@dataclass
class Film:
    name: str

def video(embed):
    return lambda name: embed(Film(name))

def other(embed):
    return lambda: 1
"""


def test_code_of_a_manifest() -> None:
    tasks = {"embed": lambda film: film["name"]}
    assert Rehearsal((SOURCE, "video"), tasks=tasks).run("talk").result == "talk"
    with pytest.raises(ValueError, match="the code can't be used: the source defines no 'vdeo'"):
        Rehearsal((SOURCE, "vdeo"), tasks=tasks)


def test_an_order_that_was_asked_for() -> None:
    def race(a: Task, b: Task) -> Task:
        return lambda: first(a(), b())

    tasks = {"a": Takes(1, "a"), "b": Attempts(Fails(), "b")}
    settings = {"b": {"retry": {"when": ["Error"], "delaysSeconds": [0, 100]}}}
    run = Rehearsal(race, tasks=tasks, settings=settings, order=["b-0", "b-0"]).run()
    assert (run.result, run.order) == ("b", ["b-0", "b-0"])
    run = Rehearsal(race, tasks=tasks, settings=settings, order=["b-0"]).run()
    assert (run.result, run.order) == ("a", ["b-0", "a-0"])
    with pytest.raises(ValueError, match="the order has 'c-0' where it doesn't run: there are a-0, b-0"):
        Rehearsal(race, tasks=tasks, order=["c-0"]).run()
    with pytest.raises(ValueError, match="the run ended, and the order goes on with 'a-0', 'd-0'"):
        Rehearsal(race, tasks=tasks, settings=settings, order=["b-0", "b-0", "a-0", "d-0"]).run()


def test_a_timeout_in_an_order_needs_no_timer() -> None:
    def careful(task: Task) -> Task:
        def workflow() -> Any:
            try:
                wait(task())
            except TaskTimedOut as error:
                return error.timer

        return workflow

    assert Rehearsal(careful, tasks={"task": TimesOut()}, order=[]).run().result == "StartToClose"


def test_an_act_in_what_a_function_gives_is_an_error_of_the_test() -> None:
    run = Rehearsal(one, tasks={"task": lambda n: [Fails()] * n}).run(2)
    assert run.error is not None
    assert (run.error["type"], run.error["attempt"]) == ("TypeError", 1)
    assert "a function gave a list with Fails(...) in it: what an attempt does stands alone" in str(
        run.error["message"]
    )


def test_a_list_that_holds_itself_is_no_value() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert Rehearsal(one, tasks={"task": endless}).run().error is not None


def _refused(make: Callable[[], object]) -> str:
    with pytest.raises((TypeError, ValueError, ValueRefused)) as caught:
        make()
    return str(caught.value)


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "negative time": (lambda: Takes(-1), "Takes(-1): seconds"),
    "endless time": (lambda: Takes(float("inf")), "Takes(inf): seconds"),
    "no attempt": (Attempts, "what does the first attempt do?"),
    "an exception as an error": (lambda: Fails(KeyError("x")), "Fails(KeyError('x'), None): type and message are text"),  # type: ignore[arg-type]
    "a stop of a sub-workflow alone": (
        lambda: Rehearsal(one, tasks={"task": Rehearsal(one, tasks={"task": 1}, stop_after=3)}),
        "tasks['task'] has an order or stop_after of its own",
    ),
    "an order of a sub-workflow alone": (
        lambda: Rehearsal(one, tasks={"task": Rehearsal(one, tasks={"task": 1}, order=[])}),
        "tasks['task'] has an order or stop_after of its own",
    ),
    "letters as arguments of a decision": (
        lambda: decide(one, args="x"),
        "args is the text 'x': a list is expected, ['x']",
    ),
    "letters as arguments of all orders": (
        lambda: same_in_every_order(Rehearsal(one, tasks={"task": 1}), args="x"),
        "args is the text 'x'",
    ),
    "an act in a list": (
        lambda: Rehearsal(one, tasks={"task": [1, Fails()]}),
        "tasks['task'] is a list with Fails(...) in it: what an attempt does stands alone. Attempts(a, b) says",
    ),
    "an act deep in a value": (
        lambda: Rehearsal(one, tasks={"task": Takes(3, Attempts(1, {"a": ({"b": TimesOut()},)}))}),
        "tasks['task'] is a dict with TimesOut(...) in it",
    ),
    "an unknown task": (lambda: Rehearsal(one, tasks={"task": 1, "red": 2}), "red"),
    "a missing task": (lambda: Rehearsal(one, tasks={}), "task"),
    "settings of no task": (lambda: Rehearsal(one, tasks={"task": 1}, settings={"red": {}}), "'red', which is no task"),
    "an order and a time": (lambda: Rehearsal(one, tasks={"task": 1}, order=[], stop_after=3), "give one of the two"),
    "an input that is no JSON": (lambda: Rehearsal(one, tasks={"task": 1}).run({1}), "args[0]: a set"),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(make: Callable[[], object], words: str) -> None:
    assert words in _refused(make)
