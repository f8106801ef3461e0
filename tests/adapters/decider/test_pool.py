"""A request in, the right answer out, by processes of their own."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from flowy.replay.replayer import replay
from flowy.wire.messages import Answer, Outcome, Phase, Request, encode_answer, parse_answer
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.adapters.decider.pool import DeciderPool
from flowy_operator.adapters.decider.preload import AVAILABLE
from flowy_operator.core.errors import DecisionStalled, StallReason
from tests.adapters.decider.programs import GOOD, GOOD_KEYS, SMALL, body, completed, failed, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

WALL_S = 20.0  # only guards against hanging


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pool() -> AsyncIterator[DeciderPool]:
    pool = DeciderPool(Limits(source_bytes=2000, request_bytes=20_000))
    await pool.start()
    yield pool
    await pool.close()


async def decide(pool: DeciderPool, asked: Request) -> Answer:
    return await pool.decide(asked, namespace="default", wall_s=WALL_S)


async def test_a_decision_is_answered(pool: DeciderPool) -> None:
    answer = await decide(pool, GOOD)
    assert answer.outcome is Outcome.SUSPENDED
    assert [call.key for call in answer.scheduled] == GOOD_KEYS


RECORDS = [completed(f"a-{n}", n, n) for n in range(3)]

PROGRAMS = {
    "nothing recorded": GOOD,
    "some recorded": request(SMALL, 5, records=RECORDS),
    "all but the last": request(SMALL, 3, records=RECORDS),
    "completed": request(SMALL, 3, records=[*RECORDS, completed("b-0", {"all": [1, 2.5, "ü"]}, 3)]),
    "a task failed": request(SMALL, 3, records=[*RECORDS[:2], failed("a-2", "bad", 2)]),
    "not the recorded calls": request(SMALL, 1, records=RECORDS),
    "the code fails": body("return {}['missing']"),
    "a syntax error": request("def main(:"),
    "no entrypoint": request("x = 1"),
    "a value that can't travel": body("return a(object())"),
    "printed text": body("print('one', 2)", "return a(1)"),
    "no tasks at all": body("return [1, None, 'x']"),
}


@pytest.mark.parametrize("asked", PROGRAMS.values(), ids=PROGRAMS)
async def test_an_answer_is_that_of_a_replay_in_this_process(pool: DeciderPool, asked: Request) -> None:
    here = parse_answer(encode_answer(replay(asked)), asked, 1 << 20)
    there = await decide(pool, asked)
    if asked is PROGRAMS["printed text"]:  # captured only there
        assert list(there.log) == ["one 2"]
        return
    assert there == here


BARRIERS = {
    "finally": ("try:", "    str(a(1))", "finally:", "    b(2)"),
    "a bare except": ("try:", "    str(a(1))", "except:", "    b(2)"),
    "except BaseException": ("try:", "    str(a(1))", "except BaseException:", "    return b(2)"),
    "a context manager that swallows": (
        "class Swallow:",
        "    def __enter__(self): pass",
        "    def __exit__(self, *_): b(2); return True",
        "with Swallow():",
        "    str(a(1))",
    ),
    "a destructor": ("class Late:", "    def __del__(self): b(2)", "late = Late()", "str(a(1))"),
    "a generator's finally": (
        "def walk():",
        "    try:",
        "        yield str(a(1))",
        "    finally:",
        "        b(2)",
        "list(walk())",
    ),
    "a thread of control that goes on": ("for _ in range(3):", "    try: str(a(1))", "    except BaseException: b(2)"),
}


@pytest.mark.parametrize("lines", BARRIERS.values(), ids=BARRIERS)
async def test_nothing_runs_behind_a_barrier(pool: DeciderPool, lines: tuple[str, ...]) -> None:
    answer = await decide(pool, body(*lines))
    assert answer.outcome is Outcome.SUSPENDED
    assert [call.key for call in answer.scheduled] == ["a-0"]
    assert not answer.log  # in this process a replay would have to warn of some of these


async def test_recursion_without_end_is_a_failure_of_the_code(pool: DeciderPool) -> None:
    answer = await decide(pool, body("def deep(): return deep()", "deep()"))
    assert answer.outcome is Outcome.FAILED
    assert answer.error is not None
    assert answer.error["type"] == "RecursionError"


async def test_a_barrier_at_the_last_frame_of_a_recursion_suspends(pool: DeciderPool) -> None:
    """However little of the stack is left, the answer is whole: it is suspended, or the code's own RecursionError."""
    for room in range(1, 40):
        answer = await decide(
            pool,
            body(
                "result = a(1)",
                "def depth():",
                "    frame, n = sys._getframe(), 0",
                "    while frame: frame, n = frame.f_back, n + 1",
                "    return n",
                "def down(n): return down(n - 1) if n else str(result)",
                f"down(1000 - depth() - {room})",
            ),
        )
        assert answer.outcome in (Outcome.SUSPENDED, Outcome.FAILED)
        if answer.outcome is Outcome.FAILED:
            assert answer.error is not None
            assert answer.error["type"] == "RecursionError"
            assert room < 30


async def test_one_decision_leaves_nothing_for_the_next(pool: DeciderPool) -> None:
    leave_mark = body("import math", "math.pi = 3", "os.environ['MARK'] = 'secret'", "sys.setrecursionlimit(300)")
    assert (await decide(pool, leave_mark)).outcome is Outcome.COMPLETED
    found = await decide(pool, body("import math", "return [math.pi, dict(os.environ), sys.getrecursionlimit()]"))
    assert found.result is not None
    assert found.result.replace(" ", "") == "[3.141592653589793,{},1000]"


async def test_the_process_holds_nothing_of_the_operator(pool: DeciderPool) -> None:
    answer = await decide(pool, body("return [sorted(sys.modules), sys.path, sys.argv, sys.flags.hash_randomization]"))
    assert answer.result is not None
    assert '[],[""],0]' in answer.result.replace(" ", "")
    for heavy in ("kopf", "aiohttp", "asyncio", "kubernetes", "pydantic", "yaml", "site", "flowy_operator.core"):
        assert f'"{heavy}"' not in answer.result


async def test_clock_and_randomness_depend_on_the_request_alone(pool: DeciderPool) -> None:
    source = """
import datetime, random, time, uuid, os
def main(a, b, c):
    def run():
        return [time.time(), str(datetime.datetime.now()), random.random(), str(uuid.uuid4()), os.urandom(4).hex(),
                random.Random().random(), list({"x", "y", "z", "w"})]
    return run
"""
    another = DeciderPool()
    await another.start()
    try:
        first = await decide(pool, request(source))
        assert first.outcome is Outcome.COMPLETED, first.error
        assert await decide(another, request(source)) == first
        assert (await decide(pool, request(source, seed="uid-2/0"))).result != first.result
    finally:
        await another.close()


REFUSED = {
    "a third-party module": "import requests",
    "a module that reaches out": "import socket",
    "threads": "import threading",
    "files": "open('/etc/passwd')",
    "a question": "input()",
    "a pause": "import time; time.sleep(1)",
}


@pytest.mark.parametrize("line", REFUSED.values(), ids=REFUSED)
async def test_what_workflow_code_can_not_have_is_refused_in_words(pool: DeciderPool, line: str) -> None:
    answer = await decide(pool, body(line))
    assert answer.outcome is Outcome.FAILED
    assert answer.error is not None
    assert "not available to workflow code" in str(answer.error["message"])
    assert answer.phase is Phase.RUN


async def test_every_module_that_is_said_to_be_available_is(pool: DeciderPool) -> None:
    lines = [f"import {name}" for name in AVAILABLE if name != "__future__"]
    answer = await decide(
        pool,
        body(
            *lines,
            "datetime.datetime.strptime('2026-01-02', '%Y-%m-%d')",
            "'ü'.encode('idna')",
            "return hashlib.sha256(b'').hexdigest()[:4]",
        ),
    )
    assert answer.result == '"e3b0"', answer.error


async def test_a_source_above_its_limit_is_refused_unread(pool: DeciderPool) -> None:
    with pytest.raises(DecisionStalled, match="source has") as stalled:
        await decide(pool, request(SMALL + "#" * 2000))
    assert stalled.value.reason is StallReason.TOO_LARGE


async def test_a_request_above_its_limit_is_refused_unsent(pool: DeciderPool) -> None:
    with pytest.raises(DecisionStalled, match="request has") as stalled:
        await decide(pool, request(SMALL, 1, records=[completed("a-0", "x" * 20_000, 0)]))
    assert stalled.value.reason is StallReason.TOO_LARGE


async def test_an_answer_of_nearly_the_limit_arrives_whole(pool: DeciderPool) -> None:
    answer = await decide(pool, body("return 'x' * 1_000_000"))
    assert answer.result is not None
    assert len(answer.result) == 1_000_002


@pytest.mark.parametrize("empty", ["bytearray()", "[]"])
async def test_what_grows_can_have_nearly_half_of_the_memory(pool: DeciderPool, empty: str) -> None:
    """It is copied when it does, so old and new have to fit. A list has eight bytes for each place."""
    lines = f"kept = {empty}", "while sys.getsizeof(kept) < 56 << 20: kept += bytes(1 << 16)", "return 'ok'"
    assert (await pool.decide(body(*lines), namespace="x", wall_s=WALL_S)).result == '"ok"'


async def test_time_zones_need_no_file(pool: DeciderPool) -> None:
    answer = await decide(
        pool,
        body(
            "import datetime, zoneinfo",
            "noon = datetime.datetime(2026, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo('America/New_York'))",
            "try: zoneinfo.ZoneInfo('No/Where')",
            "except zoneinfo.ZoneInfoNotFoundError: return noon.astimezone(datetime.UTC).isoformat()",
        ),
    )
    assert answer.result == '"2026-07-01T16:00:00+00:00"', answer.error
