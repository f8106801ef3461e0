"""Decision table N: where the library of 2015 was wrong."""

from tests.runtime.tables import Completes, Fails, Row, Stalls, Suspends

WAIT_ONE = "wait([task()]); return 1"
IGNORED_CALL = "bad = task(); red(bad); wait(other(1)); return 2"
THREAD = """import threading
def go():
    try: task()
    except RuntimeError: pass
t = threading.Thread(target=go, name="side"); t.start(); t.join()
return 1"""

ROWS: dict[str, Row] = {
    "N01": Row(code="task(); task(1); return 42", expected=Completes(42), dropped=["t0()", "t1(1)"]),
    "N02": Row(
        code="try: wait(task())\nexcept Exception: return 0",
        running=["t0"],
        expected=Suspends(waits=["t0"], line=4),
    ),
    "N03": Row(
        code="try: wait(task())\nexcept: return 0",
        running=["t0"],
        expected=Suspends(waits=["t0"], line=4),
        log=["line 4"],
    ),
    "N04": Row(code="try: wait(task())\nfinally: red()", running=["t0"], expected=Suspends(waits=["t0"])),
    "N05": Row(code="return [restart(1)]", expected=Fails(type="ValueRefused", text="result[0]: a restart marker")),
    "N06": Row(code="restart(1); return 2", expected=Completes(2)),
    "N08": Row(code="return restart(task(), task())", errors={"t0": "e"}, running=["t1"], expected=Fails("e")),
    "N09 running": Row(code=WAIT_ONE, running=["t0"], expected=Suspends(waits=["t0"])),
    "N09 done": Row(code=WAIT_ONE, results={"t0": 0}, expected=Completes(1)),
    "N10 done": Row(code="return first(task())", results={"t0": [7, 8]}, expected=Completes([7, 8])),
    "N10 running": Row(code="return first(task())", running=["t0"], expected=Suspends()),
    "N11": Row(code="return first(task(), 5)", results={"t0": 1}, expected=Completes(5)),
    "N13": Row(code="return [task(), red(), task()]", expected=Suspends(scheduled=["t0()", "r0()", "t1()"])),
    "N22": Row(
        code='return task("b")',
        results={"t0": 1},
        calls={"t0": (("a",), {})},
        expected=Stalls("t0", ['task("b")', "recorded digest", "with digest"], line=4),
    ),
    "N23 new": Row(code=IGNORED_CALL, expected=Suspends(scheduled=["t0()", "o0(1)"], waits=["o0"])),
    "N23 failed": Row(code=IGNORED_CALL, errors={"t0": "e"}, expected=Suspends(scheduled=["o0(1)"], waits=["o0"])),
    "N24": Row(code="bad = task(); red(bad); return 1", errors={"t0": "e"}, expected=Completes(1), ignored=["t0"]),
    "N26": Row(code="return task()", cancelled=["t0"], expected=Fails("task-0 was cancelled", "TaskCancelled")),
    "N26 with a reason": Row(
        code="return task()", cancelled={"t0": "Deleted"}, expected=Fails("task-0 was cancelled: Deleted")
    ),
    "N29 missing": Row(code="return [task, red]", tasks=["task"], expected=Fails(text="red")),
    "N29 surplus": Row(code="return [task, red]", tasks=["task", "red", "x"], expected=Fails(text=": x")),
    "N32": Row(code=THREAD, expected=Fails(type="RuntimeError", text="'side'")),
    "N32 the task is named": Row(code=THREAD, expected=Fails(text="'task'")),
    "a touch in a thread fails the workflow too": Row(
        code=THREAD.replace("try: task()", "try: wait(a)").replace("import threading", "import threading; a = task()"),
        expected=Fails(type="RuntimeError", text="task-0"),
        dropped=["t0()"],
    ),
    "a touch of what is done may happen in a thread": Row(
        code=THREAD.replace("try: task()", "try: wait(a)").replace("import threading", "import threading; a = task()"),
        results={"t0": 1},
        expected=Completes(1),
    ),
    "a barrier counts before the thread's call after it": Row(
        code=THREAD.replace("import threading", "import threading\ntry: wait(task())\nexcept BaseException: pass"),
        expected=Suspends(scheduled=["t0()"], waits=["t0"], line=5),
        log=["line 5"],
    ),
    "after a thread's call the code goes no further": Row(
        code=THREAD.replace("return 1", "red()\nreturn 1"), expected=Fails(type="RuntimeError")
    ),
}
