"""Whatever a child writes, the operator is left with an answer within bounds, or with its own error.

A stream goes the whole way: pieces off the socket, framing, parsing, and what an answer means for a workflow. `corpus/`
keeps the streams that were worth keeping: each is run again each time, and new ones are made by changing them. A stream
that once broke something is added there.
"""

import asyncio
import copy
import json
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowy.wire import values
from flowy.wire.messages import MAX_LOG_BYTES, Answer, AnsweredCall, AnsweredWait, Outcome, Phase, encode_answer
from flowy_operator.adapters.decider import verdict
from flowy_operator.adapters.decider.exchange import Exchange
from flowy_operator.adapters.decider.frames import LENGTH, Allowance, Ending
from flowy_operator.core.decision import conclude
from flowy_operator.core.errors import DecisionStalled, StallReason
from flowy_operator.core.observe import Launching
from flowy_operator.core.request import decision_request
from flowy_operator.core.status import Standing, status_fields
from tests.builders import START, at, completed, failed, scheduled, state_of, task_spec, view, workflow_spec

KEPT_SHAPE = {
    "version", "outcome", "scheduled", "repeated", "more", "waitingOn", "result", "restart", "error", "phase", "dropped",
    "ignoredErrors", "log",
}  # fmt: skip
"""The fields of an answer when the corpus was begun. Its streams are given those that have come since, as `brought_up` does."""


def brought_up(stream: bytes) -> bytes:
    """A kept stream as it would be written today. Else each new field would make all of them the same: one that lacks it."""
    size = int.from_bytes(stream[: LENGTH.size])
    body, behind = stream[LENGTH.size : LENGTH.size + size], stream[LENGTH.size + size :]
    if len(body) < size or not body.startswith(b"{"):
        return stream
    came_since = json.loads(encode_answer(Answer(outcome=Outcome.SUSPENDED)))
    news = {name: value for name, value in came_since.items() if name not in KEPT_SHAPE}
    front = json.dumps(news)[:-1] + "," if news else "{"
    body = front.encode() + body[1:]
    return LENGTH.pack(len(body)) + body + behind


def framed(body: bytes) -> bytes:
    return LENGTH.pack(len(body)) + body + ENDING


SPEC = workflow_spec(task_spec(), task_spec("red"), entrypoint="f")
STATE = state_of(scheduled(), 1, scheduled("task-1"), scheduled("red-0"), 2, failed("task-1"), 3, completed("red-0"))
REQUEST = replace(decision_request(SPEC, STATE, ["task-0"]), max_calls=3)
ALLOWANCE = Allowance(wall_ms=2000, cpu_ms=1000, memory_bytes=1 << 27, answer_bytes=20_000, request_bytes=1)
ENDING = Ending(status=0, cpu_ms=3, peak_kib=30_000).encode()

CORPUS = {path.stem: brought_up(path.read_bytes()) for path in sorted((Path(__file__).parent / "corpus").iterdir())}

fuzzed = settings(deadline=None, suppress_health_check=list(HealthCheck))


# -- the way of a stream ----------------------------------------------------------------------------------------------


class Pipe(asyncio.Transport):
    """The operator's end of a connection, of which only the abort matters."""

    def __init__(self) -> None:
        super().__init__()
        self.is_aborted = False

    def write(self, data: Any) -> None:
        pass

    def abort(self) -> None:
        self.is_aborted = True


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def hear(runner: asyncio.Runner, stream: bytes, cuts: Sequence[int] = ()) -> Answer | DecisionStalled:
    """What the operator makes of a stream that arrives in pieces, cut at these places."""

    async def listen() -> Answer:
        exchange = Exchange(lambda verb, most_bytes: True)
        pipe = Pipe()
        exchange.connection_made(pipe)
        exchange.ask(b"", ALLOWANCE.answer_bytes, 60.0)
        places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
        for start, end in pairwise(places):
            if not pipe.is_aborted:
                exchange.data_received(stream[start:end])
        exchange.connection_lost(None)
        assert exchange.closed.done()
        return verdict.judge(exchange.finding.result(), REQUEST, ALLOWANCE)

    try:
        told: Answer | DecisionStalled = runner.run(listen())
    except DecisionStalled as stalled:
        told = stalled
    if isinstance(told, Answer):
        check_bounds(told)
    else:
        assert 0 < len(str(told).encode()) < 1000  # it goes into the status
    return told


def check_bounds(answer: Answer) -> None:
    """What is believed of an answer, and that the rest of the operator can live with it."""
    assert len(answer.scheduled) <= REQUEST.max_calls
    assert len(answer.dropped) <= REQUEST.max_calls
    recorded = {record.key for record in REQUEST.records}
    for call in answer.scheduled:
        assert call.task in REQUEST.tasks
        assert call.key not in recorded
    for call in (*answer.scheduled, *answer.repeated):
        arguments = json.loads(call.arguments)
        assert call.digest == values.digest(arguments["args"], arguments["kwargs"])
    assert {call.key for call in answer.repeated} <= set(REQUEST.wanted)
    assert sum(len(line.encode()) + 1 for line in answer.log) <= 2 * MAX_LOG_BYTES
    end = conclude(SPEC, STATE, answer, at(9), Launching.ALLOWED)
    standing = Standing(
        generation=1, started_at=START, end=end.end, stall=end.stall, waiting_on=end.waiting_on, tasks=SPEC.tasks
    )
    json.dumps(status_fields({}, STATE, standing, view(), at(9)), ensure_ascii=False, allow_nan=False).encode()


# -- the kept ones ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CORPUS)
def test_a_kept_stream(runner: asyncio.Runner, name: str) -> None:
    """The file's name begins with what becomes of it."""
    expected, _, _ = name.partition("-")
    for cuts in ((), (4,), range(len(CORPUS[name])) if len(CORPUS[name]) < 2000 else (1, 5, 1000)):
        told = hear(runner, CORPUS[name], cuts)
        assert (told.outcome if isinstance(told, Answer) else told.reason.lower()) == expected


def test_every_end_is_among_the_kept_ones() -> None:
    begins = {name.partition("-")[0] for name in CORPUS}
    assert begins == set(Outcome) | {reason.lower() for reason in StallReason}


# -- good answers, and what can be made of them -----------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
LINE = st.none() | st.integers(0, 10_000_000)
CALL_ARGUMENTS = st.tuples(st.lists(PLAIN, max_size=3), st.dictionaries(TEXT, PLAIN, max_size=2))


@st.composite
def calls(draw: st.DrawFn, keys: Sequence[str]) -> tuple[AnsweredCall, ...]:
    chosen = draw(st.lists(st.sampled_from(keys), unique=True, max_size=3))
    made = []
    for key in chosen:
        args, kwargs = draw(CALL_ARGUMENTS)
        made.append(
            AnsweredCall(
                key=key,
                task=key.rpartition("-")[0],
                arguments=values.encode_plain({"args": args, "kwargs": kwargs}),
                digest=values.digest(args, kwargs),
                line=draw(LINE),
            )
        )
    return tuple(made)


ERRORS = st.fixed_dictionaries(
    {"type": TEXT, "message": TEXT},
    optional={
        "task": TEXT,
        "attempt": st.integers(0, 9),
        "exitCode": st.integers(-(1 << 31), 1 << 32),
        "line": LINE,
        "details": PLAIN,
        "traceback": TEXT,
    },
)


@st.composite
def good_answers(draw: st.DrawFn) -> Answer:
    outcome = draw(st.sampled_from(Outcome))
    common: dict[str, Any] = {"outcome": outcome, "log": draw(st.lists(TEXT, max_size=2))}
    if outcome is Outcome.SUSPENDED:
        scheduled_calls = draw(calls(["task-2", "red-1", "task-9"]))
        waits = ["task-0", *(call.key for call in scheduled_calls)]
        keys = draw(st.lists(st.sampled_from(waits), unique=True, max_size=3))
        common |= {
            "scheduled": scheduled_calls,
            "more": bool(scheduled_calls) and draw(st.booleans()),
            "waiting_on": tuple(AnsweredWait(key=key, line=draw(LINE)) for key in keys),
        }
    elif outcome is not Outcome.STALLED:
        common |= {
            "dropped": draw(st.lists(st.sampled_from(["task-7", "red-7"]), unique=True)),
            "ignored_errors": draw(st.lists(ERRORS, max_size=2)),
        }
    if outcome is Outcome.COMPLETED:
        common["result"] = values.encode_plain(draw(PLAIN))
    elif outcome is Outcome.RESTARTED:
        args, kwargs = draw(CALL_ARGUMENTS)
        common["restart"] = values.encode_plain({"args": args, "kwargs": kwargs})
    elif outcome is not Outcome.SUSPENDED:
        common["error"] = draw(ERRORS)
        common["phase"] = draw(st.sampled_from(Phase))
    return Answer(**common)


ODD: st.SearchStrategy[Any] = PLAIN | st.sampled_from(
    [1e308, 2**80, -(2**63), "\ud800", "\x00", "task-0", "task-1", "red-99999999999999999999", "task--1", "[" * 900,
     [[]], {"": {}}, "suspended", "load", "x" * 9000, '{"args":[],"kwargs":{}}', '{"args":[NaN],"kwargs":{}}']
)  # fmt: skip
DEEDS = ["replace", "remove", "add", "double", "swap"]
CHANGES = st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(0, 99), st.integers(0, 99), ODD), max_size=4)


def changed(message: Any, changes: Sequence[tuple[str, int, int, Any]]) -> Any:
    """Change a decoded message at any place and depth, so that most of it stays what it should be."""
    for deed, place, key_place, shared in changes:
        odd = copy.deepcopy(shared)
        holders = list(holders_of(message))
        holder = holders[place % len(holders)]
        keys: list[Any] = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if deed == "add":
            if isinstance(holder, dict):
                holder[str(odd)[:9]] = odd
            else:
                holder.insert(key_place % (len(holder) + 1), odd)
        elif keys:
            key = keys[key_place % len(keys)]
            if deed == "remove":
                del holder[key]
            elif deed == "double" and isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
            elif deed == "swap":
                other = keys[(key_place // 2) % len(keys)]
                holder[key], holder[other] = holder[other], holder[key]
            else:
                holder[key] = odd
    return message


def holders_of(value: Any) -> Iterator[Any]:
    if isinstance(value, (dict, list)):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from holders_of(inner)


CUTS = st.lists(st.integers(0, 1 << 16), max_size=5)
PATCHES = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 6), st.binary(max_size=6)), min_size=1, max_size=5)


def patched(stream: bytes, patches: Sequence[tuple[int, int, bytes]]) -> bytes:
    for place, gone, piece in patches:
        at_byte = place % (len(stream) + 1)
        stream = stream[:at_byte] + piece + stream[at_byte + gone :]
    return stream


@settings(fuzzed, max_examples=120)
@given(good=good_answers(), cuts=CUTS)
def test_a_good_answer_arrives_as_it_was_sent(runner: asyncio.Runner, good: Answer, cuts: Sequence[int]) -> None:
    told = hear(runner, framed(encode_answer(good)), cuts)
    assert isinstance(told, Answer), told
    assert encode_answer(told) == encode_answer(good)


@settings(fuzzed, max_examples=250)
@given(good=good_answers(), changes=CHANGES, cuts=CUTS)
def test_a_good_answer_changed_in_its_structure(
    runner: asyncio.Runner, good: Answer, changes: Sequence[tuple[str, int, int, Any]], cuts: Sequence[int]
) -> None:
    message = changed(json.loads(encode_answer(good)), changes)
    hear(runner, framed(json.dumps(message).encode()), cuts)


@settings(fuzzed, max_examples=250)
@given(stream=st.sampled_from(sorted(CORPUS.values())), patches=PATCHES, cuts=CUTS)
def test_a_kept_stream_changed_in_its_bytes(
    runner: asyncio.Runner, stream: bytes, patches: Sequence[tuple[int, int, bytes]], cuts: Sequence[int]
) -> None:
    hear(runner, patched(stream, patches), cuts)


@settings(fuzzed, max_examples=120)
@given(good=good_answers(), patches=PATCHES, cuts=CUTS)
def test_an_answer_changed_within_its_frame(
    runner: asyncio.Runner, good: Answer, patches: Sequence[tuple[int, int, bytes]], cuts: Sequence[int]
) -> None:
    hear(runner, framed(patched(encode_answer(good), patches)), cuts)


@settings(fuzzed, max_examples=120)
@given(body=st.binary(max_size=300), size=st.none() | st.integers(0, 2**32 - 1), end=st.binary(max_size=40), cuts=CUTS)
def test_bytes_without_any_sense(
    runner: asyncio.Runner, body: bytes, size: int | None, end: bytes, cuts: Sequence[int]
) -> None:
    hear(runner, LENGTH.pack(len(body) if size is None else size) + body + end, cuts)
    hear(runner, body, cuts)


# -- bounds -----------------------------------------------------------------------------------------------------------

FULL = ALLOWANCE.answer_bytes
SWOLLEN = {
    "empty lists": b"[" + b"[]," * (FULL // 3 - 1) + b"0]",
    "empty objects": b"[" + b"{}," * (FULL // 3 - 1) + b"0]",
    "fields": b"{" + b",".join(b'"%d":0' % n for n in range(FULL // 9)) + b"}",
    "numbers": b"[" + b"1e9," * (FULL // 4 - 1) + b"0]",
    "one deep list": b"[" * (FULL // 2) + b"]" * (FULL // 2),
    "one long number": b"9" * FULL,
    "one text of escapes": b'"' + rb"\u00e9" * (FULL // 6 - 1) + b'"',
    "one text of astral characters": '"{}"'.format("\U0001f600" * (FULL // 4 - 1)).encode(),
}


@pytest.mark.parametrize("body", SWOLLEN.values(), ids=SWOLLEN)
def test_an_answer_takes_memory_in_proportion_to_its_limit(runner: asyncio.Runner, body: bytes) -> None:
    hear(runner, framed(body))  # what is loaded late is loaded now
    tracemalloc.start()
    try:
        hear(runner, framed(body))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 64 * FULL


def test_a_stream_without_end_is_not_kept(runner: asyncio.Runner) -> None:
    stream = b"\xff" * 2_000_000
    tracemalloc.start()
    try:
        told = hear(runner, stream, range(0, len(stream), 60_000))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(told, DecisionStalled)
    assert peak_bytes < len(stream) / 4
