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
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from flowy.replay.replayer import replay
from flowy.wire.messages import Answer, Request
from flowy_operator.adapters.host import Changed
from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import WatchEvent
from flowy_operator.adapters.kube.errors import ApiError, Unreachable
from flowy_operator.adapters.kube.paths import resource_of
from flowy_operator.adapters.lease import Lease, LeaseLost
from flowy_operator.adapters.metrics import Metrics, Snapshot
from flowy_operator.app.assembly import Operator
from flowy_operator.app.leadership import Candidate, identity_of, lead
from flowy_operator.app.settings import Settings
from flowy_operator.core.errors import DecisionStalled, StallReason
from flowy_operator.core.history import Event, parse_history
from flowy_operator.core.key import Key
from flowy_operator.core.pages import join
from tests.app.kubelet import Activity, Kubelet, value
from tests.fakes.api import Api
from tests.fakes.client import LocalClient
from tests.fakes.clock import PROCESS, VirtualLoop, run_virtual
from tests.fakes.store import DEFINITIONS, WORKFLOWS, Json, Refusal, Store

NAMESPACE = "ns"
GATEWAY_URL = "http://gateway:8082"

START = datetime(2026, 1, 1, 12, 0, 0, 417, tzinfo=UTC)
"""Not on a millisecond: the history has no finer times, the operator's clock has."""

WRITES = {"create", "patch", "delete"}
REWATCH_S = 0.5

T = TypeVar("T")


class Line(LocalClient):
    """One operator's way to the API server: `latency` gives the seconds that a request, an answer, an event takes."""

    def __init__(self, api: Api, latency: Callable[[], float], may_write: Callable[[], bool] | None = None) -> None:
        super().__init__(api, may_write)
        self._latency = latency
        self.is_cut = False
        """Nothing gets through, in either direction, until an operator that knows nothing of it gives up."""
        self.wrote: Callable[[], None] = lambda: None
        """Called at the moment when a write is applied."""
        self.writes_left: int | None = None
        """The operator dies at the write after so many; before it is applied, or after it: `dies_after`."""
        self.dies_after = False
        self.dead = asyncio.Event()
        self.is_deaf = False
        """What is sent arrives, and nothing comes back."""
        self.delay_s = 0.0
        """Added to each way."""
        self.held_until: dict[str, float] = {}
        """Until when, by the loop's clock, nothing arrives that happens to a resource."""
        self.goes_back: dict[str, int] = {}
        """By so many versions the next watch of a resource begins too early: what is known is told again."""
        self.skew = timedelta()
        """By so much its machine's clock differs from all others."""

    @property
    def writes(self) -> dict[tuple[str, str], int]:
        """What was written, Events apart: how often, by (verb, resource)."""
        counts: dict[tuple[str, str], int] = {}
        for (verb, resource, code), count in self.requests.items():
            if verb in WRITES and resource != "events" and 0 < code < 400:
                counts[verb, resource] = counts.get((verb, resource), 0) + count
        return counts

    async def watch(
        self,
        path: str,
        *,
        resource_version: str,
        label_selector: str | None = None,
        field_selector: str | None = None,
        timeout_s: int = 300,
    ) -> AsyncGenerator[WatchEvent, None]:
        resource = resource_of(path)
        version, back = int(resource_version), self.goes_back.pop(resource, 0)
        if version >= self._local.store.floor:
            version = max(version - back, self._local.store.floor)
        stream = super().watch(
            path,
            resource_version=str(version),
            label_selector=label_selector,
            field_selector=field_selector,
            timeout_s=timeout_s,
        )
        clock, read_at = asyncio.get_running_loop().time, -1.0
        async with aclosing(stream) as events:
            async for event in events:
                if clock() > read_at:  # what happened together arrives together, in one read
                    held_s = self.held_until.get(resource, 0.0) - clock()
                    await asyncio.sleep(self._latency() + self.delay_s + max(held_s, 0.0))
                    read_at = clock()
                self._pass()
                self._hear()
                yield event

    async def get_end(self, path: str, *, query: Mapping[str, str], most_bytes: int) -> tuple[bytes, int]:
        await asyncio.sleep(self._latency() + self.delay_s)
        found = await super().get_end(path, query=query, most_bytes=most_bytes)
        await asyncio.sleep(self._latency() + self.delay_s)
        return found

    async def _call(self, verb: str, *args: Any, **options: Any) -> Json:
        is_last = False
        if verb in WRITES and self.writes_left is not None:
            is_last = self.writes_left == 0
            self.writes_left -= 1
            if is_last and not self.dies_after:
                await self._die()
        clock, takes_s = asyncio.get_running_loop().time, self._latency() + self.delay_s
        sent_at = clock()
        await asyncio.sleep(takes_s)
        was_frozen = clock() - sent_at > takes_s + 0.01
        self._pass()
        try:
            answer = await super()._call(verb, *args, **options)
            if (
                verb in WRITES and not was_frozen
            ):  # else it was on its way while it still led: no lease helps against that
                self.wrote()
            self._pass()
            self._hear()
            return answer
        finally:
            if is_last:
                await self._die()
            await asyncio.sleep(self._latency() + self.delay_s)

    def _pass(self) -> None:
        if self.is_cut:
            raise Unreachable("the network is away")

    def _hear(self) -> None:
        if self.is_deaf:
            raise Unreachable("nothing comes back")

    async def _die(self) -> None:
        self.dead.set()
        await asyncio.get_running_loop().create_future()


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


class Running:
    """One operator process. `candidate` is None where there is no election."""

    def __init__(self, line: Line, operator: Operator, metrics: Metrics, candidate: Candidate | None) -> None:
        self.line = line
        self.metrics = metrics
        self.operator = operator
        self.candidate = candidate
        self.stop = asyncio.Event()
        """As SIGTERM would."""
        context = copy_context()
        context.run(PROCESS.set, self)
        leading = lead(candidate, self.stop, lambda: operator.run(self.stop))
        self.task = asyncio.create_task(leading, context=context)

    @property
    def leads(self) -> bool:
        return self.candidate is None or self.candidate.lease.holds()

    def freeze(self) -> None:
        """Stop the process, as SIGSTOP would."""
        _loop().freeze(self)

    def thaw(self) -> None:
        _loop().thaw(self)

    @property
    def is_frozen(self) -> bool:
        return _loop().is_frozen(self)

    def cut(self) -> None:
        """Cut it off from the API server."""
        self.line.is_cut = True
        if self.candidate is not None:
            assert isinstance(self.candidate.client, Line)
            self.candidate.client.is_cut = True


def _loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


class World:
    """A cluster with operators. Time starts at START and is the loop's."""

    def __init__(
        self, activity: Activity, *, latency: Callable[[], float] = lambda: 0.001, settings: Settings = Settings()
    ) -> None:
        self.skew = timedelta()
        """Added to everybody's clock: how long all of them have slept."""
        self.store = Store(now=self.clock)
        self.api = Api(self.store)
        self.latency = latency
        self.settings = settings
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

    def start(self) -> Running:
        """One more operator, with an empty memory. If there is an election, it first waits for the lease."""
        candidate = self._candidate() if self.settings.leader_election else None
        line = Line(self.api, self.latency, None if candidate is None else candidate.lease.holds)
        if candidate is not None:
            line.wrote = lambda: self._check_fence(candidate.lease.identity)

        def look() -> Snapshot:
            return operator.snapshot()

        metrics = Metrics(look)
        operator = Operator(
            line,
            self.settings,
            host=host(line),
            decider=self.decider,
            metrics=metrics,
            clock=lambda: self.clock() + line.skew,
            gateway_url=GATEWAY_URL,
        )
        running = Running(line, operator, metrics, candidate)
        running.task.add_done_callback(lambda _: self.one_ended.set())
        self.operators.append(running)
        return running

    def _candidate(self) -> Candidate:
        self._lives += 1
        own = Line(self.api, self.latency)
        lease = Lease(
            own,
            namespace=NAMESPACE,
            name=self.settings.lease_name,
            identity=identity_of("operator", str(self._lives)),
            duration_s=self.settings.lease_seconds,
            clock=asyncio.get_running_loop().time,
            now=self.clock,
        )
        return Candidate(own, lease, None)

    def holder(self) -> str | None:
        """Who is on record as the leader."""
        leases = self.objects("leases")
        return leases[0]["spec"].get("holderIdentity") if leases else None

    def _check_fence(self, writer: str) -> None:
        if self.holder() != writer:
            self.unfenced.append(f"{writer} has written while {self.holder()} led")

    async def kill(self, running: Running | None = None) -> None:
        """End an operator between two instructions, as a power cut would."""
        gone = running or self.operators[-1]
        self.operators.remove(gone)
        if isinstance(asyncio.get_running_loop(), VirtualLoop):  # the benchmark of heartbeats runs in real time
            gone.thaw()
        if gone.candidate is not None:
            gone.cut()  # it has no time to give the lease back
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


def host(line: Line) -> Callable[[Changed, asyncio.Event], Coroutine[Any, Any, None]]:
    """A watch of Workflows as kopf does it: no word of what was deleted while nobody watched."""

    async def watch(changed: Changed, stop: asyncio.Event) -> None:
        following = asyncio.create_task(_follow(line, changed))
        await stop.wait()
        following.cancel()

    return watch


async def _follow(line: Line, changed: Changed) -> None:
    while True:
        with suppress(ApiError):
            items, version = await line.list(paths.workflows())
            for item in items:
                changed(_key(item), item["metadata"]["uid"], item)
            async with aclosing(line.watch(paths.workflows(), resource_version=version)) as events:
                async for event in events:
                    if event.type != "BOOKMARK":
                        body = event.object
                        changed(_key(body), body["metadata"]["uid"], None if event.type == "DELETED" else body)
        await asyncio.sleep(REWATCH_S)


def _key(body: Json) -> Key:
    return Key(body["metadata"]["namespace"], body["metadata"]["name"])


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
) -> AsyncIterator[World]:
    """A world with one operator, which ends with the block."""
    made = World(activity, latency=latency, settings=settings)
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
