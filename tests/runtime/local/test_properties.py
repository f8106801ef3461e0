"""What must hold of the engine over random programs, in virtual time with random durations and failures."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowy import first
from flowy.errors import TaskError
from flowy.local.code import FactoryCode
from flowy.local.engine import Engine, Finished
from flowy.local.functions import Work
from flowy.local.plan import Decided, Plan, Question, TaskPlan
from flowy.local.virtual import VirtualTime
from flowy.wire import values
from tests.runtime.programs import TASKS, World, outcome_of, programs, sequential
from tests.runtime.test_properties import SEEDS, bounded

WORKERS = st.sampled_from([1, 3, 64])
PARALLELISM = st.sampled_from([2, 64])


class AskingAlways:
    """The same code, which is replayed after each outcome."""

    def __init__(self, code: FactoryCode) -> None:
        self._code = code

    def decide(self, question: Question) -> Decided:
        return Decided(self._code.decide(question).answer)


def _activity(task: str, *, fails: bool) -> Callable[..., Any]:
    def activity(*args: Any, **kwargs: Any) -> Any:
        value, luck = outcome_of(task, args, kwargs)
        if fails and luck == 0:
            raise TaskError(f"{task} failed")
        return value

    return activity


def plan_of(source: str, seed: int, *, fails: bool, parallelism: int) -> Plan:
    def duration_of(task: str) -> Callable[..., float]:
        return lambda *args, **kwargs: random.Random(f"{seed} {task} {values.digest(args, kwargs)}").randint(0, 5)

    tasks = {name: TaskPlan(work=Work(_activity(name, fails=fails), duration_of(name))) for name in TASKS}
    code = FactoryCode(World(source).factory(), TASKS)
    return Plan(name="program", code=code, tasks=tasks, parallelism=parallelism)


def run_locally(plan: Plan, workers: int) -> Finished:
    return Engine(VirtualTime(workers)).run(plan, '{"args":[],"kwargs":{}}', "test")


@bounded
@given(programs(), st.booleans(), SEEDS, WORKERS, PARALLELISM)
def test_what_is_known_of_a_decision_goes_on_as_the_code_would(
    source: str, fails: bool, seed: int, workers: int, parallelism: int
) -> None:
    plan = plan_of(source, seed, fails=fails, parallelism=parallelism)
    quick = run_locally(plan, workers)
    assert isinstance(plan.code, FactoryCode)
    slow = run_locally(replace(plan, code=AskingAlways(plan.code)), workers)
    assert quick.end == slow.end
    assert quick.root.history.events == slow.root.history.events
    assert quick.root.decisions <= slow.root.decisions


def _nest(levels: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(levels - 1):
        inner = [inner]
    return inner


CHAINS: Mapping[str, tuple[Any, tuple[int, int]]] = {
    # how often the code runs, with and without what a decision knows
    "a chain": (lambda a: lambda: a(a(a(a(1)))), (2, 5)),
    "keyword arguments and nests": (lambda a: lambda: a({"k": [a(1), a(2)]}, k=a(3)), (2, 3)),
    "a race in a race": (lambda a: lambda: a(first(first(a(1), a(2)), a(3))), (3, 3)),
    "a key that is a result": (lambda a: lambda: a({a("k"): 1}), (3, 3)),
    "a barrier above": (lambda a: lambda: a(a(int(a(1)))), (3, 4)),
    "a value that is too deep where it stands": (lambda a: lambda: a([[a(_nest(199))]]), (2, 2)),
}


@pytest.mark.parametrize(("factory", "decisions"), CHAINS.values(), ids=CHAINS)
def test_what_a_decision_knows_saves_others(factory: Any, decisions: tuple[int, int]) -> None:
    def same(x: Any, **_: Any) -> Any:
        return x

    code = FactoryCode(factory, ["a"])
    plan = Plan(name="w", code=code, tasks={"a": TaskPlan(work=Work(same, lambda *_, **__: 7))})
    runs = [run_locally(plan, 64), run_locally(replace(plan, code=AskingAlways(code)), 64)]
    assert runs[0].end == runs[1].end
    assert runs[0].root.history.events == runs[1].root.history.events
    assert (runs[0].root.decisions, runs[1].root.decisions) == decisions


@bounded
@given(programs(races=False), SEEDS, WORKERS, PARALLELISM)
def test_m7_a_local_run_agrees_with_a_sequential_one(source: str, seed: int, workers: int, parallelism: int) -> None:
    try:
        expected = sequential(source)
    except RecursionError:  # pragma: no cover - a program may nest a variable in itself without bound
        return
    end = run_locally(plan_of(source, seed, fails=False, parallelism=parallelism), workers).end
    assert end.result is not None
    assert values.decode(end.result) == expected
