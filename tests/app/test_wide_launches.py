"""A thousand launches are no single pass: what happens meanwhile is seen."""

from flowy_operator.app.launches import LAUNCHED_AT_ONCE
from flowy_operator.core.history import TaskCompleted
from tests.app.kubelet import NEVER_ENDS, value
from tests.app.world import simulated, world

WIDTH = 4 * LAUNCHED_AT_ONCE
WIDE = """
    def w(step):
        return lambda n: [step(i) for i in range(n)]
"""


@simulated
async def test_all_are_launched_once_and_in_their_order() -> None:
    async with world(lambda call: value(call.args[0]), latency=lambda: 0.03) as w:
        w.submit(WIDE, "step", input={"args": [WIDTH]})
        await w.ended()
        assert w.result() == list(range(WIDTH))
        made = [pod["metadata"]["annotations"]["flowy.dev/task"] for pod in w.objects("pods")]
        assert len(made) == len(set(made)) == WIDTH


@simulated
async def test_what_ends_meanwhile_is_recorded_meanwhile() -> None:
    async with world(lambda call: value(1), latency=lambda: 0.3) as w:
        w.submit(WIDE, "step", input={"args": [WIDTH]})
        await w.until(lambda: any(isinstance(event.fact, TaskCompleted) for event in w.history()))
        assert len(w.jobs()) < WIDTH / 2


@simulated
async def test_a_stop_meanwhile_is_no_later_than_a_portion() -> None:
    async with world(lambda call: NEVER_ENDS, latency=lambda: 0.3) as w:
        w.submit(WIDE, "step", input={"args": [WIDTH]})
        await w.until(lambda: len(w.jobs()) > 50)
        w.edit(lambda body: body["spec"].update(stop="Terminate"))
        most = 0

        def look() -> bool:
            nonlocal most
            most = max(most, len(w.jobs()))
            return "completionTime" in w.status()

        await w.until(look)
        assert most <= 2 * LAUNCHED_AT_ONCE
