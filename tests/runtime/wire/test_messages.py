"""Requests and answers: exact both ways; of an answer nothing is believed."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowy.replay.replayer import replay
from flowy.wire import values
from flowy.wire.messages import (
    MAX_NEEDS,
    Answer,
    AnsweredCall,
    AnsweredWait,
    MalformedMessage,
    Outcome,
    Phase,
    Record,
    RecordState,
    Request,
    Trace,
    TracedCall,
    TracedLook,
    encode_answer,
    encode_request,
    parse_answer,
    parse_request,
)

LIMIT_BYTES = 200_000


def call(key: str, *args: object, **kwargs: object) -> AnsweredCall:
    text = values.encode_plain({"args": list(args), "kwargs": kwargs})
    return AnsweredCall(key=key, task=key.rsplit("-", 1)[0], arguments=text, digest=values.digest(args, kwargs), line=3)


ERROR = {
    "type": "Oom",
    "message": "m",
    "task": "task-1",
    "attempt": 2,
    "exitCode": 137,
    "timer": "Heartbeat",
    "details": {"k": [1, 1.0, 2**70]},
    "traceback": "t",
    "line": 4,
}
STALL = {"type": "NonDeterminism", "message": "m", "key": "task-0", "recorded": "r", "asked": "a", "line": None}

REQUEST = Request(
    source="def f(task, red): ...\n",
    entrypoint="f",
    tasks=("task", "red"),
    input='{"args":[1,1.0],"kwargs":{}}',
    records=(
        Record(key="task-0", state=RecordState.RUNNING, digest=call("task-0", 1).digest, line=2),
        Record(key="task-1", state=RecordState.FAILED, error=ERROR, rank=0, finished_at=1.5),
        Record(key="task-2", state=RecordState.COMPLETED, value='{"a": 1.0, "b": 1}', rank=1, finished_at=2),
        Record(key="task-3", state=RecordState.RUNNING),
    ),
    seed="uid/1",
    started_at=1.25,
    wanted=("task-0", "task-3"),
    max_calls=2,
    max_bytes=100,
)

ANSWERS = {
    "suspended": Answer(
        outcome=Outcome.SUSPENDED,
        scheduled=(call("red-0", 1, 1.0, x=2**70), call("task-4", "é", {"b": 1, "a": 2})),
        repeated=(call("task-0", 1), call("task-3", [])),
        more=True,
        waiting_on=(AnsweredWait(key="task-0", line=3), AnsweredWait(key="red-0", line=None)),
        needs=(("task-0", "red-0"), ("red-7",)),
        log=("a line", "é"),
    ),
    "completed": Answer(
        outcome=Outcome.COMPLETED, result='{"b":1,"a":1.0}', dropped=("red-0",), ignored_errors=(ERROR,)
    ),
    "restarted": Answer(outcome=Outcome.RESTARTED, restart='{"args":[1],"kwargs":{"k":2}}'),
    "failed": Answer(outcome=Outcome.FAILED, error=ERROR, repeated=(call("task-0", 1),)),
    "load": Answer(outcome=Outcome.FAILED, error={"type": "SyntaxError", "message": "m"}, phase=Phase.LOAD),
    "stalled": Answer(outcome=Outcome.STALLED, error=STALL),
}


TRACED = replace(REQUEST, traced=True)
TRACE = Trace(
    calls=(
        TracedCall(key="task-0", line=2, takes=(), looks=0),
        TracedCall(key="red-0", line=None, takes=("task-0",), looks=1),
    ),
    looks=(TracedLook(key="task-0", line=3), TracedLook(key="red-0", line=None)),
    returned=("red-0",),
)
TRACED_ANSWER = replace(ANSWERS["completed"], trace=TRACE)


def test_a_request_round_trips_exactly() -> None:
    assert parse_request(encode_request(REQUEST)) == REQUEST
    assert parse_request(encode_request(TRACED)) == TRACED
    bare = Request(source="", entrypoint=None, tasks=(), input="")
    assert parse_request(encode_request(bare)) == bare


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_round_trips_exactly(name: str) -> None:
    raw = encode_answer(ANSWERS[name])
    parsed = parse_answer(raw, REQUEST, LIMIT_BYTES)
    assert parsed == ANSWERS[name]
    assert repr(parsed) == repr(ANSWERS[name])  # 1 and 1.0 are equal, and not the same
    assert encode_answer(parsed) == raw


def test_a_trace_round_trips_exactly() -> None:
    assert parse_answer(encode_answer(TRACED_ANSWER), TRACED, LIMIT_BYTES) == TRACED_ANSWER


HOSTILE_TRACES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a field is missing": (lambda trace: trace.pop("looks"), "lacks the field 'looks'"),
    "a row that is no call": (lambda trace: trace["calls"].append(["task-1"]), "no call"),
    "a row that is no look": (lambda trace: trace["looks"].append("task-0"), "no look"),
    "a key of no task": (lambda trace: trace["calls"].append(["blue-0", 1, [], 1]), "of no task"),
    "a malformed key": (lambda trace: trace["calls"].append(["<b>", 1, [], 1]), "malformed key"),
    "a call twice": (lambda trace: trace["calls"].append(trace["calls"][0]), "names a key twice"),
    "a result of itself": (lambda trace: trace["calls"][0][2].append("task-0"), "was not made before it"),
    "a result of a later call": (lambda trace: trace["calls"][0][2].append("red-0"), "was not made before it"),
    "a look at a later call": (lambda trace: trace["calls"][0].__setitem__(3, 1), "was not made before it"),
    "fewer looks than before": (lambda trace: trace["calls"].append(["task-1", 1, [], 0]), "fewer looks"),
    "more looks than there are": (lambda trace: trace["calls"][1].__setitem__(3, 9), "more than there are"),
    "a look at nothing": (lambda trace: trace["looks"].append(["task-7", 1]), "not made"),
    "a return of nothing": (lambda trace: trace["returned"].append("task-7"), "not made"),
    "a line of another type": (lambda trace: trace["calls"][0].__setitem__(1, "2"), "line"),
}


@pytest.mark.parametrize("name", HOSTILE_TRACES)
def test_a_hostile_trace_is_refused(name: str) -> None:
    change, expected = HOSTILE_TRACES[name]
    answer = json.loads(encode_answer(TRACED_ANSWER))
    change(answer["trace"])
    with pytest.raises(MalformedMessage, match=expected):
        parse_answer(json.dumps(answer).encode(), TRACED, LIMIT_BYTES)


def test_a_trace_comes_if_it_was_asked_for() -> None:
    with pytest.raises(MalformedMessage, match="a trace is missing"):
        parse_answer(encode_answer(ANSWERS["completed"]), TRACED, LIMIT_BYTES)
    with pytest.raises(MalformedMessage, match="a trace is given"):
        parse_answer(encode_answer(TRACED_ANSWER), REQUEST, LIMIT_BYTES)


def test_lone_surrogates_are_refused_both_ways() -> None:
    with pytest.raises(MalformedMessage, match="surrogate"):
        encode_request(replace(REQUEST, source="\ud800"))
    with pytest.raises(MalformedMessage, match="surrogate"):
        encode_answer(replace(ANSWERS["suspended"], log=("\ud800",)))
    raw = encode_answer(ANSWERS["suspended"]).replace(b"a line", rb"\ud800")
    with pytest.raises(MalformedMessage, match="surrogate"):
        parse_answer(raw, REQUEST, LIMIT_BYTES)


Change = Callable[[dict[str, Any]], object]


def setting(**fields: object) -> Change:
    return lambda answer: answer.update(fields)


def in_first(part: str, **fields: object) -> Change:
    return lambda answer: answer[part][0].update(fields)


def _arguments(text: str) -> dict[str, object]:
    """Give an item's fields for hostile arguments, with the digest that goes with them where there is one."""
    try:
        decoded: Any = json.loads(text)
        return {"arguments": text, "digest": values.digest_of(values.canonical([decoded["args"], decoded["kwargs"]]))}
    except (RecursionError, ValueError, LookupError, TypeError):
        return {"arguments": text}


DEEP = "[" * 201 + "]" * 201

HOSTILE: dict[str, tuple[str, Change, str]] = {
    "unknown field": ("suspended", setting(extra=1), "unknown field 'extra'"),
    "missing field": ("suspended", lambda answer: answer.pop("log"), "lacks the field 'log'"),
    "another version": ("suspended", setting(version=2), "version"),
    "version of another type": ("suspended", setting(version=True), "version"),
    "unknown outcome": ("suspended", setting(outcome="done"), "outcome is none of"),
    "outcome of another type": ("suspended", setting(outcome=["suspended"]), "outcome is no string"),
    "unknown phase": ("suspended", setting(phase="x"), "phase is none of"),
    "scheduled is no list": ("suspended", setting(scheduled={}), "scheduled is no list"),
    "scheduled item is no object": ("suspended", setting(scheduled=[1]), "is no object"),
    "too many calls": (
        "suspended",
        lambda answer: answer["scheduled"].append(answer["scheduled"][0] | {"key": "red-7"}),
        "scheduled has 3 items, more than 2",
    ),
    "unknown field of a call": ("suspended", in_first("scheduled", x=1), "unknown field 'x'"),
    "a key of no task": ("suspended", in_first("scheduled", key="blue-0", task="blue"), "of no task of the request"),
    "a malformed key": ("suspended", in_first("scheduled", key="red-00"), "malformed key"),
    "a key of another task": ("suspended", in_first("scheduled", key="task-9"), "is not one of its task"),
    "a key recorded already": ("suspended", in_first("scheduled", key="task-2", task="task"), "recorded already"),
    "a key twice": ("suspended", in_first("scheduled", key="task-4", task="task"), "names a key twice"),
    "a wrong digest": ("suspended", in_first("scheduled", digest="0" * 16), "is not that of the arguments"),
    "a digest of another type": ("suspended", in_first("scheduled", digest=None), "is not that of the arguments"),
    "arguments that are no text": ("suspended", in_first("scheduled", arguments={}), "is no string"),
    "arguments that are no JSON": ("suspended", in_first("scheduled", arguments="{"), "is no JSON"),
    "arguments with NaN": (
        "suspended",
        in_first("scheduled", arguments='{"args":[NaN],"kwargs":{}}'),
        "NaN is no JSON number",
    ),
    "arguments with an infinity": (
        "suspended",
        in_first("scheduled", arguments='{"args":[1e999],"kwargs":{}}'),
        "is no JSON",
    ),
    "arguments with a surrogate": (
        "suspended",
        in_first("scheduled", arguments='{"args":["\\ud800"],"kwargs":{}}'),
        "surrogate",
    ),
    "arguments too deep": (
        "suspended",
        in_first("scheduled", **_arguments(f'{{"args":[{DEEP}],"kwargs":{{}}}}')),
        "more than 200 levels",
    ),
    "arguments far too deep": ("suspended", in_first("scheduled", arguments="[" * 30_000), "nested too deeply"),
    "arguments without kwargs": ("suspended", in_first("scheduled", arguments='{"args":[]}'), "lacks the field"),
    "arguments of another shape": (
        "suspended",
        in_first("scheduled", **_arguments('{"args":{},"kwargs":{}}')),
        "a list of args",
    ),
    "a line of another type": ("suspended", in_first("scheduled", line=1.0), "line is no whole number"),
    "a negative line": ("suspended", in_first("scheduled", line=-1), "line is no whole number"),
    "repeated without being wanted": (
        "suspended",
        in_first("repeated", key="task-2"),
        "repeated has the key task-2, which was not asked for",
    ),
    "repeated with other arguments": (
        "suspended",
        lambda answer: answer["repeated"][0].update(encoded(call("task-0", 2))),
        "other arguments for task-0",
    ),
    "repeated twice": ("suspended", in_first("repeated", key="task-3"), "names a key twice"),
    "waiting on a finished task": ("suspended", in_first("waitingOn", key="task-2"), "neither running nor scheduled"),
    "waiting on an unknown task": ("suspended", in_first("waitingOn", key="x"), "neither running nor scheduled"),
    "waiting twice": ("suspended", in_first("waitingOn", key="red-0"), "names a key twice"),
    "needs that are no list": ("suspended", setting(needs={}), "needs is no list of lists"),
    "needs without groups": ("suspended", setting(needs=["task-0"]), "needs is no list of lists"),
    "needs of numbers": ("suspended", setting(needs=[["task-0", 1]]), "a key in needs is no string"),
    "needs of long keys": ("suspended", setting(needs=[["a" * 51]]), "a key in needs has more than 50 characters"),
    "too many needs": (
        "suspended",
        setting(needs=[["a-0"] * MAX_NEEDS, ["b-0"]]),
        "needs has more than 20000 keys",
    ),
    "too many groups": ("suspended", setting(needs=[[]] * (MAX_NEEDS + 1)), "needs has more than 20000 keys"),
    "needs of a decision that ended": ("completed", setting(needs=[["task-0"]]), "needs is given though"),
    "more without a new call": ("suspended", setting(scheduled=[], waitingOn=[]), "more is true"),
    "more of another type": ("suspended", setting(more=1), "more is true"),
    "a log of numbers": ("suspended", setting(log=[1]), "log is no string"),
    "a long log": ("suspended", setting(log=["x" * 1000] * 132), "more than 131072 bytes"),
    "a result of a suspended decision": ("suspended", setting(result="1"), "result is given though"),
    "an error of a suspended decision": ("suspended", setting(error=ERROR), "error is given though"),
    "dropped by a suspended decision": ("suspended", setting(dropped=["red-5"]), "dropped is given though"),
    "load without an error": ("suspended", setting(phase="load"), "the phase is load"),
    "completed without a result": ("completed", setting(result=None), "result is missing"),
    "completed with scheduled": (
        "completed",
        lambda answer: answer.update(scheduled=[encoded(call("red-1"))]),
        "scheduled is given though",
    ),
    "a result that is no JSON": ("completed", setting(result="[1,]"), "result is no JSON"),
    "a result that is no text": ("completed", setting(result=1), "result is no string"),
    "a result too deep": ("completed", setting(result=DEEP), "more than 200 levels"),
    "a dropped key recorded already": ("completed", setting(dropped=["task-0"]), "recorded already"),
    "a dropped key that is no key": ("completed", setting(dropped=["red"]), "malformed key"),
    "too many ignored errors": ("completed", setting(ignoredErrors=[ERROR] * 5), "more than 4"),
    "restarted without arguments": ("restarted", setting(restart=None), "restart is missing"),
    "restart of another shape": ("restarted", setting(restart="[]"), "is no object"),
    "failed without an error": ("failed", setting(error=None), "error is missing"),
    "an error without a type": ("failed", setting(error={"message": "m"}), "lacks the field 'type'"),
    "an unknown field of an error": ("failed", setting(error=ERROR | {"x": 1}), "unknown field 'x'"),
    "a message of another type": ("failed", setting(error=ERROR | {"message": 1}), "message of error is no string"),
    "a long message": ("failed", setting(error=ERROR | {"message": "x" * 70_000}), "more than 65536"),
    "an attempt of another type": ("failed", setting(error=ERROR | {"attempt": True}), "attempt of error"),
    "an exit code out of range": ("failed", setting(error=ERROR | {"exitCode": 1 << 40}), "exitCode of error"),
    "details too deep": ("failed", setting(error=ERROR | {"details": json.loads(DEEP)}), "details of error"),
    "repeated by a stalled decision": (
        "stalled",
        lambda answer: answer.update(repeated=[encoded(call("task-0", 1))]),
        "repeated is given though",
    ),
}


def encoded(answered: AnsweredCall) -> dict[str, Any]:
    raw = encode_answer(Answer(outcome=Outcome.SUSPENDED, scheduled=(answered,)))
    fields: dict[str, Any] = json.loads(raw)["scheduled"][0]
    return fields


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_is_refused(name: str) -> None:
    start, change, message = HOSTILE[name]
    answer = json.loads(encode_answer(ANSWERS[start]))
    change(answer)
    with pytest.raises(MalformedMessage) as refusal:
        parse_answer(json.dumps(answer).encode(), REQUEST, LIMIT_BYTES)
    assert message in str(refusal.value)


def test_a_log_of_many_empty_lines_is_refused_by_their_number() -> None:
    answer = json.loads(encode_answer(ANSWERS["suspended"])) | {"log": [""] * 131_073}
    with pytest.raises(MalformedMessage, match="log has 131073 items, more than 131072"):
        parse_answer(json.dumps(answer).encode(), REQUEST, 1 << 20)


RAW: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "no JSON"),
    "too large": (b" " * (LIMIT_BYTES + 1), "has 200001 bytes, more than 200000"),
    "no UTF-8": (b'{"a":"\xff"}', "no UTF-8 at byte 6"),
    "deep": (b"[" * 90_000, "nested too deeply"),
    "NaN": (b'{"version":NaN}', "NaN is no JSON number"),
    "a long number": (b"1" * 5000, "no JSON"),
    "infinity": (b"[1e999]", "no JSON"),
    "a list": (b"[]", "the answer is no object"),
    "a field twice": (b'{"version":1,"version":1}', "a field stands twice"),
    "rubbish behind": (encode_answer(ANSWERS["stalled"]) + b"{}", "no JSON"),
}


@pytest.mark.parametrize("name", RAW)
def test_hostile_bytes_are_refused(name: str) -> None:
    raw, message = RAW[name]
    with pytest.raises(MalformedMessage) as refusal:
        parse_answer(raw, REQUEST, LIMIT_BYTES)
    assert message in str(refusal.value)


REQUEST_ROWS: dict[str, object] = {
    "no row": 1,
    "a short row": ["task-0", "running"],
    "an unknown state": ["task-0", "lost", None, None, None, None, None, None],
    "a state of another type": ["task-0", [], None, None, None, None, None, None],
    "a value of another type": ["task-0", "completed", None, None, 1, None, 0, 1.0],
}


@pytest.mark.parametrize("name", REQUEST_ROWS)
def test_a_malformed_record_is_refused(name: str) -> None:
    request = json.loads(encode_request(REQUEST)) | {"records": [REQUEST_ROWS[name]]}
    with pytest.raises(MalformedMessage, match="records has a row"):
        parse_request(json.dumps(request).encode())


def test_a_start_that_is_no_number_is_refused() -> None:
    request = json.loads(encode_request(REQUEST)) | {"startedAt": "now"}
    with pytest.raises(MalformedMessage, match="startedAt is no number"):
        parse_request(json.dumps(request).encode())


# -- fuzz: a valid answer, changed anywhere --------------------------------------------------------------------------

_ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 1.5, 1e308, "", "task-0", "red-0", "\ud800", [], {}, [[]], {"a": 1}, 2**80, "[NaN]", DEEP]
)


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(ANSWERS)), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 3), _ODD), max_size=4))
def test_a_changed_answer_is_read_or_refused(name: str, changes: list[tuple[int, int, Any]]) -> None:
    answer: Any = json.loads(encode_answer(ANSWERS[name]))
    for place, kind, shared in changes:
        odd = copy.deepcopy(shared)
        holders = list(_holders(answer))
        holder = holders[place % len(holders)]
        keys: list[Any] = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not keys:
            continue
        key = keys[place % len(keys)]
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[str(odd)[:5]] = odd
        else:
            holder[key] = odd
    _read_or_refuse(json.dumps(answer).encode())


def _holders(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _holders(inner)


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(sorted(ANSWERS)), st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=3)), max_size=5))
def test_changed_bytes_are_read_or_refused(name: str, changes: list[tuple[int, bytes]]) -> None:
    raw = encode_answer(ANSWERS[name])
    for place, piece in changes:
        at = place % (len(raw) + 1)
        raw = raw[:at] + piece + raw[at + len(piece) // 2 :]
    _read_or_refuse(raw)


def _read_or_refuse(raw: bytes) -> None:
    try:
        parsed = parse_answer(raw, REQUEST, LIMIT_BYTES)
    except MalformedMessage:
        return
    assert parse_answer(encode_answer(parsed), REQUEST, LIMIT_BYTES) == parsed


def test_what_a_replay_answers_is_accepted() -> None:
    source = "def f(task, red):\n    def run(a, b):\n        return [task(), task(), task(), task(), red(a, b)]\n    return run"
    request = replace(REQUEST, source=source, records=(), wanted=())
    answer = replay(request)
    assert answer.more
    assert parse_answer(encode_answer(answer), request, LIMIT_BYTES) == answer
