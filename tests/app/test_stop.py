"""Stopping a workflow: what the code sees, what it may still do, and what becomes of the Jobs."""

import asyncio
from typing import Any

import pytest

from flowy_operator.app.settings import Settings
from flowy_operator.core.history import CancelReason, StopRequested, TaskCancelled
from tests.app.kubelet import NEVER_ENDS, Act, Call, failure, printed, value
from tests.app.world import World, simulated, world
from tests.fakes.faults import Delay, Fault, Refuse

WORK = """
    from flowy import TaskCancelled, wait

    def w(work, undo):
        def run(n=1):
            done = [work(i) for i in range(n)]
            try:
                wait(done)
            except TaskCancelled as cancelled:
                wait(undo(cancelled.reason))
                raise
            return n
        return run
"""

BESIDE = """
    def w(work, other):
        def run():
            return [work(), other()]
        return run
"""

PLAIN = """
    def w(work):
        def run(n=1):
            return [work(i) for i in range(n)]
        return run
"""


def stop(w: World, mode: str = "Cancel", name: str = "w") -> None:
    w.edit(lambda body: body["spec"].update(stop=mode), name)


async def stop_unseen(w: World, away_s: float, mode: str = "Cancel") -> None:
    """Let no operator run for so long, then ask for the stop: the next one sees it together with all that happened."""
    await w.kill()
    await asyncio.sleep(away_s)
    stop(w, mode)
    w.start()


def hangs_at(*names: str, lasts_s: float = 1.0) -> Any:
    """Tasks of these names never end; all others give null."""

    def act(call: Call) -> Act:
        return NEVER_ENDS if call.name in names else value(None, lasts_s)

    return act


def n(count: int) -> dict[str, Any]:
    return {"input": {"args": [count]}}


async def running(w: World, count: int = 1) -> None:
    await w.until(lambda: [pod["status"]["phase"] for pod in w.objects("pods")].count("Running") == count)


@simulated
async def test_the_code_sees_the_stop_where_it_waits_and_cleans_up() -> None:
    async with world(hangs_at("work")) as w:
        w.submit(WORK, "work", "undo")
        await running(w)
        stop(w)
        await w.until(lambda: w.reason() == "Cancelling" and "waitingOn" in w.status())
        assert "line 10 waits for undo-0" in w.condition()["message"]
        assert "may clean up until 2026-01-01T12:05:0" in w.condition()["message"]
        await w.until(lambda: w.jobs() == ["undo-0"])
        status = await w.ended()
        assert w.told() == [
            "TaskScheduled work-0",
            "StopRequested",
            "TaskCancelled work-0",
            "TaskScheduled undo-0",
            "TaskCompleted undo-0",
        ]
        assert (w.condition()["status"], w.reason()) == ("False", "Cancelled")
        assert status["error"]["reason"] == "StopRequested"
        assert status["error"]["task"] == "work-0"
        assert [call.args[0] for call in w.kubelet.calls if call.name == "undo"] == ["StopRequested"]
        await w.until(lambda: [reason for reason, _ in w.events()] == ["Running", "Cancelling", "Cancelled"])


@simulated
async def test_code_that_returns_after_a_stop_has_completed() -> None:
    source = WORK.replace("raise", "return 'tidy'")
    async with world(hangs_at("work")) as w:
        w.submit(source, "work", "undo")
        await running(w)
        stop(w)
        await w.ended()
        assert (w.reason(), w.result()) == ("Completed", "tidy")
        assert w.condition()["message"] == "the code returned after it was asked to stop"


@simulated
async def test_a_clean_up_that_fails_is_a_failure() -> None:
    async with world(lambda call: failure("stuck") if call.name == "undo" else NEVER_ENDS) as w:
        w.submit(WORK, "work", "undo")
        await running(w)
        stop(w)
        status = await w.ended()
        assert (w.reason(), status["error"]["message"]) == ("Failed", "stuck")


@simulated
async def test_calls_that_are_held_back_are_cancelled_too() -> None:
    async with world(hangs_at("work")) as w:
        w.submit(WORK, "work", "undo", parallelism=2, **n(5))
        await running(w, 2)
        w.operators[0].line.requests.clear()
        stop(w)
        await w.ended()
        cancelled = [event.fact for event in w.history() if isinstance(event.fact, TaskCancelled)]
        assert [fact.task for fact in cancelled] == [f"work-{i}" for i in range(5)]
        assert [fact.digest is None for fact in cancelled] == [True, True, False, False, False]
        assert [fact.line for fact in cancelled] == [None, None, 6, 6, 6]
        # One append for all of them, one each for the clean-up, its outcome with the end.
        assert w.operators[0].line.writes["patch", "workflows/status"] == 3
        assert {call.task for call in w.kubelet.calls} == {"work-0", "work-1", "undo-0"}


@simulated
async def test_more_calls_than_one_answer_lists_are_cancelled_in_one_append() -> None:
    async with world(hangs_at("work")) as w:
        w.submit(WORK, "work", "undo", parallelism=2, **n(2_300))
        await running(w, 2)
        stop(w)
        await w.ended(within_s=60)
        cancelled = [event for event in w.history() if isinstance(event.fact, TaskCancelled)]
        assert len(cancelled) == 2_300
        assert len({event.time for event in cancelled}) == 1
        assert w.reason() == "Cancelled"


@simulated
async def test_the_held_back_calls_are_known_after_a_restart_of_the_operator_too() -> None:
    async with world(hangs_at("work")) as w:
        w.submit(WORK, "work", "undo", parallelism=2, **n(5))
        await running(w, 2)
        await w.kill()
        stop(w)
        w.start()
        await w.ended()
        cancelled = [event.fact.task for event in w.history() if isinstance(event.fact, TaskCancelled)]
        assert cancelled == [f"work-{i}" for i in range(5)]


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [(Delay(3), "TaskCompleted work-0"), (Refuse(500), "TaskCancelled work-0")],
    ids=["on its way", "not to be had at the first try"],
)
def test_a_result_that_is_on_its_way_counts_as_it_does_without_a_stop(fault: Fault, outcome: str) -> None:
    @simulated
    async def scenario() -> None:
        async with world(lambda call: printed("done") if call.name == "work" else NEVER_ENDS) as w:
            w.api.faults.add(fault, verb="get", resource="pods/log")
            log = {"name": "work", "activity": {"image": "busybox", "result": {"from": "Log"}}}
            w.submit(BESIDE, log, "other")
            await w.until(lambda: w.api.calls["get", "pods/log"] == 1)
            stop(w)
            await w.ended()
            assert w.told()[2:] == ["StopRequested", outcome, "TaskCancelled other-0"]

    scenario()


@simulated
async def test_a_task_that_waits_for_a_retry_is_cancelled() -> None:
    retry = {"maxAttempts": 3, "when": ["Error"], "delaysSeconds": [0, 600]}
    async with world(lambda call: failure() if call.name == "work" else value(None)) as w:
        w.submit(WORK, {"name": "work", "retry": retry}, "undo")
        await w.until(lambda: "RetryScheduled work-0 #2" in w.told())
        stop(w)
        await w.ended()
        assert w.reason() == "Cancelled"
        assert "TaskCancelled work-0 #2" in w.told()
        assert [call.name for call in w.kubelet.calls] == ["work", "undo"]


@simulated
async def test_the_clean_up_is_not_cancelled_again_and_retries_as_any_task() -> None:
    source = """
        from flowy import TaskCancelled, wait

        def w(work, undo):
            def run():
                try:
                    wait(work())
                except TaskCancelled:
                    first = undo(1)
                    wait(first)
                    wait(undo(2), undo(3))
                    raise
            return run
    """

    def act(call: Call) -> Act:
        if call.name == "work":
            return NEVER_ENDS
        return failure() if call.attempt == 1 else value(None)

    retry = {"maxAttempts": 2, "when": ["Error"], "delaysSeconds": [0, 5]}
    async with world(act) as w:
        w.submit(source, "work", {"name": "undo", "retry": retry})
        await running(w)
        stop(w)
        await w.ended()
        assert w.reason() == "Cancelled"
        assert [event.fact.task for event in w.history() if isinstance(event.fact, TaskCancelled)] == ["work-0"]
        assert sorted(call.task for call in w.kubelet.calls) == ["undo-0", "undo-0", "undo-1", "undo-1", "undo-2", "undo-2", "work-0"]  # fmt: skip


@simulated
async def test_the_grace_period_ends_a_clean_up() -> None:
    async with world(hangs_at("work", "undo")) as w:
        w.submit(WORK, "work", "undo", timeouts={"cancelSeconds": 20})
        await running(w)
        stop(w)
        status = await w.ended()
        assert w.reason() == "Terminated"
        assert status["error"] == {
            "type": "WorkflowTerminated",
            "message": "the code had not ended 20 s after spec.stop: Cancel (timeouts.cancelSeconds); unfinished: undo-0",
        }
        requested, *_, last = [at for at, words in w.instants() if words in ("StopRequested", "TaskCancelled undo-0")]
        assert 20 <= last - requested < 20.1
        await w.until(lambda: not w.jobs())


@simulated
async def test_terminate_runs_no_code_and_deletes_the_jobs() -> None:
    async with world(hangs_at("work")) as w:
        w.submit(WORK, "work", "undo", parallelism=2, **n(3))
        await running(w, 2)
        asked = len(w.decider.requests)
        stop(w, "Terminate")
        status = await w.ended()
        assert len(w.decider.requests) == asked
        assert w.told()[-3:] == ["StopRequested", "TaskCancelled work-0", "TaskCancelled work-1"]
        assert (w.condition()["status"], w.reason()) == ("False", "Terminated")
        assert status["error"]["type"] == "WorkflowTerminated"
        assert status["error"]["message"] == "spec.stop is Terminate; unfinished: work-0, work-1"
        await w.until(lambda: not w.jobs())
        await w.until(lambda: [w.reason()] == [reason for reason, _ in w.events()][-1:])
        assert w.events()[-1][1].startswith(f"{w.condition()['message']}; 2 tasks, 2 without success; took ")


@simulated
async def test_terminate_ends_a_clean_up_at_once() -> None:
    async with world(hangs_at("work", "undo")) as w:
        w.submit(WORK, "work", "undo")
        await running(w)
        stop(w)
        await w.until(lambda: "undo-0" in w.jobs())
        stop(w, "Terminate")
        await w.ended(within_s=5)
        assert w.reason() == "Terminated"
        modes = [event.fact.mode for event in w.history() if isinstance(event.fact, StopRequested)]
        assert modes == ["Cancel", "Terminate"]
        await w.until(lambda: not w.jobs())


@pytest.mark.parametrize(
    ("mode", "reason", "calls"), [("Cancel", "Cancelled", ["undo-0"]), ("Terminate", "Terminated", [])]
)
def test_a_stop_before_the_first_decision(mode: str, reason: str, calls: list[str]) -> None:
    @simulated
    async def scenario() -> None:
        async with world() as w:
            w.submit(WORK, "work", "undo", stop=mode)
            await w.ended()
            assert w.reason() == reason
            assert [call.task for call in w.kubelet.calls] == calls

    scenario()


@simulated
async def test_a_stop_of_an_ended_workflow_does_nothing() -> None:
    async with world() as w:
        w.submit(PLAIN, "work")
        before = await w.ended()
        for mode in ("Cancel", "Terminate"):
            stop(w, mode)
            await asyncio.sleep(400)
            assert w.status() == before


@simulated
async def test_an_outcome_that_comes_with_the_stop_counts() -> None:
    """The code ends by it, so nothing is left to stop."""
    async with world() as w:
        w.submit(PLAIN, "work")
        await running(w)
        await stop_unseen(w, 5)
        await w.ended()
        assert w.reason() == "Completed"
        assert w.told() == ["TaskScheduled work-0", "TaskCompleted work-0"]


@simulated
async def test_a_call_that_comes_with_the_stop_never_starts() -> None:
    source = """
        def w(work):
            def run():
                return work(work(0))
            return run
    """
    async with world() as w:
        w.submit(source, "work")
        await running(w)
        await stop_unseen(w, 5)
        await w.ended()
        assert w.reason() == "Cancelled"
        assert w.told() == ["TaskScheduled work-0", "TaskCompleted work-0", "StopRequested", "TaskCancelled work-1"]


@pytest.mark.parametrize("delay_s", [0, 5])
def test_a_retry_that_is_due_with_the_stop_never_starts(delay_s: int) -> None:
    retry = {"maxAttempts": 3, "when": ["Error"], "delaysSeconds": [0, delay_s]}

    @simulated
    async def scenario() -> None:
        async with world(lambda call: failure() if call.name == "work" else value(None)) as w:
            w.submit(WORK, {"name": "work", "retry": retry}, "undo")
            if delay_s:
                await w.until(lambda: "RetryScheduled work-0 #2" in w.told())
            else:
                await running(w)
            await stop_unseen(w, 20)
            await w.ended()
            assert w.reason() == "Cancelled"
            assert [call.task for call in w.kubelet.calls] == ["work-0", "undo-0"]

    scenario()


@simulated
async def test_a_disruption_that_comes_with_the_stop_is_launched_no_more() -> None:
    def act(call: Call) -> Act:
        if call.name == "work":
            return Act(lasts_s=3, exit_code=137, disruption="EvictionByEvictionAPI")
        return value(None)

    async with world(act) as w:
        w.submit(WORK, "work", "undo")
        await running(w)
        await stop_unseen(w, 20)
        await w.ended()
        assert w.reason() == "Cancelled"
        assert [call.task for call in w.kubelet.calls] == ["work-0", "undo-0"]


@simulated
async def test_outcomes_that_come_with_terminate_are_recorded() -> None:
    async with world(lambda call: value(1, lasts_s=3) if call.args == [0] else NEVER_ENDS) as w:
        w.submit(PLAIN, "work", **n(2))
        await running(w, 2)
        await stop_unseen(w, 20, "Terminate")
        await w.ended()
        assert w.told()[2:] == ["TaskCompleted work-0", "StopRequested", "TaskCancelled work-1"]


@simulated
async def test_the_workflows_timeout_ends_a_clean_up() -> None:
    async with world(hangs_at("work", "undo")) as w:
        w.submit(WORK, "work", "undo", timeouts={"workflowSeconds": 30})
        await running(w)
        stop(w)
        await w.ended(within_s=31)
        assert w.reason() == "TimedOut"
        await w.until(lambda: not w.jobs())


@pytest.mark.parametrize("mode", ["Cancel", "Terminate"])
def test_code_that_stalls_for_ever_is_stopped(mode: str) -> None:
    @simulated
    async def scenario() -> None:
        async with world(hangs_at("work")) as w:
            w.submit(WORK, "work", "undo", timeouts={"cancelSeconds": 60})
            await running(w)
            await w.kill()
            w.edit(lambda body: body["status"].pop("decidedThrough"))  # so the next one asks
            w.start()
            w.decider.stall(10_000)
            await w.until(lambda: w.stalled() == "DecisionTimeout")
            stop(w, mode)
            if mode == "Cancel":
                await w.until(lambda: "spec.stop ends the workflow at" in w.condition()["message"])
                assert w.told() == ["TaskScheduled work-0", "StopRequested"]
                assert w.reason() == "Stalled"
            await w.ended(within_s=65)
            assert w.reason() == "Terminated"
            await w.until(lambda: not w.jobs())

    scenario()


@simulated
async def test_code_that_stalls_for_a_while_is_told_of_the_stop_afterwards() -> None:
    """What it held back before is cancelled, not taken for its clean-up; and nothing starts meanwhile."""
    retry = {"maxAttempts": 9, "when": ["Error"], "delaysSeconds": [0, 1]}

    def act(call: Call) -> Act:
        if call.task == "work-1":
            return failure()
        return NEVER_ENDS if call.name == "work" else value(None)

    async with world(act) as w:
        w.submit(WORK, {"name": "work", "retry": retry}, "undo", parallelism=2, **n(4))
        await running(w, 2)
        await w.restart()
        w.decider.stall(4)
        stop(w)
        await w.ended()
        assert w.reason() == "Cancelled"
        words = w.told()
        told = words.index("StopRequested")
        assert [x for x in words[told:] if x.startswith("TaskCancelled")] == [
            "TaskCancelled work-0",
            next(x for x in words if x.startswith("TaskCancelled work-1")),
            "TaskCancelled work-2",
            "TaskCancelled work-3",
        ]
        assert [x for x in words[told:] if x.startswith("TaskScheduled")] == ["TaskScheduled undo-0"]


@simulated
async def test_a_suspended_workflow_cleans_up() -> None:
    async with world(hangs_at("work")) as w:
        w.submit(WORK, "work", "undo", suspend=True)
        await w.until(lambda: w.reason() == "Suspended")
        assert not w.told()
        stop(w)
        await w.ended()
        assert w.reason() == "Cancelled"
        assert [call.task for call in w.kubelet.calls] == ["undo-0"]


POLL = """
    from flowy import TaskCancelled, restart, wait

    def w(work, undo):
        def run(n=0):
            done = work(n)
            try:
                wait(done)
            except TaskCancelled:
                wait(undo(n))
                raise
            return restart(n + 1)
        return run
"""


@simulated
async def test_a_stop_that_comes_with_a_restart_is_told_to_the_new_run() -> None:
    async with world() as w:
        w.submit(POLL, "work", "undo")
        await running(w)
        await stop_unseen(w, 5)
        await w.ended()
        assert w.reason() == "Cancelled"
        assert w.told() == [
            "TaskScheduled work-0",
            "TaskCompleted work-0",
            "Restarted",
            "StopRequested",
            "TaskCancelled work-0",
            "TaskScheduled undo-0",
            "TaskCompleted undo-0",
        ]
        assert [call.args for call in w.kubelet.calls if call.name == "undo"] == [[1]]


@simulated
async def test_after_a_stop_no_new_run_begins() -> None:
    async with world(hangs_at("work")) as w:
        w.submit(POLL.replace("raise", "pass"), "work", "undo")
        await running(w)
        stop(w)
        status = await w.ended()
        assert (w.reason(), status["run"], status["error"]["type"]) == ("Cancelled", 1, "WorkflowCancelled")


@simulated
async def test_a_run_that_only_restarts_is_stopped() -> None:
    source = """
        from flowy import restart

        def w():
            def run(n=0):
                return restart(n + 1)
            return run
    """
    async with world() as w:
        w.submit(source)
        await w.until(lambda: w.status().get("run", 0) > 3)
        stop(w)
        await w.ended()
        assert w.reason() == "Cancelled"


@simulated
async def test_what_cannot_be_stopped_says_how_it_ends() -> None:
    async with world(hangs_at("work")) as w:
        w.submit(PLAIN, "work")
        await running(w)
        w.edit(lambda body: body["status"]["history"].clear())
        await w.until(lambda: w.stalled() == "HistoryInvalid")
        stop(w, "Terminate")
        await w.until(lambda: "delete the Workflow to end it" in w.condition(kind="Stalled")["message"])
        assert w.reason() == "Stalled"


@simulated
async def test_a_task_cancelled_without_a_stop_is_a_failure() -> None:
    async with world(hangs_at("work")) as w:
        w.submit(PLAIN, "work")
        await running(w)
        (job,) = w.objects("jobs")
        w.store.delete(w.store.kind("jobs"), job["metadata"]["namespace"], job["metadata"]["name"])
        status = await w.ended()
        assert (w.reason(), status["error"]["reason"]) == ("Failed", CancelReason.DELETED)


@simulated
async def test_a_stop_that_no_longer_fits_into_the_history_ends_by_its_grace_period() -> None:
    settings = Settings(history_run_bytes=1024)
    async with world(hangs_at("work"), settings=settings) as w:
        w.submit(WORK, "work", "undo", timeouts={"cancelSeconds": 30}, **n(5))
        await running(w, 5)
        stop(w)
        await w.until(lambda: w.stalled() == "HistoryFull")
        assert w.told()[-1] == "StopRequested"
        await w.ended(within_s=31)
        assert w.reason() == "Terminated"
        await w.until(lambda: not w.jobs())


@simulated
async def test_a_stop_larger_than_one_write_ends_by_its_grace_period() -> None:
    async with world(hangs_at("work")) as w:
        w.submit(WORK, "work", "undo", parallelism=1, timeouts={"cancelSeconds": 30}, **n(9_000))
        await running(w)
        stop(w)
        await w.until(lambda: w.stalled() == "HistoryFull")
        assert "too much is to be written at once" in w.condition(kind="Stalled")["message"]
        await w.ended(within_s=31)
        assert w.told() == ["TaskScheduled work-0", "StopRequested", "TaskCancelled work-0"]
