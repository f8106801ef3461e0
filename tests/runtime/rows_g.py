"""Decision table G: names, sources, combinators. G01 - G05 are refusals, in `test_testing.py`."""

from typing import Any

from tests.runtime.tables import Completes, Fails, Row, Suspends

SOURCE = "class A:\n    def __call__(self): return 'A'\ndef b():\n    return lambda: 'b'\nc = b\n"
TOUCH_ALL = """seen = []
for r in finish_order({members}):
    try: seen.append(r + 0 if isinstance(r, int) else str(r))
    except TaskTimedOut: seen.append("timeout")
    except TaskError: seen.append("error")
    red(seen)
return seen"""
FOUR = "t0, t1, t2, t3 = [task() for _ in range(4)]\n"
HISTORY: dict[str, Any] = {
    "errors": {"t0": "e"},
    "results": {"t2": "ok"},
    "timeouts": ["t3"],
    "running": ["t1"],
    "order": ["t2", "t3", "t0"],
}

ROWS: dict[str, Row] = {
    "G06 class": Row(workflow=(SOURCE, "A"), expected=Completes("A")),
    "G06 function": Row(workflow=(SOURCE, "b"), expected=Completes("b")),
    "G06 alias": Row(workflow=(SOURCE, "c"), expected=Completes("b")),
    "G06 not named": Row(workflow=(SOURCE, None), expected=Fails(type="EntrypointNotFound", text="A, b, c")),
    "G06 an alias is no second candidate": Row(
        workflow=("def b():\n    return lambda: 'b'\nc = b\n_d = 1\nfrom json import dumps", None),
        expected=Completes("b"),
    ),
    "G06 nothing there": Row(workflow=("_x = 1", None), expected=Fails(type="EntrypointNotFound")),
    "G07": Row(code="return parallel_reduce(red, [])", expected=Fails(type="ValueError")),
    "G08": Row(code="return parallel_reduce(red, ['x'])", expected=Completes("x")),
    "G09": Row(code="return list(finish_order(3, 1, 2))", expected=Completes([3, 1, 2])),
    "G10": Row(
        code=FOUR + TOUCH_ALL.format(members="[1, t0, 2, t1, 3, t2, t3]"),
        **HISTORY,
        expected=Suspends(
            scheduled=[
                "r0([1])",
                "r1([1, 2])",
                "r2([1, 2, 3])",
                "r3([1, 2, 3, 'ok'])",
                "r4([1, 2, 3, 'ok', 'timeout'])",
                "r5([1, 2, 3, 'ok', 'timeout', 'error'])",
            ],
            waits=["t1"],
        ),
    ),
    "G11": Row(
        code=FOUR + TOUCH_ALL.format(members="t0, t1, t2, t3"),
        **HISTORY,
        expected=Suspends(
            scheduled=["r0(['ok'])", "r1(['ok', 'timeout'])", "r2(['ok', 'timeout', 'error'])"], waits=["t1"]
        ),
    ),
    "G12": Row(code="return first(7, 8)", expected=Completes(7)),
    "G13": Row(code=FOUR + "return first(t0, t1, t2, t3)", **HISTORY, expected=Completes("ok"), ignored=["t3", "t0"]),
    "a race of pending results waits for all": Row(
        code="r = first(task(), red()); return other(r)",
        running=["t0", "r0"],
        expected=Suspends(waits=["t0", "r0"]),
    ),
    "first of one iterable with one item is that item": Row(
        code="a = task(); return [first([a]) is a, first(a) is a]", running=["t0"], expected=Completes([True, True])
    ),
    "first takes strings and dicts as values": Row(
        code="return [first('ab'), first({'k': 1}), first(range(3)), first(5)]",
        expected=Completes(["ab", {"k": 1}, 0, 5]),
    ),
    "finish_order of nothing": Row(code="return finish_order()", expected=Fails(type="TypeError")),
    "finish_order of an empty iterable": Row(code="return list(finish_order([]))", expected=Completes([])),
    "finish_order lists its iterable at the call": Row(
        code="finish_order(task(n) for n in range(2)); red()\nwait(other())",
        expected=Suspends(scheduled=["t0(0)", "t1(1)", "r0()", "o0()"]),
    ),
    "finish_order gives views": Row(
        code="a, b = task(), task(); return [r is a or r is b for r in finish_order(a, b)]",
        results={"t0": 1},
        running=["t1"],
        expected=Completes([False, False]),
    ),
    "parallel_reduce gives views to f": Row(
        code="a, b = task(), task(); return parallel_reduce(lambda x, y: [x is a or x is b, y is a or y is b], [a, b])",
        results={"t0": 1, "t1": 2},
        expected=Completes([False, False]),
    ),
    "parallel_reduce with a plain function waits for the race": Row(
        code="return parallel_reduce(lambda x, y: x + y, [task(), task(), task()])",
        results={"t2": 5},
        running=["t0", "t1"],
        expected=Suspends(waits=["t0", "t1"], line=4),
    ),
    "parallel_reduce with a plain function": Row(
        code="return parallel_reduce(lambda x, y: x + y, [task(), task(), 7], 1)",
        results={"t0": 10, "t1": 20},
        expected=Completes(38),
    ),
    "a product that is pending is a member of the race": Row(
        code="return parallel_reduce(red, [task(), task(), task()])",
        results={"t0": 1, "t1": 2, "t2": 3},
        expected=Suspends(scheduled=["r0(1, 2)"], waits=["r0"]),
    ),
}
