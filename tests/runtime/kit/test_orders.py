"""`same_in_every_order` finds what depends on the order of completion, and only that."""

import math
import re
from collections.abc import Callable
from typing import Any

import pytest

from flowy import TaskError, finish_order, first, parallel_reduce, wait
from flowy.testing import Attempts, Fails, Orders, Rehearsal, Rehearsed, Takes, TimesOut, same_in_every_order

Task = Callable[..., Any]


def listed(task: Task) -> Task:
    return lambda n: [task(i) for i in range(n)]


def raced(task: Task) -> Task:
    return lambda n: first([task(i) for i in range(n)])


def reduced(task: Task, add: Task) -> Task:
    return lambda n: parallel_reduce(add, [task(i) for i in range(n)])


TASKS = {"task": lambda i: Takes(i, i)}


@pytest.mark.parametrize("n", range(1, 6))
def test_all_orders_are_tried_where_they_are_few(n: int) -> None:
    seen: set[tuple[str, ...]] = set()

    def noted(run: Rehearsed) -> object:
        seen.add(tuple(run.order))
        return run.ending

    done = same_in_every_order(Rehearsal(listed, tasks=TASKS), args=[n], of=noted)
    assert done == Orders(math.factorial(n), are_all=True)
    assert len(seen) == math.factorial(n)


def test_orders_where_calls_follow_from_calls() -> None:
    def chain(a: Task, b: Task) -> Task:
        return lambda: [b(a(1)), a(2)]  # a-0 before b-0, a-1 anywhere

    done = same_in_every_order(Rehearsal(chain, tasks={"a": 1, "b": 2}))
    assert done == Orders(3, are_all=True)


def test_many_orders_are_sampled_and_the_same_each_time() -> None:
    def orders_of(seed: int) -> list[tuple[str, ...]]:
        seen: list[tuple[str, ...]] = []
        done = same_in_every_order(
            Rehearsal(listed, tasks=TASKS), args=[8], runs=20, seed=seed, of=lambda run: seen.append(tuple(run.order))
        )
        assert done == Orders(20, are_all=False)
        return seen

    assert orders_of(1) == orders_of(1)
    assert orders_of(1) != orders_of(100)
    assert len(set(orders_of(1))) == 20


def test_as_many_runs_as_there_are_orders_are_all() -> None:
    rehearsal = Rehearsal(listed, tasks=TASKS)
    assert same_in_every_order(rehearsal, args=[3], runs=6).are_all
    assert not same_in_every_order(rehearsal, args=[3], runs=5).are_all


def test_a_race_depends_on_the_order_and_the_message_names_two() -> None:
    rehearsal = Rehearsal(raced, tasks=TASKS)
    with pytest.raises(AssertionError) as caught:
        same_in_every_order(rehearsal, args=[2])
    assert str(caught.value) == (
        "it depends on who finishes first:\n"
        "  in the order task-0\n"
        "    {'result': 0}\n"
        "  in the order task-1\n"
        "    {'result': 1}\n"
        "  they part after the start\n"
        "to see this one alone: Rehearsal(..., order=['task-1'])"
    )
    assert Rehearsal(raced, tasks=TASKS, order=["task-1"]).run(2).result == 1


def test_a_rare_order_is_found() -> None:
    def fragile(task: Task) -> Task:
        def workflow() -> Any:
            done = list(finish_order([task(i) for i in range(4)]))
            return "reversed" if done == [3, 2, 1, 0] else "ok"

        return workflow

    with pytest.raises(AssertionError, match="reversed") as caught:
        same_in_every_order(Rehearsal(fragile, tasks={"task": lambda i: i}))
    found = re.findall(r"order=(\[.*\])", str(caught.value))
    assert found == ["['task-3', 'task-2', 'task-1', 'task-0']"]


def test_a_sum_does_not_depend_on_the_order_though_its_calls_do() -> None:
    rehearsal = Rehearsal(reduced, tasks={"task": lambda i: i, "add": lambda a, b: a + b})
    assert same_in_every_order(rehearsal, args=[4]) == Orders(144, are_all=True)
    with pytest.raises(AssertionError, match="add"):
        same_in_every_order(rehearsal, args=[3], of=lambda run: sorted(map(str, run.calls)))


def test_an_invariant_that_breaks_names_the_order() -> None:
    def check(run: Rehearsed) -> None:
        assert run.result == 0, "the first one must win"

    with pytest.raises(AssertionError, match="must win") as caught:
        same_in_every_order(Rehearsal(raced, tasks=TASKS), args=[2], of=check)
    assert caught.value.__notes__ == ["to see this one alone: Rehearsal(..., order=['task-1'])"]


def test_failures_timeouts_and_retries_need_no_time() -> None:
    def careful(fetch: Task, mirror: Task) -> Task:
        def workflow() -> Any:
            copies = []
            for page in ("a", "b"):
                copy = fetch(page)
                try:
                    wait(copy)
                except TaskError:
                    copy = mirror(page)
                copies.append(copy)
            return copies

        return workflow

    def fetch(page: str) -> Any:
        return TimesOut() if page == "a" else Attempts(Takes(5, Fails("Lost")), page)

    settings = {
        "fetch": {
            "timeouts": {"startToCloseSeconds": 1},
            "retry": {"when": ["Error"], "backoff": {"initialSeconds": 60}},
        }
    }
    rehearsal = Rehearsal(careful, tasks={"fetch": fetch, "mirror": "copy"}, settings=settings)
    done = same_in_every_order(rehearsal, of=lambda run: (run.result, run.seconds > 10))
    assert done.are_all


def test_sub_workflows_are_shuffled_too() -> None:
    def parent(child: Task) -> Task:
        return lambda: [child(1), child(2)]

    def child(step: Task, last: Task) -> Task:
        return lambda n: last(step(n))

    rehearsal = Rehearsal(parent, tasks={"child": Rehearsal(child, tasks={"step": 1, "last": 2})})
    orders: set[tuple[str, ...]] = set()
    done = same_in_every_order(rehearsal, of=lambda run: orders.add(tuple(run.order)))
    assert done == Orders(6, are_all=True)  # of two pairs, each in its order
    assert ("child-1/step-0", "child-1/last-0", "child-0/step-0", "child-0/last-0") in orders


def test_no_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        same_in_every_order(Rehearsal(listed, tasks=TASKS), args=[1], runs=0)


@pytest.mark.parametrize("given", [{"order": ["task-0"]}, {"stop_after": 1}])
def test_a_rehearsal_with_an_order_or_a_stop_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="neither order nor stop_after"):
        same_in_every_order(Rehearsal(listed, tasks=TASKS, **given), args=[1])
