"""Decision table F: cases fixed by the specification itself."""

from typing import Any

from tests.runtime.tables import Completes, Fails, Row, Stalls, Suspends

OOM: dict[str, Any] = {"type": "Oom", "message": "m", "attempt": 2, "exitCode": 137, "details": {"k": 1}}
WAITS: dict[str, Any] = {"code": "a = task(); wait(a); return red()"}
CHAINS: dict[str, Any] = {"code": "a = task(); return red(a)"}
CHANGES: dict[str, Any] = {"code": "a = task(); a.append(9); return [a, red(a)]"}
FIELDS = """try: wait(task())
except TaskError as e: return [e.type, e.message, e.task, e.attempt, e.exit_code, e.details]"""

ROWS: dict[str, Row] = {
    "F01": Row(
        code="a = task(); b = task(a); wait(a); return b",
        results={"t0": 1},
        running=["t1"],
        calls={"t1": ((2,), {})},
        expected=Stalls("t1", ["task(1)"]),
    ),
    "F02": Row(code="return task(1)", results={"t0": 1, "t1": 2}, expected=Stalls("t1", ["not reached", "returned"])),
    "F03": Row(**WAITS, running=["t0", "r0"], expected=Stalls("r0", ["not reached", "waits at line 4"], line=4)),
    "F04": Row(**WAITS, results={"t0": 1}, running=["r0"], expected=Suspends(waits=["r0"])),
    "F05": Row(**CHAINS, running=["t0", "r0"], expected=Stalls("r0", ["pending on task-0"], line=4)),
    "F06": Row(**CHAINS, errors={"t0": "e"}, running=["r0"], expected=Stalls("r0", ["error of task-0"])),
    "F07": Row(code="a = task()\nrepr(a); str([a]); return a", running=["t0"], expected=Suspends(waits=["t0"], line=4)),
    "F08": Row(code="a = task()\nstr(a); red()", running=["t0"], expected=Suspends(waits=["t0"], line=5)),
    "F09 running": Row(
        code="a, b = task(), task(); return first(a, b) is a", running=["t0", "t1"], expected=Completes(False)
    ),
    "F09 done": Row(
        code="a, b = task(), task(); return first(a, b) is a",
        results={"t0": 1},
        running=["t1"],
        expected=Completes(False),
    ),
    "F10 new": Row(
        **CHANGES,
        results={"t0": [1]},
        expected=Suspends(scheduled=["r0([1])"]),
        log=["line 4: the result of task-0 was changed"],
    ),
    "F10 done": Row(
        **CHANGES, results={"t0": [1], "r0": 0}, expected=Completes([[1], 0]), log=["task-0 was changed in place"]
    ),
    "F11": Row(code="a = task(); return 1", errors={"t0": "e"}, expected=Completes(1), ignored=["t0"]),
    "F12": Row(
        code="str(first(task(), task())); return 1",
        results={"t0": 1},
        errors={"t1": "e"},
        expected=Completes(1),
        ignored=["t1"],
    ),
    "F13": Row(
        code="a = task(); b = red(a); c = red(2); return [b, c]",
        running=["t0"],
        expected=Suspends(scheduled=["r1(2)"], waits=["t0", "r1"]),
    ),
    "F14 running": Row(
        code='return wait({"a": [task()]}, (task(), 3))',
        results={"t0": 0},
        running=["t1"],
        expected=Suspends(waits=["t1"]),
    ),
    "F14 done": Row(
        code='return wait({"a": [task()]}, (task(), 3))', results={"t0": 0, "t1": 1}, expected=Completes(None)
    ),
    "F15": Row(
        code="try: task({1, 2})\nexcept BaseException: return 1",
        expected=Fails(
            "task-0: args[0]: a set has no order; pass sorted(...) instead", "ValueRefused", fields={"line": 4}
        ),
        log=["line 4"],
    ),
    "F16 key": Row(
        code="return task({7: 1})", expected=Fails("task-0: args[0]: key 7 is an int; use str(7)", "ValueRefused")
    ),
    "F16 nan": Row(code='return task([float("nan")])', expected=Fails(type="ValueRefused", text="args[0][0]: nan")),
    "F16 bytes": Row(code='return task(x=b"")', expected=Fails(type="ValueRefused", text="kwargs.x: bytes")),
    "F17": Row(code="a = task(); return a is None", results={"t0": None}, expected=Completes(False)),
    "F18": Row(code=FIELDS, errors={"t0": OOM}, expected=Completes(["Oom", "m", "task-0", 2, 137, {"k": 1}])),
    "F19": Row(code="return task()", errors={"t0": OOM}, expected=Fails(fields={**OOM, "task": "task-0"})),
    "F20": Row(code='raise KeyError("x")\ntask()', running=["t0"], expected=Stalls("t0", ["KeyError: 'x'"], line=4)),
    "F21 initializer": Row(code="return parallel_reduce(red, [], 5)", expected=Completes(5)),
    "F21 one": Row(code="return parallel_reduce(red, [task()])", results={"t0": 3}, expected=Completes(3)),
    "F22 empty": Row(code="return first([])", expected=Fails(type="ValueError")),
    "F22 nothing": Row(code="return first()", expected=Fails(type="TypeError")),
    "F28": Row(
        code="a = task(); return red(repr([a]))",
        running=["t0"],
        expected=Fails("red-0: args[0]: text made from a pending result; use str() or an f-string", "ValueRefused"),
    ),
    "a refused argument under a recorded key stalls": Row(
        code="return task({1})", running=["t0"], expected=Stalls("t0", ["refused: args[0]"])
    ),
    "the first refusal counts before the barrier after it": Row(
        code="try: task(b'')\nexcept BaseException: pass\nwait(task())",
        expected=Fails(type="ValueRefused", text="args[0]: bytes"),
        log=["swallowed"],
    ),
    "the first barrier counts before the refusal after it": Row(
        code="a = task()\ntry: wait(a)\nexcept BaseException: pass\nreturn {1}",
        expected=Suspends(scheduled=["t0()"], waits=["t0"], line=5),
        log=["line 5"],
    ),
    "a barrier counts before the exception after it": Row(
        code="a = task()\ntry: wait(a)\nexcept BaseException: 1 / 0",
        expected=Suspends(scheduled=["t0()"], waits=["t0"]),
        log=["line 5"],
    ),
    "an end swallowed twice is told once": Row(
        code="try: wait(task())\nexcept BaseException: pass\ntry: red()\nexcept BaseException: pass\nreturn 1",
        expected=Suspends(scheduled=["t0()"], waits=["t0"], line=4),
        log=["line 4"],
    ),
    "several unreached keys are all named": Row(
        code="return 1\ntask(); red()", running=["t0", "r0"], expected=Stalls("t0", ["task-0, red-0 not reached"])
    ),
    "many unreached keys are counted": Row(
        code="return 1\ntask()", running=[f"t{n}" for n in range(14)], expected=Stalls("t0", ["task-9 and 4 more"])
    ),
    "an unreached key after restart": Row(
        code="return restart()\ntask()", running=["t0"], expected=Stalls("t0", ["returned restart"])
    ),
    "an unreached key under a pending result": Row(
        code="return red()\ntask()", running=["t0"], expected=Stalls("t0", ["returned a pending result"])
    ),
    "an unreached key under a load error": Row(
        workflow=("def f(:", None), tasks=["task"], running=["t0"], expected=Stalls("t0", ["SyntaxError"], line=1)
    ),
    "restart of a restart": Row(
        code="return restart(restart(1))", expected=Fails(type="ValueRefused", text="restart.args[0]: a restart marker")
    ),
    "restart as an argument": Row(
        code="return task(k=restart())", expected=Fails(type="ValueRefused", text="kwargs.k: a restart marker")
    ),
    "restart with refused keywords": Row(
        code="return restart(k=[{1}])", expected=Fails(type="ValueRefused", text="restart.kwargs.k[0]: a set")
    ),
    "a pending restart waits at the lines of its calls": Row(
        code="a = task()\nreturn restart(a)", running=["t0"], expected=Suspends(waits=["t0"], line=4)
    ),
}
