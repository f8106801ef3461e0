"""The critical path."""

from itertools import pairwise

import pytest

from flowy_cli.pictures.critical import critical_path
from flowy_cli.pictures.execution import Execution, Standing
from tests.pictures.recordings import call, execution, recording

CASES: dict[str, tuple[Execution, list[str]]] = {
    "nothing was launched": (execution([call("a-0", begin=None)]), []),
    "the longer of two": (execution([call("a-0", end=3), call("a-1", end=5)], returned=["a-0", "a-1"]), ["a-1"]),
    "who isn't waited for doesn't count": (
        execution([call("a-0", end=3), call("b-0", end=9)], returned=["a-0"]),
        ["a-0"],
    ),
    "through results": (
        execution(
            [call("a-0", end=3), call("b-0", end=2), call("c-0", "a-0", "b-0", begin=3, end=4)], returned=["c-0"]
        ),
        ["a-0", "c-0"],
    ),
    "through looks": (
        execution([call("a-0", end=3), call("c-0", begin=3, end=4, looks=1)], "a-0", returned=["c-0"]),
        ["a-0", "c-0"],
    ),
    "of two that ended at once, not the cancelled one": (
        execution(
            [call("a-0", end=5, standing=Standing.CANCELLED), call("a-1", end=5, standing=Standing.FAILED, begin=1)],
            returned=["a-0", "a-1"],
        ),
        ["a-1"],
    ),
    "through a call that an error kept from starting": (
        execution([call("a-0", end=5, standing=Standing.FAILED), call("b-0", "a-0", begin=None)], returned=["b-0"]),
        ["a-0"],
    ),
    "of an open run, what it waits for longest": (
        execution(
            [call("a-0", begin=2), call("a-1", begin=1)], standing=Standing.RUNNING, waiting_on={"a-0": 1, "a-1": 1}
        ),
        ["a-1"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_critical_path(name: str) -> None:
    drawn, expected = CASES[name]
    assert list(critical_path(drawn)) == expected


def test_it_has_no_gap_in_a_run_without_queue() -> None:
    drawn = recording("video")
    calls = {call.key: call for call in drawn.calls}
    path = [calls[key] for key in critical_path(drawn)]
    assert [each.key for each in path] == ["shoot-0", "embed-0", "encode-1"]
    for before, after in pairwise(path):
        assert before.finished_at is not None
        assert after.scheduled_at is not None
        assert (after.scheduled_at - before.finished_at).total_seconds() < 0.1
