"""What is remembered of a Workflow."""

from datetime import UTC, datetime, timedelta

from flowy_operator.app.tracked import Workflow
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
