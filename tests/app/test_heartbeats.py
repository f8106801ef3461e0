"""Heartbeats from the pod to the code that catches their absence, in virtual time."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from flowy import activity
from flowy_operator.app.attempts import ASKED_AT_ONCE
from flowy_operator.app.listening import GAP, RETURN, Listening
from flowy_operator.app.settings import Settings
from flowy_operator.core.attempts import Caller, Counts, Over, Standing, Unknown
from tests.app.kubelet import NEVER_ENDS, NEVER_STARTS, Act, Call, value
from tests.app.world import NAMESPACE, START, World, simulated, world
from tests.fakes.faults import Delay, Refuse, Rule

ONE = """
    def w(t):
        def run():
            return t()
        return run
"""
CAUGHT = """
    from flowy import TaskTimedOut, wait

    def w(t):
        def run():
            result = t()
            try:
                wait(result)
            except TaskTimedOut as error:
                return [error.timer, error.attempt, error.details]
            return result
        return run
"""
BEATS = {"name": "t", "timeouts": {"heartbeatSeconds": 10}}
ONCE = {**BEATS, "retry": {"maxAttempts": 1}}


def callers(w: World, task: str = "t-0") -> list[Caller]:
    """The pods of a task in their order, as their tokens say."""
    pods = [p for p in w.objects("pods") if p["metadata"]["annotations"]["flowy.dev/task"] == task]
    pods.sort(key=lambda pod: pod["metadata"]["name"][-5:])  # the kubelet counts them
    return [Caller(NAMESPACE, p["metadata"]["name"], p["metadata"]["uid"]) for p in pods]


async def started(w: World) -> None:
    """Wait until the first pod is there and the operator knows it."""
    await w.until(lambda: bool(callers(w)))
    await asyncio.sleep(0.5)


def linger(w: World, caller: Caller) -> None:
    """Have a pod take its time when it is deleted."""
    w.store.edit("pods", NAMESPACE, caller.pod, lambda pod: pod["metadata"].update(finalizers=["example.com/grace"]))


async def beat(w: World, details: str | None = None, caller: Caller | None = None) -> Standing:
    return await w.operators[-1].operator.attempts.heartbeat(caller or callers(w)[-1], details)


@asynccontextmanager
async def beating(
    w: World, every_s: float, details: Callable[[int], str | None] = lambda n: None
) -> AsyncIterator[None]:
    """The newest pod of the task beats as long as the block lasts."""

    async def run() -> None:
        n = 0
        while True:
            if callers(w) and w.operators:
                await beat(w, details(n))
                n += 1
            await asyncio.sleep(every_s)

    running = asyncio.create_task(run())
    try:
        yield
        assert not running.done(), running
    finally:
        running.cancel()


@simulated
async def test_heartbeats_keep_a_long_task_alive_and_write_nothing() -> None:
    async with world(lambda call: value(7, lasts_s=600)) as w:
        w.submit(ONE, BEATS)
        async with beating(w, 1, lambda n: json.dumps({"n": n})):
            await w.ended()
        assert w.result() == 7
        assert w.told() == ["TaskScheduled t-0", "TaskCompleted t-0"]
        # One at each end, and one that says that the Job was made.
        assert w.operators[0].line.writes == {("patch", "workflows/status"): 3, ("create", "jobs"): 1}


@simulated
async def test_silence_ends_an_attempt_and_the_code_learns_how_far_it_was() -> None:
    async with world(lambda call: NEVER_ENDS) as w:
        w.submit(CAUGHT, ONCE)
        await started(w)
        await asyncio.sleep(5)
        await beat(w, '{"frame":1.0}')
        await w.ended()
        assert w.result() == ["Heartbeat", 1, {"frame": 1.0}]
        told = {words: at for at, words in w.instants()}
        assert 14.5 < told["TaskTimedOut t-0"] < 15.6
        await asyncio.sleep(5)
        assert not w.jobs()


@simulated
async def test_silence_is_noticed_though_the_node_was_lost_before_it_said_that_the_container_runs() -> None:
    """What waits for its container is looked at now and then anyway, so nothing has to wake it."""
    async with world(lambda call: NEVER_STARTS) as w:
        w.submit(CAUGHT, ONCE)
        await started(w)
        for n in range(3):
            await asyncio.sleep(4)
            await beat(w, json.dumps({"frame": n}))
        await w.ended()
        assert w.result() == ["Heartbeat", 1, {"frame": 2}]
        told = {words: at for at, words in w.instants()}
        assert 22 < told["TaskTimedOut t-0"] < 23


@simulated
async def test_an_uncaught_silence_is_in_the_status_with_its_details() -> None:
    async with world(lambda call: NEVER_ENDS) as w:
        w.submit(ONE, ONCE)
        await started(w)
        await beat(w, '{"frame":1.0}')
        error = (await w.ended())["error"]
        assert (error["type"], error["timer"], error["details"]) == ("TaskTimedOut", "Heartbeat", '{"frame": 1.0}')
        assert error["message"] == "t-0 timed out (Heartbeat)"


@simulated
async def test_who_was_never_heard_is_told_where_to_look() -> None:
    """The pod doesn't reach the operator, as a rule: a desk behind a firewall, a NetworkPolicy."""
    async with world(lambda call: NEVER_ENDS) as w:
        w.submit(ONE, ONCE)
        error = (await w.ended())["error"]
        assert error["message"].startswith(
            "t-0 timed out (Heartbeat): no heartbeat has come since 2026-01-01T12:00:00.0"
        )
        assert error["message"].endswith("whether pods reach the gateway at the operator's --gateway-url")


@simulated
async def test_the_next_attempt_goes_on_from_what_was_reported() -> None:
    async with world(lambda call: NEVER_ENDS if call.attempt == 1 else value(2)) as w:
        w.submit(ONE, BEATS)
        await started(w)
        attempts = w.operators[0].operator.attempts
        first = callers(w)[0]
        assert await attempts.progress(first) == "null"
        await beat(w, "[1, 2.0]")
        await beat(w)
        assert await attempts.progress(first) == "null", "one's own details are for those who come after"
        await w.until(lambda: len(w.kubelet.calls) == 2)
        await asyncio.sleep(0.1)
        (second,) = [c for c in callers(w) if c != first]
        assert await attempts.progress(second) == "[1, 2.0]"
        await w.ended()
        assert w.result() == 2


@simulated
async def test_a_disruption_keeps_what_was_reported() -> None:
    def act(call: Call) -> Act:
        return value(2) if call.launch else Act(lasts_s=3, exit_code=137, disruption="EvictionByEvictionAPI")

    async with world(act) as w:
        w.submit(ONE, {"name": "t", "activity": {"image": "i", "gateway": True}})
        await started(w)
        await asyncio.sleep(1)
        await beat(w, "7")
        await w.until(lambda: len(callers(w)) == 2)
        await asyncio.sleep(0.1)
        assert await w.operators[0].operator.attempts.progress(callers(w)[-1]) == "7"
        await w.ended()


@simulated
async def test_a_restart_of_the_operator_times_nobody_out() -> None:
    async with world(lambda call: value(7, lasts_s=100)) as w:
        w.submit(CAUGHT, ONCE)
        async with beating(w, 1):
            for _ in range(4):
                await asyncio.sleep(8)
                await w.kill()
                await asyncio.sleep(12)  # nobody is there to hear it, for longer than it may be silent
                w.start()
            await w.ended()
        assert w.result() == 7


@simulated
async def test_who_stays_silent_after_a_restart_is_timed_out() -> None:
    async with world(lambda call: NEVER_ENDS) as w:
        w.submit(CAUGHT, ONCE)
        await started(w)
        await asyncio.sleep(5)
        await w.restart()
        await w.ended()
        assert w.result() == ["Heartbeat", 1, None]
        (at,) = [at for at, words in w.instants() if words.startswith("TaskTimedOut")]
        assert 15 <= at < 16


@simulated
async def test_an_operator_that_slept_blames_nobody() -> None:
    async with world(lambda call: value(7, lasts_s=100)) as w:
        w.submit(CAUGHT, ONCE)
        async with beating(w, 1):
            await asyncio.sleep(9)
            slept = w.operators[0].operator
            w.skew = timedelta(seconds=60)  # its process was stopped: its clock jumps, no heartbeat was heard
            slept._queue.add(next(iter(slept._workflows)).key)
            await w.ended()
        assert w.result() == 7


@simulated
async def test_who_could_not_be_judged_is_not_timed_out_and_the_others_are() -> None:
    """Its token may have been refused unseen, because of what its neighbours sent."""
    both = """
        from flowy import TaskTimedOut, wait

        def w(t, u):
            def run():
                first, second = t(), u()
                try:
                    wait(second)
                except TaskTimedOut:
                    return first
            return run
    """
    async with world(lambda call: NEVER_ENDS if call.name == "u" else value(7, lasts_s=60)) as w:
        w.submit(both, ONCE, {**ONCE, "name": "u"})
        await w.until(lambda: bool(callers(w) and callers(w, "u-0")))
        await asyncio.sleep(0.5)
        operator = w.operators[-1].operator
        (caller,) = callers(w)
        await beat(w, '"far"', caller=caller)
        for _ in range(10):
            operator.attempts.unheard(caller)
            operator.attempts.unheard(Caller(NAMESPACE, caller.pod, "another"))
            await asyncio.sleep(4)
        (workflow,) = operator._workflows
        assert [heard.details for heard in workflow.beats.values()] == ['"far"'], "what it said before stays"
        async with beating(w, 4):
            await w.ended()
        assert w.result() == 7
        assert [words for words in w.told() if words.startswith("TaskTimedOut")] == ["TaskTimedOut u-0"]


@simulated
async def test_a_pod_is_known_by_its_uid_and_its_job() -> None:
    async with world(lambda call: NEVER_ENDS) as w:
        w.submit(ONE, ONCE)
        await started(w)
        (caller,), attempts = callers(w), w.operators[-1].operator.attempts
        assert attempts.knows(caller)
        assert not attempts.knows(Caller(NAMESPACE, caller.pod, "another"))
        assert not attempts.knows(Caller("elsewhere", caller.pod, caller.uid))
        w.store.edit("pods", NAMESPACE, caller.pod, lambda pod: pod["metadata"].pop("ownerReferences"))
        await w.settle(1)
        assert not attempts.knows(caller)


@simulated
async def test_attempts_that_no_longer_count_are_told_so() -> None:
    async with world(lambda call: NEVER_ENDS if call.attempt == 1 else value(2, lasts_s=5)) as w:
        w.submit(ONE, {**BEATS, "timeouts": {"heartbeatSeconds": 10}})
        await started(w)
        first = callers(w)[0]
        assert isinstance(await beat(w, caller=first), Counts)
        linger(w, first)
        await w.until(lambda: len(callers(w)) == 2)
        await asyncio.sleep(0.5)
        assert w.jobs() == ["t-0"], "the first one's Job is gone"
        assert isinstance(await beat(w, caller=first), Over)
        assert isinstance(await beat(w, caller=callers(w)[-1]), Counts)
        await w.ended()
        assert isinstance(await beat(w, caller=first), Over)


@simulated
async def test_a_pod_that_is_not_known_is_not_told_to_stop() -> None:
    async with world(lambda call: NEVER_ENDS) as w:
        w.submit(ONE, ONCE)
        await started(w)
        real = callers(w)[0]
        for caller in (Caller(NAMESPACE, "another", real.uid), Caller(NAMESPACE, real.pod, "another")):
            assert isinstance(await beat(w, caller=caller), Unknown)
        assert isinstance(await beat(w, caller=real), Counts)


@simulated
async def test_a_pod_that_claims_another_workflow_is_not_heard() -> None:
    async with world(lambda call: NEVER_ENDS) as w:
        w.submit(CAUGHT, ONCE)
        await started(w)
        victim = w.store.get(w.store.kind("pods"), NAMESPACE, callers(w)[0].pod)
        forged = json.loads(json.dumps(victim))
        forged["metadata"]["name"] = "forged"
        forged["metadata"]["ownerReferences"][0]["uid"] = "no-such-job"
        made = w.store.create(w.store.kind("pods"), NAMESPACE, forged)
        await asyncio.sleep(0.1)
        caller = Caller(NAMESPACE, "forged", made["metadata"]["uid"])
        while w.condition()["status"] == "Unknown":
            assert isinstance(await beat(w, '"I am you"', caller=caller), Unknown)
            await asyncio.sleep(1)
        assert w.result() == ["Heartbeat", 1, None]


@simulated
async def test_the_deleted_workflow_is_asked_for_before_anybody_is_told_to_stop() -> None:
    async with world(lambda call: NEVER_ENDS) as w:
        w.submit(ONE, ONCE)
        await started(w)
        caller, operator = callers(w)[0], w.operators[0].operator
        key = next(iter(operator._workflows)).key
        operator._workflows.forget(key, w.body()["metadata"]["uid"])  # kopf hasn't told yet, or again
        w.api.faults.add(Refuse(500), verb="get", resource="workflows")
        assert isinstance(await beat(w, caller=caller), Unknown)
        await asyncio.sleep(3)
        assert isinstance(await beat(w, caller=caller), Counts), "it was there"
        linger(w, caller)
        w.store.delete(w.store.kind("workflows"), NAMESPACE, "w")
        await asyncio.sleep(3)
        before = w.api.calls["get", "workflows"]
        await asyncio.gather(*(beat(w, caller=caller) for _ in range(4)))
        for _ in range(50):
            await asyncio.sleep(1)
            assert isinstance(await beat(w, caller=caller), Over)
        assert w.api.calls["get", "workflows"] - before == 1, "its questions are not passed on one by one"


@simulated
async def test_it_is_asked_for_again_after_the_clock_was_set_back() -> None:
    async with world(lambda call: NEVER_ENDS) as w:
        w.submit(ONE, ONCE)
        await started(w)
        caller, running = callers(w)[0], w.operators[0]
        running.operator._workflows.forget(next(iter(running.operator._workflows)).key, w.body()["metadata"]["uid"])
        w.api.faults.add(Refuse(500), verb="get", resource="workflows")
        running.line.skew = timedelta(days=1)
        assert isinstance(await beat(w, caller=caller), Unknown)
        running.line.skew = timedelta()
        assert isinstance(await beat(w, caller=caller), Counts)


@simulated
async def test_few_workflows_are_asked_for_at_once() -> None:
    async with world(lambda call: NEVER_ENDS) as w:
        several = "def w(t):\n    return lambda: [t() for _ in range(40)]"
        w.submit(several, ONCE)
        await w.until(lambda: len(w.objects("pods")) == 40)
        await asyncio.sleep(0.5)
        operator = w.operators[0].operator
        operator._workflows.forget(next(iter(operator._workflows)).key, w.body()["metadata"]["uid"])
        w.api.faults.add(Delay(0.5), times=10**6, verb="get", resource="workflows")
        pods = [caller for n in range(40) for caller in callers(w, f"t-{n}")]
        before = w.api.calls["get", "workflows"]
        found = await asyncio.gather(*(beat(w, caller=caller) for caller in pods))
        assert w.api.calls["get", "workflows"] - before == ASKED_AT_ONCE
        assert [type(standing) for standing in found] == [Counts] * ASKED_AT_ONCE + [Unknown] * (40 - ASKED_AT_ONCE)


def test_gaps_are_noticed_by_who_asks() -> None:
    now = began_at = START.replace(microsecond=0)

    def clock() -> datetime:
        return now

    listening = Listening(clock)
    for seconds in (1.0, 2.9, GAP.total_seconds()):
        now += timedelta(seconds=seconds)
        assert listening.since() == began_at
    now += GAP + timedelta(milliseconds=1)
    woke_at = now
    assert listening.since() == woke_at
    now += timedelta(seconds=1)
    assert listening.since() == woke_at


def test_after_a_change_of_leader_there_is_time_to_come_back() -> None:
    now = began_at = START.replace(microsecond=0)

    def clock() -> datetime:
        return now

    listening = Listening(clock)
    listening.begin(RETURN)
    assert listening.since() == began_at + RETURN
    now += GAP + timedelta(seconds=1)
    listening.begin()
    assert listening.since() == began_at + RETURN, "a gap in between shortens nothing"
    now += RETURN
    assert listening.since() == now
    # What the client of ours may need.
    assert RETURN.total_seconds() == (1 + activity.SILENCE_COSTS) * activity.CALL_S


@pytest.mark.parametrize(
    "field", [{"timeouts": {"heartbeatSeconds": 10}}, {"activity": {"image": "i", "gateway": True}}]
)
def test_the_job_knows_the_way(field: dict[str, Any]) -> None:
    @simulated
    async def scenario() -> None:
        async with world(lambda call: value(1)) as w:
            w.submit(ONE, {"name": "t", **field})
            await w.until(lambda: bool(w.objects("jobs")))
            (job,) = w.objects("jobs")
            env = {e["name"]: e["value"] for e in job["spec"]["template"]["spec"]["containers"][0]["env"]}
            assert env["FLOWY_URL"] == "http://gateway:8082"
            await w.ended()

    scenario()


@simulated
async def test_silence_before_the_history_is_read_is_nobodys() -> None:
    """Heartbeats can't be judged before: after a start the pages may take longer than a timeout."""
    source = """
        from flowy import wait

        def w(t, u):
            def run():
                for _ in range(4):
                    wait(u())
                return t()
            return run
    """

    def act(call: Call) -> Act:
        return value(7, lasts_s=200 if call.name == "t" else 0)

    async with world(act, settings=Settings(history_tail_bytes=256)) as w:
        w.submit(source, ONCE, "u")
        async with beating(w, 1):
            await w.until(lambda: bool(w.pages()) and "TaskScheduled t-0" in w.told())
            await w.settle(3)
            (page, *_) = w.pages()
            w.delete("historypages", page["metadata"]["name"])
            await w.restart()
            await w.until(lambda: w.stalled() == "HistoryInvalid")
            await w.settle(60)
            metadata = {name: page["metadata"][name] for name in ("name", "labels", "ownerReferences")}
            w.store.create(w.store.kind("historypages"), NAMESPACE, {"metadata": metadata, "spec": page["spec"]})
            await w.ended()
        assert w.result() == 7


@simulated
async def test_silence_of_a_pod_that_nobody_could_see_is_nobodys() -> None:
    """While the watch of pods is away, a new pod's heartbeats can't be told from a stranger's."""
    async with world(lambda call: value(7, lasts_s=60)) as w:
        await w.settle(1)
        away = Rule(Refuse(503, "ServiceUnavailable"), times=10**6, resource="pods")
        w.api.faults.rules.insert(0, away)
        w.api.cut_watches()
        w.submit(ONE, ONCE)
        async with beating(w, 1):
            await w.settle(40)
            assert isinstance(await beat(w), Unknown)
            w.api.faults.rules.remove(away)
            await w.ended()
        assert w.result() == 7
