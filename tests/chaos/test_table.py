"""From when to when a recovery counts, and which ones do."""

import pytest

from tests.chaos.plan import Blow
from tests.chaos.table import SALVO, Row, Struck, rows

LEADER, CUT = Blow.LEADER_KILLED, Blow.WATCHES_CUT


def struck(at: float, *blows: Blow) -> Struck:
    return Struck(blows, at, at + 1)


CASES = {
    "until a container begins that was recorded afterwards": (
        [struck(10, LEADER)],
        [(9, 9.5), (10.5, 20), (13, 14), (12, 15)],
        [Row(LEADER, 1, [3])],
    ),
    "what was recorded in the middle of the blow is no recovery": (
        [struck(10, LEADER)],
        [(10.9, 11.5), (15, 16)],
        [Row(LEADER, 1, [5])],
    ),
    "one that the next finds unrecovered isn't measured, nor is the next": (
        [struck(10, LEADER), struck(12, CUT), struck(30, CUT)],
        [(14, 15), (32, 33)],
        [Row(LEADER, 1, []), Row(CUT, 2, [2])],
    ),
    "several kills count as such, their recovery is one": (
        [struck(10, LEADER, LEADER)],
        [(14, 15)],
        [Row(LEADER, 2, []), Row(SALVO, 1, [4])],
    ),
    "a run that never goes on has no figure": ([struck(10, CUT)], [(5, 6)], [Row(CUT, 1, [])]),
}


@pytest.mark.parametrize(("blows", "progress", "expected"), CASES.values(), ids=CASES)
def test_rows(blows: list[Struck], progress: list[tuple[float, float]], expected: list[Row]) -> None:
    assert rows(blows, progress) == expected
