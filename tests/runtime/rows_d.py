"""Decision table D: the decider's basic cases."""

from typing import Any

from tests.runtime.tables import Completes, Fails, Restarts, Row, Stalls, Suspends

IDENTITY_CLASS = "class Identity:\n    def __call__(self, x):\n        return x\n"
TUPLE: dict[str, Any] = {"code": "return (a, b, c, d)", "parameters": "a, b, c=1, d=2"}
ONE: dict[str, Any] = {"code": "return task()"}
CHAIN: dict[str, Any] = {"code": "a = task(0)\nfor _ in range(5): a = task(a)\nreturn a"}
MAP: dict[str, Any] = {"code": "return list(map(task, range(n)))", "parameters": "n"}
WAIT: dict[str, Any] = {"code": "a = task(); wait(a); return task(a)"}
RESTART: dict[str, Any] = {"code": "a = task(); return restart(a, 2)"}
EARLY: dict[str, Any] = {"constructor": "a = task(); b = task(a)", "code": "return b"}
EARLY_WAIT: dict[str, Any] = {"constructor": "a = task(); wait(a); b = task(a)", "code": "return b"}
KEYWORDS: dict[str, Any] = {"code": "a, b = task(), task(); return task(a=a, b=b, c=3, d=4)"}
FIRST: dict[str, Any] = {"code": "return first(task(), task())"}
TWO_OF_FOUR: dict[str, Any] = {
    "code": "order = finish_order([task() for _ in range(4)]); return [next(order), next(order)]",
}
REDUCE: dict[str, Any] = {"code": "return parallel_reduce(red, (task(), task(), task()))"}
MIXED: dict[str, Any] = {"code": 'return parallel_reduce(red, (task(), "a", "b", "c"))'}
NEST: dict[str, Any] = {"code": "a, b = task(), task(); return task([[b], a])"}

ROWS: dict[str, Row] = {
    "D01": Row(workflow=("x = 1", "absent"), expected=Fails(type="EntrypointNotFound", text="absent")),
    "D02": Row(workflow=(IDENTITY_CLASS, None), args=(10,), expected=Completes(10)),
    "D03": Row(workflow=(IDENTITY_CLASS, None), args=("abc",), expected=Completes("abc")),
    "D04": Row(workflow=(IDENTITY_CLASS, None), args=([1, 2, 3],), expected=Completes([1, 2, 3])),
    "D05": Row(code="return x", parameters="x", args=(1,), expected=Completes(1)),
    "D06": Row(**TUPLE, args=("a", "b"), expected=Completes(["a", "b", 1, 2])),
    "D07": Row(**TUPLE, args=("a", "b", "c"), expected=Completes(["a", "b", "c", 2])),
    "D08": Row(**TUPLE, args=("a", "b"), kwargs={"d": "d"}, expected=Completes(["a", "b", 1, "d"])),
    "D09": Row(
        code='raise RuntimeError("err!")',
        expected=Fails(
            "err!",
            "RuntimeError",
            fields={"line": 4, "traceback": '  line 4, in factory.<locals>.run\n    raise RuntimeError("err!")'},
        ),
    ),
    "D10": Row(constructor='raise RuntimeError("err!")', code="return 1", expected=Fails("err!")),
    "D11": Row(**ONE, expected=Suspends(scheduled=["t0()"], waits=["t0"], line=4)),
    "D12": Row(**ONE, errors={"t0": "err!"}, expected=Fails("err!", fields={"task": "task-0", "type": "Error"})),
    "D13": Row(**ONE, results={"t0": 1}, expected=Completes(1)),
    "D14": Row(**ONE, timeouts=["t0"], expected=Fails("task-0 timed out (StartToClose)", "TaskTimedOut")),
    "D15": Row(
        **ONE,
        timeouts={"t0": "Heartbeat"},
        expected=Fails("task-0 timed out (Heartbeat)", fields={"timer": "Heartbeat"}),
    ),
    "D18": Row(**CHAIN, expected=Suspends(scheduled=["t0(0)"], waits=["t0"])),
    "D19": Row(**CHAIN, results={"t0": 1, "t1": 2}, expected=Suspends(scheduled=["t2(2)"], waits=["t2"])),
    "D20": Row(**CHAIN, results={"t0": 1}, errors={"t1": "err!"}, expected=Fails("err!", fields={"task": "task-1"})),
    "D21": Row(**MAP, args=(4,), expected=Suspends(scheduled=["t0(0)", "t1(1)", "t2(2)", "t3(3)"])),
    "D22": Row(
        **MAP, args=(4,), results={"t1": 2}, running=["t0", "t2", "t3"], expected=Suspends(waits=["t0", "t2", "t3"])
    ),
    "D23": Row(
        **MAP,
        args=(5,),
        results={f"t{n}": n + 1 for n in range(5)},
        order=["t3", "t0", "t4", "t1", "t2"],
        expected=Completes([1, 2, 3, 4, 5]),
    ),
    "D24": Row(**MAP, args=(4,), expected=Suspends(scheduled=["t0(0)", "t1(1)", "t2(2)", "t3(3)"])),
    "D25": Row(**WAIT, running=["t0"], expected=Suspends(waits=["t0"], line=4)),
    "D26": Row(**WAIT, results={"t0": 1}, expected=Suspends(scheduled=["t1(1)"])),
    "D27": Row(**WAIT, errors={"t0": "err!"}, expected=Fails("err!")),
    "D28": Row(**WAIT, timeouts=["t0"], expected=Fails(type="TaskTimedOut")),
    "D29": Row(**RESTART, results={"t0": 1}, expected=Restarts((1, 2))),
    "D30": Row(**RESTART, running=["t0"], expected=Suspends()),
    "D31": Row(**RESTART, errors={"t0": "err!"}, expected=Fails("err!")),
    "D32": Row(**EARLY, expected=Suspends(scheduled=["t0()"])),
    "D33": Row(**EARLY, results={"t0": 1}, expected=Suspends(scheduled=["t1(1)"])),
    "D34": Row(**EARLY, errors={"t0": "err!"}, expected=Fails("err!")),
    "D35": Row(**EARLY_WAIT, running=["t0"], expected=Suspends(waits=["t0"], line=3)),
    "D36": Row(**KEYWORDS, results={"t1": 1}, running=["t0"], expected=Suspends(waits=["t0"])),
    "D37": Row(**KEYWORDS, results={"t0": 1}, running=["t1"], expected=Suspends(waits=["t1"])),
    "D38": Row(**KEYWORDS, errors={"t0": "err1!", "t1": "err2!"}, order=["t0", "t1"], expected=Fails("err1!")),
    "D39": Row(**KEYWORDS, errors={"t0": "err1!", "t1": "err2!"}, order=["t1", "t0"], expected=Fails("err2!")),
    "D40": Row(**FIRST, results={"t0": 1, "t1": 2}, order=["t0", "t1"], expected=Completes(1)),
    "D41": Row(**FIRST, results={"t0": 1, "t1": 2}, order=["t1", "t0"], expected=Completes(2)),
    "D42": Row(**FIRST, results={"t0": 1}, errors={"t1": "err!"}, order=["t1", "t0"], expected=Fails("err!")),
    "D43": Row(
        **TWO_OF_FOUR,
        results={"t0": 1, "t1": 2, "t2": 3, "t3": 4},
        order=["t0", "t3", "t1", "t2"],
        expected=Completes([1, 4]),
    ),
    "D44": Row(
        **TWO_OF_FOUR,
        results={"t0": 1, "t1": 2},
        errors={"t2": "err3!", "t3": "err4!"},
        order=["t0", "t3", "t1", "t2"],
        expected=Fails("err4!"),
        ignored=["t2"],
    ),
    "D45": Row(
        **TWO_OF_FOUR, results={"t0": 1}, running=["t1", "t2", "t3"], expected=Suspends(waits=["t1", "t2", "t3"])
    ),
    "D46": Row(**REDUCE, running=["t0", "t1", "t2"], expected=Suspends(waits=["t0", "t1", "t2"])),
    "D47": Row(**REDUCE, results={"t0": 1}, running=["t1", "t2"], expected=Suspends(waits=["t1", "t2"])),
    "D48": Row(
        **REDUCE,
        results={"t0": 1, "t1": 2},
        running=["t2"],
        order=["t0", "t1"],
        expected=Suspends(scheduled=["r0(1, 2)"], waits=["t2", "r0"]),
    ),
    "D49": Row(
        **REDUCE,
        results={"t0": 1, "t1": 2},
        running=["t2"],
        order=["t1", "t0"],
        expected=Suspends(scheduled=["r0(2, 1)"]),
    ),
    "D50": Row(
        **REDUCE,
        results={"t0": 1, "t1": 2, "r0": 3, "t2": 10},
        order=["t1", "t0", "r0", "t2"],
        expected=Suspends(scheduled=["r1(3, 10)"]),
    ),
    "D51": Row(
        **REDUCE,
        results={"t0": 1, "t1": 2, "r0": 3, "t2": 10, "r1": 13},
        order=["t1", "t0", "r0", "t2", "r1"],
        expected=Completes(13),
    ),
    "D52": Row(**MIXED, expected=Suspends(scheduled=["t0()", "r0('a', 'b')"])),
    "D53": Row(**MIXED, results={"r0": "ab"}, running=["t0"], expected=Suspends(scheduled=["r1('c', 'ab')"])),
    "D54": Row(**MIXED, results={"t0": "xyz"}, running=["r0"], expected=Suspends(scheduled=["r1('c', 'xyz')"])),
    "D55": Row(**NEST, errors={"t0": "Err1!"}, running=["t1"], expected=Fails("Err1!")),
    "D56": Row(**NEST, errors={"t0": "Err1!", "t1": "Err2!"}, order=["t1", "t0"], expected=Fails("Err2!")),
    "D57": Row(**NEST, errors={"t0": "Err1!", "t1": "Err2!"}, order=["t0", "t1"], expected=Fails("Err1!")),
    "D58": Row(
        code="a, b = task(), task()\ntry: wait(task([[b], a]))\nexcept TaskError: return 8",
        errors={"t0": "Err1!", "t1": "Err2!"},
        expected=Completes(8),
    ),
    "D24 beside: a changed call stalls": Row(
        **MAP, args=(1,), running=["t0"], calls={"t0": ((5,), {})}, expected=Stalls("t0", line=4)
    ),
}
