"""The judgement finds what it is there for: a run in which nothing goes wrong would pass any of them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flowy_operator.core.history import (
    CancelReason,
    Event,
    Failure,
    Restarted,
    TaskCancelled,
    TaskCompleted,
    TaskDisrupted,
    TaskFailed,
    TaskScheduled,
)
from flowy_operator.core.naming import job_name
from tests.chaos.observer import Seen
from tests.chaos.plan import Deed, Load
from tests.chaos.verdict import Recorded, Started, each_once, outcome_of, read_started, recorded

BODY = {"metadata": {"name": "w", "uid": "u"}}
AT = datetime(2026, 11, 28, tzinfo=UTC)


def history(*facts: Any) -> list[Event]:
    return [Event(n, AT, fact) for n, fact in enumerate(facts, 1)]


def began(task: str, attempt: int = 1, *, run: int = 1, launch: int = 0) -> Started:
    job = job_name(workflow="w", uid="u", run=run, task=task, attempt=attempt, launch=launch)
    return Started("w", run, task, attempt, job)


def wrong(ran: list[Started], *facts: Any) -> list[str]:
    return list(each_once(ran, {"w": list(recorded(BODY, history(*facts)))}, frozenset()))


DONE = (TaskScheduled(task="a-0"), TaskCompleted(task="a-0"))
FAILED = TaskFailed(task="a-0", error=Failure(type="Error", message="no"))

RIGHT = {
    "each once": ([began("a-0")], DONE),
    "a retry is an attempt of its own": (
        [began("a-0"), began("a-0", 2)],
        (TaskScheduled(task="a-0"), FAILED, TaskScheduled(task="a-0", attempt=2), TaskCompleted(task="a-0", attempt=2)),
    ),
    "an attempt that was disrupted begins again, as another launch": (
        [began("a-0"), began("a-0", launch=1)],
        (TaskScheduled(task="a-0"), TaskDisrupted(task="a-0", launch=0, reason="Evicted"), TaskCompleted(task="a-0")),
    ),
    "one that was cancelled need not have run": (
        [],
        (TaskScheduled(task="a-0"), TaskCancelled(task="a-0", reason=CancelReason.STOP_REQUESTED)),
    ),
    "what is left of the history begins with the last run": (
        [began("a-0"), began("a-0", run=2)],
        (Restarted(run=2, input="{}"), *DONE),
    ),
}
WRONG = {
    "twice": ([began("a-0"), began("a-0")], DONE, "ran 2 times"),
    "never": ([], DONE, "never ran"),
    "failed without having run": ([], (TaskScheduled(task="a-0"), FAILED), "never ran"),
    "on no record": ([began("a-0"), began("b-0")], DONE, "on no record"),
    "a second launch that nobody recorded": ([began("a-0"), began("a-0", launch=1)], DONE, "on no record"),
    "an earlier run's attempt twice": (
        [began("a-0"), began("a-0"), began("a-0", run=2)],
        (Restarted(run=2, input="{}"), *DONE),
        "ran 2 times",
    ),
}


@pytest.mark.parametrize(("ran", "facts"), RIGHT.values(), ids=RIGHT)
def test_what_is_right(ran: list[Started], facts: tuple[Any, ...]) -> None:
    assert wrong(ran, *facts) == []


@pytest.mark.parametrize(("ran", "facts", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong(ran: list[Started], facts: tuple[Any, ...], words: str) -> None:
    (found,) = wrong(ran, *facts)
    assert words in found


def test_a_child_is_no_container() -> None:
    records = {"w": [Recorded(began("sub-0"), 0.0, must_run=True)]}
    assert list(each_once([], records, frozenset({began("sub-0").job}))) == []


def test_the_two_logs_are_read_alike(tmp_path: Path) -> None:
    (tmp_path / "fake").write_text("w 2 a-0 1 w-a-0-abc\n")
    (tmp_path / "real").write_text("v 1 b-0 2 v-b-0-xyz-k2x4d\n")
    assert read_started(tmp_path) == [
        Started("w", 2, "a-0", 1, "w-a-0-abc"),
        Started("v", 1, "b-0", 2, "v-b-0-xyz"),
    ]


def ended(reason: str, **status: Any) -> Seen:
    succeeded = "Unknown" if reason == "Running" else str(reason == "Completed")
    conditions = [{"type": "Succeeded", "status": succeeded, "reason": reason}]
    return Seen("w", {"status": {"conditions": conditions, **status}})


def load(outcome: str = "Completed", value: object = 7, deed: Deed | None = None) -> Load:
    return Load(name="w", at=0, manifest={}, outcome=outcome, value=value, deed=deed)


NO = {"type": "TaskError", "message": "no"}
ENDS = {
    "the right result": (load(), ended("Completed", result="7"), None),
    "another result": (load(), ended("Completed", result="8"), "'8'"),
    "the right error": (load("Failed", ("Error", "no")), ended("Failed", error=NO), None),
    "another error": (load("Failed", ("Error", "yes")), ended("Failed", error=NO), "Failed"),
    "an error instead of a result": (load(), ended("Failed", error=NO), "Failed"),
    "never ended": (load(), ended("Running"), "has not ended"),
    "never seen": (load(), None, "never seen"),
    "stopped as told": (load(deed=Deed.CANCEL), ended("Cancelled"), None),
    "stopped, and nobody had told it to": (load(), ended("Cancelled"), "Cancelled"),
    "told to stop after its end": (load(deed=Deed.CANCEL), ended("Completed", result="7"), None),
    "told to stop, with a wrong result": (load(deed=Deed.CANCEL), ended("Completed", result="8"), "'8'"),
    "deleted, and there": (load(deed=Deed.DELETE), ended("Running"), "still there"),
    "deleted before anybody saw it": (load(deed=Deed.DELETE), None, None),
}


@pytest.mark.parametrize(("expected", "seen", "words"), ENDS.values(), ids=ENDS)
def test_ends(expected: Load, seen: Seen | None, words: str | None) -> None:
    found = outcome_of(expected, seen)
    assert found is None if words is None else words in str(found)


def test_ends_are_shown_as_json() -> None:
    assert json.dumps(ended("Running").body["status"]["conditions"][0]) in str(outcome_of(load(), ended("Running")))
