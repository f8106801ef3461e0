"""What a workflow ends with, and begins with, where it is long."""

import json

from flowy_operator.core.values import MAX_VALUE_BYTES
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
async def test_what_the_object_cannot_hold_beside_the_rest_is_said() -> None:
    async with world() as w:
        long_input = json.dumps({"args": [MAX_VALUE_BYTES - 2], "kwargs": {}}) + " " * 900_000
        w.submit(RETURNS, input={"json": long_input})
        await w.until(lambda: w.stalled() is not None)
        assert w.stalled() == "StatusRefused"
