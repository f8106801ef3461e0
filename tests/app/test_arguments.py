"""Long arguments: in a ConfigMap before the Job, to the byte, and gone before it goes."""

import json

from flowy.policy.lengths import MAX_VALUE_BYTES
from flowy_operator.core.history import TaskScheduled
from flowy_operator.core.job import ANNOTATED_BYTES
from flowy_operator.core.state import State, apply
from flowy_operator.core.values import input_name
from tests.app.kubelet import Act, Call, failure, printed, value
from tests.app.test_results import config_maps, log
from tests.app.world import NAMESPACE, START, World, simulated, world
from tests.fakes.faults import LoseAnswer, Refuse

AROUND = len('{"args":[""],"kwargs":{}}')
LONGEST = MAX_VALUE_BYTES - AROUND
PASSED = """
    def w(t):
        def run(n):
            return t("x" * n)
        return run
"""
FAN_OUT = """
    def w(t):
        def run(n):
            return [t("é" * 300_000, k) for k in range(n)]
        return run
"""


def length(call: Call) -> Act:
    return value([len(call.args[0]), *call.args[1:]])


def jobs(w: World) -> list[str]:
    return [job["metadata"]["name"] for job in w.objects("jobs")]


@simulated
async def test_what_fits_into_an_annotation_costs_no_object() -> None:
    async with world(length) as w:
        w.submit(PASSED, "t", input={"args": [ANNOTATED_BYTES - AROUND]})
        await w.ended()
        assert w.operators[0].line.writes == {("patch", "workflows/status"): 2, ("create", "jobs"): 1}


@simulated
async def test_the_longest_arguments_arrive() -> None:
    async with world(length) as w:
        w.submit(PASSED, "t", input={"args": [LONGEST]}, jobs={"keepSucceededSeconds": 60})
        await w.until(lambda: bool(w.kubelet.calls))
        (name,) = jobs(w)
        assert [len(text) for text in config_maps(w).values()] == [MAX_VALUE_BYTES]
        assert list(config_maps(w)) == [input_name(name)]
        await w.ended()
        assert w.result() == [LONGEST]
        await w.until(lambda: not jobs(w))
        assert config_maps(w) == {}


@simulated
async def test_a_byte_more_is_refused_with_size_and_limit() -> None:
    async with world(length) as w:
        w.submit(PASSED, "t", input={"args": [LONGEST + 1]})
        await w.ended()
        assert w.status()["error"]["type"] == "LaunchRefused"
        assert "1,048,577 bytes long, at most 1,048,576 are passed" in w.status()["error"]["message"]
        assert (w.kubelet.created, config_maps(w)) == ([], {})


@simulated
async def test_a_printed_text_arrives_in_the_next_step_to_the_byte() -> None:
    source = """
        def w(say, hear):
            def run():
                return hear(say())
            return run
    """
    text = '{"b":1.10,"a":[1e2,' + "1.0," * 100_000 + '"<é&>"],"b":2}'
    arguments: list[str] = []

    def act(call: Call) -> Act:
        if call.name == "say":
            return Act(log=text.encode())
        arguments.append(next(t for name, t in config_maps(w).items() if name.endswith("-input")))
        return value(call.args[0]["b"])

    async with world(act) as w:
        w.submit(source, log("say"), "hear")
        await w.ended()
        assert w.result() == 2
        assert arguments == [f'{{"args":[{text}],"kwargs":{{}}}}']


@simulated
async def test_calls_with_long_arguments_are_recorded_in_parts_and_all_run() -> None:
    async with world(length) as w:
        w.submit(FAN_OUT, "t", input={"args": [10]})
        await w.ended()
        assert w.result() == [[300_000, n] for n in range(10)]
        scheduled = [event.fact.task for event in w.history() if isinstance(event.fact, TaskScheduled)]
        assert scheduled == [f"t-{n}" for n in range(10)]
        assert all(sum(len(c.arguments) for c in a.scheduled) < 1_000_000 for a in w.decider.answers)


@simulated
async def test_a_new_operator_asks_for_long_arguments_in_parts() -> None:
    async with world(length) as w:
        line = w.operators[0].line
        # It dies before the first Job: six calls are on record, and nobody knows their arguments any more.
        w.api.faults.add(Refuse(500), verb="create", times=20)
        w.submit(FAN_OUT, "t", input={"args": [6]})
        await w.until(lambda: len(w.history()) == 6)
        line.writes_left = 0
        await line.dead.wait()
        await w.restart()
        w.decider.requests.clear()
        await w.ended()
        assert w.result() == [[300_000, n] for n in range(6)]
        assert max(len(request.wanted) for request in w.decider.requests) == 6
        assert len([request for request in w.decider.requests if request.wanted]) == 6


@simulated
async def test_an_operator_that_died_between_the_arguments_and_the_job() -> None:
    async with world(length) as w:
        line = w.operators[0].line
        w.submit(PASSED, "t", input={"args": [LONGEST]})
        await w.until(lambda: bool(w.objects("configmaps")))
        line.writes_left = 0
        await line.dead.wait()
        assert (len(config_maps(w)), jobs(w)) == (1, [])
        await w.restart()
        await w.ended()
        assert w.result() == [LONGEST]
        assert len(w.kubelet.created) == 1


@simulated
async def test_lost_answers_and_refusals_on_the_way_to_the_job() -> None:
    async with world(length) as w:
        w.api.faults.add(LoseAnswer(), verb="create", resource="configmaps", times=2)
        w.api.faults.add(Refuse(429, "TooManyRequests"), verb="create", resource="configmaps", times=2)
        w.api.faults.add(Refuse(500), verb="create", resource="jobs", times=2)
        w.submit(PASSED, "t", input={"args": [LONGEST]})
        await w.ended()
        assert w.result() == [LONGEST]
        assert len(config_maps(w)) == 1


@simulated
async def test_a_config_map_of_somebody_else_refuses_the_launch() -> None:
    async with world(length) as w:
        w.api.faults.add(Refuse(500), verb="create", resource="configmaps", times=1)
        w.submit(PASSED, "t", input={"args": [LONGEST]})
        await w.until(lambda: w.api.calls["create", "configmaps"] == 1)
        state = State(workflow="w", uid=w.body()["metadata"]["uid"], started_at=START)
        name = input_name(next(iter(apply(state, w.history()).launches)))
        w.store.create(w.store.kind("configmaps"), NAMESPACE, {"metadata": {"name": name}})
        await w.ended()
        assert w.status()["error"]["type"] == "LaunchRefused"
        assert f"a ConfigMap '{name}' that belongs to somebody else is in the way" in w.status()["error"]["message"]


@simulated
async def test_attempts_have_arguments_of_their_own() -> None:
    def act(call: Call) -> Act:
        return failure() if call.attempt == 1 else length(call)

    async with world(act) as w:
        retry = {"maxAttempts": 2, "when": ["Error"]}
        w.submit(PASSED, {"name": "t", "retry": retry}, input={"args": [LONGEST]}, jobs={"keepFailedSeconds": 1})
        await w.ended()
        assert w.result() == [LONGEST]
        # Those of the attempt that failed went with its Job.
        await w.until(lambda: len(jobs(w)) == 1)
        assert list(config_maps(w)) == [input_name(jobs(w)[0])]


@simulated
async def test_one_step_may_take_and_give_a_long_value() -> None:
    source = """
        def w(t):
            def run(n):
                return len(t("x" * n))
            return run
    """

    def act(call: Call) -> Act:
        return printed(json.dumps(call.args[0]))

    async with world(act) as w:
        w.submit(source, log("t"), input={"args": [300_000]})
        await w.ended()
        assert w.result() == 300_002
        (name,) = jobs(w)
        assert sorted(config_maps(w)) == [name, input_name(name)]


@simulated
async def test_an_abandoned_job_of_an_older_run_keeps_its_arguments() -> None:
    source = """
        from flowy import restart, wait

        def w(step, left):
            def run(n=0):
                if n == 0:
                    left("x" * 300_000)
                wait(step("x" * 300_000))
                return restart(n + 1) if n < 4 else n
            return run
    """

    def act(call: Call) -> Act:
        return Act(pending_s=100) if call.name == "left" else value(1)

    async with world(act) as w:
        w.submit(source, "step", "left", onEnd="Abandon", jobs={"keepSucceededSeconds": 1})
        await w.ended()
        (left,) = [job["metadata"]["name"] for job in w.objects("jobs") if "-left-" in job["metadata"]["name"]]
        assert input_name(left) in config_maps(w)
        await w.until(lambda: not jobs(w))
        assert config_maps(w) == {}
