"""Combinators on plain values, as in a sequential run; with results they stand in the decision tables."""

from collections import deque
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pytest

from flowy import finish_order, first, parallel_reduce, restart, wait
from flowy.testing import decide


@dataclass
class Pair:
    left: object
    right: object


def test_wait_takes_whatever_there_is() -> None:
    cycle: list[object] = [1]
    cycle.append(cycle)
    wait()
    wait(1, "ab", b"", {1}, object(), int, [(1, {"k": iter([1])})], cycle, Pair(1, 2))


@pytest.mark.parametrize(
    "code",
    [
        "wait(r)",
        "wait(1, [r])",
        "wait((1, {'k': {'l': [r]}}))",
        "wait(Pair(1, r))",
        "wait(deque([r]))",
        "wait(View({'k': r}))",
        "wait(iter([iter([r])]))",
        "wait({'k': r}.values())",
        "deep = r\nfor _ in range(5000): deep = [deep]\nwait(deep)",
        "wait([1, 2, [3]], [[], r], 4)",
    ],
)
def test_wait_finds_a_result_in(code: str) -> None:
    def factory(task: Any) -> Any:
        def run() -> None:
            names = {"r": task(), "wait": wait, "Pair": Pair, "deque": deque, "View": MappingProxyType}
            exec(code, names)

        return run

    assert decide(factory).waiting_on[0][0] == "task-0"


def test_wait_does_not_look_into_values_and_keys() -> None:
    def factory(task: Any) -> Any:
        def run() -> int:
            wait(Pair, {"k": 1}, task)
            return 1

        return run

    assert decide(factory).result == 1


def test_first_of_plain_values() -> None:
    assert first(3, 1) == 3
    assert first([3, 1]) == 3
    assert first(iter([3])) == 3
    assert first([1], [2]) == [1]
    with pytest.raises(TypeError, match=r"first\(\) needs"):
        first()
    with pytest.raises(ValueError, match=r"first\(\) of an empty iterable"):
        first(())


def test_finish_order_of_plain_values() -> None:
    assert list(finish_order(3, 1)) == [3, 1]
    assert list(finish_order(x for x in (3, 1))) == [3, 1]
    with pytest.raises(TypeError, match=r"finish_order\(\) needs"):
        finish_order()


def test_parallel_reduce_of_plain_values() -> None:
    calls: list[tuple[int, int]] = []

    def add(x: int, y: int) -> int:
        calls.append((x, y))
        return x + y

    assert parallel_reduce(add, range(5)) == 10
    assert calls == [(0, 1), (2, 3), (4, 1), (5, 5)]  # products queue up behind what waits already
    assert parallel_reduce(add, [1], 10) == 11
    assert parallel_reduce(add, [7]) == 7
    with pytest.raises(ValueError, match="no initializer"):
        parallel_reduce(add, [])


def test_restart_markers_are_equal_if_their_arguments_are() -> None:
    assert restart(1, k=2) == restart(1, k=2)
    assert restart(1) != restart(2)
    assert restart(1) != (1,)
    assert repr(restart(1, k="a")) == "restart(1, k='a')"


def test_a_thousand_pending_members_fold_without_trouble() -> None:
    def factory(task: Any, red: Any) -> Any:
        return lambda: parallel_reduce(red, [task(n) for n in range(1000)])

    decision = decide(factory)
    assert len(decision.waiting_on) == 1000
