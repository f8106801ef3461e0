"""Nothing lost, nothing twice: random programs, random faults, and the same invariants after each.

`FLOWY_SEEDS=5000 pytest tests/app/test_seeds.py` runs more; a failure names its seed, which is all that it depends on.
"""

import asyncio
import operator
import os
import random
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from flowy.policy.retry import Backoff, RetrySpec, delay_before
from flowy_operator.app.settings import Settings
from flowy_operator.core.attempts import Caller
from flowy_operator.core.config_map import text_of
from flowy_operator.core.history import (
    CancelReason,
    Fact,
    Restarted,
    RetryScheduled,
    StopRequested,
    TaskCancelled,
    TaskCompleted,
    TaskScheduled,
)
from flowy_operator.core.state import Phase, State, apply
from flowy_operator.core.values import reference
from tests.app.kubelet import Act, Call, failure, printed, value
from tests.app.world import NAMESPACE, START, World, world
from tests.fakes.clock import run_virtual
from tests.fakes.faults import LoseAnswer, Refuse, Rule

SILENT_S, BEAT_S = 6, 1.5
SEEDS = int(os.environ.get("FLOWY_SEEDS", "150"))
PARALLELISM = 4
LONG_S = 500.0  # longer than any timeout with an outage on top: an outcome that is there counts, however late
TTL_S = 200
MOST_PASSES = 500  # of one workflow; about 100 are usual, and a hot loop takes thousands

BACKOFF = Backoff(initial_s=2, multiplier=3, max_s=5, jitter_percent=100)
WAITS: list[dict[str, Any]] = [
    {"delaysSeconds": [0]},
    {"delaysSeconds": [1, 0, 3]},
    {"backoff": {"initialSeconds": 2, "multiplier": 3, "maxSeconds": 5, "jitterPercent": 100}},
]

# Each: source, tasks, and the result if nothing goes wrong. Tasks add up integers, so that order doesn't matter.
PROGRAMS: dict[str, tuple[str, list[str], Any]] = {
    "chain": (
        """
        def w(inc):
            def run():
                v = 0
                for _ in range(6):
                    v = inc(v)
                return v
            return run
        """,
        ["inc"],
        6,
    ),
    "wide": (
        """
        def w(inc):
            def run():
                return [inc(n) for n in range(9)]
            return run
        """,
        ["inc"],
        [*range(1, 10)],
    ),
    "diamond": (
        """
        def w(inc, add):
            def run():
                a = inc(0)
                return add(inc(a), inc(a))
            return run
        """,
        ["inc", "add"],
        4,
    ),
    "dynamic": (
        """
        def w(inc):
            def run():
                return [inc(x) for x in range(inc(3))]
            return run
        """,
        ["inc"],
        [1, 2, 3, 4],
    ),
    "reduced": (
        """
        from flowy import parallel_reduce

        def w(inc, add):
            def run():
                return parallel_reduce(add, [inc(n) for n in range(6)])
            return run
        """,
        ["inc", "add"],
        21,
    ),
    "in finish order": (
        """
        from flowy import finish_order

        def w(inc, add):
            def run():
                total = 0
                for r in finish_order([inc(n) for n in range(5)]):
                    total = add(total, r)
                return total
            return run
        """,
        ["inc", "add"],
        15,
    ),
    "logged": (
        """
        def w(long, inc):
            def run():
                v = ""
                for n in range(3):
                    v = long(n, v)
                return inc(len(v))
            return run
        """,
        ["long", "inc"],
        30_001,
    ),
    "long arguments": (
        """
        def w(size):
            def run():
                return sum([size("x" * 300_000, n) for n in range(6)])
            return run
        """,
        ["size"],
        1_800_015,
    ),
    "caught": (
        """
        from flowy import TaskError, wait

        def w(bad, inc):
            def run():
                r = bad()
                try:
                    wait(r)
                except TaskError as e:
                    return [e.type, inc(1)]
            return run
        """,
        ["bad", "inc"],
        ["Error", 2],
    ),
    "restarted": (
        """
        from flowy import restart

        def w(inc):
            def run(n=0):
                n = inc(inc(n))
                return restart(n) if n < 6 else n
            return run
        """,
        ["inc"],
        6,
    ),
    "nested": (
        """
        def w(sub, add):
            def run():
                return add(sub(0), sub(10))
            return run

        def sub(leaf, inc):
            def run(n):
                return inc(leaf(inc(n)))
            return run

        def leaf(inc):
            def run(n):
                return inc(n)
            return run
        """,
        ["sub", "leaf", "inc", "add"],
        16,
    ),
}
CHILDREN = {"sub", "leaf"}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_seed(seed: int) -> None:
    run_virtual(_scenario(random.Random(seed)))


async def _scenario(dice: random.Random) -> None:
    name = dice.choice(sorted(PROGRAMS))
    source, tasks, expected = PROGRAMS[name]
    retry = {"maxAttempts": 3, "when": ["Timeout", "Error"]} | dice.choice(WAITS)
    timeouts = {"startToCloseSeconds": 20, "heartbeatSeconds": SILENT_S}
    spec: list[dict[str, Any]] = [
        {"name": task, "workflow": {"entrypoint": task}}
        if task in CHILDREN
        else {"name": task, "retry": retry, "timeouts": timeouts, "activity": activity_of(task)}
        for task in tasks
    ]
    # Mostly so short a tail that a few events are a page: sealing then happens between any other two writes.
    settings = Settings(history_tail_bytes=dice.choice([256, 256, 700, 1500, 32_768]))
    activity = _activity(random.Random(dice.random()))
    async with world(activity, latency=lambda: dice.uniform(0.0005, 0.03), settings=settings) as w:
        _refuse_some(w, dice)
        w.api.faults.add(Refuse(429, "TooManyRequests"), verb="create", times=dice.randint(1, 4), chance=0.2)
        w.api.faults.add(Refuse(500), resource="pods/log", times=dice.randint(1, 4), chance=0.3)
        w.api.faults.add(LoseAnswer(), verb="create", times=dice.randint(1, 4), chance=0.2)
        trouble = asyncio.create_task(_trouble(w, dice))
        beating = asyncio.create_task(_beat(w))
        comes_and_goes = None
        if dice.random() < 0.4:
            w.refer(parallelism=PARALLELISM, ttlSecondsAfterFinished=TTL_S)
            comes_and_goes = asyncio.create_task(_definition(w, random.Random(dice.random()), source, spec))
        else:
            keep = {"keepSucceededSeconds": dice.choice([1, 300]), "keepFailedSeconds": dice.choice([1, 50])}
            w.submit(source, *spec, entrypoint="w", parallelism=PARALLELISM, jobs=keep, ttlSecondsAfterFinished=TTL_S)
        try:
            await w.ended()
            assert w.reason() == "Completed", w.condition()
        finally:
            trouble.cancel()
            if comes_and_goes is not None:
                comes_and_goes.cancel()
            assert not beating.done(), beating
            beating.cancel()
        assert w.result() == expected
        seen = [change.new for change in w.store.log if change.kind.plural == "workflows" and change.new]
        events = [event for body in seen for event in body.get("status", {}).get("history", ())]
        assert not [event for event in events if event.get("timer") == "Heartbeat"], "who beats is not silent"
        _check(w, retry)
        await _check_nothing_stays(w, dice)
        assert all(running.operator._queue.taken < MOST_PASSES for running in w.operators)


# Children of two kinds, of which some fail for good, and a parent that begins anew.
NESTED = """
    from flowy import TaskError, restart, wait

    def parent(child, hopeless, add):
        def workflow(n=0):
            total = parallel(add, [child(i) for i in range(4)])
            try:
                wait(hopeless(n))
            except TaskError as error:
                return restart(n + 1) if n < 1 else [total, error.message]
        return workflow

    def parallel(add, items):
        from flowy import parallel_reduce
        return parallel_reduce(add, items)

    def child(inc):
        def workflow(n):
            return inc(inc(n))
        return workflow

    def hopeless(child):
        def workflow(n):
            wait(child(n))
            raise ValueError("no hope")
        return workflow
"""


@pytest.mark.parametrize("seed", range(SEEDS // 3))
def test_seed_with_children(seed: int) -> None:
    run_virtual(_children_scenario(random.Random(seed)))


async def _children_scenario(dice: random.Random) -> None:
    retry = {"maxAttempts": 3, "when": ["Timeout", "Error"]} | dice.choice(WAITS)
    spec: list[dict[str, Any]] = [
        {"name": "child", "workflow": {"entrypoint": "child"}, "onParentEnd": dice.choice(["Terminate", "Cancel"])},
        {"name": "hopeless", "workflow": {"entrypoint": "hopeless"}, "retry": {"when": ["Error"], "maxAttempts": 2}},
        *({"name": task, "retry": retry, "timeouts": {"startToCloseSeconds": 20}} for task in ("inc", "add")),
    ]
    settings = Settings(history_tail_bytes=dice.choice([256, 1500, 32_768]))
    activity = _activity(random.Random(dice.random()))
    async with world(activity, latency=lambda: dice.uniform(0.0005, 0.03), settings=settings) as w:
        _refuse_some(w, dice)
        w.api.faults.add(LoseAnswer(), verb="create", times=dice.randint(1, 4), chance=0.2)
        made: Counter[str] = Counter()

        def count() -> None:
            change = w.store.log[-1]
            if change.kind.plural == "workflows" and change.old is None and change.new is not None:
                made[change.new["metadata"]["name"]] += 1

        w.store.news.append(count)
        w.submit(NESTED, *spec, entrypoint="parent", ttlSecondsAfterFinished=TTL_S)
        trouble = asyncio.create_task(_trouble(w, dice))
        try:
            await w.ended()
        finally:
            trouble.cancel()
        assert w.result() == [4 * 2 + 6, "no hope"]
        assert set(made.values()) == {1}, "a child was created twice"
        assert not [name for name, count in Counter(w.kubelet.created).items() if count > 1]
        assert w.torn == []
        await _check_nothing_stays(w, dice)


# Undoes what it did when it is stopped. Each run leaves a task behind.
STOPPABLE = """
    from flowy import TaskCancelled, restart, wait

    def w(inc, undo, left):
        def run(n=0):
            done = []
            try:
                for level in range(3):
                    wait([inc(level) for _ in range(6)])
                    done.append(level)
                left(n)
                wait(inc(n))
            except TaskCancelled:
                wait([undo(level) for level in done], undo(n))
                raise
            return restart(n + 1) if n < 1 else n
        return run
"""
STOPPABLE_TASKS = ["inc", "undo", "left"]


@pytest.mark.parametrize("seed", range(SEEDS // 2))
def test_seed_with_a_stop(seed: int) -> None:
    run_virtual(_stop_scenario(random.Random(seed)))


async def _stop_scenario(dice: random.Random) -> None:
    retry = {"maxAttempts": 3, "when": ["Timeout", "Error"]} | dice.choice(WAITS)
    spec: list[dict[str, Any]] = [
        {"name": task, "retry": retry, "timeouts": {"startToCloseSeconds": 20}} for task in STOPPABLE_TASKS
    ]
    modes = dice.choice([["Cancel"], ["Cancel"], ["Terminate"], ["Cancel", "Terminate"], []])
    jobs = {"keepSucceededSeconds": 5000, "keepFailedSeconds": 5000}
    settings = Settings(history_tail_bytes=dice.choice([256, 1500, 32_768]))
    activity = _activity(random.Random(dice.random()))
    async with world(activity, latency=lambda: dice.uniform(0.0005, 0.03), settings=settings) as w:
        _refuse_some(w, dice)
        w.submit(
            STOPPABLE,
            *spec,
            parallelism=PARALLELISM,
            onEnd=dice.choice(["Cancel", "Wait", "Abandon"]),
            timeouts={"cancelSeconds": dice.choice([1, 8, 3000])},
            jobs=jobs,
        )
        others = [asyncio.create_task(_trouble(w, dice)), asyncio.create_task(_stop(w, dice, modes))]
        try:
            await w.ended()
        finally:
            for task in others:
                task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        _check(w, retry)
        _check_stop(w, modes)
        # What nobody wants any more goes, what was abandoned comes to its own end; the trouble may have ended in the middle.
        w.api.faults.rules.clear()
        for running in list(w.operators):
            await w.kill(running)
        w.start()
        await w.until(lambda: not [job for job in w.objects("jobs") if not job.get("status")], within_s=2 * LONG_S)


async def _stop(w: World, dice: random.Random, modes: Sequence[str]) -> None:
    for mode in modes:
        await asyncio.sleep(dice.choice([0, dice.uniform(0, 5), dice.uniform(0, 40)]))
        asked = {"stop": mode, "suspend": dice.random() < 0.3}
        w.edit(operator.methodcaller("__setitem__", "spec", w.body()["spec"] | asked))


def _check_stop(w: World, modes: Sequence[str]) -> None:
    facts = [event.fact for event in w.history()]
    requests = [fact.mode for fact in facts if isinstance(fact, StopRequested)]
    assert requests in ([], ["Cancel"], ["Terminate"], ["Cancel", "Terminate"])
    # The workflow's end may have come before the stop, or before the next one.
    assert set(requests) <= set(modes)
    assert w.reason() in {"Completed", "Cancelled", "Terminated"}
    assert w.reason() != "Completed" or w.result() == 1
    told = [
        e for e in w.history() if isinstance(e.fact, TaskCancelled) and e.fact.reason is CancelReason.STOP_REQUESTED
    ]
    if w.reason() == "Cancelled":
        # All at once; then the clean-up alone, whole, and none of it cancelled.
        assert len({event.time for event in told}) == 1
        assert [event.id for event in told] == [*range(told[0].id, told[-1].id + 1)]
        after = facts[told[-1].id :]
        if w.status()["error"]["type"] == "WorkflowCancelled":  # the code had ended already, and its restart waited
            assert not after
            return
        levels = len(_completed(facts[_run_start(facts) : told[0].id], "inc")) // 6
        undone = _completed(after, "undo")
        assert undone == {f"undo-{n}" for n in range(levels + 1)}
        assert {fact.task for fact in after if isinstance(fact, TaskScheduled)} == undone
        assert not [fact for fact in after if isinstance(fact, TaskCancelled)]


def _run_start(facts: Sequence[Fact]) -> int:
    return max((n for n, fact in enumerate(facts) if isinstance(fact, Restarted)), default=0)


def _completed(facts: Sequence[Fact], name: str) -> set[str]:
    return {fact.task for fact in facts if isinstance(fact, TaskCompleted) and fact.task.startswith(f"{name}-")}


def _activity(dice: random.Random) -> Any:
    """Every task succeeds in the end; before that it may fail, hang, or be evicted, here and there for minutes."""
    launches, lost = dice.choice([(2, 0.1)] * 4 + [(7, 0.7)])
    sums = {"inc": lambda call: call.args[0] + 1, "size": size_of, "add": sum_of, "undo": sum_of, "left": sum_of}

    def act(call: Call) -> Act:
        if call.name == "bad":
            return failure(lasts_s=dice.uniform(0.1, 3))
        lasts_s = dice.choice([0.0, dice.uniform(0.05, 4)])
        if call.name == "left":
            return value(sums[call.name](call), lasts_s=dice.uniform(1, 15))
        if call.launch < launches and dice.random() < lost:
            return Act(lasts_s=lasts_s, exit_code=137, disruption="EvictionByEvictionAPI")
        if call.attempt < 3 and dice.random() < 0.15:
            return dice.choice([failure(lasts_s=lasts_s), Act(lasts_s=dice.choice([None, LONG_S]), message="-1")])
        if call.name == "long":
            return printed("x" * 10_000 + call.args[1], lasts_s=lasts_s, noise="50 %\n")
        return value(sums[call.name](call), lasts_s=lasts_s)

    return act


def size_of(call: Call) -> int:
    return len(call.args[0]) + int(call.args[1])


def activity_of(task: str) -> dict[str, Any]:
    return {"image": "busybox", **({"result": {"from": "Log"}} if task == "long" else {})}


def sum_of(call: Call) -> int:
    total: int = sum(call.args)
    return total


def _refuse_some(w: World, dice: random.Random) -> None:
    """What any API server does now and then."""
    w.api.faults.add(Refuse(409, "Conflict"), verb="patch", times=dice.randint(1, 4), chance=0.3)
    w.api.faults.add(Refuse(500, "InternalError"), times=dice.randint(1, 6), chance=0.1)
    w.api.faults.add(LoseAnswer(), verb="patch", times=dice.randint(1, 4), chance=0.2)


async def _trouble(w: World, dice: random.Random) -> None:
    """Operators die between any two writes, overlap, streams are cut, versions expire, the API server is away."""
    for _ in range(dice.randint(0, 6)):
        running = w.operators[0]
        match dice.choice(["die", "die", "two", "cut", "gone", "outage", "stall"]):
            case "die":
                running.line.writes_left, running.line.dies_after = dice.randint(0, 3), dice.random() < 0.5
                await asyncio.wait(
                    [asyncio.create_task(running.line.dead.wait()), asyncio.create_task(asyncio.sleep(8))],
                    return_when=asyncio.FIRST_COMPLETED,
                )
                await w.kill(running)
                await asyncio.sleep(dice.choice([0, dice.uniform(0, 30)]))
                w.start()
            case "two":
                w.start()
                await asyncio.sleep(dice.uniform(0, 8))
                await w.kill(dice.choice(w.operators))
            case "cut":
                w.api.cut_watches()
            case "gone":
                w.store.compact()
                w.api.cut_watches()
            case "outage":
                # Longer than a task may take, and nobody is timed out who wasn't.
                away = Rule(Refuse(503, "ServiceUnavailable"), times=10**6)
                w.api.faults.rules.insert(0, away)
                w.api.cut_watches()
                await asyncio.sleep(dice.uniform(1, 60))
                w.api.faults.rules.remove(away)
            case "stall":
                w.decider.stall(dice.randint(1, 3))
        await asyncio.sleep(dice.uniform(0, 4))


async def _beat(w: World) -> None:
    """Every container that runs says so, to whoever is there to hear it: nobody is ever timed out for silence."""
    while True:
        for pod in w.objects("pods"):
            if pod["status"]["phase"] == "Running":
                caller = Caller(NAMESPACE, pod["metadata"]["name"], pod["metadata"]["uid"])
                for running in list(w.operators):
                    await running.operator.attempts.heartbeat(caller, '{"n": 1}')
        await asyncio.sleep(BEAT_S)


async def _definition(w: World, dice: random.Random, source: str, spec: list[dict[str, Any]]) -> None:
    """The definition may come late; then it goes, is there with other content, and is back, a few times."""
    await asyncio.sleep(dice.choice([0, dice.uniform(0, 20)]))
    w.define(source, *spec, entrypoint="w")
    for _ in range(dice.randint(0, 3)):
        await asyncio.sleep(dice.uniform(0, 8))
        if "definitionDigest" not in w.status():
            continue  # it would begin with the other content, as it may
        w.undefine()
        await asyncio.sleep(dice.choice([0, dice.uniform(0, 40)]))
        if dice.random() < 0.3:
            w.define("def w(other):\n    return lambda: other()\n", "other")
            await asyncio.sleep(dice.uniform(0, 10))
            w.undefine()
        w.define(source, *spec, entrypoint="w")


async def _check_nothing_stays(w: World, dice: random.Random) -> None:
    """The clean-up amid the same trouble, which may have left no operator alive."""
    w.start()
    for running in w.operators[:-1]:
        await w.kill(running)
    trouble = asyncio.create_task(_trouble(w, dice))
    try:
        await w.until(lambda: w.left() == Counter(), within_s=3 * TTL_S)
    finally:
        trouble.cancel()
        await asyncio.gather(trouble, return_exceptions=True)


def _check(w: World, retry: dict[str, Any]) -> None:
    # Each launch's Job was made once, by the history of a workflow that is there, and nothing is there that nobody owns.
    assert not [name for name, count in Counter(w.kubelet.created).items() if count > 1]
    bodies = w.objects("workflows")
    uids = {body["metadata"]["uid"] for body in bodies}
    for plural in ("jobs", "pods"):
        for found in w.objects(plural):
            assert found["metadata"]["ownerReferences"][0]["controller"]
    for plural in ("jobs", "configmaps", "historypages"):
        assert {found["metadata"]["ownerReferences"][0]["uid"] for found in w.objects(plural)} <= uids
    launches = [_check_one(w, body["metadata"]["name"], body["metadata"]["uid"], retry) for body in bodies]
    assert {name for _, name in w.kubelet.created} <= set().union(*launches)
    assert {namespace for namespace, _ in w.kubelet.created} <= {NAMESPACE}
    assert w.torn == []


def _check_one(w: World, name: str, owner: str, retry: dict[str, Any]) -> set[str]:
    """Gives the launches that the history implies."""
    # What the history refers to is there, to the byte; what it doesn't, was kept for nothing by who died then.
    kept = {found["metadata"]["name"]: found for found in w.objects("configmaps")}
    for event in w.history(name):
        if isinstance(event.fact, TaskCompleted) and event.fact.result_ref is not None:
            ref = event.fact.result_ref
            text = text_of(kept[ref.name])
            assert text is not None
            assert reference(ref.name, text) == ref
    # The history is one, its fold knows every Job, and never had more tasks open than allowed.
    state = State(workflow=name, uid=owner, started_at=START)
    scheduled: Counter[tuple[int, str, int]] = Counter()
    due: dict[tuple[str, int], datetime] = {}
    has_backoff = "backoff" in retry
    waits_s = RetrySpec(backoff=BACKOFF) if has_backoff else None
    launches: set[str] = set()
    for event in w.history(name):
        state = apply(state, [event])
        launches |= set(state.launches)
        if isinstance(event.fact, TaskScheduled):
            scheduled[state.run, event.fact.task, event.fact.attempt] += 1
            # No attempt comes before its time, whoever died meanwhile.
            assert due.pop((event.fact.task, event.fact.attempt), event.time) <= event.time
        if isinstance(event.fact, RetryScheduled):
            due[event.fact.task, event.fact.attempt] = event.fact.at
            if waits_s is not None:
                seed = f"{owner}/{state.run}/{event.fact.task}"
                assert event.fact.at - event.time <= timedelta(seconds=delay_before(waits_s, event.fact.attempt, seed))
        assert sum(task.phase is Phase.OPEN for task in state.tasks.values()) <= PARALLELISM
    assert max(scheduled.values(), default=1) == 1
    # Pages and status together are the history, each event once: of this run whole, of the one before if it is there.
    there = w.readable(name)
    assert there == w.history(name)[-len(there) :]
    assert there[0].id <= state.first
    assert {page["spec"]["run"] for page in w.pages(name)} <= {state.run - 1, state.run}
    return launches
