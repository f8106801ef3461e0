"""One operator process in a world: all that it is made of but for what reaches outside."""

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING

from flowy_operator.adapters.lease.hands import Hands
from flowy_operator.adapters.lease.lease import Lease
from flowy_operator.adapters.metrics import Metrics
from flowy_operator.app.assembly import Operator
from flowy_operator.app.leadership import Badge, Candidate, identity_of, lead, lease_name
from flowy_operator.app.settings import Pod
from flowy_operator.app.shards import Shards
from flowy_operator.core.share import WHOLE, Share
from tests.app.line import Line, host
from tests.fakes.clock import PROCESS, VirtualLoop

if TYPE_CHECKING:
    from tests.app.world import World

GATEWAY_URL = "http://gateway:8082"


class Running:
    """One operator process, to which there are so many shards. Where there is an election, it first waits for a lease.

    `candidate` is None where there is none. `lines` and `operators` are all that it ever had, one for each time that it took
    a shard over; where there is one shard, they are there from the beginning.
    """

    def __init__(self, world: "World", name: str, life: int, shards: int, pod: str | None = None) -> None:
        self.shards = shards
        self.stop = asyncio.Event()
        """As SIGTERM would."""
        self.lines: list[Line] = []
        self.operators: list[Operator] = []
        self._world = world
        self.candidate = candidate(world, name, life, shards, pod) if world.settings.leader_election else None
        leases = () if self.candidate is None else self.candidate.leases
        self.desk = Shards(leases)
        self.metrics = Metrics(self.desk.snapshot)
        if shards == 1:
            self._make(WHOLE, leases[0] if leases else None)
        context = copy_context()
        context.run(PROCESS.set, self)
        self.task = asyncio.create_task(self._live(), context=context)

    async def _live(self) -> None:
        minding = asyncio.create_task(self.desk.mind_the_others())
        try:
            await lead(self.candidate, self.stop, self._work)
        finally:
            minding.cancel()

    async def _work(self, share: Share, lease: Lease | None, ended: asyncio.Event) -> None:
        operator = self.operator if share == WHOLE else self._make(share, lease)
        with self.desk.looked_after(share, operator):
            await operator.run(ended)

    def _make(self, share: Share, lease: Lease | None) -> Operator:
        world = self._world
        line = Line(world.api, world.latency, None if lease is None else lease.holds)
        if lease is not None:
            identity = lease.identity
            line.wrote = lambda: world.check_fence(share, identity)
        operator = Operator(
            line,
            world.settings,
            host=host(line),
            decider=world.decider,
            metrics=self.metrics,
            clock=lambda: world.clock() + line.skew,
            gateway_url=GATEWAY_URL,
            share=share,
        )
        self.lines.append(line)
        self.operators.append(operator)
        return operator

    @property
    def operator(self) -> Operator:
        """The one that began last."""
        return self.operators[-1]

    @property
    def line(self) -> Line:
        """The last operator's; of a process that never had one, that to its leases."""
        return self.lines[-1] if self.lines else self._own()

    def _own(self) -> Line:
        assert self.candidate is not None
        assert isinstance(self.candidate.client, Line)
        return self.candidate.client

    @property
    def held(self) -> list[int]:
        """The shards that it may write of."""
        leases = () if self.candidate is None else self.candidate.leases
        return [shard for shard, lease in enumerate(leases) if lease.holds()]

    @property
    def leads(self) -> bool:
        return self.candidate is None or bool(self.held)

    def freeze(self) -> None:
        """Stop the process, as SIGSTOP would."""
        _loop().freeze(self)

    def thaw(self) -> None:
        _loop().thaw(self)

    @property
    def is_frozen(self) -> bool:
        return _loop().is_frozen(self)

    def all_lines(self) -> list[Line]:
        """Of its operators, and that to its leases."""
        return [*self.lines, *([] if self.candidate is None else [self._own()])]

    def cut(self) -> None:
        """Cut it off from the API server."""
        for line in self.all_lines():
            line.is_cut = True


def candidate(world: "World", name: str, life: int, shards: int = 1, pod: str | None = None) -> Candidate:
    """The `life`-th process of this name as one that may lead."""
    own, hands = Line(world.api, world.latency), Hands()
    identity = identity_of(name, str(life), None if shards == 1 else f"http://{name}:8082")
    first, namespace = world.settings.lease_name, world.settings.lease_namespace
    assert namespace is not None
    leases = [
        Lease(
            own,
            namespace=namespace,
            name=lease_name(first, shard),
            identity=identity,
            duration_s=world.settings.lease_seconds,
            clock=asyncio.get_running_loop().time,
            now=world.clock,
            shards=shards,
            first=first if shard else None,
            hands=hands,
        )
        for shard in range(shards)
    ]
    return Candidate(own, leases, None if pod is None else Badge(own, Pod(namespace, pod)))


def _loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop
