"""The seam to the process that decides: loading, leaving at the barrier, repeated arguments, limits, clock, print."""

import json
import sys
from dataclasses import replace
from types import FrameType
from typing import Any, NoReturn

import pytest

from flowy.replay.determinism import impose
from flowy.replay.replayer import replay
from flowy.wire import values
from flowy.wire.messages import Answer, Outcome, Phase, Record, RecordState, Request, encode_answer, parse_answer
from tests.runtime.tables import source_of


class Left(BaseException):
    """Stands for the exit of the process."""


def request(code: str, *records: Record, tasks: tuple[str, ...] = ("task", "red"), **fields: Any) -> Request:
    source = source_of(code, tasks=tasks)
    return Request(
        source=source, entrypoint=None, tasks=tasks, input='{"args":[],"kwargs":{}}', records=records, **fields
    )


def leave_with(asked: Request) -> Answer:
    """Replay as the process of its own does, and give the answer that it leaves with."""
    left: list[Answer] = []

    def leave(answer: Answer) -> NoReturn:
        left.append(answer)
        raise Left

    undo = impose()
    try:
        left.append(replay(asked, leave))
    except Left:
        pass
    finally:
        undo()
    assert parse_answer(encode_answer(left[0]), asked, 1_000_000) == left[0]
    return left[0]


def done(key: str, value: object = None, rank: int = 0, finished_at: float | None = None) -> Record:
    text = values.encode(value)
    return Record(key=key, state=RecordState.COMPLETED, value=text, rank=rank, finished_at=finished_at)


LOAD_FAILURES: dict[str, tuple[str, str | None, tuple[str, ...], dict[str, object]]] = {
    "syntax": ("x = 1\ndef f(:", None, (), {"type": "SyntaxError", "message": "invalid syntax", "line": 2}),
    "indentation": ("def f():\nreturn", None, (), {"type": "IndentationError", "line": 2}),
    "null byte": ("a\0", None, (), {"type": "SyntaxError"}),
    "a deep expression": ("-" * 200_000 + "1", None, (), {"type": "SyntaxError"}),
    "nesting": ("(" * 300 + ")" * 300, None, (), {"type": "SyntaxError"}),
    "the module raises": ("x = 1\n\n1 / 0", None, (), {"type": "ZeroDivisionError", "line": 3}),
    "no entrypoint": ("x = 1", None, (), {"type": "EntrypointNotFound"}),
    "not that entrypoint": ("def f(): ...", "g", (), {"type": "EntrypointNotFound"}),
    "an entrypoint that is no factory": ("x = 1", "x", (), {"type": "EntrypointNotFound"}),
    "a missing task": (
        "def f(task): ...",
        None,
        (),
        {"type": "TasksMismatch", "message": "the factory asks for tasks that are not given: task, nor is any other"},
    ),
    "a surplus task": (
        "def f(): ...",
        None,
        ("task",),
        {
            "type": "TasksMismatch",
            "message": "tasks are given that the factory does not ask for: task; it asks for none",
        },
    ),
    "a typo in a task's name": (
        "def f(task): ...",
        None,
        ("tsak",),
        {"type": "TasksMismatch", "message": "the factory asks for tasks that are not given: task; given are: tsak"},
    ),
    "a task too many": (
        "def f(a, b): ...",
        None,
        ("a", "b", "c"),
        {
            "type": "TasksMismatch",
            "message": "tasks are given that the factory does not ask for: c; it asks for: a, b",
        },
    ),
}


@pytest.mark.parametrize("name", LOAD_FAILURES)
def test_load_failures(name: str) -> None:
    source, entrypoint, tasks, expected = LOAD_FAILURES[name]
    asked = Request(source=source, entrypoint=entrypoint, tasks=tasks, input='{"args":[],"kwargs":{}}')
    for answer in (replay(asked), leave_with(asked)):
        assert (answer.outcome, answer.phase) == (Outcome.FAILED, Phase.LOAD)
        assert answer.error is not None
        assert {name: answer.error.get(name) for name in expected} == expected


def test_a_failure_of_the_factory_is_one_of_the_run() -> None:
    answer = replay(Request(source="def f(): 1 / 0", entrypoint=None, tasks=(), input='{"args":[],"kwargs":{}}'))
    assert (answer.outcome, answer.phase) == (Outcome.FAILED, Phase.RUN)


@pytest.mark.parametrize("module", ["flowy", "json"])
def test_what_a_module_lacks_is_told_without_its_place_on_this_host(module: str) -> None:
    source = f"from {module} import nonsense\ndef f(task, red):\n    return lambda: None"
    answer = replay(replace(request(""), source=source))
    assert answer.error is not None
    assert answer.error["message"] == f"cannot import name 'nonsense' from '{module}'"


@pytest.mark.parametrize(("body", "returned"), [("...", "None"), ("return 5", "a value of the type int")])
def test_a_factory_without_a_workflow_is_told_what_to_return(body: str, returned: str) -> None:
    answer = replay(Request(source=f"def f(): {body}", entrypoint=None, tasks=(), input='{"args":[],"kwargs":{}}'))
    assert answer.error is not None
    assert answer.error["message"] == (
        f"the factory returned {returned}, not the workflow: let it return a function that takes the input and calls the tasks"
    )


def test_the_module_is_fresh_and_has_a_name() -> None:
    source = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nimport sys\n"
        "count = globals().get('count', 0) + 1\n"
        "@dataclass\nclass _Item:\n    size: int\n"
        "def f():\n    return lambda: [__name__, count, _Item(2), sys.modules[__name__].count]"
    )
    asked = Request(source=source, entrypoint="f", tasks=(), input='{"args":[],"kwargs":{}}')
    for _ in range(2):
        assert json.loads(replay(asked).result or "") == ["workflow", 1, {"size": 2}, 1]
    assert "workflow" not in sys.modules


def test_a_module_of_that_name_comes_back() -> None:
    sys.modules["workflow"] = sys
    try:
        replay(request("return 1", tasks=()))
        assert sys.modules["workflow"] is sys
    finally:
        del sys.modules["workflow"]


BARRIER = "a = task(1)\ntry: wait(a)\nfinally: red()"


def test_the_process_leaves_at_the_barrier_before_anything_unwinds() -> None:
    def leave(answer: Answer) -> NoReturn:
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            lines.append(frame.f_lineno if frame.f_code.co_filename == "<workflow>" else 0)
            frame = frame.f_back
        raise Left

    lines: list[int] = []
    replay(request("a = task()\ntry: wait(a)\nfinally: red()"), leave)
    assert 5 in lines
    assert 6 not in lines


def test_both_ways_give_the_same_answer() -> None:
    asked = request(BARRIER)
    assert leave_with(asked) == replay(asked)
    assert [call.key for call in replay(asked).scheduled] == ["task-0"]


def test_the_answer_at_a_refusal_and_at_a_deviation() -> None:
    refused = leave_with(request("task({1})"))
    assert refused.outcome is Outcome.FAILED
    deviated = leave_with(request("task(1)", done("task-0")._replace(digest="0" * 16, line=7)))
    assert deviated.error is not None
    assert deviated.error["recorded"] == f"digest {'0' * 16}, line 7"
    assert deviated.outcome is Outcome.STALLED


def test_wanted_arguments_are_repeated() -> None:
    running = Record(key="task-0", state=RecordState.RUNNING, digest=values.digest([[1, 2]], {"k": "é"}))
    asked = request("a = task([1, 2], k='é'); b = red(a); wait(a)", running, wanted=("task-0",))
    answer = leave_with(asked)
    assert [(call.key, json.loads(call.arguments)) for call in answer.repeated] == [
        ("task-0", {"args": [[1, 2]], "kwargs": {"k": "é"}})
    ]
    assert answer.scheduled == ()


def test_what_was_not_reached_is_not_repeated() -> None:
    running = Record(key="task-0", state=RecordState.RUNNING)
    answer = leave_with(request("wait(red())\ntask()", running, wanted=("task-0",)))
    assert (answer.outcome, answer.repeated) == (Outcome.STALLED, ())


def test_new_calls_are_cut_and_the_code_runs_on() -> None:
    code = "rs = [task(n) for n in range(5)]\nred(rs)\n{}"
    cut = leave_with(request(code.format("return rs"), max_calls=2))
    assert [call.key for call in cut.scheduled] == ["task-0", "task-1"]
    assert cut.more
    assert [awaited.key for awaited in cut.waiting_on] == ["task-0", "task-1"]
    ended = leave_with(request(code.format("return 1"), max_calls=2))
    assert (ended.outcome, ended.dropped, ended.more) == (Outcome.COMPLETED, ("task-0", "task-1"), False)
    rest = leave_with(request(code.format("return rs"), *[done(f"task-{n}", n, n) for n in range(2)], max_calls=2))
    assert [call.key for call in rest.scheduled] == ["task-2", "task-3"]


def test_long_arguments_are_cut_too_but_for_the_first() -> None:
    code = "rs = [task('x' * n) for n in (10, 500, 10, 900, 10)]\nreturn rs"

    def keys(*records: Record) -> tuple[list[str], bool]:
        answer = leave_with(request(code, *records, max_bytes=580))
        return [call.key for call in answer.scheduled], answer.more

    # What stands behind the first that has no room waits as well: calls are recorded in their order.
    assert keys() == (["task-0", "task-1"], True)
    assert keys(*[done(f"task-{n}", n, n) for n in range(2)]) == (["task-2"], True)
    assert keys(*[done(f"task-{n}", n, n) for n in range(3)]) == (["task-3"], True)
    assert keys(*[done(f"task-{n}", n, n) for n in range(4)]) == (["task-4"], False)


def test_long_arguments_are_counted_in_bytes() -> None:
    answer = leave_with(request("return [task('é' * 100), task('é' * 100)]", max_bytes=400))
    assert [call.key for call in answer.scheduled] == ["task-0"]


def test_long_arguments_are_repeated_in_parts() -> None:
    code = "return [task('x' * 400) for n in range(3)]"
    records = [Record(key=f"task-{n}", state=RecordState.RUNNING) for n in range(3)]
    wanted = tuple(record.key for record in records)
    answer = leave_with(request(code, *records, wanted=wanted, max_bytes=600))
    assert [call.key for call in answer.repeated] == ["task-0"]
    answer = leave_with(request(code, *records, wanted=wanted[1:], max_bytes=900))
    assert [call.key for call in answer.repeated] == ["task-1", "task-2"]


def test_a_recorded_text_goes_out_as_it_stands() -> None:
    record = Record(key="task-0", state=RecordState.COMPLETED, value='{"b": 1.10, "a": 1e2}', rank=0)
    answer = leave_with(request("a = task(); return [red(a, 'x'), a]", record))
    assert answer.scheduled[0].arguments == '{"args":[{"b": 1.10, "a": 1e2},"x"],"kwargs":{}}'
    assert answer.scheduled[0].digest == values.digest([{"a": 100.0, "b": 1.1}, "x"], {})


DEEP = "[" * 198 + "]" * 198


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (r'"\ud800"', "return [task()]", "result[0]: a lone surrogate"),
        (r'"\u00e9"', "return [task()]", None),
        ('"é"', "return [task()]", None),
        (DEEP, "return [[task()]]", None),
        (DEEP, "return [[[task()]]]", "result[0][0][0]: more than 200 levels"),
        ('"' + "[" * 300 + '"', "return task()", None),
    ],
)
def test_a_recorded_value_that_is_none(text: str, code: str, message: str | None) -> None:
    answer = leave_with(request(code, Record(key="task-0", state=RecordState.COMPLETED, value=text, rank=0)))
    if message is None:
        assert answer.outcome is Outcome.COMPLETED
    else:
        assert answer.error is not None
        assert message in str(answer.error["message"])


def test_printed_text_goes_to_the_log() -> None:
    code = "print('a', 1, sep='-'); print('b', end=''); print('c\\nd'); print(end='e')\nwait(task())"
    assert leave_with(request(code)).log == ("a-1", "bc", "d", "e")


def test_printing_a_pending_result_is_a_barrier() -> None:
    answer = leave_with(request("print('before'); print(task()); print('after')"))
    assert (answer.log, answer.outcome) == (("before",), Outcome.SUSPENDED)


def test_a_flood_of_text_is_cut_with_a_note() -> None:
    log = leave_with(request("for _ in range(10): print('é' * 10_000)\nprint('more')\nreturn 1")).log
    assert log[-1] == "(log cut at 65536 bytes)"
    assert sum(len(line.encode()) + 1 for line in log[:-1]) <= 65536
    assert log[0] == "é" * 10_000


def test_warnings_come_through_a_flood_and_are_bounded() -> None:
    code = "a = task(); a.append(2); print('x' * 100_000)\nfor _ in range(200): red(a)\nreturn 1"
    log = leave_with(request(code, done("task-0", [1]))).log
    assert len([line for line in log if line.startswith("warning: ")]) == 100


def test_the_clock_shows_what_the_code_has_seen() -> None:
    code = (
        "import time\nfrom datetime import datetime, timezone\n"
        "seen = [time.time()]\n"
        "a, b, c, d = task(), task(), task(), task()\n"
        "repr(b); str(a); seen.append(time.time())\n"
        "wait(a, c); seen.append(time.monotonic())\n"
        "str(b); seen.append(time.time_ns())\n"
        "try: wait(d)\nexcept TaskError: seen.append(datetime.now(timezone.utc).timestamp())\n"
        "return seen"
    )
    failed = Record(key="task-3", state=RecordState.FAILED, error={"message": "m"}, rank=3, finished_at=50.0)
    records = [done("task-0", 1, 1, 20.0), done("task-1", 2, 0, 10.0), done("task-2", 3, 2, 30.0), failed]
    answer = leave_with(request(code, *records, started_at=5.0))
    assert json.loads(answer.result or "") == [5.0, 20.0, 30.0, 30_000_000_000, 50.0]


def test_randomness_belongs_to_the_run() -> None:
    code = "import random, uuid\nfrom os import urandom\nreturn [random.random(), str(uuid.uuid4()), urandom(4).hex()]"
    first, again, other = (leave_with(request(code, seed=seed)).result for seed in ("uid/1", "uid/1", "uid/2"))
    assert first == again
    assert first != other


def test_a_memory_error_is_not_the_workflows() -> None:
    with pytest.raises(MemoryError):
        replay(request("raise MemoryError"))
