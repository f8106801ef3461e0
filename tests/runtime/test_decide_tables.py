"""Every row of the decision tables, and on every row that deciding again changes nothing."""

import pytest

from flowy.testing import Decision
from tests.runtime import rows_d, rows_f, rows_g, rows_n, rows_v
from tests.runtime.tables import Row, check, long

ROWS = {id_: row for rows in (rows_d, rows_g, rows_v, rows_n, rows_f) for id_, row in rows.ROWS.items()}


def test_no_two_rows_share_an_id() -> None:
    assert len(ROWS) == sum(len(rows.ROWS) for rows in (rows_d, rows_g, rows_v, rows_n, rows_f))


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_row(row: Row) -> None:
    check(row)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_f23_deciding_twice_gives_the_same(row: Row) -> None:
    assert row.decide() == row.decide()


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_f23_with_the_scheduled_running_nothing_is_scheduled(row: Row) -> None:
    before: Decision = row.decide()
    running = [*map(long, row.running), *(call.key for call in before.scheduled)]
    calls = {call.key: (call.args, call.kwargs) for call in before.scheduled}
    after = row.decide(running=running, calls={**(row.history()["calls"] or {}), **calls})
    assert (after.outcome, after.waiting_on) == (before.outcome, before.waiting_on)
    assert after.scheduled == []
