"""One candidate for a Lease: whoever holds it leads, and may write.

    acquire ──▶ keep, with renewals ──▶ release
                  └─ LeaseLost

The holder believes in its lease for two thirds of its duration after it *sent* its last renewal that was taken; others take
it away no sooner than the whole after they *saw* that renewal. So the two can overlap only in what was on its way for longer
than the difference. Clocks of different machines are never compared: the times in the Lease are for people.

Why not `kubernetes.aio.leaderelection`, read in 37.0.2: docs/design/0019-leadership.md.

Of several shards each has a Lease, and how many there are is written on the first one's: docs/design/0029-shards.md.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import Json, KubeClient
from flowy_operator.adapters.kube.errors import AlreadyExists, ApiError, Conflict, NotFound
from flowy_operator.adapters.lease import record
from flowy_operator.adapters.lease.errors import LeaseLost
from flowy_operator.adapters.lease.hands import Hands
from flowy_operator.adapters.lease.number import Number
from flowy_operator.adapters.lease.record import (
    SHARDS_ANNOTATION,
    UNSETTLED,
    WANTED_ANNOTATION,
    Seen,
    is_held_by,
    is_still,
)

RENEW_SHARE = 2 / 3
"""Of the lease's duration: for so long the holder believes in a renewal. What it sent before must have arrived, or not arrive
any more, when the rest is over. These shares, and 15 s for the whole, are what Kubernetes' own programs use."""

RETRY_SHARE = 2 / 15
"""Between two renewals, and between two looks of who waits."""

CALL_SHARE = 1 / 5
"""For one call: two renewals may hang, as in connections that are dead, and the third is in time."""

SILENT_SHARE = 1 / 3
"""Who wasn't seen to renew for so long may be dead: two renewals are missing."""

LAST_S = 1.0
"""For giving it back; the whole stop is to take less than 5 s."""

_log = logging.getLogger(__name__)


class Lease:
    """`client` is best one of its own, so that a renewal waits behind nothing else.

    `identity` is this process's alone: one that was restarted is another. `clock` gives seconds that go on while the
    machine sleeps, `now` gives aware UTC. `previous` is who held it before us, None if nobody is known.

    `shards` is how many there are to this process. Of several, `first` names the Lease that says how many there are to all,
    None if it is this one, and `hands` are those of this process. `wanted` is set while somebody who holds less wants it.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        namespace: str,
        name: str,
        identity: str,
        duration_s: int,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        shards: int = 1,
        first: str | None = None,
        hands: Hands | None = None,
    ) -> None:
        self.identity = identity
        self.wanted = asyncio.Event()
        self.previous: str | None = None
        self._client = client
        self._duration_s = duration_s
        self._renew_s = duration_s * RENEW_SHARE
        self._retry_s = duration_s * RETRY_SHARE
        self._call_s = duration_s * CALL_SHARE
        self._namespace = namespace
        self._name = name
        self._clock = clock
        self._now = now
        self._seen: Seen | None = None
        self._renewed_at: float | None = None
        self._acquired_at = now()
        self._transitions = 0
        self._shards = shards
        self._number = (
            None if first is None else Number(client, namespace=namespace, first=first, told=shards, clock=clock)
        )
        self._settles_at: float | None = None  # from then on nobody believes in another number of shards
        self._missing_since: float | None = None
        self._hands = hands or Hands()
        self._hands.join(self.holds)

    @property
    def is_known(self) -> bool:
        """Whether the API server has told who holds it, or that nobody does."""
        return self._seen is not None or self.holds()

    def holds(self) -> bool:
        """Whether this process may write now. Looks at the clock: true one moment, it may be false the next."""
        return self._left_s() > 0

    def seen_holder(self) -> str | None:
        """Who else holds it and may be taken for alive, None if nobody is known."""
        seen = self._seen
        if seen is None or seen.holder is None or self._clock() - seen.at > self._duration_s * SILENT_SHARE:
            return None
        return None if seen.holder == self.identity else seen.holder

    async def acquire(self) -> None:
        """Wait until it is ours, and nobody believes any more that there are more shards or less. Raises LeaseLost."""
        failures = 0
        while True:
            wait_s = self._retry_s
            try:
                async with self._hands.turn, asyncio.timeout(self._call_s):
                    wait_s = await self._look()
                failures = 0
            except (ApiError, TimeoutError) as error:
                failures += 1
                if failures == 1:
                    _log.warning("the lease can't be read or taken; trying on", extra=self._fields(error=repr(error)))
            if self.holds():
                break
            await asyncio.sleep(wait_s)
        if self._settles_at is not None:
            await self._settle(self._settles_at)

    async def keep(self) -> None:
        """Renew it until it is lost, which is raised as LeaseLost."""
        wait_s = self._retry_s
        while True:
            await asyncio.sleep(wait_s)
            began = self._clock()
            # First: this process may have been stopped for longer than the lease lasts.
            left_s = self._left_s()
            if left_s <= 0:
                raise LeaseLost(f"the lease {self._name} couldn't be renewed for {self._renew_s:.0f} s")
            try:
                async with asyncio.timeout(min(self._call_s, left_s)):
                    await self._renew()
                    if self._number is not None:
                        await self._number.ask()
            except (ApiError, TimeoutError) as error:
                _log.info("the lease can't be renewed; trying on", extra=self._fields(error=repr(error)))
            wait_s = max(self._retry_s - (self._clock() - began), 0.0)

    async def release(self) -> None:
        """Give it back, so that the next one need not wait for its end. It may fail: then that one waits."""
        if not self.holds():
            return
        self._renewed_at = None  # first: what follows must find us without it
        try:
            async with asyncio.timeout(LAST_S):
                await self._patch(is_held_by(self.identity), self._spec(None))
        except (ApiError, TimeoutError) as error:
            _log.info("the lease can't be given back", extra=self._fields(error=repr(error)))

    def _left_of(self, seen: Seen) -> float:
        """For how many seconds another may believe in what was seen, 0 or less if nobody does."""
        is_free = seen.holder in {None, self.identity}
        return 0.0 if is_free else seen.at + seen.duration_s - self._clock()

    def _left_s(self) -> float:
        """For how many seconds more this process may write, 0 or less if it may not."""
        heard = [self._renewed_at] if self._number is None else [self._renewed_at, self._number.agreed_at]
        return min(0.0 if at is None else at + self._renew_s - self._clock() for at in heard)

    async def _settle(self, until: float) -> None:
        """Keep it until nobody can believe any more in the number of shards before; then say the new one."""
        with suppress(TimeoutError):
            async with asyncio.timeout(until - self._clock()):
                await self.keep()
        while True:
            try:
                async with asyncio.timeout(self._call_s):
                    number = record.annotate(SHARDS_ANNOTATION, str(self._shards))
                    await self._patch(is_held_by(self.identity), self._spec(self.identity), number)
            except Conflict as error:
                raise LeaseLost(f"another has taken the lease {self._name}") from error
            except (ApiError, TimeoutError) as error:
                if not self.holds():
                    raise LeaseLost(f"the number of shards can't be written to the lease {self._name}") from error
                await asyncio.sleep(self._retry_s)
            else:
                self._settles_at = None
                return

    async def _look(self) -> float:
        """Take the lease if nobody holds it. Gives after how many seconds to look again."""
        try:
            seen = self._see(await self._client.get(paths.leases(self._namespace, self._name)))
        except NotFound:
            # Who deleted it has told its holder nothing, who will notice, and make it anew. Only who has never seen one
            # can't tell that from a first start, which should not take a lease's time.
            if self._missing_since is None:
                self._missing_since = self._clock()
            if self._seen is None or self._left_of(self._seen) <= 0:
                if not await self._is_agreed():
                    return self._retry_s
                spared_s = self._spared_s(self._missing_since)
                if spared_s > 0:
                    return min(self._retry_s, spared_s)
                await self._create()
            return self._retry_s
        self._missing_since = None
        is_ours = seen.holder == self.identity  # the answer to our own write was lost
        left_s = self._left_of(seen)
        if left_s <= 0 and not await self._is_agreed():
            return self._retry_s
        if not is_ours:
            # A dead one's is free since nobody could believe in it: with others that are as busy, it is taken at its end.
            left_s = max(left_s, self._spared_s(seen.at + (0.0 if seen.holder is None else self._renew_s)))
        if left_s > 0:
            return min(self._retry_s, left_s)
        if not is_ours:
            self.previous = seen.holder
            self._acquired_at, self._transitions = self._now(), seen.transitions + 1
        began = self._clock()
        # Those who believe in another number may work for two thirds of a lease's time yet; of a single one it is this.
        is_settled = self._number is not None or seen.shards in {1, self._shards}
        told = dict(seen.annotations)
        told.pop(WANTED_ANNOTATION, None)
        if seen.shards != self._shards:
            told[SHARDS_ANNOTATION] = str(self._shards) if is_settled else UNSETTLED
        try:
            await self._patch(
                is_still(seen), self._spec(self.identity), {"op": "add", "path": "/metadata/annotations", "value": told}
            )
        except Conflict:
            return self._retry_s  # another was faster, or the holder is back
        self._settles_at = None if is_settled else began + self._duration_s
        self._renewed_at = began
        self.wanted.clear()
        return self._retry_s

    async def _is_agreed(self) -> bool:
        """Whether there are as many shards as this process was told, so that one of them may be taken."""
        return self._number is None or await self._number.is_agreed()

    def _spared_s(self, free_since: float) -> float:
        """For how many seconds more one that is free is left to those who hold less."""
        if self._number is not None:
            free_since = max(free_since, self._number.agreed_since or 0.0)  # before that nobody could take it
        return free_since + self._hands.spare_s(self._duration_s) - self._clock()

    async def _create(self) -> None:
        began = self._clock()
        self._acquired_at, self._transitions = self._now(), 0
        body: Json = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._spec(self.identity),
        }
        if self._shards > 1:
            body["metadata"]["annotations"] = {SHARDS_ANNOTATION: str(self._shards)}
        try:
            await self._client.create(paths.leases(self._namespace), body)
        except AlreadyExists:
            return
        self._renewed_at = began

    async def _renew(self) -> None:
        """Raises LeaseLost if another has it."""
        began = self._clock()
        try:
            body = await self._patch(is_held_by(self.identity), self._spec(self.identity))
        except Conflict as error:
            raise LeaseLost(f"another has taken the lease {self._name}") from error
        except NotFound:
            # Somebody deleted it. Whoever makes it anew has it.
            self._renewed_at = None
            await self._create()
            if self._renewed_at is None:
                raise LeaseLost(f"the lease {self._name} was deleted, and another has made it anew") from None
        else:
            self._renewed_at = began
            if record.annotations(body).get(WANTED_ANNOTATION, self.identity) != self.identity:
                self.wanted.set()

    async def want(self) -> None:
        """Ask the holder for it. It may fail: then it is asked again, as long as it is worth it."""
        holder = self.seen_holder()
        if holder is None:
            return
        operations = [is_held_by(holder), record.annotate(WANTED_ANNOTATION, self.identity)]
        try:
            async with asyncio.timeout(self._call_s):
                await self._client.json_patch(paths.leases(self._namespace, self._name), operations)
        except (ApiError, TimeoutError) as error:
            _log.info("the lease can't be asked for", extra=self._fields(error=repr(error)))

    async def _patch(self, test: Json, spec: Json, *changes: Json) -> Json:
        operations = [test, {"op": "add", "path": "/spec", "value": spec}, *changes]
        return await self._client.json_patch(paths.leases(self._namespace, self._name), operations)

    def _see(self, body: Json) -> Seen:
        if self._seen is None or self._seen.version != record.version_of(body):
            self._seen = record.parse(body, self._clock(), duration_s=self._duration_s)
        return self._seen

    def _spec(self, holder: str | None) -> Json:
        return record.spec(
            holder=holder,
            duration_s=self._duration_s,
            acquired_at=self._acquired_at,
            renewed_at=self._now(),
            transitions=self._transitions,
        )

    def _fields(self, **more: str) -> dict[str, str]:
        return {"namespace": self._namespace, "lease": self._name, **more}
