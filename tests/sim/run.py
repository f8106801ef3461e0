"""One simulated run: a workflow from its creation to its last trace, and what must hold at the end."""

import asyncio
import json
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from flowy.replay.replayer import replay
from flowy.wire.messages import Outcome
from flowy_operator.adapters.crd.spec import spec_or_reference
from flowy_operator.adapters.lease.errors import LeaseLost
from flowy_operator.app.settings import Settings
from flowy_operator.core.attempts import Caller
from flowy_operator.core.config_map import text_of
from flowy_operator.core.history import CancelReason, StopRequested, TaskCancelled, TaskScheduled
from flowy_operator.core.request import decision_request, value_refs
from flowy_operator.core.spec import WorkflowSpec
from tests.app.running import Running
from tests.app.world import NAMESPACE, World, world
from tests.fakes.clock import run_virtual
from tests.fakes.store import CONFIG_MAPS, WORKFLOWS, Json, Refusal
from tests.sim.scenario import Scenario
from tests.sim.troubles import GENTLE
from tests.sim.watch import Violation, Watch

DEFINITION = "video-v1"
BEAT_S = 1.5
ENDS_WITHIN_S = 7200.0
GOES_WITHIN_S = 840.0

PASSES = 30, 15, 40
"""At most: of a workflow, of each launch, of each trouble."""
WRITES = 20, 8, 12


@dataclass(frozen=True, slots=True)
class Report:
    """What a run has cost."""

    launches: int
    passes: int
    writes: int
    seconds: float
    """Of virtual time."""


class Run:
    def __init__(self, scenario: Scenario, made: World) -> None:
        self.scenario = scenario
        self.world = made
        self.stopped: list[str] = []
        self.deleted: set[str] = set()
        self.watch = Watch(made, self.deleted, scenario.latency_s)
        if scenario.children_expire:
            made.store.news.append(self._expire)
        self.passes = self.writes = 0

    def leader(self) -> Running | None:
        operators = self.world.operators
        return next((running for running in operators if running.leads), operators[0] if operators else None)

    def define(self) -> None:
        self.world.define(
            self.scenario.program.source, *self.scenario.tasks, name=DEFINITION, entrypoint=self.scenario.entrypoint
        )

    async def whole(self) -> Report:
        scenario, w = self.scenario, self.world
        w.api.faults.rules += [refusals.rule() for refusals in scenario.refusals]
        self.watch.was_troubled = bool(scenario.refusals)
        if scenario.elected:
            w.start()
        self._submit()
        others = [asyncio.create_task(self._trouble()), asyncio.create_task(self._supervise())]
        if "heartbeatSeconds" in scenario.timeouts:
            others.append(asyncio.create_task(self._beat()))
        try:
            await self._until(self._has_ended, ENDS_WITHIN_S + scenario.jumps_s, "the workflow doesn't end")
            self._check_end()
            await others[0]
            await self._until(
                lambda: w.left() == Counter(), GOES_WITHIN_S + scenario.jumps_s, "something is left behind"
            )
            for task in others:
                assert not task.done() or task.exception() is None, task
        finally:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        self._check_cost()
        return Report(self.watch.launches, self.passes, self.writes, asyncio.get_running_loop().time())

    def _submit(self) -> None:
        scenario = self.scenario
        own: dict[str, Any] = {"parallelism": scenario.parallelism, "ttlSecondsAfterFinished": scenario.ttl_s}
        if scenario.defined:
            self.define()
            self.world.refer(DEFINITION, **own)
        else:
            content: dict[str, Any] = {"onEnd": scenario.on_end, "jobs": dict(scenario.jobs)}
            self.world.submit(
                scenario.program.source, *scenario.tasks, entrypoint=scenario.entrypoint, **content, **own
            )

    def _expire(self) -> None:
        """Whoever made a rule for the whole cluster has every new sub-workflow deleted a second after its end."""
        change = self.world.store.log[-1]
        if change.kind is not WORKFLOWS or change.old is not None or change.new is None:
            return
        name = change.new["metadata"]["name"]

        def mutate(body: Json) -> None:
            body["spec"]["ttlSecondsAfterFinished"] = 1

        if name != "w":
            asyncio.get_running_loop().call_soon(self.world.edit, mutate, name)

    async def _until(self, is_so: Any, within_s: float, otherwise: str) -> None:
        def look() -> bool:
            if self.watch.violations:
                raise Violation(self.watch.violations[0])
            if self.world.torn:
                raise Violation(self.world.torn[0])
            if self.world.unfenced:
                raise Violation(self.world.unfenced[0])
            return bool(is_so())

        try:
            await self.world.until(look, within_s=within_s)
        except TimeoutError:
            raise Violation(f"{otherwise}: {dict(self.world.left())} {self.world.status()}") from None

    def _has_ended(self) -> bool:
        return bool(self.world.condition()["status"] != "Unknown")

    # -- what goes on beside it ---------------------------------------------------------------------------------------

    async def _trouble(self) -> None:
        clock = asyncio.get_running_loop().time
        for trouble in self.scenario.troubles:
            self.watch.calm_since = clock()
            await asyncio.sleep(trouble.after_s)
            if not isinstance(trouble, GENTLE):
                self.watch.calm_since, self.watch.was_troubled = None, True
            await trouble.strike(self)
        self.watch.calm_since = clock()

    async def _supervise(self) -> None:
        """Restarts what has ended, as a Deployment does."""
        while True:
            await self.world.one_ended.wait()
            self.world.one_ended.clear()
            await asyncio.sleep(1.0)
            await self.restart_ended()

    async def restart_ended(self) -> None:
        for running in list(self.world.operators):
            if running.task.done() and not running.stop.is_set():
                self.world.operators.remove(running)
                with suppress(LeaseLost):
                    await running.task
                self.count(running)
                self.world.start(running.shards)

    async def _beat(self) -> None:
        """Every container that runs says so, to whoever is there to hear it: nobody is ever timed out for silence."""
        while True:
            for pod in self.world.kubelet.running():
                caller = Caller(NAMESPACE, pod["metadata"]["name"], pod["metadata"]["uid"])
                for running in list(self.world.operators):
                    if running.leads and not running.is_frozen:
                        await running.desk.heartbeat(caller, '{"n": 1}')
            await asyncio.sleep(BEAT_S)

    # -- what must hold -----------------------------------------------------------------------------------------------

    def _check_end(self) -> None:
        w, status = self.world, self.world.status()
        reason, error = w.reason(), status.get("error", {})
        outcome, expected = self.scenario.program.oracle()
        found = w.result() if reason == "Completed" else (error.get("type"), error.get("message"))
        if outcome == "Failed" and reason == "Failed" and found[1] == expected[1]:
            pass  # of two that fail for the same, the first to end tells by which name
        elif (
            (reason, found) == (outcome, expected)
            or (self.stopped and reason in {"Cancelled", "Terminated"})
            or (self.deleted and reason == "Failed" and error.get("type") == "TaskCancelled")
        ):
            pass
        else:
            raise Violation(f"{reason} with {found!r}, and the sequential run is {outcome} with {expected!r}")
        if reason == "Cancelled" and not self.deleted:
            self._check_clean_up()
        there = w.readable()
        if there != w.history()[-len(there) :]:
            raise Violation("pages and status together aren't the history")
        if reason == "Completed":
            self._check_replay(found)

    def _check_clean_up(self) -> None:
        """The code learns of a stop at one moment, and what it does then isn't cancelled too."""
        events = self.world.history()
        told = [e for e in events if isinstance(e.fact, TaskCancelled) and e.fact.reason is CancelReason.STOP_REQUESTED]
        if len({event.time for event in told}) > 1 or (told and len(told) != told[-1].id - told[0].id + 1):
            raise Violation("the code was told of the stop more than once")
        after = events[told[-1].id :] if told else []
        for event in after:
            is_undone = isinstance(event.fact, TaskScheduled) and not event.fact.task.startswith("undo-")
            if is_undone or isinstance(event.fact, TaskCancelled):
                raise Violation(f"after the code was told of the stop: {event.fact}")

    def _check_replay(self, found: Any) -> None:
        """The history alone gives the result again, and asks for nothing more."""
        w = self.world
        body = w.body()
        state = self.watch.state(body["metadata"]["uid"])
        spec = spec_or_reference(body)
        if (
            state is None
            or not isinstance(spec, WorkflowSpec)
            or any(isinstance(e.fact, StopRequested) for e in w.history())
        ):
            return
        values = {}
        for ref in value_refs(state):
            try:
                text = text_of(w.store.see(CONFIG_MAPS, NAMESPACE, ref.name))
            except Refusal:
                raise Violation(f"the value {ref.name} is gone, and the history refers to it") from None
            assert text is not None
            values[ref.name] = text
        answer = replay(decision_request(spec, state, (), values))
        if answer.outcome is not Outcome.COMPLETED or json.loads(answer.result or "null") != found or answer.scheduled:
            raise Violation(f"replayed, the history gives {answer}")

    def _check_cost(self) -> None:
        for running in self.world.operators:
            self.count(running)
        launches, troubles = self.watch.launches, len(self.scenario.troubles) + len(self.scenario.refusals)
        for what, count, (base, of_launch, of_trouble) in (
            ("passes", self.passes, PASSES),
            ("writes", self.writes, WRITES),
        ):
            most = base + of_launch * launches + of_trouble * troubles
            if count > most:
                raise Violation(f"{count} {what} for {launches} launches and {troubles} troubles, at most {most}")

    def count(self, running: Running) -> None:
        self.passes += sum(operator._queue.taken for operator in running.operators)
        self.writes += sum(sum(line.writes.values()) for line in running.lines)


def run(scenario: Scenario) -> Report:
    """Raises Violation, or whatever the operator has raised."""
    random.seed(scenario.seed)  # for what spreads waits
    return run_virtual(_run(scenario))


@cache  # reading them from the environment takes as long as a dozen passes
def _settings(tail_bytes: int, *, elected: bool) -> Settings:
    election: dict[str, Any] = {"leader_election": True, "lease_namespace": NAMESPACE} if elected else {}
    return Settings(history_tail_bytes=tail_bytes, **election)


async def _run(scenario: Scenario) -> Report:
    dice = random.Random(f"{scenario.seed} latency")
    settings = _settings(scenario.tail_bytes, elected=scenario.elected)
    async with world(
        scenario.act,
        latency=lambda: dice.uniform(0.0005, scenario.latency_s),
        settings=settings,
        shards=scenario.shards if scenario.elected else 1,
    ) as w:
        loop = asyncio.get_running_loop()
        w.store.collects = lambda: loop.call_later(dice.uniform(0, 1), w.store.collect)
        simulated = Run(scenario, w)
        w.ended_with.append(simulated.count)
        report = await simulated.whole()
        await simulated.restart_ended()  # the world's end takes that for a fault
        return report
