"""The trace of a replay: which results went into which call, and what the code had looked at before it."""

import textwrap

import pytest

from flowy.replay.replayer import replay
from flowy.wire.messages import Record, RecordState, Request, Trace


def traced(body: str, **states: str | None) -> Trace:
    """The trace of a workflow whose tasks are `task` and `red`; states by key: JSON text, None for running, `!` for an error."""
    source = "from flowy import *\ndef f(task, red):\n  def workflow():\n" + textwrap.indent(
        textwrap.dedent(body), "    "
    )
    source += "\n  return workflow\n"
    records = []
    for rank, (name, value) in enumerate(states.items()):
        key = f"{'red' if name[0] == 'r' else 'task'}-{name[1:]}"
        if value is None:
            records.append(Record(key=key, state=RecordState.RUNNING))
        elif value == "!":
            records.append(Record(key=key, state=RecordState.FAILED, error={"type": "E", "message": "m"}, rank=rank))
        else:
            records.append(Record(key=key, state=RecordState.COMPLETED, value=value, rank=rank))
    request = Request(
        source=source,
        entrypoint="f",
        tasks=("task", "red"),
        input='{"args":[],"kwargs":{}}',
        records=records,
        traced=True,
    )
    trace = replay(request).trace
    assert trace is not None
    return trace


def takes(trace: Trace) -> dict[str, list[str]]:
    return {call.key: list(call.takes) for call in trace.calls}


CASES: dict[str, tuple[str, dict[str, str | None], dict[str, list[str]]]] = {
    "a result is passed on": ("return task(task(1))", {"t0": "1"}, {"task-0": [], "task-1": ["task-0"]}),
    "of a nest, each result once": (
        "a, b = task(1), task(2)\nreturn red([a, {'k': (b, a)}], x=a)",
        {"t0": "1", "t1": "2"},
        {"task-0": [], "task-1": [], "red-0": ["task-0", "task-1"]},
    ),
    "a pending result is an arrow too": ("return task(task(1))", {"t0": None}, {"task-0": [], "task-1": ["task-0"]}),
    "a call that waits for others": (
        "return red(task(task(1)))",
        {},
        {"task-0": [], "task-1": ["task-0"], "red-0": ["task-1"]},
    ),
    "an error flows along": (
        "return task(red(task(1)))",
        {"t0": "!"},
        {"task-0": [], "red-0": ["task-0"], "task-1": ["red-0"]},
    ),
    "who won a race": (
        "return red(first(task(1), task(2)))",
        {"t1": "2", "t0": None},
        {"task-0": [], "task-1": [], "red-0": ["task-1"]},
    ),
    "of an open race, all members": (
        "return red(first(task(1), task(2)))",
        {"t0": None, "t1": None},
        {"task-0": [], "task-1": [], "red-0": ["task-0", "task-1"]},
    ),
    "a pair of a reduction": (
        "return parallel_reduce(red, [task(1), task(2)])",
        {"t1": "1", "t0": "2"},
        {"task-0": [], "task-1": [], "red-0": ["task-1", "task-0"]},
    ),
    "a key of a dict": ("return red({task(1): 2})", {"t0": '"k"'}, {"task-0": [], "red-0": ["task-0"]}),
}


@pytest.mark.parametrize("name", CASES)
def test_which_results_a_call_takes(name: str) -> None:
    body, states, expected = CASES[name]
    assert takes(traced(body, **states)) == expected


def test_the_first_look_at_each_result_counts_with_its_line() -> None:
    trace = traced("a = task(1)\nb = task(2)\nif a and b and a:\n  c = red()\nreturn str(c)", t0="1", t1="2", r0="3")
    assert [(look.key, look.line) for look in trace.looks] == [("task-0", 6), ("task-1", 6), ("red-0", 8)]
    assert {call.key: call.looks for call in trace.calls} == {"task-0": 0, "task-1": 0, "red-0": 2}
    assert [call.line for call in trace.calls] == [4, 5, 7]


def test_an_error_that_is_caught_was_looked_at() -> None:
    trace = traced("try:\n  wait(task(1))\nexcept TaskError:\n  return red()", t0="!")
    assert [look.key for look in trace.looks] == ["task-0"]
    assert trace.calls[-1].looks == 1


def test_what_is_returned() -> None:
    assert traced("a = task(1)\nred(2)\nreturn {'x': a}", t0="1", r0="2").returned == ("task-0",)


def test_a_trace_is_made_when_asked_for_only() -> None:
    request = Request(source="def f(): return lambda: 1", entrypoint="f", tasks=(), input='{"args":[],"kwargs":{}}')
    assert replay(request).trace is None
