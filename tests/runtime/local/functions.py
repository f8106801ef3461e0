"""Activities and workflows of the tests: in a module, so that worker processes find them."""

import os
import time
from collections.abc import Callable
from typing import Any

from flowy import TaskError, finish_order, first, parallel_reduce, restart, wait
from flowy.activity import heartbeat

Tasks = Callable[..., Any]


def increment(x: int) -> int:
    return x + 1


def add(a: int, b: int) -> int:
    return a + b


def square(x: int) -> int:
    return x * x


def fail(*_: object) -> None:
    raise LookupError("err!")


def fail_with_details(*_: object) -> None:
    raise TaskError("no film", "NoFilm", {"tried": ["a", "b"]})


def a_set(*_: object) -> set[int]:
    return {1, 2}


def die(*_: object) -> None:
    os._exit(7)


def hang(*_: object) -> None:
    time.sleep(60)


def beat_and_die(x: int) -> None:
    heartbeat(x)
    os._exit(1)


def pid(*_: object) -> int:
    return os.getpid()


def map_sum(step: Tasks, add: Tasks) -> Tasks:
    def workflow(n: int, again: int = 1) -> Any:
        if again:
            return restart(n, again - 1)
        return parallel_reduce(add, [step(x) for x in range(n + 1)])

    return workflow


def one(step: Tasks) -> Tasks:
    def workflow(x: int) -> Any:
        return step(x)

    return workflow


def two(add: Tasks) -> Tasks:
    def workflow(a: int, b: int) -> Any:
        return add(a, b)

    return workflow


def restarting(task: Tasks) -> Tasks:
    """Restarts so often, then calls the task."""

    def workflow(again: int = 0) -> Any:
        return restart(again - 1) if again else task()

    return workflow


def broken(task: Tasks) -> Tasks:
    def workflow(*_: object) -> Any:
        raise ValueError("the body")

    return workflow


def sum_of_squares(square: Tasks, add: Tasks) -> Tasks:
    def workflow(a: int, b: int) -> Any:
        return add(square(a), square(b))

    return workflow


# -- E: durations ----------------------------------------------------------------------------------------------------


def chain(square: Tasks) -> Tasks:
    def workflow() -> Any:
        x = 2
        for _ in range(4):
            x = square(x)
        return x

    return workflow


def third(square: Tasks) -> Tasks:
    def workflow() -> Any:
        squares = [square(x) for x in (1, 2, 3, 4)]
        wait(squares)
        return squares[2]

    return workflow


def sum_of_all(square: Tasks) -> Tasks:
    def workflow() -> Any:
        return sum([square(x) for x in (1, 2, 3, 4)])

    return workflow


def fastest(square: Tasks) -> Tasks:
    def workflow() -> Any:
        return first([square(x) for x in (1, 2, 3, 4)])

    return workflow


def first_two(square: Tasks) -> Tasks:
    def workflow() -> Any:
        order = finish_order([square(x) for x in (1, 2, 3, 4)])
        return next(order) + next(order)

    return workflow


def conditional(square: Tasks) -> Tasks:
    def workflow() -> Any:
        x = square(10)
        return square(20) if x >= 100 else x

    return workflow


def fold_in_call_order(square: Tasks, add: Tasks) -> Tasks:
    def workflow() -> Any:
        total, *others = [square(x) for x in range(1, 7)]
        for x in others:
            total = add(total, x)
        return total

    return workflow


def fold_in_finish_order(square: Tasks, add: Tasks) -> Tasks:
    def workflow() -> Any:
        total, *others = finish_order([square(x) for x in range(1, 7)])
        for x in others:
            total = add(total, x)
        return total

    return workflow


def fold_in_pairs(square: Tasks, add: Tasks) -> Tasks:
    def workflow() -> Any:
        return parallel_reduce(add, [square(x) for x in range(1, 7)])

    return workflow


def say_and_hang(*_: object) -> None:
    print(os.getpid(), flush=True)  # noqa: T201 - whom the test stops
    time.sleep(60)
