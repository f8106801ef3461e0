"""What is seen of a run with kubectl: why it waits, and the story that Kubernetes Events tell."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from flowy_operator.app.announce import TOLD_FAILURES
from flowy_operator.app.obstacles import ASK_EVERY, PATIENCE
from flowy_operator.core.history import TaskFailed, TaskTimedOut
from tests.app.kubelet import NEVER_ENDS, Act, Call, failure, value
from tests.app.world import NAMESPACE, World, simulated, world
from tests.fakes.clock import run_virtual
from tests.fakes.faults import Refuse

ONE = "def w(t):\n    def run():\n        return t()\n    return run\n"
WIDE = "def w(t):\n    def run(n):\n        return [t(i) for i in range(n)]\n    return run\n"
CAREFUL = """
    from flowy import TaskError, wait

    def w(t):
        def run(n):
            failed = 0
            for r in [t(i) for i in range(n)]:
                try:
                    wait(r)
                except TaskError:
                    failed += 1
            return failed
        return run
"""
MOUNT = 'MountVolume.SetUp failed for volume "s" : secret "none" not found'


def now() -> float:
    return 0.0


def reasons(w: World, name: str = "w") -> dict[str, str | None]:
    return {wait["task"]: wait.get("reason") for wait in w.status(name).get("waitingOn", ())}


def asked(w: World) -> int:
    """How often Events were asked for."""
    return sum(
        count for (verb, what, _), count in w.operators[0].line.requests.items() if (verb, what) == ("list", "events")
    )


# -- why it waits -----------------------------------------------------------------------------------------------------


@simulated
async def test_a_pod_that_quota_refuses_is_told_and_then_forgotten() -> None:
    async with world(lambda call: value(1, lasts_s=300), latency=now) as w:
        w.store.quotas[NAMESPACE, "pods"] = 1
        w.submit(WIDE, "t", input={"args": [3]}, jobs={"keepSucceededSeconds": 1})
        await w.settle(PATIENCE.total_seconds() - 1)
        assert reasons(w) == dict.fromkeys(("t-0", "t-1", "t-2"))
        await w.settle(2)
        refused = "Pod: can't be created: exceeded quota: test, requested: count/pods=1, limited: count/pods=1"
        assert reasons(w) == {"t-0": None, "t-1": refused, "t-2": refused}
        w.store.quotas.clear()
        await w.settle(61)
        assert reasons(w) == dict.fromkeys(("t-0", "t-1", "t-2"))
        await w.ended()


@simulated
async def test_a_volume_that_is_missing_is_told() -> None:
    async with world(lambda call: Act(pending_s=100, unmounted=MOUNT)) as w:
        w.submit(ONE, "t")
        await w.settle(10)
        assert reasons(w) == {"t-0": f"Pod: {MOUNT}"}
        await w.settle(95)
        assert w.told()[-1] == "TaskCompleted t-0"


@simulated
async def test_the_timer_tells_what_kept_the_pod_from_being_made() -> None:
    async with world() as w:
        w.store.quotas[NAMESPACE, "pods"] = 0
        w.submit(ONE, {"name": "t", "timeouts": {"scheduleToStartSeconds": 20}})
        status = await w.ended()
        assert "t-0 timed out (ScheduleToStart): can't be created: exceeded quota: test" in status["error"]["message"]


@simulated
async def test_events_are_asked_for_seldom_however_many_wait() -> None:
    async with world() as w:
        w.store.quotas[NAMESPACE, "pods"] = 0
        for n in range(20):
            w.submit(WIDE, "t", name=f"w{n}", input={"args": [5]})
        await w.settle(ASK_EVERY.total_seconds() * 10)
        assert all(all(reasons(w, f"w{n}").values()) for n in range(20))
        assert 9 <= asked(w) <= 11
        writes = w.operators[0].line.writes
        await w.settle(300)
        assert w.operators[0].line.writes == writes  # the same reason is no news


@simulated
async def test_nothing_is_asked_while_all_goes_well() -> None:
    async with world(lambda call: NEVER_ENDS) as w:
        w.submit(WIDE, "t", input={"args": [5]})
        await w.settle(600)
        assert asked(w) == 0


@simulated
async def test_an_old_event_tells_nothing() -> None:
    """A volume that came late, an hour ago; what the pod waits for now nobody says."""
    async with world(lambda call: Act(pending_s=None, unmounted=MOUNT)) as w:
        w.submit(ONE, "t")
        await w.settle(60)
        assert reasons(w) == {"t-0": f"Pod: {MOUNT}"}
        await w.settle(900)
        assert reasons(w) == {"t-0": None}


@simulated
async def test_no_right_to_list_events_holds_up_nothing() -> None:
    async with world() as w:
        w.api.faults.add(Refuse(403, "Forbidden"), verb="list", resource="events", times=10**6)
        w.store.quotas[NAMESPACE, "pods"] = 0
        w.submit(ONE, "t")
        await w.settle(100)
        assert reasons(w) == {"t-0": None}
        w.store.quotas.clear()
        await w.ended()
        assert w.reason() == "Completed"


# -- the story --------------------------------------------------------------------------------------------------------

STORIES: dict[str, tuple[str, list[Any], dict[str, Any], list[tuple[str, str]]]] = {
    "success": (
        ONE,
        ["t"],
        {},
        [("Running", "line 3 waits for t-0"), ("Completed", "the code returned; 1 task; took 1 s")],
    ),
    "failure": (
        ONE,
        ["bad"],
        {},
        [
            ("Running", "line 3 waits for bad-0"),
            ("TaskFailed", "bad-0, attempt 1 of 3, not retried: Error: no (exit code 1)"),
            (
                "Failed",
                "Error: no (task bad-0, attempt 1 of 3, not retried, exit code 1); 1 task, 1 without success; took 1 s",
            ),
        ],
    ),
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_story(story: tuple[str, list[Any], dict[str, Any], list[tuple[str, str]]]) -> None:
    async def scenario() -> None:
        source, tasks, spec, told = story
        async with world(lambda call: failure() if call.name == "bad" else value(1), latency=now) as w:
            w.submit(source.replace("(t)", f"({tasks[0]})").replace("t()", f"{tasks[0]}()"), *tasks, **spec)
            await w.ended()
            await w.settle()
            assert w.events() == told
            # As kubectl has them: by the second, and within it by name.
            by_name = sorted(w.objects("events"), key=lambda e: (e["lastTimestamp"], e["metadata"]["name"]))
            assert [e["reason"] for e in by_name] == [reason for reason, _ in told]

    run_virtual(scenario())


@simulated
async def test_a_long_run_with_retries_makes_few_events() -> None:
    def twice_bad(call: Call) -> Act:
        return value(1) if call.attempt == 3 else failure()

    async with world(twice_bad) as w:
        w.submit(WIDE, {"name": "t", "retry": {"when": ["Error"]}}, input={"args": [100]}, parallelism=10)
        await w.ended()
        await w.settle()
        assert Counter(type(e.fact) for e in w.history())[TaskFailed] == 200
        assert [reason for reason, _ in w.events()] == ["Running", "Completed"]


@simulated
async def test_of_many_failures_the_first_are_told() -> None:
    async with world(lambda call: failure()) as w:
        w.submit(CAREFUL, "t", input={"args": [100]}, parallelism=7)
        await w.until(lambda: w.status().get("progress", {}).get("failed", 0) > TOLD_FAILURES // 2)
        await w.restart()  # how many were told is no memory of the operator's
        await w.ended()
        await w.settle()
        told = Counter(reason for reason, _ in w.events())
        assert told["TasksFailed"] == 1
        assert TOLD_FAILURES - 7 <= told["TaskFailed"] <= TOLD_FAILURES  # some may get lost with the operator
        assert w.events()[-1][0] == "Completed"
        assert "; 100 tasks, 100 without success; took " in w.events()[-1][1]


@simulated
async def test_of_many_restarts_few_are_told() -> None:
    source = """
        from flowy import restart

        def w(t):
            def run(n=0):
                n = int(t(n))
                return restart(n) if n < 250 else n
            return run
    """
    async with world(lambda call: value(call.args[0] + 1)) as w:
        w.submit(source, "t")
        await w.ended()
        await w.settle()
        restarts = [message for reason, message in w.events() if reason == "Restarted"]
        assert [int(words.split()[1]) for words in restarts] == [*range(2, 11), 100, 200]
        assert "every hundredth" in restarts[8]
        assert w.events()[-1][1].startswith("the code returned; 1 task in run 250; took ")


@simulated
async def test_the_last_error_of_a_timeout_is_told_whole() -> None:
    async with world(lambda call: NEVER_ENDS, latency=now) as w:
        w.submit(ONE, {"name": "t", "timeouts": {"startToCloseSeconds": 10}})
        status = await w.ended()
        await w.settle()
        assert Counter(type(e.fact) for e in w.history())[TaskTimedOut] == 3
        assert status["error"] == {
            "type": "TaskTimedOut",
            "message": "t-0 timed out (StartToClose)",
            "task": "t-0",
            "attempt": 3,
            "timer": "StartToClose",
        }
        assert ("TaskTimedOut", "t-0, attempt 3 of 3: StartToClose") in w.events()


@simulated
async def test_waiting_is_since_the_code_waits_even_after_a_restart() -> None:
    async with world(lambda call: NEVER_ENDS if call.task == "t-1" else value(1), latency=now) as w:
        w.submit("def w(t):\n    def run():\n        a = t(0)\n        return t(a)\n    return run\n", "t")
        await w.until(lambda: "TaskScheduled t-1" in w.told())
        since = w.clock()
        await w.settle(500)
        await w.restart()
        await w.settle(100)
        (wait,) = w.status()["waitingOn"]
        assert (wait["task"], wait["line"]) == ("t-1", 4)
        seen = wait["since"]
        assert seen == since.strftime("%Y-%m-%dT%H:%M:%S.") + f"{since.microsecond // 1000:03d}Z"
        assert timedelta(seconds=500) < w.clock() - since
