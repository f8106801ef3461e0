"""One run of each feature whose traces stand in histories."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flowy_operator.app.settings import Settings
from tests.app.kubelet import NEVER_ENDS, Act, Call, failure, printed, value
from tests.app.test_heartbeats import callers
from tests.app.world import World
from tests.fakes.faults import Refuse

CHAIN = """
def f(a, b):
    return lambda: b(a(1), a(2))
"""

CAUTIOUS = """
from flowy import TaskError, wait


def f(a, b):
    def workflow():
        try:
            wait(a(1))
        except TaskError as error:
            return [type(error).__name__, b("clean-up")]

    return workflow
"""

RACE = """
from flowy import first


def f(a, b):
    return lambda: first(a(1), b(2))
"""

LOST = """
def f(a, b):
    def workflow():
        a("nobody looks")
        return b(1)

    return workflow
"""

AGAIN = """
from flowy import restart


def f(a):
    return lambda n=2: restart(n - 1) if n and a(n) else a(n)
"""

WIDE = """
def f(a):
    return lambda: sum(a(n) for n in [a(n) for n in range(30)])
"""

HELD_BACK = """
from flowy import TaskCancelled, wait


def f(a, b):
    def workflow():
        found = []
        for call in [a(1), a(2)]:
            try:
                wait(call)
            except TaskCancelled as error:
                found.append(error.message)
        return [found, b("clean-up")]

    return workflow
"""

ABOVE = """
def f(child):
    return lambda: [child("x"), child("y")]


def g(a):
    return lambda word: a(word) + a("!")
"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """`then` is done a second after the start; `lasts_s` is when it is recorded, None at its end."""

    source: str
    tasks: tuple[str | Mapping[str, Any], ...]
    activity: Callable[[Call], Act]
    spec: Mapping[str, Any] = field(default_factory=dict)
    then: Callable[[World], Awaitable[None]] | None = None
    lasts_s: float | None = None
    settings: Settings = Settings()


def echo(call: Call) -> Act:
    return value([call.name, *call.args])


def _until(works: Callable[[Call], bool], before: Act) -> Callable[[Call], Act]:
    return lambda call: echo(call) if works(call) else before


def _edited(**fields: Any) -> Callable[[World], Awaitable[None]]:
    async def edit(world: World) -> None:
        world.edit(lambda body: body["spec"].update(fields))

    return edit


async def _paused(world: World) -> None:
    await _edited(suspend=True)(world)
    await world.settle(20)
    await _edited(suspend=False)(world)


async def _deleted(world: World) -> None:
    world.delete("jobs", world.job_of("a-0"))


def _retried(**fields: Any) -> Mapping[str, Any]:
    return {"name": "a", "retry": {"maxAttempts": 3, "when": ["Error", "Timeout"], "delaysSeconds": [5]}, **fields}


async def _reports(world: World) -> None:
    """Each pod of `a-0` beats every three seconds with what it has done."""
    for n in range(60):
        for caller in callers(world, "a-0")[-1:]:
            await world.operators[-1].operator.attempts.heartbeat(caller, f'{{"done":{n}}}')
        await asyncio.sleep(3)


def _in_three_ways(call: Call) -> Act:
    """An error, then a node that is drained, then no end."""
    match call.attempt, call.launch:
        case 1, _:
            details = '{"error": {"type": "Tired", "message": "no more", "details": {"left": [1, 2.0]}}}'
            return failure(details, 10, exit_code=4)
        case 2, 0:
            return Act(lasts_s=10, exit_code=137, disruption="TerminationByKubelet", said="low on memory")
        case 2, _:
            return NEVER_ENDS
        case _:
            return echo(call)


async def _cancelled_later(world: World) -> None:
    await world.settle(20)
    await _edited(stop="Cancel")(world)


async def _refused(world: World) -> None:
    world.api.faults.add(Refuse(422, "Invalid"), verb="create", resource="jobs")


async def _child_stopped(world: World) -> None:
    (child, *_) = [body["metadata"]["name"] for body in world.objects("workflows") if body["metadata"]["name"] != "w"]
    world.edit(lambda body: body["spec"].update(stop="Terminate"), child)


_ends_a_second_time = _until(lambda call: call.name != "a" or call.attempt > 1, NEVER_ENDS)
_a_never_ends = _until(lambda call: call.name != "a", NEVER_ENDS)

RUNS: Mapping[str, Run] = {
    "activities": Run(source=CHAIN, tasks=("a", "b"), activity=echo),
    "open": Run(source=CHAIN, tasks=("a", "b"), activity=_until(lambda c: c.args != [2], NEVER_ENDS), lasts_s=10),
    "retries": Run(
        source=CHAIN, tasks=(_retried(), "b"), activity=_until(lambda c: c.attempt > 1, failure("no", exit_code=3))
    ),
    "given-up": Run(source=CHAIN, tasks=(_retried(), "b"), activity=lambda call: failure("never", exit_code=3)),
    "start-to-close": Run(
        source=CHAIN, tasks=(_retried(timeouts={"startToCloseSeconds": 10}), "b"), activity=_ends_a_second_time
    ),
    "heartbeat": Run(
        source=CHAIN, tasks=(_retried(timeouts={"heartbeatSeconds": 10}), "b"), activity=_ends_a_second_time
    ),
    "schedule-to-start": Run(
        source=CAUTIOUS,
        tasks=({"name": "a", "timeouts": {"scheduleToStartSeconds": 10}}, "b"),
        activity=_until(lambda call: call.name != "a", Act(pending_s=None)),
    ),
    "schedule-to-close": Run(
        source=CAUTIOUS,
        tasks=(_retried(timeouts={"scheduleToCloseSeconds": 12}), "b"),
        activity=_until(lambda call: call.name != "a", failure("no", 5)),
    ),
    "reports-and-details": Run(
        source="def f(a):\n    return lambda: a(1)",
        tasks=(
            _retried(
                activity={"image": "busybox", "gateway": True},
                timeouts={"heartbeatSeconds": 30, "startToCloseSeconds": 60},
            ),
        ),
        activity=_in_three_ways,
        then=_reports,
    ),
    "refused": Run(
        source=CAUTIOUS,
        tasks=("a", "b"),
        activity=_until(lambda call: call.name != "a", failure("no", 5)),
        then=_refused,
    ),
    "stopped-with-calls-held-back": Run(
        source=HELD_BACK, tasks=("a", "b"), activity=_a_never_ends, spec={"parallelism": 1}, then=_edited(stop="Cancel")
    ),
    "stopped-in-a-later-attempt": Run(
        source=CAUTIOUS,
        tasks=(_retried(), "b"),
        activity=_until(lambda call: call.name != "a", failure("no", 8)),
        then=_cancelled_later,
    ),
    "stopped-child": Run(
        source=ABOVE,
        tasks=({"name": "child", "workflow": {"entrypoint": "g"}}, "a"),
        activity=lambda _: NEVER_ENDS,
        spec={"entrypoint": "f"},
        then=_child_stopped,
    ),
    "disrupted": Run(
        source=CHAIN,
        tasks=("a", "b"),
        activity=_until(lambda call: call.launch > 0, Act(exit_code=137, disruption="EvictionByEvictionAPI")),
    ),
    "cancel": Run(source=CAUTIOUS, tasks=("a", "b"), activity=_a_never_ends, then=_edited(stop="Cancel")),
    "terminate": Run(source=CAUTIOUS, tasks=("a", "b"), activity=_a_never_ends, then=_edited(stop="Terminate")),
    "deleted-job": Run(source=CAUTIOUS, tasks=("a", "b"), activity=_a_never_ends, then=_deleted),
    "suspended": Run(source=CHAIN, tasks=("a", "b"), activity=echo, then=_paused),
    "restart": Run(source=AGAIN, tasks=("a",), activity=echo),
    "pages": Run(
        source=WIDE,
        tasks=("a",),
        activity=lambda call: value(call.args[0]),
        spec={"parallelism": 7},
        settings=Settings(history_tail_bytes=4096),
    ),
    "parallelism": Run(source=CHAIN, tasks=("a", "b"), activity=echo, spec={"parallelism": 1}),
    "log-and-long-results": Run(
        source=CHAIN,
        tasks=({"name": "a", "activity": {"image": "busybox", "result": {"from": "Log"}}}, "b"),
        activity=lambda call: printed("x" * 5000) if call.name == "a" else value(len(call.args)),
    ),
    "ignored-error": Run(source=LOST, tasks=("a", "b"), activity=_until(lambda c: c.name == "b", failure("lost", 0.1))),
    "race": Run(source=RACE, tasks=("a", "b"), activity=_a_never_ends),
    "waits-at-the-end": Run(
        source=RACE, tasks=("a", "b"), activity=_until(lambda c: c.name == "b", value(1, 30)), spec={"onEnd": "Wait"}
    ),
    "abandons-at-the-end": Run(source=RACE, tasks=("a", "b"), activity=_a_never_ends, spec={"onEnd": "Abandon"}),
    "sub-workflows": Run(
        source=ABOVE,
        tasks=({"name": "child", "workflow": {"entrypoint": "g"}}, "a"),
        activity=lambda call: value(call.args[0]),
        spec={"entrypoint": "f"},
    ),
    "exact-input": Run(
        source="def f(a):\n    return lambda x, *, y: a(x, y)",
        tasks=("a",),
        activity=echo,
        spec={"input": {"json": '{"args": [1.0], "kwargs": {"y": null}}'}},
    ),
}
