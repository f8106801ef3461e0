"""Workflows from their manifest to their end: what the history, the status and the Jobs say."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from tests.app.kubelet import NEVER_ENDS, Act, Call, failure, value
from tests.app.world import World, simulated, world
from tests.fakes.clock import run_virtual
from tests.fakes.faults import Refuse

CHAIN = """
    def chain(step):
        def workflow():
            a = step(0)
            b = step(a)
            return step(b)
        return workflow
"""
WIDE = """
    def wide(step):
        def workflow(n=8):
            return [step(i) for i in range(n)]
        return workflow
"""


def step(call: Call) -> Act:
    """The only activity of these tests: `step` adds one, `slow` takes its argument in seconds, `bad` fails."""
    match call.name:
        case "step":
            return value(call.args[0] + 1)
        case "slow":
            return value(call.args[0], lasts_s=call.args[0])
        case "add":
            return value(sum(call.args))
        case _:
            return failure(f"{call.task} broke")


class Row(NamedTuple):
    source: str
    tasks: Sequence[str]
    result: Any
    scheduled: int  # tasks of all runs


ROWS = {
    "each call waits for the one before": Row(CHAIN, ["step"], 3, 3),
    "calls that need nothing of each other run side by side": Row(WIDE, ["step"], [1, 2, 3, 4, 5, 6, 7, 8], 8),
    "a result says how many calls follow": Row(
        """
        def dynamic(step):
            def workflow():
                return [step(i) for i in range(step(2))]
            return workflow
        """,
        ["step"],
        [1, 2, 3],
        4,
    ),
    "finish_order gives the quickest first": Row(
        """
        from flowy import finish_order

        def quickest(slow):
            def workflow():
                return [r for r in finish_order([slow(9), slow(2), slow(5)])]
            return workflow
        """,
        ["slow"],
        [2, 5, 9],
        3,
    ),
    "first leaves the others behind": Row(
        """
        from flowy import first

        def race(slow):
            def workflow():
                return first([slow(50), slow(2)])
            return workflow
        """,
        ["slow"],
        2,
        2,
    ),
    "parallel_reduce pairs what is there": Row(
        """
        from flowy import parallel_reduce

        def total(step, add):
            def workflow():
                return parallel_reduce(add, [step(n) for n in range(4)])
            return workflow
        """,
        ["step", "add"],
        10,
        7,
    ),
    "restart begins a new run with empty counters": Row(
        """
        from flowy import restart

        def again(step):
            def workflow(n=0):
                n = int(step(n))
                return restart(n) if n < 3 else n
            return workflow
        """,
        ["step"],
        3,
        3,
    ),
    "an error that is caught is a result like another": Row(
        """
        from flowy import TaskError

        def careful(bad, step):
            def workflow():
                try:
                    return int(bad())
                except TaskError as error:
                    return [error.message, error.exit_code, step(1)]
            return workflow
        """,
        ["bad", "step"],
        ["bad-0 broke", 1, 2],
        2,
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_result(row: Row) -> None:
    async def scenario() -> None:
        async with world(step) as w:
            w.submit(row.source, *row.tasks)
            await w.ended(within_s=60)
            assert w.reason() == "Completed"
            assert w.result() == row.result
            told = w.told()
            assert len([words for words in told if words.startswith("TaskScheduled")]) == row.scheduled
            assert len(w.kubelet.created) == row.scheduled
            await w.settle(30)
            assert w.told() == told

    run_virtual(scenario())


@simulated
async def test_an_uncaught_error_fails_the_workflow_and_stops_the_rest() -> None:
    source = """
        def fails(bad, slow):
            def workflow():
                s = slow(100)
                return bad() + 1
            return workflow
    """
    async with world(step) as w:
        w.submit(source, "bad", "slow")
        status = await w.ended()
        assert w.reason() == "Failed"
        assert w.told()[-2:] == ["TaskFailed bad-0", "TaskCancelled slow-0"]
        error = status["error"]
        assert (error["type"], error["message"], error["task"]) == ("Error", "bad-0 broke", "bad-0")
        assert "result" not in status
        await w.settle()
        assert w.jobs() == ["bad-0"]  # kept for its logs; nobody wants the other any more


@simulated
async def test_code_that_does_not_compile_launches_nothing() -> None:
    async with world(step) as w:
        w.submit("def broken(:", "step")
        await w.ended()
        assert w.reason() == "InvalidCode"
        assert w.kubelet.created == []


# -- what it costs ----------------------------------------------------------------------------------------------------


@simulated
async def test_a_step_of_a_chain_costs_one_patch_and_one_create() -> None:
    async with world(step) as w:
        w.submit(CHAIN, "step")
        await w.ended()
        # The first patch is the start; Jobs are kept for a while.
        assert w.operators[0].line.writes == {("patch", "workflows/status"): 4, ("create", "jobs"): 3}


@simulated
async def test_a_burst_costs_one_patch() -> None:
    async with world(lambda call: value(1, lasts_s=1 if call.args[0] else 30), latency=lambda: 0.0) as w:
        w.submit(WIDE, "step", input={"args": [101]})
        await w.until(lambda: len(w.jobs()) == 101)
        before = w.operators[0].line.writes["patch", "workflows/status"]
        await w.settle(10)
        # All end at the same instant: the first is not delayed, the rest come together.
        assert w.status()["progress"]["succeeded"] == 100
        assert w.operators[0].line.writes["patch", "workflows/status"] - before <= 2


GATHERED = """
    def gathered(slow, add):
        def workflow():
            return add(slow(1), slow(10), slow(20), slow(30))
        return workflow
"""


@simulated
async def test_the_code_is_asked_when_it_can_go_on_and_not_at_each_outcome() -> None:
    async with world(step) as w:
        w.submit(GATHERED, "slow", "add")
        await w.until(lambda: w.status().get("progress", {}).get("succeeded") == 3)
        assert len(w.decider.requests) == 1
        assert [wait["task"] for wait in w.status()["waitingOn"]] == ["slow-3"]
        await w.ended()
        assert (w.result(), len(w.decider.requests)) == (61, 3)
        text, _ = w.operators[0].metrics.text()
        assert b"flowy_decisions_spared_total 3.0" in text


@simulated
async def test_a_new_operator_asks_once() -> None:
    async with world(step) as w:
        w.submit(GATHERED, "slow", "add")
        await w.until(lambda: w.status().get("progress", {}).get("succeeded") == 1)
        await w.restart()
        await w.until(lambda: w.status()["progress"]["succeeded"] == 3)
        assert len(w.decider.requests) == 2
        await w.ended()
        assert (w.result(), len(w.decider.requests)) == (61, 4)


@simulated
async def test_nothing_to_do_writes_nothing() -> None:
    async with world(lambda call: NEVER_ENDS) as w:
        w.submit(CHAIN, "step")
        await w.until(lambda: len(w.objects("pods")) == 1)
        await w.settle(15)  # that its Job was made is on record by then
        before, version, asked = w.operators[0].line.writes, w.store.version, len(w.decider.requests)
        await w.settle(3600)  # several times everything is listed again
        w.store.edit("pods", "ns", w.objects("pods")[0]["metadata"]["name"], lambda pod: pod.update(x=1))
        await w.settle(10)
        assert w.operators[0].line.writes == before
        assert w.store.version == version + 1
        assert len(w.decider.requests) == asked


@simulated
async def test_a_restart_with_nothing_to_do_writes_nothing() -> None:
    async with world(lambda call: NEVER_ENDS) as w:
        w.submit(WIDE, "step")
        await w.until(lambda: len(w.objects("pods")) == 8)
        await w.settle(15)
        version = w.store.version
        await w.restart()
        await w.settle()
        assert w.store.version == version


# -- several workflows ------------------------------------------------------------------------------------------------


@simulated
async def test_workflows_do_not_disturb_each_other() -> None:
    async with world(step) as w:
        w.submit(CHAIN, "step", name="good")
        w.submit("def broken(:", name="broken")
        w.submit(
            "def loops(step):\n    def workflow():\n        return step(1)\n    return workflow", "bad", name="names"
        )
        w.submit(WIDE, "step", name="wide")
        for name in ("good", "broken", "names", "wide"):
            await w.ended(name)
        assert {name: w.reason(name) for name in ("good", "broken", "names", "wide")} == {
            "good": "Completed",
            "broken": "InvalidCode",
            "names": "InvalidCode",
            "wide": "Completed",
        }


@simulated
async def test_a_stall_of_one_workflow_does_not_hold_up_another() -> None:
    async with world(step) as w:
        w.decider.stall(1)
        w.submit(CHAIN, "step", name="a")
        w.submit(CHAIN, "step", name="b")
        await w.ended("a", within_s=30)
        await w.ended("b", within_s=30)


def _remake(w: World) -> None:
    w.delete("workflows", "w")
    w.submit(CHAIN, "step")


@simulated
async def test_a_workflow_made_again_at_once_begins_anew() -> None:
    async with world(step) as w:
        w.submit(CHAIN, "step")
        await w.until(lambda: "TaskScheduled step-1" in w.told())
        _remake(w)
        await w.ended()
        assert w.result() == 3
        assert len(w.told()) == 6
        # The old one's Jobs went with it.
        owners = {job["metadata"]["ownerReferences"][0]["uid"] for job in w.objects("jobs")}
        assert owners == {w.body()["metadata"]["uid"]}


@simulated
async def test_a_deleted_workflow_is_forgotten() -> None:
    async with world(lambda call: NEVER_ENDS) as w:
        w.submit(WIDE, "step")
        await w.until(lambda: len(w.objects("pods")) == 8)
        w.delete("workflows", "w")
        await w.settle()
        assert w.jobs() == []
        version = w.store.version
        await w.settle(700)
        assert w.store.version == version


# -- what is told -----------------------------------------------------------------------------------------------------


@simulated
async def test_transitions_and_final_failures_are_told() -> None:
    source = """
        def fails(bad, step):
            def workflow():
                return bad(step(1)) + 1
            return workflow
    """
    async with world(step) as w:
        w.submit(source, "bad", "step")
        await w.ended()
        await w.settle()
        assert [reason for reason, _ in w.events()] == ["Running", "TaskFailed", "Failed"]
        assert w.events()[1][1] == "bad-0, attempt 1 of 3, not retried: Error: bad-0 broke (exit code 1)"
        assert {e["involvedObject"]["uid"] for e in w.objects("events")} == {w.body()["metadata"]["uid"]}


@simulated
async def test_events_that_cannot_be_posted_hold_up_nothing() -> None:
    async with world(step) as w:
        w.api.faults.add(Refuse(500), verb="create", resource="events", times=1000)
        w.submit(CHAIN, "step")
        await w.ended()
        assert w.reason() == "Completed"
