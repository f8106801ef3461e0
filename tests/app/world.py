"""The whole operator in one process, in virtual time, over the fake API server; and everything around it.

    test ──▶ World ──▶ Store ◀── Kubelet (Job controller and kubelet)
                         ▲
                         └── Line (a client with latency, that can be cut) ◀── Operator ──▶ replay, in this process

Only the outermost parts are stand-ins: the transport, the host (a watch of our own kind), the decider's process.
"""

import asyncio
import json
import logging
import textwrap
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from flowy.replay.replayer import replay
from flowy.wire.messages import Answer, Request
from flowy_operator.adapters.lease.errors import LeaseLost
from flowy_operator.adapters.lease.record import SHARDS_ANNOTATION
from flowy_operator.app.leadership import lease_name
from flowy_operator.app.settings import Settings
from flowy_operator.core.errors import DecisionStalled, StallReason
from flowy_operator.core.history import Event, parse_history
from flowy_operator.core.pages import join
from flowy_operator.core.share import Share
from tests.app.kubelet import Activity, Kubelet, value
from tests.app.running import Running
from tests.fakes.api import Api
from tests.fakes.clock import VirtualLoop, run_virtual
from tests.fakes.store import DEFINITIONS, WORKFLOWS, Json, Refusal, Store

NAMESPACE = "ns"

START = datetime(2026, 1, 1, 12, 0, 0, 417, tzinfo=UTC)
"""Not on a millisecond: the history has no finer times, the operator's clock has."""

T = TypeVar("T")


class InProcess:
    """Decides in this process. `stalls` are spent first; `requests` are all that were answered."""

    def __init__(self, latency: Callable[[], float]) -> None:
        self.stalls: list[DecisionStalled] = []
        self.requests: list[Request] = []
        self.answers: list[Answer] = []
        self.asked_at: list[float] = []
        self._latency = latency

    def stall(self, times: int, reason: StallReason = StallReason.TIMEOUT) -> None:
        self.stalls += [DecisionStalled(reason, "the code thought for too long")] * times

    async def decide(self, request: Request, *, namespace: str, wall_s: float) -> Answer:
        assert namespace
        self.asked_at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self._latency())
        if self.stalls:
            raise self.stalls.pop(0)
        self.requests.append(request)
        self.answers.append(replay(request))
        return self.answers[-1]


class World:
    """A cluster with operators. Time starts at START and is the loop's."""

    def __init__(
        self,
        activity: Activity,
        *,
        latency: Callable[[], float] = lambda: 0.001,
        settings: Settings = Settings(),
        shards: int = 1,
    ) -> None:
        self.skew = timedelta()
        """Added to everybody's clock: how long all of them have slept."""
        self.store = Store(now=self.clock)
        self.api = Api(self.store)
        self.latency = latency
        self.settings = settings
        self.shards = shards
        """To operators that begin from now on."""
        self.kubelet = Kubelet(self.store, activity, self.clock, self.api.logs)
        self.decider = InProcess(latency)
        self.operators: list[Running] = []
        self.ended_with: list[Callable[[Running], None]] = []
        """Told of each operator that was killed."""
        self.one_ended = asyncio.Event()
        """Set when an operator has ended, however that was."""
        self._news = asyncio.Event()
        self.store.news.append(self._news.set)
        self._chronicles: dict[str, list[Json]] = {}
        self.torn: list[str] = []
        """Where a history wasn't append-only, or lost events that were in no page."""
        self.store.news.append(self._chronicle)
        self.unfenced: list[str] = []
        """Writes of those who didn't lead."""
        self._lives = 0

    # -- time ---------------------------------------------------------------------------------------------------------

    def clock(self) -> datetime:
        return START + timedelta(seconds=asyncio.get_running_loop().time()) + self.skew

    async def until(self, is_so: Callable[[], bool], *, within_s: float = 3600.0) -> None:
        async with asyncio.timeout(within_s):
            while not is_so():
                self._news.clear()
                await self._news.wait()

    async def settle(self, seconds: float = 5.0) -> None:
        """Let time pass: long enough for what is under way, or for as long as a test wants nothing to happen."""
        await asyncio.sleep(seconds)

    async def ended(self, name: str = "w", *, within_s: float = 3600.0) -> Json:
        """Wait for the workflow's end. Returns its status."""
        await self.until(lambda: self.condition(name)["status"] != "Unknown", within_s=within_s)
        return self.status(name)

    # -- operators ----------------------------------------------------------------------------------------------------

    def start(self, shards: int | None = None, name: str = "operator", pod: str | None = None) -> Running:
        """One more operator process, with an empty memory; to it there are as many shards as to the world, if not said."""
        self._lives += 1
        running = Running(self, name, self._lives, self.shards if shards is None else shards, pod)
        running.task.add_done_callback(lambda _: self.one_ended.set())
        self.operators.append(running)
        return running

    def holder(self, shard: int = 0) -> str | None:
        """Who is on record as the leader of a shard."""
        found: str | None = self._lease(shard).get("spec", {}).get("holderIdentity")
        return found

    def told_shards(self) -> int:
        """How many there are by what is on record; 0 while it changes."""
        return int(self._lease(0).get("metadata", {}).get("annotations", {}).get(SHARDS_ANNOTATION, "1"))

    def _lease(self, shard: int) -> Json:
        name = lease_name(self.settings.lease_name, shard)
        return next((lease for lease in self.objects("leases") if lease["metadata"]["name"] == name), {})

    def check_fence(self, share: Share, writer: str) -> None:
        """Note a write of one who doesn't lead, or isn't one of as many as there are."""
        holder, there_are = self.holder(share.index), self.told_shards()
        if holder != writer:
            self.unfenced.append(f"{writer} has written of shard {share.index} while {holder} led")
        # While it changes, those who believed in the old number may not have heard of it yet.
        if there_are != share.count and (there_are or not share.index):
            self.unfenced.append(f"one of {share.count} shards has written while there were {there_are}")

    async def kill(self, running: Running | None = None) -> None:
        """End an operator between two instructions, as a power cut would."""
        gone = running or self.operators[-1]
        self.operators.remove(gone)
        if isinstance(asyncio.get_running_loop(), VirtualLoop):  # the benchmark of heartbeats runs in real time
            gone.thaw()
        if gone.candidate is not None:
            gone.cut()  # it has no time to give its leases back
        gone.task.cancel()
        with suppress(asyncio.CancelledError, LeaseLost):
            await gone.task
        for tell in self.ended_with:
            tell(gone)

    async def restart(self) -> Running:
        await self.kill()
        return self.start()

    # -- workflows ----------------------------------------------------------------------------------------------------

    def submit(
        self, source: str, *tasks: str | Mapping[str, Any], name: str = "w", entrypoint: str | None = None, **spec: Any
    ) -> Json:
        """Create a Workflow; a task is its name or its whole spec but for the image. Fields of `spec` are camelCase."""
        body = {"metadata": {"name": name}, "spec": _content(source, tasks, entrypoint) | spec}
        return self.store.create(WORKFLOWS, NAMESPACE, body)

    def define(
        self,
        source: str,
        *tasks: str | Mapping[str, Any],
        name: str = "video-v1",
        entrypoint: str | None = None,
        **spec: Any,
    ) -> Json:
        """Create a WorkflowDefinition; see `submit`."""
        body = {"metadata": {"name": name}, "spec": _content(source, tasks, entrypoint) | spec}
        return self.store.create(DEFINITIONS, NAMESPACE, body)

    def undefine(self, name: str = "video-v1") -> None:
        self.store.delete(DEFINITIONS, NAMESPACE, name)

    def refer(self, definition: str = "video-v1", name: str = "w", **spec: Any) -> Json:
        """Create a Workflow of a definition."""
        body = {"metadata": {"name": name}, "spec": {"definitionRef": {"name": definition}, **spec}}
        return self.store.create(WORKFLOWS, NAMESPACE, body)

    def body(self, name: str = "w") -> Json:
        return self.store.get(WORKFLOWS, NAMESPACE, name)

    def edit(self, change: Callable[[Json], Any], name: str = "w") -> None:
        """Change a Workflow as a person would; `generation` follows the spec."""
        body = self.body(name)
        change(body)
        if body.get("status") != self.body(name).get("status"):
            self.store.edit("workflows", NAMESPACE, name, change)
        else:
            self.store.replace(WORKFLOWS, NAMESPACE, name, body)

    def status(self, name: str = "w") -> Json:
        """As it is stored: not to be changed."""
        try:
            return self.store.see(WORKFLOWS, NAMESPACE, name).get("status") or {}
        except Refusal:
            return {}

    def condition(self, name: str = "w", kind: str = "Succeeded") -> Json:
        found = [c for c in self.status(name).get("conditions", ()) if c["type"] == kind]
        return found[0] if found else {"status": "Unknown", "reason": None, "message": None}

    def reason(self, name: str = "w") -> str | None:
        reason: str | None = self.condition(name)["reason"]
        return reason

    def stalled(self, name: str = "w") -> str | None:
        """The reason of `Stalled` while it is true."""
        found = self.condition(name, "Stalled")
        return found["reason"] if found["status"] == "True" else None

    def result(self, name: str = "w") -> Any:
        return json.loads(self.status(name)["result"])

    def history(self, name: str = "w") -> list[Event]:
        """All events that ever stood in the status, of all runs."""
        return parse_history(self._chronicles[self.body(name)["metadata"]["uid"]])

    def readable(self, name: str = "w") -> list[Event]:
        """What is there now, for whoever reads: in pages and status, of the last run before this one too."""
        return join(self.pages(name), self.status(name))

    def pages(self, name: str = "w") -> list[Json]:
        """The HistoryPages of a Workflow, in their order."""
        uid = self.body(name)["metadata"]["uid"]
        pages = [page for page in self.objects("historypages") if page["spec"]["workflowUID"] == uid]
        return sorted(pages, key=lambda page: page["spec"]["first"])

    def _chronicle(self) -> None:
        change = self.store.log[-1]
        if change.kind is not WORKFLOWS or change.new is None:
            return
        status = change.new.get("status") or {}
        first, history = status.get("historyStart", 1), status.get("history", [])
        known = self._chronicles.setdefault(change.new["metadata"]["uid"], [])
        there = known[first - 1 :]
        if first > len(known) + 1 or history[: len(there)] != there:
            self.torn.append(f"version {change.version} begins with event {first}")
        known += history[len(there) :]

    def told(self, name: str = "w") -> list[str]:
        """The history in words: `TaskScheduled a-0`, attempts after the first as `#2`."""
        return [_words(event) for event in self.history(name)]

    def instants(self, name: str = "w") -> list[tuple[float, str]]:
        """`told`, with the seconds since START."""
        start = START.replace(microsecond=0)
        return [((event.time - start).total_seconds(), _words(event)) for event in self.history(name)]

    # -- objects ------------------------------------------------------------------------------------------------------

    def objects(self, plural: str) -> list[Json]:
        """As they are stored: not to be changed."""
        return self.store.seen(self.store.kind(plural), NAMESPACE)

    def left(self) -> Counter[str]:
        """How many objects of each kind there are, but what people make, and what isn't a workflow's."""
        others = {"events", "workflowdefinitions", "leases"}
        kinds = [kind for kind in self.store.kinds if kind.plural not in others]
        return Counter({kind.plural: count for kind in kinds if (count := len(self.store.seen(kind, NAMESPACE)))})

    def jobs(self) -> list[str]:
        """The tasks whose Jobs are there."""
        return sorted(job["metadata"].get("annotations", {}).get("flowy.dev/task", "?") for job in self.objects("jobs"))

    def job_of(self, task: str) -> str:
        """The name of the newest Job of a task."""
        jobs = [j for j in self.objects("jobs") if j["metadata"]["annotations"].get("flowy.dev/task") == task]
        return str(max(jobs, key=lambda j: int(j["metadata"]["uid"].replace("-", ""), 16))["metadata"]["name"])

    def delete(self, plural: str, name: str) -> None:
        self.store.delete(self.store.kind(plural), NAMESPACE, name)

    def events(self) -> list[tuple[str, str]]:
        """Kubernetes Events in their order."""
        ours = [e for e in self.objects("events") if e["involvedObject"]["kind"] == "Workflow"]
        found = sorted(ours, key=lambda e: int(e["metadata"]["resourceVersion"]))
        return [(e["reason"], e["message"]) for e in found]


def _content(source: str, tasks: Sequence[str | Mapping[str, Any]], entrypoint: str | None) -> Json:
    named = {} if entrypoint is None else {"entrypoint": entrypoint}
    return {"code": {"source": textwrap.dedent(source), **named}, "tasks": [_task(task) for task in tasks]}


def _task(task: str | Mapping[str, Any]) -> Json:
    given = {"name": task} if isinstance(task, str) else dict(task)
    return given if "workflow" in given else {"activity": {"image": "busybox"}, **given}


def _words(event: Event) -> str:
    fact: Any = event.fact
    words = [type(fact).__name__]
    if hasattr(fact, "task"):
        words.append(fact.task)
        if fact.attempt > 1:
            words.append(f"#{fact.attempt}")
    return " ".join(words)


def simulated(scenario: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test in virtual time."""

    def test() -> None:
        run_virtual(scenario())

    test.__name__ = scenario.__name__
    return test


class _Bugs(logging.Handler):
    """What the operator logs as an error is a bug of ours, whatever the test asks for."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(logging.Formatter().format(record))


@asynccontextmanager
async def world(
    activity: Activity = lambda call: value(None),
    *,
    latency: Callable[[], float] = lambda: 0.001,
    settings: Settings = Settings(),
    shards: int = 1,
) -> AsyncIterator[World]:
    """A world with one operator, which ends with the block."""
    made = World(activity, latency=latency, settings=settings, shards=shards)
    made.start()
    bugs = _Bugs()
    logging.getLogger().addHandler(bugs)
    try:
        yield made
        for running in made.operators:
            assert not running.task.done(), "the operator ended by itself"
        assert made.unfenced == []
        assert not bugs.found, bugs.found[0]
    finally:
        logging.getLogger().removeHandler(bugs)
        for running in list(made.operators):
            await made.kill(running)
