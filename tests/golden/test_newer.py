"""A history that a newer version has gone on with: its run waits, nothing of it is lost, others go on."""

from typing import Any

import pytest

from tests.app.kubelet import Act, Call, value
from tests.app.world import NAMESPACE, world
from tests.fakes.clock import run_virtual

NEWS: dict[str, tuple[dict[str, Any], str]] = {
    "a type": ({"id": 2, "type": "TaskPaused", "task": "a-0"}, "event 2: unknown type 'TaskPaused'"),
    "a field": ({"id": 2, "type": "StopRequested", "mode": "Cancel", "by": "x"}, "event 2: unknown field 'by'"),
    "a value": (
        {"id": 2, "type": "StopRequested", "mode": "Freeze"},
        "event 2: mode: 'Freeze' is not a valid StopMode",
    ),
}


@pytest.mark.parametrize(("event", "told"), NEWS.values(), ids=NEWS)
def test_what_only_a_newer_version_knows_stalls_its_run_alone(event: dict[str, Any], told: str) -> None:
    def activity(call: Call) -> Act:
        return value(call.workflow, 60 if call.workflow == "w" else 1)

    async def scenario() -> None:
        async with world(activity) as w:
            w.submit("def f(a): return lambda: a()", "a")
            await w.settle(5)
            await w.kill()
            before = w.body()["status"]
            newer = [*before["history"], {"time": before["history"][-1]["time"], **event}]
            changed = {**before, "history": newer, "historyDigest": "f" * 16}
            w.store.edit("workflows", NAMESPACE, "w", lambda body: body.update(status=changed))
            w.start()
            w.submit("def f(a): return lambda: a()", "a", name="other")
            await w.ended("other")
            assert w.stalled() == "HistoryInvalid"
            assert w.condition()["message"].startswith(
                f"{told}; if a newer version of Flowy has written it, update the operator"
            )
            assert w.status()["history"] == newer
            assert w.status()["historyDigest"] == "f" * 16
            assert w.jobs() == ["a-0", "a-0"]
            # The newer one is back; what it does with its own is played by taking that away.
            await w.kill()
            w.store.edit("workflows", NAMESPACE, "w", lambda body: body.update(status=before))
            w.start()
            await w.ended()
            assert w.result() == "w"

    run_virtual(scenario())


def test_an_older_operator_that_is_still_there_leaves_a_newer_ones_digest() -> None:
    """It knows the history up to there, and would else put its own digest back, which fits nothing."""

    async def scenario() -> None:
        async with world(lambda call: value(call.workflow, 60)) as w:
            w.submit("def f(a): return lambda: a()", "a")
            await w.settle(5)
            before = w.body()["status"]
            event = {"id": 2, "time": before["history"][-1]["time"], "type": "TaskPaused", "task": "a-0"}
            changed = {**before, "history": [*before["history"], event], "historyDigest": "f" * 16}
            w.store.edit("workflows", NAMESPACE, "w", lambda body: body.update(status=changed))
            await w.settle(5)
            assert w.stalled() == "HistoryInvalid"
            assert w.status()["historyDigest"] == "f" * 16
            assert w.status()["history"] == changed["history"]

    run_virtual(scenario())
