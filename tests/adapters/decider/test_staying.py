"""Children that stay for the next decision: they save a replay, change nothing, and harm nobody."""

import asyncio
import contextlib
import gc
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import pytest_asyncio

from flowy.wire.messages import (
    Answer,
    AnsweredCall,
    AnsweredWait,
    Outcome,
    Record,
    RecordState,
    Request,
    encode_answer,
)
from flowy.wire.values import digest
from flowy_operator.adapters.decider import bounds, proof
from flowy_operator.adapters.decider.exchange import Exchange, Lost
from flowy_operator.adapters.decider.frames import LENGTH, STAYS
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.adapters.decider.pool import DeciderPool
from flowy_operator.adapters.decider.spawn import ZygoteProcess
from flowy_operator.adapters.decider.staying import Fate
from flowy_operator.adapters.decider.verdict import End
from flowy_operator.core.errors import DecisionStalled, StallReason
from tests.adapters.decider.processes import children_of, cpu_ticks, is_running, is_stopped, peak_kib, until
from tests.adapters.decider.programs import GOOD, GOOD_KEYS, NATIVE, body, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

WALL_S = 20.0
MOST = 4
LIMITS = Limits(
    children_ready=0,
    staying_children=MOST,
    staying_records=0,
    new_children=8,
    new_children_per_namespace=8,
    brief_wall_s=WALL_S,
)

CHAIN = """
def main(a, b, c):
    def run(n):
        found = []
        for i in range(n):
            print("at", i)
            found.append(int(a(i)))
        return found
    return run
"""


def filters_of(pid: int) -> tuple[str, str]:
    """The kernel's word for a filter of system calls, and how many there are."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return status["Seccomp"].strip(), status["Seccomp_filters"].strip()


def descriptors_of(pid: int) -> list[str]:
    return [path.name for path in Path(f"/proc/{pid}/fd").iterdir()]


@dataclass
class Watched:
    """A pool, how its children ended, and what became of those that stayed."""

    pool: DeciderPool
    fates: Counter[Fate] = field(default_factory=Counter)
    ends: Counter[End] = field(default_factory=Counter)

    @property
    def zygote(self) -> int:
        assert self.pool.zygote_pid is not None
        return self.pool.zygote_pid

    def children(self) -> list[int]:
        return [pid for pid in children_of(self.zygote) if is_running(pid)]

    async def decide(self, asked: Request, namespace: str = "x", wall_s: float = WALL_S) -> Answer:
        """A decision as the operator asks for it."""
        return await self.pool.decide(asked, namespace=namespace, wall_s=wall_s)

    async def stays(self, asked: Request, namespace: str = "x") -> int:
        """Decide, and give the child that stayed, asleep at its barrier."""
        before = set(self.children())
        answer = await self.decide(asked, namespace)
        assert answer.outcome is Outcome.SUSPENDED, answer.error
        await until(lambda: len(set(self.children()) - before) == 1)
        (pid,) = set(self.children()) - before
        return pid


async def watched(limits: Limits, shadow_share: float = 0.0, *, lets_stay: bool = True) -> Watched:
    told: Watched
    pool = DeciderPool(
        limits,
        shadow_share=shadow_share,
        ended=lambda end, _: told.ends.update([end]),
        stayed=lambda fate: told.fates.update([fate]),
    )
    told = Watched(pool)
    await pool.start()
    if lets_stay:
        await until(pool.lets_stay)
    await until(lambda: not told.children())  # those of the self-test
    return told


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared() -> AsyncIterator[Watched]:
    told = await watched(LIMITS)
    yield told
    await told.pool.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def brief() -> AsyncIterator[Watched]:
    """Of little time, and little room: one child stays."""
    told = await watched(replace(LIMITS, cpu_s=0.3, brief_cpu_s=0.05, brief_wall_s=0.2, staying_children=1))
    yield told
    await told.pool.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def roomy() -> AsyncIterator[Watched]:
    """Of time and room for whatever a child does before it is stopped."""
    told = await watched(
        replace(LIMITS, cpu_s=10.0, brief_cpu_s=10.0, memory_bytes=1 << 30, staying_memory_bytes=256 << 20)
    )
    yield told
    await told.pool.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def replays() -> AsyncIterator[DeciderPool]:
    """In which no child stays."""
    pool = DeciderPool(replace(LIMITS, staying_children=0))
    await pool.start()
    yield pool
    await pool.close()


@pytest_asyncio.fixture(loop_scope="module")
async def pool(shared: Watched) -> Watched:
    """Without any children, and with nothing told."""
    shared.pool.forget()
    await until(shared.pool.lets_stay)  # anew, if the one before ended the zygote
    await until(lambda: not shared.children())
    shared.fates.clear()
    shared.ends.clear()
    return shared


def going_on(asked: Request, answer: Answer, value: Callable[[int], object] = lambda n: n) -> Request:
    """The request after this answer, all of whose calls have completed."""
    first = len(asked.records)
    done = [
        Record(
            call.key,
            RecordState.COMPLETED,
            call.digest,
            call.line,
            json.dumps(value(first + n)),
            None,
            first + n,
            1.7e9 + first + n,
        )
        for n, call in enumerate(answer.scheduled)
    ]
    return replace(asked, records=(*asked.records, *done))


async def run_all(pool: Watched | DeciderPool, asked: Request) -> Sequence[Answer]:
    """All decisions of a run whose tasks complete at once."""
    answers = []
    while True:
        answer = await pool.decide(asked, namespace="x", wall_s=WALL_S)
        answers.append(answer)
        if answer.outcome is not Outcome.SUSPENDED:
            return answers
        asked = going_on(asked, answer)


async def is_good(pool: Watched) -> bool:
    answer = await pool.decide(GOOD, "good")
    return [call.key for call in answer.scheduled] == GOOD_KEYS


# -- what it is for --------------------------------------------------------------------------------------------------


async def test_a_chain_is_decided_by_one_child_and_says_what_replays_say(pool: Watched, replays: DeciderPool) -> None:
    asked = request(CHAIN, 20)
    pid = await pool.stays(asked)
    answers = await run_all(pool, asked)  # the first of which is asked a second time, without anything new
    assert pool.fates == {Fate.WENT_ON: 21}
    await until(lambda: not is_running(pid))
    assert json.loads(answers[-1].result or "") == list(range(20))
    assert answers == await run_all(replays, asked)


async def test_the_end_of_a_single_task_is_a_step(pool: Watched) -> None:
    answers = await run_all(pool, body("return a(1)"))
    assert (answers[-1].outcome, answers[-1].result) == (Outcome.COMPLETED, "0")
    assert pool.fates == {Fate.WENT_ON: 1}
    await until(lambda: not pool.children())


async def test_what_it_used_up_is_replayed(brief: Watched) -> None:
    """It has the CPU of one decision for all of its steps; then the kernel ends it, and another one goes on."""
    busy = CHAIN.replace('print("at", i)', "sum(range(8_000))")  # a fast machine wouldn't use it up by steps alone
    answers = await run_all(brief, request(busy, 400))
    assert json.loads(answers[-1].result or "") == list(range(400))
    await until(lambda: not brief.children())
    assert brief.fates[Fate.ENDED] > 0
    assert brief.fates[Fate.WENT_ON] > 0
    assert brief.ends.keys() <= {End.ANSWERED, End.PUT_BACK}


async def test_what_a_step_can_not_take_in_is_replayed(pool: Watched) -> None:
    asked = body("try: int(a(1))", "except Exception as error: return str(error)")
    answer = await pool.decide(asked)
    (call,) = answer.scheduled
    error = {"type": "ValueError", "message": "no"}
    done = Record(call.key, RecordState.FAILED, call.digest, call.line, None, error, 0, 1.7e9)
    answer = await pool.decide(replace(asked, records=(done,)))
    assert (answer.outcome, answer.result) == (Outcome.COMPLETED, '"no"')
    assert pool.fates == {Fate.GAVE_UP: 1}
    await until(lambda: not pool.children())


@pytest.mark.parametrize(("size", "fates"), [(3 << 20, {Fate.GAVE_UP: 1}), (200_000, {Fate.WENT_ON: 1})])
async def test_a_step_that_is_too_long_is_replayed(pool: Watched, size: int, fates: dict[Fate, int]) -> None:
    """A request has a limit; what no replay could be asked for must not be decided by a step either."""
    asked = body("return len(str(a(1)))")
    answer = await pool.decide(going_on(asked, await pool.decide(asked), lambda _: "x" * size))
    assert answer.result == str(size)
    assert pool.fates == fates


async def test_nothing_is_kept_of_the_steps_before(pool: Watched) -> None:
    """Each holds a list as long as the history, so together they would be as much as the square of that."""
    asked = request(CHAIN, 20, seed="uid-long/0")
    for _ in range(9):
        asked = going_on(asked, await pool.decide(asked))
    assert pool.fates == {Fate.WENT_ON: 8}
    kept = [
        made for made in gc.get_objects() if type(made) is Request and made.seed == asked.seed and made is not asked
    ]
    assert [len(made.records) for made in kept] == [8]


OUTDATED: dict[str, Callable[[Request], Request]] = {
    "other code": lambda asked: replace(asked, source=asked.source + "\n"),
    "another input": lambda asked: replace(asked, input='{"args": [6], "kwargs": {}}'),
    "a shorter history": lambda asked: replace(asked, records=()),
    "another past": lambda asked: replace(asked, records=(asked.records[0]._replace(value="7"), *asked.records[1:])),
    "arguments wanted": lambda asked: replace(asked, wanted=("a-1",)),
}


@pytest.mark.parametrize("change", OUTDATED.values(), ids=OUTDATED)
async def test_what_does_not_go_on_from_there_is_replayed(
    pool: Watched, replays: DeciderPool, change: Callable[[Request], Request]
) -> None:
    asked = request(CHAIN, 5)
    asked = going_on(asked, await pool.decide(asked))
    second = await pool.decide(asked)
    (call,) = second.scheduled
    running = Record(call.key, RecordState.RUNNING, call.digest, call.line)
    (pid,) = pool.children()
    pool.fates.clear()
    changed = change(replace(asked, records=(*asked.records, running)))
    answer = await pool.decide(changed)
    assert pool.fates == {Fate.OUTDATED: 1}
    await until(lambda: not is_running(pid))
    assert answer == await replays.decide(changed, namespace="x", wall_s=WALL_S)


async def test_others_are_not_taken_for_it(pool: Watched) -> None:
    mine, others = request(CHAIN, 3), request(CHAIN, 3, seed="uid-2/0")
    first = await pool.decide(mine)
    await pool.decide(others)
    assert (await pool.decide(going_on(mine, first, lambda _: 5))).outcome is Outcome.SUSPENDED
    assert json.loads((await run_all(pool, others))[-1].result or "") == [0, 1, 2]


async def test_a_second_zygote_checks_steps(pool: Watched) -> None:
    """Code that looks into our own memory sees whether it is replayed. It harms itself, and is found out."""
    spy = body(
        "frame = sys._getframe()",
        "while 'run' not in frame.f_locals or not hasattr(frame.f_locals['run'], 'records'): frame = frame.f_back",
        "seen = len(frame.f_locals['run'].records)",
        "str(a(1))",
        "return b(seen)",
    )
    assert (await run_all(pool, replace(spy, seed="uid-2/0")))[-1].outcome is Outcome.COMPLETED
    told = await watched(LIMITS, shadow_share=1.0)
    try:
        assert json.loads((await run_all(told, request(CHAIN, 4)))[-1].result or "") == [0, 1, 2, 3]
        assert told.fates == {Fate.WENT_ON: 4}
        answers = await run_all(told, spy)
    finally:
        await told.pool.close()
    assert answers[-1].outcome is Outcome.STALLED
    assert "the code did not do the same" in str(answers[-1].error)


# -- processes -------------------------------------------------------------------------------------------------------


async def test_it_waits_behind_all_locks_and_costs_nothing(pool: Watched) -> None:
    pid = await pool.stays(request(CHAIN, 5))
    await until(lambda: is_stopped(pid))
    assert filters_of(pid) == ("2", "2")
    assert descriptors_of(pid) == ["3"]
    before = cpu_ticks(pid)
    await asyncio.sleep(0.3)
    assert cpu_ticks(pid) == before


async def test_the_oldest_makes_room_and_is_gone(pool: Watched) -> None:
    pids = [await pool.stays(request(CHAIN, 5, seed=f"uid-{n}/0")) for n in range(MOST)]
    await pool.stays(request(CHAIN, 5, seed="uid-new/0"))
    await until(lambda: not is_running(pids[0]))
    assert all(map(is_running, pids[1:]))
    assert pool.fates == {Fate.EVICTED: 1}


async def test_a_namespace_makes_room_for_others_and_not_the_other_way(pool: Watched) -> None:
    crowd = [await pool.stays(request(CHAIN, 5, seed=f"crowd-{n}/0"), "crowd") for n in range(MOST)]
    few = await pool.stays(request(CHAIN, 5, seed="few/0"), "few")
    await until(lambda: not is_running(crowd[0]))
    for n in range(2 * MOST):
        await pool.stays(request(CHAIN, 5, seed=f"crowd-{n}/1"), "crowd")
    assert is_running(few)
    await until(lambda: len(pool.children()) == MOST)


async def test_a_short_history_is_replayed() -> None:
    told = await watched(replace(LIMITS, staying_records=3))
    try:
        assert json.loads((await run_all(told, request(CHAIN, 5)))[-1].result or "") == [0, 1, 2, 3, 4]
        assert told.fates == {Fate.WENT_ON: 2}
    finally:
        await told.pool.close()


async def test_what_is_old_is_ended_and_at_the_closing_of_the_pool_all_others() -> None:
    told = await watched(replace(LIMITS, stay_s=0.8))
    try:
        pid = await told.stays(request(CHAIN, 5))
        await until(lambda: not is_running(pid))
        await until(lambda: told.fates == {Fate.ENDED: 1})
        pid = await told.stays(request(CHAIN, 5))
    finally:
        await told.pool.close()
    await until(lambda: not is_running(pid))


async def test_those_of_a_dead_zygote_are_gone_and_replayed(pool: Watched) -> None:
    asked = request(CHAIN, 5)
    pid = await pool.stays(asked)
    os.kill(pool.zygote, signal.SIGKILL)
    await until(lambda: not is_running(pid))
    assert json.loads((await run_all(pool, asked))[-1].result or "") == [0, 1, 2, 3, 4]


async def test_a_cancelled_step_ends_its_child(pool: Watched) -> None:
    asked = body("str(a(1))", "os.read(3, 1)")
    pid = await pool.stays(asked)
    step = asyncio.create_task(pool.decide(going_on(asked, await_answer(asked))))
    await asyncio.sleep(0.2)
    assert is_running(pid)
    step.cancel()
    await asyncio.wait([step])
    await until(lambda: not pool.children())
    assert await is_good(pool)


# -- hostile ones ----------------------------------------------------------------------------------------------------


def await_answer(_: Request) -> Answer:
    """What each of these says first: it calls `a(1)` and waits."""
    call = AnsweredCall(key="a-0", task="a", arguments='{"args":[1],"kwargs":{}}', digest=digest([1], {}), line=4)
    return Answer(outcome=Outcome.SUSPENDED, scheduled=(call,), waiting_on=(AnsweredWait(key="a-0", line=4),))


FORGED = encode_answer(await_answer(GOOD))
FORGED = LENGTH.pack(len(FORGED) | STAYS) + FORGED

AFTER_AN_ANSWER = {
    "burns": ["while True: pass"],
    "grows": ["kept = []", "while True: kept.append('x' * 100_000)"],
    "reads on": ["while True: os.read(3, 1)"],
    "sleeps in a read of nothing": ["os.read(3, 1)", "os.read(3, 10_000)", "os.read(3, 1)"],
    "talks": ["while True: os.write(3, b'x')"],
    "talks without end": ["while True: os.write(3, bytes(1 << 20))"],
    "answers what was not asked": [f"os.write(3, {FORGED!r})", "os.read(3, 10_000)", "os.read(3, 1)"],
    "ends": ["os._exit(0)"],
    "crashes": ["os.abort()"],
    "makes a forbidden call": ["os.kill(1, 9)"],
}


@pytest.mark.parametrize("lines", AFTER_AN_ANSWER.values(), ids=AFTER_AN_ANSWER)
async def test_one_that_only_says_it_stays_is_gone_when_it_is_evicted_or_has_used_up_its_time(
    brief: Watched, lines: list[str]
) -> None:
    asked = replace(body(f"os.write(3, {FORGED!r})", *lines), seed="hostile/0")
    brief.pool.forget()
    assert await brief.decide(asked, "hostile") == await_answer(asked)
    assert await is_good(brief)  # which makes room for its own child, if there is another one
    await until(lambda: len(brief.children()) <= 1)
    await until(lambda: all(map(is_stopped, brief.children())))


@pytest.mark.parametrize("lines", AFTER_AN_ANSWER.values(), ids=AFTER_AN_ANSWER)
async def test_one_that_only_says_it_stays_answers_no_step(brief: Watched, lines: list[str]) -> None:
    """The decision is replayed, in a child that does not stay: there it says the same, or gets its stall."""
    asked = replace(body(f"os.write(3, {FORGED!r})", *lines), seed="hostile/1")
    brief.pool.forget()
    answer = await brief.decide(asked, "hostile")
    with contextlib.suppress(DecisionStalled):
        await brief.decide(going_on(asked, answer), "hostile", 1.0)
    assert await is_good(brief)
    await until(lambda: len(brief.children()) <= 1)
    await until(lambda: all(map(is_stopped, brief.children())))


@pytest.mark.parametrize("does", ["while True: pass", "while True: kept.append(n := n + 1)"], ids=["burns", "grows"])
async def test_one_that_does_not_wait_is_stopped_all_the_same(roomy: Watched, does: str) -> None:
    """It has the CPU of a decision left, and the memory: it gets at neither before it is asked again."""
    asked = replace(body("kept, n = [], 0", f"os.write(3, {FORGED!r})", does), seed="hostile/4")
    pid = await roomy.stays(asked, "hostile")
    await until(lambda: is_stopped(pid))
    before = cpu_ticks(pid), peak_kib(pid)
    await asyncio.sleep(0.3)
    assert (cpu_ticks(pid), peak_kib(pid)) == before
    roomy.pool.forget()
    await until(lambda: not roomy.children())


GROWN = "kept = bytes([1]) * (20 << 20)"


# Of each two megabytes one page is left, read and not written: that is a page of tables for each, and nothing else.
TABLES = [
    "for _ in range(160):",
    "    at = call(9, 0, 64 << 20, 1, 0x22, -1, 0)",
    "    for place in range(at, at + (64 << 20), 2 << 20):",
    "        ctypes.string_at(place, 1)",
    "        call(11, place + 4096, (2 << 20) - 4096)",
]


async def test_page_tables_count() -> None:
    """5,120 of them. No limit of the kernel's counts them, and neither does what it tells of memory in use."""
    told = await watched(replace(LIMITS, cpu_s=10.0, brief_cpu_s=10.0))
    try:
        assert (await told.decide(body(*NATIVE, *TABLES, "return int(a(1))"))).outcome is Outcome.SUSPENDED
        await until(lambda: told.fates == {Fate.TOO_LARGE: 1})
        await until(lambda: not told.children())
    finally:
        await told.pool.close()


async def test_a_long_history_is_not_too_large() -> None:
    told = await watched(replace(LIMITS, cpu_s=10.0, brief_cpu_s=10.0))
    done = [
        Record(f"a-{n}", RecordState.COMPLETED, digest([n], {}), 4, str(n), None, n, 1.7e9 + n) for n in range(10_000)
    ]
    asked = body("first = [a(n) for n in range(10_000)]", "return sum(map(int, first)) + int(b(1)) + int(b(2))")
    asked = replace(asked, records=done, max_calls=20_000)
    try:
        pid = await told.stays(asked)
        await until(lambda: is_stopped(pid))
        answers = await run_all(told, asked)
        assert answers[-1].outcome is Outcome.COMPLETED
        assert told.fates == {Fate.WENT_ON: 3}
    finally:
        await told.pool.close()


async def test_one_that_was_large_does_not_stay(pool: Watched) -> None:
    asked = replace(body(GROWN, "del kept", "return int(a(1))"), seed="large/0")
    answer = await pool.decide(asked)
    await until(lambda: pool.fates == {Fate.TOO_LARGE: 1})
    await until(lambda: not pool.children())
    assert await pool.decide(asked) == answer  # and takes nobody's place for nothing
    assert (await pool.decide(going_on(asked, answer))).result == "0"
    assert pool.fates == {Fate.TOO_LARGE: 1}


async def test_one_that_became_large_in_a_step_does_not_stay(pool: Watched) -> None:
    asked = replace(body("n = int(a(1))", GROWN, "return n + int(a(2)) + kept[0]"), seed="large/1")
    asked = going_on(asked, await pool.decide(asked))
    asked = going_on(asked, await pool.decide(asked))
    await until(lambda: pool.fates == {Fate.WENT_ON: 1, Fate.TOO_LARGE: 1})
    await until(lambda: not pool.children())
    assert (await pool.decide(asked)).result == "2"


async def test_none_stays_before_it_is_proven_that_it_can_be_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, real = asyncio.Event(), proof.staying_faults

    async def held_up(limits: Limits, connect: Callable[[], Awaitable[Exchange]]) -> Sequence[str]:
        await may_end.wait()
        return await real(limits, connect)

    monkeypatch.setattr(proof, "staying_faults", held_up)
    told = await watched(LIMITS, lets_stay=False)
    try:
        answers = await run_all(told, request(CHAIN, 3))
        assert not told.fates
        may_end.set()
        await until(told.pool.lets_stay)
        assert await run_all(told, request(CHAIN, 3)) == answers
        assert told.fates == {Fate.WENT_ON: 3}
    finally:
        await told.pool.close()


async def test_where_none_can_be_measured_none_stays(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bounds, "_AGAIN_S", 0.0)
    told = await watched(LIMITS, lets_stay=False)
    try:
        with monkeypatch.context() as here:
            here.setattr(ZygoteProcess, "tell", lambda *_: True)
            here.setattr(proof, "_REST_S", 0.1)
            for _ in range(2):
                assert json.loads((await run_all(told, request(CHAIN, 3)))[-1].result or "") == [0, 1, 2]
                await until(lambda: "Decisions don't stay" in caplog.text)
                assert not told.pool.lets_stay()
            assert not told.fates
        await until(told.pool.lets_stay)  # asked again, once it can be
        await run_all(told, request(CHAIN, 3))
        assert told.fates[Fate.WENT_ON]
        assert caplog.text.count("Decisions don't stay") == 1
    finally:
        await told.pool.close()


@pytest.mark.parametrize(
    "limits", [{"staying_memory_bytes": 1 << 20}, {"memory_bytes": 64 << 20, "staying_memory_bytes": 0}]
)
async def test_where_not_even_a_small_one_can_stay_none_does(
    caplog: pytest.LogCaptureFixture, limits: dict[str, int]
) -> None:
    told = await watched(replace(LIMITS, **limits), lets_stay=False)
    try:
        assert json.loads((await run_all(told, request(CHAIN, 3)))[-1].result or "") == [0, 1, 2]
        await until(lambda: "Decisions don't stay" in caplog.text)
        assert not told.fates
        assert "a small one did not go on" in str(caplog.records[-1].__dict__["faults"])
    finally:
        await told.pool.close()


async def test_a_proof_is_of_one_zygote() -> None:
    told = await watched(LIMITS)
    try:
        os.kill(told.zygote, signal.SIGKILL)
        await told.decide(request(CHAIN, 3))
        await until(lambda: not told.children())  # none has stayed with the next one, and those of the proof have ended
        await until(told.pool.lets_stay)
    finally:
        await told.pool.close()


async def test_one_that_has_ended_is_not_waited_for(pool: Watched) -> None:
    exchange = Exchange(lambda verb, most_bytes: True)
    exchange.close()
    exchange.ask_again(b"", 1000, 60.0)
    assert await exchange.finding == Lost()
    assert not pool.children()


async def test_one_whose_zygote_can_not_be_told_is_ended(pool: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ZygoteProcess, "tell", lambda *_: False)
    assert (await pool.decide(request(CHAIN, 3))).outcome is Outcome.SUSPENDED
    await until(lambda: not pool.children())


# More than `brief_cpu_s`, less than `cpu_s`; of no machine that is ten times as fast or slow, the answer would be another.
SLOW = "for n in range(10_000_000): pass"


async def test_one_that_says_it_stays_and_was_not_asked_to_is_ended(pool: Watched) -> None:
    """A slow decision has twenty times the CPU, and the kernel's clock ends it only when all of its time is over."""
    asked = replace(body(SLOW, f"os.write(3, {FORGED!r})", "while True: pass"), seed="hostile/2")
    assert await pool.decide(asked, "hostile") == await_answer(asked)
    await until(lambda: not pool.children())
    assert pool.fates == {}
    assert pool.ends == {End.PUT_BACK: 1, End.ANSWERED: 1}
    pool.ends.clear()
    assert await pool.decide(asked, "hostile") == await_answer(asked)  # it is known to be slow
    assert pool.ends == {End.ANSWERED: 1}


async def test_nothing_stays_where_nothing_is_to(replays: DeciderPool) -> None:
    asked = replace(body(f"os.write(3, {FORGED!r})", "os.read(3, 1)"), seed="hostile/3")
    assert await replays.decide(asked, namespace="hostile", wall_s=WALL_S) == await_answer(asked)
    assert replays.zygote_pid is not None
    await until(lambda: not any(map(is_running, children_of(replays.zygote_pid or 0))))


AFTER_A_STEP = {
    "a file": ["os.open('/', os.O_RDONLY)"],
    "a process": ["os.fork()"],
    "a signal": ["os.kill(os.getpid() + 1, 9)"],
    "a timer": [*NATIVE, "return call(38, 2, 0, 0)"],
    "a limit": [*NATIVE, "return call(302, 0, 9, 0, 0)"],
    "code in memory": [*NATIVE, "return call(9, 0, 4096, 7, 34, -1, 0)"],
    "another descriptor": ["os.write(1, b'x')"],
}


@pytest.mark.parametrize("lines", AFTER_A_STEP.values(), ids=AFTER_A_STEP)
async def test_a_step_is_as_locked_as_a_decision(pool: Watched, lines: list[str]) -> None:
    asked = body("str(a(1))", *lines)
    answers: list[Answer] = []
    with contextlib.suppress(DecisionStalled):
        answers += await run_all(pool, asked)
    if answers:
        error, result = answers[-1].error, answers[-1].result
        assert (error or {}).get("type") in {"PermissionError", "OSError"} or int(result or 0) < 0
        assert pool.fates == {Fate.WENT_ON: 1}
    assert await is_good(pool)


async def test_any_memory_of_a_decision_leaves_room_to_see_that_its_bound_holds() -> None:
    told = await watched(replace(LIMITS, memory_bytes=16 << 20))
    try:
        await run_all(told, request(CHAIN, 3))
        assert told.fates == {Fate.WENT_ON: 3}
    finally:
        await told.pool.close()


async def test_its_memory_is_that_of_one_decision() -> None:
    told = await watched(replace(LIMITS, memory_bytes=32 << 20))
    asked = body("kept = []", "for i in range(100):", "    kept.append('x' * (1 << 20))", "    str(a(i))", "return 1")
    try:
        with pytest.raises(DecisionStalled) as stalled:
            await run_all(told, asked)
        assert stalled.value.reason is StallReason.MEMORY
        await until(lambda: not told.children())
    finally:
        await told.pool.close()
