"""What is left of workflows: nothing too early, nothing for ever, nothing that nobody owns. Whatever has become of them."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from flowy_operator.app.late import LATE_S
from flowy_operator.app.settings import Settings
from flowy_operator.core.history import Restarted
from flowy_operator.core.state import Launch, LaunchEnd, State, apply
from tests.app.kubelet import NEVER_ENDS, NEVER_STARTS, Act, Call, failure, value
from tests.app.world import NAMESPACE, START, World, simulated, world
from tests.fakes.faults import LoseAnswer, Refuse
from tests.fakes.store import Refusal

KEEP_SUCCEEDED_S, KEEP_FAILED_S, TTL_S = 60, 600, 3600
GRACE = timedelta(seconds=5)
"""For a deletion to be made after its time has come: requests are refused, operators are away."""

MANY = 200

CHAIN = "def w(t):\n    def run():\n        return t(t(t(1)))\n    return run\n"
WIDE = "def w(t):\n    def run():\n        return [t(n) for n in range(5)]\n    return run\n"
LEAVES = """
    from flowy import first

    def w(t, slow):
        def run():
            return first([slow(1), t(1), slow(2)])
        return run
"""
CAREFUL = """
    from flowy import TaskError, TaskCancelled, wait

    def w(t, undo):
        def run():
            a = t(1)
            try:
                wait(a)
            except (TaskError, TaskCancelled):
                return undo(2)
            return a
        return run
"""
FAMILY = """
    from flowy import TaskError, first, restart, wait

    def parent(sub, t):
        def run():
            a, b = sub(1), sub(2)
            try:
                wait([a, b])
            except TaskError:
                return None
            return t(3)
        return run

    def hasty(sub, t):
        def run():
            return first([sub(1), t(2)])
        return run

    def again(sub):
        def run(n=0):
            return restart(n + 1) if int(sub(n)) and n < 3 else n
        return run

    def sub(t):
        def run(n):
            return t(t(n))
        return run
"""
AGAIN = """
    from flowy import restart

    def w(t):
        def run(n=0):
            wide = [t(i) for i in range(3)]
            return restart(n + 1) if len(wide[0] + wide[1]) and n < 4 else n
        return run
"""


Hand = Callable[[World, str], None]


class Row(NamedTuple):
    """One kind of workflow: what it is made of, what its containers do, and what a person does to it meanwhile."""

    source: str
    tasks: list[Any]
    act: Callable[[Call], Act]
    spec: Mapping[str, Any] = MappingProxyType({})
    hand: Hand | None = None
    after_s: float = 3.0


def sub_hangs(call: Call) -> Act:
    return Act(lasts_s=400.0) if "-sub-" in call.workflow else value(1)


def sub_fails(call: Call) -> Act:
    return failure() if "-sub-" in call.workflow else value(1)


def good(call: Call) -> Act:
    return value(1, lasts_s=2.0)


def long(call: Call) -> Act:
    return Act(lasts_s=1.0, log=b'"' + b"x" * 6000 + b'"\n')


def at_third(call: Call) -> Act:
    return value(1) if call.attempt == 3 else failure()


def evicted_once(call: Call) -> Act:
    return value(1) if call.launch else Act(exit_code=137, disruption="Preempted")


def slow_hangs(call: Call) -> Act:
    return Act(lasts_s=400.0) if call.name == "slow" else value(1)


def t_hangs(call: Call) -> Act:
    return NEVER_ENDS if call.name == "t" else value(1)


def patch(**spec: Any) -> Callable[[World, str], None]:
    return lambda w, name: w.edit(lambda body: body["spec"].update(spec), name)


def delete(w: World, name: str) -> None:
    w.delete("workflows", name)


def delete_a_job(w: World, name: str) -> None:
    ours = [j["metadata"]["name"] for j in w.objects("jobs") if j["metadata"]["labels"]["flowy.dev/workflow"] == name]
    if ours:
        w.delete("jobs", ours[0])


RETRIED = {"name": "t", "retry": {"when": ["Error", "Timeout"], "delaysSeconds": [0, 2]}}
TIMED = {"name": "t", "timeouts": {"startToCloseSeconds": 4}, "retry": {"maxAttempts": 2}}
LOGGED = {"name": "t", "activity": {"image": "busybox", "result": {"from": "Log"}}}


def _family(entrypoint: str, act: Callable[[Call], Act], hand: Hand | None = None, **sub: str) -> Row:
    """A workflow with children. What they hang upon lasts 400 s."""
    child = {"name": "sub", "workflow": {"entrypoint": "sub"}, **sub}
    return Row(FAMILY, [child, "t"], act, {"entrypoint": entrypoint}, hand)


KINDS: dict[str, Row] = {
    "family": _family("parent", good),
    "family-fails": _family("parent", sub_fails),
    "family-in-haste": _family("hasty", sub_hangs),
    "family-abandons": _family("hasty", sub_hangs, onParentEnd="Abandon"),
    "family-cancels": _family("hasty", sub_hangs, onParentEnd="Cancel"),
    "family-stopped": _family("parent", sub_hangs, patch(stop="Terminate")),
    "family-deleted": _family("parent", sub_hangs, delete),
    "family-again": _family("again", good),
    "chain": Row(CHAIN, ["t"], good),
    "wide": Row(WIDE, ["t"], good, {"parallelism": 2}),
    "fails": Row(CHAIN, ["t"], lambda call: failure()),
    "retried": Row(WIDE, [RETRIED], at_third),
    "times-out": Row(WIDE, [TIMED], lambda call: NEVER_ENDS),
    "never-starts": Row(CHAIN, [{"name": "t", "timeouts": {"scheduleToStartSeconds": 5}}], lambda call: NEVER_STARTS),
    "workflow-times-out": Row(WIDE, ["t"], lambda call: NEVER_ENDS, {"timeouts": {"workflowSeconds": 8}}),
    "evicted": Row(WIDE, ["t"], evicted_once),
    "invalid": Row("def w(:", ["t"], good),
    "long-results": Row(CHAIN.replace("t(t(t(1)))", "[t(1), t(2)]"), [LOGGED], long),
    "long-arguments": Row(WIDE.replace("t(n)", "t('x' * 300_000)").replace("5", "2"), ["t"], good),
    "restarted": Row(AGAIN, [LOGGED], long),
    "leaves-losers": Row(LEAVES, ["t", "slow"], slow_hangs),
    "waits-for-losers": Row(LEAVES, ["t", "slow"], slow_hangs, {"onEnd": "Wait"}),
    "abandons-losers": Row(LEAVES, ["t", "slow"], slow_hangs, {"onEnd": "Abandon"}),
    "stopped": Row(CAREFUL, ["t", "undo"], t_hangs, {}, patch(stop="Cancel")),
    "terminated": Row(WIDE, ["t"], lambda call: NEVER_ENDS, {}, patch(stop="Terminate")),
    "deleted": Row(WIDE, ["t"], lambda call: NEVER_ENDS, {}, delete),
    "job-deleted": Row(CAREFUL, ["t", "undo"], t_hangs, {}, delete_a_job),
    "suspended": Row(CHAIN, ["t"], good, {"suspend": True}, patch(suspend=False), 30.0),
}


def _kind(workflow: str) -> str:
    """The kind that a workflow, or the oldest of its parents, is of."""
    return re.split(r"-\d", workflow, maxsplit=1)[0]


def _act(call: Call) -> Act:
    return KINDS[_kind(call.workflow)].act(call)


def _submit(w: World, name: str) -> None:
    row = KINDS[_kind(name)]
    jobs = {"keepSucceededSeconds": KEEP_SUCCEEDED_S, "keepFailedSeconds": KEEP_FAILED_S}
    w.submit(row.source, *row.tasks, name=name, jobs=jobs, ttlSecondsAfterFinished=TTL_S, **row.spec)
    if row.hand is not None:
        asyncio.get_running_loop().call_later(row.after_s, row.hand, w, name)


def _names(w: World, plural: str) -> set[str]:
    return {found["metadata"]["name"] for found in w.objects(plural)}


class _Launches:
    """What launches the histories imply; those of a workflow that has ended are read once."""

    def __init__(self, w: World) -> None:
        self._w = w
        self._of_ended: dict[str, list[tuple[Launch, bool]]] = {}

    def of(self, name: str) -> list[tuple[Launch, bool]]:
        if name in self._of_ended:
            return self._of_ended[name]
        launches = list(_launches(self._w, name))
        if self._w.condition(name)["status"] != "Unknown":
            self._of_ended[name] = launches
        return launches


def _launches(w: World, name: str) -> Iterator[tuple[Launch, bool]]:
    """All launches that the history of a workflow implies, of all its runs, and whether a later run has begun."""
    body = w.body(name)
    state = State(workflow=name, uid=body["metadata"]["uid"], started_at=START)
    for event in w.history(name):
        if isinstance(event.fact, Restarted):
            yield from ((launch, True) for launch in state.launches.values())
        state = apply(state, [event])
    yield from ((launch, False) for launch in state.launches.values())


def _over_at(launch: Launch) -> datetime | None:
    """Until when a Job is kept after it has ended by itself, None for others."""
    match launch.end:
        case LaunchEnd.SUCCEEDED if launch.ended_at is not None:
            return launch.ended_at + timedelta(seconds=KEEP_SUCCEEDED_S)
        case LaunchEnd.FAILED if launch.ended_at is not None:
            return launch.ended_at + timedelta(seconds=KEEP_FAILED_S)
        case _:
            return None


def _check_jobs(w: World, launches: _Launches) -> Counter[str]:
    """Each Job, with its pod and logs, is there until its time has come, and gone soon after. Counts what was seen."""
    jobs, seen = _names(w, "jobs"), Counter[str]()
    pods = {pod["metadata"]["ownerReferences"][0]["name"] for pod in w.objects("pods")}
    for name in _names(w, "workflows"):
        for launch, is_past in launches.of(name):
            job, until, now = launch.job, _over_at(launch), w.clock()
            if launch.task.startswith("sub-"):
                continue  # a child stays as long as its parent
            if is_past and launch.end is LaunchEnd.STOPPED:
                continue  # it may have ended by itself at that moment, and is then kept as one that did
            if until is not None and now < until:
                assert job in jobs, f"{job} went too early"
                assert job in pods, f"the logs of {job} went too early"
                seen[f"{launch.end} is there"] += 1
            elif (until is not None and now > until + GRACE) or (
                launch.end is LaunchEnd.STOPPED and launch.ended_at is not None and now > launch.ended_at + GRACE
            ):
                assert job not in jobs, f"{job} is there too long"
                seen[f"{launch.end} is gone"] += 1
    return seen


def _check_owners(w: World) -> None:
    """Everything but Workflows and definitions has an owner that is there."""
    uids = {o["metadata"]["uid"] for kind in w.store.kinds for o in w.store.all(kind)}
    for kind in w.store.kinds:
        if kind.plural in {"events", "workflowdefinitions"}:
            continue
        for found in w.store.all(kind, NAMESPACE):
            owners = found["metadata"].get("ownerReferences", [])
            assert len(owners) == 1 or kind.plural == "workflows"
            assert all(owner["uid"] in uids for owner in owners), f"{kind.plural} {found['metadata']['name']}"


@simulated
async def test_two_hundred_mixed_workflows_leave_nothing() -> None:
    dice = random.Random(1)
    latency = random.Random(2)
    settings = Settings(history_tail_bytes=700)  # so that there are pages
    async with world(_act, latency=lambda: latency.uniform(0.0005, 0.02), settings=settings) as w:
        w.api.faults.add(Refuse(500), verb="delete", times=50, chance=0.2)
        w.api.faults.add(LoseAnswer(), verb="create", times=50, chance=0.05)
        w.api.faults.add(LoseAnswer(), verb="patch", times=50, chance=0.05)
        names = [f"{kind}-{n}" for n in range(MANY) for kind in [sorted(KINDS)[n % len(KINDS)]]]
        for n, name in enumerate(dice.sample(names, MANY)):
            _submit(w, name)
            await w.settle(dice.uniform(0, 0.3))
            if n % 50 == 25:
                await w.restart()  # in the middle of whatever it is
        assert [name for name in _names(w, "configmaps") if name.startswith("long-arguments")]
        launches, seen = _Launches(w), Counter[str]()
        while any(w.condition(name)["status"] == "Unknown" for name in names if _is_there(w, name)):
            seen += _check_jobs(w, launches)
            await w.settle(30)
        ends = Counter(w.reason(name) for name in names if _is_there(w, name))
        assert set(ends) == {"Completed", "Failed", "TimedOut", "InvalidCode", "Terminated"}
        assert sum(ends.values()) == MANY - sum(
            _kind(name).endswith("deleted") and _kind(name) != "job-deleted" for name in names
        )
        assert sum("-sub-" in name for name in _names(w, "workflows")) > 40
        assert {"jobs", "pods", "configmaps", "historypages", "workflows"} <= set(w.left())
        for _ in range(14):  # until the last failed Job's time is over
            _check_owners(w)
            seen += _check_jobs(w, launches)
            await w.settle(60)
        for end in (LaunchEnd.SUCCEEDED, LaunchEnd.FAILED):
            assert seen[f"{end} is there"] > 100
            assert seen[f"{end} is gone"] > 100
        assert seen[f"{LaunchEnd.STOPPED} is gone"] > 100
        assert set(w.left()) == {"configmaps", "historypages", "workflows"}  # what a history is made of
        assert not [
            name for name in _names(w, "configmaps") if name.startswith("long-arguments")
        ]  # went with their Jobs
        await w.settle(TTL_S)
        assert w.left() == Counter()
        _check_memory(w)


def _is_there(w: World, name: str) -> bool:
    try:
        w.body(name)
    except Refusal:
        return False
    return True


def _check_memory(w: World) -> None:
    """The operator remembers nothing of workflows that are gone."""
    operator = w.operators[0].operator
    assert list(operator._workflows) == []
    assert list(operator._jobs.records) == list(operator._pods.records) == []
    assert (operator._queue.depth, operator._queue.later) == (0, 0)


@simulated
async def test_a_workflow_deleted_in_the_middle_of_a_pass_leaves_nothing() -> None:
    """What is made for a Workflow that goes at the same time goes with it, at whatever instant that is."""
    for tenth in range(30):
        async with world(long, latency=lambda: 0.03, settings=Settings(history_tail_bytes=256)) as w:
            w.submit(AGAIN, LOGGED)
            await w.settle(tenth / 10)
            w.delete("workflows", "w")
            await w.settle(30)
            assert w.left() == Counter()
            _check_memory(w)


@simulated
async def test_what_a_restarted_workflow_owns_does_not_grow() -> None:
    """Of older runs the last one's is there, at most, and Jobs with their values for as long as they are kept."""
    source = AGAIN.replace("n < 4", "n < 30")
    async with world(long, settings=Settings(history_tail_bytes=700)) as w:
        await w.settle(LATE_S)
        w.submit(source, LOGGED, jobs={"keepSucceededSeconds": 5})
        most = Counter[str]()
        while w.condition()["status"] == "Unknown":
            most |= w.left()
            await w.settle(0.5)
        assert w.status()["run"] == 31
        assert most["configmaps"] <= 2 * 3 + most["jobs"]
        assert most["historypages"] <= 2 * 3
        assert most["jobs"] <= 30  # of 93
