"""What touches a result, and what doesn't: every operation on a pending, a failed and a completed one."""

import re
from typing import Any

import pytest

import flowy
from flowy import TaskError
from flowy.testing import decide
from tests.runtime.tables import source_of

ON_ANY = {
    "if": ("1 if r else 0", [1]),
    "while": ("[x for x in [1] if not r]", [1]),
    "not": ("not r", 3),
    "and": ("(r and 1)", 3),
    "or": ("(r or 1)", 3),
    "bool": ("bool(r)", 3),
    "len": ("len(r)", [1, 2]),
    "iter": ("list(iter(r))", [1, 2]),
    "for": ("[x for x in r]", [1, 2]),
    "unpacking": ("[[a, b] for a, b in [r]]", [1, 2]),
    "star": ("[*r]", [1, 2]),
    "double star": ("dict(**r)", {"a": 1}),
    "dict": ("dict(r)", {"a": 1}),
    "reversed": ("list(reversed(r))", [1, 2]),
    "in it": ("1 in r", [1, 2]),
    "it in": ("r in [5, 6]", 5),
    "str": ("str(r)", 5),
    "print": ("print(r, end='')", ""),
    "format": ("format(r, '>3')", 5),
    "f-string": ("f'{r}'", 5),
    "f-string with conversion": ("f'{r!s}'", 5),
    "percent s": ("'%s' % r", 5),
    "percent d": ("'%d' % r", 5),
    "str.format": ("'{}'.format(r)", 5),
    "bytes": ("list(bytes(r))", [1, 2]),
    "fspath": ("__import__('os').fspath(r)", "a"),
    "dict key": ("{r: 1}", "a"),
    "member of a set": ("len({r})", "a"),
    "hash": ("hash(r) == hash('a')", "a"),
    "equal": ("r == 5", 5),
    "unequal": ("r != 5", 5),
    "less": ("r < 6", 5),
    "less or equal": ("r <= 6", 5),
    "greater": ("r > 6", 5),
    "greater or equal": ("r >= 6", 5),
    "reflected comparison": ("6 > r", 5),
    "int": ("int(r)", "12"),
    "float": ("float(r)", "1.5"),
    "complex": ("complex(r).real", 2.0),
    "index": ("__import__('operator').index(r)", 3),
    "range": ("list(range(r))", 3),
    "as an index": ("[7, 8, 9][r]", 1),
    "slice": ("[7, 8, 9][r:]", 1),
    "round": ("round(r)", 2.6),
    "round to digits": ("round(r, 1)", 2.66),
    "abs": ("abs(r)", -2),
    "floor": ("__import__('math').floor(r)", 2.6),
    "ceil": ("__import__('math').ceil(r)", 2.6),
    "trunc": ("__import__('math').trunc(r)", 2.6),
    "sqrt": ("__import__('math').sqrt(r)", 4),
    "negative": ("-r", 2),
    "positive": ("+r", 2),
    "invert": ("~r", 2),
    "item": ("r['k']", {"k": 1}),
    "item by slice": ("r[1:]", [1, 2]),
    "attribute": ("r.upper()", "a"),
    "attribute by name": ("getattr(r, 'upper')()", "a"),
    "hasattr": ("hasattr(r, 'upper')", "a"),
    "isinstance": ("isinstance(r, list)", [1]),
    "isinstance of an abstract class": ("isinstance(r, __import__('collections').abc.Mapping)", {"a": 1}),
    "class": ("r.__class__.__name__", [1]),
    "dir": ("'upper' in dir(r)", "a"),
    "copy": ("__import__('copy').copy(r)", [1]),
    "deepcopy": ("__import__('copy').deepcopy(r)", [[1]]),
    "pickle": ("__import__('pickle').loads(__import__('pickle').dumps(r))", [1, {"a": "b"}]),
    "sum": ("sum([r])", 5),
    "min of two": ("min([r, 7])", 5),
    "max of two": ("max(3, r)", 5),
    "sorted of two": ("sorted([r, 3])", 5),
    "plain list plus": ("[1] + r", [2]),
    "plain string plus": ("'a' + r", "b"),
    "divmod": ("list(divmod(r, 3))", 7),
    "reflected divmod": ("list(divmod(7, r))", 3),
    "pow": ("pow(r, 2)", 3),
    "pow with modulus": ("pow(r, 2, 5)", 3),
    "reflected pow": ("2 ** r", 3),
    "concatenation of two": ("r + r", [1]),
    **{f"binary {op}": (f"r {op} 2", 7) for op in ("+", "-", "*", "/", "//", "%", "**", "<<", ">>", "&", "|", "^")},
    **{f"reflected {op}": (f"2 {op} r", 7) for op in ("+", "-", "*", "/", "//", "%", "<<", ">>", "&", "|", "^")},
}
"""name -> expression in r, and a value for r: the expression must give what it gives for the plain value."""

STATEMENTS = {
    "set an item": ("r['k'] = 2; out = r['k']", {"k": 1}),
    "delete an item": ("del r['k']; out = len(r)", {"k": 1}),
    **{
        f"in place {op}": (f"r {op}= 2; out = r", 7)
        for op in ("+", "-", "*", "/", "//", "%", "**", "<<", ">>", "&", "|", "^")
    },
    "in place on a list": ("r += [2]; out = r", [1]),
    "wait": ("wait(r); out = 1", 1),
}

REFUSED = {
    "call": "r()",
    "next": "next(r)",
    "matmul": "r @ 2",
    "reflected matmul": "2 @ r",
    "set an attribute": "r.k = 1",
    "delete an attribute": "del r.k",
    "with": "with r: pass",
    "async with": "async def f():\n            async with r: pass\n        f().send(None)",
    "await": "async def f(): await r\n        f().send(None)",
    "async for": "async def f():\n            async for x in r: pass\n        f().send(None)",
    "vars": "vars(r)",
    "json.dumps": "__import__('json').dumps(r)",
    "in place matmul": "r @= 2",
}
"""Statements that no JSON value supports: they are barriers all the same."""

HARMLESS = {
    "is None": "r is None",
    "id": "id(r) == id(r)",
    "type": "type(r).__name__",
    "callable": "callable(r)",
    "assignment": "[0 for x in [r]]",
    "in a list": "len([r])",
    "in a tuple": "bool((r,))",
    "as a dict's value": "len({'k': r})",
    "sorted of one": "len(sorted([r]))",
    "max of one": "max([r]) is r",
    "identity comes first in in": "r in [r]",
    "identity comes first in ==": "[r] == [r]",
    "first": "first(r, red()) is r",
    "finish_order": "len(list(finish_order(r, red())))",
    "parallel_reduce": "parallel_reduce(lambda x, y: 0, [r, red()])",
    "restart": "type(restart(r)).__name__",
    "isinstance of object": "isinstance(r, object)",
    "an argument of a task": "callable(red(r))",
    "repr": "len(repr(r)) > 0",
    "repr in an f-string": "len(f'{r!r}') > 0",
    "percent r": "len('%r' % [r]) > 0",
    "str of a list": "len(str([r])) > 0",
    "repr of a restart": "len(repr(restart(r, k=r))) > 0",
}

CODE = {
    **{name: (f"out = {expression}", value) for name, (expression, value) in ON_ANY.items()},
    **STATEMENTS,
}


def _workflow(code: str) -> tuple[str, None]:
    return source_of(f"r = task()\n{code}\nreturn out", tasks=["task", "red"]), None


def _workflow_of_refused(code: str) -> tuple[str, None]:
    body = "r = task()\ntry:\n    {}\nexcept (TypeError, AttributeError): return 1\nreturn 2"
    return source_of(body.format(code.replace("\n        ", "\n    ")), tasks=["task", "red"]), None


@pytest.mark.parametrize("name", CODE)
def test_a_pending_result_ends_the_decision(name: str) -> None:
    decision = decide(_workflow(CODE[name][0]), running=["task-0"])
    assert decision.outcome == "suspended", decision.error
    assert decision.waiting_on == [("task-0", 5)]


@pytest.mark.parametrize("name", CODE)
def test_a_failed_result_raises(name: str) -> None:
    decision = decide(_workflow(CODE[name][0]), errors={"task-0": "e"})
    assert decision.outcome == "failed"
    assert decision.error is not None
    assert (decision.error["message"], decision.error["line"]) == ("e", 5)


@pytest.mark.parametrize("name", CODE)
def test_a_completed_result_acts_like_its_value(name: str) -> None:
    code, value = CODE[name]
    decision = decide(_workflow(code), results={"task-0": value})
    names: dict[str, Any] = {"r": value, "wait": lambda _: None}
    exec(code, names)
    assert decision.outcome == "completed", decision.error
    assert decision.result == names["out"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_value_supports_is_a_barrier_too(name: str) -> None:
    workflow = _workflow_of_refused(REFUSED[name])
    assert decide(workflow, running=["task-0"]).outcome == "suspended"
    assert decide(workflow, errors={"task-0": "e"}).error is not None
    assert decide(workflow, results={"task-0": {"k": 1}}).result == 1


@pytest.mark.parametrize("state", ["running", "failed", "done"])
@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_no_barrier(name: str, state: str) -> None:
    history: dict[str, dict[str, Any]] = {
        "running": {"running": ["task-0"]},
        "failed": {"errors": {"task-0": "e"}},
        "done": {"results": {"task-0": 5}},
    }
    decision = decide(_workflow(f"out = {HARMLESS[name]}"), **history[state])
    assert decision.outcome == "completed", decision.error


def test_repr_is_for_eyes() -> None:
    workflow = source_of("return [repr(task()).replace('pending', '-'), repr(first(red(), other())) == '⟨x⟩']"), None
    assert decide(workflow).result == ["⟨task-0: -⟩", False]
    assert decide(workflow, errors={"task-0": "m"}).result[0] == "⟨task-0: TaskError('m')⟩"
    assert decide(workflow, timeouts=["task-0"]).result[0].startswith("⟨task-0: TaskTimedOut(")
    assert decide(workflow, results={"task-0": {"k": 1}}).result[0] == "{'k': 1}"


def test_repr_of_a_race_names_a_few_members() -> None:
    def factory(task: Any) -> Any:
        def run() -> Any:
            first = flowy.first
            seen.append(repr(first([task() for _ in range(9)])))
            seen.append(repr(first([task(), task()])))

        return run

    seen: list[str] = []
    decide(factory)
    assert seen == ["⟨one of task-0, task-1, task-2, …: pending⟩", "⟨one of task-9, task-10: pending⟩"]


def test_a_change_in_place_stays_with_the_result_that_was_changed() -> None:
    workflow = source_of("a = task(); b = first([a, a]); a.append(2)\nreturn [len(a), len(b), a, b]"), None
    decision = decide(workflow, results={"task-0": [1]})
    assert decision.result == [2, 1, [1], [1]]
    assert len(decision.log) == 1


@pytest.mark.parametrize(
    ("change", "warned"),
    [
        ("a['l'].append(red())", True),
        ("a['l'][0] = 1.0", True),
        ("a['z'] = 1", True),
        ("a['k'] = a.pop('k')", False),
        ("a['l'] = a.pop('l')", True),  # the order of keys is part of a value
        ("a['k'] = 3; a['k'] = 2", False),
        ("a['l']", False),
        ("str(a)", False),
    ],
)
def test_a_changed_result_is_noticed_without_touching_what_was_put_in(change: str, warned: bool) -> None:
    workflow = source_of(f"a = task()\n{change}\nreturn other(a)", tasks=["task", "red", "other"]), None
    decision = decide(workflow, results={"task-0": {"l": [1], "k": 2}})
    assert decision.scheduled[-1].args == ({"l": [1], "k": 2},)
    assert bool(decision.log) is warned


def test_each_touch_raises_a_new_exception_with_its_own_details() -> None:
    def factory(task: Any) -> Any:
        def run() -> Any:
            result = task()
            for _ in range(2):
                try:
                    str(result)
                except TaskError as error:
                    raised.append(error)
            raised[0].details.append(9)
            return [raised[0] is raised[1], raised[1].details]

        return run

    raised: list[Any] = []
    assert decide(factory, errors={"task-0": {"message": "m", "details": [1]}}).result == [False, [1]]


def test_a_result_that_outlives_its_decision_is_refused() -> None:
    def factory(task: Any) -> Any:
        def run() -> Any:
            kept.append(task())
            return task(kept[0])

        return run

    kept: list[Any] = []
    decide(factory)
    again = decide(factory)
    assert again.error is not None
    assert re.search("another decision", str(again.error["message"]))
    with pytest.raises(RuntimeError, match="has ended"):
        str(kept[0])
