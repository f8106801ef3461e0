"""Workflows of a definition: what they are run by, what stalls them, and how they go on."""

import asyncio
from datetime import datetime
from typing import Any

from flowy_operator.adapters.crd.definition import content_digest
from flowy_operator.app.late import LATE_S
from flowy_operator.app.settings import Settings
from tests.app.kubelet import NEVER_ENDS, Act, Call, value
from tests.app.world import World, simulated, world
from tests.fakes.faults import Refuse

STEPS = """
    def steps(step):
        def workflow(n):
            value = 0
            for _ in range(n):
                value = step(value)
            return value

        return workflow
"""
OTHER = STEPS.replace("value = 0", "value = 100")


def inc(call: Call) -> Act:
    return value(call.args[0] + 1)


def input_of(n: int) -> dict[str, Any]:
    return {"args": [n]}


async def headlines(w: World) -> list[str]:
    """The reasons of the Kubernetes Events, tasks' apart."""
    await asyncio.sleep(1)  # they are posted beside the passes
    return [reason for reason, _ in w.events() if not reason.startswith("Task")]


@simulated
async def test_several_workflows_of_one_definition() -> None:
    async with world(inc) as w:
        made = w.define(STEPS, "step")
        for n in (1, 2, 3):
            w.refer(name=f"w{n}", input=input_of(n))
        for n in (1, 2, 3):
            status = await w.ended(f"w{n}")
            assert w.result(f"w{n}") == n
            assert status["definitionDigest"] == content_digest(made["spec"])


@simulated
async def test_a_workflow_of_a_definition_costs_no_write_more() -> None:
    async with world(inc) as w:
        w.define(STEPS, "step")
        w.refer(input=input_of(3))
        await w.ended()
        assert w.operators[0].line.writes == {("patch", "workflows/status"): 4, ("create", "jobs"): 3}


@simulated
async def test_what_is_applied_together_never_stalls() -> None:
    """Two watches: the Workflow may be seen before its definition."""
    async with world(inc) as w:
        await asyncio.sleep(1)
        w.api.faults.add(Refuse(500, "InternalError"), verb="watch", resource="workflowdefinitions", times=20)
        w.api.cut_watches()
        w.define(STEPS, "step")
        w.refer(input=input_of(1))
        await w.ended()
        assert await headlines(w) == ["Running", "Completed"]


@simulated
async def test_fields_of_the_workflow_lie_over_those_of_the_definition() -> None:
    async with world(lambda call: NEVER_ENDS) as w:
        w.define("def f(a):\n    return lambda: [a() for _ in range(5)]\n", "a", parallelism=3)
        w.refer(name="plain")
        w.refer(name="own", parallelism=2, timeouts={"workflowSeconds": 60})
        await asyncio.sleep(5)
        assert (w.status("plain")["progress"]["running"], w.status("own")["progress"]["running"]) == (3, 2)
        w.edit(lambda body: body["spec"].update(parallelism=4), "own")
        await asyncio.sleep(5)
        assert w.status("own")["progress"]["running"] == 4
        await w.ended("own")
        assert w.reason("own") == "TimedOut"
        assert w.reason("plain") == "Running"


@simulated
async def test_a_definitions_own_bounds_hold() -> None:
    async with world(inc) as w:
        w.define(
            STEPS,
            "step",
            ttlSecondsAfterFinished=20,
            jobs={"keepSucceededSeconds": 5},
        )
        await asyncio.sleep(LATE_S)
        w.refer(input=input_of(1))
        await w.ended()
        await asyncio.sleep(10)
        assert w.jobs() == []
        assert w.body()
        await w.until(lambda: w.objects("workflows") == [])


@simulated
async def test_a_workflow_may_choose_another_factory_of_the_source() -> None:
    source = "def one(step):\n    return lambda: 1\n\ndef two(step):\n    return lambda: 2\n"
    async with world(inc) as w:
        w.define(source, "step", entrypoint="one")
        w.refer(name="plain")
        w.refer(name="own", definitionRef={"name": "video-v1", "entrypoint": "two"})
        await w.ended("plain")
        await w.ended("own")
        assert (w.result("plain"), w.result("own")) == (1, 2)


# -- not there ---------------------------------------------------------------------------------------------------------


@simulated
async def test_a_missing_definition_stalls_and_goes_on_when_it_appears() -> None:
    async with world(inc) as w:
        w.refer(input=input_of(2))
        await w.until(lambda: w.stalled() is not None)
        assert w.stalled() == "DefinitionNotFound"
        message = (
            "there is no WorkflowDefinition 'video-v1' in the namespace 'ns': create it, and the run goes on by itself"
        )
        assert w.condition(kind="Stalled")["message"] == message
        assert w.reason() == "Stalled"
        assert w.history() == []
        assert "definitionDigest" not in w.status()
        await asyncio.sleep(30)
        w.define(STEPS, "step")
        await w.ended(within_s=10)
        assert w.result() == 2
        assert await headlines(w) == ["DefinitionNotFound", "Running", "Completed"]


@simulated
async def test_waiting_for_a_definition_is_no_part_of_the_run() -> None:
    async with world(inc) as w:
        w.refer(input=input_of(2), timeouts={"workflowSeconds": 60})
        await asyncio.sleep(300)
        w.define(STEPS, "step")
        status = await w.ended()
        assert w.reason() == "Completed"
        took = datetime.fromisoformat(status["completionTime"]) - datetime.fromisoformat(status["startTime"])
        assert took.total_seconds() < 10


@simulated
async def test_code_that_waited_sees_one_clock() -> None:
    async with world(inc) as w:
        w.refer(input=input_of(2))
        await asyncio.sleep(100)
        w.api.faults.add(Refuse(409, "Conflict"), verb="patch", times=3)
        w.define(STEPS, "step")
        status = await w.ended()
        began = datetime.fromisoformat(status["startTime"]).timestamp()
        assert {request.started_at for request in w.decider.requests} == {began}
        assert w.decider.asked_at[0] > 99


@simulated
async def test_a_waiting_workflow_survives_the_operator() -> None:
    async with world(inc) as w:
        w.refer(input=input_of(2))
        await w.until(lambda: w.stalled() == "DefinitionNotFound")
        await w.kill()
        w.define(STEPS, "step")
        await asyncio.sleep(60)
        w.start()
        await w.ended()
        assert w.result() == 2


@simulated
async def test_a_definition_of_another_namespace_is_none() -> None:
    async with world(inc) as w:
        body = {"metadata": {"name": "video-v1"}, "spec": {"code": {"source": "def f(): return lambda: 1"}}}
        w.store.create(w.store.kind("workflowdefinitions"), "elsewhere", body)
        w.refer()
        await w.until(lambda: w.stalled() is not None)
        assert w.stalled() == "DefinitionNotFound"


@simulated
async def test_workflows_run_where_the_definitions_crd_is_missing() -> None:
    """An operator that is newer than the CRDs: what needs no definition runs, the rest says why it doesn't."""
    async with world(inc) as w:
        kind = w.store.kind("workflowdefinitions")
        w.store.kinds.remove(kind)
        await w.restart()
        w.submit(STEPS, "step", name="own", input=input_of(1))
        w.refer(input=input_of(1))
        await w.ended("own")
        assert w.stalled() == "DefinitionNotFound"
        w.store.kinds.append(kind)
        w.define(STEPS, "step")
        await w.ended(within_s=60)
        assert w.result() == 1


# -- deleted, and made again -------------------------------------------------------------------------------------------


@simulated
async def test_while_its_definition_is_gone_a_run_stalls_and_nothing_is_lost() -> None:
    async with world(lambda call: value(call.args[0] + 1, lasts_s=20)) as w:
        w.define(STEPS, "step")
        w.refer(input=input_of(2))
        await w.until(lambda: w.jobs() == ["step-0"])
        w.undefine()
        await w.until(lambda: w.stalled() == "DefinitionNotFound")
        assert w.status()["definitionDigest"]
        assert w.status()["progress"]["running"] == 1
        await asyncio.sleep(100)
        # What ran has ended, its Job is still there, and nothing more was recorded or launched.
        assert w.told() == ["TaskScheduled step-0"]
        assert w.jobs() == ["step-0"]
        w.define(STEPS, "step")
        await w.ended()
        assert w.result() == 2
        assert await headlines(w) == ["Running", "DefinitionNotFound", "Running", "Completed"]
        assert len(w.kubelet.created) == 2


@simulated
async def test_no_timer_fires_while_the_definition_is_gone() -> None:
    """An outcome from before the deadline counts, however late it is read; what overran is timed out when it is back."""

    def act(call: Call) -> Act:
        return NEVER_ENDS if call.name == "hangs" else value("done", lasts_s=20)

    source = """
        from flowy import TaskTimedOut, wait

        def f(works, hangs):
            def workflow():
                a, b = works(), hangs()
                try:
                    wait(b)
                except TaskTimedOut as error:
                    return [a, error.timer]
            return workflow
    """
    limits = {"timeouts": {"startToCloseSeconds": 60}}
    async with world(act) as w:
        w.define(source, {"name": "works", **limits}, {"name": "hangs", **limits})
        w.refer()
        await asyncio.sleep(10)
        w.undefine()
        await asyncio.sleep(1000)
        assert [event.fact.__class__.__name__ for event in w.history()] == ["TaskScheduled"] * 2
        await w.restart()
        w.define(source, {"name": "works", **limits}, {"name": "hangs", **limits})
        await w.ended()
        assert w.result() == ["done", "StartToClose"]


@simulated
async def test_other_content_under_the_same_name_stalls_until_the_old_is_back() -> None:
    async with world(lambda call: value(call.args[0] + 1, lasts_s=20)) as w:
        w.define(STEPS, "step")
        w.refer(input=input_of(2))
        await w.until(lambda: w.jobs() == ["step-0"])
        recorded = w.status()["definitionDigest"]
        w.undefine()
        w.define(OTHER, "step")
        await w.until(lambda: w.stalled() == "DefinitionChanged")
        message = w.condition(kind="Stalled")["message"]
        assert recorded in message
        assert "put the old content back" in message
        await asyncio.sleep(60)
        assert w.told() == ["TaskScheduled step-0"]
        await w.restart()
        await asyncio.sleep(60)
        assert w.stalled() == "DefinitionChanged"
        # A new run begins with what is there now; the old one doesn't care.
        w.refer(name="new", input=input_of(1))
        await w.ended("new")
        assert w.result("new") == 101
        w.undefine()
        w.define(STEPS, "step")
        await w.ended()
        assert w.result() == 2


@simulated
async def test_a_run_that_has_not_begun_takes_the_content_that_is_there() -> None:
    async with world(inc) as w:
        w.api.faults.add(Refuse(500, "InternalError"), verb="patch", times=5)
        w.define(STEPS, "step")
        w.refer(input=input_of(1))
        await asyncio.sleep(0.5)
        assert w.status() == {}
        w.undefine()
        w.define(OTHER, "step")
        await w.ended()
        assert w.result() == 101


@simulated
async def test_the_same_content_made_again_is_no_change() -> None:
    async with world(lambda call: value(call.args[0] + 1, lasts_s=5)) as w:
        w.define(STEPS, "step")
        w.refer(input=input_of(3))
        await w.until(lambda: w.jobs() == ["step-0"])
        await w.kill()
        w.undefine()
        w.define(STEPS, "step")
        w.start()
        await w.ended()
        assert w.result() == 3
        assert await headlines(w) == ["Running", "Completed"]


@simulated
async def test_a_restarted_workflow_keeps_its_definition() -> None:
    source = """
        from flowy import restart

        def f(step):
            def workflow(n):
                n = step(n)
                return restart(n) if n < 3 else n
            return workflow
    """
    async with world(inc) as w:
        w.define(source, "step")
        w.refer(input=input_of(0))
        await w.until(lambda: w.status().get("run", 1) == 2)
        w.undefine()
        w.define(source + "\n# more\n", "step")
        await w.until(lambda: w.stalled() == "DefinitionChanged")
        w.undefine()
        w.define(source, "step")
        await w.ended()
        assert w.result() == 3


@simulated
async def test_an_ended_workflow_needs_no_definition() -> None:
    async with world(inc) as w:
        w.define(STEPS, "step", jobs={"keepSucceededSeconds": 5000})
        w.refer(input=input_of(1), ttlSecondsAfterFinished=1000)
        await w.ended()
        w.undefine()
        await w.restart()
        await asyncio.sleep(200)
        # Without the definition, the Jobs stay as long as when nothing is said.
        assert w.jobs() == ["step-0"]
        assert w.reason() == "Completed"
        assert w.stalled() is None
        await asyncio.sleep(150)
        assert w.jobs() == []
        await w.until(lambda: w.objects("workflows") == [], within_s=1000)


@simulated
async def test_a_definition_that_cannot_be_run_stalls_and_says_where() -> None:
    """An older CRD let it through."""
    async with world(inc) as w:
        w.define(STEPS, {"name": "step", "activity": {}})
        w.refer(input=input_of(1))
        await w.until(lambda: w.stalled() is not None)
        assert w.stalled() == "InvalidSpec"
        message = w.condition(kind="Stalled")["message"]
        assert message.startswith(
            "the WorkflowDefinition 'video-v1' can't be run: spec.tasks[0].activity: has no image"
        )
        w.undefine()
        w.define(STEPS, "step")
        await w.ended()
        assert w.result() == 1


@simulated
async def test_a_history_that_is_none_of_this_definition_is_not_gone_on_with() -> None:
    async with world(lambda call: NEVER_ENDS) as w:
        w.define("def f(a):\n    return lambda: a()\n", "a")
        w.define("def f(b):\n    return lambda: b()\n", "b", name="other")
        w.refer()
        w.refer("other", name="x")
        await w.until(lambda: w.jobs() == ["a-0", "b-0"])
        status = w.status("x")
        fields = {name: status[name] for name in ("history", "historyDigest")}
        await w.kill()
        w.edit(lambda body: body["status"].update(fields))
        w.start()
        await w.until(lambda: w.stalled() is not None)
        assert w.stalled() == "HistoryInvalid"
        assert "the history has the task 'b-0'" in w.condition(kind="Stalled")["message"]


# -- the operator's own template ---------------------------------------------------------------------------------------

TEMPLATE = {
    "metadata": {"labels": {"team": "all"}},
    "spec": {"serviceAccountName": "runner", "priorityClassName": "low"},
}


@simulated
async def test_the_operators_pod_template_lies_under_the_workflows() -> None:
    async with world(inc, settings=Settings(pod_template=TEMPLATE)) as w:
        w.submit(STEPS, "step", name="bare", input=input_of(1))
        own = {"template": {"spec": {"serviceAccountName": "own"}}}
        w.submit(STEPS, "step", name="own", input=input_of(1), defaults=own)
        await w.ended("bare")
        await w.ended("own")
        pods = {job["metadata"]["labels"]["flowy.dev/workflow"]: job["spec"]["template"] for job in w.objects("jobs")}
        assert {name: pod["spec"]["serviceAccountName"] for name, pod in pods.items()} == {
            "bare": "runner",
            "own": "own",
        }
        assert {pod["spec"]["priorityClassName"] for pod in pods.values()} == {"low"}
        assert {pod["metadata"]["labels"]["team"] for pod in pods.values()} == {"all"}
        assert all(pod["spec"]["automountServiceAccountToken"] is False for pod in pods.values()), "the base stays"


# -- definitions only --------------------------------------------------------------------------------------------------

ONLY = Settings(definitions_only=True)


@simulated
async def test_where_only_definitions_run_code_of_a_workflow_does_not() -> None:
    async with world(inc, settings=ONLY) as w:
        w.define(STEPS, "step")
        w.submit(STEPS, "step", name="own", input=input_of(1))
        w.refer(input=input_of(1))
        await w.ended()
        await w.until(lambda: w.stalled("own") is not None)
        assert w.stalled("own") == "InlineCodeForbidden"
        assert "create another with a definitionRef" in w.condition("own", "Stalled")["message"]
        assert w.history("own") == []
        assert [call.workflow for call in w.kubelet.calls] == ["w"]
        assert len(w.decider.requests) == 2


@simulated
async def test_a_run_that_is_forbidden_halfway_goes_on_when_it_is_allowed() -> None:
    async with world(lambda call: value(call.args[0] + 1, lasts_s=20)) as w:
        w.submit(STEPS, "step", input=input_of(2))
        await w.until(lambda: w.jobs() == ["step-0"])
        await w.kill()
        w.settings = ONLY
        w.start()
        await w.until(lambda: w.stalled() == "InlineCodeForbidden")
        await asyncio.sleep(60)
        assert w.told() == ["TaskScheduled step-0"]
        await w.kill()
        w.settings = Settings()
        w.start()
        await w.ended()
        assert w.result() == 2


@simulated
async def test_what_ended_before_it_was_forbidden_is_tidied() -> None:
    async with world(inc) as w:
        w.submit(STEPS, "step", input=input_of(1), ttlSecondsAfterFinished=100)
        await w.ended()
        await w.kill()
        w.settings = ONLY
        w.start()
        await w.until(lambda: w.objects("workflows") == [], within_s=200)


# -- many --------------------------------------------------------------------------------------------------------------


@simulated
async def test_a_definition_is_read_once_for_all_its_workflows() -> None:
    async with world(inc) as w:
        w.define(STEPS, "step")
        await asyncio.sleep(1)
        for n in range(20):
            w.refer(name=f"w{n}", input=input_of(1))
        for n in range(20):
            await w.ended(f"w{n}")
        assert ("get", "workflowdefinitions") not in w.api.calls
        assert w.api.calls["list", "workflowdefinitions"] == 1


# -- stopped -----------------------------------------------------------------------------------------------------------


@simulated
async def test_a_run_whose_definition_is_gone_can_be_terminated() -> None:
    async with world(lambda call: NEVER_ENDS) as w:
        w.define(STEPS, "step")
        w.refer(input=input_of(2))
        w.refer("never-made", name="waits")
        await w.until(lambda: w.jobs() == ["step-0"])
        before = w.status()
        w.undefine()
        await w.until(lambda: w.stalled() == w.stalled("waits") == "DefinitionNotFound")
        for name in ("w", "waits"):
            w.edit(lambda body: body["spec"].update(stop="Terminate"), name)
            await w.ended(name, within_s=10)
            assert w.reason(name) == "Terminated"
        assert w.told() == ["TaskScheduled step-0", "StopRequested", "TaskCancelled step-0"]
        assert {w.status()[name] == before[name] for name in ("code", "definitionDigest")} == {True}
        await w.settle(5)
        assert w.jobs() == []
        assert len(w.decider.requests) == 1


@simulated
async def test_a_cancel_waits_for_the_definition() -> None:
    source = """
        from flowy import TaskCancelled, wait

        def f(step, clean):
            def workflow():
                r = step()
                try:
                    wait(r)
                except TaskCancelled:
                    return clean()
            return workflow
    """

    async with world(lambda call: value("clean") if call.name == "clean" else NEVER_ENDS) as w:
        w.define(source, "step", "clean")
        w.refer()
        await w.until(lambda: w.jobs() == ["step-0"])
        w.undefine()
        w.edit(lambda body: body["spec"].update(stop="Cancel"))
        await w.settle(1000)
        assert w.stalled() == "DefinitionNotFound"
        assert "; spec.stop: Cancel waits for that, Terminate doesn't" in w.condition(kind="Stalled")["message"]
        w.define(source, "step", "clean")
        await w.ended()
        assert w.result() == "clean"


@simulated
async def test_a_run_with_code_of_its_own_can_be_terminated_where_only_definitions_run() -> None:
    async with world(lambda call: NEVER_ENDS) as w:
        w.submit(STEPS, "step", input=input_of(1))
        await w.until(lambda: w.jobs() == ["step-0"])
        await w.kill()
        w.settings = ONLY
        w.start()
        await w.until(lambda: w.stalled() == "InlineCodeForbidden")
        w.edit(lambda body: body["spec"].update(stop="Terminate"))
        await w.ended()
        assert w.reason() == "Terminated"
        assert len(w.decider.requests) == 1
