"""What a suspended decision needs: the groups of results that could make the next one say something else."""

from collections.abc import Mapping, Sequence

import pytest

from flowy.replay.replayer import replay
from flowy.wire import values
from flowy.wire.messages import MAX_NEEDS, Record, RecordState, Request

HEAD = "from flowy import first, finish_order, parallel_reduce, wait\n\n\ndef factory(a, b):\n    def run():\n"


def needs(
    body: str, results: Mapping[str, object] | None = None, running: Sequence[str] = (), max_calls: int = 1000
) -> Sequence[Sequence[str]] | None:
    """Those of the decision of a workflow with the tasks `a` and `b`, over these results."""
    records = [
        Record(key=key, state=RecordState.COMPLETED, value=values.encode(value), rank=rank)
        for rank, (key, value) in enumerate((results or {}).items())
    ]
    records += [Record(key=key, state=RecordState.RUNNING) for key in running]
    source = HEAD + "".join(f"        {line}\n" for line in body.split("; ")) + "    return run\n"
    request = Request(
        source=source,
        entrypoint=None,
        tasks=("a", "b"),
        input='{"args":[],"kwargs":{}}',
        records=records,
        max_calls=max_calls,
    )
    return replay(request).needs


CASES: dict[str, tuple[str, list[list[str]]]] = {
    "the one result that is looked at": ("x, y = a(), b(); x + 1", [["a-0"]]),
    "all that a wait is for": ("wait(a(), [b(), a()])", [["a-0", "b-0", "a-1"]]),
    "what a call takes, and not the call that is held back": ("return b(a(1), a(2))", [["a-0", "a-1"]]),
    "a call of calls needs what isn't called yet": ("return b(a(), b(a(), 1))", [["a-1"], ["a-0", "b-0"]]),
    "the first of a chain that nobody looks at": ("x = a(); [x := b(x) for _ in range(900)]; return x", [["a-0"]]),
    "a held-back call beside one that isn't": ("x = b(a()); y = a(); return [x, y]", [["a-0"], ["b-0", "a-1"]]),
    "what stands in the return value": ("return [a(), b()]", [["a-0", "b-0"]]),
    "the same result twice": ("return b(x := a(), x)", [["a-0"]]),
    "the same for several calls is said once": ("x = a(); y, z = b(x), b(x); x + 1", [["a-0"]]),
    "any member of a race": ("return first(a(), b())", [["b-0"], ["a-0"]]),
    "what stands beside a race may fail": ("return [a(), first(a(), b())]", [["b-0"], ["a-1"], ["a-0"]]),
    "races in races": ("return first(a(), first(a(), b()))", [["b-0"], ["a-1"], ["a-0"]]),
    "those that finish in some order": ("x = a(); [y for y in finish_order(b(), b())]; x + 1", [["a-0"]]),
}


@pytest.mark.parametrize(("body", "expected"), CASES.values(), ids=CASES)
def test_table(body: str, expected: list[list[str]]) -> None:
    found = needs(body)
    assert found is not None
    assert sorted(map(sorted, found)) == sorted(map(sorted, expected))


def test_what_has_a_result_is_not_needed() -> None:
    assert needs("x, y = a(), b(); wait(x, y, a())", {"a-0": 1}, ["b-0", "a-1"]) == (("b-0", "a-1"),)


def test_nobody_knows_what_calls_need_for_which_there_was_no_room() -> None:
    assert needs("return [a(1), a(2)]", max_calls=1) is None


def test_too_many_are_not_told() -> None:
    body = "x = [a(n) for n in range({n})]; b(x); wait(x)"
    half = MAX_NEEDS // 2
    assert needs(body.format(n=half), max_calls=MAX_NEEDS) == (tuple(f"a-{n}" for n in range(half)),)
    assert needs(body.format(n=half + 1), max_calls=MAX_NEEDS) is None


def test_a_decision_that_ends_needs_nothing() -> None:
    assert needs("return 1") is None
