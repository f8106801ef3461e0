"""The operators of this process, one for each shard that it holds, behind one gateway and one page of figures.

    pod ──▶ gateway ──▶ Shards ──▶ the operator whose pod it is
                └──▶ onward, to the holder of the pod's shard

Each is a whole operator with caches of its own: given away or taken over, a shard is a start like any other. Where there is
one shard, there is one operator, and nothing here is asked twice.

A call may come by any replica, also by one that dies. So nobody's silence counts while any holder isn't seen to renew.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from flowy_operator.adapters.gateway.onward import Elsewhere
from flowy_operator.adapters.lease.lease import Lease
from flowy_operator.adapters.metrics import Snapshot, together
from flowy_operator.app.assembly import Operator
from flowy_operator.app.attempts import Attempts
from flowy_operator.app.leadership import gateway_of
from flowy_operator.app.listening import RETURN
from flowy_operator.core.attempts import Abandoned, Caller, Differs, Over, Standing, Unknown
from flowy_operator.core.share import Share

LOOK_S = 1.0
"""How often the other holders are looked at. What is seen of them is as old as their last renewal."""

_MOVED = Unknown("this pod's shard has just moved to another operator")


class Shards:
    """The gateway's desk. `leases` has one for each shard; none without an election."""

    def __init__(self, leases: Sequence[Lease]) -> None:
        self._leases = leases
        self._count = max(len(leases), 1)
        self._operators: dict[int, Operator] = {}
        self._past = Snapshot()

    @contextmanager
    def looked_after(self, share: Share, operator: Operator) -> Iterator[None]:
        """Have this operator for a shard, until left."""
        self._operators[share.index] = operator
        try:
            yield
        finally:
            del self._operators[share.index]
            # Counters never fall; gauges are of what is here.
            self._past = together([self._past, operator.snapshot().counters()])

    # -- the gateway --------------------------------------------------------------------------------------------------

    def knows(self, caller: Caller) -> bool:
        """Whether there is such a pod, whosever it is: each operator watches all of them."""
        return any(operator.attempts.knows(caller) for operator in self._operators.values())

    def unheard(self, caller: Caller) -> None:
        """Count this pod's silence from now on, if it is counted here."""
        attempts = self._here(caller)
        if attempts is not None:
            attempts.unheard(caller)

    def deaf(self) -> None:
        """Somebody couldn't be heard, and nobody knows who."""
        for operator in self._operators.values():
            operator.listening.begin()

    def elsewhere(self, caller: Caller) -> Elsewhere | None:
        """Where the caller's calls belong, None if that is here."""
        shard = self._shard(caller)
        if shard is None or shard in self._operators:
            return None
        holder = self._leases[shard].seen_holder()
        return Elsewhere(None if holder is None else gateway_of(holder))

    async def heartbeat(self, caller: Caller, details: str | None) -> Standing:
        attempts = self._here(caller)
        return _MOVED if attempts is None else await attempts.heartbeat(caller, details)

    async def may_upload(self, caller: Caller) -> Standing:
        attempts = self._here(caller)
        return _MOVED if attempts is None else await attempts.may_upload(caller)

    async def upload(self, caller: Caller, text: str) -> Standing | Differs:
        attempts = self._here(caller)
        return _MOVED if attempts is None else await attempts.upload(caller, text)

    async def progress(self, caller: Caller) -> str | Over | Abandoned | Unknown:
        attempts = self._here(caller)
        return _MOVED if attempts is None else await attempts.progress(caller)

    def _here(self, caller: Caller) -> Attempts | None:
        shard = self._shard(caller)
        operator = None if shard is None else self._operators.get(shard)
        return None if operator is None else operator.attempts

    def _shard(self, caller: Caller) -> int | None:
        if self._count == 1:
            return 0
        found = (operator.attempts.shard(caller, self._count) for operator in self._operators.values())
        return next((shard for shard in found if shard is not None), None)

    async def mind_the_others(self) -> None:
        """Count nobody's silence while another replica may be dead that took its calls, until cancelled."""
        before: Sequence[str | None] = ()
        while self._count > 1:
            holders = ["" if lease.holds() else lease.seen_holder() for lease in self._leases]
            if None in holders or holders != before:
                for operator in self._operators.values():
                    operator.listening.begin(RETURN)
            before = holders
            await asyncio.sleep(LOOK_S)

    # -- health -------------------------------------------------------------------------------------------------------

    def checks(self) -> Mapping[str, bool]:
        """What it needs, and whether it has it; empty as long as it holds nothing.

        One that works makes a replica ready: while a second one begins, the first one's pods must find it.
        """
        found = [operator.checks() for operator in self._operators.values()]
        return {name: any(one[name] for one in found) for name in (found[0] if found else ())}

    def snapshot(self) -> Snapshot:
        """What is so now, of all of them."""
        leads = {shard: lease.holds() for shard, lease in enumerate(self._leases)} or dict.fromkeys(
            self._operators, True
        )
        found = together([self._past, *(operator.snapshot() for operator in self._operators.values())])
        return replace(found, leads=leads)
