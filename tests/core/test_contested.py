"""Who was contradicted waits before it says the same again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowy_operator.core.contested import PAUSE, held_until, said

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = AT + timedelta(seconds=1)


def status(reason: str, since: str = "2026-01-01T12:00:00.000Z") -> dict[str, Any]:
    stalled = {"type": "Stalled", "status": "True", "reason": reason, "message": "", "lastTransitionTime": since}
    return {"conditions": [stalled]}


CASES: dict[str, tuple[str, str, str, datetime, datetime | None]] = {
    "what another has changed back waits": ("A", "B", "A", LATER, AT + PAUSE),
    "after the pause it is written": ("A", "B", "A", AT + PAUSE, None),
    "something new is written at once": ("A", "B", "C", LATER, None),
    "what nobody has changed may get further fields": ("A", "A", "A", LATER, None),
    "what the other says is ours too": ("A", "B", "B", LATER, None),
    "a clock that was set back holds nothing up": ("A", "B", "A", AT - timedelta(hours=1), None),
}


@pytest.mark.parametrize(("last", "found", "wanted", "now", "until"), CASES.values(), ids=CASES)
def test_table(last: str, found: str, wanted: str, now: datetime, until: datetime | None) -> None:
    assert held_until(said(status(last), AT), status(found), status(wanted), now) == until


@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    [
        ("waitingOn", [{"task": "a-0", "reason": "its Job has no pod yet"}], [{"task": "a-0"}]),
        ("code", {"flowy": "1"}, {"flowy": "2"}),
        ("decidedThrough", 4, None),
    ],
)
def test_more_than_conditions_is_said(name: str, ours: object, theirs: object) -> None:
    wanted = status("A") | {name: ours}
    found = status("A") | ({} if theirs is None else {name: theirs})
    last = said(wanted, AT)
    assert held_until(last, found, wanted, LATER) == AT + PAUSE
    assert held_until(last, found, status("A") | {name: theirs or 5}, LATER) is None  # what the other says, or news
    assert held_until(last, found, status("A"), LATER) is None  # a part that nobody has changed


def test_who_has_said_nothing_yet_speaks_at_once() -> None:
    assert held_until(None, status("A"), status("B"), AT) is None


def test_times_are_no_words() -> None:
    last = said(status("A"), AT)
    assert held_until(last, status("A", since="2026-01-01T13:00:00.000Z"), status("A"), LATER) is None
