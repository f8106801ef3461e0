"""What a workflow ends with, and begins with, where it is long."""

import json

from flowy.policy.lengths import MAX_VALUE_BYTES
from tests.app.kubelet import NEVER_ENDS, value
from tests.app.world import simulated, world

RETURNS = """
    def w():
        return lambda n: "x" * n
"""
RESTARTS = """
    from flowy import restart

    def w():
        def run(n, text=""):
            return len(text) if text else restart(n, "x" * n)
        return run
"""
AROUND_RESTART = len('{"args":[1000000,""],"kwargs":{}}')


@simulated
async def test_the_longest_result() -> None:
    async with world() as w:
        w.submit(RETURNS, input={"args": [MAX_VALUE_BYTES - 2]})
        await w.ended()
        assert w.status()["result"] == json.dumps("x" * (MAX_VALUE_BYTES - 2))


@simulated
async def test_a_result_of_a_byte_too_many_ends_the_workflow() -> None:
    async with world() as w:
        w.submit(RETURNS, input={"args": [MAX_VALUE_BYTES - 1]})
        await w.ended()
        assert w.reason() == "Failed"
        assert w.status()["error"]["type"] == "ResultTooLong"
        assert w.status()["error"]["message"].startswith(
            "the code returned 1,048,577 bytes, at most 1,048,576 are kept"
        )


@simulated
async def test_the_longest_arguments_of_a_restart() -> None:
    async with world() as w:
        w.submit(RESTARTS, input={"args": [1_000_000]})
        await w.ended()
        assert w.result() == 1_000_000


@simulated
async def test_a_restart_of_a_byte_too_many_ends_the_workflow() -> None:
    async with world() as w:
        w.submit(RESTARTS, input={"args": [MAX_VALUE_BYTES - AROUND_RESTART + 1]})
        await w.ended()
        assert w.reason() == "Failed"
        assert w.status()["error"]["type"] == "RestartTooLong"
        assert "restart() was given 1,048,577 bytes, at most 1,048,576" in w.status()["error"]["message"]


@simulated
async def test_the_arguments_of_a_restart_move_into_a_page_and_are_read_from_there() -> None:
    source = RESTARTS.replace("return len(text)", "return int(step(len(text)))")
    async with world(lambda call: NEVER_ENDS if call.args else value(1)) as w:
        w.submit(source.replace("def w():", "def w(step):"), "step", input={"args": [1_000_000]})
        await w.until(lambda: w.jobs() == ["step-0"])
        # The status is short again with the first append of the new run.
        assert len(json.dumps(w.status())) < 10_000
        assert [(page["spec"]["run"], page["spec"]["last"]) for page in w.pages()] == [(2, 1)]
        await w.restart()
        await w.settle()
        w.delete("jobs", w.job_of("step-0"))
        await w.ended()
        assert w.status()["error"]["type"] == "TaskCancelled"


@simulated
async def test_arguments_of_a_restart_that_take_more_in_the_history_end_the_workflow() -> None:
    async with world() as w:
        w.submit(RESTARTS.replace('"x" * n', "chr(34) * n"), input={"args": [500_000]})
        await w.ended()
        assert w.reason() == "Failed"
        assert w.status()["error"]["type"] == "RestartTooLong"
        assert "in the history, at most 1,100,000 fit" in w.status()["error"]["message"]


@simulated
async def test_what_the_object_cannot_hold_beside_the_rest_is_said() -> None:
    async with world() as w:
        long_input = json.dumps({"args": [MAX_VALUE_BYTES - 2], "kwargs": {}}) + " " * 900_000
        w.submit(RETURNS, input={"json": long_input})
        await w.until(lambda: w.stalled() is not None)
        assert w.stalled() == "StatusRefused"
