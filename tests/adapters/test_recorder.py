"""Kubernetes Events, posted in the background and never in the way."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from flowy_operator.adapters import recorder as module
from flowy_operator.adapters.recorder import MESSAGE_LIMIT, Recorder
from tests.fakes.api import Api
from tests.fakes.client import LocalClient
from tests.fakes.clock import run_virtual
from tests.fakes.faults import Refuse

WORKFLOW = {
    "apiVersion": "flowy.dev/v1alpha1",
    "kind": "Workflow",
    "namespace": "ns",
    "name": "w",
    "uid": "u",
    "resourceVersion": "7",
}


def posted(say: Callable[[Recorder], None], api: Api | None = None) -> list[dict[str, Any]]:
    """Return the Events that the cluster has after `say`."""
    cluster = api or Api()

    async def main() -> None:
        recorder = Recorder(LocalClient(cluster), instance="pod-1", now=lambda: datetime(2026, 11, 24, 10, tzinfo=UTC))
        say(recorder)
        posting = asyncio.create_task(recorder.run())
        await recorder.drain()
        posting.cancel()

    run_virtual(main())
    return cluster.store.all(cluster.store.kind("events"))


def test_event_tells_of_the_object() -> None:
    (event,) = posted(lambda r: r.event(WORKFLOW, "Warning", "TaskFailed", "add: exit code 1"))

    assert event["involvedObject"] == WORKFLOW
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "TaskFailed", "add: exit code 1")
    assert (event["metadata"]["namespace"], event["lastTimestamp"]) == ("ns", "2026-11-24T10:00:00Z")


def test_same_said_of_the_same_version_is_one_event() -> None:
    def say(recorder: Recorder) -> None:
        for version in ("7", "7", "8"):
            recorder.event(WORKFLOW | {"resourceVersion": version}, "Normal", "Started", "go")

    assert len(posted(say)) == 2


def test_names_sort_in_the_order_of_what_was_said() -> None:
    """kubectl has nothing else to go by for Events of one second."""

    def say(recorder: Recorder) -> None:
        recorder.event(WORKFLOW, "Normal", "Running", "go")
        for number in range(12):
            recorder.event(WORKFLOW | {"resourceVersion": "15"}, "Warning", "TaskFailed", f"{number}")
        recorder.event(WORKFLOW | {"resourceVersion": "16"}, "Normal", "Completed", "done")

    by_name = sorted(posted(say), key=lambda event: str(event["metadata"]["name"]))
    assert [e["message"] for e in by_name] == ["go", *map(str, range(12)), "done"]


def test_refusal_is_told_and_the_next_is_posted(caplog: pytest.LogCaptureFixture) -> None:
    api = Api()
    api.faults.add(Refuse(403, "Forbidden"), resource="events")

    def say(recorder: Recorder) -> None:
        recorder.event(WORKFLOW, "Normal", "One", "")
        recorder.event(WORKFLOW, "Normal", "Two", "")

    assert [event["reason"] for event in posted(say, api)] == ["Two"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_too_many_are_dropped_and_that_is_told_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUE_LIMIT", 3)

    def say(recorder: Recorder) -> None:
        for n in range(9):
            recorder.event(WORKFLOW, "Normal", f"N{n}", "")
        assert recorder.dropped == 6

    assert len(posted(say)) == 3
    assert len(caplog.records) == 1


def test_long_name_and_message_fit() -> None:
    (event,) = posted(lambda r: r.event(WORKFLOW | {"name": "w" * 253}, "Normal", "Long", "x" * 9999))

    assert len(event["metadata"]["name"]) <= 253
    assert len(event["message"]) == MESSAGE_LIMIT
