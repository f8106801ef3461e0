"""Code that depends on where things lie in memory is found by a second run; honest code never is."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from flowy.wire.messages import Answer, AnsweredCall, AnsweredWait, Outcome, Phase, Request
from flowy_operator.adapters.decider import proof, shadow
from flowy_operator.adapters.decider.asking import asking
from flowy_operator.adapters.decider.lanes import Lane
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.adapters.decider.pool import DeciderPool
from flowy_operator.core.errors import DecisionStalled, StallReason
from tests.adapters.decider.programs import GOOD, GOOD_KEYS, SMALL, body, completed, failed, request
from tests.builders import call, suspended

in_module_loop = pytest.mark.asyncio(loop_scope="module")


# -- which ------------------------------------------------------------------------------------------------------------


def test_a_request_is_in_the_share_or_not_whenever_it_is_asked() -> None:
    messages = [b"request %d" % n for n in range(20_000)]
    chosen = [message for message in messages if shadow.is_sampled(message, 0.01)]
    assert chosen == [message for message in messages if shadow.is_sampled(message, 0.01)]
    assert 140 <= len(chosen) <= 260
    assert all(shadow.is_sampled(message, 0.02) for message in chosen)
    assert all(shadow.is_sampled(message, 1.0) for message in messages)
    assert not any(shadow.is_sampled(message, 0.0) for message in messages)


# -- what differs -----------------------------------------------------------------------------------------------------

WAITS = suspended(call("a-0", line=3), waiting_on=["a-0"])
DONE = Answer(outcome=Outcome.COMPLETED, result="1")
FAILED = Answer(outcome=Outcome.FAILED, error={"type": "KeyError", "message": "'x'", "line": 3})


def other_call(**fields: object) -> Answer:
    changed: AnsweredCall = replace(WAITS.scheduled[0], **fields)  # type: ignore[arg-type]
    return replace(WAITS, scheduled=[changed])


DIFFERENT = {
    "another end": (WAITS, DONE, "it waited for a task, and then it returned"),
    "other arguments": (WAITS, other_call(digest="1"), "a-0 (line 3) was called with other arguments"),
    "another task": (WAITS, other_call(key="b-0", task="b"), "it called a-0 on line 3, and then b-0 on line 3"),
    "another line": (WAITS, other_call(line=4), "it called a-0 on line 3, and then a-0 on line 4"),
    "a call less": (WAITS, replace(WAITS, scheduled=[]), "it called a-0 on line 3 only once"),
    "a call more": (replace(WAITS, scheduled=[]), WAITS, "it called a-0 on line 3 only once"),
    "other repeated arguments": (
        replace(DONE, repeated=[call("a-0")]),
        replace(DONE, repeated=[call("a-0", arguments="{}")]),
        "other arguments",
    ),
    "another wait": (WAITS, replace(WAITS, waiting_on=[AnsweredWait(key="b-0", line=3)]), "for a-0, and then for b-0"),
    "no wait": (WAITS, replace(WAITS, waiting_on=[]), "for a-0, and then for nothing"),
    "another result": (DONE, replace(DONE, result="2"), "its result was another"),
    "another restart": (
        Answer(outcome=Outcome.RESTARTED, restart="1"),
        Answer(outcome=Outcome.RESTARTED, restart="2"),
        "its arguments of restart was another",
    ),
    "another error": (FAILED, replace(FAILED, error={"type": "E", "message": "'x'", "line": 3}), "its error was"),
    "an error elsewhere": (
        FAILED,
        replace(FAILED, error={"type": "KeyError", "message": "'x'", "line": 4}),
        "its error was",
    ),
    "another phase": (FAILED, replace(FAILED, phase=Phase.LOAD), "its phase"),
    "another call too late": (DONE, replace(DONE, dropped=["a-1"]), "came too late was another"),
    "another ignored error": (DONE, replace(DONE, ignored_errors=[{"type": "E", "message": ""}]), "ignored errors"),
    "more calls": (WAITS, replace(WAITS, more=True), "number of calls"),
}


@pytest.mark.parametrize(("first", "second", "told"), DIFFERENT.values(), ids=DIFFERENT)
def test_a_difference_is_named(first: Answer, second: Answer, told: str) -> None:
    assert told in (shadow.difference(first, second) or "")


SAME = {
    "the same": (WAITS, WAITS),
    "printed text": (replace(WAITS, log=["<X object at 0x7f01>"]), replace(WAITS, log=["<X object at 0x7f02>"])),
    "a message": (FAILED, replace(FAILED, error={"type": "KeyError", "message": "<X at 0x7f02>", "line": 3})),
}


@pytest.mark.parametrize(("first", "second"), SAME.values(), ids=SAME)
def test_what_is_for_people_may_differ(first: Answer, second: Answer) -> None:
    assert shadow.difference(first, second) is None


# -- in two processes -------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pool() -> AsyncIterator[DeciderPool]:
    pool = DeciderPool(shadow_share=1.0)
    await pool.start()
    yield pool
    await pool.close()


async def decide(pool: DeciderPool, asked: Request) -> Answer:
    return await pool.decide(asked, namespace="x", wall_s=20.0)


THING = ("class Thing:", "    def __init__(self, n): self.n = n")
DEPENDENT = {
    "an id": body("return id(object())"),
    "an id of what is always there": body("return id(len)"),
    "the hash of an object": body("return hash(object())"),
    "the text of an object": body("return str(object())"),
    "the text of a function": body("return a(repr(main))"),
    "sets of a few objects": body(
        *THING,
        "sets = [{Thing(n) for n in range(5)} for _ in range(12)]",
        "return [[x.n for x in things] for things in sets]",
    ),
    "a set of many objects": body(*THING, "return [x.n for x in {Thing(n) for n in range(100)}]"),
    "a set of calls": body(*THING, "return [a(x.n) for x in {Thing(n) for n in range(30)}]"),
    "a set of functions": body("fs = [lambda n=n: n for n in range(30)]", "return [f() for f in set(fs)]"),
    "a set of classes": body("return [c.__name__ for c in {type(f'C{n}', (), {}) for n in range(30)}]"),
    "a sort by id": body(*THING, "return [x.n for x in sorted([Thing(n) for n in range(30)], key=id)]"),
    "a branch upon an address": body(
        *THING,
        "things = [Thing(n) for n in range(40)]",
        "return a(sum((id(thing) >> 6 & 1) << thing.n for thing in things))",
    ),
    "the lines of calls": body(
        *THING,
        "for x in {Thing(n) for n in range(30)}:",
        "    if x.n % 2: a(0)",
        "    else: b(0)",
        "return str(a(1))",
    ),
}
"""By so much that no two orders are the same by chance."""

OF_NONE = {
    "the hash of None": body("return hash(None)"),
    "the hash of a pair with None": body("return hash(('a', None))"),
    "a set of pairs with None": body("return [n for n, _ in {(n, None) for n in range(5_000)}]"),
}
"""From Python 3.12 on, that is a constant. Before, None lies elsewhere by a random number of pages: of 20 pairs the low six bits of
the hash decide, which are now and then the same in both."""

if sys.version_info < (3, 12):
    DEPENDENT |= OF_NONE


@in_module_loop
@pytest.mark.parametrize("asked", DEPENDENT.values(), ids=DEPENDENT)
async def test_code_that_depends_on_memory_is_found(pool: DeciderPool, asked: Request) -> None:
    answer = await decide(pool, asked)
    assert answer.outcome is Outcome.STALLED, answer
    assert answer.error is not None
    assert answer.error["type"] == "NonDeterminism"
    assert "run twice from the same history, the code did not do the same: " in str(answer.error["message"])
    assert "sort by something" in str(answer.error["message"])


RECORDS = [completed(f"a-{n}", n, n) for n in range(3)]
HONEST = {
    "nothing recorded": GOOD,
    "some recorded": request(SMALL, 5, records=RECORDS),
    "completed": request(SMALL, 3, records=[*RECORDS, completed("b-0", {"all": [1, 2.5, "ü"]}, 3)]),
    "a task failed": request(SMALL, 3, records=[*RECORDS[:2], failed("a-2", "bad", 2)]),
    "not the recorded calls": request(SMALL, 1, records=RECORDS),
    "the code fails": body("return {}['missing']"),
    "it fails with an address": body("raise ValueError(f'no {object()}')"),
    "a value that can't travel": body("return a(object())"),
    "a syntax error": request("def main(:"),
    "printed addresses": body("print(object(), id(a))", "return a(1)"),
    "sets of texts and numbers": body("return [list({str(n) for n in range(99)}), list({n * 7.5 for n in range(99)})]"),
    "clocks and randomness": body(
        "import random, time, uuid", "return [random.random(), time.time(), str(uuid.uuid4())]"
    ),
    "objects in lists and dicts": body(*THING, "return [x.n for x in {Thing(n): n for n in range(50)}]"),
    "a set of objects that is sorted": body(
        *THING, "return [x.n for x in sorted({Thing(n) for n in range(50)}, key=lambda x: x.n)]"
    ),
    "an id that decides nothing": body("seen = {id(a): 1}", "return a(seen[id(a)])"),
    "enums, dataclasses, decimals": body(
        "import dataclasses, decimal, enum",
        "Color = enum.Enum('Color', 'RED GREEN BLUE')",
        "@dataclasses.dataclass(frozen=True)",
        "class Part: name: str; size: int",
        "parts = {Part(str(n), n) for n in range(40)}",
        "return [[c.name for c in {*Color}], [p.size for p in parts], str(sum({decimal.Decimal(n) / 7 for n in range(9)}))]",
    ),
    "much memory": body("kept = [list(range(1000)) for _ in range(1000)]", "return len(kept)"),
    "deep recursion": body("def deep(n): return n and deep(n - 1)", "return deep(900)"),
}
if sys.version_info >= (3, 12):
    HONEST |= OF_NONE


@in_module_loop
@pytest.mark.parametrize("asked", HONEST.values(), ids=HONEST)
async def test_honest_code_is_left_alone(pool: DeciderPool, asked: Request) -> None:
    answer = await decide(pool, asked)
    assert "run twice" not in str(answer.error)
    assert answer.outcome is not Outcome.STALLED or asked is HONEST["not the recorded calls"]


@in_module_loop
async def test_the_second_zygote_is_as_locked_as_the_first(pool: DeciderPool) -> None:
    await decide(pool, GOOD)
    assert pool.shadow_pid not in {None, pool.zygote_pid}
    assert proof.is_filtered(pool.shadow_pid or 1) is True


@in_module_loop
async def test_a_second_zygote_that_is_killed_is_replaced(pool: DeciderPool) -> None:
    await decide(pool, GOOD)
    before = pool.shadow_pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    assert [c.key for c in (await decide(pool, GOOD)).scheduled] == GOOD_KEYS
    assert pool.shadow_pid not in {before, None}


@in_module_loop
async def test_the_end_of_the_first_decision_is_the_end(pool: DeciderPool) -> None:
    with pytest.raises(DecisionStalled) as stalled:
        await decide(pool, body("os._exit(3)"))
    assert stalled.value.reason is StallReason.CRASHED


@in_module_loop
async def test_a_second_decision_that_is_slow_does_not_make_the_run_a_slow_one(pool: DeciderPool) -> None:
    asked = asking(request("def main(a, b, c):\n    while True: pass", seed="slow/1"), "x", 20.0, Limits(cpu_s=0.1))
    assert await pool._repeat(asked) is None
    assert pool._lanes.of("slow/1") is Lane.NEW
    with pytest.raises(DecisionStalled):
        await pool._decide(asked, pool._first, lambda _end, _seconds: None)
    assert pool._lanes.of("slow/1") is Lane.SLOW  # as the first one would have
