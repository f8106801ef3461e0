"""The decision tables of the local engine: L, E and what G and N say of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import pytest

from flowy import TaskError
from flowy.local import LocalWorkflow
from tests.runtime.local import functions as f

Executor = Literal["threads", "processes"]
EXECUTORS: Sequence[Executor] = ("processes", "threads")


@pytest.mark.parametrize("executor", EXECUTORS)
def test_l01_l02_activities(executor: Executor) -> None:
    tasks: Mapping[str, Any] = {"step": f.increment, "add": f.add}
    assert LocalWorkflow(f.map_sum, activities=tasks, executor=executor, workers=2).run(8) == 45


@pytest.mark.parametrize("executor", EXECUTORS)
def test_l03_l04_sub_workflows(executor: Executor) -> None:
    step = LocalWorkflow(f.one, activities={"step": f.increment})
    add = LocalWorkflow(f.two, activities={"add": f.add})
    whole = LocalWorkflow(f.map_sum, workflows={"step": step, "add": add}, executor=executor, workers=2)
    assert whole.run(8) == 45


@pytest.mark.parametrize("executor", EXECUTORS)
def test_l05_l06_a_child_that_restarts(executor: Executor) -> None:
    child = LocalWorkflow(f.map_sum, activities={"step": f.increment, "add": f.add}, executor="threads")
    whole = LocalWorkflow(f.map_sum, activities={"add": f.add}, workflows={"step": child}, executor=executor, workers=2)
    assert whole.run(8) == 165
    assert whole.trace is not None
    (node, *_) = [node for node in whole.trace["runs"][1]["nodes"] if node["key"] == "step-3"]
    assert node["kind"] == "workflow"
    assert [run["run"] for run in node["children"][0]["runs"]] == [1, 2]


def _error(workflow: LocalWorkflow, *args: object) -> TaskError:
    with pytest.raises(TaskError) as caught:
        workflow.run(*args)
    return caught.value


@pytest.mark.parametrize("restarts", [0, 1, 4])
def test_l07_l09_a_failing_activity(restarts: int) -> None:
    error = _error(LocalWorkflow(f.restarting, activities={"task": f.fail}), restarts)
    assert (error.type, error.message, error.task, error.attempt) == ("LookupError", "err!", "task-0", 1)
    assert "in fail" in error.__notes__[0]
    assert "flowy/local" not in error.__notes__[0]


def test_l10_an_exception_in_the_body() -> None:
    error = _error(LocalWorkflow(f.broken, activities={"task": f.fail}))
    assert (error.type, error.message, error.task) == ("ValueError", "the body", None)
    assert "in broken.<locals>.workflow" in error.__notes__[0]


@pytest.mark.parametrize("restarts", [0, 1, 4])
def test_l11_l13_a_failing_sub_workflow(restarts: int) -> None:
    child = LocalWorkflow(f.one, activities={"step": f.fail})
    error = _error(LocalWorkflow(lambda task: f.restarting(lambda: task(1)), workflows={"task": child}), restarts)
    assert (error.type, error.message, error.task, error.attempt) == ("LookupError", "err!", "task-0", 1)
    assert "in fail" in error.__notes__[0]


def test_l14_an_exception_in_the_body_of_the_sub_workflow() -> None:
    child = LocalWorkflow(f.broken, activities={"task": f.fail})
    error = _error(LocalWorkflow(f.one, workflows={"step": child}), 1)
    assert (error.type, error.message, error.task) == ("ValueError", "the body", "step-0")


def test_l15_square_and_add() -> None:
    assert LocalWorkflow(f.sum_of_squares, activities={"square": f.square, "add": f.add}).run(2, 10) == 104


@pytest.mark.parametrize("executor", EXECUTORS)
def test_n28_a_set_is_refused_at_once(executor: Executor) -> None:
    error = _error(LocalWorkflow(f.one, activities={"step": f.a_set}, executor=executor), 1)
    assert (error.type, error.task) == ("ValueRefused", "step-0")
    assert error.message == "result: a set has no order; pass sorted(...) instead"


def test_an_error_of_an_activity_keeps_its_type_and_details() -> None:
    error = _error(LocalWorkflow(f.one, activities={"step": f.fail_with_details}), 1)
    assert (error.type, error.message, error.details) == ("NoFilm", "no film", {"tried": ["a", "b"]})


# -- durations -------------------------------------------------------------------------------------------------------


def _in_turn(*seconds: float) -> Callable[..., float]:
    """The durations of the calls in their order."""
    left = iter(seconds)
    return lambda *_: next(left)


SQUARES = {1: 5, 2: 15, 3: 10, 4: 60, 5: 50, 6: 20}
FOUR: Mapping[str, Any] = {"square": lambda x: {1: 10, 2: 5, 3: 15, 4: 20}[x]}
SIX: Mapping[str, Any] = {"square": lambda x: SQUARES[x], "add": 15}

DURATIONS: Mapping[str, tuple[Any, Mapping[str, Any], int, float]] = {
    "E01": (f.chain, {"square": _in_turn(10, 5, 15, 20)}, 65536, 50),
    "E02": (f.third, FOUR, 9, 20),
    "E03": (f.sum_of_all, FOUR, 30, 20),
    "E04": (f.fastest, FOUR, 4, 5),
    "E05": (f.first_two, FOUR, 5, 10),
    "E06": (f.conditional, {"square": 10}, 400, 20),
    "E07": (f.fold_in_call_order, SIX, 91, 105),
    "E08": (f.fold_in_finish_order, SIX, 91, 85),
    "E09": (f.fold_in_pairs, SIX, 91, 80),
}


@pytest.mark.parametrize(("factory", "durations", "result", "seconds"), DURATIONS.values(), ids=DURATIONS)
def test_e_durations(factory: Any, durations: Mapping[str, Any], result: int, seconds: float) -> None:
    activities = {name: getattr(f, name) for name in durations}
    workflow = LocalWorkflow(factory, activities=activities, clock="virtual", durations=durations)
    assert workflow.run() == result
    assert workflow.trace is not None
    assert workflow.trace["seconds"] == seconds


# -- settings ----------------------------------------------------------------------------------------------------------

NAMES: Mapping[str, Mapping[str, Any]] = {
    "a digit first": {"activities": {"123": f.add}},
    "a keyword": {"activities": {"for": f.add}},
    "other characters": {"activities": {"abc!123": f.add}},
    "one that the factory does not ask for": {"activities": {"step": f.add, "add": f.add}},
    "one that the factory asks for": {"activities": {}},
    "settings of no task": {"activities": {"step": f.add}, "tasks": {"stepp": {}}},
    "durations of no task": {"activities": {"step": f.add}, "durations": {"x": 1}, "clock": "virtual"},
    "durations in real time": {"activities": {"step": f.add}, "durations": {"step": 1}},
    "an unknown clock": {"activities": {"step": f.add}, "clock": "atomic"},
    "an unknown executor": {"activities": {"step": f.add}, "executor": "fibers"},
    "an unknown end": {"activities": {"step": f.add}, "on_end": "Forget"},
    "no workers": {"activities": {"step": f.add}, "workers": 0},
}


@pytest.mark.parametrize("settings", NAMES.values(), ids=NAMES)
def test_g_names_and_settings(settings: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError):
        LocalWorkflow(f.one, **settings)


def test_g01_a_name_of_both_kinds() -> None:
    child = LocalWorkflow(f.one, activities={"step": f.increment})
    with pytest.raises(ValueError, match="given twice"):
        LocalWorkflow(f.one, activities={"step": f.increment}, workflows={"step": child})
