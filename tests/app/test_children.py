"""Tasks that are workflows: children in the simulated cluster, to their ends and to those of their parents."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from flowy_operator.app.late import LATE_S
from flowy_operator.app.settings import Settings
from flowy_operator.core.naming import job_name
from tests.app.kubelet import NEVER_ENDS, Act, Call, failure, value
from tests.app.world import NAMESPACE, World, simulated, world
from tests.fakes.faults import Refuse
from tests.fakes.store import WORKFLOWS

NESTED = """
    from flowy import TaskError, wait

    def parent(child):
        def workflow(*inputs):
            return [child(item) for item in inputs]
        return workflow

    def catching(child):
        def workflow(item):
            try:
                wait(child(item))
            except TaskError as error:
                return [type(error).__name__, error.type, error.message, error.details, error.attempt, error.timer]
        return workflow

    def child(step):
        def workflow(item):
            return step(step(item))
        return workflow
"""
PARENT_WITH_STEP = NESTED.replace("def parent(child)", "def parent(child, step)")
CHILD: dict[str, Any] = {"name": "child", "workflow": {"entrypoint": "child"}}


def step(call: Call) -> Act:
    """`step` adds one to a number; it fails for -1, never ends for -2, and takes so long for a text."""
    item = call.args[0]
    if item == -1:
        return failure('{"error": {"type": "Negative", "message": "below zero", "details": {"n": 1}}}')
    if item == -2:
        return NEVER_ENDS
    if isinstance(item, str):
        return value("x", lasts_s=float(item)) if item != "x" else value(item)
    return value(item + 1)


def submit(w: World, *args: Any, entrypoint: str = "parent", child: dict[str, Any] = CHILD, **spec: Any) -> None:
    w.submit(NESTED, child, "step", entrypoint=entrypoint, input={"args": list(args)}, **spec)


def children(w: World) -> list[str]:
    return [body["metadata"]["name"] for body in w.objects("workflows") if body["metadata"]["name"] != "w"]


@simulated
async def test_each_call_is_a_workflow_with_a_history_of_its_own() -> None:
    async with world(step) as w:
        submit(w, 1, 5)
        await w.ended(within_s=60)
        assert w.result() == [3, 7]
        assert w.told()[:2] == ["TaskScheduled child-0", "TaskScheduled child-1"]
        assert len(children(w)) == 2
        for name in children(w):
            assert w.told(name) == [
                "TaskScheduled step-0",
                "TaskCompleted step-0",
                "TaskScheduled step-1",
                "TaskCompleted step-1",
            ]
            owner = w.body(name)["metadata"]["ownerReferences"][0]
            assert (owner["uid"], owner["controller"]) == (w.body()["metadata"]["uid"], True)


@simulated
async def test_fibonacci_calls_itself() -> None:
    source = """
        def fibonacci(fib, add):
            def workflow(n):
                return n if n < 2 else add(fib(n - 1), fib(n - 2))
            return workflow
    """
    async with world(lambda call: value(sum(call.args))) as w:
        w.submit(source, {"name": "fib", "workflow": {"entrypoint": "fibonacci"}}, "add", input={"args": [5]})
        await w.ended(within_s=300)
        assert w.result() == 5
        assert len(children(w)) == 14  # each call of fib but the first
        depths = {int(w.body(name)["metadata"]["annotations"]["flowy.dev/depth"]) for name in children(w)}
        assert depths == {1, 2, 3, 4}


@simulated
async def test_endless_recursion_ends_with_a_sentence() -> None:
    source = """
        def deeper(down):
            def workflow(n):
                return down(n + 1)
            return workflow
    """
    async with world(step) as w:
        w.submit(source, {"name": "down", "workflow": {"entrypoint": "deeper"}}, input={"args": [0]})
        await w.ended(within_s=600)
        assert w.reason() == "Failed"
        assert "nested 33 Workflows deep, at most 32" in w.status()["error"]["message"]
        assert len(children(w)) == 32


@simulated
async def test_branches_wait_for_themselves_alone() -> None:
    source = """
        def both(branch):
            def workflow(*inputs):
                return [branch(i) for i in inputs]
            return workflow

        def branch(step):
            def workflow(item):
                return step(str(step(item)))  # waits for the first step
            return workflow
    """
    async with world(step) as w:
        branch = {"name": "branch", "workflow": {"entrypoint": "branch"}}
        w.submit(source, branch, "step", entrypoint="both", input={"args": ["50", "1"]})
        await w.until(lambda: any(w.reason(name) == "Completed" for name in children(w)), within_s=20)
        slow, quick = sorted(children(w), key=lambda name: w.reason(name) or "", reverse=True)
        assert (w.reason(slow), w.reason(quick), w.reason()) == ("Running", "Completed", "Running")
        await w.ended(within_s=120)


@simulated
async def test_the_error_of_a_child_is_that_of_the_task() -> None:
    async with world(step) as w:
        submit(w, -1, entrypoint="catching")
        await w.ended(within_s=60)
        assert w.result() == ["TaskError", "Negative", "below zero", {"n": 1}, 1, None]


@simulated
async def test_a_child_out_of_time_is_tried_again_and_then_timed_out() -> None:
    child = CHILD | {"timeouts": {"startToCloseSeconds": 5}, "retry": {"maxAttempts": 2}}
    async with world(step) as w:
        submit(w, -2, entrypoint="catching", child=child)
        await w.ended(within_s=60)
        assert w.result() == [
            "TaskTimedOut",
            "TaskTimedOut",
            "child-0 timed out (StartToClose)",
            None,
            2,
            "StartToClose",
        ]
        assert [w.reason(name) for name in children(w)] == ["TimedOut", "TimedOut"]
        await w.settle()
        assert w.jobs() == []


@simulated
async def test_the_parents_timer_spans_all_attempts_and_ends_the_child() -> None:
    child = CHILD | {"timeouts": {"scheduleToCloseSeconds": 5}}
    async with world(step) as w:
        submit(w, -2, entrypoint="catching", child=child)
        await w.ended(within_s=60)
        assert w.result()[0::5] == ["TaskTimedOut", "ScheduleToClose"]
        await w.settle()
        assert [w.reason(name) for name in children(w)] == ["Terminated"]
        assert w.jobs() == []


STOPS: dict[str, tuple[str | None, str | None, Callable[[World], None]]] = {
    "Terminate by default": (None, "Terminated", lambda w: w.edit(lambda b: b["spec"].update(stop="Terminate"))),
    "Cancel": ("Cancel", "Cancelled", lambda w: w.edit(lambda b: b["spec"].update(stop="Terminate"))),
    "Abandon": ("Abandon", "Running", lambda w: w.edit(lambda b: b["spec"].update(stop="Terminate"))),
}


@pytest.mark.parametrize(("policy", "reason", "stop"), STOPS.values(), ids=STOPS)
def test_what_becomes_of_a_child_when_its_parent_ends(
    policy: str | None, reason: str | None, stop: Callable[[World], None]
) -> None:
    @simulated
    async def scenario() -> None:
        async with world(step) as w:
            submit(w, -2, child=CHILD | ({"onParentEnd": policy} if policy else {}))
            await w.until(lambda: bool(w.jobs()), within_s=20)
            stop(w)
            await w.ended(within_s=20)
            await w.settle()
            assert [w.reason(name) for name in children(w)] == [reason]
            assert w.jobs() == (["step-0"] if policy == "Abandon" else [])

    scenario()


@pytest.mark.parametrize(("policy", "left"), [("Terminate", 0), ("Abandon", 1)])
def test_what_is_left_when_the_parent_is_deleted(policy: str, left: int) -> None:
    @simulated
    async def scenario() -> None:
        async with world(step) as w:
            submit(w, -2, child=CHILD | {"onParentEnd": policy})
            await w.until(lambda: bool(w.jobs()), within_s=20)
            w.delete("workflows", "w")
            await w.settle(10)
            assert len(w.objects("workflows")) == len(w.jobs()) == left

    scenario()


@simulated
async def test_a_child_that_is_deleted_or_stopped_by_hand_is_cancelled() -> None:
    async with world(step) as w:
        submit(w, -2, entrypoint="catching")
        await w.until(lambda: bool(w.jobs()), within_s=20)
        w.delete("workflows", children(w)[0])
        await w.ended(within_s=20)
        assert w.result()[:3] == ["TaskCancelled", "TaskCancelled", "child-0 was cancelled: Deleted"]
    async with world(step) as w:
        submit(w, -2, entrypoint="catching")
        await w.until(lambda: bool(w.jobs()), within_s=20)
        w.edit(lambda body: body["spec"].update(stop="Terminate"), children(w)[0])
        await w.ended(within_s=20)
        assert w.result()[:3] == ["TaskCancelled", "TaskCancelled", "child-0 was cancelled: ChildStopped"]


@simulated
async def test_children_are_suspended_and_resumed_with_their_parent() -> None:
    async with world(step) as w:
        submit(w, "5")
        await w.until(lambda: bool(w.jobs()), within_s=20)
        w.edit(lambda body: body["spec"].update(suspend=True))
        await w.settle(20)
        (child,) = children(w)
        assert (w.reason(), w.reason(child)) == ("Suspended", "Suspended")
        assert w.told(child) == ["TaskScheduled step-0", "TaskCompleted step-0"]
        w.edit(lambda body: body["spec"].update(suspend=False))
        await w.ended(within_s=20)
        assert "flowy.dev/suspended-by-parent" not in w.body(child)["metadata"]["annotations"]


@simulated
async def test_whom_a_person_suspended_a_person_resumes() -> None:
    async with world(step) as w:
        submit(w, "5")
        await w.until(lambda: bool(w.jobs()), within_s=20)
        (child,) = children(w)
        w.edit(lambda body: body["spec"].update(suspend=True), child)
        await w.settle()
        w.edit(lambda body: body["spec"].update(suspend=True))
        await w.settle()
        w.edit(lambda body: body["spec"].update(suspend=False))
        await w.settle()
        assert w.reason(child) == "Suspended"
        assert w.status()["waitingOn"][0]["reason"] == f"Workflow {child}: Suspended"


@simulated
async def test_a_stall_below_is_seen_at_the_top() -> None:
    async with world(step) as w:
        submit(w, "3")
        await w.until(lambda: bool(w.jobs()), within_s=20)
        w.decider.stall(2)
        await w.until(lambda: "DecisionTimeout" in w.status()["waitingOn"][0].get("reason", ""), within_s=20)
        await w.ended(within_s=60)


@simulated
async def test_a_long_result_of_a_child_is_kept_by_reference() -> None:
    source = """
        def parent(child, step):
            def workflow():
                return len(str(child()))
            return workflow

        def child():
            def workflow():
                return "x" * 100_000
            return workflow
    """
    async with world(step) as w:
        w.submit(source, CHILD, "step", entrypoint="parent")
        await w.ended(within_s=60)
        assert w.result() == 100_000
        (event,) = [fact for fact in (e.fact for e in w.history()) if type(fact).__name__ == "TaskCompleted"]
        assert event.result_ref.bytes == 100_002  # type: ignore[union-attr]


@simulated
async def test_children_of_older_runs_go() -> None:
    source = """
        from flowy import restart

        def parent(child):
            def workflow(n=0):
                n = int(child(n))
                return restart(n) if n < 3 else n
            return workflow

        def child(step):
            def workflow(n):
                return step(n)
            return workflow
    """
    async with world(step) as w:
        await asyncio.sleep(LATE_S)  # it has just begun
        w.submit(source, CHILD, "step", entrypoint="parent")
        await w.ended(within_s=60)
        assert w.result() == 3
        await w.settle()
        assert len(children(w)) == 1


@simulated
async def test_a_child_of_a_definition_refers_to_it() -> None:
    async with world(step) as w:
        w.define(NESTED, CHILD, "step", entrypoint="parent")
        w.refer(input={"args": [1]}, parallelism=3)
        await w.ended(within_s=60)
        assert w.result() == [3]
        (child,) = children(w)
        spec = w.body(child)["spec"]
        assert spec["definitionRef"] == {"name": "video-v1", "entrypoint": "child"}
        assert (spec["parallelism"], "code" in spec, "tasks" in spec) == (3, False, False)


@simulated
async def test_a_child_whose_operator_dies_is_neither_lost_nor_doubled() -> None:
    async with world(step) as w:
        submit(w, "5", 1)
        for _ in range(6):
            await w.settle(1)
            await w.restart()
        await w.ended(within_s=60)
        assert w.result() == ["x", 3]
        assert len(children(w)) == 2


@pytest.mark.parametrize("change", ["a restart of the operator", "an edit of the parent"])
def test_abandoned_children_run_on_whoever_looks_later(change: str) -> None:
    @simulated
    async def scenario() -> None:
        source = PARENT_WITH_STEP.replace("return [child(item) for item in inputs]", "child(-2); return int(step(1))")
        async with world(step, settings=Settings(history_tail_bytes=256)) as w:
            w.submit(source, CHILD, "step", entrypoint="parent", onEnd="Abandon")
            await w.ended(within_s=60)
            if change == "a restart of the operator":
                await w.restart()
            w.edit(lambda body: body["spec"].update(ttlSecondsAfterFinished=1000))
            await w.settle(30)
            assert [w.reason(name) for name in children(w)] == ["Running"]

    scenario()


@simulated
async def test_a_child_stays_until_its_parent_has_recorded_its_end() -> None:
    async with world(step) as w:
        w.define(NESTED, "step", CHILD, name="inner", entrypoint="child", ttlSecondsAfterFinished=5)
        child = {"name": "child", "workflow": {"definitionRef": {"name": "inner"}}}
        w.define(NESTED, child, "step", name="outer", entrypoint="parent")
        w.refer("outer", input={"args": ["3"]})
        await w.until(lambda: bool(w.jobs()), within_s=20)
        w.undefine("outer")
        await w.settle(60)
        assert w.stalled() == "DefinitionNotFound"
        w.define(NESTED, child, "step", name="outer", entrypoint="parent")
        await w.ended(within_s=60)
        assert w.result() == ["x"]


@simulated
async def test_what_an_event_cannot_hold_of_an_error_is_told() -> None:
    raising = 'raise TaskError("too much", "Big", {"text": "ä" * 250_000})'
    source = NESTED.replace("return step(step(item))", raising)
    async with world(step) as w:
        w.submit(source, CHILD, "step", entrypoint="catching", input={"args": [1]})
        await w.ended(within_s=60)
        kind, name, message, details, *_ = w.result()
        assert (kind, name, details) == ("TaskError", "Big", None)
        assert message.startswith("too much (without its details, which have 500,")


@simulated
async def test_a_child_whom_nobody_would_resume_is_let_go() -> None:
    async with world(step) as w:
        submit(w, "5", child=CHILD | {"onParentEnd": "Abandon"})
        await w.until(lambda: bool(w.jobs()), within_s=20)
        (child,) = children(w)
        w.edit(lambda body: body["spec"].update(suspend=True))
        await w.until(lambda: w.reason(child) == "Suspended", within_s=20)
        w.edit(lambda body: body["spec"].update(stop="Terminate"))
        await w.ended(child, within_s=60)
        assert w.result(child) == "x"


@simulated
async def test_a_child_that_cannot_be_stopped_holds_up_nobody_else() -> None:
    timeouts = {"timeouts": {"scheduleToCloseSeconds": 5}}
    source = PARENT_WITH_STEP.replace("return [child(item) for item in inputs]", "return [child(-2), step(-2)]")
    async with world(step) as w:
        w.api.faults.add(Refuse(403, "Forbidden"), verb="patch", resource="workflows", times=10**6)
        late = {"name": "step", **timeouts, "retry": {"maxAttempts": 1}}
        w.submit(source, CHILD | timeouts, late, entrypoint="parent")
        await w.ended(within_s=60)
        await w.settle(60)
        mine = [job for job in w.objects("jobs") if job["metadata"]["labels"]["flowy.dev/workflow"] == "w"]
        assert mine == []


@simulated
async def test_labels_make_nobody_a_child() -> None:
    """Workflows that claim to be what the next launches will be, one of an activity, one of a child, and have no owner."""
    source = PARENT_WITH_STEP.replace(
        "return [child(item) for item in inputs]", "return child(int(step(step('5')) == 'x'))"
    )
    async with world(step) as w:
        w.submit(source, CHILD, "step", entrypoint="parent")
        await w.until(lambda: bool(w.jobs()), within_s=20)
        uid = w.body()["metadata"]["uid"]
        for task in ("step-1", "child-0"):
            labels = {"flowy.dev/workflow": "w", "flowy.dev/workflow-uid": uid, "flowy.dev/run": "1"}
            name = job_name(workflow="w", uid=uid, run=1, task=task, attempt=1, launch=0)
            metadata = {"name": name, "labels": labels, "annotations": {"flowy.dev/task": task}}
            w.store.create(WORKFLOWS, NAMESPACE, {"metadata": metadata, "spec": w.body()["spec"] | {"suspend": True}})
        await w.ended(within_s=60)
        assert "TaskCompleted step-1" in w.told()
        assert "somebody else is in the way: delete it" in w.status()["error"]["message"]
