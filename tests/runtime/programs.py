"""Random workflow programs, and a run of one over a random finish order: the material of the properties M1 - M7."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType
from typing import Any, TypeVar

from hypothesis import strategies as st

import flowy
from flowy.testing import Decision, decide
from flowy.wire import values

T = TypeVar("T")

TASKS = ("task", "red", "other")
VARIABLES = tuple(f"v{n}" for n in range(5))


# -- source ----------------------------------------------------------------------------------------------------------


class Tape:
    """Choices read off bytes that Hypothesis gives and shrinks; at the end every choice is the first one.

    Drawing each choice from a strategy of its own was tried: it took 150 ms a program, this takes 1.
    """

    def __init__(self, tape: bytes) -> None:
        self._left = iter(tape)

    def pick(self, options: Sequence[T]) -> T:
        return options[next(self._left, 0) % len(options)]

    def count(self, least: int, most: int) -> int:
        return least + next(self._left, 0) % (most - least + 1)


class Author:
    """Writes a program from a tape."""

    def __init__(self, tape: Tape, *, races: bool, loops: bool) -> None:
        self._tape = tape
        self._races = races
        self._loops = loops

    def expression(self, depth: int = 2) -> str:
        forms = ["{a}"] * 4 + (["[{b}, {c}]", "({b}, {c})", '{{"k": {b}}}'] if depth else [])
        form = self._tape.pick(forms)
        if form == "{a}":
            return self._tape.pick([*VARIABLES, *VARIABLES, "0", "'s'", "True"])
        return form.format(b=self.expression(depth - 1), c=self.expression(depth - 1))

    def call(self) -> str:
        form = self._tape.pick(
            [
                "call({task}, {a})",
                "call({task}, {a}, {b})",
                "call({task}, {a}, x={b})",
                "call({task}, (call(red, x) for x in [{a}, {b}]))",
                "[call({task}, x) for x in ({a}, {b})]",
            ]
        )
        return form.format(task=self._tape.pick(TASKS), a=self.expression(), b=self.expression())

    def race(self) -> str:
        members = ", ".join(
            self.call() if self._tape.pick([True, False]) else self.expression() for _ in range(self._tape.count(2, 4))
        )
        form = self._tape.pick(
            [
                "first({members})",
                "list(finish_order([{members}]))",
                "next(finish_order({members}))",
                "parallel_reduce(lambda a, b: {fold}, [{members}])",
            ]
        )
        folds = ["call(red, a, b)", "[a, b]", "weigh(a) + weigh(b)", "call(other, a, call(red, b))"]
        return form.format(members=members, fold=self._tape.pick(folds))

    def block(self, depth: int) -> list[str]:
        return [line for _ in range(self._tape.count(1, 4)) for line in self.statement(depth)]

    def statement(self, depth: int) -> list[str]:
        variable = self._tape.pick(VARIABLES)
        kinds = ["call", "assign", "call", "wait", "call"] + ["race"] * 2 * self._races
        if depth:
            kinds += ["if", "try", "finally"] + ["for", "fold"] * self._loops
        match self._tape.pick(kinds):
            case "assign":
                return [f"{variable} = {self.expression()}"]
            case "call":
                return [f"{variable} = {self.call()}"]
            case "wait":
                return [f"wait({self.expression()})"]
            case "race":
                return [f"{variable} = {self.race()}"]
            case "if":
                head = f"if weigh({self.expression()}) % 2:"
                return [head, *_indent(self.block(depth - 1)), "else:", *_indent(self.block(depth - 1))]
            case "try":
                kind = self._tape.pick(["TaskError", "TaskTimedOut", "Exception"])
                return ["try:", *_indent(self.block(depth - 1)), f"except {kind}:", *_indent(self.block(depth - 1))]
            case "finally":
                return ["try:", *_indent(self.block(depth - 1)), "finally:", *_indent(self.block(0))]
            case "for":
                head = f"for {variable} in range(weigh({self.expression()}) % 3):"
                return [head, *_indent(self.block(depth - 1))]
            case _:
                order = "finish_order" if self._races else "list"
                return [
                    f"for x in {order}([{self.expression()}, {self.call()}, {self.call()}]):",
                    f"    {variable} = call(red, {variable}, x)",
                ]

    def program(self) -> str:
        body = [
            "v0, v1, v2, v3, v4 = 1, 'x', [], None, {'k': 2}",
            *self.block(2),
            *self.block(2),
            f"return finished([{', '.join(self._tape.pick(VARIABLES) for _ in range(self._tape.count(1, 4)))}])",
        ]
        lines = "\n".join(f"        {line}" for line in body)
        return f"def factory(task, red, other):\n    def run():\n{lines}\n    return run"


def _indent(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def programs(*, races: bool = True, loops: bool = True) -> st.SearchStrategy[str]:
    """Give the source of a workflow with the tasks of `TASKS`."""
    tapes = st.binary(min_size=40, max_size=250)
    return tapes.map(lambda tape: Author(Tape(tape), races=races, loops=loops).program())


def weigh(value: Any) -> int:
    """Touch a value, and what is in it, and give a number that depends on all of it."""
    if isinstance(value, dict):
        return sum([weigh(value[key]) for key in value])
    if isinstance(value, (list, tuple)):
        return len(value) + sum([weigh(item) for item in value])
    return len(str(value))


# -- a simulated world -----------------------------------------------------------------------------------------------


def outcome_of(task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, int]:
    """Give the result of a task, and a number that says whether and how it fails where failures are on."""
    number = int(values.digest([task, *args], kwargs), 16)
    shapes: list[Any] = [number % 5, [number % 3, number % 2], {"k": number % 3}, "s" * (number % 4), None]
    return shapes[number // 7 % len(shapes)], number // 101 % 6


@lru_cache
def _compiled(source: str) -> CodeType:
    return compile(source, "<program>", "exec")


@dataclass
class World:
    """Executes a program over a growing history.

    `made` lists the tasks called in the latest decision in call order, `is_finished` says that it came to `return`.
    """

    source: str
    fails: bool = False
    made: list[str] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    calls: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    timeouts: list[str] = field(default_factory=list)
    is_finished: bool = False

    def factory(self) -> Callable[..., Any]:
        def call(task: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            result = task(*args, **kwargs)
            self.made.append(repr(task))
            return result

        def finished(value: Any) -> Any:
            self.is_finished = True
            return value

        public = {name: getattr(flowy, name) for name in flowy.__all__}
        namespace: dict[str, Any] = {**public, "call": call, "weigh": weigh, "finished": finished}
        exec(_compiled(self.source), namespace)
        factory: Callable[..., Any] = namespace["factory"]
        return factory

    def decide(self) -> Decision:
        self.made.clear()
        self.is_finished = False
        return decide(
            self.factory(),
            results=self.results,
            errors=self.errors,
            timeouts=self.timeouts,
            running=self.running,
            order=self.order,
            calls={key: self.calls[key] for key in (*self.order, *self.running)},
        )

    def launch(self, decision: Decision, parallelism: int) -> None:
        """Record new calls up to the cap, earliest first. No key may ever meet two argument lists."""
        for call in decision.scheduled:
            arguments = (list(call.args), dict(call.kwargs))
            assert self.calls.setdefault(call.key, arguments) == arguments
        self.running += [call.key for call in decision.scheduled][: max(0, parallelism - len(self.running))]

    def finish(self, key: str) -> None:
        args, kwargs = self.calls[key]
        value, luck = outcome_of(key.rsplit("-", 1)[0], args, kwargs)
        self.running.remove(key)
        self.order.append(key)
        if self.fails and luck == 0:
            self.errors[key] = f"{key} failed"
        elif self.fails and luck == 1:
            self.timeouts.append(key)
        else:
            self.results[key] = value


def run_through(world: World, seed: int, most_at_once: int, parallelism: int) -> Decision:
    """Decide, finish one to `most_at_once` open tasks in random order, decide again, until the run ends."""
    chance = random.Random(seed)
    made: list[str] = []
    for _ in range(400):
        decision = world.decide()
        assert world.made[: len(made)] == made, "M1: the calls made before are a prefix"
        made = list(world.made)
        assert decision.outcome != "stalled", f"M5: {decision.error}"
        if decision.outcome != "suspended":
            return decision
        keys = [call.key for call in decision.scheduled]
        assert len(set(keys)) == len(keys)
        world.launch(decision, parallelism)
        assert world.running, "a suspended run has something to wait for"
        assert {key for key, _ in decision.waiting_on} <= {*world.running, *keys}
        assert decision.waiting_on
        for _ in range(chance.randint(1, most_at_once)):
            if world.running:
                world.finish(chance.choice(world.running))
    raise AssertionError("the run does not end")


def run_in_order(world: World, order: Sequence[str], groups: Sequence[int]) -> Decision:
    """Run with a given finish order, the completions grouped into decisions as `groups` says, in turns."""
    left = list(order)
    turn = 0
    while True:
        decision = world.decide()
        assert decision.outcome != "stalled", decision.error
        if decision.outcome != "suspended":
            return decision
        world.launch(decision, 10_000)
        for _ in range(groups[turn % len(groups)]):
            if left and left[0] in world.running:
                world.finish(left.pop(0))
        turn += 1
        assert turn < 400


def sequential(source: str) -> Any:
    """Run the program without an engine, on plain functions, and give its result as JSON would carry it."""

    def plain(name: str) -> Callable[..., Any]:
        def function(*args: Any, **kwargs: Any) -> Any:
            given = values.plain_call(args, kwargs)
            return outcome_of(name, *given)[0]

        return function

    run = World(source).factory()(**{name: plain(name) for name in TASKS})
    return values.decode(values.encode(run()))
