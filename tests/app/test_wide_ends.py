"""An end that cancels more tasks than one write takes: it takes several, and comes to the same."""

from typing import Any

import pytest

from flowy_operator.app.settings import Settings
from flowy_operator.core import pages
from flowy_operator.core.history import TaskCancelled
from tests.app.kubelet import NEVER_ENDS, Act, Call, value
from tests.app.world import World, world
from tests.fakes.clock import run_virtual

WIDTH = 30

RETURNS = """
    def w(quick, slow):
        def run():
            left = [slow(n) for n in range(30)]
            return quick() + 0
        return run
"""
RAISES = RETURNS.replace("return quick() + 0", "return 1 // (quick() - 1)")
RESTARTS = """
    from flowy import restart

    def w(quick, slow):
        def run(again=False):
            if again:
                return "again"
            left = [slow(n) for n in range(30)]
            return restart(quick() == 1)
        return run
"""
HANGS = RETURNS.replace("quick() + 0", "[*left]")

ENDS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "the code returns": (RETURNS, {}, "Completed", "WorkflowEnded"),
    "the code returns, and leaves them alone": (RETURNS, {"onEnd": "Abandon"}, "Completed", "Abandoned"),
    "the code raises": (RAISES, {}, "Failed", "WorkflowEnded"),
    "the code restarts": (RESTARTS, {}, "Completed", "WorkflowEnded"),
    "its time is over": (HANGS, {"timeouts": {"workflowSeconds": 20}}, "TimedOut", "WorkflowEnded"),
    "it is terminated": (HANGS, {"stop": "Terminate"}, "Terminated", "StopRequested"),
}


def act(call: Call) -> Act:
    return value(1, lasts_s=10) if call.name == "quick" else NEVER_ENDS


def submit(w: World, source: str, spec: dict[str, Any]) -> None:
    at_once = {name: given for name, given in spec.items() if name != "stop"}
    w.submit(source, "quick", "slow", parallelism=100, **at_once)


async def ended(w: World, spec: dict[str, Any]) -> None:
    await w.until(lambda: len(w.kubelet.created) >= WIDTH)
    if "stop" in spec:
        w.edit(lambda body: body["spec"].update(stop=spec["stop"]))
    await w.ended(within_s=120)


def check(w: World, reason: str, why: str) -> None:
    assert w.reason() == reason
    assert "ignoredErrors" not in w.status()
    cancelled = [event.fact for event in w.history() if isinstance(event.fact, TaskCancelled)]
    assert {fact.reason for fact in cancelled} == {why}
    assert sorted(fact.task for fact in cancelled if fact.task != "quick-0") == sorted(
        f"slow-{n}" for n in range(WIDTH)
    )
    if reason in {"TimedOut", "Terminated"}:
        assert f"unfinished: {', '.join(f'slow-{n}' for n in range(10))} and more" in w.status()["error"]["message"]
    assert w.torn == []


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_an_end_takes_the_writes_that_it_needs(
    monkeypatch: pytest.MonkeyPatch, end: tuple[str, dict[str, Any], str, str]
) -> None:
    source, spec, reason, why = end

    async def scenario() -> None:
        async with world(act) as w:
            submit(w, source, spec)
            await ended(w, spec)
            check(w, reason, why)
            first = [event.time for event in w.history() if isinstance(event.fact, TaskCancelled)]
            assert len(set(first)) > 2

    monkeypatch.setattr(pages, "WRITE_BYTES", 1000)
    run_virtual(scenario())


@pytest.mark.parametrize("end", ["the code returns", "the code restarts", "its time is over"])
def test_an_operator_that_dies_in_the_middle_of_an_end_leaves_it_to_the_next(
    monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    source, spec, reason, why = ENDS[end]

    async def scenario() -> None:
        async with world(act) as w:
            submit(w, source, spec)
            await w.until(lambda: any(isinstance(event.fact, TaskCancelled) for event in w.history()))
            await w.restart()
            await ended(w, spec)
            check(w, reason, why)

    monkeypatch.setattr(pages, "WRITE_BYTES", 1000)
    run_virtual(scenario())


def test_an_end_in_portions_goes_on_in_a_full_history(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        settings = Settings(history_run_bytes=5000, history_tail_bytes=1000)
        async with world(act, settings=settings) as w:
            submit(w, HANGS, {"timeouts": {"workflowSeconds": 20}})
            await w.ended(within_s=120)
            check(w, "TimedOut", "WorkflowEnded")

    monkeypatch.setattr(pages, "WRITE_BYTES", 1000)
    run_virtual(scenario())
