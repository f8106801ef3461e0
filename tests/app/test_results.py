"""Results that have to be fetched: read once, kept exactly, waited for without holding anybody up."""

import base64
import json
from typing import Any

import pytest

from flowy.policy.lengths import MAX_VALUE_BYTES
from flowy_operator.app.results import REFUSALS
from flowy_operator.core.history import TaskCompleted, TaskFailed
from flowy_operator.core.values import INLINE_BYTES
from tests.app.kubelet import Act, Call, printed, value
from tests.app.world import NAMESPACE, World, simulated, world
from tests.fakes.clock import run_virtual
from tests.fakes.faults import Delay, LoseAnswer, Refuse
from tests.fakes.store import Json

ONE = """
    def w(t):
        def run(*args):
            return t(*args)
        return run
"""
SIZES = """
    def w(big, size):
        def run(n):
            text = big(n)
            return [size(text), len(text)]
        return run
"""
BESIDE = """
    from flowy import finish_order

    def w(t, other):
        def run():
            return [str(r) for r in finish_order([t(), other()])]
        return run
"""


def log(name: str, **task: Any) -> Json:
    return {"name": name, "activity": {"image": "busybox", "result": {"from": "Log"}}, **task}


def sizes(call: Call) -> Act:
    if call.name == "big":
        return printed("x" * call.args[0], noise="50 %\n")
    return value(len(call.args[0]))


def config_maps(w: World) -> dict[str, str]:
    found = w.objects("configmaps")
    return {body["metadata"]["name"]: base64.b64decode(body["binaryData"]["value"]).decode() for body in found}


def completed(w: World) -> list[TaskCompleted]:
    return [event.fact for event in w.history() if isinstance(event.fact, TaskCompleted)]


# How the first launch ends, and what the history has of it: the event, and words in it.
LAST_WORDS = {
    "succeeded": (Act(message="42", vanishes=True), "TaskCompleted t-0", "42"),
    "disrupted": (Act(disruption="EvictionByEvictionAPI", vanishes=True), "TaskDisrupted t-0", "EvictionByEvictionAPI"),
    "failed": (Act(exit_code=1, message="the disk is full", vanishes=True), "TaskFailed t-0", "the disk is full"),
}


@pytest.mark.parametrize(("first", "told", "words"), LAST_WORDS.values(), ids=LAST_WORDS)
def test_the_last_words_of_a_pod_count_though_it_is_gone_by_then(first: Act, told: str, words: str) -> None:
    """Its end and its deletion may come in one breath, before a pass sees either."""

    async def scenario() -> None:
        async with world(lambda call: first if call.launch == 0 else value(7)) as w:
            w.submit(ONE, {"name": "t"})
            await w.ended()
            assert w.told()[1] == told
            assert words in repr(w.history()[1].fact)

    run_virtual(scenario())


@simulated
async def test_a_short_result_stands_in_the_history() -> None:
    async with world(lambda call: printed({"a": 1.0}, noise="50 %\n")) as w:
        w.submit(ONE, log("t"))
        await w.ended()
        assert w.status()["result"] == '{"a": 1.0}'
        assert [fact.result for fact in completed(w)] == ['{"a": 1.0}']
        assert w.objects("configmaps") == []


@pytest.mark.parametrize(
    ("size", "is_inline"),
    [(INLINE_BYTES, True), (INLINE_BYTES + 1, False), (200_000, False)],
)
def test_a_long_result_is_kept_beside(size: int, is_inline: bool) -> None:
    @simulated
    async def scenario() -> None:
        async with world(sizes) as w:
            w.submit(SIZES, log("big"), "size", input={"args": [size - 2]})
            await w.ended()
            assert w.result() == [size - 2, size - 2]
            fact = completed(w)[0]
            text = json.dumps("x" * (size - 2))
            if is_inline:
                assert (fact.result, fact.result_ref) == (text, None)
                assert config_maps(w) == {}
            else:
                assert fact.result_ref is not None
                assert fact.result_ref.bytes == size
                assert config_maps(w) == {fact.result_ref.name: text}
                assert len(json.dumps(w.status()["history"])) < 2000

    scenario()


@simulated
async def test_a_result_of_a_byte_too_many_fails_with_size_and_limit() -> None:
    async with world(sizes) as w:
        w.submit(ONE.replace("t(", "big(").replace("w(t)", "w(big)"), log("big"), input={"args": [MAX_VALUE_BYTES - 1]})
        await w.ended()
        assert w.reason() == "Failed"
        assert w.status()["error"]["type"] == "ResultTooLong"
        assert "1,048,577 bytes, at most 1,048,576" in w.status()["error"]["message"]


@simulated
async def test_binary_output_fails_and_shows_itself() -> None:
    async with world(lambda call: Act(log=b"\x7fELF\x02\xff\x00\x00")) as w:
        w.submit(ONE, log("t", retry={"maxAttempts": 2, "when": ["Error"]}))
        await w.ended()
        assert w.status()["error"]["type"] == "ResultInvalid"
        assert "\\xff" in w.status()["error"]["message"]
        assert [fact.final for e in w.history() if isinstance(fact := e.fact, TaskFailed)] == [False, True]


@simulated
async def test_what_the_result_file_holds_plays_no_part() -> None:
    async with world(lambda call: Act(log=b"1", message="2")) as w:
        w.submit(ONE, log("t"))
        await w.ended()
        assert w.result() == 1


@simulated
async def test_a_failure_is_told_in_the_result_file_all_the_same() -> None:
    async with world(
        lambda call: Act(log=b"1", exit_code=3, message='{"error": {"type": "Odd", "message": "m"}}')
    ) as w:
        w.submit(ONE, log("t"))
        await w.ended()
        assert w.status()["error"]["type"] == "Odd"


@simulated
async def test_a_node_that_does_not_answer_holds_up_nobody_else() -> None:
    async with world(lambda call: printed(call.name) if call.name == "t" else value(call.name)) as w:
        w.api.faults.add(Delay(30), verb="get", resource="pods/log", times=3)
        w.api.faults.add(Refuse(500), verb="get", resource="pods/log", times=3)
        w.submit(BESIDE, log("t", timeouts={"startToCloseSeconds": 2, "scheduleToCloseSeconds": 3}), "other")
        await w.until(lambda: bool(completed(w)))
        assert w.clock().second < 5
        await w.until(lambda: "reason" in w.status().get("waitingOn", [{}])[0])
        (wait,) = w.status()["waitingOn"]
        assert wait["task"] == "t-0"
        assert wait["reason"].startswith("Result: can't be fetched yet: 500 InternalError")
        patches = w.operators[0].line.writes["patch", "workflows/status"]
        await w.ended()
        # Neither timer fired, though both were due long before; and waiting cost no writes.
        assert w.result() == ["other", "t"]
        assert w.operators[0].line.writes["patch", "workflows/status"] == patches + 1
        assert w.api.calls["get", "pods/log"] == 4


@simulated
async def test_an_operator_that_waits_asks_in_growing_intervals() -> None:
    async with world(lambda call: printed(1)) as w:
        w.api.faults.add(Refuse(403, "Forbidden"), verb="get", resource="pods/log", times=10)
        w.submit(ONE, log("t"))
        await w.ended()
        assert w.result() == 1
        assert 1 + 2 + 4 + 8 + 16 + 32 + 4 * 60 <= (w.history()[-1].time - w.history()[0].time).total_seconds() <= 320


@simulated
async def test_a_log_that_is_gone_for_good_is_a_lost_result() -> None:
    async with world(lambda call: printed(call.launch)) as w:
        w.api.faults.add(Refuse(400, "BadRequest"), verb="get", resource="pods/log", times=REFUSALS)
        w.submit(ONE, log("t"))
        await w.ended()
        assert w.told() == ["TaskScheduled t-0", "TaskDisrupted t-0", "TaskCompleted t-0"]
        assert w.result() == 1  # of the second launch


@simulated
async def test_a_pod_that_is_gone_is_a_lost_result() -> None:
    async with world(lambda call: printed(call.launch)) as w:
        w.api.faults.add(Refuse(404, "NotFound"), verb="get", resource="pods/log")
        w.submit(ONE, log("t"))
        await w.ended()
        assert w.told() == ["TaskScheduled t-0", "TaskDisrupted t-0", "TaskCompleted t-0"]


@simulated
async def test_a_job_that_was_deleted_took_its_result_along() -> None:
    async with world(lambda call: printed(1)) as w:
        w.api.faults.add(Refuse(500), verb="get", resource="pods/log", times=1)
        w.submit(ONE, log("t"))
        await w.until(lambda: w.api.calls["get", "pods/log"] == 1)
        (job,) = w.objects("jobs")
        w.store.delete(w.store.kind("jobs"), NAMESPACE, job["metadata"]["name"])
        await w.ended()
        assert w.told() == ["TaskScheduled t-0", "TaskCancelled t-0"]


@simulated
async def test_what_an_operator_kept_before_it_died_is_found_by_the_next() -> None:
    async with world(sizes) as w:
        line = w.operators[0].line
        w.submit(SIZES, log("big"), "size", input={"args": [9000]})
        await w.until(lambda: bool(w.objects("configmaps")))
        line.writes_left = 0  # the event is never written
        await line.dead.wait()
        (pod,) = w.objects("pods")
        w.store.delete(w.store.kind("pods"), NAMESPACE, pod["metadata"]["name"])
        await w.restart()
        await w.ended()
        assert w.result() == [9000, 9000]
        assert len(w.kubelet.created) == 2


@simulated
async def test_a_lost_answer_is_asked_for_again() -> None:
    async with world(sizes) as w:
        w.api.faults.add(LoseAnswer(), verb="create", resource="configmaps", times=2)
        w.api.faults.add(LoseAnswer(), verb="get", resource="pods/log", times=2)
        w.submit(SIZES, log("big"), "size", input={"args": [9000]})
        await w.ended()
        assert w.result() == [9000, 9000]
        assert len(config_maps(w)) == 1


@simulated
async def test_a_config_map_in_the_way_is_said_and_waited_for() -> None:
    async with world(sizes) as w:
        w.submit(SIZES, log("big"), "size", input={"args": [9000]})
        await w.until(lambda: bool(w.kubelet.created))
        name = w.kubelet.created[0][1]
        w.store.create(w.store.kind("configmaps"), NAMESPACE, {"metadata": {"name": name}, "data": {"a": "b"}})
        await w.until(lambda: "in the way" in w.status().get("waitingOn", [{}])[0].get("reason", ""))
        assert f"a ConfigMap '{name}' that belongs to somebody else is in the way: delete it" in str(w.status())
        w.store.delete(w.store.kind("configmaps"), NAMESPACE, name)
        await w.ended()
        assert w.result() == [9000, 9000]


@simulated
async def test_a_result_that_went_stalls_until_it_is_back() -> None:
    async with world(sizes) as w:
        w.submit(SIZES, log("big"), "size", input={"args": [9000]})
        await w.until(lambda: len(completed(w)) == 1)
        await w.kill()
        (kept,) = w.objects("configmaps")
        name = kept["metadata"]["name"]
        w.store.delete(w.store.kind("configmaps"), NAMESPACE, name)
        w.start()
        await w.until(lambda: w.stalled() == "HistoryInvalid")
        message = w.condition(kind="Stalled")["message"]
        assert message.startswith(f"the ConfigMap '{name}' is gone, which holds 9,002 bytes of result; restore it")
        kept["metadata"].pop("resourceVersion")
        w.store.create(w.store.kind("configmaps"), NAMESPACE, kept)
        await w.ended()
        assert w.result() == [9000, 9000]


@simulated
async def test_more_results_than_a_decision_can_take_stall_with_advice() -> None:
    source = """
        def w(big):
            def run():
                return sum([len(r) for r in [big(1_000_000 + n) for n in range(17)]])
            return run
    """
    async with world(sizes) as w:
        w.submit(source, log("big"))
        await w.until(lambda: w.stalled() is not None)
        assert w.stalled() == "AnswerTooLarge"
        assert "17 long results of this run have 17,000,170 bytes together" in w.condition(kind="Stalled")["message"]
        assert "let tasks keep large data in files or objects" in w.condition(kind="Stalled")["message"]


@simulated
async def test_results_of_older_runs_go_but_for_the_last() -> None:
    source = """
        from flowy import restart, wait

        def w(big):
            def run(n):
                r = big(9000 + n)
                wait(r)
                return restart(n + 1) if n < 5 else len(r)
            return run
    """
    async with world(sizes) as w:
        w.submit(source, log("big"), input={"args": [0]})
        await w.ended()
        assert w.result() == 9005
        # Those of the last run stay with its history, however long its Jobs are kept.
        assert sorted(len(text) for text in config_maps(w).values()) == [9006, 9007]


@simulated
async def test_results_go_with_the_workflow() -> None:
    async with world(sizes) as w:
        w.submit(SIZES, log("big"), "size", input={"args": [9000]}, ttlSecondsAfterFinished=60)
        await w.until(lambda: bool(w.objects("configmaps")))
        await w.until(lambda: not w.objects("workflows"))
        assert w.objects("configmaps") == []
