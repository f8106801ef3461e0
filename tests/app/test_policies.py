"""What the spec promises in seconds and counts: delays, timers, caps, how long things stay. Time is virtual, so exact."""

from typing import Any

from flowy_operator.app.late import LATE_S
from flowy_operator.core.history import TaskCompleted, TaskDisrupted, TaskFailed, TaskTimedOut
from tests.app.kubelet import NEVER_ENDS, NEVER_STARTS, Act, Call, failure, value
from tests.app.world import World, simulated, world
from tests.fakes.faults import Refuse

ONE = """
    def one(step):
        def workflow():
            return step()
        return workflow
"""
CAREFUL = """
    from flowy import TaskError

    def careful(step):
        def workflow():
            try:
                return int(step())
            except TaskError as error:
                return [type(error).__name__, error.timer, error.attempt]
        return workflow
"""
WIDE = """
    def wide(step):
        def workflow(n=6):
            return [step(i) for i in range(n)]
        return workflow
"""


def now() -> float:
    """No latency: what follows at once carries the same instant."""
    return 0.0


def step(**fields: Any) -> dict[str, Any]:
    return {"name": "step", **fields}


def outcomes(w: World) -> list[Any]:
    return [e.fact for e in w.history() if isinstance(e.fact, TaskCompleted | TaskFailed | TaskTimedOut)]


# -- retries ----------------------------------------------------------------------------------------------------------


@simulated
async def test_delays_before_each_attempt() -> None:
    retry = {"maxAttempts": 3, "when": ["Error"], "delaysSeconds": [5, 0, 7]}
    async with world(lambda call: value(1) if call.attempt == 3 else failure(), latency=now) as w:
        w.submit(ONE, step(retry=retry))
        await w.ended()
        # A pod comes 0.03 s after its Job and lasts 1 s.
        assert w.instants() == [
            (0.0, "RetryScheduled step-0"),
            (5.0, "TaskScheduled step-0"),
            (6.03, "TaskFailed step-0"),
            (6.03, "TaskScheduled step-0 #2"),
            (7.06, "TaskFailed step-0 #2"),
            (7.06, "RetryScheduled step-0 #3"),
            (14.06, "TaskScheduled step-0 #3"),
            (15.09, "TaskCompleted step-0 #3"),
        ]
        assert w.result() == 1


@simulated
async def test_a_delay_survives_a_restart() -> None:
    retry = {"when": ["Error"], "delaysSeconds": [0, 60]}
    async with world(lambda call: value(1) if call.attempt == 2 else failure(), latency=now) as w:
        w.submit(ONE, step(retry=retry))
        await w.until(lambda: "RetryScheduled step-0 #2" in w.told())
        await w.restart()
        await w.settle(20)
        await w.restart()
        await w.ended()
        assert w.instants()[-2] == (61.03, "TaskScheduled step-0 #2")


@simulated
async def test_an_error_is_final_unless_the_policy_names_it() -> None:
    async with world(lambda call: failure()) as w:
        w.submit(ONE, "step")
        await w.ended()
        assert w.told() == ["TaskScheduled step-0", "TaskFailed step-0"]
        assert w.reason() == "Failed"


@simulated
async def test_the_last_attempt_is_final() -> None:
    async with world(lambda call: failure(f"{call.attempt}")) as w:
        w.submit(CAREFUL, step(retry={"maxAttempts": 4, "when": ["Error"]}))
        await w.ended()
        assert [(o.attempt, o.final) for o in outcomes(w)] == [(1, False), (2, False), (3, False), (4, True)]
        assert w.result() == ["TaskError", None, 4]


# -- timers -----------------------------------------------------------------------------------------------------------


@simulated
async def test_schedule_to_start() -> None:
    async with world(lambda call: NEVER_STARTS, latency=now) as w:
        w.submit(CAREFUL, step(timeouts={"scheduleToStartSeconds": 11}))
        await w.ended()
        assert w.instants()[1] == (11.0, "TaskTimedOut step-0")
        assert w.result() == ["TaskTimedOut", "ScheduleToStart", 1]
        await w.settle()
        assert w.jobs() == []


@simulated
async def test_start_to_close_counts_from_the_start() -> None:
    async with world(lambda call: Act(pending_s=30, lasts_s=None), latency=now) as w:
        w.submit(CAREFUL, step(timeouts={"scheduleToStartSeconds": 40, "startToCloseSeconds": 10}))
        await w.ended()
        # It started at 30.03, and Kubernetes says so in whole seconds. A timeout is tried again, three times in all.
        assert [(at, words) for at, words in w.instants() if "TimedOut" in words] == [
            (40.0, "TaskTimedOut step-0"),
            (80.0, "TaskTimedOut step-0 #2"),
            (120.0, "TaskTimedOut step-0 #3"),
        ]
        assert w.result() == ["TaskTimedOut", "StartToClose", 3]


@simulated
async def test_schedule_to_close_spans_all_attempts() -> None:
    timeouts = {"startToCloseSeconds": 10, "scheduleToCloseSeconds": 25}
    async with world(lambda call: NEVER_ENDS, latency=now) as w:
        w.submit(CAREFUL, step(timeouts=timeouts, retry={"maxAttempts": 9}))
        await w.ended()
        assert w.instants()[-1] == (25.0, "TaskTimedOut step-0 #3")
        assert w.result() == ["TaskTimedOut", "ScheduleToClose", 3]


@simulated
async def test_schedule_to_close_ends_a_wait_for_the_next_attempt() -> None:
    retry = {"maxAttempts": 9, "when": ["Error"], "delaysSeconds": [0, 600]}
    async with world(lambda call: failure(), latency=now) as w:
        w.submit(CAREFUL, step(timeouts={"scheduleToCloseSeconds": 25}, retry=retry))
        await w.ended()
        assert w.instants()[-1] == (25.0, "TaskTimedOut step-0 #2")


@simulated
async def test_a_timer_survives_a_restart() -> None:
    async with world(lambda call: NEVER_ENDS, latency=now) as w:
        w.submit(CAREFUL, step(timeouts={"startToCloseSeconds": 50}, retry={"maxAttempts": 1}))
        await w.settle(20)
        await w.restart()
        await w.ended()
        assert w.instants()[-1] == (50.0, "TaskTimedOut step-0")


@simulated
async def test_a_late_result_of_an_old_attempt_is_ignored() -> None:
    def late(call: Call) -> Act:
        return value(f"attempt {call.attempt}", lasts_s=12.0 if call.attempt == 1 else 30.0)

    async with world(late) as w:
        # Nobody can delete just now, so that the old one lives on.
        w.api.faults.add(Refuse(500), verb="delete", resource="jobs", times=1000)
        w.submit(ONE, step(timeouts={"startToCloseSeconds": 10}, retry={"delaysSeconds": [0, 20]}))
        await w.until(lambda: len(w.objects("pods")) == 2)
        assert w.objects("pods")[0]["status"]["phase"] == "Succeeded"
        await w.settle(2)
        w.api.faults.rules.clear()
        await w.settle(60)
        assert "TaskCompleted step-0" not in w.told()


@simulated
async def test_the_workflow_timeout_ends_it_without_asking_the_code() -> None:
    async with world(lambda call: NEVER_ENDS, latency=now) as w:
        w.submit(WIDE, "step", timeouts={"workflowSeconds": 90})
        status = await w.ended()
        asked = len(w.decider.requests)
        assert w.reason() == "TimedOut"
        assert status["completionTime"] == "2026-01-01T12:01:30.000Z"
        assert w.instants()[-1] == (90.0, "TaskCancelled step-5")
        assert "step-0" in status["error"]["message"]
        await w.settle()
        assert w.jobs() == []
        assert len(w.decider.requests) == asked == 1


@simulated
async def test_the_workflow_timeout_also_holds_while_the_decider_stalls() -> None:
    async with world(lambda call: NEVER_ENDS, latency=now) as w:
        w.decider.stall(1000)
        w.submit(WIDE, "step", timeouts={"workflowSeconds": 90})
        await w.ended()
        assert w.reason() == "TimedOut"


# -- parallelism, suspend ---------------------------------------------------------------------------------------------


@simulated
async def test_parallelism_holds_back_the_later_calls() -> None:
    async with world(lambda call: value(1), latency=now) as w:
        w.submit(WIDE, "step", parallelism=2)
        await w.settle(0.5)
        assert w.jobs() == ["step-0", "step-1"]
        assert "4 ready tasks are held back by spec.parallelism" in w.condition()["message"]
        await w.ended()
        pairs = [at for at, words in w.instants() if words.startswith("TaskScheduled")]
        assert pairs == [0.0, 0.0, 1.03, 1.03, 2.06, 2.06]


@simulated
async def test_parallelism_raised_lets_the_rest_go() -> None:
    async with world(lambda call: NEVER_ENDS) as w:
        w.submit(WIDE, "step", parallelism=1)
        await w.settle()
        assert len(w.jobs()) == 1
        w.edit(lambda body: body["spec"].update(parallelism=4))
        await w.settle()
        assert len(w.jobs()) == 4


@simulated
async def test_suspend_lets_what_runs_go_on_and_launches_nothing() -> None:
    async with world(lambda call: value(call.args[0], lasts_s=10)) as w:
        w.submit(WIDE, "step", parallelism=3)
        await w.settle()
        w.edit(lambda body: body["spec"].update(suspend=True))
        await w.settle(60)
        assert w.reason() == "Suspended"
        assert w.status()["progress"] == {"scheduled": 3, "running": 0, "succeeded": 3, "failed": 0, "summary": "3/3"}
        w.edit(lambda body: body["spec"].update(suspend=False))
        await w.ended()
        assert w.result() == [0, 1, 2, 3, 4, 5]


@simulated
async def test_created_suspended_it_waits() -> None:
    async with world(lambda call: value(1)) as w:
        w.submit(ONE, "step", suspend=True)
        await w.settle(60)
        assert w.told() == []
        w.edit(lambda body: body["spec"].update(suspend=False))
        await w.ended()
        assert w.result() == 1


@simulated
async def test_a_timer_fires_while_suspended_and_its_retry_waits() -> None:
    async with world(lambda call: NEVER_ENDS if call.attempt == 1 else value(1), latency=now) as w:
        w.submit(ONE, step(timeouts={"startToCloseSeconds": 10}))
        await w.settle(1)
        w.edit(lambda body: body["spec"].update(suspend=True))
        await w.settle(60)
        assert w.told() == ["TaskScheduled step-0", "TaskTimedOut step-0", "RetryScheduled step-0 #2"]
        w.edit(lambda body: body["spec"].update(suspend=False))
        await w.ended()
        assert w.result() == 1


# -- how long things stay ---------------------------------------------------------------------------------------------


@simulated
async def test_finished_jobs_stay_for_their_keep_time() -> None:
    source = """
        from flowy import TaskError

        def both(good, bad):
            def workflow():
                g = good()
                try:
                    return int(bad())
                except TaskError:
                    return int(g)
            return workflow
    """
    async with world(lambda call: value(1) if call.name == "good" else failure()) as w:
        w.submit(source, "good", "bad", jobs={"keepSucceededSeconds": 20, "keepFailedSeconds": 100})
        await w.ended()
        await w.settle(15)
        assert w.jobs() == ["bad-0", "good-0"]
        await w.settle(10)
        assert w.jobs() == ["bad-0"]
        await w.restart()
        await w.settle(70)
        assert w.jobs() == ["bad-0"]
        await w.settle(10)
        assert w.jobs() == []
        assert w.reason() == "Completed"


@simulated
async def test_jobs_go_while_the_workflow_runs_and_are_not_made_again() -> None:
    source = """
        def two(step):
            def workflow():
                return step(step(1))
            return workflow
    """
    async with world(lambda call: value(1, lasts_s=1 if call.task == "step-0" else 60)) as w:
        w.submit(source, "step", jobs={"keepSucceededSeconds": 1, "keepFailedSeconds": 1})
        await w.settle(20)
        assert w.jobs() == ["step-1"]
        await w.restart()
        await w.ended()
        assert len(w.kubelet.created) == 2


@simulated
async def test_the_workflow_goes_after_its_ttl_with_all_it_owns() -> None:
    async with world(lambda call: value(1), latency=now) as w:
        w.submit(ONE, "step", ttlSecondsAfterFinished=100)
        await w.ended()
        await w.settle(99)
        assert w.objects("workflows")
        await w.restart()
        await w.settle(2 + LATE_S)
        assert w.objects("workflows") == w.objects("jobs") == w.objects("pods") == []


@simulated
async def test_a_ttl_given_after_the_end_counts_from_the_end() -> None:
    async with world(lambda call: value(1)) as w:
        w.submit(ONE, "step")
        await w.ended()
        await w.settle(500)
        w.edit(lambda body: body["spec"].update(ttlSecondsAfterFinished=100))
        await w.settle()
        assert w.objects("workflows") == []


# -- what the cluster takes away --------------------------------------------------------------------------------------


@simulated
async def test_a_disruption_costs_no_attempt() -> None:
    def evicted(call: Call) -> Act:
        return value(call.launch) if call.launch == 2 else Act(exit_code=137, disruption="EvictionByEvictionAPI")

    async with world(evicted, latency=now) as w:
        w.submit(ONE, "step")
        await w.ended()
        assert w.told() == ["TaskScheduled step-0", *["TaskDisrupted step-0"] * 2, "TaskCompleted step-0"]
        assert w.result() == 2
        assert len(set(w.kubelet.created)) == 3


@simulated
async def test_disruptions_end_at_their_cap() -> None:
    async with world(lambda call: Act(exit_code=137, disruption="Preempted")) as w:
        w.submit(ONE, "step")
        status = await w.ended()
        assert w.reason() == "Failed"
        assert status["error"]["type"] == "TooManyDisruptions"
        assert len(w.kubelet.created) == 20
        assert sum(isinstance(e.fact, TaskDisrupted) for e in w.history()) == 19


@simulated
async def test_a_job_deleted_by_hand_cancels_its_task() -> None:
    source = """
        from flowy import TaskCancelled

        def careful(step):
            def workflow():
                try:
                    return int(step())
                except TaskCancelled as error:
                    return error.message
            return workflow
    """
    async with world(lambda call: NEVER_ENDS) as w:
        w.submit(source, "step")
        await w.until(lambda: len(w.objects("pods")) == 1)
        w.delete("jobs", w.job_of("step-0"))
        await w.ended()
        assert w.told() == ["TaskScheduled step-0", "TaskCancelled step-0"]
        assert w.result() == "step-0 was cancelled: Deleted"
        assert len(w.kubelet.created) == 1
