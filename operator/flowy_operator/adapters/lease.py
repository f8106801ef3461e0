"""One candidate for a Lease: whoever holds it leads, and may write.

    acquire ──▶ keep, with renewals ──▶ release
                  └─ LeaseLost

The holder believes in its lease for two thirds of its duration after it *sent* its last renewal that was taken; others take
it away no sooner than the whole after they *saw* that renewal. So the two can overlap only in what was on its way for longer
than the difference. Clocks of different machines are never compared: the times in the Lease are for people.

Why not `kubernetes.aio.leaderelection`, read in 37.0.2: docs/design/0019-leadership.md.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import Json, KubeClient
from flowy_operator.adapters.kube.errors import AlreadyExists, ApiError, Conflict, NotFound
from flowy_operator.adapters.kube.fields import mapping, text

RENEW_SHARE = 2 / 3
"""Of the lease's duration: for so long the holder believes in a renewal. What it sent before must have arrived, or not arrive
any more, when the rest is over. These shares, and 15 s for the whole, are what Kubernetes' own programs use."""

RETRY_SHARE = 2 / 15
"""Between two renewals, and between two looks of who waits."""

CALL_SHARE = 1 / 5
"""For one call: two renewals may hang, as in connections that are dead, and the third is in time."""

LAST_S = 1.0
"""For giving it back; the whole stop is to take less than 5 s."""

_log = logging.getLogger(__name__)


class LeaseLost(Exception):
    """This process must not write any more; `str()` says why."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A Lease as it was read, and when this version was first seen, by our own clock."""

    version: str
    holder: str | None
    duration_s: float
    transitions: int
    at: float


class Lease:
    """`client` is best one of its own, so that a renewal waits behind nothing else.

    `identity` is this process's alone: one that was restarted is another. `clock` gives seconds that go on while the
    machine sleeps, `now` gives aware UTC. `previous` is who held it before us, None if nobody is known.
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
    ) -> None:
        self.identity = identity
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
        self._seen: _Seen | None = None
        self._renewed_at: float | None = None
        self._acquired_at = now()
        self._transitions = 0

    @property
    def is_known(self) -> bool:
        """Whether the API server has told who holds it, or that nobody does."""
        return self._seen is not None or self.holds()

    def holds(self) -> bool:
        """Whether this process may write now. Looks at the clock: true one moment, it may be false the next."""
        return self._renewed_at is not None and self._clock() - self._renewed_at < self._renew_s

    async def acquire(self) -> None:
        """Wait until it is ours."""
        failures = 0
        while True:
            wait_s = self._retry_s
            try:
                async with asyncio.timeout(self._call_s):
                    wait_s = await self._look()
                failures = 0
            except (ApiError, TimeoutError) as error:
                failures += 1
                if failures == 1:
                    _log.warning("the lease can't be read or taken; trying on", extra=self._fields(error=repr(error)))
            if self.holds():
                return
            await asyncio.sleep(wait_s)

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
                await self._patch(_ours(self.identity), self._spec(holder=None))
        except (ApiError, TimeoutError) as error:
            _log.info("the lease can't be given back", extra=self._fields(error=repr(error)))

    def _left_of(self, seen: _Seen) -> float:
        """For how many seconds another may believe in what was seen, 0 or less if nobody does."""
        is_free = seen.holder in {None, self.identity}
        return 0.0 if is_free else seen.at + seen.duration_s - self._clock()

    def _left_s(self) -> float:
        return 0.0 if self._renewed_at is None else self._renewed_at + self._renew_s - self._clock()

    async def _look(self) -> float:
        """Take the lease if nobody holds it. Gives after how many seconds to look again."""
        try:
            seen = self._see(await self._client.get(paths.leases(self._namespace, self._name)))
        except NotFound:
            # Who deleted it has told its holder nothing, who will notice, and make it anew. Only who has never seen one
            # can't tell that from a first start, which should not take a lease's time.
            if self._seen is None or self._left_of(self._seen) <= 0:
                await self._create()
            return self._retry_s
        left_s = self._left_of(seen)
        if left_s > 0:
            return min(self._retry_s, left_s)
        if seen.holder != self.identity:  # else the answer to our own write was lost
            self.previous = seen.holder
            self._acquired_at, self._transitions = self._now(), seen.transitions + 1
        began = self._clock()
        test = {"op": "test", "path": "/metadata/resourceVersion", "value": seen.version}
        try:
            await self._patch(test, self._spec(holder=self.identity))
        except Conflict:
            return self._retry_s  # another was faster, or the holder is back
        self._renewed_at = began
        return self._retry_s

    async def _create(self) -> None:
        began = self._clock()
        self._acquired_at, self._transitions = self._now(), 0
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._spec(holder=self.identity),
        }
        try:
            await self._client.create(paths.leases(self._namespace), body)
        except AlreadyExists:
            return
        self._renewed_at = began

    async def _renew(self) -> None:
        """Raises LeaseLost if another has it."""
        began = self._clock()
        try:
            await self._patch(_ours(self.identity), self._spec(holder=self.identity))
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

    async def _patch(self, test: Json, spec: Json) -> None:
        operations = [test, {"op": "add", "path": "/spec", "value": spec}]
        await self._client.json_patch(paths.leases(self._namespace, self._name), operations)

    def _see(self, body: Json) -> _Seen:
        version = str(body["metadata"]["resourceVersion"])
        if self._seen is None or self._seen.version != version:
            spec = mapping(body.get("spec"))
            self._seen = _Seen(
                version=version,
                holder=text(spec.get("holderIdentity")),
                duration_s=_number(spec, "leaseDurationSeconds", self._duration_s),
                transitions=_number(spec, "leaseTransitions", 0),
                at=self._clock(),
            )
        return self._seen

    def _spec(self, *, holder: str | None) -> Json:
        spec: Json = {
            # One that nobody holds is free at once; the API server wants a number above 0.
            "leaseDurationSeconds": 1 if holder is None else self._duration_s,
            "acquireTime": _micro_time(self._acquired_at),
            "renewTime": _micro_time(self._now()),
            "leaseTransitions": self._transitions,
        }
        return spec if holder is None else {"holderIdentity": holder, **spec}

    def _fields(self, **more: str) -> dict[str, str]:
        return {"namespace": self._namespace, "lease": self._name, **more}


def _ours(identity: str) -> Json:
    """The test of a patch that holds only as long as this process is on record as the holder."""
    return {"op": "test", "path": "/spec/holderIdentity", "value": identity}


def _number(spec: Mapping[str, Any], name: str, default: int) -> int:
    value = spec.get(name)
    return value if isinstance(value, int) and value >= 0 else default


def _micro_time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
