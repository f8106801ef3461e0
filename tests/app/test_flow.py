"""Workflows from their manifest to their end: what the history, the status and the Jobs say."""

from tests.app.kubelet import value
from tests.app.world import simulated, world

CHAIN = """
    def chain(step):
        def workflow():
            a = step(1)
            b = step(a)
            return step(b)

        return workflow
"""


@simulated
async def test_chain() -> None:
    async with world(lambda call: value(call.args[0] + 1)) as w:
        w.submit(CHAIN, "step")
        await w.ended()
        assert w.result() == 4
        # A step costs one patch and one create; the start is a patch too.
        assert w.operators[0].line.writes == {("patch", "workflows/status"): 4, ("create", "jobs"): 3}
