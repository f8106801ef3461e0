"""Of several replicas one works, the others wait with empty hands: no caches, no watches, nothing but the lease.

So it is for each shard, where there are several: each has a Lease, and a replica is an operator for each that it holds.

What a replica knows can all be read again, and a restart at any moment is what everything here is made for; a change of
leader is nothing else. So whoever waits costs the API server one small read every two seconds, and whoever loses the lease
ends, to begin anew from nothing.

The leader's pod bears a label, by which the gateway's Service finds it.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from operator import itemgetter
from typing import NamedTuple

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import ApiError, Conflict, NotFound
from flowy_operator.adapters.lease.errors import LeaseLost
from flowy_operator.adapters.lease.lease import Lease
from flowy_operator.app.settings import Pod
from flowy_operator.app.stopping import unless
from flowy_operator.core.share import WHOLE, Share

LEADER_LABEL = "flowy.dev/leader"

BALANCE_S = 15.0
"""How often those who hold few shards look for one that holds many. Each shard that moves is a start."""

AGAIN_S = 1.0
"""After so long a label that couldn't be set is tried again: until it is there, no activity reaches the gateway."""

LAST_S = 0.5
"""For the label at the end; the whole stop is to take less than 5 s."""

_log = logging.getLogger(__name__)


def identity_of(host: str, unique: str, gateway: str | None = None) -> str:
    """What the Lease has of its holder. `host` is the pod's name, or this machine's.

    With `gateway`, the address of its own, other replicas find the holder there.
    """
    return f"{host}_{unique}" if gateway is None else f"{host}_{unique}_{gateway}"


def gateway_of(identity: str) -> str | None:
    """Where the gateway of this holder is, None if it doesn't say."""
    parts = identity.split("_", 2)
    return parts[2] if len(parts) > 2 else None  # noqa: PLR2004 - as above


def lease_name(name: str, shard: int) -> str:
    """The Lease of a shard. That of the first is always the same: by it all agree how many shards there are."""
    return name if shard == 0 else f"{name}-shard-{shard}"


class Badge:
    """The label of the leader's pod. `client` must be one that may write without leading."""

    def __init__(self, client: KubeClient, pod: Pod) -> None:
        self._client = client
        self._pod = pod

    async def move(self, previous: str | None) -> None:
        """Have it on our pod, and no longer on that of the identity which led before; that one may not come to it itself."""
        former = None if previous is None else previous.partition("_")[0]
        while True:
            try:
                await self._put_on(self._pod.name)
                if former and former != self._pod.name:
                    await self._take_off(former)
            except ApiError as error:
                _log.warning("the leader's pod can't be labelled; trying on", extra={"error": str(error)})
                await asyncio.sleep(AGAIN_S)
            else:
                return

    async def keep(self) -> None:
        """Put it on again and again, until cancelled: who took a shard over took it off, and didn't know that we still hold others."""
        while True:
            await asyncio.sleep(BALANCE_S)
            await self.move(None)

    async def drop(self) -> None:
        """Take it off our pod, where a process before this one in the same pod may have left it."""
        try:
            async with asyncio.timeout(LAST_S):
                await self._take_off(self._pod.name)
        except (ApiError, TimeoutError) as error:
            _log.info("the pod's label can't be removed", extra={"error": str(error)})

    async def _put_on(self, pod: str) -> None:
        await self._patch(pod, {"op": "add", "path": _LABEL_PATH, "value": "true"})

    async def _take_off(self, pod: str) -> None:
        try:
            await self._patch(pod, {"op": "remove", "path": _LABEL_PATH})
        except (NotFound, Conflict):
            return  # no such pod any more, or no such label

    async def _patch(self, pod: str, operation: dict[str, str]) -> None:
        await self._client.json_patch(paths.pods(self._pod.namespace, pod), [operation])


class Candidate(NamedTuple):
    """This process as one that may lead. `client` may write without leading; without a pod of its own it has no badge.

    `leases` has one for each shard.
    """

    client: KubeClient
    leases: Sequence[Lease]
    badge: Badge | None


Work = Callable[[Share, Lease | None, asyncio.Event], Awaitable[None]]
"""What is done for a shard while its Lease is held, until the event is set. There is no Lease without an election."""


async def lead(candidate: Candidate | None, stop: asyncio.Event, work: Work) -> None:
    """For each shard wait for its lease, do the work as long as it holds, give it back; without a candidate just do the work.

    `stop` ends the wait; the work has to end itself by its event. Raises LeaseLost, after all work was cancelled in the middle.
    """
    if candidate is None:
        await work(WHOLE, None, stop)
        return
    if candidate.badge is not None:
        await candidate.badge.drop()
    count = len(candidate.leases)
    try:
        async with asyncio.TaskGroup() as group:
            shards = [
                group.create_task(_serve(candidate, Share(index, count), lease, stop, work))
                for index, lease in enumerate(candidate.leases)
            ]
            if count > 1:
                balancing = group.create_task(_balance(candidate.leases))
                await asyncio.wait(shards)
                balancing.cancel()
    except* LeaseLost as lost:
        raise _first(lost) from None


async def _serve(candidate: Candidate, share: Share, lease: Lease, stop: asyncio.Event, work: Work) -> None:
    fields = {"identity": lease.identity} | ({} if share.count == 1 else {"shard": share.index})
    while not stop.is_set():
        _log.info("waiting for the lease", extra=fields)
        if not await unless(stop, lease.acquire()):
            return
        _log.info("this operator leads", extra={**fields, "before": lease.previous})
        try:
            await _hold(candidate, share, lease, stop, work)
        finally:
            # Where a shard is given away, others stay.
            if candidate.badge is not None and not any(one.holds() for one in candidate.leases if one is not lease):
                await candidate.badge.drop()
            await lease.release()


async def _hold(candidate: Candidate, share: Share, lease: Lease, stop: asyncio.Event, work: Work) -> None:
    """Work until `stop` is set, or until somebody who holds less wants this shard."""
    ended = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        others = [
            group.create_task(lease.keep()),
            group.create_task(_end_with(stop, ended)),
            group.create_task(_give_away(candidate.leases, lease, ended)),
        ]
        if candidate.badge is not None:
            others.append(group.create_task(candidate.badge.move(lease.previous)))
            if share.count > 1:
                others.append(group.create_task(candidate.badge.keep()))
        await work(share, lease, ended)
        for task in others:
            task.cancel()


async def _end_with(cause: asyncio.Event, ended: asyncio.Event) -> None:
    await cause.wait()
    ended.set()


async def _give_away(leases: Sequence[Lease], lease: Lease, ended: asyncio.Event) -> None:
    """End the work when another wants this shard. The first that is held stays, or all could go at a time."""
    while True:
        await lease.wanted.wait()
        if lease is not next((one for one in leases if one.holds()), lease):
            ended.set()
            return
        lease.wanted.clear()  # the next renewal finds whether it still is


async def _balance(leases: Sequence[Lease]) -> None:
    """Where another holds more than one above what this process holds, ask it for one of them, until cancelled."""
    while True:
        await asyncio.sleep(BALANCE_S)
        held = sum(lease.holds() for lease in leases)
        theirs = Counter(holder for lease in leases if (holder := lease.seen_holder()) is not None)
        who, most = max(theirs.items(), key=itemgetter(1), default=("", 0))
        if most > held + 1:
            _log.info("another holds more shards, and is asked for one", extra={"holder": who, "shards": most})
            await next(lease for lease in reversed(leases) if lease.seen_holder() == who).want()


def _first(lost: BaseExceptionGroup[LeaseLost]) -> LeaseLost:
    """One that tells why: all others follow from it."""
    found = lost.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


_LABEL_PATH = "/metadata/labels/" + LEADER_LABEL.replace("/", "~1")
