"""Failures and retries from the manifest to the end: what the history, the status, the code and Kubernetes Events say."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

from flowy.policy.retry import MAX_LAUNCHES, Backoff, RetrySpec, delay_before
from flowy_operator.core.history import RetryScheduled, TaskDisrupted
from tests.app.kubelet import NEVER_ENDS, NEVER_STARTS, Act, Call, failure, value
from tests.app.world import World, simulated, world

ONE = """
    def w(t):
        return lambda: t()
"""
CAUGHT = """
    from flowy import TaskError, wait

    def w(t):
        def run():
            result = t()
            try:
                wait(result)
            except TaskError as e:
                return [type(e).__name__, e.type, e.message, e.task, e.attempt, e.exit_code, e.timer, e.details]
        return run
"""
BACKOFF = {"initialSeconds": 100, "multiplier": 3, "maxSeconds": 500, "jitterPercent": 50}


def task(**fields: Any) -> dict[str, Any]:
    return {"name": "t", **fields}


def fails_until(attempt: int, act: Act) -> Callable[[Call], Act]:
    return lambda call: value(call.attempt) if call.attempt == attempt else act


async def posted(w: World, reason: str, message: str) -> None:
    """Wait for a Kubernetes Event."""
    await w.until(lambda: (reason, message) in w.events(), within_s=60)


def due(w: World) -> list[float]:
    """How long after its event each retry is due, in seconds."""
    return [(e.fact.at - e.time).total_seconds() for e in w.history() if isinstance(e.fact, RetryScheduled)]


@simulated
async def test_a_backoff_waits_as_its_seed_says_and_no_attempt_comes_early() -> None:
    async with world(fails_until(5, failure())) as w:
        w.submit(ONE, task(retry={"maxAttempts": 5, "when": ["Error"], "backoff": BACKOFF}))
        await w.ended()
        assert w.result() == 5
        spec = RetrySpec(backoff=Backoff(initial_s=100, multiplier=3, max_s=500, jitter_percent=50))
        seed = f"{w.body()['metadata']['uid']}/1/t-0"
        assert due(w) == [delay_before(spec, attempt, seed) for attempt in (2, 3, 4, 5)]
        history = w.history()
        for event, following in pairwise(history):
            if isinstance(event.fact, RetryScheduled):
                assert event.fact.at <= following.time < event.fact.at + timedelta(seconds=1)


@simulated
async def test_a_delay_survives_the_death_of_the_operator() -> None:
    async with world(fails_until(2, failure())) as w:
        w.submit(ONE, task(retry={"when": ["Error"], "delaysSeconds": [0, 300]}))
        await w.until(lambda: "RetryScheduled t-0 #2" in w.told())
        (delay,) = (e for e in w.history() if isinstance(e.fact, RetryScheduled))
        assert isinstance(delay.fact, RetryScheduled)
        await w.kill()
        w.start()
        await w.ended()
        (retried,) = (e for e in w.history() if str(e.fact).startswith("TaskScheduled") and e.id > delay.id)
        assert delay.fact.at <= retried.time < delay.fact.at + timedelta(seconds=1)
        assert w.result() == 2


@simulated
async def test_a_delay_that_passed_while_no_operator_lived_is_over() -> None:
    async with world(fails_until(2, failure())) as w:
        w.submit(ONE, task(retry={"when": ["Error"], "delaysSeconds": [0, 300]}))
        await w.until(lambda: "RetryScheduled t-0 #2" in w.told())
        before = w.clock()
        await w.kill()
        await asyncio.sleep(1000)
        w.start()
        await w.ended()
        assert w.result() == 2
        assert w.clock() - before < timedelta(seconds=1010)


@simulated
async def test_an_exit_code_that_is_listed_ends_the_task_at_once() -> None:
    async with world(lambda call: failure(exit_code=1 if call.attempt == 1 else 64)) as w:
        w.submit(CAUGHT, task(retry={"maxAttempts": 9, "when": ["Error"], "nonRetryableExitCodes": [64, 65]}))
        await w.ended()
        assert w.result() == ["TaskError", "Error", "no", "t-0", 2, 64, None, None]


@simulated
async def test_an_error_that_is_listed_ends_the_task_at_once() -> None:
    said = '{"error": {"type": "NoSuchFilm", "message": "film 7", "details": {"id": 7}}}'
    async with world(lambda call: failure(said, exit_code=3)) as w:
        w.submit(ONE, task(retry={"when": ["Error"], "nonRetryableErrors": ["NoSuchFilm"]}))
        status = await w.ended()
        assert (
            status["error"].items()
            >= {
                "type": "NoSuchFilm",
                "message": "film 7",
                "task": "t-0",
                "attempt": 1,
                "exitCode": 3,
                "details": '{"id": 7}',
            }.items()
        )
        assert w.condition()["message"].startswith(
            "NoSuchFilm: film 7 (task t-0, attempt 1 of 3, not retried, exit code 3) (details {"
        )
        await posted(w, *("TaskFailed", "t-0, attempt 1 of 3, not retried: NoSuchFilm: film 7 (exit code 3)"))


@simulated
async def test_the_last_failure_says_how_often_it_was_tried() -> None:
    async with world(lambda call: failure("disk full", exit_code=7)) as w:
        w.submit(ONE, task(retry={"when": ["Error"]}))
        await w.ended()
        assert w.condition()["message"].startswith("Error: disk full (task t-0, attempt 3 of 3, exit code 7)")
        await posted(w, *("TaskFailed", "t-0, attempt 3 of 3: Error: disk full (exit code 7)"))


@simulated
async def test_a_start_that_never_comes_says_why() -> None:
    async with world(lambda call: NEVER_STARTS) as w:
        w.submit(CAUGHT, task(timeouts={"scheduleToStartSeconds": 60}))
        await w.until(lambda: bool(w.objects("pods")))
        pod = w.objects("pods")[0]
        pull = {"name": "main", "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}
        status = {"phase": "Pending", "containerStatuses": [pull]}
        w.store.edit("pods", "ns", pod["metadata"]["name"], lambda found: found.update(status=status))
        await w.ended()
        image = pod["spec"]["containers"][0]["image"]
        why = f"image can't be pulled: {image}: not found"
        message = f"t-0 timed out (ScheduleToStart): {why}"
        assert w.result() == ["TaskTimedOut", "TaskTimedOut", message, "t-0", 1, None, "ScheduleToStart", None]
        await posted(w, *("TaskTimedOut", f"t-0, attempt 1 of 3, not retried: ScheduleToStart: {why}"))


@simulated
async def test_what_is_awaited_tells_of_the_attempt_before() -> None:
    async with world(fails_until(2, failure("disk full"))) as w:
        w.submit(ONE, task(retry={"when": ["Error"], "delaysSeconds": [0, 60]}))
        await w.until(lambda: "RetryScheduled t-0 #2" in w.told())
        reason = w.status()["waitingOn"][0]["reason"]
        assert reason.startswith("attempt 2 of 3 at ")
        assert reason.endswith("; attempt 1 failed: Error: disk full (exit code 1)")
        await w.ended()


@simulated
async def test_the_time_of_all_attempts_ends_a_delay_and_counts_what_was_tried() -> None:
    async with world(lambda call: failure("disk full")) as w:
        w.submit(
            CAUGHT, task(retry={"when": ["Error"], "delaysSeconds": [0, 600]}, timeouts={"scheduleToCloseSeconds": 60})
        )
        await w.ended()
        message = "t-0 timed out (ScheduleToClose): attempt 1 failed: Error: disk full (exit code 1)"
        assert w.result() == ["TaskTimedOut", "TaskTimedOut", message, "t-0", 1, None, "ScheduleToClose", None]


@simulated
async def test_disruptions_spend_no_attempt_and_end_at_the_cap() -> None:
    evicted = Act(exit_code=137, disruption="EvictionByEvictionAPI")
    async with world(lambda call: evicted if call.launch % 3 else Act(exit_code=143, disruption="NodeLost")) as w:
        w.submit(ONE, task(retry={"maxAttempts": 2, "when": ["Error", "Timeout"]}))
        await w.ended()
        assert len(w.kubelet.created) == MAX_LAUNCHES
        assert sum(isinstance(event.fact, TaskDisrupted) for event in w.history()) == MAX_LAUNCHES - 1
        assert w.status()["error"]["type"] == "TooManyDisruptions"
        assert w.status()["error"]["message"].startswith(
            "attempt 1 was disrupted 20 times, and no attempt is launched more often:"
            " EvictionByEvictionAPI (13), NodeLost (7)"
        )
        assert "attempt 1 of 2, not retried" in w.condition()["message"]


@simulated
async def test_a_node_that_refuses_pods_for_minutes_uses_nothing_up() -> None:
    """Rejected within a second each, an attempt would be at its last launch long before the node's devices are there."""
    rejected = Act(lasts_s=0.2, exit_code=1, disruption="UnexpectedAdmissionError")
    began: list[float] = []

    def act(call: Call) -> Act:
        began.append(asyncio.get_running_loop().time())
        return value(call.launch) if began[-1] - began[0] > 300 else rejected

    async with world(act) as w:
        w.submit(ONE, task(timeouts={"scheduleToStartSeconds": 10}))
        await w.until(lambda: len(began) == 8)
        await w.until(lambda: "launched again at" in str(w.status().get("waitingOn")), within_s=30)
        await w.restart()  # the pause is kept
        await w.ended()
        assert w.result() < MAX_LAUNCHES - 1
        gaps = [after - before for before, after in pairwise(began)]
        assert all(gap < 3 for gap in gaps[:3])
        assert [round(gap) for gap in gaps[3:7]] == [5, 10, 20, 40]


@simulated
async def test_attempts_and_launches_are_counted_apart() -> None:
    """Each attempt is disrupted often, and still all attempts are made."""

    def act(call: Call) -> Act:
        if call.launch < MAX_LAUNCHES - 1:
            return Act(exit_code=137, disruption="NodeLost")
        return failure() if call.attempt < 3 else value(call.attempt)

    async with world(act) as w:
        w.submit(ONE, task(retry={"when": ["Error"]}))
        await w.ended()
        assert w.result() == 3
        assert len(w.kubelet.created) == 3 * MAX_LAUNCHES


@simulated
async def test_a_timeout_is_retried_and_its_pod_goes() -> None:
    async with world(lambda call: value(2) if call.attempt == 2 else NEVER_ENDS) as w:
        w.submit(ONE, task(timeouts={"startToCloseSeconds": 30}))
        await w.ended()
        assert w.result() == 2
        assert "TaskTimedOut t-0" in w.told()
