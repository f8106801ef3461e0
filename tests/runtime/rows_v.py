"""Decision table V: the walking rule. V13 - V15 are traces of the local engine, V16 stands in `wire/test_values.py`."""

from typing import Any

from tests.runtime.tables import Completes, Fails, Row, Suspends

AB = "a = task(); b = task()\n"
BOTH_ERRORS: dict[str, Any] = {"errors": {"t0": "e0", "t1": "e1"}, "order": ["t0", "t1"]}

ROWS: dict[str, Row] = {
    "V01": Row(code=AB + "return []", running=["t0", "t1"], expected=Completes([])),
    "V02 number": Row(code=AB + "return 1", running=["t0", "t1"], expected=Completes(1)),
    "V02 string": Row(code=AB + 'return "abc"', running=["t0", "t1"], expected=Completes("abc")),
    "V03": Row(code=AB + "return a", results={"t0": 5}, running=["t1"], expected=Completes(5)),
    "V04": Row(
        code=AB + 'return task([a, (a, a), [1, 2, [3]], {a: ["x", a]}])',
        results={"t0": "k", "t1": 0},
        expected=Suspends(scheduled=["t2(['k', ['k', 'k'], [1, 2, [3]], {'k': ['x', 'k']}])"]),
    ),
    "V05": Row(
        code=AB + "return task({(a, ()): 1})",
        results={"t0": "k", "t1": 0},
        expected=Fails("task-2: args[0]: a key is a tuple; use str(...)", "ValueRefused"),
    ),
    "V06": Row(
        code="x = []; x.append(x); return x",
        expected=Fails("result[0]: contains itself; pass a copy without the cycle", "ValueRefused"),
    ),
    "V06 deeper": Row(
        code="x = {'k': [0]}; x['k'].append(x); return task(x)",
        expected=Fails(type="ValueRefused", text="args[0].k[1]: contains itself"),
    ),
    "V06 sharing is fine": Row(code="x = [1]; return [x, x, {'k': x}]", expected=Completes([[1], [1], {"k": [1]}])),
    "V07": Row(code="return [(x * x for x in range(3))]", expected=Completes([[0, 1, 4]])),
    "V08": Row(code=AB + "return task(1)", running=["t0", "t1"], expected=Suspends(scheduled=["t2(1)"], waits=["t2"])),
    "V09": Row(code=AB + "r = task(a); wait(r)", errors={"t0": "e"}, running=["t1"], expected=Fails("e")),
    "V10": Row(code=AB + "r = task(a); wait(r)", running=["t0", "t1"], expected=Suspends(waits=["t0"], line=5)),
    "V11 in order": Row(code=AB + "wait(task([a, b]))", **BOTH_ERRORS, expected=Fails("e0", fields={"task": "task-0"})),
    "V11 reversed": Row(code=AB + "wait(task([b, a]))", **BOTH_ERRORS, expected=Fails("e0", fields={"task": "task-0"})),
    "V12": Row(code=AB + "wait(task([a, b]))", errors={"t0": "e"}, running=["t1"], expected=Fails("e")),
    "iterators are listed before the call is numbered": Row(
        code="return task(task(n) for n in range(2))",
        expected=Suspends(scheduled=["t0(0)", "t1(1)"], waits=["t0", "t1"]),
    ),
    "a barrier inside of an iterator ends the decision": Row(
        code="return task(1 if r else 2 for r in [task()])",
        expected=Suspends(scheduled=["t0()"], waits=["t0"]),
    ),
    "what an iterator swallows has ended the decision all the same": Row(
        code="def g():\n    try: wait(task())\n    except BaseException: yield 1\nreturn red(g())",
        expected=Suspends(scheduled=["t0()"], waits=["t0"], line=5),
        log=["line 5"],
    ),
    "what an iterator raises leaves the call": Row(
        code="try: task(1 / 0 for _ in [0])\nexcept ZeroDivisionError: return task(5)",
        expected=Suspends(scheduled=["t0(5)"]),
    ),
    "a key that is a result is its string": Row(
        code="a = task(); return {a: 1, 'z': a}", results={"t0": "k"}, expected=Completes({"k": 1, "z": "k"})
    ),
    "a key that is a result and no string": Row(
        code="a = task(); return {a: 1}",
        results={"t0": 7},
        expected=Fails("result: key 7 is an int; use str(7)", "ValueRefused"),
    ),
    "a mapping's pending key is a pending result": Row(
        code=(
            "from collections.abc import Mapping\n"
            "class Odd(Mapping):\n"
            "    def __iter__(self): return iter([a])\n"
            "    def __len__(self): return 1\n"
            "    def __getitem__(self, key): return 1\n"
            "    def items(self): return [(a, 1)]\n"
            "a = task(); return red(Odd())"
        ),
        expected=Suspends(scheduled=["t0()"], waits=["t0"]),
    ),
    "keyword arguments keep their order": Row(
        code="return task(b=1, a=2)", expected=Suspends(scheduled=["t0(b=1, a=2)"])
    ),
    "a keyword may be any string": Row(
        code="return task(**{'no name': 1, 'é': 2})", expected=Suspends(scheduled=["t0(no name=1, é=2)"])
    ),
    "a keyword with a lone surrogate": Row(
        code=r"return task(**{'\ud800': 1})", expected=Fails(type="ValueRefused", text="kwargs: a lone surrogate")
    ),
    "a task is no key": Row(
        code="return red({task: 1})", expected=Fails("red-0: args[0]: a key is a Task; use str(...)", "ValueRefused")
    ),
    "a task is no value": Row(
        code="return red(task)", expected=Fails(type="ValueRefused", text="args[0]: a task; call it")
    ),
    "a recorded value goes out as its text, however deep, up to the limit": Row(
        code="return [task()]",
        workflow=None,
        results={"t0": [[["deep"]]]},
        expected=Completes([[[["deep"]]]]),
    ),
}
