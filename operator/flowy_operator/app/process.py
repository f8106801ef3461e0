"""One operator process, from its settings to its end: what reaches outside is made here, and the operator in its middle."""

import asyncio
import signal
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from flowy_operator.adapters.decider.frames import Strictness
from flowy_operator.adapters.decider.limits import MIB, Limits
from flowy_operator.adapters.decider.pool import DeciderPool
from flowy_operator.adapters.gateway.connections import Caps
from flowy_operator.adapters.gateway.server import Gateway, open_socket, own_url
from flowy_operator.adapters.gateway.tokens import Tokens
from flowy_operator.adapters.host import Changed, run_host
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.metrics import Metrics, Snapshot
from flowy_operator.adapters.probes import Probes
from flowy_operator.app.assembly import Operator
from flowy_operator.app.settings import Settings
from flowy_operator.core.job import TOKEN_AUDIENCE


class Health:
    """What this process needs to do its work, and how far it is with that."""

    def __init__(self) -> None:
        self.decider_is_proven = False
        self.served = asyncio.Event()  # the CRD of Workflows is there, and their watch has begun
        self.operator: Operator | None = None

    def checks(self) -> Mapping[str, bool]:
        caches = {} if self.operator is None else self.operator.checks()
        return {"decider": self.decider_is_proven, "workflows": self.served.is_set(), **caches}

    def snapshot(self) -> Snapshot:
        return Snapshot() if self.operator is None else self.operator.snapshot()


async def run_operator(settings: Settings) -> None:
    """Connect and run one operator until SIGTERM or SIGINT.

    Raises NoClusterError, GatewayError or ProbesError if a port is taken, or DecisionStalled if no decider starts.
    """
    health = Health()
    metrics = Metrics(health.snapshot)
    decider = DeciderPool(
        Limits(cpu_s=settings.decision_cpu_ms / 1000, memory_bytes=settings.decision_memory_mib * MIB),
        Strictness.INSECURE if settings.insecure_decider else Strictness.REQUIRED,
        socket_path=settings.decider_socket,
        shadow_share=settings.shadow_share,
        ended=metrics.decided,
    )
    probes = Probes(checks=health.checks, figures=metrics.text)
    async with (
        await KubeClient.connect(settings.kubeconfig, settings.context) as client,
        probes.serving(settings.health_port),
    ):
        listening = open_socket(settings.gateway_port)

        async def host(changed: Changed, stop: asyncio.Event) -> None:
            namespaces = settings.namespaces or None
            await run_host(
                client, changed, namespaces=namespaces, ready=health.served, stop=stop, signals=catch_signals
            )

        operator = health.operator = Operator(
            client,
            settings,
            host=host,
            decider=decider,
            metrics=metrics,
            clock=_utc_now,
            gateway_url=settings.gateway_url or own_url(client.configuration.host, listening.getsockname()[1]),
        )
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

        def catch_signals() -> None:
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, operator.stop)

        catch_signals()
        await decider.start()
        health.decider_is_proven = True
        try:
            async with gateway.serving(listening):
                await operator.run()
        finally:
            await decider.close()


def _utc_now() -> datetime:
    return datetime.now(UTC)
