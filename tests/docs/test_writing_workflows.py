"""The page for authors of workflows: its blocks are one program, and what it says of the decider is true."""

import pytest

from flowy.testing import decide
from flowy.wire.messages import MAX_LOG_BYTES, Outcome, Request
from flowy_operator.adapters.decider.pool import DeciderPool
from flowy_operator.adapters.decider.preload import AVAILABLE
from tests.docs.pages import blocks, codes, section

PAGE = "writing-workflows.md"


def test_the_blocks_run_from_top_to_bottom() -> None:
    scope: dict[str, object] = {"__name__": "page"}
    for block in blocks(PAGE, "python"):
        # With the page's own line numbers, so that a failed claim is found at once.
        code = compile("\n" * (block.line - 1) + block.text, PAGE, "exec")
        exec(code, scope)


def test_every_public_name_is_shown() -> None:
    import flowy  # noqa: PLC0415

    text = "\n".join(block.text for block in blocks(PAGE, "python"))
    assert [name for name in flowy.__all__ if name not in text] == []


def test_the_modules_are_those_of_the_decider() -> None:
    listed = section(PAGE, "The same on every run").split("You can import:")[1].split("Everything else")[0]
    assert sorted(codes(listed)) == sorted([*AVAILABLE, "flowy"])


def test_the_limit_of_printed_text_is_that_of_the_decider() -> None:
    assert f"kept to {MAX_LOG_BYTES // 1024} KiB" in section(PAGE, "The same on every run")


SOURCE = """
import datetime, os, random, time, uuid

def main(a):
    def swallowed(f):
        try:
            f()
        except Exception as error:
            return type(error).__name__
    def imported():
        import socket
    def run():
        print("hello")
        return {
            "now": time.time(),
            "today": datetime.datetime.now(datetime.UTC).year,
            "random": [random.random(), str(uuid.uuid4()), os.urandom(4).hex()],
            "set": list({"one", "two", "three"}),
            "environment": len(os.environ),
            "open": swallowed(lambda: open("/etc/passwd")),
            "input": swallowed(input),
            "sleep": swallowed(lambda: time.sleep(1)),
            "import": swallowed(imported),
        }
    return run
"""


def _request(seed: str) -> Request:
    return Request(
        source=SOURCE,
        entrypoint="main",
        tasks=("a",),
        input='{"args": [], "kwargs": {}}',
        seed=seed,
        started_at=1_700_000_000.0,
    )


async def test_what_the_code_gets_in_the_decider() -> None:
    pool = DeciderPool()
    await pool.start()
    try:
        one, again, other = [
            await pool.decide(_request(seed), namespace="docs", wall_s=10) for seed in ("uid/1", "uid/1", "uid/2")
        ]
    finally:
        await pool.close()
    assert one.result == again.result
    assert one.result is not None
    assert other.result != one.result
    assert one.log == ("hello",)
    for said in (
        '"now":1700000000.0',
        '"today":2023',
        '"environment":0',
        '"open":"RuntimeError"',
        '"input":"RuntimeError"',
        '"sleep":"RuntimeError"',
        '"import":"ModuleNotFoundError"',
    ):
        assert said in one.result


WAITS = [
    "bool(r)", "len(r)", "[*r]", "r in [1]", "next(r)", "r + 1", "r == 1", "-r", "int(r)", "range(r)", "r[0]", "r.name",
    "r()", "str(r)", "print(r)", "f'{r}'", "'%s' % r", "hash(r)", "{r: 1}", "isinstance(r, list)", "sum([r])",
    "sorted([r, r])", "wait(r)", "__import__('copy').copy(r)",
]  # fmt: skip
DOES_NOT_WAIT = [
    "[r]", "{'k': r}", "a([{'k': r}])", "r is None", "id(r)", "type(r)", "callable(r)", "repr(r)", "f'{r!r}'", "'%r' % r",
    "str([r])", "len([r])", "bool([r])", "[r] == [r]", "first(r, r)", "finish_order(r)", "parallel_reduce(a, [r, r])",
    "restart(r)",
]  # fmt: skip


@pytest.mark.parametrize(("expression", "passed"), [(e, False) for e in WAITS] + [(e, True) for e in DOES_NOT_WAIT])
def test_what_waits_and_what_does_not(expression: str, passed: bool) -> None:
    body = f"def f(a):\n    def w():\n        r = a(1)\n        {expression}\n        return 1\n    return w"
    source = f"from flowy import finish_order, first, parallel_reduce, restart, wait\n{body}"
    decision = decide((source, "f"), running=["a-0"])
    assert decision.outcome == (Outcome.COMPLETED if passed else Outcome.SUSPENDED)


TRAPS = {
    "is None": ("lambda a: lambda: a() is None", {"a-0": None}, False),
    "== None": ("lambda a: lambda: a() == None", {"a-0": None}, True),
    "sequence pattern": ("lambda a: lambda: isinstance(a(), list)", {"a-0": [1, 2]}, True),
    "dropped": ("lambda a: lambda: [a(), 1][1]", {}, 1),
}


@pytest.mark.parametrize(("code", "results", "expected"), TRAPS.values(), ids=TRAPS)
def test_traps(code: str, results: dict[str, object], expected: object) -> None:
    assert decide(eval(code), results=results).result == expected


def test_traps_that_fail_or_go_one_by_one() -> None:
    pending = decide(lambda a: lambda: a(repr([a(1)])))
    assert pending.error is not None
    assert pending.error["type"] == "ValueRefused"
    lazy = decide(lambda a: lambda: sum(map(a, [1, 2])))
    eager = decide(lambda a: lambda: sum([a(x) for x in [1, 2]]))
    assert (len(lazy.scheduled), len(eager.scheduled)) == (1, 2)
    for code in ("', '.join([a()])", "re.match('p', a())", "json.dumps(a())"):
        refused = decide((f"import json, re\ndef f(a):\n    return lambda: {code}", "f"), results={"a-0": [1]})
        assert refused.error is not None, code
        assert refused.error["type"] == "TypeError"


MATCH = """
def f(a):
    def w():
        r = a()
        match r:
            case [_, _]:
                return "proxy"
        match list(r):
            case [_, _]:
                return "list"
    return w
"""


def test_match_sees_no_proxy() -> None:
    assert decide((MATCH, "f"), results={"a-0": [1, 2]}).result == "list"


def test_first_of_a_list_with_plain_functions() -> None:
    from flowy import first  # noqa: PLC0415

    assert (first([7, 8]), first([[7, 8]])) == (7, [7, 8])
