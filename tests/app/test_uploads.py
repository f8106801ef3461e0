"""Results by upload: stored under the Job's name, and taken when the pod has succeeded; in virtual time."""

import asyncio
import json

import pytest

from flowy_operator.core.attempts import Counts, Differs, Over, Standing, Unknown
from flowy_operator.core.history import TaskCompleted
from flowy_operator.core.values import INLINE_BYTES
from tests.app.kubelet import NEVER_ENDS, Act, printed, value
from tests.app.test_heartbeats import ONE, callers, linger, started
from tests.app.world import NAMESPACE, World, simulated, world
from tests.fakes.faults import Delay, LoseAnswer, Refuse

CALLS = {"name": "t", "activity": {"image": "i", "gateway": True}}
LENGTH = """
    def w(t):
        def run():
            return len(t())
        return run
"""
QUIET = Act(lasts_s=5)  # leaves nothing in the file
LONG = json.dumps("x" * 100_000)


async def upload(w: World, text: str) -> Standing | Differs:
    return await w.operators[-1].operator.attempts.upload(callers(w)[-1], text)


def completed(w: World) -> TaskCompleted:
    (found,) = [event.fact for event in w.history() if isinstance(event.fact, TaskCompleted)]
    return found


@pytest.mark.parametrize("text", ['{"n": 1.0}', LONG])
def test_an_uploaded_result_is_the_tasks(text: str) -> None:
    @simulated
    async def scenario() -> None:
        async with world(lambda call: QUIET) as w:
            w.submit(ONE if len(text) < INLINE_BYTES else LENGTH, CALLS)
            await started(w)
            for _ in range(3):
                assert isinstance(await upload(w, text), Counts), "the same may be sent again"
            await w.ended()
            if len(text) < INLINE_BYTES:
                assert completed(w).result == text
            else:
                assert w.result() == 100_000
                assert completed(w).result_ref is not None
            assert len(w.objects("configmaps")) == 1

    scenario()


@simulated
async def test_an_attempt_has_one_result() -> None:
    async with world(lambda call: QUIET) as w:
        w.submit(ONE, CALLS)
        await started(w)
        assert isinstance(await upload(w, "1"), Counts)
        assert isinstance(await upload(w, "2"), Differs)
        await w.ended()
        assert w.result() == 1


@simulated
async def test_who_uploads_nothing_and_writes_nothing_has_null() -> None:
    async with world(lambda call: QUIET) as w:
        w.submit(ONE, CALLS)
        await w.ended()
        assert w.status()["result"] == "null"


@simulated
async def test_what_the_file_says_comes_first() -> None:
    async with world(lambda call: value("file", lasts_s=5)) as w:
        w.submit(ONE, CALLS)
        await started(w)
        await upload(w, '"upload"')
        await w.ended()
        assert w.result() == "file"


@simulated
async def test_a_late_result_is_refused() -> None:
    async with world(lambda call: NEVER_ENDS if call.attempt == 1 else QUIET) as w:
        w.submit(ONE, {**CALLS, "timeouts": {"startToCloseSeconds": 10}})
        await started(w)
        first = callers(w)[0]
        linger(w, first)
        await w.until(lambda: len(callers(w)) == 2)
        await asyncio.sleep(0.5)
        attempts = w.operators[0].operator.attempts
        assert isinstance(await attempts.upload(first, "1"), Over)
        assert not w.objects("configmaps")
        await upload(w, "2")
        await w.ended()
        assert w.result() == 2


@simulated
async def test_a_timeout_while_the_result_is_stored_is_no_acknowledgement() -> None:
    async with world(lambda call: NEVER_ENDS) as w:
        w.submit(ONE, {**CALLS, "timeouts": {"startToCloseSeconds": 10}, "retry": {"maxAttempts": 1}})
        await started(w)
        linger(w, callers(w)[0])
        w.api.faults.add(Delay(15), verb="get", resource="configmaps")
        assert isinstance(await upload(w, "1"), Over)
        await w.ended()
        assert w.status()["error"]["timer"] == "StartToClose"


@simulated
async def test_what_was_not_stored_is_not_acknowledged() -> None:
    async with world(lambda call: QUIET) as w:
        w.submit(ONE, CALLS)
        await started(w)
        w.api.faults.add(Refuse(500), verb="create", resource="configmaps")
        assert isinstance(await upload(w, "1"), Unknown)
        w.api.faults.add(LoseAnswer(), verb="create", resource="configmaps")
        assert isinstance(await upload(w, "1"), Unknown)
        assert isinstance(await upload(w, "1"), Counts), "it was stored all the same, and the client asks again"
        await w.ended()
        assert w.result() == 1


@simulated
async def test_an_acknowledged_result_survives_the_operator() -> None:
    async with world(lambda call: QUIET) as w:
        w.submit(ONE, CALLS)
        await started(w)
        assert isinstance(await upload(w, "7"), Counts)
        await w.kill()
        await asyncio.sleep(30)
        w.start()
        await w.ended()
        assert w.result() == 7


@simulated
async def test_an_operator_that_dies_between_the_store_and_the_answer_is_asked_again() -> None:
    async with world(lambda call: Act(lasts_s=60)) as w:
        w.submit(ONE, CALLS)
        await started(w)
        dying = w.operators[-1].line
        dying.writes_left, dying.dies_after = 0, True
        lost = asyncio.create_task(upload(w, "7"))
        await dying.dead.wait()
        await w.kill()
        lost.cancel()
        w.start()
        await w.settle()
        assert isinstance(await upload(w, "8"), Differs), "what is stored is the attempt's result"
        assert isinstance(await upload(w, "7"), Counts)
        await w.ended()
        assert w.result() == 7


@simulated
async def test_it_survives_its_pod_too() -> None:
    """Both went while no operator ran: without the upload the result would be lost, and the step would run again."""
    async with world(lambda call: QUIET) as w:
        w.submit(ONE, CALLS)
        await started(w)
        caller = callers(w)[0]
        await upload(w, "7")
        await w.kill()
        await asyncio.sleep(30)
        w.store.delete(w.store.kind("pods"), NAMESPACE, caller.pod)
        w.start()
        await w.ended()
        assert (w.result(), len(w.kubelet.calls)) == (7, 1)


@simulated
async def test_whose_result_is_its_log_uploads_none() -> None:
    async with world(lambda call: printed("1", lasts_s=5)) as w:
        w.submit(ONE, {**CALLS, "activity": {"image": "busybox", "gateway": True, "result": {"from": "Log"}}})
        await started(w)
        found = await upload(w, "2")
        assert isinstance(found, Differs)
        assert "what it prints" in found.why
        await w.ended()
        assert str(w.result()) == "1"
