"""Bytecode goes back to the run whose code has said it, and to nobody else."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from flowy.replay.bytecode import MOST_BYTES
from flowy.wire.messages import Answer, Outcome, Request
from flowy_operator.adapters.decider.asking import Asked, asking
from flowy_operator.adapters.decider.bytecodes import Bytecodes
from flowy_operator.adapters.decider.exchange import Lost, Said
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.adapters.decider.pool import DeciderPool
from flowy_operator.core.errors import DecisionStalled, StallReason
from tests.adapters.decider.programs import GOOD, request

in_module_loop = pytest.mark.asyncio(loop_scope="module")


# -- what is kept -----------------------------------------------------------------------------------------------------


def asked(run: str, namespace: str = "x") -> Asked:
    return asking(replace(GOOD, seed=run), namespace, 1.0, Limits())


def said(bytecode: bytes) -> Said:
    return Said(b"{}", stays=False, bytecode=bytecode)


def test_it_goes_to_its_run_alone() -> None:
    kept = Bytecodes()
    kept.keep(asked("one/0"), said(b"code"))
    assert kept.added(asked("one/0")).bytecode == b"code"
    assert kept.added(asked("one/1")).bytecode == b""
    assert kept.added(asked("one/0", "y")).bytecode == b""


def test_the_last_word_counts() -> None:
    kept = Bytecodes()
    for bytecode in (b"old", b"new", b""):  # empty: nothing new
        kept.keep(asked("one/0"), said(bytecode))
    assert kept.added(asked("one/0")).bytecode == b"new"
    kept.forget(asked("one/0"))
    assert kept.added(asked("one/0")).bytecode == b""


REFUSED = {
    "too much": ("one/0", said(b"x" * (MOST_BYTES + 1))),
    "no answer": ("one/0", Lost()),
    "nobody's": ("", said(b"code")),
}


@pytest.mark.parametrize(("run", "finding"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_kept(run: str, finding: Said | Lost) -> None:
    kept = Bytecodes()
    kept.keep(asked(run), finding)
    assert kept.added(asked(run)).bytecode == b""


def test_what_was_used_the_longest_time_ago_makes_room() -> None:
    kept = Bytecodes(total_bytes=30)
    for run in ("a/0", "b/0", "c/0"):
        kept.keep(asked(run), said(b"0123456789"))
    kept.added(asked("a/0"))
    kept.keep(asked("d/0"), said(b"0123456789"))
    assert [run for run in "abcd" if kept.added(asked(f"{run}/0")).bytecode] == ["a", "c", "d"]
    kept.clear()
    kept.keep(asked("e/0"), said(b"x" * 30))
    assert kept.added(asked("e/0")).bytecode


# -- hostile code says what it likes ----------------------------------------------------------------------------------

FORGER = """
from flowy.replay import bytecode

FORGED = {forged!r}

def main(a, b, c):
    def run():
        used = bytecode._present.bytecode._used
        for key in used:
            used[key] = compile(FORGED, "<workflow>", "exec")
        return a(1)
    return run
"""
SAYS = "def main(a, b, c):\n    return lambda: 'forged'\n"
EXITS = "import os\nos._exit(7)\n"
ENDLESS = "def main(a, b, c):\n    while True: pass\n"


def forger(forged: str, run: str) -> Request:
    return replace(request(FORGER.format(forged=forged)), seed=run)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pool() -> AsyncIterator[DeciderPool]:
    pool = DeciderPool()
    await pool.start()
    yield pool
    await pool.close()


async def decide(pool: DeciderPool, asked: Request) -> Answer:
    return await pool.decide(asked, namespace="x", wall_s=20.0)


@in_module_loop
async def test_forged_bytecode_is_the_code_of_its_own_run_and_of_no_other(pool: DeciderPool) -> None:
    mine, others = forger(SAYS, "mine/0"), forger(SAYS, "others/0")
    assert (await decide(pool, mine)).outcome is Outcome.SUSPENDED
    assert (await decide(pool, mine)).result == '"forged"'
    assert (await decide(pool, others)).outcome is Outcome.SUSPENDED


@in_module_loop
@pytest.mark.parametrize("forged", [EXITS, ENDLESS], ids=["it exits", "it never ends"])
async def test_what_leads_to_no_answer_is_not_given_again(pool: DeciderPool, forged: str) -> None:
    asked = forger(forged, f"lasts-{len(forged)}/0")
    first = await decide(pool, asked)
    with pytest.raises(DecisionStalled) as stalled:
        await pool.decide(asked, namespace="x", wall_s=0.5)
    assert stalled.value.reason in (StallReason.CRASHED, StallReason.TIMEOUT)
    assert await decide(pool, asked) == first


@pytest.mark.asyncio
async def test_a_second_decision_has_none_and_finds_the_difference() -> None:
    pool = DeciderPool(shadow_share=1.0)
    await pool.start()
    try:
        asked = forger(SAYS, "mine/0")
        assert (await decide(pool, asked)).outcome is Outcome.SUSPENDED
        assert (await decide(pool, asked)).outcome is Outcome.STALLED
    finally:
        await pool.close()
