"""Sub-workflows and definitions: children of a definition by name, and children of a run that is one of a definition."""

import asyncio
from typing import Any

from flowy_operator.app.settings import Settings
from tests.app.kubelet import NEVER_ENDS, Act, Call, value
from tests.app.world import World, simulated, world

PARENT = """
    def parent(child):
        def workflow(*items):
            return [child(item) for item in items]
        return workflow
"""
CHILD = """
    def double(step):
        def workflow(item):
            return step(step(item))
        return workflow
"""
BOTH = PARENT + CHILD.replace("def double", "def child").replace("(step)", "(step)")


def step(call: Call) -> Act:
    return NEVER_ENDS if call.args[0] == -1 else value(call.args[0] + 1)


def of(definition: str, **task: Any) -> dict[str, Any]:
    return {"name": "child", "workflow": {"definitionRef": {"name": definition}}, **task}


def children(w: World) -> list[dict[str, Any]]:
    return [body for body in w.objects("workflows") if body["metadata"]["name"] != "w"]


@simulated
async def test_a_task_may_be_a_definition() -> None:
    async with world(step) as w:
        w.define(CHILD, "step", name="double-v1")
        w.submit(PARENT, of("double-v1"), input={"args": [1, 5]}, parallelism=7)
        await w.ended(within_s=60)
        assert w.result() == [3, 7]
        assert [body["spec"]["definitionRef"] for body in children(w)] == [{"name": "double-v1"}] * 2
        # Nothing is the parent's but the input.
        assert {name for body in children(w) for name in body["spec"]} == {"definitionRef", "input"}


@simulated
async def test_a_task_may_be_another_factory_of_a_definition() -> None:
    async with world(step) as w:
        source = CHILD + CHILD.replace("def double", "def other").replace("step(step(item))", "step(item)")
        w.define(source, "step", name="two-v1")
        task = {"name": "child", "workflow": {"definitionRef": {"name": "two-v1", "entrypoint": "other"}}}
        w.submit(PARENT, task, input={"args": [1]})
        await w.ended(within_s=60)
        assert w.result() == [2]


@simulated
async def test_its_timeout_is_the_childs_own() -> None:
    source = """
        from flowy import TaskTimedOut, wait

        def parent(child):
            def workflow(item):
                r = child(item)
                try:
                    wait(r)
                except TaskTimedOut as error:
                    return error.timer
            return workflow
    """
    async with world(step) as w:
        w.define(CHILD, "step", name="double-v1", timeouts={"workflowSeconds": 5000})
        once = {"maxAttempts": 1}
        w.submit(source, of("double-v1", timeouts={"startToCloseSeconds": 20}, retry=once), input={"args": [-1]})
        await w.ended(within_s=60)
        assert w.result() == "StartToClose"
        assert children(w)[0]["spec"]["timeouts"] == {"workflowSeconds": 20}


@simulated
async def test_a_childs_missing_definition_is_seen_in_its_parent_and_waited_for() -> None:
    async with world(step) as w:
        w.submit(PARENT, of("double-v1"), input={"args": [1]})
        await w.until(lambda: "DefinitionNotFound" in str(w.status().get("waitingOn")))
        [waiting] = w.status()["waitingOn"]
        assert waiting["task"] == "child-0"
        assert "there is no WorkflowDefinition 'double-v1'" in waiting["reason"]
        assert w.stalled() is None
        await w.restart()
        await asyncio.sleep(100)
        w.define(CHILD, "step", name="double-v1")
        await w.ended(within_s=60)
        assert w.result() == [3]
        assert len(children(w)) == 1


@simulated
async def test_a_definitions_own_factories_are_children_of_the_same_definition() -> None:
    task = {"name": "child", "workflow": {"entrypoint": "child"}}
    async with world(step, settings=Settings(definitions_only=True)) as w:
        w.define(BOTH, task, "step", entrypoint="parent")
        w.refer(input={"args": [1, 5]})
        await w.ended(within_s=60)
        assert w.result() == [3, 7]
        for body in children(w):
            assert body["spec"]["definitionRef"] == {"name": "video-v1", "entrypoint": "child"}
            assert body["status"]["definitionDigest"] == w.status()["definitionDigest"]


@simulated
async def test_terminated_without_its_definition_a_parent_ends_its_children() -> None:
    async with world(step) as w:
        w.define(PARENT, of("double-v1"), name="parent-v1")
        w.define(CHILD, "step", name="double-v1")
        w.refer("parent-v1", input={"args": [-1]})
        await w.until(lambda: w.jobs() == ["step-0"])
        w.undefine("parent-v1")
        w.undefine("double-v1")
        w.edit(lambda body: body["spec"].update(stop="Terminate"))
        await w.ended(within_s=30)
        assert w.reason() == "Terminated"
        [child] = children(w)
        name = child["metadata"]["name"]
        await w.ended(name, within_s=30)
        assert w.reason(name) == "Terminated"
        await w.settle(10)
        assert w.jobs() == []


@simulated
async def test_a_definition_that_is_its_own_task_ends_by_its_depth() -> None:
    source = """
        def endless(child):
            def workflow(n):
                return child(n + 1)
            return workflow
    """
    async with world(step) as w:
        w.define(source, of("endless-v1"), name="endless-v1")
        w.refer("endless-v1", input={"args": [0]})
        await w.ended(within_s=600)
        assert w.reason() == "Failed"
        assert "nested" in w.condition()["message"]


@simulated
async def test_a_child_that_has_not_begun_runs_what_its_parent_runs() -> None:
    """Its definition is made again with other content between its creation and its first decision."""
    task = {"name": "child", "workflow": {"entrypoint": "child"}}
    async with world(step) as w:
        w.define(BOTH, task, "step", entrypoint="parent")
        w.refer(input={"args": [1]})
        # Record, then create: the operator dies right after the child is made.
        w.operators[-1].line.writes_left, w.operators[-1].line.dies_after = 1, True
        await w.operators[-1].line.dead.wait()
        await w.kill()
        assert ["status" in body for body in children(w)] == [False]
        w.undefine()
        w.define(BOTH.replace("step(step(item))", "step(item)"), task, "step", entrypoint="parent")
        w.start()
        await w.until(lambda: w.stalled() == "DefinitionChanged")
        await w.settle()
        (child,) = [body["metadata"]["name"] for body in children(w)]
        assert w.stalled(child) == "DefinitionChanged"
        assert "or the one that called it" in w.condition(child, "Stalled")["message"]
        assert w.told(child) == []
        w.undefine()
        w.define(BOTH, task, "step", entrypoint="parent")
        await w.ended(within_s=60)
        assert w.result() == [3]


@simulated
async def test_a_child_of_a_definition_of_its_own_runs_it_as_it_is_when_it_begins() -> None:
    async with world(step) as w:
        w.submit(PARENT, of("double-v1"), input={"args": [1]})
        await w.until(lambda: len(children(w)) == 1)
        w.define(CHILD, "step", name="double-v1")
        await w.ended(within_s=60)
        assert w.result() == [3]
