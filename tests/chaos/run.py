"""One run: work comes in, blows fall, everything comes to its end, and is judged."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import Json, KubeClient
from flowy_operator.adapters.kube.errors import ApiError, NotFound
from flowy_operator.core.history import HistoryInvalid
from tests.chaos import blows, etcd, verdict
from tests.chaos.fake_kubelet import FakeKubelet
from tests.chaos.observer import Observer
from tests.chaos.plan import Deed, Load, Plan
from tests.chaos.relay import Relay
from tests.chaos.replicas import Replicas, make_account
from tests.chaos.table import Row, Struck, rows
from tests.cluster.fake_nodes import Pods, fake_nodes
from tests.cluster.network import API_PORT, NODE_ADDRESS
from tests.e2e.kube import Kube
from tests.e2e.manifests import mount_folder

FAKE_NODES = 5
SALVO_GAP_S = 1.2
LEAST_GAP_S, MOST_GAP_S = 0.2, 1.5
LOOK_S = 0.2
PAUSE_S = 15.0
"""At most so long is waited for the next new pod."""

CLEAN_WITHIN_S = 90.0
SAY_S = 5.0
_KOPFS = "closing of asynchronous generator <async_generator object infinite_watch "
"""asyncio tells it at the exit of a process whose watch of kopf's hangs between two requests."""

_COLLECTIONS = (paths.workflows, paths.historypages, paths.jobs, paths.pods, paths.configmaps, paths.leases)


@dataclass(slots=True)
class Report:
    """`wrong` is empty for a run in which all held; `ran` is how many containers began."""

    wrong: list[str] = field(default_factory=list)
    ran: int = 0
    table: Sequence[Row] = ()
    facts: dict[str, str] = field(default_factory=dict)


class Run:
    """A plan as it is carried out. `say` gets a line for people now and then."""

    def __init__(self, plan: Plan, arena: blows.Arena, kubelet: FakeKubelet, observer: Observer, folder: Path) -> None:
        self._plan = plan
        self._arena = arena
        self._kubelet = kubelet
        self._observer = observer
        self._folder = folder
        self._created: list[Load] = []
        self._struck: list[Struck] = []
        self._deeds: list[asyncio.Task[None]] = []
        self._now = ""
        self._share = 0.0

    async def whole(self, say: Callable[[str], None]) -> Report:
        began = time.monotonic()
        telling = asyncio.create_task(self._tell(say, began))
        try:
            coming = asyncio.create_task(self._submit())
            await self._strike(began)
            self._now = "calm: waiting for the ends"
            await coming
            await asyncio.gather(*self._deeds)
            ends = await _until(self._all_ended, self._plan.size.ends_within_s)
            self._now = "judging"
            report = await self._judge()
            if not ends:
                report.wrong.insert(0, f"not all have ended {self._plan.size.ends_within_s:.0f} s after the last blow")
            if report.wrong:
                await self._keep_objects()
            self._now = "deleting everything"
            report.wrong += await self._clear()
            report.facts["minutes"] = f"{(time.monotonic() - began) / 60:.1f}"
            return report
        finally:
            telling.cancel()

    # -- what happens -------------------------------------------------------------------------------------------------

    async def _submit(self) -> None:
        namespace = self._arena.namespace
        for load in self._plan.loads:
            await _until(partial(self._is_due, load), self._plan.size.strike_s)
            manifest = json.loads(json.dumps(load.manifest))
            if load.scenario is None:
                for task in manifest["spec"]["tasks"]:
                    mount_folder(task, self._folder / "log", "/log")
            await blows.insist(self._arena.client, paths.workflows(namespace), manifest)
            self._created.append(load)
            if load.deed is not None:
                self._deeds.append(asyncio.create_task(self._do(load, load.deed)))

    def _is_due(self, load: Load) -> bool:
        return self._share >= load.at

    async def _do(self, load: Load, deed: Deed) -> None:
        await asyncio.sleep(load.deed_after_s)
        match deed:
            case Deed.DELETE:
                await self._insist(self._arena.client.delete, load)
            case Deed.SUSPEND:
                await self._set(load, "suspend", value=True)
                await asyncio.sleep(load.deed_lasts_s)
                await self._set(load, "suspend", value=False)
            case Deed.CANCEL | Deed.TERMINATE:
                await self._set(load, "stop", value=str(deed))

    async def _set(self, load: Load, name: str, *, value: object) -> None:
        patch = [{"op": "add", "path": f"/spec/{name}", "value": value}]
        await self._insist(lambda path: self._arena.client.json_patch(path, patch), load)

    async def _insist(self, call: Callable[[str], Any], load: Load) -> None:
        while True:
            try:
                await call(paths.workflows(self._arena.namespace, load.name))
            except NotFound:
                return
            except ApiError:
                await asyncio.sleep(0.2)
            else:
                return

    async def _strike(self, began: float) -> None:
        """Salvo after salvo, as soon as the one before seems to be recovered from; with shorter waits as time runs out."""
        dice = random.Random(f"{self._plan.seed} moments")
        for n, salvo in enumerate(self._plan.salvos, 1):
            started = counts_from = time.time()
            for blow in salvo:
                self._now = f"{n}/{len(self._plan.salvos)}: {blow}"
                counts_from = await blows.strike(blow, self._arena, dice)
                await asyncio.sleep(dice.uniform(0, SALVO_GAP_S) if len(salvo) > 1 else 0)
            self._struck.append(Struck(salvo, started, counts_from))
            self._share = n / len(self._plan.salvos)
            left_s = max(began + self._plan.size.strike_s - time.monotonic(), 0.0)
            most_s = min(PAUSE_S, 2 * left_s / (len(self._plan.salvos) - n + 1))
            await _until(partial(self._goes_on, time.time()), most_s)
            await asyncio.sleep(dice.uniform(LEAST_GAP_S, MOST_GAP_S))

    def _goes_on(self, since: float) -> bool:
        """Roughly, for the pace: times of creation have whole seconds. What is told in the end is exact."""
        return self._kubelet.youngest > since + 1

    def _all_ended(self) -> bool:
        """Of those that were created by hand, and of their children."""
        return all(load.deed is Deed.DELETE or self._has_ended(load.name) for load in self._created) and all(
            seen.has_ended or seen.is_gone for seen in self._observer.seen.values()
        )

    def _has_ended(self, name: str) -> bool:
        seen = self._observer.named(name)
        return seen is not None and seen.has_ended

    async def _tell(self, say: Callable[[str], None], began: float) -> None:
        while True:
            ended = sum(self._has_ended(load.name) for load in self._created)
            minutes, seconds = divmod(int(time.monotonic() - began), 60)
            say(
                f"{minutes:02}:{seconds:02}  {len(self._created)} of {len(self._plan.loads)} workflows created, {ended} ended, "
                f"{len(self._kubelet.started):,} fake containers, {self._arena.replicas.lives} operator lives; {self._now}"
            )
            await asyncio.sleep(SAY_S)

    # -- what must hold -----------------------------------------------------------------------------------------------

    async def _judge(self) -> Report:
        report = Report()
        namespace, client, observer = self._arena.namespace, self._arena.client, self._observer
        wrong = report.wrong
        wrong += observer.wrong
        wrong += filter(None, (verdict.outcome_of(load, observer.named(load.name)) for load in self._created))
        bodies, _ = await client.list(paths.workflows(namespace))
        pages, _ = await client.list(paths.historypages(namespace))
        histories: dict[str, list[verdict.Recorded]] = {}
        progress: dict[str, tuple[float, float]] = {}
        for seen in observer.seen.values():
            self._note(progress, verdict.recorded(seen.body, verdict.parsed(seen.events)))
        for body in bodies:
            name = body["metadata"]["name"]
            try:
                histories[name] = list(verdict.recorded(body, verdict.whole_history(body, pages)))
            except HistoryInvalid as error:
                wrong.append(f"{name}: {error}")
                continue
            self._note(progress, histories[name])
        started = verdict.read_started(self._folder / "log")
        report.ran = len(started)
        children = frozenset(seen.name for seen in observer.seen.values())
        wrong += verdict.each_once(started, histories, children)
        report.table = rows(self._struck, list(progress.values()))
        report.facts = {
            "workflows": f"{len(self._created):,}",
            "of them on the real node": str(sum(load.scenario is None for load in self._created)),
            "sub-workflows": f"{len(observer.seen) - len(self._created):,}",
            "attempts that ran, each once": f"{len(started):,}",
            "operator processes": f"{self._arena.replicas.lives:,}",
            "of them ended by themselves, for want of the Lease or the API server": f"{self._arena.replicas.ends.total():,}",
        }
        if self._kubelet.doubled:
            report.facts["Jobs that Kubernetes gave a second pod"] = str(len(self._kubelet.doubled))
        for name, count in self._arena.ended.items():
            report.facts[f"{name} ended by itself"] = str(count)
        if self._arena.refused:
            report.facts["requests refused with 429"] = f"{self._arena.refused.total():,}"
        for deed in Deed:
            count = sum(load.deed is deed for load in self._created)
            report.facts[f"told: {deed}"] = str(count)
        return report

    def _note(self, progress: dict[str, tuple[float, float]], records: Any) -> None:
        for record in records:
            at = self._kubelet.started.get(record.started.job)
            if at is not None:
                progress[record.started.job] = (record.at, at)

    async def _clear(self) -> list[str]:
        """Delete all Workflows, and say what is left of them."""
        namespace, client = self._arena.namespace, self._arena.client
        bodies, _ = await client.list(paths.workflows(namespace))
        for body in bodies:
            await client.delete(paths.workflows(namespace, body["metadata"]["name"]))
        deadline = time.monotonic() + CLEAN_WITHIN_S
        while (left := await self._left()) and time.monotonic() < deadline:  # noqa: ASYNC110  as above
            await asyncio.sleep(0.5)
        if left:
            await self._keep_objects()
        return [f"left behind: {one}" for one in left]

    async def _left(self) -> list[str]:
        found = []
        for collection in _COLLECTIONS:
            path = collection(self._arena.namespace)
            items, _ = await self._arena.client.list(path)
            kind = path.rpartition("/")[2]
            found += [f"{kind} {item['metadata']['name']}" for item in items]
        known = {"configmaps kube-root-ca.crt", "leases flowy-operator"}
        return [one for one in found if one not in known]

    async def _keep_objects(self) -> None:
        """For whoever looks into what went wrong."""
        objects: dict[str, list[Json]] = {}
        for collection in (*_COLLECTIONS, paths.events):
            path = collection(self._arena.namespace)
            objects[path.rpartition("/")[2]] = (await self._arena.client.list(path))[0]
        name = f"objects-{int(time.time())}.json"
        (self._folder / name).write_text(json.dumps(objects, indent=1))


async def _until(holds: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not holds() and time.monotonic() < deadline:  # noqa: ASYNC110  what is waited for is the cluster's
        await asyncio.sleep(LOOK_S)
    return holds()


def check_logs(replicas: Replicas) -> list[str]:
    """Tracebacks, and lines that say ERROR: our bugs. kopf's errors are about requests that it will send again."""
    found = []
    for process in replicas.processes:
        for line in process.lines():
            text = str(line.get("message", ""))
            is_ours = not str(line.get("logger", "")).startswith("kopf") and _KOPFS not in text
            if "traceback" in line and is_ours:
                found.append(f"{process.log.name}: {json.dumps(line)[:3000]}")
            elif line["level"] == "ERROR" and is_ours and not _is_expected(text):
                found.append(f"{process.log.name}: {text[:3000]}")
    return found


def _is_expected(text: str) -> bool:
    """An empty line or half of one, as of a process that was killed; and a sentence for a person, before an exit."""
    return not text.strip() or text.startswith(("{", "flowy-operator: "))


async def carry_out(plan: Plan, kube: Kube, folder: Path, say: Callable[[str], None]) -> Report:
    """The whole of it in a namespace that is there. What it leaves behind for people is in `folder`."""
    log = folder / "log"
    log.mkdir(parents=True)
    log.chmod(0o777)
    async with AsyncExitStack() as stack:
        stack.enter_context(fake_nodes(kube.kubeconfig, FAKE_NODES, Pods.UNTOUCHED))
        client = await stack.enter_async_context(await KubeClient.connect(str(kube.kubeconfig)))
        await blows.calm(client)
        if etcd.is_full():  # a run was killed that had filled it
            etcd.empty()
        relay = await stack.enter_async_context(Relay(NODE_ADDRESS, API_PORT))
        kubeconfig, token = make_account(kube, relay.port, folder)
        kubelet = FakeKubelet(client, kube.namespace, plan.scenarios, log / "fake")
        observer = Observer(client, kube.namespace, kubelet)
        replicas = Replicas(kubeconfig, kube.namespace, folder)
        arena = blows.Arena(client, kube.namespace, replicas, relay, token, asyncio.Lock())
        others = [kubelet.run(), observer.run(), replicas.supervise(), blows.keep_running(arena)]
        replicas.start()
        try:
            async with _beside(others):
                run = Run(plan, arena, kubelet, observer, folder)
                report = await run.whole(say)
        finally:
            codes = replicas.stop()
            with suppress(ApiError):
                await client.delete(f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{kube.namespace}")
    report.wrong += check_logs(replicas)
    if any(codes):
        report.wrong.append(f"told to stop, the operators ended with {codes}")
    return report


@asynccontextmanager
async def _beside(coroutines: Sequence[Any]) -> AsyncIterator[None]:
    """They run until left; one that fails is raised then."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
