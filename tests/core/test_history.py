"""Events as JSON, and what is refused as no history of ours."""

import copy
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowy.policy.timeout import Timer
from flowy_operator.core.history import (
    CancelReason,
    Chain,
    Event,
    Fact,
    Failure,
    FailureClass,
    HistoryInvalid,
    Restarted,
    RetryScheduled,
    TaskCancelled,
    TaskCompleted,
    TaskDisrupted,
    TaskFailed,
    TaskScheduled,
    TaskTimedOut,
    event_json,
    event_line,
    format_time,
    parse_event,
    parse_history,
    parse_time,
)
from flowy_operator.core.state import apply
from flowy_operator.core.values import reference
from tests.builders import DIGEST, START, at, completed, empty_state, events_of, scheduled
from tests.core.strategies import FEW, facts, histories, instants

GOLDEN: dict[str, tuple[Fact, dict[str, object]]] = {
    "the first attempt carries digest and line": (
        TaskScheduled(task="encode-1", digest=DIGEST, line=5),
        {"type": "TaskScheduled", "task": "encode-1", "digest": DIGEST, "line": 5},
    ),
    "a later attempt carries its number": (
        TaskScheduled(task="encode-1", attempt=2),
        {"type": "TaskScheduled", "task": "encode-1", "attempt": 2},
    ),
    "a retry names the instant": (
        RetryScheduled(task="encode-1", attempt=2, at=at(1.5)),
        {"type": "RetryScheduled", "task": "encode-1", "attempt": 2, "at": "2026-01-02T03:04:06.500Z"},
    ),
    "nothing written is left out": (
        TaskCompleted(task="encode-1"),
        {"type": "TaskCompleted", "task": "encode-1"},
    ),
    "a result is text": (
        TaskCompleted(task="encode-1", result='{"é":1.0}', started_at=at(1), node="n1"),
        {
            "type": "TaskCompleted",
            "task": "encode-1",
            "result": '{"é":1.0}',
            "startedAt": "2026-01-02T03:04:06.000Z",
            "node": "n1",
        },
    ),
    "a long result is referred to": (
        TaskCompleted(task="encode-1", result_ref=reference("talk-42-encode-1-abc", '"é"')),
        {
            "type": "TaskCompleted",
            "task": "encode-1",
            "resultRef": {
                "name": "talk-42-encode-1-abc",
                "digest": "f2886017e9c7abacf804b54d64787dce2b611c9544ba21f3affdd126a6e50086",
                "bytes": 4,
            },
        },
    ),
    "a disruption numbers its launch, the first one too": (
        TaskDisrupted(task="encode-1", launch=0, reason="Evicted"),
        {"type": "TaskDisrupted", "task": "encode-1", "launch": 0, "reason": "Evicted"},
    ),
    "a disruption may come with a sentence": (
        TaskDisrupted(task="encode-1", launch=1, reason="Evicted", message="The node was low on memory."),
        {
            "type": "TaskDisrupted",
            "task": "encode-1",
            "launch": 1,
            "reason": "Evicted",
            "message": "The node was low on memory.",
        },
    ),
    "a failure that goes on": (
        TaskFailed(task="encode-1", error=Failure(type="OOMKilled", message="m", exit_code=137, details="[1]")),
        {
            "type": "TaskFailed",
            "task": "encode-1",
            "error": {"type": "OOMKilled", "message": "m", "exitCode": 137, "details": "[1]"},
        },
    ),
    "a failure for good": (
        TaskFailed(
            task="encode-1",
            error=Failure(type="LaunchRefused", message="m"),
            failure_class=FailureClass.INVALID,
            final=True,
        ),
        {
            "type": "TaskFailed",
            "task": "encode-1",
            "error": {"type": "LaunchRefused", "message": "m"},
            "class": "Invalid",
            "final": True,
        },
    ),
    "a timeout": (
        TaskTimedOut(task="encode-1", attempt=3, timer=Timer.START_TO_CLOSE, final=True),
        {"type": "TaskTimedOut", "task": "encode-1", "attempt": 3, "timer": "StartToClose", "final": True},
    ),
    "a timeout whose cause is known": (
        TaskTimedOut(task="encode-1", timer=Timer.SCHEDULE_TO_START, message="Unschedulable: no room", final=True),
        {
            "type": "TaskTimedOut",
            "task": "encode-1",
            "timer": "ScheduleToStart",
            "final": True,
            "message": "Unschedulable: no room",
        },
    ),
    "a cancellation": (
        TaskCancelled(task="encode-1", reason=CancelReason.DELETED),
        {"type": "TaskCancelled", "task": "encode-1", "reason": "Deleted"},
    ),
    "a restart": (
        Restarted(run=2, input='{"args":[1.0],"kwargs":{}}'),
        {"type": "Restarted", "run": 2, "input": '{"args":[1.0],"kwargs":{}}'},
    ),
}


@pytest.mark.parametrize(("fact", "fields"), GOLDEN.values(), ids=GOLDEN)
def test_an_event_is_written_so(fact: Fact, fields: dict[str, object]) -> None:
    event = Event(7, START, fact)
    assert event_json(event) == {"id": 7, "time": "2026-01-02T03:04:05.000Z"} | fields
    assert parse_event(event_json(event)) == event


@settings(deadline=None)
@given(facts(), st.integers(1, 2**31), instants)
def test_every_event_comes_back_from_its_json(fact: Fact, number: int, time: datetime) -> None:
    event = Event(number, time, fact)
    text = json.dumps(event_json(event), ensure_ascii=False)
    assert parse_event(json.loads(text)) == event


def edit(**changes: Any) -> Callable[[], dict[str, Any]]:
    """An event with fields changed, or taken away where the value is `...`."""

    def edited() -> dict[str, Any]:
        raw = event_json(Event(1, START, TaskFailed(task="task-0", error=Failure(type="Error", message="m")))) | changes
        return {name: value for name, value in raw.items() if value is not ...}

    return edited


MALFORMED: dict[str, tuple[Callable[[], object], str]] = {
    "no object": (lambda: ["TaskScheduled"], "an event of the history is no object"),
    "a reference that is text": (
        edit(type="TaskCompleted", error=..., resultRef="a"),
        "event 1: resultRef is 'a', not ValueRef",
    ),
    "a reference without a size": (
        edit(type="TaskCompleted", error=..., resultRef={"name": "a", "digest": "b"}),
        "event 1: resultRef: bytes is missing",
    ),
    "without id": (edit(id=...), "an event's id is None, not an integer"),
    "an id that is text": (edit(id="1"), "an event's id is '1'"),
    "an id that is true": (edit(id=True), "an event's id is True"),
    "without a type": (edit(type=...), "event 1: unknown type None"),
    "a type of a later version": (edit(type="TaskPaused"), "event 1: unknown type 'TaskPaused'"),
    "a type that can't be a key": (edit(type=[{}]), "event 1: unknown type"),
    "without a time": (edit(time=...), "event 1: time is None, not datetime"),
    "a time that is none": (edit(time="yesterday"), "event 1: time: Invalid isoformat"),
    "a time without a zone": (
        edit(time="2026-01-02T03:04:05"),
        "event 1: time: '2026-01-02T03:04:05' has no time zone",
    ),
    "a time before the first one": (edit(time="0001-01-01T00:00:00+14:00"), "event 1: time: .* is out of range"),
    "a time after the last one": (edit(time="9999-12-31T23:59:59-14:00"), "event 1: time: .* is out of range"),
    "an unknown field": (edit(colour="red"), "event 1: unknown field 'colour'"),
    "Python's name of a field": (edit(failure_class="Error"), "event 1: unknown field 'failure_class'"),
    "a field is missing": (edit(task=...), "event 1: task is missing"),
    "a field of the error is missing": (edit(error={"type": "Error"}), "event 1: error: message is missing"),
    "an unknown field of the error": (
        edit(error={"type": "E", "message": "", "stack": ""}),
        "event 1: error: unknown field 'stack'",
    ),
    "an error that is text": (edit(error="no"), "event 1: error is 'no', not Failure"),
    "an attempt that is a float": (edit(attempt=1.0), "event 1: attempt is 1.0, not int"),
    "an attempt that is true": (edit(attempt=True), "event 1: attempt is True, not int"),
    "an attempt that is null": (edit(attempt=None), "event 1: attempt is None, not int"),
    "a class of a later version": (edit(**{"class": "Odd"}), "event 1: class: 'Odd' is not a valid FailureClass"),
    "a class that is a number": (edit(**{"class": 1}), "event 1: class is 1, not FailureClass"),
    "final that is a number": (edit(final=1), "event 1: final is 1, not bool"),
    "a start that is a number": (edit(startedAt=0), "event 1: startedAt is 0, not datetime"),
}


@pytest.mark.parametrize(("raw", "message"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_event_is_refused_by_its_place(raw: Callable[[], object], message: str) -> None:
    with pytest.raises(HistoryInvalid, match=message):
        parse_event(raw())


def test_ids_are_without_gaps_and_time_never_runs_backwards() -> None:
    events = events_of(scheduled(), 1, completed())
    raw = [event_json(event) for event in events]
    assert parse_history(raw) == events
    with pytest.raises(HistoryInvalid, match="event 2 stands where 1 must be: events were removed or reordered"):
        parse_history(raw[1:])
    with pytest.raises(HistoryInvalid, match="event 2 is older than the one before it"):
        parse_history([raw[0], raw[1] | {"time": format_time(at(-1))}])


def test_events_of_one_instant_are_fine() -> None:
    events = events_of(scheduled(), completed())
    assert parse_history([event_json(event) for event in events]) == events


def test_times_have_milliseconds_and_are_utc() -> None:
    paris = timezone(timedelta(hours=1))
    assert format_time(datetime(2026, 1, 2, 4, 4, 5, 1999, tzinfo=paris)) == "2026-01-02T03:04:05.001Z"
    assert parse_time("2026-01-02T04:04:05+01:00") == START
    assert parse_time("2026-01-02T03:04:05Z").tzinfo is UTC


def test_what_is_finer_than_a_millisecond_is_dropped_when_read_as_when_written() -> None:
    # Otherwise an edit below a millisecond would move a due time and leave the digest as it was.
    assert parse_time("2026-01-02T03:04:05.0009Z") == START


def test_the_size_is_that_of_the_json() -> None:
    (event,) = events_of(scheduled())
    text = json.dumps(event_json(event), separators=(",", ":"))
    assert Chain().over([event_line(event)]).size == len(text)


@FEW
@given(histories(max_size=12), st.data())
def test_the_chain_is_the_same_in_pieces(events: list[Event], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(events)))
    assert Chain().over(map(event_line, events[:cut])).over(map(event_line, events[cut:])) == Chain().over(
        map(event_line, events)
    )


@FEW
@given(histories(min_size=1, max_size=12), st.data())
def test_any_single_edit_is_found(events: list[Event], data: st.DataObject) -> None:
    raw = [event_json(event) for event in events]
    edited = data.draw(_edits(raw))
    try:
        found = parse_history(edited)
        state = apply(empty_state(), found)
    except HistoryInvalid:
        return
    if found == events:
        return  # another spelling of the same: `attempt: 1` written out
    assert state.chain.digest != Chain().over(map(event_line, events)).digest


def _edits(raw: list[dict[str, Any]]) -> st.SearchStrategy[list[dict[str, Any]]]:
    places = st.integers(0, len(raw) - 1)
    return st.one_of(
        places.map(lambda n: raw[:n] + raw[n + 1 :]),
        st.tuples(places, places).map(lambda pair: _swapped(raw, *pair, keep_ids=False)),
        st.tuples(places, places).map(lambda pair: _swapped(raw, *pair, keep_ids=True)),
        places.flatmap(lambda n: _changed(raw[n]).map(lambda event: [*raw[:n], event, *raw[n + 1 :]])),
    )


def _swapped(raw: list[dict[str, Any]], m: int, n: int, *, keep_ids: bool) -> list[dict[str, Any]]:
    swapped = copy.deepcopy(raw)
    swapped[m], swapped[n] = swapped[n], swapped[m]
    if keep_ids:
        swapped[m]["id"], swapped[n]["id"] = m + 1, n + 1
        swapped[m]["time"], swapped[n]["time"] = raw[m]["time"], raw[n]["time"]
    return swapped


def _changed(event: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    values = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(0, 5),
        st.text(max_size=5),
        st.sampled_from(["task-0", "null", "1.00", "Deleted", "2026-01-02T03:04:05.0001Z", "2026-01-02T03:04:05Z"]),
    )
    named = st.sampled_from([*event, "attempt", "final", "result", "digest", "line"])
    return st.tuples(named, values).map(lambda field: {**event, field[0]: field[1]})
