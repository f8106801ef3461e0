"""What is counted where there are many tasks: writes and decisions grow with the work alone. Times are for `make bench-linear`."""

import pytest

from tests.bench.linear import SHAPES, figures, measure

DECISIONS = {"wide": 8, "chain": 61, "many": 120}
"""At most, of 60 tasks: a chain asks after each, a fan-out a few times, a workflow of one task twice."""


@pytest.mark.parametrize("shape", SHAPES)
def test_writes_a_task_do_not_grow(shape: str) -> None:
    few, many = measure(shape, 20), measure(shape, 60)
    assert 0 < many.writes <= 1.5 * few.writes
    assert 0 < many.decisions <= DECISIONS[shape]
    assert [(one.name, one.unit) for one in figures([few, many])] == [
        (f"linear-{shape}-cpu-x", "x"),
        (f"linear-{shape}-writes-x", "x"),
    ]
