"""The three conditions, as kubectl, Helm and kstatus read them."""

from typing import Any

import pytest

from flowy_operator.core.conditions import MESSAGE_CHARS, Blocker, Reason, Stall, Status, conditions, has_ended
from flowy_operator.core.errors import StallReason
from tests.builders import START, at

NOW = "2026-01-02T03:04:05.000Z"
EARLIER = "2026-01-01T00:00:00.000Z"

Short = tuple[str, str, str]

CASES: dict[str, tuple[Status, Reason, str, Stall | None, list[Short]]] = {
    "open": (
        "Unknown",
        Reason.RUNNING,
        "line 3 waits for task-0",
        None,
        [("Unknown", "Running", "line 3 waits for task-0"), ("True", "Open", ""), ("False", "NotStalled", "")],
    ),
    "stalled": (
        "Unknown",
        Reason.STALLED,
        "why",
        Stall(StallReason.TIMEOUT, "why"),
        [("Unknown", "Stalled", "why"), ("True", "Open", ""), ("True", "DecisionTimeout", "why")],
    ),
    "stalled by the history": (
        "Unknown",
        Reason.STALLED,
        "why",
        Stall(Blocker.HISTORY_INVALID, "why"),
        [("Unknown", "Stalled", "why"), ("True", "Open", ""), ("True", "HistoryInvalid", "why")],
    ),
    "completed": (
        "True",
        Reason.COMPLETED,
        "",
        None,
        [("True", "Completed", ""), ("False", "Ended", ""), ("False", "NotStalled", "")],
    ),
    "failed counts as stalled, for kstatus": (
        "False",
        Reason.FAILED,
        "KeyError: 'x'",
        None,
        [("False", "Failed", "KeyError: 'x'"), ("False", "Ended", ""), ("True", "Failed", "KeyError: 'x'")],
    ),
}


@pytest.mark.parametrize(("succeeded", "reason", "message", "stall", "expected"), CASES.values(), ids=CASES)
def test_conditions(
    succeeded: Status, reason: Reason, message: str, stall: Stall | None, expected: list[Short]
) -> None:
    found = made(succeeded=succeeded, reason=reason, message=message, stall=stall)
    assert [c["type"] for c in found] == ["Succeeded", "Reconciling", "Stalled"]
    assert [(c["status"], c["reason"], c["message"]) for c in found] == expected
    assert all(c["observedGeneration"] == 3 and c["lastTransitionTime"] == NOW for c in found)
    assert has_ended({"conditions": found}) is (succeeded != "Unknown")


def made(previous: Any = (), **fields: Any) -> list[dict[str, Any]]:
    given = {"succeeded": "Unknown", "reason": Reason.RUNNING, "message": "", "stall": None} | fields
    return conditions(previous, generation=3, now=START, **given)


def test_a_status_that_stays_keeps_its_time() -> None:
    before = [c | {"lastTransitionTime": EARLIER} for c in made()]
    after = made(before, reason=Reason.SUSPENDED, stall=Stall(Blocker.HISTORY_FULL, "full"))
    assert [c["lastTransitionTime"] for c in after] == [EARLIER, EARLIER, NOW]


def test_conditions_without_a_time_or_of_others_are_no_hindrance() -> None:
    before = [{"type": "Succeeded", "status": "Unknown"}, {"type": "Ready", "status": "True"}, {}]
    assert [c["lastTransitionTime"] for c in made(before)] == [NOW] * 3


def test_a_long_message_is_shortened_and_says_so() -> None:
    longest, longer = made(message="x" * MESSAGE_CHARS)[0], made(message="x" * (MESSAGE_CHARS + 1))[0]
    assert longest["message"] == "x" * MESSAGE_CHARS
    assert len(longer["message"]) <= MESSAGE_CHARS
    assert longer["message"].endswith("x … (shortened)")


ENDS = {
    "no status": ({}, False),
    "open": ({"conditions": [{"type": "Succeeded", "status": "Unknown"}]}, False),
    "succeeded": ({"conditions": [{"type": "Succeeded", "status": "True"}]}, True),
    "failed": ({"conditions": [{"type": "Succeeded", "status": "False"}]}, True),
    "another condition": ({"conditions": [{"type": "Stalled", "status": "True"}]}, False),
}


@pytest.mark.parametrize(("status", "expected"), ENDS.values(), ids=ENDS)
def test_has_ended(status: dict[str, Any], expected: bool) -> None:
    assert has_ended(status) is expected


def test_a_clock_set_back_changes_no_time() -> None:
    before = made()
    again = conditions(
        before, succeeded="Unknown", reason=Reason.RUNNING, message="", stall=None, generation=3, now=at(-60)
    )
    assert again == before
