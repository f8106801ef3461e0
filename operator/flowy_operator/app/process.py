"""One operator process, from its settings to its end: what reaches outside is made here, and the operator in its middle."""

import asyncio
import signal
import socket
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from flowy_operator.adapters.decider.frames import Strictness
from flowy_operator.adapters.decider.limits import MIB, Limits
from flowy_operator.adapters.decider.pool import DeciderPool
from flowy_operator.adapters.decider.verdict import End
from flowy_operator.adapters.gateway.connections import Caps
from flowy_operator.adapters.gateway.onward import Onward
from flowy_operator.adapters.gateway.server import Gateway, address, open_socket, own_url
from flowy_operator.adapters.gateway.tokens import Tokens
from flowy_operator.adapters.host import Changed, run_host
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.lease.hands import Hands
from flowy_operator.adapters.lease.lease import Lease
from flowy_operator.adapters.metrics import Metrics, Snapshot
from flowy_operator.adapters.probes import Probes
from flowy_operator.app.assembly import Operator
from flowy_operator.app.leadership import Badge, Candidate, identity_of, lead, lease_name
from flowy_operator.app.namespaces import tell_of_missing
from flowy_operator.app.settings import Pod, Settings
from flowy_operator.app.shards import Shards
from flowy_operator.core.job import TOKEN_AUDIENCE
from flowy_operator.core.share import Share


class Health:
    """What this process needs to do its work, and how far it is with that. `candidate` is None if it need not be elected."""

    def __init__(self, candidate: Candidate | None, shards: Shards) -> None:
        self.decider_is_proven = False
        self.served = asyncio.Event()  # the CRD of Workflows is there, and their watch has begun
        self._shards = shards
        self._candidate = candidate
        self.clients = [] if candidate is None else [candidate.client]
        """Those that reach the API server beside the operators' own."""

    def checks(self) -> Mapping[str, bool]:
        """A replica that waits is ready too: were it not, no roll-out of two would come to its end."""
        decider = {"decider": self.decider_is_proven}
        working = self._shards.checks()
        if working:
            return {**decider, "workflows": self.served.is_set(), **working}
        leases = () if self._candidate is None else self._candidate.leases
        return {**decider, "lease": bool(leases) and all(lease.is_known for lease in leases)}

    def snapshot(self) -> Snapshot:
        found = self._shards.snapshot()
        return replace(found, api_calls=sum((client.requests for client in self.clients), Counter(found.api_calls)))


async def run_operator(settings: Settings, pod: Pod | None) -> None:
    """Connect and run one operator until SIGTERM or SIGINT. `pod` is the one that it runs in, if it does and knows it.

    Raises NoClusterError, GatewayError or ProbesError if a port is taken, DecisionStalled if no decider starts, or LeaseLost.
    """
    # Before it leads: a port that is taken should be known at once, and so should a decider that can't start.
    with closing(open_socket(settings.gateway_port)) as listening:
        async with _candidate(settings, pod, listening.getsockname()[1]) as candidate:
            shards = Shards(() if candidate is None else candidate.leases)
            health = Health(candidate, shards)
            metrics = Metrics(health.snapshot, End)
            decider = DeciderPool(
                _limits(settings),
                Strictness.INSECURE if settings.insecure_decider else Strictness.REQUIRED,
                socket_path=settings.decider_socket,
                shadow_share=settings.shadow_share,
                ended=metrics.decided,
                stayed=metrics.stayed,
            )
            probes = Probes(checks=health.checks, figures=metrics.text)
            async with probes.serving(settings.health_port):
                stop = asyncio.Event()
                _catch_signals(stop)
                await decider.start()
                health.decider_is_proven = True
                process = _Process(settings, health, metrics, decider, shards, listening, stop)
                try:
                    await lead(candidate, stop, process.work)
                finally:
                    await decider.close()


def _limits(settings: Settings) -> Limits:
    limits = Limits(
        cpu_s=settings.decision_cpu_ms / 1000,
        memory_bytes=settings.decision_memory_mib * MIB,
        staying_children=settings.staying_children,
    )
    return limits.within(settings.decider_memory_mib * MIB) if settings.decider_memory_mib else limits


class _Process:
    """What all shards of this process share: settings, decider, figures, and the gateway, which is there as long as one of them."""

    def __init__(
        self,
        settings: Settings,
        health: Health,
        metrics: Metrics,
        decider: DeciderPool,
        shards: Shards,
        listening: socket.socket,
        stop: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._health = health
        self._metrics = metrics
        self._decider = decider
        self._shards = shards
        self._listening = listening
        self._stop = stop
        self._gateway = AsyncExitStack()
        self._gateway_is_open = False
        self._working = 0

    async def work(self, share: Share, lease: Lease | None, ended: asyncio.Event) -> None:
        """Be the operator of this shard, until `ended` is set."""
        settings = self._settings
        may_write = None if lease is None else lease.holds
        async with (
            self._behind_the_gateway(share),
            await KubeClient.connect(settings.kubeconfig, settings.context, may_write=may_write) as client,
        ):
            await tell_of_missing(client, settings.namespaces)

            async def host(changed: Changed, until: asyncio.Event) -> None:
                await run_host(
                    client,
                    changed,
                    namespaces=settings.namespaces or None,
                    ready=self._health.served,
                    stop=until,
                    signals=lambda: _catch_signals(self._stop),
                )

            port = self._listening.getsockname()[1]
            operator = Operator(
                client,
                settings,
                host=host,
                decider=self._decider,
                metrics=self._metrics,
                clock=_utc_now,
                gateway_url=settings.gateway_url or own_url(client.configuration.host, port),
                share=share,
            )
            with self._shards.looked_after(share, operator):
                await operator.run(ended)

    @asynccontextmanager
    async def _behind_the_gateway(self, share: Share) -> AsyncIterator[None]:
        """Opened by the first shard and closed by the last; of several, each may go before the others."""
        self._working += 1
        try:
            if not self._gateway_is_open:
                self._gateway_is_open = True
                await self._open_gateway(share.count)
            yield
        finally:
            self._working -= 1
            if not self._working:
                await self._gateway.aclose()

    async def _open_gateway(self, shards: int) -> None:
        enter, settings, desk = self._gateway.enter_async_context, self._settings, self._shards
        # A client of its own: whichever shard goes, it stays.
        client = await enter(await KubeClient.connect(settings.kubeconfig, settings.context))
        self._health.clients.append(client)
        onward = None if shards == 1 else await enter(Onward(desk.elsewhere))
        gateway = Gateway(
            Tokens(client, audience=TOKEN_AUDIENCE, clock=_utc_now, knows=desk.knows, unheard=desk.unheard),
            desk,
            clock=time.monotonic,
            caps=Caps.of_this_process(),
            answered=self._metrics.answered,
            deaf=desk.deaf,
            onward=onward,
        )
        await enter(gateway.serving(self._listening))
        if shards > 1:
            await enter(_running(desk.mind_the_others()))


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()


@asynccontextmanager
async def _candidate(settings: Settings, pod: Pod | None, port: int) -> AsyncIterator[Candidate | None]:
    """Who may be elected, None if there is no election. `port` is the gateway's."""
    namespace = settings.lease_namespace
    if not settings.leader_election or namespace is None:
        yield None
        return
    async with await KubeClient.connect(
        settings.kubeconfig, settings.context, timeout_s=settings.lease_seconds
    ) as client:
        # One replica alone has nobody to be asked by.
        gateway = None if settings.shards == 1 else address(client.configuration.host, port)
        identity = identity_of(socket.gethostname() if pod is None else pod.name, uuid.uuid4().hex, gateway)
        hands = Hands()

        def lease(shard: int) -> Lease:
            return Lease(
                client,
                namespace=namespace,
                name=lease_name(settings.lease_name, shard),
                identity=identity,
                duration_s=settings.lease_seconds,
                clock=lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
                now=_utc_now,
                shards=settings.shards,
                first=settings.lease_name if shard else None,
                hands=hands,
            )

        leases = [lease(shard) for shard in range(settings.shards)]
        yield Candidate(client, leases, None if pod is None else Badge(client, pod))


def _catch_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


def _utc_now() -> datetime:
    return datetime.now(UTC)
