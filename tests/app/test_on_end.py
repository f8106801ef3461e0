"""What becomes of tasks that still run when the code has ended: `spec.onEnd`."""

import asyncio
from typing import Any

import pytest

from flowy_operator.app.late import LATE_S
from flowy_operator.app.settings import Settings
from flowy_operator.core.history import CancelReason, TaskCancelled
from tests.app.kubelet import NEVER_ENDS, Act, Call, failure, value
from tests.app.world import World, simulated, world
from tests.fakes.faults import Refuse

FIRST = """
    from flowy import first

    def w(quick, slow):
        def run():
            left = [slow(n) for n in range(2)]
            return first(quick(), *left) + 0
        return run
"""
RETRIES = {"maxAttempts": 3, "when": ["Error"], "delaysSeconds": [0, 7]}
SLOW_S = 60.0


def act(call: Call) -> Act:
    if call.name == "quick":
        return value(1)
    if call.args == [1] and call.attempt < 3:
        return failure("not yet", lasts_s=SLOW_S)
    return value(2, lasts_s=SLOW_S)


def submit(w: World, on_end: str, **spec: Any) -> None:
    w.submit(FIRST, "quick", {"name": "slow", "retry": RETRIES}, onEnd=on_end, **spec)


def reasons(w: World) -> list[tuple[str, CancelReason]]:
    return [(e.fact.task, e.fact.reason) for e in w.history() if isinstance(e.fact, TaskCancelled)]


@simulated
async def test_cancel_deletes_what_still_runs() -> None:
    async with world(act) as w:
        submit(w, "Cancel")
        await w.ended(within_s=5)
        assert reasons(w) == [(f"slow-{n}", "WorkflowEnded") for n in range(2)]
        await w.until(lambda: w.jobs() == ["quick-0"])


@simulated
async def test_wait_holds_the_end_until_each_task_has_its_outcome() -> None:
    async with world(act) as w:
        submit(w, "Wait")
        await w.until(lambda: w.reason() == "Finishing")
        assert "result" not in w.status()
        assert [wait["task"] for wait in w.status()["waitingOn"]] == ["slow-0", "slow-1"]
        assert {wait["line"] for wait in w.status()["waitingOn"]} == {6}
        await w.until(lambda: w.told()[-1] == "RetryScheduled slow-1 #2")
        assert [wait.get("reason", "")[:9] for wait in w.status()["waitingOn"]] == ["attempt 2"]
        await w.ended()
        assert (w.reason(), w.result()) == ("Completed", 1)
        assert [words for words in w.told() if words.startswith("Task") and "slow-1" in words][
            -1
        ] == "TaskCompleted slow-1 #3"
        assert reasons(w) == []


@simulated
async def test_the_errors_of_what_is_waited_for_are_told() -> None:
    async with world(lambda call: value(1) if call.name == "quick" else failure(f"slow {call.args[0]}", SLOW_S)) as w:
        w.submit(FIRST, "quick", "slow", onEnd="Wait")
        status = await w.ended()
        assert w.result() == 1
        assert [error["message"] for error in status["ignoredErrors"]] == ["slow 0", "slow 1"]


@simulated
async def test_a_failure_waits_too_and_stays_the_error() -> None:
    source = """
        def w(quick, slow):
            def run():
                slow(0)
                quick() + 0
                raise KeyError("mine")
            return run
    """
    async with world(act) as w:
        w.submit(source, "quick", "slow", onEnd="Wait")
        status = await w.ended()
        assert (w.reason(), status["error"]["type"]) == ("Failed", "KeyError")
        assert w.told()[-1] == "TaskCompleted slow-0"


@simulated
async def test_wait_survives_the_operator() -> None:
    async with world(act) as w:
        submit(w, "Wait")
        for _ in range(10):
            await asyncio.sleep(9)
            await w.restart()
        await w.ended()
        assert (w.reason(), w.result()) == ("Completed", 1)


@pytest.mark.parametrize(
    ("spec", "reason"), [({"timeouts": {"workflowSeconds": 20}}, "TimedOut"), ({"stop": "Terminate"}, "Terminated")]
)
def test_an_end_from_outside_waits_for_nothing(spec: dict[str, Any], reason: str) -> None:
    @simulated
    async def scenario() -> None:
        async with world(act) as w:
            submit(w, "Wait", **{name: value for name, value in spec.items() if name != "stop"})
            await w.until(lambda: w.reason() == "Finishing")
            w.edit(lambda body: body["spec"].update({n: v for n, v in spec.items() if n == "stop"}))
            await w.ended(within_s=21)
            assert w.reason() == reason
            await w.until(lambda: w.jobs() == ["quick-0"])

    scenario()


@simulated
async def test_a_stop_while_the_end_is_held_cancels_what_is_waited_for() -> None:
    async with world(act) as w:
        submit(w, "Wait")
        await w.until(lambda: w.reason() == "Finishing")
        w.edit(lambda body: body["spec"].update(stop="Cancel"))
        await w.ended(within_s=2)
        assert (w.reason(), w.result()) == ("Completed", 1)
        assert reasons(w) == [(f"slow-{n}", "StopRequested") for n in range(2)]


@simulated
async def test_a_suspended_end_launches_no_retry() -> None:
    async with world(act) as w:
        submit(w, "Wait")
        await w.until(lambda: w.reason() == "Finishing")
        w.edit(lambda body: body["spec"].update(suspend=True))
        await w.until(lambda: "RetryScheduled slow-1 #2" in w.told())
        await asyncio.sleep(100)
        assert w.told()[-1] == "RetryScheduled slow-1 #2"
        assert w.reason() == "Suspended"
        w.edit(lambda body: body["spec"].update(suspend=False))
        await w.ended()
        assert w.result() == 1


@simulated
async def test_abandon_ends_at_once_and_the_jobs_run_on() -> None:
    keep = {"keepSucceededSeconds": 30, "keepFailedSeconds": 40}
    async with world(act) as w:
        submit(w, "Abandon", jobs=keep, ttlSecondsAfterFinished=1)
        await w.ended(within_s=5)
        before = w.status()
        assert (w.reason(), w.result()) == ("Completed", 1)
        assert reasons(w) == [(f"slow-{n}", "Abandoned") for n in range(2)]
        assert w.jobs() == ["quick-0", "slow-0", "slow-1"]
        await asyncio.sleep(SLOW_S - 5)
        assert w.jobs() == ["slow-0", "slow-1"]
        await w.restart()
        await asyncio.sleep(4)
        # The Workflow itself, whose time came long ago, has stayed for them.
        assert w.status() == before
        await w.until(lambda: not w.objects("workflows"), within_s=LATE_S)  # it has just begun


@simulated
async def test_abandoned_jobs_are_kept_as_long_as_any_after_their_own_end() -> None:
    keep = {"keepSucceededSeconds": 30, "keepFailedSeconds": 50}
    async with world(act) as w:
        submit(w, "Abandon", jobs=keep)
        await w.ended()
        await asyncio.sleep(SLOW_S + 25)
        assert w.jobs() == ["slow-0", "slow-1"]
        await asyncio.sleep(15)
        assert w.jobs() == ["slow-1"]
        await w.restart()
        await asyncio.sleep(20)
        assert w.jobs() == []
        assert [call.attempt for call in w.kubelet.calls if call.args == [1]] == [1]


RESTARTS = """
    from flowy import restart

    def w(quick, slow):
        def run(n=0):
            slow(0)
            quick() + 0
            return restart(n + 1) if n < 1 else n
        return run
"""


@pytest.mark.parametrize(
    ("on_end", "outcome", "jobs"),
    [
        ("Cancel", "TaskCancelled slow-0", []),
        ("Wait", "TaskCompleted slow-0", ["slow-0"] * 2),
        ("Abandon", "TaskCancelled slow-0", ["slow-0"] * 2),
    ],
)
def test_a_restart_treats_what_still_runs_as_an_end_does(on_end: str, outcome: str, jobs: list[str]) -> None:
    @simulated
    async def scenario() -> None:
        async with world(act) as w:
            w.submit(RESTARTS, "quick", "slow", onEnd=on_end)
            await w.ended()
            assert w.result() == 1
            words = w.told()
            assert words[words.index("Restarted") - 1] == outcome
            await asyncio.sleep(5)
            assert [job for job in w.jobs() if job == "slow-0"] == jobs
            await asyncio.sleep(SLOW_S)
            assert [job for job in w.jobs() if job == "slow-0"] == jobs

    scenario()


@simulated
async def test_in_a_clean_up_too() -> None:
    """The end that follows a stop is one like any other."""
    source = """
        from flowy import TaskCancelled, wait

        def w(quick, slow):
            def run():
                try:
                    wait(quick())
                except TaskCancelled:
                    slow(0)
                    wait(slow(2))
                    raise
            return run
    """
    slow = {0: 60.0, 2: 5.0}
    async with world(lambda call: NEVER_ENDS if call.name == "quick" else value(None, slow[call.args[0]])) as w:
        w.submit(source, "quick", "slow", onEnd="Wait")
        await w.until(lambda: len(w.kubelet.calls) == 1)
        w.edit(lambda body: body["spec"].update(stop="Cancel"))
        await w.ended()
        assert w.reason() == "Cancelled"
        assert w.told()[-2:] == ["TaskCompleted slow-1", "TaskCompleted slow-0"]


@pytest.mark.parametrize(("mode", "jobs"), [("Terminate", []), ("Cancel", ["slow-0", "slow-1"])])
def test_an_operator_that_comes_after_the_end_tells_what_was_abandoned_from_what_was_cancelled(
    mode: str, jobs: list[str]
) -> None:
    """With most of the history in pages, and nothing deleted before."""
    source = """
        from flowy import TaskCancelled, wait

        def w(quick, slow):
            def run():
                try:
                    wait(quick())
                except TaskCancelled:
                    slow(0), slow(2)
                    wait(quick())
                    raise
            return run
    """

    def quick_once_stopped(call: Call) -> Act:
        return NEVER_ENDS if call.task == "quick-0" else value(None, lasts_s=SLOW_S if call.name == "slow" else 1.0)

    @simulated
    async def scenario() -> None:
        settings = Settings(history_tail_bytes=256)
        async with world(quick_once_stopped, settings=settings) as w:
            w.submit(source, "quick", "slow", onEnd="Abandon")
            await w.until(lambda: len(w.kubelet.calls) == 1)
            w.api.faults.add(Refuse(500), verb="delete", resource="jobs", times=10**6)
            w.edit(lambda body: body["spec"].update(stop="Cancel"))
            await w.until(lambda: len(w.kubelet.calls) == 4)
            w.edit(lambda body: body["spec"].update(stop=mode))
            await w.ended()
            await w.kill()
            w.api.faults.rules.clear()
            w.start()
            await w.settle(5)
            there = [pod["metadata"]["annotations"]["flowy.dev/task"] for pod in w.objects("pods") if is_running(pod)]
            assert there == jobs

    scenario()


def is_running(pod: Any) -> bool:
    return bool(pod["status"]["phase"] == "Running")
