"""Ends that the code doesn't wait for alone are recorded together, soon, and none of them is lost."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from tests.app.kubelet import Act, Activity, Call, failure, value
from tests.app.world import World, simulated, world
from tests.fakes.clock import run_virtual

ALL = """
    def w(step):
        return lambda n: [step(i) for i in range(n)]
"""
"""Waits for all of them at once."""
EACH = """
    def w(step):
        def run(n):
            return [result + 0 for result in [step(i) for i in range(n)]]
        return run
"""
"""Goes on with the first, then with the second."""


def lasting(*seconds: float) -> Activity:
    """Task n takes as many seconds as the n-th says, and gives n."""
    return lambda call: value(call.args[0], lasts_s=seconds[call.args[0]])


def recorded(w: World, kind: str) -> list[float]:
    """When each event of this kind was recorded, in seconds since the first task was scheduled."""
    told = w.instants()
    began = next(at for at, words in told if words.startswith("TaskScheduled"))
    return [at - began for at, words in told if words.startswith(kind)]


def completions(w: World) -> list[float]:
    return recorded(w, "TaskCompleted")


def appends(w: World) -> int:
    """How many writes brought a completion: those of one write have one time."""
    return len(set(completions(w)))


TOGETHER: Mapping[str, tuple[str, tuple[float, ...], int]] = {
    "all within a moment": (ALL, (1, 1.1, 1.2, 1.3, 1.4), 1),
    "all at once": (ALL, (1, 1, 1, 1, 1), 1),
    "in two moments": (ALL, (1, 1.1, 3, 3.1, 3.2), 2),
    "each far from the others": (ALL, (1, 2, 3, 4, 5), 5),
    "the first is waited for alone": (EACH, (1, 1.1, 1.2, 1.3, 1.4), 5),
    "the last is waited for first": (EACH, (1.4, 1, 1.1, 1.2, 1.3), 1),
}


@pytest.mark.parametrize(("source", "seconds", "writes"), TOGETHER.values(), ids=TOGETHER)
def test_what_is_recorded_together(source: str, seconds: tuple[float, ...], writes: int) -> None:
    async def scenario() -> None:
        async with world(lasting(*seconds)) as w:
            w.submit(source, "step", input={"args": [len(seconds)]})
            await w.ended()
            assert w.reason() == "Completed"
            assert appends(w) == writes

    run_virtual(scenario())


@simulated
async def test_what_nothing_follows_from_is_recorded_soon_all_the_same() -> None:
    async with world(lasting(1, 60)) as w:
        w.submit(ALL, "step", input={"args": [2]})
        await w.settle(3)
        (soon,) = completions(w)
        assert 1 < soon < 1 + 0.7


@simulated
async def test_what_the_code_goes_on_with_is_recorded_at_once() -> None:
    async with world(lasting(1, 60)) as w:
        w.submit(EACH, "step", input={"args": [2]})
        await w.settle(3)
        (at_once,) = completions(w)
        assert 1 < at_once < 1 + 0.2


@pytest.mark.parametrize("first_s", [1, 60])
def test_a_failure_is_recorded_at_once_and_takes_along_what_waits(first_s: float) -> None:
    def activity(call: Call) -> Act:
        return failure("no", lasts_s=1.1) if call.args[0] == 1 else value(0, lasts_s=first_s)

    async def scenario() -> None:
        async with world(activity) as w:
            w.submit(ALL, "step", input={"args": [2]}, onEnd="Cancel")
            await w.ended(within_s=10)
            (at_once,) = recorded(w, "TaskFailed")
            assert 1.1 < at_once < 1.1 + 0.2
            assert completions(w) == ([at_once] if first_s == 1 else [])

    run_virtual(scenario())


@simulated
async def test_a_call_that_waits_for_a_place_gets_it_at_once() -> None:
    async with world(lasting(1, 1.2, 1, 1)) as w:
        w.submit(ALL, "step", input={"args": [4]}, parallelism=2)
        await w.until(lambda: sum(words.startswith("TaskScheduled") for words in w.told()) == 3)
        assert completions(w)[0] < 1 + 0.2
        await w.ended()
        assert w.result() == [0, 1, 2, 3]


@pytest.mark.parametrize("stop", ["Cancel", "Terminate"])
def test_who_stops_it_finds_what_has_ended_completed(stop: str) -> None:
    async def scenario() -> None:
        async with world(lasting(1, 60)) as w:
            w.submit(ALL, "step", input={"args": [2]})
            await w.settle(1.2)
            assert completions(w) == []
            w.edit(lambda body: body["spec"].update(stop=stop))
            await w.ended(within_s=10)
            assert [words for words in w.told() if words.startswith("TaskC")] == [
                "TaskCompleted step-0",
                "TaskCancelled step-1",
            ]

    run_virtual(scenario())


@simulated
async def test_an_operator_that_dies_meanwhile_loses_nothing() -> None:
    async with world(lasting(1, 1.1, 1.3)) as w:
        w.submit(ALL, "step", input={"args": [3]})
        await w.settle(1.2)
        assert completions(w) == []
        await w.restart()
        await w.ended()
        assert w.result() == [0, 1, 2]
        assert [words for words in w.told() if "#" in words] == []


@simulated
async def test_a_clock_that_is_set_back_meanwhile_makes_nobody_wait() -> None:
    async with world(lasting(1, 60)) as w:
        w.submit(ALL, "step", input={"args": [2]})
        await w.settle(1.2)
        w.skew = timedelta(hours=-1)
        await w.settle(1)
        w.edit(lambda body: body["metadata"].setdefault("labels", {}).update(seen="yes"))
        await w.settle(1)
        assert len([words for words in w.told() if words.startswith("TaskCompleted")]) == 1
