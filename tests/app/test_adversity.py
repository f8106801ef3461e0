"""What goes wrong around a workflow: refusals, lost answers, hands in the status, deciders that don't answer."""

import asyncio
import copy
from itertools import pairwise
from typing import Any

import pytest

from flowy_operator.app.settings import Settings
from flowy_operator.core.errors import StallReason
from flowy_operator.core.key import Key
from flowy_operator.core.naming import job_name
from flowy_operator.core.spec import WorkflowSpec
from tests.app.kubelet import NEVER_ENDS, Act, Call, value
from tests.app.test_flow import CHAIN
from tests.app.world import NAMESPACE, InProcess, World, simulated, world
from tests.fakes.clock import run_virtual
from tests.fakes.faults import Delay, Fault, LoseAnswer, Refuse

WIDE = """
    def wide(step):
        def workflow(n=6):
            return [step(i) for i in range(n)]
        return workflow
"""


WIDE_CAREFUL = """
    from flowy import TaskError, wait

    def careful(step):
        def workflow():
            failed = 0
            for r in [step(i) for i in range(6)]:
                try:
                    wait(r)
                except TaskError:
                    failed += 1
            return step(failed)
        return workflow
"""


def step(call: Call) -> Act:
    return value(call.args[0] + 1)


def hang(call: Call) -> Act:
    return NEVER_ENDS


def launched_once(w: World) -> None:
    assert len(w.kubelet.created) == len(set(w.kubelet.created))


# -- a call that fails, then works ------------------------------------------------------------------------------------

TROUBLES: dict[str, tuple[Fault, str | None, str | None, int]] = {
    "status writes are conflicts": (Refuse(409, "Conflict"), "patch", None, 6),
    "status writes are server errors": (Refuse(500), "patch", None, 6),
    "status writes are throttled": (Refuse(429, "TooManyRequests", 7), "patch", None, 3),
    "answers of status writes are lost": (LoseAnswer(), "patch", None, 6),
    "creates are server errors": (Refuse(503, "ServiceUnavailable"), "create", "jobs", 6),
    "creates are throttled": (Refuse(429, "TooManyRequests", 7), "create", "jobs", 3),
    "answers of creates are lost": (LoseAnswer(), "create", "jobs", 6),
    "a role is missing for a while": (Refuse(401, "Unauthorized"), None, None, 12),
    "everything is slow": (Delay(0.7), None, None, 40),
    "watches are refused": (Refuse(410, "Expired"), "watch", None, 6),
    "lists are refused": (Refuse(500), "list", None, 6),
    "deletes are refused": (Refuse(500), "delete", None, 6),
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
def test_passing_trouble_leaves_no_trace(trouble: tuple[Fault, str | None, str | None, int]) -> None:
    async def scenario() -> None:
        fault, verb, resource, times = trouble
        async with world(step) as w:
            w.api.faults.add(fault, verb=verb, resource=resource, times=times)
            w.submit(CHAIN, "step", jobs={"keepSucceededSeconds": 1})
            await w.ended(within_s=300)
            assert w.result() == 3
            assert w.told() == [f"{what} step-{n}" for n in range(3) for what in ("TaskScheduled", "TaskCompleted")]
            launched_once(w)
            await w.settle(120)
            assert w.jobs() == []

    run_virtual(scenario())


@simulated
async def test_streams_that_are_cut_and_versions_that_expire_lose_nothing() -> None:
    async with world(step) as w:
        w.submit(CHAIN, "step")
        while w.reason() != "Completed":
            w.api.cut_watches()
            w.store.compact()
            await asyncio.sleep(0.21)
        assert w.result() == 3
        launched_once(w)


@simulated
async def test_an_outage_times_nobody_out() -> None:
    """What ended while the API server was away has ended, whatever the timers say when it is back."""
    async with world(lambda call: value(1, lasts_s=20)) as w:
        w.submit(WIDE, {"name": "step", "timeouts": {"startToCloseSeconds": 60}})
        await w.until(lambda: len(w.objects("pods")) == 6)
        await w.settle(5)
        w.api.faults.add(Refuse(503, "ServiceUnavailable"), times=10**6)
        w.api.cut_watches()
        await w.settle(120)
        w.api.faults.rules.clear()
        await w.ended(within_s=120)
        assert w.reason() == "Completed"
        assert [words for words in w.told() if "TimedOut" in words] == []


@simulated
async def test_a_pod_that_started_unseen_is_not_timed_out_for_not_starting() -> None:
    async with world(lambda call: value(1, lasts_s=40)) as w:
        w.api.faults.add(Refuse(503, "ServiceUnavailable"), verb="watch", resource="pods", times=100)
        w.api.cut_watches()
        w.submit(WIDE, {"name": "step", "timeouts": {"scheduleToStartSeconds": 10}})
        await w.ended(within_s=600)
        assert w.reason() == "Completed"


@simulated
async def test_a_result_is_believed_before_the_pods_watch_has_it() -> None:
    async with world(step) as w:
        await w.settle(0.5)
        w.api.faults.add(Refuse(503, "ServiceUnavailable"), verb="watch", resource="pods", times=5)
        w.api.faults.add(Refuse(503, "ServiceUnavailable"), verb="list", resource="pods", times=1)
        w.api.cut_watches()
        w.submit(CHAIN, "step")
        await w.ended(within_s=120)
        assert w.result() == 3
        launched_once(w)


# -- creates that are refused -----------------------------------------------------------------------------------------

CAREFUL = """
    from flowy import TaskError

    def careful(step):
        def workflow():
            try:
                return int(step(1))
            except TaskError as error:
                return error.type
        return workflow
"""

BARE = Refuse(422, "UnprocessableEntity", bare=True)

REFUSALS: dict[str, Fault] = {
    "it breaks a schema": Refuse(422, "Invalid"),
    "admission forbids it": Refuse(403, "Forbidden"),
    "it can't even be decoded": Refuse(400, "BadRequest"),
    "a webhook forbids it with a bare 422": BARE,
    "it is too large": Refuse(413, "RequestEntityTooLarge"),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_create_that_is_refused_for_good_fails_its_task(refusal: Fault) -> None:
    async def scenario() -> None:
        async with world(step) as w:
            w.api.faults.add(refusal, verb="create", resource="jobs", times=1000)
            w.submit(CAREFUL, "step")
            await w.ended(within_s=60)
            assert w.result() == "LaunchRefused"
            assert w.status()["history"][-1]["class"] == "Invalid"
            assert w.kubelet.created == []

    run_virtual(scenario())


@simulated
async def test_quota_is_waited_for() -> None:
    async with world(step) as w:
        w.store.quotas[NAMESPACE, "jobs"] = 2
        w.submit(WIDE, "step", jobs={"keepSucceededSeconds": 2})
        await w.settle(0.9)
        assert len(w.jobs()) == 2
        await w.settle(1)
        assert "exceeded quota" in str(w.status()["waitingOn"])
        await w.ended()
        assert w.result() == [1, 2, 3, 4, 5, 6]
        assert "waitingOn" not in w.status()
        launched_once(w)


@simulated
async def test_a_full_quota_makes_no_timer_late() -> None:
    """The wait for room backs off to a minute; what runs meanwhile is stopped, and tidied away, in its time."""
    async with world(hang, latency=lambda: 0.0) as w:
        w.store.quotas[NAMESPACE, "jobs"] = 2
        w.submit(WIDE_CAREFUL, {"name": "step", "timeouts": {"startToCloseSeconds": 200}, "retry": {"maxAttempts": 1}})
        await w.ended()
        # A container starts 0.03 s after its Job, and Kubernetes says so in whole seconds.
        assert [at for at, words in w.instants() if "TimedOut" in words] == [
            200.0,
            200.0,
            400.0,
            400.0,
            600.0,
            600.0,
            800.0,
        ]
        assert w.operators[0].line.requests["create", "jobs", 403] < 100


@simulated
async def test_a_namespace_that_ends_fails_nothing() -> None:
    async with world(step) as w:
        w.submit(CHAIN, "step")
        w.store.terminating.add(NAMESPACE)
        await w.settle(120)
        assert w.told() == ["TaskScheduled step-0"]
        assert w.stalled() is None
        assert w.operators[0].line.requests["create", "jobs", 403] < 20  # it backs off


@simulated
async def test_a_foreign_job_in_the_way_fails_the_task() -> None:
    async with world(step) as w:
        await w.kill()
        uid = w.submit(CAREFUL, "step")["metadata"]["uid"]
        name = job_name(workflow="w", uid=uid, run=1, task="step-0", attempt=1, launch=0)
        w.store.create(w.store.kind("jobs"), NAMESPACE, {"metadata": {"name": name}})
        w.start()
        await w.ended(within_s=60)
        assert w.result() == "LaunchRefused"
        assert "somebody else" in w.status()["history"][-1]["error"]["message"]
        assert [job["metadata"]["name"] for job in w.objects("jobs")] == [name]


@simulated
async def test_foreign_objects_with_our_labels_are_ignored() -> None:
    async with world(hang) as w:
        w.submit(CHAIN, "step")
        await w.until(lambda: len(w.objects("pods")) == 1)
        job, pod = w.objects("jobs")[0], w.objects("pods")[0]
        for n, owners in enumerate(
            ([], [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "x", "controller": True}])
        ):
            fake = copy.deepcopy(pod)
            fake["metadata"] = {"name": f"p{n}", "labels": pod["metadata"]["labels"], "ownerReferences": owners}
            fake["status"] = {"phase": "Succeeded"}
            if owners:
                fake["metadata"]["finalizers"] = ["keep/it"]  # its owner isn't there
            w.store.create(w.store.kind("pods"), NAMESPACE, fake)
            other = copy.deepcopy(job)
            del other["spec"]
            other["metadata"] = {"name": f"j{n}", "labels": job["metadata"]["labels"]}
            w.store.create(w.store.kind("jobs"), NAMESPACE, other)
            w.delete("jobs", f"j{n}")
        await w.settle(30)
        assert w.told() == ["TaskScheduled step-0"]


@simulated
async def test_a_job_that_lives_and_dies_unseen_is_missed_in_the_end() -> None:
    async with world(hang) as w:
        await w.settle(0.5)
        w.api.faults.add(Refuse(503, "ServiceUnavailable"), verb="watch", resource="jobs", times=4)
        w.api.cut_watches()
        w.submit(CAREFUL, "step")
        await w.until(lambda: bool(w.kubelet.created))
        await w.settle(0.2)
        w.delete("jobs", w.kubelet.created[0][1])
        await w.ended(within_s=200)
        assert w.told() == ["TaskScheduled step-0", "TaskCancelled step-0"]


# -- the status in other hands ----------------------------------------------------------------------------------------


def _edit_event(body: Any) -> None:
    body["status"]["history"][1]["result"] = "7"


def _drop_event(body: Any) -> None:
    del body["status"]["history"][-1]


def _drop_history(body: Any) -> None:
    del body["status"]["history"]


def _drop_status(body: Any) -> None:
    del body["status"]


HANDS = {
    "a result is changed": _edit_event,
    "an event is removed": _drop_event,
    "the history is removed": _drop_history,
    "the status is removed": _drop_status,
}


@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
@pytest.mark.parametrize("hand", HANDS.values(), ids=HANDS)
def test_a_history_edited_by_hand_stops_the_workflow_until_it_is_back(hand: Any, *, restarted: bool) -> None:
    async def scenario() -> None:
        async with world(lambda call: value(call.args[0] + 1, lasts_s=10)) as w:
            w.submit(CHAIN, "step")
            await w.until(lambda: "TaskScheduled step-1" in w.told())
            await w.settle(2)
            good = w.status()
            w.edit(hand)
            await w.settle(2)
            assert w.stalled() == "HistoryInvalid"
            if restarted:
                await w.restart()
            await w.settle(60)
            assert w.stalled() == "HistoryInvalid"
            assert w.reason() == "Stalled"
            assert len(w.kubelet.created) == 2
            version = w.store.version
            await w.settle(700)
            assert w.store.version == version
            w.edit(lambda body: body.update(status=good))
            await w.ended(within_s=60)
            assert w.result() == 3
            launched_once(w)

    run_virtual(scenario())


@simulated
async def test_an_end_stands_whatever_is_done_to_it() -> None:
    async with world(step) as w:
        w.submit(CHAIN, "step", ttlSecondsAfterFinished=100)
        await w.ended()
        w.edit(_drop_event)
        await w.settle(10)
        await w.restart()
        await w.settle(10)
        assert w.reason() == "Completed"
        assert len(w.kubelet.created) == 3
        await w.settle(90)
        assert w.objects("workflows") == []


@simulated
async def test_a_status_that_is_refused_is_said_in_few_words() -> None:
    async with world(step) as w:
        w.submit(CHAIN, "step")
        await w.until(lambda: "TaskScheduled step-1" in w.told())
        w.api.faults.add(Refuse(422, "Invalid"), verb="patch", times=1)
        # Only a refusal that names the kind is one of the content; the fake's faults do.
        await w.settle(30)
        assert w.stalled() == "StatusRefused"
        w.edit(lambda body: body["metadata"].update(labels={"a": "b"}))
        await w.ended(within_s=60)
        assert w.result() == 3


@simulated
async def test_a_status_that_is_always_refused_costs_little() -> None:
    async with world(step) as w:
        w.api.faults.add(Refuse(422, "Invalid"), verb="patch", times=10**6)
        w.submit(CHAIN, "step")
        await w.settle(600)
        assert w.kubelet.created == []
        assert sum(n for (verb, *_), n in w.operators[0].line.requests.items() if verb == "patch") < 30


@simulated
async def test_a_spec_that_cannot_be_run_is_said_and_mended() -> None:
    async with world(step) as w:
        w.submit(CHAIN, "step", "step")
        await w.settle()
        assert w.stalled() == "InvalidSpec"
        assert "spec.tasks[1].name" in w.condition(kind="Stalled")["message"]
        assert w.kubelet.created == []
        w.edit(lambda body: body["spec"]["tasks"].pop())
        await w.ended()
        assert w.result() == 3


# -- the decider ------------------------------------------------------------------------------------------------------


@simulated
async def test_a_decision_that_stalls_is_tried_again_after_growing_delays() -> None:
    async with world(step, latency=lambda: 0.0) as w:
        w.decider.stall(12, StallReason.MEMORY)
        w.submit(CHAIN, "step")
        await w.settle(3)
        assert w.stalled() == "DecisionMemory"
        assert "tried again after" in w.condition(kind="Stalled")["message"]
        await w.ended(within_s=4000)
        asked = w.decider.asked_at[:13]
        gaps = [round(b - a) for a, b in pairwise(asked)]
        assert gaps == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]
        assert w.stalled() is None
        assert w.result() == 3


@simulated
async def test_a_decider_that_is_away_is_asked_again_without_growing_delays() -> None:
    async with world(step, latency=lambda: 0.0) as w:
        w.decider.stall(30, StallReason.UNAVAILABLE)
        w.decider.stall(2, StallReason.MEMORY)
        w.submit(CHAIN, "step")
        await w.settle(3)
        assert w.stalled() == "DeciderUnavailable"
        assert "tried again after 2 s" in w.condition(kind="Stalled")["message"]
        await w.ended()
        gaps = [round(b - a) for a, b in pairwise(w.decider.asked_at[:33])]
        assert gaps == [2] * 30 + [1, 2]  # and what follows begins anew
        assert w.result() == 3


@simulated
async def test_two_of_which_one_cannot_decide_do_not_put_each_other_right_all_the_time() -> None:
    async with world(lambda call: value(1, lasts_s=100), latency=lambda: 0.01) as w:
        w.submit(WIDE, "step")
        await w.settle(2)
        w.decider = InProcess(w.latency)  # the second one's
        w.decider.stall(1000)
        w.start()
        await w.settle(1)
        writes = w.api.calls["patch", "workflows/status"]
        await w.settle(60)
        assert w.api.calls["patch", "workflows/status"] - writes <= 20
        await w.ended()  # what has become true isn't held up
        assert w.result() == [1] * 6


@simulated
async def test_what_runs_is_recorded_while_the_decider_stalls() -> None:
    async with world(lambda call: value(1, lasts_s=10)) as w:
        w.submit(WIDE, "step")
        await w.settle()
        w.decider.stall(5)
        await w.settle(10)
        assert w.stalled() == "DecisionTimeout"
        assert w.status()["progress"]["succeeded"] == 6
        await w.ended(within_s=100)


@simulated
async def test_code_that_is_not_deterministic_stalls_with_the_place() -> None:
    source = """
        def moody(a, b):
            def workflow():
                import os
                x = a(1)
                return b(x) if os.environ.get("FLOWY_TEST_MOOD") else a(x)
            return workflow
    """
    async with world(lambda call: value(1, lasts_s=10)) as w:
        w.submit(source, "a", "b")
        await w.until(lambda: "TaskScheduled a-1" in w.told())
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("FLOWY_TEST_MOOD", "1")
            await w.settle(30)
            assert w.stalled() == "NonDeterminism"
            message = w.condition(kind="Stalled")["message"]
            assert "a-1" in message
            assert w.condition()["message"] == message
            await w.settle(30)
        assert len(w.kubelet.created) == 2


@simulated
async def test_every_decision_sees_the_same_start() -> None:
    """A finer time at the first decision would give another argument at the next, for code that looks at the clock."""
    async with world(step) as w:
        w.submit(CHAIN, "step")
        await w.until(lambda: "TaskScheduled step-1" in w.told())
        await w.restart()
        await w.ended()
        assert len({request.started_at for request in w.decider.requests}) == 1


# -- limits -----------------------------------------------------------------------------------------------------------


@simulated
async def test_a_full_history_stalls_quietly() -> None:
    settings = Settings(history_run_bytes=1500)
    async with world(lambda call: value("x" * 300) if call.args[0] < 3 else NEVER_ENDS, settings=settings) as w:
        w.submit(WIDE, {"name": "step", "timeouts": {"startToCloseSeconds": 20}})
        await w.settle(60)
        assert w.stalled() == "HistoryFull"
        passes, version = w.operators[0].operator._queue.taken, w.store.version
        await w.settle(600)
        assert w.operators[0].operator._queue.taken - passes < 50
        assert w.store.version == version


@simulated
async def test_a_full_history_with_a_refused_launch_stalls_quietly() -> None:
    settings = Settings(history_run_bytes=1200)
    async with world(step, settings=settings) as w:
        w.api.faults.add(Refuse(422, "Invalid"), verb="create", resource="jobs", times=1000)
        w.submit(WIDE_CAREFUL, "step")
        await w.settle(60)
        assert w.stalled() == "HistoryFull"
        passes = w.operators[0].operator._queue.taken
        await w.settle(600)
        assert w.operators[0].operator._queue.taken - passes < 50


@simulated
async def test_the_workflow_timeout_ends_even_a_full_history() -> None:
    settings = Settings(history_run_bytes=1500)
    async with world(lambda call: value("x" * 300) if call.args[0] < 3 else NEVER_ENDS, settings=settings) as w:
        w.submit(WIDE, {"name": "step", "timeouts": {"startToCloseSeconds": 20}}, timeouts={"workflowSeconds": 90})
        await w.ended(within_s=100)
        assert w.reason() == "TimedOut"


# -- two at once, and order -------------------------------------------------------------------------------------------


@simulated
async def test_a_write_of_another_operator_during_a_decision_is_not_written_over() -> None:
    async with world(step, latency=lambda: 0.05) as w:
        w.start()
        w.start()
        w.submit(WIDE, "step", parallelism=2)
        await w.ended(within_s=120)
        assert w.result() == [1, 2, 3, 4, 5, 6]
        assert w.stalled() is None
        launched_once(w)


@simulated
async def test_a_change_of_the_spec_during_a_decision_is_obeyed() -> None:
    async with world(step, latency=lambda: 0.2) as w:
        w.submit(WIDE, "step")
        await w.settle(0.5)  # asked at 0.4 s, answered at 0.6 s
        assert w.decider.asked_at
        w.edit(lambda body: body["spec"].update(suspend=True))
        await w.settle(30)
        assert w.reason() == "Suspended"
        assert w.told() == []


@simulated
async def test_the_end_of_a_namesake_told_late_is_not_the_end_of_the_new_one() -> None:
    """kopf has a queue for each uid, so the new object's first event may overtake the old one's last."""
    key = Key(NAMESPACE, "w")
    async with world(step) as w:
        old = w.submit(CHAIN, "step")
        await w.until(lambda: "TaskScheduled step-0" in w.told())
        w.delete("workflows", "w")
        new = w.submit(CHAIN, "step")
        told = w.operators[0].operator._workflow_changed
        told(key, new["metadata"]["uid"], new)
        told(key, old["metadata"]["uid"], old)  # of a list that was begun before
        told(key, old["metadata"]["uid"], None)
        tracked = w.operators[0].operator._workflows.get(key)
        assert tracked is not None
        assert tracked.owner.uid == new["metadata"]["uid"]
        await w.ended(within_s=60)


@simulated
async def test_what_has_ended_is_held_in_little_memory_and_still_tidied() -> None:
    async with world(lambda call: value("x" * 1000)) as w:
        w.submit(WIDE, "step", jobs={"keepSucceededSeconds": 100}, ttlSecondsAfterFinished=200)
        await w.ended()
        await w.settle(30)
        tracked = w.operators[0].operator._workflows.get(Key(NAMESPACE, "w"))
        assert tracked is not None
        w.edit(lambda body: body["metadata"].update(labels={"a": "b"}))  # the watch brings it again, whole
        await w.settle(5)
        assert (tracked.answer, tracked.calls, tracked.gone, tracked.created) == (None, {}, {}, {})
        version = tracked.version
        assert isinstance(version.spec, WorkflowSpec)
        assert version.state is not None
        assert version.status is not None
        assert (version.spec.source, version.spec.tasks, version.state.tasks) == ("", {}, {})
        assert "result" not in version.status
        await w.settle(60)
        assert len(w.jobs()) == 6
        await w.settle(10)
        assert w.jobs() == []
        await w.settle(100)
        assert w.objects("workflows") == []
