"""The status as it should read, and the patch that makes it so."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowy.wire.messages import AnsweredWait
from flowy_operator.core.conditions import Blocker, Reason, Stall
from flowy_operator.core.history import Event, event_json
from flowy_operator.core.observe import View
from flowy_operator.core.state import State, apply
from flowy_operator.core.status import SHOWN_ERRORS, SHOWN_WAITS, Standing, error_json, status_fields, status_patch
from flowy_operator.core.verdict import End
from tests.builders import (
    START,
    at,
    completed,
    disrupted,
    empty_state,
    events_of,
    failed,
    job_record,
    launch_of,
    pod_record,
    scheduled,
    state_of,
    task_spec,
    timed_out,
    view,
    waiting,
)
from tests.core.strategies import FEW, histories
from tests.fakes.patches import json_patch

NOW = "2026-01-02T03:04:05.000Z"
LOST = state_of(scheduled("a-0"), *(disrupted("a-0", launch=n) for n in range(4)))
RETRIED = state_of(scheduled("a-0"), failed("a-0", final=False), scheduled("a-0", attempt=2))
SOME = state_of(scheduled("a-0"), scheduled("a-1"), scheduled("a-2"), completed("a-1"), failed("a-2"))


def fields_of(
    state: State = SOME, seen: View | None = None, previous: Mapping[str, Any] | None = None, **standing: Any
) -> dict[str, Any]:
    given: dict[str, Any] = {"generation": 3, "started_at": START} | standing
    return status_fields(previous or {}, state, Standing(**given), seen or view(), START)


def waits(*keys: str) -> list[AnsweredWait]:
    return [AnsweredWait(key=key, line=3) for key in keys]


def headline(fields: Mapping[str, Any]) -> tuple[str, str, str]:
    succeeded = fields["conditions"][0]
    return succeeded["status"], succeeded["reason"], succeeded["message"]


def test_an_open_workflow() -> None:
    fields = fields_of(waiting_on=waits("a-0"))
    assert {name: value for name, value in fields.items() if name != "conditions"} == {
        "observedGeneration": 3,
        "startTime": NOW,
        "progress": {"scheduled": 3, "running": 1, "succeeded": 1, "failed": 1, "summary": "2/3"},
        "run": 1,
        "historyStart": 1,
        "historyDigest": SOME.chain.digest,
        "waitingOn": [{"task": "a-0", "since": NOW, "line": 3}],
    }
    assert headline(fields) == ("Unknown", "Running", "line 3 waits for a-0")


def test_without_events_there_is_no_digest() -> None:
    # The CRD wants 16 hex digits: an empty text would have every write refused.
    assert "historyDigest" not in fields_of(empty_state())


HEADLINES: dict[str, tuple[dict[str, Any], tuple[str, str, str]]] = {
    "nothing to tell": ({}, ("Unknown", "Running", "")),
    "several are awaited": (
        {"waiting_on": waits("a-0", "a-3", "a-4")},
        ("Unknown", "Running", "line 3 waits for a-0 and 2 more"),
    ),
    "the line isn't known": (
        {"waiting_on": [AnsweredWait(key="a-0", line=None)]},
        ("Unknown", "Running", "waits for a-0"),
    ),
    "some are held back": (
        {"waiting_on": waits("a-0"), "held_back": 7},
        ("Unknown", "Running", "line 3 waits for a-0; 7 ready tasks are held back by spec.parallelism"),
    ),
    "suspended": (
        {"suspended": True, "held_back": 7},
        ("Unknown", "Suspended", "spec.suspend is true: what runs goes on, nothing new is launched"),
    ),
    "stalled, which is more than suspended": (
        {"suspended": True, "stall": Stall(Blocker.HISTORY_FULL, "full")},
        ("Unknown", "Stalled", "full"),
    ),
    "the clean-up of a stop, which is more than suspended": (
        {"suspended": True, "cancel_until": at(300), "waiting_on": waits("a-0")},
        (
            "Unknown",
            "Cancelling",
            "the code may clean up until 2026-01-02T03:09:05.000Z; line 3 waits for a-0",
        ),
    ),
    "stalled in the clean-up": (
        {"cancel_until": at(300), "stall": Stall(Blocker.HISTORY_FULL, "full")},
        ("Unknown", "Stalled", "full; spec.stop ends the workflow at 2026-01-02T03:09:05.000Z"),
    ),
    "the code has ended before its tasks": (
        {"finishing": True, "waiting_on": waits("a-0")},
        ("Unknown", "Finishing", "the code has ended; line 3 waits for a-0"),
    ),
    "completed after a stop": (
        {"cancel_until": at(300), "end": End(reason=Reason.COMPLETED)},
        ("True", "Completed", "the code returned after it was asked to stop"),
    ),
    "completed": ({"end": End(reason=Reason.COMPLETED, result="7")}, ("True", "Completed", "the code returned")),
    "ended, which is more than stalled": (
        {"end": End(reason=Reason.COMPLETED), "stall": Stall(Blocker.HISTORY_FULL, "full")},
        ("True", "Completed", "the code returned"),
    ),
    "failed by a task": (
        {"end": End(reason=Reason.FAILED, error={"type": "Oom", "message": "m", "task": "a-0", "attempt": 2})},
        ("False", "Failed", "Oom: m (task a-0, attempt 2)"),
    ),
    "failed by the code": (
        {"end": End(reason=Reason.INVALID_CODE, error={"type": "SyntaxError", "message": "m", "line": 4})},
        ("False", "InvalidCode", "SyntaxError: m (line 4)"),
    ),
}


@pytest.mark.parametrize(("standing", "expected"), HEADLINES.values(), ids=HEADLINES)
def test_the_headline(standing: dict[str, Any], expected: tuple[str, str, str]) -> None:
    assert headline(fields_of(**standing)) == expected


def test_an_ended_workflow() -> None:
    fields = fields_of(
        waiting_on=waits("a-0"),
        end=End(
            reason=Reason.FAILED,
            error={"type": "Oom", "message": "m", "exitCode": 137, "details": {"k": 1.0, "é": "é"}, "task": None},
            ignored_errors=[{"type": "E", "message": "i"}],
        ),
    )
    assert "waitingOn" not in fields
    assert "result" not in fields
    assert fields["completionTime"] == NOW
    assert fields["error"] == {"type": "Oom", "message": "m", "exitCode": 137, "details": '{"k": 1.0, "é": "é"}'}
    assert fields["ignoredErrors"] == [{"type": "E", "message": "i"}]


def test_a_result_is_text() -> None:
    assert fields_of(end=End(reason=Reason.COMPLETED, result="1.0"))["result"] == "1.0"


def test_the_end_is_never_before_the_last_event() -> None:
    state = state_of(60, scheduled())
    assert fields_of(state, end=End(reason=Reason.COMPLETED))["completionTime"] == "2026-01-02T03:05:05.000Z"


ERRORS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the longest type": ({"type": "x" * 1024}, {"type": "x" * 1024}),
    "a longer type, as a container may report it": ({"type": "x" * 1025}, {"type": "x" * 1023 + "…"}),
    "a task's key that the code made up": ({"task": "x" * 65}, {"task": "x" * 63 + "…"}),
    "a timer that the code made up": ({"timer": "x" * 65}, {"timer": "x" * 63 + "…"}),
    "an exit code beyond 32 bits": ({"exitCode": 2**31}, {}),
    "an exit code of Windows": ({"exitCode": -(2**31)}, {"exitCode": -(2**31)}),
    "what is only of a stall": ({"key": "task-0", "recorded": "r", "asked": "a"}, {}),
}


@pytest.mark.parametrize(("given", "expected"), ERRORS.values(), ids=ERRORS)
def test_an_error_fits_into_the_status(given: dict[str, Any], expected: dict[str, Any]) -> None:
    base = {"type": "E", "message": "m"}
    assert error_json(base | given) == base | expected


ATTEMPTS: dict[str, tuple[dict[str, Any], str]] = {
    "the last attempt": ({"attempt": 3}, "E: m (task a-0, attempt 3 of 3)"),
    "an attempt that none follows": ({"attempt": 1}, "E: m (task a-0, attempt 1 of 3, not retried)"),
    "before the first attempt": ({"attempt": 0}, "E: m (task a-0, no attempt of 3 made)"),
    "with an exit code": ({"attempt": 3, "exitCode": 42}, "E: m (task a-0, attempt 3 of 3, exit code 42)"),
    "with an exit code that is in the message": (
        {"attempt": 3, "exitCode": 42, "message": "exit code 42, and no message"},
        "E: exit code 42, and no message (task a-0, attempt 3 of 3)",
    ),
    "with details": (
        {"attempt": 3, "details": {"id": 7.0, "ä": None}},
        'E: m (task a-0, attempt 3 of 3) (details {"id": 7.0, "ä": null})',
    ),
    "a task that the code made up": ({"task": "b-0", "attempt": 1}, "E: m (task b-0, attempt 1)"),
    "an attempt that the code made up": ({"task": "b-0", "attempt": "two"}, "E: m (task b-0, attempt 1)"),
}


@pytest.mark.parametrize(("error", "message"), ATTEMPTS.values(), ids=ATTEMPTS)
def test_the_condition_says_how_often_it_was_tried(error: dict[str, Any], message: str) -> None:
    end = End(reason=Reason.FAILED, error={"type": "E", "message": "m", "task": "a-0"} | error)
    assert headline(fields_of(end=end, tasks={"a": task_spec("a")})) == ("False", "Failed", message)


def test_long_details_are_shown_in_part() -> None:
    end = End(reason=Reason.FAILED, error={"type": "E", "message": "m", "details": "x" * 5000})
    message = headline(fields_of(end=end))[2]
    assert message.endswith("x…)")
    assert len(message) < 400


def test_so_many_ignored_errors_are_shown() -> None:
    errors = [{"type": "E", "message": str(n)} for n in range(SHOWN_ERRORS + 2)]
    shown = fields_of(end=End(reason=Reason.COMPLETED, ignored_errors=errors))["ignoredErrors"]
    assert shown[:-1] == errors[:SHOWN_ERRORS]
    assert shown[-1] == {"type": "NotShown", "message": "2 further errors were ignored; the history has them"}


WAITS: dict[str, tuple[State, View, dict[str, Any], dict[str, Any]]] = {
    "it runs": (SOME, view(), {}, {}),
    "it is held back": (empty_state(), view(), {}, {"reason": "held back"}),
    "its pod waits": (
        SOME,
        view(pod_record(launch_of(SOME, "a-0").job, "Pending", waiting="Unschedulable: no node")),
        {},
        {"reason": "Pod: Unschedulable: no node"},
    ),
    "its pod is refused": (
        SOME,
        view(obstacles={launch_of(SOME, "a-0").job: "can't be created: exceeded quota"}),
        {},
        {"reason": "Pod: can't be created: exceeded quota"},
    ),
    "its pod waits, and an Event is older than that": (
        SOME,
        view(
            pod_record(launch_of(SOME, "a-0").job, "Pending", waiting="Unschedulable: no node"),
            obstacles={launch_of(SOME, "a-0").job: "FailedMount"},
        ),
        {},
        {"reason": "Pod: Unschedulable: no node"},
    ),
    "its Job can't be created": (
        SOME,
        view(),
        {launch_of(SOME, "a-0").job: "exceeded quota"},
        {"reason": "Job: exceeded quota"},
    ),
    "N16: its next attempt waits": (
        state_of(scheduled("a-0"), failed("a-0", final=False), waiting("a-0", attempt=2, until=7)),
        view(),
        {},
        {"reason": "attempt 2 of 3 at 2026-01-02T03:04:12.000Z; attempt 1 failed: Error: no"},
    ),
    "N16: its first attempt waits": (
        state_of(waiting("a-0", until=7)),
        view(),
        {},
        {"reason": "attempt 1 of 3 at 2026-01-02T03:04:12.000Z"},
    ),
    "its second attempt runs": (
        state_of(scheduled("a-0"), timed_out("a-0", final=False), scheduled("a-0", attempt=2)),
        view(),
        {},
        {"reason": "attempt 2 of 3; attempt 1 timed out (StartToClose)"},
    ),
    "its third launch runs": (
        state_of(scheduled("a-0"), disrupted("a-0"), disrupted("a-0", launch=1)),
        view(),
        {},
        {"reason": "attempt 1 was disrupted: Evicted (2)"},
    ),
    "its fifth launch waits": (
        LOST,
        view(),
        {},
        {"reason": "attempt 1 was disrupted: Evicted (4); launched again at 2026-01-02T03:04:10.000Z"},
    ),
    "its fifth launch has begun": (
        LOST,
        view(job_record(launch_of(LOST, "a-0").job)),
        {},
        {"reason": "attempt 1 was disrupted: Evicted (4)"},
    ),
    "its second attempt runs, disruptions of the first are over": (
        state_of(scheduled("a-0"), disrupted("a-0"), failed("a-0", final=False), scheduled("a-0", attempt=2)),
        view(),
        {},
        {"reason": "attempt 2 of 3; attempt 1 failed: Error: no"},
    ),
    "its second attempt can't start": (
        RETRIED,
        view(pod_record(launch_of(RETRIED, "a-0").job, "Pending", waiting="Unschedulable: no node")),
        {},
        {"reason": "Pod: Unschedulable: no node"},
    ),
}


@pytest.mark.parametrize(("state", "seen", "notes", "expected"), WAITS.values(), ids=WAITS)
def test_what_is_awaited_says_why(state: State, seen: View, notes: dict[str, str], expected: dict[str, Any]) -> None:
    fields = fields_of(state, seen, waiting_on=waits("a-0"), notes=notes, tasks={"a": task_spec("a")})
    assert fields["waitingOn"] == [{"task": "a-0", "since": NOW, "line": 3} | expected]


def test_what_has_ended_is_not_awaited() -> None:
    assert "waitingOn" not in fields_of(waiting_on=waits("a-1"))


def test_since_when_is_kept() -> None:
    previous = {"waitingOn": [{"task": "a-0", "since": "2026-01-01T00:00:00.000Z"}, {"task": "a-9"}]}
    fields = fields_of(previous=previous, waiting_on=waits("a-0", "a-9"))
    assert [wait["since"] for wait in fields["waitingOn"]] == ["2026-01-01T00:00:00.000Z", NOW]


def test_only_so_many_waits_are_shown() -> None:
    fields = fields_of(waiting_on=waits(*(f"b-{n}" for n in range(SHOWN_WAITS + 5))))
    assert len(fields["waitingOn"]) == SHOWN_WAITS


# -- the patch ----------------------------------------------------------------------------------------------------------


def patched(status: Mapping[str, Any] | None, fields: Mapping[str, Any], events: Sequence[Event]) -> dict[str, Any]:
    """The status after the patch that was made from it; as the operator keeps it, `previous` lacks the history."""
    body = {"metadata": {"resourceVersion": "7"}} | ({} if status is None else {"status": status})
    previous = None if status is None else {name: value for name, value in status.items() if name != "history"}
    changed: dict[str, Any] = json_patch(body, status_patch(previous, fields, events, "7"))["status"]
    return changed


ONE, TWO, THREE = (event_json(event) for event in events_of(scheduled("a-0"), scheduled("a-1"), completed("a-0")))
EVENTS = events_of(scheduled("a-0"), scheduled("a-1"), completed("a-0"))

PATCHES: dict[str, tuple[dict[str, Any] | None, dict[str, Any], Sequence[Event], dict[str, Any]]] = {
    "the first status": (None, {"run": 1}, EVENTS[:1], {"run": 1, "history": [ONE]}),
    "the first status, without events": (None, {"run": 1}, [], {"run": 1, "history": []}),
    "further events follow": (
        {"run": 1, "history": [ONE]},
        {"run": 1},
        EVENTS[1:],
        {"run": 1, "history": [ONE, TWO, THREE]},
    ),
    "the first event after a status without any": (
        {"run": 1, "history": []},
        {"run": 1},
        EVENTS[:2],
        {"run": 1, "history": [ONE, TWO]},
    ),
    "the first event after a status without a list": ({"run": 1}, {"run": 1}, EVENTS[:1], {"run": 1, "history": [ONE]}),
    "a field changes": ({"run": 1, "history": [ONE]}, {"run": 2}, [], {"run": 2, "history": [ONE]}),
    "what doesn't apply any more goes": (
        {"run": 1, "waitingOn": [], "error": {}, "ignoredErrors": [], "result": "1", "history": [ONE]},
        {"run": 1},
        [],
        {"run": 1, "history": [ONE]},
    ),
    "what another version wrote stays": ({"colour": "red"}, {"run": 1}, [], {"colour": "red", "run": 1}),
}


@pytest.mark.parametrize(("status", "fields", "events", "expected"), PATCHES.values(), ids=PATCHES)
def test_the_patch_makes_it_so(
    status: dict[str, Any] | None, fields: dict[str, Any], events: Sequence[Event], expected: dict[str, Any]
) -> None:
    assert patched(status, fields, events) == expected


def test_the_patch_holds_only_for_the_version_that_was_read() -> None:
    patch = status_patch({}, {"run": 1}, [], "7")
    assert patch[0] == {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}


def test_no_change_is_no_patch() -> None:
    assert status_patch({"run": 1, "colour": "red"}, {"run": 1}, [], "7") == []


@FEW
@given(histories(), st.lists(st.integers(0, 15), max_size=4))
def test_a_history_written_in_pieces_is_the_whole(events: list[Event], cuts: list[int]) -> None:
    status, state = None, empty_state()
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(events)], strict=True):
        state = apply(state, events[start:end])
        fields = fields_of(state, previous=status, waiting_on=waits("task-0"))
        status = patched(status, fields, events[start:end])
        assert status == fields | {"history": [event_json(event) for event in events[:end]]}
        assert status_patch(status, fields, [], "8") == [], "again, it changes nothing"
