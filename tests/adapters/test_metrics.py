"""What the figures count, and that they are as Prometheus wants them."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flowy.policy.timeout import Timer
from flowy_operator.adapters.metrics import Metrics, Outcome, Snapshot
from flowy_operator.core.history import (
    CancelReason,
    Fact,
    Failure,
    Restarted,
    RetryScheduled,
    TaskCancelled,
    TaskCompleted,
    TaskDisrupted,
    TaskFailed,
    TaskScheduled,
    TaskTimedOut,
)
from tests.adapters.scrape import scraped

NO = Failure(type="Error", message="no")
AT = datetime(2026, 1, 1, tzinfo=UTC)

FACTS: dict[str, tuple[Sequence[Fact], dict[str, float]]] = {
    "a first attempt is no retry": ([TaskScheduled(task="a-0")], {}),
    "the one after it is": ([TaskScheduled(task="a-0", attempt=2)], {"flowy_retries_total": 1}),
    "a retry counts when it is launched, not when it is due later": (
        [RetryScheduled(task="a-0", attempt=2, at=AT), TaskScheduled(task="a-0", attempt=2)],
        {"flowy_retries_total": 1},
    ),
    "a disruption is no retry": (
        [TaskDisrupted(task="a-0", launch=0, reason="Evicted")],
        {"flowy_disruptions_total": 1},
    ),
    "tasks count once they have ended for good": (
        [
            TaskFailed(task="a-0", error=NO),
            TaskTimedOut(task="a-1", timer=Timer.HEARTBEAT),
            TaskCompleted(task="a-2"),
            TaskFailed(task="a-0", attempt=2, error=NO, final=True),
            TaskTimedOut(task="a-1", attempt=2, timer=Timer.HEARTBEAT, final=True),
            TaskCancelled(task="a-3", reason=CancelReason.WORKFLOW_ENDED),
            Restarted(run=2, input="{}"),
        ],
        {
            'flowy_tasks_total{outcome="completed"}': 1,
            'flowy_tasks_total{outcome="failed"}': 1,
            'flowy_tasks_total{outcome="timed_out"}': 1,
            'flowy_tasks_total{outcome="cancelled"}': 1,
        },
    ),
}


@pytest.mark.parametrize(("facts", "expected"), FACTS.values(), ids=FACTS)
def test_what_the_history_tells(facts: Sequence[Fact], expected: dict[str, float]) -> None:
    metrics = Metrics()
    metrics.recorded(facts)
    found = {
        name: value
        for name, value in scraped(metrics).items()
        if name.startswith("flowy_") and value and not name.startswith("flowy_build_info")
    }
    assert found == expected


def test_times_are_told_by_their_kind() -> None:
    metrics = Metrics()
    metrics.reconciled(Outcome.DONE, 0.004)
    metrics.reconciled(Outcome.AGAIN, 2)
    metrics.decided("answered", 0.002)
    metrics.decided("memory", 0.2)
    metrics.stayed("went-on")
    metrics.launched(0.7)
    metrics.launched(-0.3)  # by a node's clock that is ahead
    found = scraped(metrics)
    assert found['flowy_reconcile_seconds_count{outcome="done"}'] == 1
    assert found['flowy_reconcile_seconds_sum{outcome="again"}'] == 2
    assert found['flowy_reconcile_seconds_count{outcome="failed"}'] == 0, "there from the start, so that it can rise"
    assert found['flowy_decision_seconds_bucket{end="answered",le="0.0025"}'] == 1
    assert found['flowy_decision_seconds_count{end="memory"}'] == 1
    assert found['flowy_staying_children_total{fate="went-on"}'] == 1
    assert found["flowy_dead_time_seconds_count"] == 2
    assert found["flowy_dead_time_seconds_sum"] == pytest.approx(0.7)


def test_a_scrape_shows_what_is_so_then() -> None:
    now = Snapshot()
    metrics = Metrics(lambda: now)
    assert not any(name.startswith("flowy_leader") for name in scraped(metrics))
    now = Snapshot(
        leads={0: True, 1: False},
        queue_depth=3,
        oldest_wait_s=1.5,
        taken=4,
        waited_s=0.5,
        open_workflows=7,
        open_tasks=9,
        events_dropped=2,
        stalled={"HistoryFull": 1},
        foreign={"Job": 5, "Pod": 0},
        api_calls={("create", "jobs", 201): 11, ("create", "jobs", 0): 1},
        watch_restarts={("pods", "expired"): 2},
    )
    found = scraped(metrics)
    expected = {
        'flowy_leader{shard="0"}': 1,
        'flowy_leader{shard="1"}': 0,
        "flowy_queue_depth": 3,
        "flowy_queue_oldest_wait_seconds": 1.5,
        "flowy_queue_wait_seconds_count": 4,
        "flowy_queue_wait_seconds_sum": 0.5,
        "flowy_open_workflows": 7,
        "flowy_open_tasks": 9,
        "flowy_kube_events_dropped_total": 2,
        'flowy_stalled_workflows{reason="HistoryFull"}': 1,
        'flowy_foreign_objects{kind="Job"}': 5,
        'flowy_foreign_objects{kind="Pod"}': 0,
        'flowy_api_calls_total{code="201",resource="jobs",verb="create"}': 11,
        'flowy_api_calls_total{code="0",resource="jobs",verb="create"}': 1,
        'flowy_watch_restarts_total{cause="expired",resource="pods"}': 2,
    }
    assert {name: found[name] for name in expected} == expected


def test_two_of_them_share_nothing() -> None:
    one, other = Metrics(), Metrics()
    one.stalled("HistoryFull")
    one.ended("Completed")
    one.answered("/heartbeat", 200)
    assert scraped(one)['flowy_stalls_total{reason="HistoryFull"}'] == 1
    assert scraped(one)['flowy_workflows_total{reason="Completed"}'] == 1
    assert scraped(one)['flowy_gateway_calls_total{code="200",path="/heartbeat"}'] == 1
    assert scraped(other)['flowy_stalls_total{reason="HistoryFull"}'] == 0
    assert 'flowy_workflows_total{reason="Completed"}' not in scraped(other)


def test_what_an_alert_looks_at_is_there_before_it_happens() -> None:
    """A series that begins with 1 has not increased."""
    found = scraped(Metrics(ends=["forbidden-call"]))
    assert found['flowy_decision_seconds_count{end="forbidden-call"}'] == 0
    assert found['flowy_stalls_total{reason="ForbiddenCall"}'] == 0
    assert found['flowy_reconcile_seconds_count{outcome="failed"}'] == 0


def test_names_are_as_prometheus_wants_them() -> None:
    body, content_type = Metrics().text()
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(body.decode()))
    for family in families:
        assert family.documentation, family.name
        assert family.type != "unknown", family.name
        # Base units, and none that isn't one.
        assert not family.name.endswith(("_ms", "_s", "_mib")), family.name
        assert not family.name.endswith("_created"), "when a series began is nothing that anybody asks for"
    assert {family.name.split("_")[0] for family in families} == {"flowy", "process"}
