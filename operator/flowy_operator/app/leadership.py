"""Of several replicas one works, the others wait with empty hands: no caches, no watches, nothing but the lease.

What a replica knows can all be read again, and a restart at any moment is what everything here is made for; a change of
leader is nothing else. So whoever waits costs the API server one small read every two seconds, and whoever loses the lease
ends, to begin anew from nothing.

The leader's pod bears a label, by which the gateway's Service finds it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import ApiError, Conflict, NotFound
from flowy_operator.adapters.lease import Lease, LeaseLost
from flowy_operator.app.settings import Pod
from flowy_operator.app.stopping import unless

LEADER_LABEL = "flowy.dev/leader"

AGAIN_S = 1.0
"""After so long a label that couldn't be set is tried again: until it is there, no activity reaches the gateway."""

LAST_S = 0.5
"""For the label at the end; the whole stop is to take less than 5 s."""

_log = logging.getLogger(__name__)


def identity_of(host: str, unique: str) -> str:
    """What the Lease has of its holder. `host` is the pod's name, or this machine's."""
    return f"{host}_{unique}"


class Badge:
    """The label of the leader's pod. `client` must be one that may write without leading."""

    def __init__(self, client: KubeClient, pod: Pod) -> None:
        self._client = client
        self._pod = pod

    async def move(self, previous: str | None) -> None:
        """Have it on our pod, and no longer on that of the identity which led before; that one may not come to it itself."""
        former = None if previous is None else previous.rpartition("_")[0]
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
    """This process as one that may lead. `client` may write without leading; without a pod of its own it has no badge."""

    client: KubeClient
    lease: Lease
    badge: Badge | None


async def lead(candidate: Candidate | None, stop: asyncio.Event, work: Callable[[], Awaitable[None]]) -> None:
    """Wait for the lease, do the work as long as it holds, give it back; without a candidate just do the work.

    `stop` ends the wait; the work has to end itself by it. Raises LeaseLost, after the work was cancelled in the middle.
    """
    if candidate is None:
        await work()
        return
    _, lease, badge = candidate
    if badge is not None:
        await badge.drop()
    _log.info("waiting for the lease", extra={"identity": lease.identity})
    if not await unless(stop, lease.acquire()):
        return
    _log.info("this operator leads", extra={"identity": lease.identity, "before": lease.previous})
    try:
        async with asyncio.TaskGroup() as group:
            others = [group.create_task(lease.keep())]
            if badge is not None:
                others.append(group.create_task(badge.move(lease.previous)))
            await work()
            for task in others:
                task.cancel()
    except* LeaseLost as lost:
        raise lost.exceptions[0] from None
    finally:
        if badge is not None:
            await badge.drop()
        await lease.release()


_LABEL_PATH = "/metadata/labels/" + LEADER_LABEL.replace("/", "~1")
