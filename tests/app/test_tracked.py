"""What is remembered of a Workflow."""

from datetime import UTC, datetime, timedelta

from flowy_operator.app.tracked import CreatedJob, Workflow
from flowy_operator.core.job import Owner

NOW = datetime(2026, 1, 1, 12, 0, 0, 123_456, tzinfo=UTC)


def test_the_clock_of_the_first_decision_is_that_of_every_later_one() -> None:
    body = {
        "metadata": {"name": "w", "namespace": "ns", "uid": "u", "resourceVersion": "1", "generation": 1},
        "spec": {"code": {"source": "def w():\n    return lambda: 1\n"}, "tasks": []},
    }
    first = Workflow(Owner(namespace="ns", name="w", uid="u"))
    first.accept(body, NOW)
    assert first.version.state is not None
    started_at = first.version.state.started_at
    again = Workflow(Owner(namespace="ns", name="w", uid="u"))
    status = {"startTime": "2026-01-01T12:00:00.123Z", "history": []}
    again.accept(body | {"status": status}, NOW + timedelta(hours=1))
    assert again.version.state is not None
    assert again.version.state.started_at == started_at


def test_a_job_made_while_the_clock_was_ahead_is_missed_a_minute_from_now_and_not_tomorrow() -> None:
    workflow = Workflow(Owner(namespace="ns", name="w", uid="u"))
    workflow.created = {"a": CreatedJob("1", NOW + timedelta(days=1), "/a"), "b": CreatedJob("2", NOW, "/b")}
    workflow.in_time(workflow.version, NOW)
    assert [made.at for made in workflow.created.values()] == [NOW, NOW]
    later = NOW + timedelta(seconds=1)
    workflow.in_time(workflow.version, later)
    assert [made.at for made in workflow.created.values()] == [NOW, NOW]
