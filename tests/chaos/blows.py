"""What each blow does, from its beginning to its end.

Storms of 429 are the API server's own: the operators' user gets a priority level that has a single seat, the least there is,
and somebody sits on it: a request whose body doesn't come. A proxy that answers in its place was the other way; it would
have to get right which requests are refused, in what words, and with what Retry-After, and then it is only a fake of what
is already here.
"""

import asyncio
import random
import signal
import ssl
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import AlreadyExists, ApiError, BadRequest, Invalid
from tests.chaos import etcd
from tests.chaos.plan import FROZEN_S, OUTAGE_S, Blow
from tests.chaos.relay import Relay
from tests.chaos.replicas import Replicas, user_of
from tests.cluster import certificates, cluster, network, processes
from tests.cluster.components import API_CLIENTS

_FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"
STORM = "flowy-chaos"


@dataclass(frozen=True, slots=True)
class Arena:
    """All that can be hit."""

    client: KubeClient
    namespace: str
    replicas: Replicas
    relay: Relay
    token: str
    parts: asyncio.Lock
    """Held by whoever ends or starts a part of the control plane."""
    refused: Counter[str] = field(default_factory=Counter)
    """How many requests the API server has refused in storms."""
    ended: Counter[str] = field(default_factory=Counter)
    """Parts of the control plane that ended by themselves."""


async def strike(blow: Blow, arena: Arena, dice: random.Random) -> float:
    """Do it. Returns when it was over, in seconds since 1970: from then on the time of recovery counts."""
    replicas = arena.replicas
    match blow:
        case Blow.LEADER_KILLED:
            replicas.kill(await replicas.leader() or dice.choice(replicas.processes))
        case Blow.OTHER_KILLED:
            leader = await replicas.leader()
            replicas.kill(next(process for process in replicas.processes if process is not leader))
        case Blow.BOTH_KILLED:
            for process in replicas.processes:
                replicas.kill(process)
        case Blow.API_SERVER_KILLED:
            await _killed(arena, "kube-apiserver")
        case Blow.ETCD_KILLED:
            await _killed(arena, "etcd")
        case Blow.CONTROLLERS_KILLED:
            await _killed(arena, "kube-controller-manager")
        case Blow.WATCHES_CUT:
            arena.relay.cut()
        case Blow.STORM | Blow.STORM_OF_OBJECTS:
            await _storm(arena, blow)
        case Blow.ETCD_FULL:
            async with arena.parts:
                try:
                    await asyncio.to_thread(etcd.fill)
                    await asyncio.sleep(OUTAGE_S)
                finally:
                    await asyncio.to_thread(etcd.empty)
        case Blow.FROZEN:
            return await _frozen(replicas, dice)
    return time.time()


async def _killed(arena: Arena, component: str) -> None:
    async with arena.parts:
        await asyncio.to_thread(cluster.kill, component)
        await asyncio.to_thread(cluster.start, component)


async def keep_running(arena: Arena) -> None:
    """Start again what has ended by itself, as every cluster does: the controller manager is one that gives up."""
    while True:
        async with arena.parts:
            for name in API_CLIENTS:
                if processes.find(name) is None:
                    arena.ended[name] += 1
                    await asyncio.to_thread(cluster.start, name)
        await asyncio.sleep(1)


async def _frozen(replicas: Replicas, dice: random.Random) -> float:
    """Here the time counts from the beginning: what matters is how soon the other one goes on."""
    began = time.time()
    process = await replicas.leader() or dice.choice(replicas.processes)
    process.send(signal.SIGSTOP)
    try:
        await asyncio.sleep(FROZEN_S)
    finally:
        process.send(signal.SIGCONT)
    return began


async def _storm(arena: Arena, blow: Blow) -> None:
    level = {
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "PriorityLevelConfiguration",
        "metadata": {"name": STORM},
        "spec": {
            "type": "Limited",
            "limited": {
                "nominalConcurrencyShares": 0,
                "borrowingLimitPercent": 0,
                "limitResponse": {"type": "Reject"},
            },
        },
    }
    deadline = time.monotonic() + OUTAGE_S
    try:
        await insist(arena.client, f"{_FLOW}/prioritylevelconfigurations", level)
        await insist(arena.client, f"{_FLOW}/flowschemas", _schema(arena.namespace, blow))
        while time.monotonic() < deadline:
            await _sit(arena, deadline - time.monotonic())
        arena.refused[blow] += await _refused(arena.client)
    finally:
        await calm(arena.client)


async def _sit(arena: Arena, most_s: float) -> None:
    """Take the seat, and keep it; back at once if it is taken."""
    context = ssl.create_default_context(cafile=str(certificates.CA))
    reader, writer = await asyncio.open_connection(network.NODE_ADDRESS, network.API_PORT, ssl=context)
    try:
        writer.write(
            f"POST /api/v1/namespaces/{arena.namespace}/configmaps HTTP/1.1\r\nHost: {network.NODE_ADDRESS}\r\n"
            f"Authorization: Bearer {arena.token}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n".encode()
        )
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(most_s):
                await reader.read(1)  # whatever it is, it is the end of sitting
    finally:
        writer.transport.abort()
    await asyncio.sleep(0.01)


async def _refused(client: KubeClient) -> int:
    """The API server's own count, since its start."""
    text = b"".join([block async for block in client.stream("/metrics", query={})]).decode()
    name = "apiserver_flowcontrol_rejected_requests_total"
    lines = (line for line in text.splitlines() if line.startswith(name) and f'"{STORM}"' in line)
    return sum(int(float(line.rpartition(" ")[2])) for line in lines)


def _schema(namespace: str, blow: Blow) -> dict[str, Any]:
    groups = ["*"] if blow is Blow.STORM else ["", "batch", "flowy.dev"]
    account = {"namespace": namespace, "name": user_of(namespace).rpartition(":")[2]}
    objects = {"verbs": ["*"], "apiGroups": groups, "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
    return {
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "FlowSchema",
        "metadata": {"name": STORM},
        "spec": {
            "priorityLevelConfiguration": {"name": STORM},
            "matchingPrecedence": 2,
            "rules": [
                {
                    "subjects": [{"kind": "ServiceAccount", "serviceAccount": account}],
                    "resourceRules": [objects],
                }
            ],
        },
    }


async def insist(client: KubeClient, path: str, body: Mapping[str, Any]) -> None:
    """Create it, however often it takes."""
    while True:
        try:
            await client.create(path, body)
        except AlreadyExists:
            return  # the answer to the call before was lost
        except (BadRequest, Invalid):
            raise
        except ApiError:
            await asyncio.sleep(0.2)
        else:
            return


async def calm(client: KubeClient) -> None:
    """No storm any more, also one that a run left which was killed."""
    for kind in ("flowschemas", "prioritylevelconfigurations"):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(ApiError):
                await client.delete(f"{_FLOW}/{kind}/{STORM}")
                break
            await asyncio.sleep(0.2)
