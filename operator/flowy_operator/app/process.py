"""One operator process, from its settings to its end: what reaches outside is made here, and the operator in its middle."""

import asyncio
import signal
import socket
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

from flowy_operator.adapters.decider.frames import Strictness
from flowy_operator.adapters.decider.limits import MIB, Limits
from flowy_operator.adapters.decider.pool import DeciderPool
from flowy_operator.adapters.gateway.connections import Caps
from flowy_operator.adapters.gateway.server import Gateway, open_socket, own_url
from flowy_operator.adapters.gateway.tokens import Tokens
from flowy_operator.adapters.host import Changed, run_host
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.lease import Lease
from flowy_operator.adapters.metrics import Metrics, Snapshot
from flowy_operator.adapters.probes import Probes
from flowy_operator.app.assembly import Operator
from flowy_operator.app.leadership import Badge, Candidate, identity_of, lead
from flowy_operator.app.namespaces import tell_of_missing
from flowy_operator.app.settings import Pod, Settings
from flowy_operator.core.job import TOKEN_AUDIENCE


class Health:
    """What this process needs to do its work, and how far it is with that. `candidate` is None if it need not be elected."""

    def __init__(self, candidate: Candidate | None) -> None:
        self.decider_is_proven = False
        self.served = asyncio.Event()  # the CRD of Workflows is there, and their watch has begun
        self.operator: Operator | None = None
        self._candidate = candidate

    def checks(self) -> Mapping[str, bool]:
        """A replica that waits is ready too: were it not, no roll-out of two would come to its end."""
        decider = {"decider": self.decider_is_proven}
        if self.operator is not None:
            return {**decider, "workflows": self.served.is_set(), **self.operator.checks()}
        return {**decider, "lease": self._candidate is not None and self._candidate.lease.is_known}

    def snapshot(self) -> Snapshot:
        found = Snapshot() if self.operator is None else self.operator.snapshot()
        if self._candidate is None:
            return found
        calls = Counter(found.api_calls) + self._candidate.client.requests
        return replace(found, leads=self._candidate.lease.holds(), api_calls=calls)


async def run_operator(settings: Settings, pod: Pod | None) -> None:
    """Connect and run one operator until SIGTERM or SIGINT. `pod` is the one that it runs in, if it does and knows it.

    Raises NoClusterError, GatewayError or ProbesError if a port is taken, DecisionStalled if no decider starts, or LeaseLost.
    """
    async with _candidate(settings, pod) as candidate:
        health = Health(candidate)
        metrics = Metrics(health.snapshot)
        decider = DeciderPool(
            Limits(
                cpu_s=settings.decision_cpu_ms / 1000,
                memory_bytes=settings.decision_memory_mib * MIB,
                staying_children=settings.staying_children,
            ),
            Strictness.INSECURE if settings.insecure_decider else Strictness.REQUIRED,
            socket_path=settings.decider_socket,
            shadow_share=settings.shadow_share,
            ended=metrics.decided,
            stayed=metrics.stayed,
        )
        probes = Probes(checks=health.checks, figures=metrics.text)
        async with probes.serving(settings.health_port):
            # Before it leads: a port that is taken should be known at once, and so should a decider that can't start.
            listening = open_socket(settings.gateway_port)
            stop = asyncio.Event()
            _catch_signals(stop)
            await decider.start()
            health.decider_is_proven = True
            try:
                await lead(
                    candidate, stop, lambda: _work(settings, candidate, health, metrics, decider, listening, stop)
                )
            finally:
                await decider.close()


async def _work(
    settings: Settings,
    candidate: Candidate | None,
    health: Health,
    metrics: Metrics,
    decider: DeciderPool,
    listening: socket.socket,
    stop: asyncio.Event,
) -> None:
    """Be the operator, until `stop` is set."""
    may_write = None if candidate is None else candidate.lease.holds
    async with await KubeClient.connect(settings.kubeconfig, settings.context, may_write=may_write) as client:
        await tell_of_missing(client, settings.namespaces)

        async def host(changed: Changed, ended: asyncio.Event) -> None:
            await run_host(
                client,
                changed,
                namespaces=settings.namespaces or None,
                ready=health.served,
                stop=ended,
                signals=lambda: _catch_signals(stop),
            )

        operator = Operator(
            client,
            settings,
            host=host,
            decider=decider,
            metrics=metrics,
            clock=_utc_now,
            gateway_url=settings.gateway_url or own_url(client.configuration.host, listening.getsockname()[1]),
        )
        health.operator = operator
        attempts = operator.attempts
        tokens = Tokens(client, audience=TOKEN_AUDIENCE, clock=_utc_now, knows=attempts.knows, unheard=attempts.unheard)
        gateway = Gateway(
            tokens,
            attempts,
            clock=time.monotonic,
            caps=Caps.of_this_process(),
            answered=metrics.answered,
            deaf=operator.listening.begin,
        )
        async with gateway.serving(listening):
            await operator.run(stop)


@asynccontextmanager
async def _candidate(settings: Settings, pod: Pod | None) -> AsyncIterator[Candidate | None]:
    """Who may be elected, None if there is no election."""
    if not settings.leader_election or settings.lease_namespace is None:
        yield None
        return
    async with await KubeClient.connect(
        settings.kubeconfig, settings.context, timeout_s=settings.lease_seconds
    ) as client:
        lease = Lease(
            client,
            namespace=settings.lease_namespace,
            name=settings.lease_name,
            identity=identity_of(socket.gethostname() if pod is None else pod.name, uuid.uuid4().hex),
            duration_s=settings.lease_seconds,
            clock=lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
            now=_utc_now,
        )
        yield Candidate(client, lease, None if pod is None else Badge(client, pod))


def _catch_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


def _utc_now() -> datetime:
    return datetime.now(UTC)
