"""Random workflow programs, as trees that can be made smaller, and what they come to without any engine.

The oracle is the very source that the operator gets, run on plain functions. So a program may only do what has one result
in whatever order its tasks end: members of a race give the same value, what is reduced is added up.
"""

import random
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from flowy import TaskError
from flowy.replay.restart import Restart

MODULUS = 1009
LONG = 10_000
"""Characters: too long for a result in the history."""

ACTIVITIES: dict[str, Callable[..., Any]] = {
    "inc": lambda v: (v + 1) % MODULUS,
    "add": lambda a, b: (a + b) % MODULUS,
    "mix": lambda v, k: (3 * v + 5 * k + 1) % MODULUS,
    "total": lambda *items: sum(items) % MODULUS,
    "same": lambda v, k: (v + 7) % MODULUS,
    "mend": lambda v: (v + 13) % MODULUS,
    "left": lambda v: v,
    "undo": lambda n: n,
    "blow": lambda v: "x" * (LONG + v),
    "size": lambda text, v: (len(text) + v) % MODULUS,
    "frail": lambda v: (v + 17) % MODULUS,
}
FAILURE = "this number is no good"


def fails(task: str, args: Any) -> bool:
    """Whether an activity fails for good, whenever it is asked this."""
    return bool(task == "frail" and args[0] % 3 == 0)


# Each step makes a new `v` of the one before. `{n}` is its width, `{sub}` another workflow of the program.
_STEPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "chain": ("for _ in range({n}):\n    v = inc(v)", ("inc",)),
    "wide": ("v = total(*[mix(v, k) for k in range({n})])", ("total", "mix")),
    "diamond": ("v = inc(v)\nv = add(mix(v, 1), mix(v, 2))", ("inc", "add", "mix")),
    "reduce": ("v = parallel_reduce(add, [mix(v, k) for k in range({n})])", ("add", "mix")),
    "order": (
        "s = 0\nfor r in finish_order([mix(v, k) for k in range({n})]):\n    s = add(s, r)\nv = s",
        ("add", "mix"),
    ),
    "pair": ("a, b = finish_order([mix(v, 1), mix(v, 2)])\nv = add(a, b)", ("add", "mix")),
    "race": ("v = first([same(v, k) for k in range({n})])", ("same",)),
    "branch": ("if v % 2:\n    v = inc(v)\nelse:\n    v = add(v, 3)", ("inc", "add")),
    "dynamic": ("v = total(*[mix(v, k) for k in range(v % 4 + 1)])", ("total", "mix")),
    "caught": (
        "try:\n    r = frail(v)\n    wait(r)\n    v = r\nexcept TaskError as e:\n    expected(e)\n    v = mend(v)",
        ("frail", "mend"),
    ),
    "frail": ("v = frail(v)", ("frail",)),
    "left": ("left(v)", ("left",)),
    "long": ("t = blow(v)\nv = size(t, v)", ("blow", "size")),
    "sub": ("v = {sub}(v)", ()),
    "subs": ("v = total(*[{sub}(mix(v, k)) for k in range({n})])", ("total", "mix")),
    "sub caught": (
        "try:\n    r = {sub}(v)\n    wait(r)\n    v = r\nexcept TaskError as e:\n    expected(e)\n    v = mend(v)",
        ("mend",),
    ),
}
_SUBS = frozenset(("sub", "subs", "sub caught"))
_RARE = ("frail", "long", "left")
_USUAL = [kind for kind in _STEPS if kind not in (*_SUBS, *_RARE)] * 4 + [*_RARE]
_ENDS = {"return": "return v", "raise": "if v % 2:\n    raise ValueError('this number is no good')\nreturn v"}

_HEAD = """
from flowy import TaskCancelled, TaskError, finish_order, first, parallel_reduce, restart, wait

def expected(e):
    # A stop, or a Job that somebody deleted, is no failure of the task.
    if e.type not in ("Error", "ValueError"):
        raise e
"""


@dataclass(frozen=True, slots=True)
class Step:
    kind: str
    width: int = 2
    sub: int = 0


@dataclass(frozen=True, slots=True)
class Flow:
    """One workflow of a program. It begins anew `again` times; one that `undoes` cleans up when it is stopped."""

    steps: tuple[Step, ...]
    end: str = "return"
    again: int = 0
    undoes: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """`flows[0]` is the whole; each may call those after it."""

    flows: tuple[Flow, ...]

    @property
    def source(self) -> str:
        return _HEAD + "".join(self._flow(n) for n in range(len(self.flows)))

    @property
    def subs(self) -> list[str]:
        """The names of those that others call."""
        return [name_of(n) for n in self._reached() if n > 0]

    @property
    def activities(self) -> list[str]:
        return list(dict.fromkeys(name for n in self._reached() for name in self._uses(n) if name in ACTIVITIES))

    def _reached(self) -> list[int]:
        found = [0]
        for n in found:
            found += [step.sub for step in self.flows[n].steps if step.kind in _SUBS and step.sub not in found]
        return sorted(set(found))

    def _uses(self, n: int) -> list[str]:
        names: dict[str, None] = {}
        for step in self.flows[n].steps:
            names |= dict.fromkeys(_STEPS[step.kind][1])
            if step.kind in _SUBS:
                names[name_of(step.sub)] = None
        if self.flows[n].undoes:
            names["undo"] = None
        return list(names)

    def _flow(self, n: int) -> str:
        flow = self.flows[n]
        body = [_STEPS[s.kind][0].format(n=s.width, sub=name_of(s.sub)) for s in flow.steps]
        if flow.again:
            body.append("if again:\n    return restart(v, again - 1)")
        body.append(_ENDS[flow.end])
        lines = "\n".join(body)
        if flow.undoes:
            lines = f"try:\n{textwrap.indent(lines, ' ' * 4)}\nexcept TaskCancelled:\n    wait(undo(again))\n    raise"
        head = f"def {name_of(n)}({', '.join(self._uses(n))}):\n    def run(v=1, again={flow.again}):\n"
        return f"\n{head}{textwrap.indent(lines, ' ' * 8)}\n    return run\n"

    def oracle(self) -> tuple[str, Any]:
        """("Completed", result) or ("Failed", (type, message)): what comes out where nothing goes wrong but the program."""
        scope: dict[str, Any] = {}
        exec(compile(self.source, "program", "exec"), scope)
        try:
            return "Completed", self._run(scope, 0, 1)
        except TaskError as error:
            return "Failed", (error.type, error.message)
        except ValueError as error:
            return "Failed", ("ValueError", str(error))

    def _run(self, scope: dict[str, Any], n: int, v: Any) -> Any:
        plain: dict[str, Any] = {name: partial(_activity, name) for name in ACTIVITIES}
        plain |= {name_of(sub): partial(self._child, scope, sub) for sub in range(n + 1, len(self.flows))}
        found = scope[name_of(n)](**{name: plain[name] for name in self._uses(n)})(v)
        while isinstance(found, Restart):
            found = scope[name_of(n)](**{name: plain[name] for name in self._uses(n)})(*found.args, **found.kwargs)
        return found

    def _child(self, scope: dict[str, Any], n: int, v: Any) -> Any:
        try:
            return self._run(scope, n, v)
        except ValueError as error:
            raise TaskError(str(error), "ValueError") from error

    def smaller(self) -> Iterator["Program"]:
        """Programs with a part less."""
        for n, flow in enumerate(self.flows):
            for k, step in enumerate(flow.steps):
                yield self._with(n, replace(flow, steps=(*flow.steps[:k], *flow.steps[k + 1 :])))
                if step.width > 1:
                    narrower = replace(step, width=step.width - 1)
                    yield self._with(n, replace(flow, steps=(*flow.steps[:k], narrower, *flow.steps[k + 1 :])))
            if flow.again:
                yield self._with(n, replace(flow, again=flow.again - 1))
            if flow.end != "return":
                yield self._with(n, replace(flow, end="return"))
            if flow.undoes:
                yield self._with(n, replace(flow, undoes=False))

    def _with(self, n: int, flow: Flow) -> "Program":
        return Program((*self.flows[:n], flow, *self.flows[n + 1 :]))


def name_of(n: int) -> str:
    return f"w{n}"


def random_program(dice: random.Random) -> Program:
    flows: list[Flow] = []
    count = dice.choice([1, 1, 1, 1, 2, 2, 3])
    for n in range(count):
        most = 3 if n == 0 else 1
        steps = [Step(dice.choice(_USUAL), dice.randint(1, most + 1)) for _ in range(dice.randint(1, most))]
        if n + 1 < count:
            called = Step(dice.choice(sorted(_SUBS)), width=dice.randint(1, 2), sub=dice.randint(n + 1, count - 1))
            steps.insert(dice.randint(0, len(steps)), called)
        end = dice.choice(["return"] * 6 + ["raise"])
        flows.append(Flow(tuple(steps), end, again=dice.choice([0, 0, 0, 0, 0, 1]), undoes=dice.random() < 0.3))
    return Program(tuple(flows))


def _activity(name: str, *args: Any) -> Any:
    if fails(name, args):
        raise TaskError(FAILURE, "Error")
    return ACTIVITIES[name](*args)
